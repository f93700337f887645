//! Our words to protobuf's.

use amends_primitives::{Money, PaymentId, Timestamp};
use amends_protos::{common::v1 as common, orders::v1 as proto};
use saga_engine::{
    Status as SagaStatus,
    timeline::{EntryOutcome, Phase, Timeline, TimelineEntry},
};

use crate::domain::{Order, State, Status};

fn money(money: Money) -> common::Money {
    common::Money { amount_minor: money.amount_minor(), currency: money.currency().code().to_owned() }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

fn order_status(status: Status) -> proto::OrderStatus {
    match status {
        Status::Pending => proto::OrderStatus::Pending,
        Status::Confirmed => proto::OrderStatus::Confirmed,
        Status::Failed => proto::OrderStatus::Failed,
        Status::Cancelling => proto::OrderStatus::Cancelling,
        Status::Cancelled => proto::OrderStatus::Cancelled,
        Status::Shipped => proto::OrderStatus::Shipped,
    }
}

/// The status a filter names; `Err` for a number that names none.
pub(super) fn status_filter(number: i32) -> Result<Option<Status>, ()> {
    Ok(match proto::OrderStatus::try_from(number).map_err(|_| ())? {
        proto::OrderStatus::Unspecified => None,
        proto::OrderStatus::Pending => Some(Status::Pending),
        proto::OrderStatus::Confirmed => Some(Status::Confirmed),
        proto::OrderStatus::Failed => Some(Status::Failed),
        proto::OrderStatus::Cancelling => Some(Status::Cancelling),
        proto::OrderStatus::Cancelled => Some(Status::Cancelled),
        proto::OrderStatus::Shipped => Some(Status::Shipped),
    })
}

fn saga_status(status: SagaStatus) -> proto::SagaStatus {
    match status {
        SagaStatus::Running => proto::SagaStatus::Running,
        SagaStatus::Unwinding => proto::SagaStatus::Unwinding,
        SagaStatus::Completed => proto::SagaStatus::Completed,
        SagaStatus::Unwound => proto::SagaStatus::Unwound,
        SagaStatus::Parked => proto::SagaStatus::Parked,
    }
}

pub(super) fn order(order: &Order, saga: SagaStatus) -> proto::Order {
    let payment = |id: PaymentId, status: proto::PaymentStatus| {
        Some(proto::OrderPayment { id: id.to_string(), status: status.into() })
    };
    let (payment, failure) = match &order.state {
        State::New | State::Pending => (None, None),
        State::Confirmed { receipt, .. } | State::Shipped { receipt, .. } | State::Cancelling { receipt, .. } => {
            (payment(receipt.payment, proto::PaymentStatus::Captured), None)
        }
        State::Cancelled { receipt, .. } => (payment(receipt.payment, proto::PaymentStatus::Refunded), None),
        State::Failed { failure, refunded, .. } => (
            refunded.and_then(|id| payment(id, proto::PaymentStatus::Refunded)),
            Some(proto::Failure { code: failure.code.to_string(), message: failure.message.clone() }),
        ),
    };
    proto::Order {
        id: order.head.id.to_string(),
        status: order_status(order.status()).into(),
        customer_id: order.head.customer.as_str().to_owned(),
        items: order
            .head
            .lines
            .iter()
            .map(|line| proto::OrderLine {
                sku: line.sku.as_str().to_owned(),
                quantity: line.quantity.get(),
                unit_price: Some(money(line.unit_price)),
            })
            .collect(),
        total: Some(money(order.head.total)),
        payment,
        saga: Some(proto::OrderSaga { id: order.latest_saga().to_string(), status: saga_status(saga).into() }),
        trace_id: order.head.trace_id.clone(),
        created_at: Some(timestamp(order.head.created_at)),
        updated_at: Some(timestamp(order.updated_at)),
        failure,
    }
}

pub(super) fn timeline(timeline: &Timeline) -> proto::Saga {
    proto::Saga {
        id: timeline.row.id.to_string(),
        definition: timeline.row.definition.name.clone(),
        version: timeline.row.definition.version,
        status: saga_status(timeline.status()).into(),
        steps: timeline.entries.iter().map(step).collect(),
        trace_id: timeline.trace().trace_id().unwrap_or_default().to_owned(),
        started_at: Some(timestamp(timeline.row.created_at)),
        finished_at: timeline.row.finished_at.map(timestamp),
    }
}

fn step(entry: &TimelineEntry) -> proto::SagaStep {
    let phase = match entry.phase {
        Phase::Action => proto::StepPhase::Action,
        Phase::Compensation => proto::StepPhase::Compensation,
        Phase::Close => proto::StepPhase::Close,
    };
    let outcome = match entry.outcome {
        EntryOutcome::InFlight => proto::StepOutcome::Unspecified,
        // What a phase was for has happened: the action is done, its compensation is, the pivot is closed.
        EntryOutcome::Done | EntryOutcome::Undone | EntryOutcome::Closed => proto::StepOutcome::Done,
        EntryOutcome::Refused => proto::StepOutcome::Refused,
        EntryOutcome::Unknown | EntryOutcome::NotYet => proto::StepOutcome::Unknown,
        EntryOutcome::NotSent => proto::StepOutcome::NotSent,
    };
    proto::SagaStep {
        name: entry.step.clone(),
        phase: phase.into(),
        attempts: entry.attempts,
        outcome: outcome.into(),
        code: entry.code.clone().unwrap_or_default(),
        detail: entry.detail.clone().unwrap_or_default(),
        started_at: Some(timestamp(entry.started_at)),
        finished_at: entry.finished_at.map(timestamp),
    }
}
