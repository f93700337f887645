//! The service around the books: the real router, the real use cases, the real engine, on a real SQLite database of its own.

use std::{sync::Arc, time::Duration};

use amends_auth::{BearerToken, Claims, Scopes};
use amends_primitives::{OrderId, RandomIds, SystemClock, Timestamp};
use amends_sql::{Database, Options};
use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use saga_engine::Engine;
use serde_json::Value;
use service_kit::Runtime;
use tower::ServiceExt as _;

use super::{Books, Postgres};
use crate::{
    app::Core,
    build,
    config::Config,
    domain::Order,
    http::{self, Api, Waits},
    ports::ListOrders,
    saga::Journal,
};

/// A token's claims, as the verifier would leave them.
pub(crate) fn claims(sub: &str, scope: &str) -> Claims {
    Claims {
        sub: sub.to_owned(),
        client_id: "test".to_owned(),
        scope: Scopes::parse(scope),
        jti: "test".to_owned(),
        sid: None,
        iat: Timestamp::from_millis(0),
        exp: Timestamp::from_millis(i64::MAX / 1000),
        token: BearerToken::new("test"),
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status, code, and the fields that are wrong: what a test of a refusal asks.
    pub(crate) fn refusal(&self) -> String {
        let json = self.json();
        let fields: Vec<&str> = json["errors"]
            .as_array()
            .map(|errors| errors.iter().filter_map(|error| error["field"].as_str()).collect())
            .unwrap_or_default();
        let code = json["code"].as_str().unwrap_or("?");
        [&[self.status.as_str(), code][..], &fields].concat().join(" ")
    }

    pub(crate) fn order_id(&self) -> OrderId {
        self.json()["id"].as_str().unwrap_or_else(|| panic!("no order in {self:?}")).parse().unwrap()
    }
}

/// The service.
pub(crate) struct Platform {
    pub(crate) books: Arc<Books>,
    pub(crate) core: Arc<Core>,
    pub(crate) api: Api,
    pub(crate) runtime: Runtime,
    pub(crate) database: Database,
    pub(crate) url: String,
    engine: Engine<Journal>,
    dir: tempfile::TempDir,
}

impl Platform {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("order.db").display());
        Self::at(url, dir, change).await
    }

    /// On PostgreSQL, which alone may have replicas.
    pub(crate) async fn on(postgres: &Postgres) -> Self {
        Self::at(postgres.database().await, tempfile::tempdir().unwrap(), |_| {}).await
    }

    async fn at(url: String, dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let database = Database::connect_lazy(&url, &Options::default()).unwrap();
        for schema in build::schemas() {
            database.migrate(&schema).await.unwrap();
        }
        Self::over(database, url, dir, Books::new(), change).await
    }

    async fn over(
        database: Database,
        url: String,
        dir: tempfile::TempDir,
        books: Arc<Books>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let runtime = Runtime::with(Arc::new(SystemClock), Arc::new(RandomIds));
        let mut config = Config::default();
        change(&mut config);
        let (core, engine) =
            build::core(&config, &runtime, &database, Arc::clone(&books) as _, Arc::clone(&books) as _).unwrap();
        while !engine.is_ready() {
            tokio::task::yield_now().await;
        }
        let waits = Waits {
            default: Duration::from_millis(config.wait.default_ms),
            max: Duration::from_millis(config.wait.max_ms),
            accept: Duration::from_millis(config.wait.accept_ms),
        };
        let api = Api { core: Arc::clone(&core), waits };
        Self { books, core, api, runtime, database, url, engine, dir }
    }

    /// Another replica on the same database and with the same participants.
    pub(crate) async fn replica(&self) -> Self {
        let database = Database::connect_lazy(&self.url, &Options::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self::over(database, self.url.clone(), dir, Arc::clone(&self.books), |_| {}).await
    }

    /// The process ends and starts again, on the same database.
    pub(crate) async fn restart(self) -> Self {
        self.engine.drain(Duration::ZERO).await;
        self.database.close().await;
        let Self { books, url, dir, .. } = self;
        let database = Database::connect_lazy(&url, &Options::default()).unwrap();
        Self::over(database, url, dir, books, |_| {}).await
    }

    /// What the caller with these claims is served.
    pub(crate) fn router(&self, claims: Claims) -> Router {
        let router = http::routes(self.api.clone()).layer(Extension(claims));
        service_kit::http::app(router, build::SERVICE, &self.runtime)
    }

    pub(crate) async fn send(&self, claims: Claims, request: Request<Body>) -> Reply {
        let response = self.router(claims).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    /// `POST /v1/orders` by the customer `demo`, with headers given as `name: value`.
    pub(crate) async fn place(&self, key: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::post("/v1/orders").header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(demo(), request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(demo(), Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str) -> Reply {
        self.send(demo(), Request::post(path).body(Body::empty()).unwrap()).await
    }

    /// The net captured money of the order in a reply.
    pub(crate) fn net_of(&self, reply: &Reply) -> i64 {
        self.books.net(reply.order_id())
    }

    /// The process is killed: nothing of it goes on.
    pub(crate) fn kill(&self) {
        self.engine.kill();
    }

    /// Every order in the store.
    pub(crate) async fn orders(&self) -> Vec<Order> {
        let ask = ListOrders { customer: None, status: None, before: None, limit: 1000 };
        self.core.store.list(&ask).await.unwrap().orders
    }

    /// Waits until no saga is at work, then balances the books. The end of every test.
    pub(crate) async fn finish(&self) -> Vec<Order> {
        self.books.repair();
        let orders = loop {
            let orders = self.orders().await;
            let Some(order) = orders.iter().find(|order| order.status().is_in_motion()) else { break orders };
            let until = tokio::time::Instant::now() + Duration::from_mins(1);
            self.core.sagas.settled(order.latest_saga(), until).await;
        };
        self.books.assert_balance(&orders);
        orders
    }
}

pub(crate) fn demo() -> Claims {
    claims("demo", "orders:read orders:write items:read")
}
