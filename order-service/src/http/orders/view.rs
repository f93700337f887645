//! An order as JSON. Made from the domain by hand, so that refactoring the domain cannot break a caller.

use amends_primitives::Money;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Order, State};

/// An amount in the minor unit of its currency; never a fraction.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Money)]
pub struct MoneyView {
    /// Minor units: cents for EUR.
    #[schema(example = 3700)]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR", pattern = "^[A-Z]{3}$")]
    pub currency: String,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { amount_minor: money.amount_minor(), currency: money.currency().code().to_owned() }
    }
}

/// One line of an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OrderLine)]
pub struct LineView {
    /// The article.
    #[schema(example = "espresso-1kg")]
    pub sku: String,
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quantity: u32,
    /// The price of one.
    pub unit_price: MoneyView,
}

/// An order's payment.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OrderPayment)]
pub struct PaymentView {
    /// Its id.
    pub id: String,
    /// `captured` or `refunded`.
    #[schema(example = "captured")]
    pub status: &'static str,
}

/// An order's latest saga.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OrderSaga)]
pub struct SagaView {
    /// Its id.
    pub id: String,
    /// `running`, `unwinding`, `completed`, `unwound` or `parked`.
    #[schema(example = "completed")]
    pub status: &'static str,
}

/// Why an order failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OrderFailure)]
pub struct FailureView {
    /// The stable code, as in the problem that answered: `payment_declined`.
    #[schema(example = "payment_declined")]
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// An order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderView {
    /// Its id, a version 7 UUID.
    pub id: String,
    /// `pending`, `confirmed`, `failed`, `cancelling`, `cancelled` or `shipped`.
    #[schema(example = "confirmed")]
    pub status: &'static str,
    /// Who ordered: the token's subject.
    #[schema(example = "demo")]
    pub customer_id: String,
    /// What was ordered.
    pub items: Vec<LineView>,
    /// What it costs.
    pub total: MoneyView,
    /// Present once money was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
    /// The saga at work on it, or the last that was.
    pub saga: SagaView,
    /// Present on a failed order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// The trace it was placed in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trace_id: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC: its last change.
    pub updated_at: String,
}

impl OrderView {
    /// The order, and where its latest saga is.
    pub fn of(order: &Order, saga: saga_engine::Status) -> Self {
        let payment = |id: amends_primitives::PaymentId, status| Some(PaymentView { id: id.to_string(), status });
        let (payment, failure) = match &order.state {
            State::New | State::Pending => (None, None),
            State::Confirmed { receipt, .. } | State::Shipped { receipt, .. } | State::Cancelling { receipt, .. } => {
                (payment(receipt.payment, "captured"), None)
            }
            State::Cancelled { receipt, .. } => (payment(receipt.payment, "refunded"), None),
            State::Failed { failure, refunded, .. } => (
                refunded.and_then(|id| payment(id, "refunded")),
                Some(FailureView { code: failure.code.to_string(), message: failure.message.clone() }),
            ),
        };
        Self {
            id: order.head.id.to_string(),
            status: order.status().as_str(),
            customer_id: order.head.customer.as_str().to_owned(),
            items: order
                .head
                .lines
                .iter()
                .map(|line| LineView {
                    sku: line.sku.as_str().to_owned(),
                    quantity: line.quantity.get(),
                    unit_price: line.unit_price.into(),
                })
                .collect(),
            total: order.head.total.into(),
            payment,
            saga: SagaView { id: order.latest_saga().to_string(), status: saga.as_str() },
            failure,
            trace_id: order.head.trace_id.clone(),
            created_at: order.head.created_at.to_string(),
            updated_at: order.updated_at.to_string(),
        }
    }
}
