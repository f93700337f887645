//! Refusals and failures as gRPC statuses with `google.rpc` details. The reasons are part of the contract: see `inventory.proto`.

use service_base::problem::{Code, Problem};
use tonic::Status;

use super::DOMAIN;
use crate::{
    domain::Rejection,
    ports::{Refusal, StoreError, Unputtable},
};

fn problem(code: Code, message: &impl ToString) -> Problem {
    Problem::of(code, message.to_string()).domain(DOMAIN)
}

/// A step that was refused.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Rejected(rejection) => return rejected(rejection),
        Refusal::StepKeyReused => Code::StepKeyReused,
        Refusal::StepCompensated => Code::StepCompensated,
        Refusal::CommitClosed => Code::CommitClosed,
    };
    problem(code, refusal).into()
}

/// What the rules of stock refuse.
pub(super) fn rejected(rejection: &Rejection) -> Status {
    let refused = |code| problem(code, rejection);
    let refused = match rejection {
        Rejection::UnknownSku { sku } => refused(Code::UnknownSku).extension("sku", sku.to_string()),
        Rejection::PriceMismatch { sku, expected, actual } => refused(Code::PriceMismatch)
            .extension("sku", sku.to_string())
            .extension("expected_amount_minor", expected.amount_minor())
            .extension("expected_currency", expected.currency().code())
            .extension("actual_amount_minor", actual.amount_minor())
            .extension("actual_currency", actual.currency().code()),
        Rejection::InsufficientStock { sku, requested, available } => refused(Code::InsufficientStock)
            .extension("sku", sku.to_string())
            .extension("requested", *requested)
            .extension("available", *available),
        Rejection::ReservationNotFound { reservation } => {
            refused(Code::ReservationNotFound).extension("reservation_id", reservation.to_string())
        }
        Rejection::ReservationExpired { reservation } => {
            refused(Code::ReservationExpired).extension("reservation_id", reservation.to_string())
        }
        Rejection::ReservationReleased { reservation } => {
            refused(Code::ReservationReleased).extension("reservation_id", reservation.to_string())
        }
        Rejection::NotAllowed { reservation, state, command } => refused(Code::ReservationState)
            .extension("reservation_id", reservation.to_string())
            .extension("state", state.name())
            .extension("command", command.to_string()),
    };
    refused.into()
}

/// Nothing goes by that name.
pub(super) fn unknown_sku(sku: &str) -> Status {
    problem(Code::UnknownSku, &format!("there is no item {sku}")).extension("sku", sku).into()
}

/// An item whose open reservations hold more than there would be.
pub(super) fn unputtable(unputtable: &Unputtable) -> Status {
    problem(Code::OnHandBelowReserved, unputtable)
        .extension("sku", unputtable.sku.to_string())
        .extension("reserved", unputtable.reserved)
        .into()
}

/// The store cannot, now or at all. Logged here, once, with all its causes; callers learn only whether to come back.
pub(super) fn failed(error: &StoreError) -> Status {
    let cause = amends_sql::in_words(error);
    if error.cause().is_unavailable() {
        return Problem::store_unavailable(cause).domain(DOMAIN).into();
    }
    tracing::error!(error = cause, "the store failed");
    internal()
}

/// A mistake of ours.
fn internal() -> Status {
    Problem::from(Code::Internal).domain(DOMAIN).into()
}

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, Money, ReservationId};
    use amends_sql::SqlError;
    use tonic_types::StatusExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::domain::State;

    fn check(status: &Status, code: tonic::Code, reason: &str, facts: &[(&str, &str)]) {
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "amends.inventory"));
        for (key, value) in facts {
            assert_eq!(info.metadata.get(*key).map(String::as_str), Some(*value), "{key}");
        }
    }

    #[test]
    fn every_refusal_has_its_reason_and_its_facts() {
        let (sku, reservation) = ("tea".parse().unwrap(), ReservationId::new(Uuid::from_u128(1)));
        let id = reservation.to_string();
        let eur = |minor| Money::new(minor, Currency::EUR);
        let precondition = tonic::Code::FailedPrecondition;
        let sold_out = Rejection::InsufficientStock { sku, requested: 3, available: 2 };
        let facts = [("sku", "tea"), ("requested", "3"), ("available", "2")];
        check(&rejected(&sold_out), precondition, "INSUFFICIENT_STOCK", &facts);
        check(&refused(&sold_out.into()), precondition, "INSUFFICIENT_STOCK", &facts);
        let dear = Rejection::PriceMismatch { sku: "tea".parse().unwrap(), expected: eur(1), actual: eur(2) };
        check(&rejected(&dear), precondition, "PRICE_MISMATCH", &[("sku", "tea"), ("actual_amount_minor", "2")]);
        let unknown = Rejection::UnknownSku { sku: "gin".parse().unwrap() };
        check(&rejected(&unknown), tonic::Code::NotFound, "UNKNOWN_SKU", &[("sku", "gin")]);
        let of_reservation = [("reservation_id", id.as_str())];
        let expired = Rejection::ReservationExpired { reservation };
        check(&rejected(&expired), precondition, "RESERVATION_EXPIRED", &of_reservation);
        let released = Rejection::ReservationReleased { reservation };
        check(&rejected(&released), precondition, "RESERVATION_RELEASED", &of_reservation);
        let nobodys = Rejection::ReservationNotFound { reservation };
        check(&rejected(&nobodys), tonic::Code::NotFound, "RESERVATION_NOT_FOUND", &of_reservation);
        let sold = Rejection::NotAllowed { reservation, state: State::Committed, command: "release".into() };
        check(&rejected(&sold), precondition, "RESERVATION_STATE", &[("state", "committed"), ("command", "release")]);
        check(&refused(&Refusal::StepKeyReused), precondition, "STEP_KEY_REUSED", &[]);
        check(&refused(&Refusal::StepCompensated), precondition, "STEP_COMPENSATED", &[]);
        check(&refused(&Refusal::CommitClosed), precondition, "COMMIT_CLOSED", &[]);
    }

    #[test]
    fn a_failing_store_keeps_its_details_to_itself() {
        let transient = failed(&SqlError::TimedOut.into());
        check(&transient, tonic::Code::Unavailable, "STORE_UNAVAILABLE", &[]);
        assert!(transient.get_details_retry_info().is_some());
        let broken = failed(&SqlError::Corrupt { what: "sku" }.into());
        check(&broken, tonic::Code::Internal, "INTERNAL", &[]);
        assert!(!broken.message().contains("sku"));
    }
}
