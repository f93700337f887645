//! `GetSaga`

use amends_protos::orders::v1::{GetSagaRequest, GetSagaResponse};
use service_base::problem::Problem;

use super::{OrdersGrpc, convert, order_id};
use crate::app::{Caller, WhichSaga};

impl OrdersGrpc {
    pub(super) async fn saga(&self, caller: &Caller, message: &GetSagaRequest) -> Result<GetSagaResponse, Problem> {
        let id = order_id(&message.order_id)?;
        let timeline = self.api.core.timeline(caller, id, WhichSaga::Latest, self.read_until()).await?;
        Ok(GetSagaResponse { saga: Some(convert::timeline(&timeline)) })
    }
}
