//! Getting our own token from a token service that is slow, down or unwilling.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    time::Duration,
};

use amends_primitives::{Clock, ManualClock};
use axum::{
    Form, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use serde_json::json;

use super::super::*;
use service_kit::shutdown::Shutdown;

#[derive(Default)]
struct Sts {
    asked: AtomicU32,
    answer: AtomicU16,
    /// Held by a test, it answers no request.
    hold: tokio::sync::Mutex<()>,
}

async fn token(
    State(sts): State<Arc<Sts>>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> impl IntoResponse {
    let n = sts.asked.fetch_add(1, Ordering::SeqCst) + 1;
    drop(sts.hold.lock().await);
    // "order service" and "p+ss:word%", form-encoded and then base64.
    assert_eq!(headers["authorization"], "Basic b3JkZXIrc2VydmljZTpwJTJCc3MlM0F3b3JkJTI1");
    let expected = [("grant_type", "client_credentials"), ("scope", "payments:write")];
    assert!(form.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected));
    match sts.answer.load(Ordering::SeqCst) {
        0 => (
            StatusCode::OK,
            json!({"access_token": format!("token-{n}"), "token_type": "Bearer", "expires_in": 600}).to_string(),
        ),
        status => (StatusCode::from_u16(status).unwrap(), json!({"error": "invalid_client"}).to_string()),
    }
}

struct World {
    sts: Arc<Sts>,
    clock: Arc<ManualClock>,
    mine: ServiceToken,
    shutdown: Shutdown,
}

impl World {
    async fn new() -> Self {
        let (sts, clock, shutdown) = (Arc::new(Sts::default()), Arc::new(ManualClock::default()), Shutdown::new());
        let app = Router::new().route("/oauth2/token", post(token)).with_state(Arc::clone(&sts));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ServiceTokenConfig {
            identity_url: format!("http://{}/", listener.local_addr().unwrap()),
            client_id: "order service".to_owned(),
            client_secret: "p+ss:word%".to_owned().into(),
            scope: "payments:write".to_owned(),
        };
        tokio::spawn(service_kit::http::serve(listener, app, shutdown.clone()));
        let mine = ServiceToken::new(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        Self { sts, clock, mine, shutdown }
    }

    fn asked(&self) -> u32 {
        self.sts.asked.load(Ordering::SeqCst)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

#[tokio::test]
async fn a_crowd_asks_once_and_the_token_is_kept() {
    let world = World::new().await;
    let calls = (0..32).map(|_| world.mine.bearer());
    for token in futures::future::join_all(calls).await {
        assert_eq!(&*token.unwrap(), "token-1");
    }
    world.clock.advance(Duration::from_secs(449));
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-1");
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn an_abandoned_token_request_serves_the_next_caller() {
    let world = World::new().await;
    let held = world.sts.hold.lock().await;
    for _ in 0..3 {
        let waited = tokio::time::timeout(Duration::from_millis(50), world.mine.bearer()).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    drop(held);
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-1");
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn an_ageing_token_is_replaced_beside_its_users() {
    let world = World::new().await;
    world.mine.bearer().await.unwrap();
    world.clock.advance(Duration::from_secs(450));
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-1");
    while &*world.mine.bearer().await.unwrap() == "token-1" {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.asked(), 2);
    // Near its end it is of no use.
    world.clock.advance(Duration::from_secs(596));
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-3");
}

#[tokio::test]
async fn a_clock_set_a_little_changes_no_renewal() {
    let (hour, little) = (Duration::from_hours(1), Duration::from_millis(500));
    for set in [ManualClock::step_back, ManualClock::step_forward] {
        let world = World::new().await;
        world.mine.bearer().await.unwrap();
        // By more, a verifier would call it expired or not yet valid.
        set(&world.clock, little);
        world.clock.advance(Duration::from_secs(449));
        assert_eq!(&*world.mine.bearer().await.unwrap(), "token-1");
        assert_eq!(world.asked(), 1);
        world.clock.advance(Duration::from_secs(1));
        while &*world.mine.bearer().await.unwrap() == "token-1" {
            tokio::task::yield_now().await;
        }
        // Nor is the pause after a failure longer than it is.
        world.sts.answer.store(503, Ordering::SeqCst);
        world.mine.forget("token-2");
        world.mine.bearer().await.unwrap_err();
        set(&world.clock, hour);
        world.sts.answer.store(0, Ordering::SeqCst);
        world.clock.advance(Duration::from_millis(250));
        world.mine.bearer().await.unwrap();
    }
}

#[tokio::test]
async fn a_failure_is_shared_for_a_moment_and_then_tried_again() {
    let world = World::new().await;
    world.sts.answer.store(503, Ordering::SeqCst);
    for _ in 0..10 {
        let error = world.mine.bearer().await.unwrap_err();
        assert_eq!(error, ServiceTokenError::Unavailable("answered 503 Service Unavailable".to_owned()));
    }
    assert_eq!(world.asked(), 1);
    world.sts.answer.store(401, Ordering::SeqCst);
    world.clock.advance(Duration::from_millis(250));
    let error = world.mine.bearer().await.unwrap_err();
    assert_eq!(error, ServiceTokenError::Refused("401 Unauthorized: invalid_client".to_owned()));
    world.sts.answer.store(0, Ordering::SeqCst);
    world.clock.advance(Duration::from_millis(250));
    let token = world.mine.bearer().await.unwrap();
    world.mine.forget("another");
    assert_eq!(world.mine.bearer().await.unwrap(), token);
    world.mine.forget(&token);
    assert_ne!(world.mine.bearer().await.unwrap(), token);
    assert!(!format!("{:?}", world.mine).contains("p+ss"));
}

#[tokio::test]
async fn a_clock_set_back_costs_one_token_and_no_wait() {
    let world = World::new().await;
    world.mine.bearer().await.unwrap();
    world.clock.step_back(Duration::from_secs(1));
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-1", "verifiers allow for this much");
    world.clock.step_back(Duration::from_hours(1));
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-2", "the old one looks as if its time had not come");
    world.clock.step_forward(Duration::from_hours(1));
    assert_eq!(&*world.mine.bearer().await.unwrap(), "token-3", "and this one as if it were over");
    world.sts.answer.store(503, Ordering::SeqCst);
    world.mine.forget("token-3");
    world.mine.bearer().await.unwrap_err();
    world.clock.step_back(Duration::from_hours(1));
    world.clock.advance(Duration::from_millis(250));
    world.sts.answer.store(0, Ordering::SeqCst);
    world.mine.bearer().await.unwrap();
}

#[tokio::test]
async fn a_token_that_lacks_a_scope_is_told_from_none() {
    let world = World::new().await;
    let ask = async |needed: &str| world.mine.covers(&Scopes::parse(needed)).await;
    world.sts.answer.store(503, Ordering::SeqCst);
    assert!(matches!(ask("payments:write").await, Err(ServiceTokenError::Unavailable(_))));
    world.clock.advance(Duration::from_millis(250));
    world.sts.answer.store(400, Ordering::SeqCst);
    assert!(matches!(ask("payments:write").await, Err(ServiceTokenError::Refused(_))));
    world.clock.advance(Duration::from_millis(250));
    world.sts.answer.store(0, Ordering::SeqCst);
    ask("payments:write").await.unwrap();
    let lacking = ServiceTokenError::Refused("the token of order service lacks inventory:write".to_owned());
    assert_eq!(ask("payments:write inventory:write").await, Err(lacking));
}
