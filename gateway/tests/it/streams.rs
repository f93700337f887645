//! Streams: counted apart, shared, ended by their age; and what is asked without a token.

use amends_protos::orders::v1::{WatchOrderRequest, WatchOrderResponse, order_service_client::OrderServiceClient};
use gateway::config::Rate;
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

use crate::support::{World, until};

async fn channel(world: &World) -> Channel {
    Endpoint::from_shared(world.url("")).unwrap().connect().await.unwrap()
}

async fn health_stream(world: &World) -> Result<Streaming<HealthCheckResponse>, Status> {
    let ask = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel(world).await).watch(ask).await.map(tonic::Response::into_inner)
}

async fn watch(world: &World, subject: &str, order: &str) -> Result<Streaming<WatchOrderResponse>, Status> {
    let token = world.issuer.token(subject, "orders:read");
    let mut request = Request::new(WatchOrderRequest { order_id: order.to_owned() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    OrderServiceClient::new(channel(world).await).watch_order(request).await.map(tonic::Response::into_inner)
}

fn said<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default()),
    }
}

fn share_spent() -> (Code, String) {
    (Code::ResourceExhausted, "RATE_LIMITED".to_owned())
}

fn with_probes(config: &mut gateway::Config) {
    config.probes.health = true;
    config.probes.reflection = true;
}

#[tokio::test]
async fn anonymous_streams_take_nothing_from_other_callers() {
    let world = World::with(|config| {
        with_probes(config);
        config.limits.requests = 2;
        config.limits.open_streams = 16;
        config.limits.open_streams_per_address = 3;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(health_stream(&world).await.unwrap());
    }
    for _ in 0..3 {
        assert_eq!(said(health_stream(&world).await), share_spent());
    }
    let token = world.token("orders:read");
    for _ in 0..3 {
        let answer = World::client().get(world.url("/v1/orders")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "streams hold no place of requests");
    }
    let mut watched = watch(&world, "ann", "endless").await.unwrap();
    assert!(watched.next().await.unwrap().is_ok(), "and none of those that callers with a token have");

    open.clear();
    until(async || health_stream(&world).await.is_ok()).await;
}

#[tokio::test]
async fn a_subject_has_a_share_of_the_streams() {
    let world = World::with(|config| {
        config.limits.open_streams = 16;
        config.limits.open_streams_per_subject = 2;
    })
    .await;
    let _open = (watch(&world, "ann", "endless").await.unwrap(), watch(&world, "ann", "endless").await.unwrap());
    assert_eq!(said(watch(&world, "ann", "endless").await), share_spent());
    let mut theirs = watch(&world, "bob", "endless").await.unwrap();
    assert!(theirs.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_stream_ends_at_its_age_with_a_status_to_come_back_on() {
    let world = World::with(|config| {
        with_probes(config);
        config.timeouts.stream_ms = 400;
        config.limits.open_streams_per_address = 1;
    })
    .await;
    let mut stream = watch(&world, "ann", "endless").await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!(said::<()>(Err(status.clone())), (Code::Unavailable, "STREAM_EXPIRED".to_owned()), "{status:?}");
    assert!(status.get_details_retry_info().is_some());

    let mut stream = health_stream(&world).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(said(stream.next().await.unwrap()).0, Code::Unavailable);
    until(async || health_stream(&world).await.is_ok()).await;
}

#[tokio::test]
async fn a_dialogue_passes_though_its_request_does_not_end() {
    let world = World::with(|config| {
        with_probes(config);
        config.limits.open_streams_per_address = 1;
    })
    .await;
    let list = || ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let (questions, asked) = tokio::sync::mpsc::channel(4);
    questions.send(list()).await.unwrap();
    let mut grpc = Grpc::new(channel(&world).await);
    grpc.ready().await.unwrap();
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
    let request = Request::new(tokio_stream::wrappers::ReceiverStream::new(asked));
    let mut answers = grpc.streaming(request, path, codec).await.unwrap().into_inner();
    for _ in 0..3 {
        let answer = answers.next().await.unwrap().unwrap();
        assert!(format!("{answer:?}").contains("amends.orders.v1.OrderService"), "{answer:?}");
        questions.send(list()).await.unwrap();
    }
    assert_eq!(said(health_stream(&world).await), share_spent(), "it is one of the address's streams");
}

#[tokio::test]
async fn probes_are_not_served_unless_configured() {
    let world = World::start().await;
    assert_eq!(said(health_stream(&world).await), (Code::Unimplemented, "METHOD_NOT_ALLOWED".to_owned()));
    let mut client = HealthClient::new(channel(&world).await);
    assert_eq!(said(client.check(HealthCheckRequest::default()).await).0, Code::Unimplemented);
    for service in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{service}.ServerReflection/ServerReflectionInfo");
        let request = World::client_h2().post(world.url(&path)).header("content-type", "application/grpc");
        assert_eq!(request.send().await.unwrap().headers()["grpc-status"], "12");
    }
}

#[tokio::test]
async fn probes_have_a_rate_of_their_own() {
    let world = World::with(|config| {
        with_probes(config);
        config.rate_limit.probe = Rate { per_second: 1, burst: 2 };
    })
    .await;
    let mut client = HealthClient::new(channel(&world).await);
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(said(client.check(HealthCheckRequest::default()).await).0);
    }
    assert!(codes.starts_with(&[Code::Ok, Code::Ok]) && codes.contains(&Code::ResourceExhausted), "{codes:?}");
    let answer = World::client().get(world.url("/auth/x")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "what else is asked from there is counted apart");
}
