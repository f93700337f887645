//! Listing orders, newest first.

use amends_primitives::{OrderId, SagaId};
use tokio::time::Instant;

use super::{Caller, Core, Failed, get_order::settled_status, in_time};
use crate::{
    domain::{Order, Status},
    ports::ListOrders,
};

/// A page costs one round trip whose answer fits a gRPC frame even if every order has every line.
pub const PAGE_MAX: u16 = 100;
/// What is served when nothing is asked for.
pub const PAGE_DEFAULT: u16 = 20;

/// A page of orders.
#[derive(Debug)]
pub struct Listed {
    /// Newest first, each with where its latest saga is.
    pub orders: Vec<(Order, saga_engine::Status)>,
    /// Where the next page begins; none on the last.
    pub next: Option<OrderId>,
}

impl Core {
    /// The caller's orders; all customers' for an administrator.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn list_orders(
        &self,
        caller: &Caller,
        status: Option<Status>,
        before: Option<OrderId>,
        limit: u16,
        until: Instant,
    ) -> Result<Listed, Failed> {
        let customer = (!caller.admin).then(|| caller.customer.clone());
        let ask = ListOrders { customer, status, before, limit: limit.clamp(1, PAGE_MAX) };
        let page = in_time(until, self.store.list(&ask)).await?;
        let moving: Vec<SagaId> =
            page.orders.iter().filter(|order| settled_status(order).is_none()).map(Order::latest_saga).collect();
        let statuses =
            if moving.is_empty() { Vec::new() } else { in_time(until, self.sagas.statuses(&moving)).await? };
        let status_of = |order: &Order| {
            settled_status(order).unwrap_or_else(|| {
                let found = statuses.iter().find(|(saga, _)| *saga == order.latest_saga());
                found.map_or(saga_engine::Status::Running, |(_, status)| *status)
            })
        };
        let orders = page.orders.into_iter().map(|order| (status_of(&order), order)).map(|(s, o)| (o, s)).collect();
        Ok(Listed { orders, next: page.next })
    }
}
