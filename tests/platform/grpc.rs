//! The same interface over gRPC, through the same port of the gateway.

use amends_protos::orders::v1::{
    CreateOrderRequest, GetOrderRequest, NewOrderLine, OrderStatus, WatchOrderRequest,
    order_service_client::OrderServiceClient,
};
use amends_tests::{check::key, platform::Platform};
use anyhow::{Result, ensure};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt;

pub(crate) async fn an_order_is_placed_and_read(platform: &Platform) -> Result<()> {
    let mut client = connect(platform).await?;
    let request = with_token(platform, order("case-grpc", 2, "pm_ok", false)).await?;
    let placed = client.create_order(request).await?.into_inner().order.unwrap_or_default();
    ensure!(placed.status() == OrderStatus::Confirmed, "{placed:?}");
    ensure!(placed.total.as_ref().is_some_and(|total| total.amount_minor == 3700), "{placed:?}");
    let read = client.get_order(with_token(platform, GetOrderRequest { order_id: placed.id.clone() }).await?).await?;
    ensure!(read.into_inner().order.is_some_and(|order| order.id == placed.id), "another order came back");
    let books = platform.books(&placed.id).await?;
    ensure!(books.captured == 3700 && books.committed == 1, "{books:?}");
    Ok(())
}

pub(crate) async fn refusals_are_statuses_with_error_info(platform: &Platform) -> Result<()> {
    let mut client = connect(platform).await?;
    let table = [
        (order("case-refused", 1, "pm_declined", false), Code::FailedPrecondition, "PAYMENT_DECLINED"),
        (order("no-such-sku", 1, "pm_ok", false), Code::InvalidArgument, "UNKNOWN_SKU"),
        (order("case-grpc", 0, "pm_ok", false), Code::InvalidArgument, "INVALID_REQUEST"),
    ];
    for (request, code, reason) in table {
        let Err(status) = client.create_order(with_token(platform, request).await?).await else {
            anyhow::bail!("{reason} was expected, an order came back");
        };
        let info = status.get_error_details().error_info().map(|info| info.reason.clone());
        ensure!(status.code() == code && info.as_deref() == Some(reason), "expected {code:?} {reason}: {status:?}");
    }
    let unknown = GetOrderRequest { order_id: uuid::Uuid::nil().to_string() };
    let status = client.get_order(with_token(platform, unknown).await?).await.err();
    ensure!(status.as_ref().is_some_and(|status| status.code() == Code::NotFound), "{status:?}");
    Ok(())
}

pub(crate) async fn watching_an_order_streams_until_it_settles(platform: &Platform) -> Result<()> {
    let mut client = connect(platform).await?;
    let request = with_token(platform, order("case-grpc", 1, "pm_ok", true)).await?;
    let accepted = client.create_order(request).await?.into_inner().order.unwrap_or_default();
    let watch = with_token(platform, WatchOrderRequest { order_id: accepted.id.clone() }).await?;
    let mut stream = client.watch_order(watch).await?.into_inner();
    let mut seen = Vec::new();
    while let Some(message) = stream.message().await? {
        seen.push(message.order.unwrap_or_default().status());
    }
    ensure!(seen.last() == Some(&OrderStatus::Confirmed), "the stream ended with {seen:?}");
    Ok(())
}

pub(crate) async fn a_call_without_a_token_is_unauthenticated(platform: &Platform) -> Result<()> {
    let mut client = connect(platform).await?;
    let status = client.get_order(GetOrderRequest { order_id: uuid::Uuid::nil().to_string() }).await.err();
    ensure!(status.as_ref().is_some_and(|status| status.code() == Code::Unauthenticated), "{status:?}");
    Ok(())
}

async fn connect(platform: &Platform) -> Result<OrderServiceClient<Channel>> {
    Ok(OrderServiceClient::connect(format!("http://{}", platform.gateway)).await?)
}

async fn with_token<T>(platform: &Platform, message: T) -> Result<Request<T>> {
    let demo = platform.demo().await?;
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {}", demo.token().unwrap_or_default()).parse()?);
    request.set_timeout(std::time::Duration::from_secs(10));
    Ok(request)
}

fn order(sku: &str, quantity: u32, payment_method: &str, respond_async: bool) -> CreateOrderRequest {
    let items = vec![NewOrderLine { sku: sku.to_owned(), quantity, unit_price: None }];
    CreateOrderRequest { idempotency_key: key(), items, payment_method: payment_method.to_owned(), respond_async }
}
