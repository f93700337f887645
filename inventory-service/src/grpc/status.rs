//! Refusals and failures as gRPC statuses with `google.rpc` details. The reasons are part of the contract: see `inventory.proto`.

use std::{collections::HashMap, time::Duration};

use service_base::context;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    domain::Rejection,
    ports::{Refusal, StoreError, Unputtable},
};

/// The domain of `google.rpc.ErrorInfo`.
pub(super) const DOMAIN: &str = "amends.inventory";

type Fact = (&'static str, String);

fn status(code: Code, reason: &str, message: &str, facts: Vec<Fact>, also: impl FnOnce(&mut ErrorDetails)) -> Status {
    let mut metadata: HashMap<String, String> = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if let Some(trace_id) = context::current_trace_id() {
        metadata.insert("trace_id".to_owned(), trace_id);
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    also(&mut details);
    Status::with_error_details(code, message, details)
}

/// A request whose fields are wrong.
pub(super) fn invalid(violations: Vec<FieldViolation>) -> Status {
    let message = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect::<Vec<_>>().join("; ");
    status(Code::InvalidArgument, "INVALID_ARGUMENT", &message, Vec::new(), |details| {
        details.set_bad_request(violations);
    })
}

/// A step that was refused.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let precondition = |reason| status(Code::FailedPrecondition, reason, &refusal.to_string(), Vec::new(), |_| {});
    match refusal {
        Refusal::Rejected(rejection) => rejected(rejection),
        Refusal::StepKeyReused => precondition("STEP_KEY_REUSED"),
        Refusal::StepCompensated => precondition("STEP_COMPENSATED"),
        Refusal::CommitClosed => precondition("COMMIT_CLOSED"),
    }
}

/// What the rules of stock refuse.
pub(super) fn rejected(rejection: &Rejection) -> Status {
    let (code, reason, facts) = match rejection {
        Rejection::UnknownSku { sku } => (Code::NotFound, "UNKNOWN_SKU", vec![("sku", sku.to_string())]),
        Rejection::PriceMismatch { sku, expected, actual } => (
            Code::FailedPrecondition,
            "PRICE_MISMATCH",
            vec![
                ("sku", sku.to_string()),
                ("expected_amount_minor", expected.amount_minor().to_string()),
                ("expected_currency", expected.currency().to_string()),
                ("actual_amount_minor", actual.amount_minor().to_string()),
                ("actual_currency", actual.currency().to_string()),
            ],
        ),
        Rejection::InsufficientStock { sku, requested, available } => (
            Code::FailedPrecondition,
            "INSUFFICIENT_STOCK",
            vec![("sku", sku.to_string()), ("requested", requested.to_string()), ("available", available.to_string())],
        ),
        Rejection::ReservationNotFound { reservation } => {
            (Code::NotFound, "RESERVATION_NOT_FOUND", vec![("reservation_id", reservation.to_string())])
        }
        Rejection::ReservationExpired { reservation } => {
            (Code::FailedPrecondition, "RESERVATION_EXPIRED", vec![("reservation_id", reservation.to_string())])
        }
        Rejection::ReservationReleased { reservation } => {
            (Code::FailedPrecondition, "RESERVATION_RELEASED", vec![("reservation_id", reservation.to_string())])
        }
        Rejection::NotAllowed { reservation, state, command } => (
            Code::FailedPrecondition,
            "RESERVATION_STATE",
            vec![
                ("reservation_id", reservation.to_string()),
                ("state", state.name().to_owned()),
                ("command", command.to_string()),
            ],
        ),
    };
    status(code, reason, &rejection.to_string(), facts, |_| {})
}

/// Nothing goes by that name.
pub(super) fn unknown_sku(sku: &str) -> Status {
    status(Code::NotFound, "UNKNOWN_SKU", &format!("there is no item {sku}"), vec![("sku", sku.to_owned())], |_| {})
}

/// An item whose open reservations hold more than there would be.
pub(super) fn unputtable(unputtable: &Unputtable) -> Status {
    let facts = vec![("sku", unputtable.sku.to_string()), ("reserved", unputtable.reserved.to_string())];
    status(Code::FailedPrecondition, "ON_HAND_BELOW_RESERVED", &unputtable.to_string(), facts, |_| {})
}

/// The store cannot, now or at all. Logged here, once, with all its causes; callers learn only whether to come back.
pub(super) fn failed(error: &StoreError) -> Status {
    let cause = chain(error);
    if error.cause().is_unavailable() {
        tracing::warn!(error = cause, "the store cannot be asked");
        let message = "the data store cannot be reached at the moment";
        return again_after(Code::Unavailable, "STORE_UNAVAILABLE", message, Duration::from_secs(1));
    }
    tracing::error!(error = cause, "the store failed");
    status(
        Code::Internal,
        "INTERNAL",
        "something went wrong on our side; the trace id tells us what",
        Vec::new(),
        |_| {},
    )
}

/// Not now, but later.
pub(super) fn again_after(code: Code, reason: &str, message: &str, after: Duration) -> Status {
    status(code, reason, message, Vec::new(), |details| {
        details.set_retry_info(Some(after));
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, Money, ReservationId};
    use amends_sql::SqlError;
    use uuid::Uuid;

    use super::*;
    use crate::domain::State;

    fn check(status: &Status, code: Code, reason: &str, facts: &[(&str, &str)]) {
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, DOMAIN));
        for (key, value) in facts {
            assert_eq!(info.metadata.get(*key).map(String::as_str), Some(*value), "{key}");
        }
    }

    #[test]
    fn every_refusal_has_its_reason_and_its_facts() {
        let (sku, reservation) = ("tea".parse().unwrap(), ReservationId::new(Uuid::from_u128(1)));
        let id = reservation.to_string();
        let eur = |minor| Money::new(minor, Currency::EUR);
        let precondition = Code::FailedPrecondition;
        let sold_out = Rejection::InsufficientStock { sku, requested: 3, available: 2 };
        let facts = [("sku", "tea"), ("requested", "3"), ("available", "2")];
        check(&rejected(&sold_out), precondition, "INSUFFICIENT_STOCK", &facts);
        check(&refused(&sold_out.into()), precondition, "INSUFFICIENT_STOCK", &facts);
        let dear = Rejection::PriceMismatch { sku: "tea".parse().unwrap(), expected: eur(1), actual: eur(2) };
        check(&rejected(&dear), precondition, "PRICE_MISMATCH", &[("sku", "tea"), ("actual_amount_minor", "2")]);
        let unknown = Rejection::UnknownSku { sku: "gin".parse().unwrap() };
        check(&rejected(&unknown), Code::NotFound, "UNKNOWN_SKU", &[("sku", "gin")]);
        let of_reservation = [("reservation_id", id.as_str())];
        let expired = Rejection::ReservationExpired { reservation };
        check(&rejected(&expired), precondition, "RESERVATION_EXPIRED", &of_reservation);
        let released = Rejection::ReservationReleased { reservation };
        check(&rejected(&released), precondition, "RESERVATION_RELEASED", &of_reservation);
        let nobodys = Rejection::ReservationNotFound { reservation };
        check(&rejected(&nobodys), Code::NotFound, "RESERVATION_NOT_FOUND", &of_reservation);
        let sold = Rejection::NotAllowed { reservation, state: State::Committed, command: "release".into() };
        check(&rejected(&sold), precondition, "RESERVATION_STATE", &[("state", "committed"), ("command", "release")]);
        check(&refused(&Refusal::StepKeyReused), precondition, "STEP_KEY_REUSED", &[]);
        check(&refused(&Refusal::StepCompensated), precondition, "STEP_COMPENSATED", &[]);
        check(&refused(&Refusal::CommitClosed), precondition, "COMMIT_CLOSED", &[]);
    }

    #[test]
    fn a_failing_store_keeps_its_details_to_itself() {
        let transient = failed(&SqlError::TimedOut.into());
        check(&transient, Code::Unavailable, "STORE_UNAVAILABLE", &[]);
        assert!(transient.get_details_retry_info().is_some());
        let broken = failed(&SqlError::Corrupt { what: "sku" }.into());
        check(&broken, Code::Internal, "INTERNAL", &[]);
        assert!(!broken.message().contains("sku"));
    }
}
