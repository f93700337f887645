//! `CancelOrder`

use amends_protos::orders::v1::{CancelOrderRequest, CancelOrderResponse};
use service_base::problem::Problem;

use super::{OrdersGrpc, convert, order_id};
use crate::app::Caller;

impl OrdersGrpc {
    pub(super) async fn cancel(
        &self,
        caller: &Caller,
        message: &CancelOrderRequest,
    ) -> Result<CancelOrderResponse, Problem> {
        let id = order_id(&message.order_id)?;
        let cancelled = self.api.core.cancel_order(caller, id, self.wait_limits(false)).await?;
        Ok(CancelOrderResponse { order: Some(convert::order(&cancelled.order, cancelled.saga)) })
    }
}
