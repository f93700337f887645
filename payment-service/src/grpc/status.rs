//! Refusals and failures as gRPC statuses with `google.rpc` details. The reasons are part of the contract: see `payments.proto`.
//!
//! FAILED_PRECONDITION, NOT_FOUND and INVALID_ARGUMENT say that surely nothing happened; every other code says that it is in doubt.

use std::time::Duration;

use amends_primitives::Money;
use service_base::problem::{Code, FieldError, Problem};
use service_kit::grpc::fields::invalid;
use tonic::Status;

use super::DOMAIN;
use crate::{
    app::{Error, Failure},
    domain::{DeclineReason, Rejection, Status as State},
    processor::Unknown,
    store::StoreError,
};

/// A store that is away is found again within a heartbeat of its driver.
const RETRY_AFTER_STORE: Duration = Duration::from_secs(1);
/// A processor that did not answer once may well answer the next time.
const RETRY_AFTER_PROCESSOR: Duration = Duration::from_millis(100);
/// The competing call has ended by then.
const RETRY_AFTER_CONTENTION: Duration = Duration::from_millis(50);
/// A person must look; asking more often only fills logs.
const RETRY_AFTER_OPERATOR: Duration = Duration::from_secs(30);
const STORE_AWAY: &str = "the payment store cannot be reached at the moment";

fn problem(code: Code, message: &impl ToString) -> Problem {
    Problem::of(code, message.to_string()).domain(DOMAIN)
}

fn plain(code: Code) -> Problem {
    Problem::from(code).domain(DOMAIN)
}

fn retry_after_status(code: Code, message: &impl ToString, after: Duration) -> Status {
    problem(code, message).retry_after(after).into()
}

/// How a use case ended, where it did not end well.
pub(super) fn of(error: &Error) -> Status {
    match error {
        Error::Rejected(rejection) => rejected(rejection),
        Error::Failed(failure) => failed(failure),
    }
}

fn rejected(rejection: &Rejection) -> Status {
    let refused = |code| problem(code, rejection);
    let amount = |code, name, amount: &Money| {
        refused(code).extension(name, amount.amount_minor()).extension("currency", amount.currency().code())
    };
    let refused = match rejection {
        Rejection::Declined { id, reason } => {
            let code = match reason {
                DeclineReason::Declined => Code::Declined,
                DeclineReason::InsufficientFunds => Code::InsufficientFunds,
                DeclineReason::AmountLimitExceeded => Code::AmountLimitExceeded,
            };
            refused(code).extension("payment_id", id.to_string())
        }
        Rejection::StepCompensated(_) => refused(Code::StepCompensated),
        Rejection::StepKeyReused(_) => refused(Code::StepKeyReused),
        Rejection::IllegalState { id, from, to } => {
            let code = match to {
                State::Captured => Code::NotCapturable,
                State::Voided => Code::NotVoidable,
                _ => Code::NotRefundable,
            };
            refused(code)
                .extension("payment_id", id.to_string())
                .extension("state", from.name())
                .extension("requested_state", to.name())
        }
        Rejection::RefundRefused(id) | Rejection::TooManyRefunds(id) => {
            refused(Code::NotRefundable).extension("payment_id", id.to_string())
        }
        Rejection::CaptureRefused(id) | Rejection::TooManyCaptures(id) => {
            refused(Code::NotCapturable).extension("payment_id", id.to_string())
        }
        Rejection::CaptureExceedsAuthorized { authorized, .. } => {
            amount(Code::CaptureExceedsAuthorized, "authorized_minor", authorized)
        }
        Rejection::RefundExceedsCaptured { left, .. } => amount(Code::RefundExceedsCaptured, "left_minor", left),
        Rejection::OtherCurrency { .. } => {
            return invalid(
                DOMAIN,
                vec![FieldError { field: "amount.currency".to_owned(), message: rejection.to_string() }],
            );
        }
        Rejection::PaymentNotFound(id) => refused(Code::PaymentNotFound).extension("payment_id", id.to_string()),
    };
    refused.into()
}

fn failed(failure: &Failure) -> Status {
    match failure {
        Failure::Processor(why) => {
            tracing::info!(reason = why.sentence(), "nobody knows what the processor did");
            let (code, after) = match why {
                Unknown::TimedOut => (Code::ProcessorTimedOut, RETRY_AFTER_PROCESSOR),
                Unknown::Failed => (Code::ProcessorUnavailable, RETRY_AFTER_PROCESSOR),
                Unknown::Busy { retry_after } => (Code::ProcessorBusy, *retry_after),
            };
            retry_after_status(code, &why.sentence(), after)
        }
        Failure::UndoRefused => retry_after_status(Code::UndoRefused, failure, RETRY_AFTER_OPERATOR),
        Failure::Store(StoreError::Contended) => plain(Code::Contended).retry_after(RETRY_AFTER_CONTENTION).into(),
        Failure::Store(error) if error.is_transient() => {
            tracing::warn!(error = amends_sql::in_words(error), "the store cannot be asked");
            retry_after_status(Code::StoreUnavailable, &STORE_AWAY, RETRY_AFTER_STORE)
        }
        // Its password or its rights have been changed: for an operator to correct; neither the request nor this program is wrong.
        Failure::Store(error @ StoreError::Misconfigured(_)) => {
            tracing::error!(error = amends_sql::in_words(error), "the store refuses this service");
            retry_after_status(Code::StoreUnavailable, &STORE_AWAY, RETRY_AFTER_OPERATOR)
        }
        Failure::Store(_) | Failure::Illegal(_) => {
            tracing::error!(error = amends_sql::in_words(failure), "a bug, or a hand in the database");
            internal()
        }
    }
}

/// More calls at once than are allowed.
pub(super) fn overloaded() -> Status {
    retry_after_status(Code::Overloaded, &"too many payments are being made at once", RETRY_AFTER_PROCESSOR)
}

/// Took longer than all its parts may take together.
pub(super) fn out_of_time() -> Status {
    plain(Code::OutOfTime).retry_after(RETRY_AFTER_STORE).into()
}

/// Our fault.
pub(super) fn panicked(error: &tokio::task::JoinError) -> Status {
    tracing::error!(%error, "a payment's task ended before its work");
    internal()
}

/// A mistake of ours.
fn internal() -> Status {
    plain(Code::Internal).into()
}

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, PaymentId, SagaId};
    use tonic_types::StatusExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::domain::StepKey;

    fn check(error: impl Into<Error>, code: tonic::Code, reason: &str) -> Status {
        let status = of(&error.into());
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str(), info.domain.as_str()), (code, reason, "amends.payments"));
        status
    }

    #[test]
    fn every_refusal_has_the_reason_the_contract_names() {
        let id = PaymentId::new(Uuid::from_u128(1));
        let key = StepKey::try_new(SagaId::new(Uuid::from_u128(2)), "charge").unwrap();
        let eur = |minor| Money::new(minor, Currency::EUR);
        let precondition = tonic::Code::FailedPrecondition;
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
        check(Rejection::PaymentNotFound(id), tonic::Code::NotFound, "PAYMENT_NOT_FOUND");
        let dollars = Rejection::OtherCurrency { asked: Money::new(1, Currency::USD), payment: eur(1) };
        let status = check(dollars, tonic::Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "amount.currency");
    }

    #[test]
    fn an_unknown_outcome_is_retriable_and_hides_its_details() {
        for (failure, reason) in [
            (Failure::Processor(Unknown::TimedOut), "PROCESSOR_TIMED_OUT"),
            (Failure::Processor(Unknown::Failed), "PROCESSOR_UNAVAILABLE"),
            (Failure::Processor(Unknown::Busy { retry_after: Duration::from_secs(3) }), "PROCESSOR_BUSY"),
            (Failure::UndoRefused, "UNDO_REFUSED"),
            (StoreError::Contended.into(), "CONTENDED"),
            (StoreError::Unavailable("host db-1:27017 refused".into()).into(), "STORE_UNAVAILABLE"),
            (StoreError::Misconfigured("db-1: bad auth".into()).into(), "STORE_UNAVAILABLE"),
        ] {
            let status = check(failure, tonic::Code::Unavailable, reason);
            assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
            assert!(!status.message().contains("db-1"));
        }
        for error in [StoreError::Corrupt { what: "currency" }, StoreError::Bug("secret".into())] {
            let status = check(Failure::Store(error), tonic::Code::Internal, "INTERNAL");
            assert!(!status.message().contains("currency") && !status.message().contains("secret"));
        }
    }
}
