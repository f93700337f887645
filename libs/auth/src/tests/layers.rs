//! Asking for a token around HTTP routes and gRPC methods.

use axum::{Extension, Router, body::Body, http::Request, middleware::from_fn_with_state, routing::get};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceExt as _;

use super::{
    super::*,
    support::{Issuer, World},
};
use service_kit::{
    Runtime,
    http::{Limits, serve_with},
};

#[tokio::test]
async fn http_callers_without_a_good_token_do_not_reach_the_handler() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let app = Router::new()
        .route("/me", get(|Extension(claims): Extension<Claims>| async move { claims.sub }))
        .layer(from_fn_with_state(Gate::http(world.verifier.clone()), authenticate));
    let ask = async |headers: &[&str]| {
        let request =
            headers.iter().fold(Request::get("/me"), |request, value| request.header("authorization", *value));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let challenge = response.headers().get("www-authenticate").map(|v| v.to_str().unwrap().to_owned());
        (response.status().as_u16(), challenge)
    };
    let token = issuer.token(&world);
    assert_eq!(ask(&[&format!("Bearer {token}")]).await, (200, None));
    assert_eq!(ask(&[&format!("bearer {token}")]).await, (200, None));
    let (status, challenge) = ask(&[]).await;
    assert_eq!((status, challenge.as_deref()), (401, Some(r#"Bearer realm="amends""#)));
    assert_eq!(ask(&["Basic dTpw"]).await.0, 401);
    let (status, challenge) = ask(&["Bearer x.y.z"]).await;
    assert!(status == 401 && challenge.unwrap().contains("invalid_token"));
    // Two tokens, one of them good.
    assert_eq!(ask(&[&format!("Bearer {token}"), "Bearer x"]).await.0, 401);
}

#[tokio::test]
async fn grpc_callers_are_refused_in_grpc_and_health_is_public() {
    let issuer = Issuer::ed25519("k1");
    let world = World::with(&issuer);
    let runtime = Runtime::for_testing();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = service_kit::grpc::Server::new("test", &runtime).reflection(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let gate = from_fn_with_state(Gate::grpc(world.verifier.clone()), authenticate);
    let router = server.router().await.unwrap().layer(gate);
    let limits = Limits { http2_only: true, ..Limits::default() };
    let serving = tokio::spawn(serve_with(listener, router, limits, runtime.shutdown.clone()));
    let channel =
        service_kit::grpc::channels(&service_kit::grpc::ChannelConfig::at(format!("http://{address}"))).unwrap();

    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 1);

    let call = async |token: Option<String>| {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", service_kit::grpc::bearer(&token).unwrap());
        }
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let codec: tonic_prost::ProstCodec<HealthCheckRequest, HealthCheckRequest> = tonic_prost::ProstCodec::default();
        client.unary(request, "/amends.test.Nobody/Serves".parse().unwrap(), codec).await.unwrap_err()
    };
    let status = call(None).await;
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert_eq!(service_base::status::refusal_reason(&status).unwrap().reason, "UNAUTHENTICATED");
    assert_eq!(
        service_base::status::refusal_reason(&call(Some("x.y.z".to_owned())).await).unwrap().reason,
        "INVALID_TOKEN"
    );
    // Let in; then no service has that method.
    assert_eq!(call(Some(issuer.token(&world))).await.code(), tonic::Code::Unimplemented);

    let page = runtime.metrics.encode();
    assert!(page.contains(r#"rpc_method="grpc.health.v1.Health/Check",rpc_status_code="OK""#), "{page}");
    assert!(page.contains(r#"rpc_method="unmatched",rpc_status_code="UNIMPLEMENTED""#), "{page}");
    assert!(!page.contains("grpc_server"), "{page}");
    runtime.shutdown.trigger();
    serving.await.unwrap().unwrap();
}
