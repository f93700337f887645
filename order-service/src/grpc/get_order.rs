//! `GetOrder`

use amends_protos::orders::v1::{GetOrderRequest, GetOrderResponse};
use service_base::problem::Problem;

use super::{OrdersGrpc, convert, order_id};
use crate::app::Caller;

impl OrdersGrpc {
    pub(super) async fn get(&self, caller: &Caller, message: &GetOrderRequest) -> Result<GetOrderResponse, Problem> {
        let id = order_id(&message.order_id)?;
        let (order, saga) = self.api.core.get_order(caller, id, self.read_until()).await?;
        Ok(GetOrderResponse { order: Some(convert::order(&order, saga)) })
    }
}
