//! `CreateOrder`

use amends_protos::orders::v1::{CreateOrderRequest, CreateOrderResponse, NewOrderLine};
use service_base::problem::Problem;

use super::{OrdersGrpc, convert};
use crate::{
    app::{Caller, Draft, DraftLine, DraftPrice, PlaceOrder, idempotency_key},
    domain::State,
    problem::refused_order,
};

impl From<CreateOrderRequest> for Draft {
    fn from(message: CreateOrderRequest) -> Self {
        let line = |line: NewOrderLine| DraftLine {
            sku: line.sku,
            quantity: line.quantity.into(),
            unit_price: line
                .unit_price
                .map(|price| DraftPrice { amount_minor: price.amount_minor, currency: price.currency }),
        };
        Self { items: message.items.into_iter().map(line).collect(), payment_method: message.payment_method }
    }
}

impl OrdersGrpc {
    pub(super) async fn create(
        &self,
        caller: &Caller,
        message: CreateOrderRequest,
    ) -> Result<CreateOrderResponse, Problem> {
        let wait_limits = self.wait_limits(message.respond_async);
        let key = idempotency_key(Some(message.idempotency_key.as_str()))?;
        let ask = PlaceOrder::check(message.into(), key)?;
        let placed = self.api.core.place_order(caller, ask, wait_limits).await?;
        match &placed.order.state {
            State::Failed { failure, .. } => Err(refused_order(&placed.order, failure)),
            _ => Ok(CreateOrderResponse {
                order: Some(convert::order(&placed.order, placed.saga)),
                replayed: placed.replayed,
            }),
        }
    }
}
