//! `amends.orders.v1.OrderService`, as callers see it, over a real connection.

use std::time::Duration;

use amends_protos::{
    common::v1::Money,
    orders::v1::{
        CancelOrderRequest, CreateOrderRequest, GetOrderRequest, GetSagaRequest, ListOrdersRequest, NewOrderLine,
        OrderStatus, PaymentStatus, SagaStatus, StepOutcome, WatchOrderRequest,
        order_service_client::OrderServiceClient, order_service_server::OrderServiceServer,
    },
};
use axum::{Router, body::Body, extract::Request as HttpRequest};
use service_kit::grpc::Server;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::OrdersGrpc;
use crate::testkit::{Fault, Platform, claims};

/// The router of a platform. The caller is whom the metadata `x-test-sub` and `x-test-scope` say: the token's place is taken by
/// what a verified token says.
async fn router(platform: &Platform) -> Router {
    let orders = OrderServiceServer::new(OrdersGrpc::new(platform.api.clone()));
    Server::new("order-service", &platform.runtime)
        .add_service(orders.max_decoding_message_size(crate::build::MESSAGE_BYTES_MAX))
        .router()
        .await
        .unwrap()
        .layer(axum::middleware::map_request(|request: HttpRequest| std::future::ready(with_claims(request))))
}

/// The server of a platform.
async fn serve(platform: &Platform) -> OrderServiceClient<Channel> {
    let router = router(platform).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = service_kit::http::Limits { http2_only: true, ..service_kit::http::Limits::default() };
    tokio::spawn(service_kit::http::serve_with(listener, router, limits, platform.runtime.shutdown.clone()));
    OrderServiceClient::connect(format!("http://{address}")).await.unwrap()
}

fn with_claims(mut request: HttpRequest) -> HttpRequest {
    let text = |name: &str, default: &str| {
        request.headers().get(name).map_or(default.to_owned(), |value| value.to_str().unwrap().to_owned())
    };
    let claims = claims(&text("x-test-sub", "demo"), &text("x-test-scope", "orders:read orders:write"));
    request.extensions_mut().insert(claims);
    request
}

fn order(key: &str, sku: &str, quantity: u32, method: &str) -> CreateOrderRequest {
    CreateOrderRequest {
        idempotency_key: key.to_owned(),
        items: vec![NewOrderLine { sku: sku.to_owned(), quantity, unit_price: None }],
        payment_method: method.to_owned(),
        respond_async: false,
    }
}

/// The code, the reason and the fields: what a test of a refusal asks.
fn refusal(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let fields = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    let fields: Vec<String> = fields.into_iter().map(|violation| violation.field).collect();
    format!("{:?} {reason} {}", status.code(), fields.join(" ")).trim_end().to_owned()
}

#[tokio::test]
async fn an_order_from_birth_to_cancellation() {
    let platform = Platform::new().await;
    let mut client = serve(&platform).await;
    let placed = client.create_order(order("k", "beans", 2, "pm_ok")).await.unwrap().into_inner();
    assert!(!placed.replayed);
    let first = placed.order.unwrap();
    assert_eq!((first.status(), first.customer_id.as_str()), (OrderStatus::Confirmed, "demo"));
    assert_eq!(first.total, Some(Money { amount_minor: 3700, currency: "EUR".to_owned() }));
    assert_eq!(first.payment.as_ref().unwrap().status(), PaymentStatus::Captured);
    assert_eq!(first.saga.as_ref().unwrap().status(), SagaStatus::Completed);

    let again = client.create_order(order("k", "beans", 2, "pm_ok")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.order.as_ref()), (true, Some(&first)));

    let id = first.id.clone();
    let got = client.get_order(GetOrderRequest { order_id: id.clone() }).await.unwrap().into_inner();
    assert_eq!(got.order, Some(first.clone()));
    let listed = client.list_orders(ListOrdersRequest::default()).await.unwrap().into_inner();
    assert_eq!((listed.orders, listed.next_page_token.as_str()), (vec![first], ""));
    let saga = client.get_saga(GetSagaRequest { order_id: id.clone() }).await.unwrap().into_inner().saga.unwrap();
    let names: Vec<&str> = saga.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["reserve_stock", "charge_payment", "commit_stock", "confirm_order"]);
    assert!(saga.steps.iter().all(|step| step.outcome() == StepOutcome::Done));

    let cancelled = client.cancel_order(CancelOrderRequest { order_id: id }).await.unwrap().into_inner();
    assert_eq!(cancelled.order.unwrap().status(), OrderStatus::Cancelled);
    platform.finish().await;
}

#[tokio::test]
async fn refusals_carry_the_same_codes_as_rest() {
    let platform = Platform::new().await;
    let mut client = serve(&platform).await;
    let mut check = async |request: CreateOrderRequest, expected: &str| {
        let status = client.create_order(request).await.unwrap_err();
        assert_eq!(refusal(&status), expected);
        status
    };
    let declined = check(order("1", "beans", 1, "pm_declined"), "FailedPrecondition PAYMENT_DECLINED").await;
    assert!(declined.get_details_error_info().unwrap().metadata["location"].starts_with("/v1/orders/"));
    check(order("1", "beans", 1, "pm_ok"), "InvalidArgument IDEMPOTENCY_KEY_REUSED idempotency_key").await;
    check(order("2", "cup", 9, "pm_ok"), "FailedPrecondition INSUFFICIENT_STOCK").await;
    check(order("", "cup", 1, "pm_ok"), "InvalidArgument MISSING_IDEMPOTENCY_KEY idempotency_key").await;
    check(order("a b", "cup", 1, "pm_ok"), "InvalidArgument INVALID_IDEMPOTENCY_KEY idempotency_key").await;
    check(order("3", "cup", 0, "pm_ok"), "InvalidArgument INVALID_REQUEST items[0].quantity").await;
    check(order("3", "cup", 1_000_001, "pm_ok"), "InvalidArgument INVALID_REQUEST items[0].quantity").await;
    check(order("3", "none", 1, "pm_ok"), "InvalidArgument UNKNOWN_SKU items[0].sku").await;
    check(CreateOrderRequest { items: vec![], ..order("3", "", 1, "pm_ok") }, "InvalidArgument INVALID_REQUEST items")
        .await;
    platform.books.fault("items", Fault::Down);
    let away = check(order("3", "cup", 1, "pm_ok"), "Unavailable DEPENDENCY_UNAVAILABLE").await;
    assert!(away.get_details_retry_info().is_some());
    platform.finish().await;
}

/// What is answered to bytes that a client library would not send, and the codings the answer offers.
async fn answer_to(router: &Router, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (String, String) {
    let mut request = HttpRequest::post(format!("/amends.orders.v1.OrderService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let codings = response.headers().get("grpc-accept-encoding").map_or("", |value| value.to_str().unwrap()).to_owned();
    assert!(response.headers().contains_key("x-correlation-id"));
    (refusal(&Status::from_header_map(response.headers()).unwrap()), codings)
}

/// A message as gRPC frames it, of which `sent` bytes are sent.
fn frame(flag: u8, length: usize, sent: usize) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend(u32::try_from(length).unwrap().to_be_bytes());
    frame.extend(std::iter::repeat_n(0xff, sent));
    frame
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_refused_with_details() {
    let platform = Platform::new().await;
    let router = router(&platform).await;
    let too_long = "InvalidArgument PAYLOAD_TOO_LARGE message";
    let unreadable = "InvalidArgument BAD_REQUEST message";
    let max = crate::build::MESSAGE_BYTES_MAX;
    // (what is odd, the body, the answer)
    let table = [
        ("a message above the limit", frame(0, max + 1, max + 1), too_long),
        ("a promise of one, and nothing after it", frame(0, max + 1, 0), too_long),
        ("four gigabytes promised", frame(0, u32::MAX as usize, 4), too_long),
        ("a message at the limit that is none", frame(0, max, max), unreadable),
        ("bytes that are no message", frame(0, 3, 3), unreadable),
        ("less than was promised", frame(0, 10, 2), unreadable),
        ("half a prefix", vec![0, 0], unreadable),
        ("no message at all", vec![], unreadable),
        ("compressed, but not said how", frame(1, 3, 3), unreadable),
        ("a flag that does not exist", frame(7, 0, 0), unreadable),
    ];
    for method in ["CreateOrder", "GetOrder", "WatchOrder"] {
        for (what, body, expected) in &table {
            let (answer, _) = answer_to(&router, method, &[], body.clone()).await;
            assert_eq!(answer, *expected, "{method}: {what}");
        }
    }
    for coding in ["gzip", "deflate", "nonsense"] {
        let (answer, codings) = answer_to(&router, "CreateOrder", &[("grpc-encoding", coding)], frame(1, 0, 0)).await;
        assert_eq!(
            (answer.as_str(), codings.as_str()),
            ("Unimplemented UNSUPPORTED_MEDIA_TYPE", "identity"),
            "{coding}"
        );
    }
    assert_eq!(answer_to(&router, "NoSuchMethod", &[], frame(0, 0, 0)).await.0, "Unimplemented METHOD_NOT_ALLOWED");
    let (answer, _) = answer_to(&router, "CreateOrder", &[("grpc-encoding", "identity")], frame(0, 0, 0)).await;
    assert_eq!(answer, "InvalidArgument MISSING_IDEMPOTENCY_KEY idempotency_key", "what can be read is answered by us");
    for odd in ["soon", "", "S", "-1S", "123456789S", "1.5S", "1h"] {
        let (answer, _) = answer_to(&router, "CreateOrder", &[("grpc-timeout", odd)], frame(0, 0, 0)).await;
        assert!(answer.contains("MISSING_IDEMPOTENCY_KEY"), "a deadline that is none is none: {odd:?}: {answer}");
    }
    assert_eq!(platform.finish().await.len(), 0);
}

#[tokio::test]
async fn lookups_refuse_what_is_not_there_or_not_allowed() {
    let platform = Platform::new().await;
    let mut client = serve(&platform).await;
    let id = client.create_order(order("k", "beans", 1, "pm_ok")).await.unwrap().into_inner().order.unwrap().id;
    let asked = |sub: &'static str, scope: &'static str| {
        let mut request = tonic::Request::new(GetOrderRequest { order_id: id.clone() });
        request.metadata_mut().insert("x-test-sub", sub.parse().unwrap());
        request.metadata_mut().insert("x-test-scope", scope.parse().unwrap());
        request
    };
    let status = client.get_order(asked("mallory", "orders:read")).await.unwrap_err();
    assert_eq!(refusal(&status), "NotFound ORDER_NOT_FOUND");
    let status = client.get_order(asked("demo", "orders:write")).await.unwrap_err();
    assert_eq!(refusal(&status), "PermissionDenied INSUFFICIENT_SCOPE");
    assert!(client.get_order(asked("boss", "orders:admin")).await.is_ok());
    for bad in ["", "x", "0198c0de-0000-7000-8000-000000000001"] {
        let status = client.cancel_order(CancelOrderRequest { order_id: bad.to_owned() }).await.unwrap_err();
        assert_eq!(refusal(&status), "NotFound ORDER_NOT_FOUND", "{bad}");
    }
    let page = |page_size, token: &str, status| ListOrdersRequest { page_size, page_token: token.to_owned(), status };
    for (request, field) in
        [(page(101, "", 0), "page_size"), (page(0, "x", 0), "page_token"), (page(0, "", 99), "status")]
    {
        let status = client.list_orders(request).await.unwrap_err();
        assert_eq!(refusal(&status), format!("InvalidArgument INVALID_REQUEST {field}"));
    }
    platform.finish().await;
}

#[tokio::test]
async fn watching_tells_each_change_and_ends() {
    let platform = Platform::with(|config| config.saga.attempt_timeout_ms = 60_000).await;
    let mut client = serve(&platform).await;
    platform.books.fault("charge", Fault::Hangs);
    let request = CreateOrderRequest { respond_async: true, ..order("k", "beans", 1, "pm_ok") };
    let pending = client.create_order(request).await.unwrap().into_inner().order.unwrap();
    assert_eq!(pending.status(), OrderStatus::Pending);
    let mut changes = client.watch_order(WatchOrderRequest { order_id: pending.id }).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().order.unwrap().status(), OrderStatus::Pending);
    platform.books.repair();
    assert_eq!(changes.message().await.unwrap().unwrap().order.unwrap().status(), OrderStatus::Confirmed);
    assert_eq!(changes.message().await.unwrap(), None);
    let status = client.watch_order(WatchOrderRequest { order_id: "x".to_owned() }).await.unwrap_err();
    assert_eq!(refusal(&status), "NotFound ORDER_NOT_FOUND");
    platform.finish().await;
}

#[tokio::test]
async fn as_many_watch_as_may() {
    let platform = Platform::with(|config| {
        config.saga.attempt_timeout_ms = 60_000;
        config.limits.watches_max = 1;
    })
    .await;
    let mut client = serve(&platform).await;
    platform.books.fault("charge", Fault::Hangs);
    let request = CreateOrderRequest { respond_async: true, ..order("k", "beans", 1, "pm_ok") };
    let id = client.create_order(request).await.unwrap().into_inner().order.unwrap().id;
    let mut first = client.watch_order(WatchOrderRequest { order_id: id.clone() }).await.unwrap().into_inner();
    assert!(first.message().await.unwrap().is_some());
    let status = client.watch_order(WatchOrderRequest { order_id: id }).await.unwrap_err();
    assert_eq!(refusal(&status), "Unavailable OVERLOADED");
    platform.finish().await;
}

#[tokio::test]
async fn a_deadline_is_answered_with_the_order_as_it_stands() {
    let platform = Platform::with(|config| config.saga.attempt_timeout_ms = 60_000).await;
    let mut client = serve(&platform).await;
    platform.books.fault("charge", Fault::Hangs);
    let mut request = tonic::Request::new(order("k", "beans", 1, "pm_ok"));
    request.set_timeout(Duration::from_secs(2));
    let order = client.create_order(request).await.unwrap().into_inner().order.unwrap();
    assert_eq!((order.status(), order.saga.unwrap().status()), (OrderStatus::Pending, SagaStatus::Running));
    platform.finish().await;
}

#[tokio::test]
async fn a_call_without_claims_is_refused() {
    let platform = Platform::new().await;
    let service = OrdersGrpc::new(platform.api.clone());
    let request = tonic::Request::new(GetOrderRequest::default());
    let status = amends_protos::orders::v1::order_service_server::OrderService::get_order(&service, request).await;
    assert_eq!(status.unwrap_err().code(), Code::Unauthenticated);
}
