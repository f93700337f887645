//! `WatchOrder`

use std::pin::Pin;

use amends_protos::orders::v1::{WatchOrderRequest, WatchOrderResponse};
use futures::{Stream, StreamExt as _};
use service_base::problem::Problem;
use tokio::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{OrdersGrpc, convert, deadline, order_id};
use crate::app::Caller;

/// The use case has a tighter bound of its own.
const FAR: Duration = Duration::from_hours(24);

impl OrdersGrpc {
    pub(super) async fn watch(
        &self,
        caller: &Caller,
        message: &WatchOrderRequest,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<WatchOrderResponse, Status>> + Send>>, Problem> {
        let id = order_id(&message.order_id)?;
        let until = deadline().unwrap_or_else(|| Instant::now() + FAR);
        let changes = self.api.core.watch_order(caller, id, until).await?;
        let stream = ReceiverStream::new(changes).map(|change| match change {
            Ok((order, saga)) => Ok(WatchOrderResponse { order: Some(convert::order(&order, saga)) }),
            Err(error) => Err(Problem::from(error).into()),
        });
        Ok(Box::pin(stream))
    }
}
