//! What went wrong, as callers see it: the one place where our errors get a kind and a stable code. REST sends the problem, gRPC the
//! status made from it.

use std::time::Duration;

use amends_primitives::OrderId;
use service_base::{
    problem::{Code, FieldError, Problem},
    sampled::Sampled,
};

use crate::{
    app::{CancelError, Failed, Invalid, ItemsError, KeyProblem, LookupError, NotFound, PlaceOrderError},
    domain::{Failure, FailureCode, Order},
    ports::Unavailable,
};

/// What callers are told to wait when the cause names no time.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Callers are told to wait no longer; a circuit that stays open longer will say so again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Where an order is.
pub(crate) fn location(id: OrderId) -> String {
    format!("/v1/orders/{id}")
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        let fields = error.fields.into_iter().map(|wrong| FieldError { field: wrong.field, message: wrong.message });
        Self::from(error.code).fields(fields)
    }
}

impl From<KeyProblem> for Problem {
    fn from(error: KeyProblem) -> Self {
        let problem = match error {
            KeyProblem::Missing => Self::of(Code::MissingIdempotencyKey, error.to_string()),
            KeyProblem::Malformed => Self::of(Code::InvalidIdempotencyKey, format!("the idempotency key {error}")),
        };
        problem.field("idempotency_key", error.to_string())
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        static SAMPLED: Sampled = Sampled::new();
        if let Some(refused_count) = SAMPLED.count(error.dependency) {
            tracing::warn!(
                peer.service = error.dependency,
                service.peer.name = error.dependency,
                error = error.message,
                refused_count,
                "a dependency cannot be asked"
            );
        }
        let wait = error.retry_after.unwrap_or(RETRY_AFTER).min(RETRY_AFTER_MAX);
        let detail = "a service this depends on cannot be reached at the moment; nothing was done";
        Self::of(Code::DependencyUnavailable, detail).retry_after(wait)
    }
}

impl From<Failed> for Problem {
    fn from(error: Failed) -> Self {
        match error {
            Failed::Store(error) if error.is_unavailable() => Self::store_unavailable(amends_sql::in_words(&error)),
            Failed::Store(error) => Self::bug(amends_sql::in_words(&error)),
            Failed::Unavailable(error) => error.into(),
            Failed::Overloaded => Self::of(
                Code::Overloaded,
                "more orders arrive than can be finished in reasonable time; this request did nothing",
            )
            .retry_after(Duration::from_secs(1)),
        }
    }
}

impl From<NotFound> for Problem {
    fn from(error: NotFound) -> Self {
        Self::of(Code::OrderNotFound, error.to_string())
    }
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NotFound(error) => error.into(),
            LookupError::Failed(error) => error.into(),
        }
    }
}

impl From<PlaceOrderError> for Problem {
    fn from(error: PlaceOrderError) -> Self {
        match error {
            PlaceOrderError::Invalid(error) => error.into(),
            PlaceOrderError::KeyReused => Self::of(Code::IdempotencyKeyReused, error.to_string())
                .field("idempotency_key", "belongs to another request; make a new one for a new order"),
            PlaceOrderError::Unwinding(order) => {
                unavailable("the order is being undone because a service cannot be reached")
                    .location(location(order))
                    .extension("order_id", order.to_string())
            }
            PlaceOrderError::Failed(error) => error.into(),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound(error) => error.into(),
            CancelError::NotCancellable(rejection) => Self::of(Code::OrderNotCancellable, rejection.to_string()),
            CancelError::Failed(error) => error.into(),
        }
    }
}

impl From<ItemsError> for Problem {
    fn from(error: ItemsError) -> Self {
        match error {
            ItemsError::NotFound => Self::of(Code::NotFound, error.to_string()),
            ItemsError::BadCursor => Self::invalid("cursor", "is not a cursor of ours"),
            ItemsError::Failed(error) => error.into(),
        }
    }
}

/// A failed order, as the answer to placing it.
pub(crate) fn refused_order(order: &Order, failure: &Failure) -> Problem {
    let message = failure.message.as_str();
    let problem = match &failure.code {
        FailureCode::InsufficientStock => Problem::of(Code::InsufficientStock, message),
        FailureCode::PriceMismatch => Problem::of(Code::PriceMismatch, message),
        FailureCode::ReservationExpired => Problem::of(Code::ReservationExpired, message),
        FailureCode::PaymentDeclined => Problem::of(Code::PaymentDeclined, message),
        FailureCode::UnknownSku => Problem::of(Code::UnknownSku, message).field("items", message),
        FailureCode::DependencyUnavailable => {
            unavailable("the order was undone because a service could not be reached")
        }
        code @ (FailureCode::Internal | FailureCode::Other(_)) => {
            Problem::bug(format_args!("order {} failed with {code}: {message}", order.head.id))
        }
    };
    problem.location(location(order.head.id)).extension("order_id", order.head.id.to_string())
}

fn unavailable(detail: &str) -> Problem {
    Problem::of(Code::DependencyUnavailable, format!("{detail}; try again with the same key")).retry_after(RETRY_AFTER)
}
