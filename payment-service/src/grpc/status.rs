//! Refusals and failures as gRPC statuses with `google.rpc` details. The reasons are part of the contract: see `payments.proto`.
//!
//! FAILED_PRECONDITION, NOT_FOUND and INVALID_ARGUMENT say that surely nothing happened; every other code says that nobody knows.

use std::{collections::HashMap, time::Duration};

use amends_primitives::Money;
use service_base::context;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    app::{Error, Failure},
    domain::{DeclineReason, Rejection, Status as State},
    processor::Unknown,
    store::StoreError,
};

/// The domain of `google.rpc.ErrorInfo`.
pub(super) const DOMAIN: &str = "amends.payments";

/// A store that is away is found again within a heartbeat of its driver.
const AGAIN_AFTER_STORE: Duration = Duration::from_secs(1);
/// A processor that did not answer once may well answer the next time.
const AGAIN_AFTER_PROCESSOR: Duration = Duration::from_millis(100);
/// Whoever was in the way is gone by then.
const AGAIN_AFTER_CONTENTION: Duration = Duration::from_millis(50);
/// A person must look; asking more often only fills logs.
const AGAIN_AFTER_A_PERSON: Duration = Duration::from_secs(30);

type Facts = Vec<(&'static str, String)>;

fn status(code: Code, reason: &str, message: &str, facts: Facts, also: impl FnOnce(&mut ErrorDetails)) -> Status {
    let mut metadata: HashMap<String, String> = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if let Some(trace_id) = context::current_trace_id() {
        metadata.insert("trace_id".to_owned(), trace_id);
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    also(&mut details);
    Status::with_error_details(code, message, details)
}

fn again_after(code: Code, reason: &str, message: &str, after: Duration) -> Status {
    status(code, reason, message, Facts::new(), |details| {
        details.set_retry_info(Some(after));
    })
}

/// A request whose fields are wrong.
pub(super) fn invalid(violations: Vec<FieldViolation>) -> Status {
    let message = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect::<Vec<_>>().join("; ");
    status(Code::InvalidArgument, "INVALID_ARGUMENT", &message, Facts::new(), |details| {
        details.set_bad_request(violations);
    })
}

/// How a use case ended, where it did not end well.
pub(super) fn of(error: &Error) -> Status {
    match error {
        Error::Rejected(rejection) => rejected(rejection),
        Error::Failed(failure) => failed(failure),
    }
}

fn rejected(rejection: &Rejection) -> Status {
    let (code, reason, facts) = match rejection {
        Rejection::Declined { id, reason } => {
            let reason = match reason {
                DeclineReason::Declined => "DECLINED",
                DeclineReason::InsufficientFunds => "INSUFFICIENT_FUNDS",
                DeclineReason::AmountLimitExceeded => "AMOUNT_LIMIT_EXCEEDED",
            };
            (Code::FailedPrecondition, reason, vec![("payment_id", id.to_string())])
        }
        Rejection::StepCompensated(_) => (Code::FailedPrecondition, "STEP_COMPENSATED", Facts::new()),
        Rejection::StepKeyReused(_) => (Code::FailedPrecondition, "STEP_KEY_REUSED", Facts::new()),
        Rejection::IllegalState { id, from, to } => {
            let reason = match to {
                State::Captured => "NOT_CAPTURABLE",
                State::Voided => "NOT_VOIDABLE",
                _ => "NOT_REFUNDABLE",
            };
            let facts = vec![
                ("payment_id", id.to_string()),
                ("state", from.name().to_owned()),
                ("requested_state", to.name().to_owned()),
            ];
            (Code::FailedPrecondition, reason, facts)
        }
        Rejection::RefundRefused(id) | Rejection::TooManyRefunds(id) => {
            (Code::FailedPrecondition, "NOT_REFUNDABLE", vec![("payment_id", id.to_string())])
        }
        Rejection::CaptureRefused(id) | Rejection::TooManyCaptures(id) => {
            (Code::FailedPrecondition, "NOT_CAPTURABLE", vec![("payment_id", id.to_string())])
        }
        Rejection::CaptureExceedsAuthorized { authorized, .. } => {
            (Code::FailedPrecondition, "CAPTURE_EXCEEDS_AUTHORIZED", amount("authorized_minor", *authorized))
        }
        Rejection::RefundExceedsCaptured { left, .. } => {
            (Code::FailedPrecondition, "REFUND_EXCEEDS_CAPTURED", amount("left_minor", *left))
        }
        Rejection::OtherCurrency { .. } => {
            return invalid(vec![FieldViolation::new("amount.currency", rejection.to_string())]);
        }
        Rejection::PaymentNotFound(id) => (Code::NotFound, "PAYMENT_NOT_FOUND", vec![("payment_id", id.to_string())]),
    };
    status(code, reason, &rejection.to_string(), facts, |_| {})
}

fn amount(name: &'static str, amount: Money) -> Facts {
    vec![(name, amount.amount_minor().to_string()), ("currency", amount.currency().code().to_owned())]
}

fn failed(failure: &Failure) -> Status {
    match failure {
        Failure::Processor(why) => {
            tracing::info!(reason = why.sentence(), "nobody knows what the processor did");
            let (reason, after) = match why {
                Unknown::TimedOut => ("PROCESSOR_TIMED_OUT", AGAIN_AFTER_PROCESSOR),
                Unknown::Failed => ("PROCESSOR_UNAVAILABLE", AGAIN_AFTER_PROCESSOR),
                Unknown::Busy { retry_after } => ("PROCESSOR_BUSY", *retry_after),
            };
            again_after(Code::Unavailable, reason, why.sentence(), after)
        }
        Failure::UndoRefused => {
            again_after(Code::Unavailable, "UNDO_REFUSED", &failure.to_string(), AGAIN_AFTER_A_PERSON)
        }
        Failure::Store(StoreError::Contended) => {
            let message = "other calls for this payment were in the way";
            again_after(Code::Unavailable, "CONTENDED", message, AGAIN_AFTER_CONTENTION)
        }
        Failure::Store(error) if error.is_transient() => {
            tracing::warn!(error = chain(error), "the store cannot be asked");
            let message = "the payment store cannot be reached at the moment";
            again_after(Code::Unavailable, "STORE_UNAVAILABLE", message, AGAIN_AFTER_STORE)
        }
        // Its password or its rights have been changed: for an operator to mend, and no mistake in the request or in this program.
        Failure::Store(error @ StoreError::Misconfigured(_)) => {
            tracing::error!(error = chain(error), "the store refuses this service");
            let message = "the payment store cannot be reached at the moment";
            again_after(Code::Unavailable, "STORE_UNAVAILABLE", message, AGAIN_AFTER_A_PERSON)
        }
        Failure::Store(_) | Failure::Illegal(_) => {
            tracing::error!(error = chain(failure), "a bug, or a hand in the database");
            internal()
        }
    }
}

/// More calls at once than are allowed.
pub(super) fn overloaded() -> Status {
    let message = "too many payments are being made at once";
    again_after(Code::Unavailable, "OVERLOADED", message, AGAIN_AFTER_PROCESSOR)
}

/// Took longer than all its parts may take together.
pub(super) fn out_of_time() -> Status {
    let message = "the payment could not be settled in time";
    again_after(Code::Unavailable, "OUT_OF_TIME", message, AGAIN_AFTER_STORE)
}

/// Our fault.
pub(super) fn panicked(error: &tokio::task::JoinError) -> Status {
    tracing::error!(%error, "a payment's task ended before its work");
    internal()
}

/// Injected on purpose.
pub(super) fn injected() -> Status {
    let message = "the service is unavailable (injected)";
    again_after(Code::Unavailable, "INJECTED", message, AGAIN_AFTER_PROCESSOR)
}

/// Injected on purpose.
pub(super) fn rate_limited() -> Status {
    let message = "too many calls (injected)";
    again_after(Code::ResourceExhausted, "RATE_LIMITED", message, AGAIN_AFTER_PROCESSOR)
}

/// A mistake of ours, or one injected on purpose.
pub(super) fn internal() -> Status {
    let message = "something went wrong on our side; the trace id tells us what";
    status(Code::Internal, "INTERNAL", message, Facts::new(), |_| {})
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
    use amends_primitives::{Currency, PaymentId, SagaId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::StepKey;

    fn check(error: impl Into<Error>, code: Code, reason: &str) -> Status {
        let status = of(&error.into());
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, DOMAIN));
        status
    }

    #[test]
    fn every_refusal_has_the_reason_the_contract_names() {
        let id = PaymentId::new(Uuid::from_u128(1));
        let key = StepKey::try_new(SagaId::new(Uuid::from_u128(2)), "charge").unwrap();
        let eur = |minor| Money::new(minor, Currency::EUR);
        let precondition = Code::FailedPrecondition;
        for reason in DeclineReason::ALL {
            let status = check(Rejection::Declined { id, reason }, precondition, &reason.name().to_uppercase());
            assert_eq!(status.get_details_error_info().unwrap().metadata["payment_id"], id.to_string());
        }
        check(Rejection::StepCompensated(key.clone()), precondition, "STEP_COMPENSATED");
        check(Rejection::StepKeyReused(key), precondition, "STEP_KEY_REUSED");
        for (to, reason) in
            [(State::Refunded, "NOT_REFUNDABLE"), (State::Captured, "NOT_CAPTURABLE"), (State::Voided, "NOT_VOIDABLE")]
        {
            let status = check(Rejection::IllegalState { id, from: State::Declined, to }, precondition, reason);
            assert_eq!(status.message(), format!("payment {id} is declined: it cannot become {}", to.name()));
            let facts = status.get_details_error_info().unwrap().metadata;
            assert_eq!((facts["state"].as_str(), facts["requested_state"].as_str()), ("declined", to.name()));
        }
        check(Rejection::CaptureRefused(id), precondition, "NOT_CAPTURABLE");
        check(Rejection::TooManyCaptures(id), precondition, "NOT_CAPTURABLE");
        let exceeds = Rejection::CaptureExceedsAuthorized { asked: eur(2), authorized: eur(1) };
        let status = check(exceeds, precondition, "CAPTURE_EXCEEDS_AUTHORIZED");
        assert_eq!(status.get_details_error_info().unwrap().metadata["authorized_minor"], "1");
        check(Rejection::RefundRefused(id), precondition, "NOT_REFUNDABLE");
        check(Rejection::TooManyRefunds(id), precondition, "NOT_REFUNDABLE");
        let exceeds = Rejection::RefundExceedsCaptured { asked: eur(2), left: eur(1) };
        check(exceeds, precondition, "REFUND_EXCEEDS_CAPTURED");
        check(Rejection::PaymentNotFound(id), Code::NotFound, "PAYMENT_NOT_FOUND");
        let dollars = Rejection::OtherCurrency { asked: Money::new(1, Currency::USD), payment: eur(1) };
        let status = check(dollars, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "amount.currency");
    }

    #[test]
    fn what_nobody_knows_may_be_asked_again_and_keeps_its_details_to_itself() {
        for (failure, reason) in [
            (Failure::Processor(Unknown::TimedOut), "PROCESSOR_TIMED_OUT"),
            (Failure::Processor(Unknown::Failed), "PROCESSOR_UNAVAILABLE"),
            (Failure::Processor(Unknown::Busy { retry_after: Duration::from_secs(3) }), "PROCESSOR_BUSY"),
            (Failure::UndoRefused, "UNDO_REFUSED"),
            (StoreError::Contended.into(), "CONTENDED"),
            (StoreError::Unavailable("host db-1:27017 refused".into()).into(), "STORE_UNAVAILABLE"),
            (StoreError::Misconfigured("db-1: bad auth".into()).into(), "STORE_UNAVAILABLE"),
        ] {
            let status = check(failure, Code::Unavailable, reason);
            assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
            assert!(!status.message().contains("db-1"));
        }
        for error in [StoreError::Corrupt { what: "currency" }, StoreError::Bug("secret".into())] {
            let status = check(Failure::Store(error), Code::Internal, "INTERNAL");
            assert!(!status.message().contains("currency") && !status.message().contains("secret"));
        }
    }
}
