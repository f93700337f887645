//! Inbound gRPC, one rpc a file: the same use cases, rules and codes as REST.
//!
//! Must not know: SQL, sagas' steps, participants.

mod cancel_order;
mod convert;
mod create_order;
mod get_order;
mod get_saga;
mod list_orders;
#[cfg(test)]
mod tests;
mod watch_order;

use std::{pin::Pin, time::Duration};

use amends_auth::Claims;
use amends_primitives::OrderId;
use amends_protos::orders::v1::{self as proto, order_service_server::OrderService};
use futures::Stream;
use service_base::{context::RequestContext, problem::Problem};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    app::{NotFound, WaitLimits},
    http::{self, Api},
};

/// `amends.orders.v1.OrderService`
#[derive(Clone)]
pub struct OrdersGrpc {
    api: Api,
}

impl OrdersGrpc {
    /// Over the use cases.
    pub const fn new(api: Api) -> Self {
        Self { api }
    }

    /// How long a caller with a `grpc-timeout` waits, or one without.
    fn wait_limits(&self, respond_async: bool) -> WaitLimits {
        if respond_async {
            return self.api.wait_limits(Some(Duration::ZERO));
        }
        self.api.wait_limits(deadline().map(|at| at.saturating_duration_since(Instant::now())))
    }

    fn read_until(&self) -> Instant {
        let ours = self.api.read_until();
        deadline().map_or(ours, |callers| callers.min(ours))
    }
}

/// An answer that arrives at the deadline is late: it needs a little time to travel.
const TRAVEL: Duration = Duration::from_millis(100);

/// When the caller wants to have been answered, less the way back. Of a deadline shorter than two such ways, half is left.
fn deadline() -> Option<Instant> {
    let at = RequestContext::current()?.deadline?;
    let left = at.saturating_duration_since(Instant::now());
    Some(at - TRAVEL.min(left / 2))
}

fn claims_of<T>(request: &Request<T>) -> Result<&Claims, Problem> {
    Ok(amends_auth::claims_of(request)?)
}

/// The id in a message. What is no id names no order.
fn order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|_| NotFound.into())
}

#[tonic::async_trait]
impl OrderService for OrdersGrpc {
    async fn create_order(
        &self,
        request: Request<proto::CreateOrderRequest>,
    ) -> Result<Response<proto::CreateOrderResponse>, Status> {
        let caller = http::writer(claims_of(&request)?)?;
        Ok(Response::new(self.create(&caller, request.into_inner()).await?))
    }

    async fn get_order(
        &self,
        request: Request<proto::GetOrderRequest>,
    ) -> Result<Response<proto::GetOrderResponse>, Status> {
        let caller = http::reader(claims_of(&request)?)?;
        Ok(Response::new(self.get(&caller, &request.into_inner()).await?))
    }

    async fn list_orders(
        &self,
        request: Request<proto::ListOrdersRequest>,
    ) -> Result<Response<proto::ListOrdersResponse>, Status> {
        let caller = http::reader(claims_of(&request)?)?;
        Ok(Response::new(self.list(&caller, &request.into_inner()).await?))
    }

    async fn cancel_order(
        &self,
        request: Request<proto::CancelOrderRequest>,
    ) -> Result<Response<proto::CancelOrderResponse>, Status> {
        let caller = http::writer(claims_of(&request)?)?;
        Ok(Response::new(self.cancel(&caller, &request.into_inner()).await?))
    }

    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<proto::WatchOrderResponse, Status>> + Send>>;

    async fn watch_order(
        &self,
        request: Request<proto::WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let caller = http::reader(claims_of(&request)?)?;
        Ok(Response::new(self.watch(&caller, &request.into_inner()).await?))
    }

    async fn get_saga(
        &self,
        request: Request<proto::GetSagaRequest>,
    ) -> Result<Response<proto::GetSagaResponse>, Status> {
        let caller = http::reader(claims_of(&request)?)?;
        Ok(Response::new(self.saga(&caller, &request.into_inner()).await?))
    }
}
