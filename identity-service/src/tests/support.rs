//! A token service to test, and short ways to ask it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use amends_auth::Revocable;
use amends_primitives::{Clock as _, ManualClock, RandomIds, Timestamp};
use amends_testing::TestDatabase;
use service_kit::Runtime;

use crate::{
    App, Config, build,
    config::{BootstrapClient, BootstrapUser},
};

pub(super) const PASSWORD: &str = "correct horse battery staple";
pub(super) const SHOP_SECRET: &str = "shop-secret-0123456789";
pub(super) const OTHER_SECRET: &str = "other-secret-0123456789";
pub(super) const SHOP: Option<(&str, &str)> = Some(("shop", SHOP_SECRET));
pub(super) const OTHER: Option<(&str, &str)> = Some(("other", OTHER_SECRET));
pub(super) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A configuration that starts fast, with a user `ann` and the clients `shop` and `other`.
pub(super) fn config(database: &TestDatabase) -> Config {
    let mut config = Config { key_encryption_key: STANDARD.encode([7; 32]).into(), ..Config::default() };
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.database.url = database.url.clone().into();
    config.password.memory_kib = 8;
    config.password.passes = 1;
    config.bootstrap.users = vec![BootstrapUser {
        username: "ann".into(),
        password: PASSWORD.into(),
        scopes: vec!["orders:read".into(), "orders:write".into()],
        ..BootstrapUser::default()
    }];
    let client = |client_id: &str, secret: &str, grants: &[&str]| BootstrapClient {
        client_id: client_id.into(),
        client_secret: secret.into(),
        scopes: vec!["payments:read".into(), "payments:write".into()],
        grant_types: grants.iter().map(ToString::to_string).collect(),
        disabled: false,
    };
    config.bootstrap.clients = vec![
        client("shop", SHOP_SECRET, &["client_credentials", EXCHANGE, "refresh_token"]),
        client("other", OTHER_SECRET, &["refresh_token"]),
    ];
    config
}

/// One replica of the service, and its clock.
pub(super) struct World {
    pub(super) app: App,
    pub(super) clock: Arc<ManualClock>,
    pub(super) database: TestDatabase,
    pub(super) runtime: Runtime,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}"))
    }

    /// `400 invalid_grant`
    pub(super) fn error(&self) -> String {
        let code = self.body["error"].as_str().or_else(|| self.body["code"].as_str()).unwrap_or("-");
        format!("{} {code}", self.status.as_u16())
    }

    /// The claims of the access token, unchecked.
    pub(super) fn claims(&self) -> Value {
        claims_of(self.text("access_token"))
    }
}

pub(super) fn claims_of(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(TestDatabase::sqlite(), change).await
    }

    pub(super) async fn on(database: TestDatabase, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&database);
        change(&mut config);
        let clock = Arc::new(ManualClock::default());
        let runtime = Runtime::with(clock.clone(), Arc::new(RandomIds));
        let app = build(config, &runtime).await.unwrap();
        Self { app, clock, database, runtime }
    }

    /// Another replica, or the same one after a restart: same store, same clock.
    pub(super) async fn again(&self, change: impl FnOnce(&mut Config)) -> App {
        let mut config = config(&self.database);
        change(&mut config);
        build(config, &self.runtime).await.unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        send(&self.app.router, Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn login_from(&self, address: &str, username: &str, password: &str) -> Reply {
        let body = serde_json::json!({ "username": username, "password": password }).to_string();
        let mut request = Request::post("/auth/login")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-forwarded-for", address)
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4000))));
        send(&self.app.router, request).await
    }

    pub(super) async fn login(&self) -> Reply {
        let reply = self.login_from("192.0.2.1", "ann", PASSWORD).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply
    }

    pub(super) async fn form(&self, path: &str, client: Option<(&str, &str)>, fields: &[(&str, &str)]) -> Reply {
        form(&self.app.router, path, client, fields).await
    }

    pub(super) async fn token(&self, client: Option<(&str, &str)>, fields: &[(&str, &str)]) -> Reply {
        self.form("/oauth2/token", client, fields).await
    }

    pub(super) async fn refresh(&self, token: &str) -> Reply {
        self.token(None, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Whether verifiers in this process refuse the access token of an answer.
    pub(super) async fn is_known_revoked(&self, reply: &Reply) -> bool {
        knows_revoked(&self.app, reply).await
    }

    pub(super) async fn is_active(&self, token: &str) -> bool {
        let reply = self.form("/oauth2/introspect", SHOP, &[("token", token)]).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.body["active"].as_bool().unwrap()
    }
}

/// Whether verifiers in the process of `app` refuse the access token of an answer.
pub(super) async fn knows_revoked(app: &App, reply: &Reply) -> bool {
    let claims = reply.claims();
    let token = Revocable { jti: claims["jti"].as_str().unwrap(), sid: claims["sid"].as_str() };
    app.revocations().is_revoked(token).await.unwrap()
}

pub(super) async fn form(router: &Router, path: &str, client: Option<(&str, &str)>, fields: &[(&str, &str)]) -> Reply {
    let body = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some((id, secret)) = client {
        request = request.header(header::AUTHORIZATION, basic(id, secret));
    }
    send(router, request.body(Body::from(body)).unwrap()).await
}

pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}

pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

pub(super) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Reply { status: parts.status, headers: parts.headers, body }
}

/// A login as it would come from `address`, for requests built by hand.
pub(super) fn from_peer(mut request: Request<Body>, address: IpAddr) -> Request<Body> {
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 4000)));
    request
}
