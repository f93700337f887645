//! A receiver on a port of its own that believes nothing unsigned, and a payment service's webhooks on a test's store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use amends_primitives::{Clock as _, ManualClock, RandomIds};
use amends_webhooks::{
    Webhooks,
    config::{EndpointConfig, WebhooksConfig},
    delivery::{Delivery, DeliveryState},
    signature::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER},
    store::DeliveryQuery,
};
use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use payment_service::{app::Payments, events::EventType, store::StoreError};
use service_kit::Runtime;
use tokio::sync::watch;

use crate::support::{Opened, Place, World};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a receiver was sent, once it had verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

/// How a receiver answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answers {
    With(u16),
    After(u16, u64),
    /// Elsewhere, at its own `/elsewhere`.
    Elsewhere,
    /// Never.
    Hangs,
    /// With more than a client should read.
    Endlessly,
}

struct Shared {
    clock: Arc<ManualClock>,
    answers: Mutex<Answers>,
    received: watch::Sender<Vec<Received>>,
}

/// An endpoint.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    pub(crate) async fn start(clock: &Arc<ManualClock>) -> Self {
        let shared = Arc::new(Shared {
            clock: Arc::clone(clock),
            answers: Mutex::new(Answers::With(200)),
            received: watch::Sender::default(),
        });
        let router =
            Router::new().route("/hook", post(receive)).route("/elsewhere", post(receive)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub(crate) fn answers(&self, answers: Answers) {
        *self.shared.answers.lock().unwrap() = answers;
    }

    /// Everything so far, refused or not.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// Waits for this number.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut received = self.shared.received.subscribe();
        let enough = received.wait_for(|received| received.len() >= count);
        tokio::time::timeout(Duration::from_mins(1), enough).await.expect("nothing comes").unwrap().clone()
    }
}

/// As a receiver has it from the specification, and not from the code that signs.
fn expected(id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let content = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content)))
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let (id, timestamp, signature) = (header(ID_HEADER), header(TIMESTAMP_HEADER), header(SIGNATURE_HEADER));
    let now = shared.clock.now().as_secs();
    if now.abs_diff(timestamp.parse().unwrap()) > 300 || signature != expected(&id, &timestamp, &body) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!(header("content-type"), "application/json");
    let body = String::from_utf8(body.to_vec()).unwrap();
    let one = Received { id, timestamp: timestamp.parse().unwrap(), body };
    shared.received.send_modify(|received| received.push(one));
    let answers = *shared.answers.lock().unwrap();
    match answers {
        Answers::With(code) => StatusCode::from_u16(code).unwrap().into_response(),
        Answers::After(code, seconds) => {
            (StatusCode::from_u16(code).unwrap(), [(RETRY_AFTER, seconds.to_string())]).into_response()
        }
        Answers::Elsewhere => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/elsewhere")]).into_response(),
        Answers::Hangs => std::future::pending().await,
        Answers::Endlessly => {
            let forever = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 8192])));
            axum::body::Body::from_stream(forever).into_response()
        }
    }
}

pub(crate) fn endpoint(name: &str, url: &str) -> EndpointConfig {
    EndpointConfig {
        name: name.into(),
        url: url.into(),
        secrets: vec![SECRET.to_owned().into()],
        ..EndpointConfig::default()
    }
}

pub(crate) fn only(events: &[EventType], endpoint: EndpointConfig) -> EndpointConfig {
    EndpointConfig { events: events.iter().map(|kind| kind.kind()).collect(), ..endpoint }
}

/// A process with webhooks.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) opened: Opened,
    pub(crate) payments: Payments,
    pub(crate) webhooks: Webhooks<StoreError>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runtime: Runtime,
}

impl Process {
    /// Starts on what is at `place`.
    pub(crate) async fn start(place: &Place, clock: &Arc<ManualClock>, endpoints: Vec<EndpointConfig>) -> Self {
        let config = WebhooksConfig { endpoints, attempt_timeout_ms: 20_000, ..WebhooksConfig::default() };
        Self::configured(place, clock, &config).await
    }

    pub(crate) async fn configured(place: &Place, clock: &Arc<ManualClock>, config: &WebhooksConfig) -> Self {
        let opened = place.open().await;
        let runtime = Runtime::with(Arc::clone(clock) as Arc<_>, Arc::new(RandomIds));
        let webhooks =
            Webhooks::new("payment-service", config, &EventType::KINDS, Arc::clone(&opened.webhooks), &runtime)
                .unwrap()
                .unwrap();
        let mut payments = World::new(opened.clone()).payments;
        payments.clock = Arc::clone(clock) as Arc<_>;
        payments.outbox = webhooks.outbox();
        Self { opened, payments, webhooks, clock: Arc::clone(clock), runtime }
    }

    /// Everything that is due now, to the endpoint of that name.
    pub(crate) async fn tell(&self, endpoint: &str) {
        self.webhooks.relay().await.unwrap();
        self.webhooks.deliver_due(endpoint).await.unwrap();
    }

    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let query = DeliveryQuery { limit: 500, ..DeliveryQuery::default() };
        self.opened.webhooks.deliveries(&query).await.unwrap().0
    }

    /// The one there is.
    pub(crate) async fn delivery(&self) -> Delivery {
        let mut all = self.deliveries().await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.pop().unwrap()
    }

    pub(crate) async fn states(&self) -> Vec<DeliveryState> {
        self.deliveries().await.into_iter().map(|delivery| delivery.state).collect()
    }
}
