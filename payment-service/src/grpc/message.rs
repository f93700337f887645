//! Payments as messages.

use amends_primitives::{Money, Timestamp};
use amends_protos::{common::v1 as common, payments::v1 as pb};

use crate::domain::{Compensated, DeclineReason, Payment, State, Status};

pub(super) fn payment(payment: &Payment) -> pb::Payment {
    pb::Payment {
        id: payment.id.to_string(),
        order_id: payment.charge.order_id.to_string(),
        customer_id: payment.charge.customer_id.to_string(),
        state: state(payment.status()).into(),
        amount: Some(money(payment.charge.amount)),
        captured: Some(money(payment.captured())),
        refunded: Some(money(payment.refunded())),
        capturable: Some(money(payment.capturable())),
        payment_method: payment.charge.method.to_string(),
        decline_reason: match &payment.state {
            State::Declined { reason } => decline_reason(*reason),
            _ => pb::DeclineReason::Unspecified,
        }
        .into(),
        created_at: Some(timestamp(payment.created_at)),
        updated_at: Some(timestamp(payment.updated_at)),
    }
}

const fn state(status: Status) -> pb::PaymentState {
    match status {
        Status::Pending => pb::PaymentState::Pending,
        Status::Authorized => pb::PaymentState::Authorized,
        Status::Captured => pb::PaymentState::Captured,
        Status::PartiallyRefunded => pb::PaymentState::PartiallyRefunded,
        Status::Refunded => pb::PaymentState::Refunded,
        Status::Declined => pb::PaymentState::Declined,
        Status::Voided => pb::PaymentState::Voided,
    }
}

/// The state a caller asks for; `None` is any.
pub(super) fn status(state: i32) -> Result<Option<Status>, &'static str> {
    Ok(Some(match pb::PaymentState::try_from(state).map_err(|_| "must be one of PaymentState")? {
        pb::PaymentState::Unspecified => return Ok(None),
        pb::PaymentState::Pending => Status::Pending,
        pb::PaymentState::Authorized => Status::Authorized,
        pb::PaymentState::Captured => Status::Captured,
        pb::PaymentState::PartiallyRefunded => Status::PartiallyRefunded,
        pb::PaymentState::Refunded => Status::Refunded,
        pb::PaymentState::Declined => Status::Declined,
        pb::PaymentState::Voided => Status::Voided,
    }))
}

const fn decline_reason(reason: DeclineReason) -> pb::DeclineReason {
    match reason {
        DeclineReason::Declined => pb::DeclineReason::Declined,
        DeclineReason::InsufficientFunds => pb::DeclineReason::InsufficientFunds,
        DeclineReason::AmountLimitExceeded => pb::DeclineReason::AmountLimitExceeded,
    }
}

pub(super) const fn compensated(found: Compensated) -> common::CompensationResult {
    match found {
        Compensated::Undone => common::CompensationResult::Undone,
        Compensated::AlreadyUndone => common::CompensationResult::AlreadyUndone,
        Compensated::NothingToUndo => common::CompensationResult::NothingToUndo,
    }
}

fn money(money: Money) -> common::Money {
    common::Money { amount_minor: money.amount_minor(), currency: money.currency().code().to_owned() }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp::from(at.to_system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_the_journey() {
        for each in Status::ALL {
            assert_eq!(status(state(each).into()), Ok(Some(each)));
        }
        assert_eq!(status(0), Ok(None));
        assert!(status(99).is_err());
    }
}
