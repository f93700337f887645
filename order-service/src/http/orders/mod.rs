//! `/v1/orders`, one verb a file.

pub mod cancel;
pub mod get;
pub mod list;
pub mod place;
pub mod saga;
mod view;

pub use view::{FailureView, LineView, MoneyView, OrderView, PaymentView, SagaView};

use amends_primitives::OrderId;
use service_base::problem::Problem;

use crate::app::NotFound;

/// The id in a path. What is no id names no order.
fn order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|_| NotFound.into())
}
