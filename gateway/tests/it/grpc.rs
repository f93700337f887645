//! gRPC through the gateway: calls pass whole, refusals come as gRPC has them.

use std::time::Duration;

use amends_protos::orders::v1::{
    CreateOrderRequest, GetOrderRequest, ListOrdersRequest, OrderStatus, WatchOrderRequest,
    order_service_client::OrderServiceClient,
};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::support::{World, free_address, serve_grpc_on};

async fn client(world: &World) -> OrderServiceClient<Channel> {
    let channel = Endpoint::from_shared(world.url("")).unwrap().connect().await.unwrap();
    OrderServiceClient::new(channel).max_decoding_message_size(16 * 1024 * 1024)
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {token}")).unwrap());
    request
}

fn get(id: &str) -> GetOrderRequest {
    GetOrderRequest { order_id: id.to_owned() }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn calls_streams_and_errors_pass_whole() {
    let world = World::start().await;
    let mut client = client(&world).await;
    let token = world.token("orders:read orders:write");

    let mut request = with_token(get("7"), &token);
    request.metadata_mut().insert("x-user-id", MetadataValue::from_static("admin"));
    request.metadata_mut().insert("x-correlation-id", MetadataValue::from_static("mine-3"));
    let answer = client.get_order(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-correlation-id").unwrap(), "mine-3");
    let order = answer.into_inner().order.unwrap();
    assert_eq!((order.id.as_str(), order.status()), ("7", OrderStatus::Confirmed));
    assert!(!order.customer_id.contains("x-user-id"), "{}", order.customer_id);
    for carried in ["x-correlation-id=mine-3", "traceparent=00-", "authorization=Bearer ", "te=trailers"] {
        assert!(order.customer_id.contains(carried), "{carried} is not in {}", order.customer_id);
    }

    let created = client.create_order(with_token(CreateOrderRequest::default(), &token)).await.unwrap();
    assert_eq!(created.into_inner().order.unwrap().id, "new");

    let status = client.get_order(with_token(get("missing"), &token)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), reason(&status).as_str()),
        (Code::NotFound, "there is no such order: ünïcode", "ORDER_NOT_FOUND")
    );

    let watch = |id: &str| with_token(WatchOrderRequest { order_id: id.to_owned() }, &token);
    let stream = client.watch_order(watch("settles")).await.unwrap().into_inner();
    let seen: Vec<OrderStatus> = stream.map(|answer| answer.unwrap().order.unwrap().status()).collect().await;
    assert_eq!(seen, [OrderStatus::Pending, OrderStatus::Confirmed]);

    let mut stream = client.watch_order(watch("fails")).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "the stream failed"));

    // Two megabytes in one answer.
    let listed = client.list_orders(with_token(ListOrdersRequest::default(), &token)).await.unwrap();
    assert_eq!(listed.into_inner().orders.len(), 4000);

    let count = world
        .metric("rpc_server_call_duration_seconds_count{service=\"gateway\"", &["OrderService/GetOrder", "NOT_FOUND"]);
    assert_eq!(count, Some(1.0));
}

#[tokio::test]
async fn refusals_come_as_grpc_has_them() {
    let world = World::start().await;
    let mut client = client(&world).await;
    let status = client.get_order(get("7")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
    let status = client.get_order(with_token(get("7"), "a.b.c")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "INVALID_TOKEN"));
    let status = client.get_order(with_token(get("7"), &world.token("orders:write"))).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "INSUFFICIENT_SCOPE"));
    let status =
        client.create_order(with_token(CreateOrderRequest::default(), &world.token("orders:read"))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let big = CreateOrderRequest { idempotency_key: "x".repeat(2 * 1024 * 1024), ..CreateOrderRequest::default() };
    let status = client.create_order(with_token(big, &world.token("orders:write"))).await.unwrap_err();
    assert_eq!(reason(&status), "PAYLOAD_TOO_LARGE", "{status:?}");

    // Trailers-only: one block of headers, and the stream is over.
    let answer = World::client_h2()
        .post(world.url("/amends.orders.v1.OrderService/GetOrder"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(vec![0, 0, 0, 0, 0])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "16");
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert!(answer.headers()["grpc-message"].to_str().unwrap().contains("token"));
    assert!(answer.headers().contains_key("x-correlation-id"));
    assert_eq!(answer.bytes().await.unwrap().len(), 0);

    let answer = World::client_h2().post(world.url("/amends.payments.v1.PaymentService/Charge"));
    let answer = answer.header("content-type", "application/grpc").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"12".parse().unwrap()));

    // gRPC over HTTP/1.1 cannot work, and says so in HTTP.
    let answer = World::client().post(world.url("/amends.orders.v1.OrderService/GetOrder"));
    let answer = answer.header("content-type", "application/grpc").send().await.unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn deadlines_end_calls() {
    let world = World::with(|config| config.timeouts.answer_ms = 600).await;
    let mut client = client(&world).await;
    let token = world.token("orders:read");

    // The gateway's own bound.
    let status = client.get_order(with_token(get("slow"), &token)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "TIMEOUT"), "{status:?}");

    // The caller's, which the service is told as well. tonic gives up by itself, as `Cancelled`.
    let mut request = with_token(get("slow"), &token);
    request.set_timeout(Duration::from_millis(100));
    let status = client.get_order(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");

    // A stream is not bound by the bound for answers.
    let request = with_token(WatchOrderRequest { order_id: "endless".to_owned() }, &token);
    let mut stream = client.watch_order(request).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(tokio::time::timeout(Duration::from_millis(900), stream.next()).await.is_err());
}

#[tokio::test]
async fn a_service_that_is_down_is_unavailable_until_it_is_back() {
    let address = free_address().await;
    let world = World::with(|config| config.upstreams.order_grpc = address.to_string()).await;
    let mut client = client(&world).await;
    let token = world.token("orders:read");
    let status = client.get_order(with_token(get("7"), &token)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "DEPENDENCY_UNAVAILABLE"));
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));

    serve_grpc_on(tokio::net::TcpListener::bind(address).await.unwrap());
    assert_eq!(client.get_order(with_token(get("7"), &token)).await.unwrap().into_inner().order.unwrap().id, "7");
}
