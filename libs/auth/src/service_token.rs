//! Our own token towards other services: OAuth 2.0 `client_credentials`, kept until shortly before it ends. Its life is counted from when
//! it was asked for, on the monotonic clock.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use amends_primitives::{Clock, Moment, Timestamp};
use parking_lot::RwLock;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::Instrument as _;

use super::Scopes;
use service_base::{
    config::{ConfigError, Section},
    context::{self, RequestContext},
    metrics::{HttpCall, HttpCalls, TraceLabel},
};

const FETCH_BOUND: Duration = Duration::from_secs(2);
/// A token this close to its end may end on its way.
const MARGIN: Duration = Duration::from_secs(5);
/// A wall clock set back by more makes tokens of before look as if their time had not come: verifiers allow five seconds.
const STEP_MAX: Duration = Duration::from_secs(1);
/// After a failure the issuer is left alone for this long; callers get the same error meanwhile.
const RETRY_MIN: Duration = Duration::from_millis(250);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Who we are towards other services.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceTokenConfig {
    /// The issuer's base URL; the token endpoint is `/oauth2/token` there.
    pub identity_url: String,
    /// Our client id.
    pub client_id: String,
    /// Our secret. Never shown.
    #[serde(skip_serializing)]
    pub client_secret: SecretString,
    /// The scopes to ask for, space-separated.
    pub scope: String,
}

impl Default for ServiceTokenConfig {
    fn default() -> Self {
        Self {
            identity_url: "http://127.0.0.1:8081".to_owned(),
            client_id: String::new(),
            client_secret: SecretString::default(),
            scope: String::new(),
        }
    }
}

impl Section for ServiceTokenConfig {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let is_url = reqwest::Url::parse(&self.identity_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_url {
            errors.push(ConfigError::new("identity_url", "must be an http or https URL"));
        }
        if self.client_id.is_empty() {
            errors.push(ConfigError::new("client_id", "must not be empty"));
        }
        if self.client_secret.expose_secret().is_empty() {
            errors.push(ConfigError::new("client_secret", "must not be empty"));
        }
    }
}

/// No token could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceTokenError {
    /// The issuer did not answer sensibly; it may later.
    #[error("the token service cannot be asked: {0}")]
    Unavailable(String),
    /// The issuer rejected our credentials, or these scopes. An operator has to look.
    #[error("the token service refused us: {0}")]
    Refused(String),
}

struct Held {
    token: Arc<str>,
    /// What it is good for.
    scopes: Scopes,
    obtained: Moment,
    expires: Moment,
    /// When it was obtained, by the wall clock, which the issuer has too.
    obtained_at: Timestamp,
}

impl Held {
    /// Whether others will take it. Its life is measured on the monotonic clock; but a verifier reads a wall clock, which calls
    /// it expired after a step forward or a sleep of the machine, and not yet valid after a step back.
    fn is_good(&self, moment: Moment, now: Timestamp) -> bool {
        let life = self.expires.since(self.obtained);
        let on_the_wall = self.obtained_at <= now + STEP_MAX && now + MARGIN < self.obtained_at + life;
        self.expires > moment + MARGIN && on_the_wall
    }
}

/// Who is asked.
const ISSUER: &str = "identity-service";

struct Inner {
    config: ServiceTokenConfig,
    clock: Arc<dyn Clock>,
    client: reqwest::Client,
    held: RwLock<Option<Held>>,
    /// Held while asking, so that a crowd waits for one answer. Remembers the last failure.
    asking: Mutex<Option<(Moment, ServiceTokenError)>>,
    calls: Option<HttpCalls>,
}

/// Our token. Clones share it.
#[derive(Clone)]
pub struct ServiceToken(Arc<Inner>);

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: u64,
    /// What was granted; as much as was asked for, where the issuer does not say (RFC 6749, section 5.1).
    #[serde(default)]
    scope: Option<String>,
}

impl ServiceToken {
    /// Does not ask the issuer yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: ServiceTokenConfig, clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        Self::with_calls(config, clock, None)
    }

    /// The same, and measures the calls to the issuer.
    ///
    /// # Errors
    /// As [`ServiceToken::new`].
    pub fn measured(
        config: ServiceTokenConfig,
        clock: Arc<dyn Clock>,
        calls: HttpCalls,
    ) -> Result<Self, reqwest::Error> {
        Self::with_calls(config, clock, Some(calls))
    }

    fn with_calls(
        config: ServiceTokenConfig,
        clock: Arc<dyn Clock>,
        calls: Option<HttpCalls>,
    ) -> Result<Self, reqwest::Error> {
        let client = service_base::client::internal().timeout(FETCH_BOUND).connect_timeout(FETCH_BOUND / 2).build()?;
        let (held, asking) = (RwLock::new(None), Mutex::new(None));
        Ok(Self(Arc::new(Inner { config, clock, client, held, asking, calls })))
    }

    /// A token that is good for some seconds at least. Refreshed beside us in the last quarter of its life.
    ///
    /// A caller may stop waiting: the issuer is asked all the same, and the next caller gets the answer.
    ///
    /// # Errors
    /// When there is none and none can be had within two seconds.
    pub async fn bearer(&self) -> Result<Arc<str>, ServiceTokenError> {
        let (moment, now) = (self.0.clock.moment(), self.0.clock.now());
        let held = self.0.held.read().as_ref().and_then(|held| {
            let ageing = moment.since(held.obtained) >= held.expires.since(held.obtained) * 3 / 4;
            held.is_good(moment, now).then(|| (Arc::clone(&held.token), held.obtained, ageing))
        });
        match held {
            Some((token, _, false)) => Ok(token),
            Some((token, obtained, true)) => {
                if self.0.asking.try_lock().is_ok() {
                    let me = self.clone();
                    tokio::spawn(async move { me.ask(Some(obtained)).await });
                }
                Ok(token)
            }
            None => {
                let me = self.clone();
                let asking = async move { me.ask(None).await }.in_current_span();
                // For the request that waits, and part of its trace.
                let asking = match RequestContext::current() {
                    Some(context) => tokio::spawn(context.scope(asking)),
                    None => tokio::spawn(asking),
                };
                asking.await.unwrap_or_else(|error| Err(ServiceTokenError::Unavailable(error.to_string())))
            }
        }
    }

    /// Whether we have a token, or can get one, that is good for all of `needed`. For readiness.
    ///
    /// # Errors
    /// [`ServiceTokenError::Refused`] when the issuer does not know us, or grants less: waiting does not help.
    /// [`ServiceTokenError::Unavailable`] when the issuer cannot be asked.
    pub async fn covers(&self, needed: &Scopes) -> Result<(), ServiceTokenError> {
        self.bearer().await?;
        let held = self.0.held.read();
        let Some(held) = held.as_ref() else { return Ok(()) }; // forgotten meanwhile: the next call asks anew
        let missing: Vec<&str> = needed.iter().filter(|scope| !held.scopes.contains(scope)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ServiceTokenError::Refused(format!("the token of {} lacks {}", self.0.config.client_id, missing.join(" "))))
    }

    /// Forgets the token: it was refused, so it may have been revoked, or its key taken away.
    pub fn forget(&self, refused: &str) {
        let mut held = self.0.held.write();
        if held.as_ref().is_some_and(|held| &*held.token == refused) {
            *held = None;
        }
    }

    /// Asks for a new token, unless another task has got one that is newer than `old`, or failed just now.
    async fn ask(&self, old: Option<Moment>) -> Result<Arc<str>, ServiceTokenError> {
        let mut last = self.0.asking.lock().await;
        let (moment, now) = (self.0.clock.moment(), self.0.clock.now());
        if let Some(held) = self.0.held.read().as_ref()
            && old.is_none_or(|old| held.obtained > old)
            && held.is_good(moment, now)
        {
            return Ok(Arc::clone(&held.token));
        }
        if let Some((at, error)) = &*last
            && moment.since(*at) < RETRY_MIN
        {
            return Err(error.clone());
        }
        match self.fetch().await {
            Ok(answer) => {
                let token: Arc<str> = answer.access_token.into();
                let scopes = Scopes::parse(answer.scope.as_deref().unwrap_or(&self.0.config.scope));
                // Counted from before we asked: the issuer's clock started then at the latest.
                let expires = moment + Duration::from_secs(answer.expires_in);
                let held = Held { token: Arc::clone(&token), scopes, obtained: moment, expires, obtained_at: now };
                *self.0.held.write() = Some(held);
                *last = None;
                Ok(token)
            }
            Err(error) => {
                tracing::warn!(%error, client_id = self.0.config.client_id, "no service token");
                *last = Some((self.0.clock.moment(), error.clone()));
                Err(error)
            }
        }
    }

    async fn fetch(&self) -> Result<Answer, ServiceTokenError> {
        let config = &self.0.config;
        let unavailable = |error: reqwest::Error| ServiceTokenError::Unavailable(error.without_url().to_string());
        let form = [("grant_type", "client_credentials"), ("scope", config.scope.as_str())];
        let mut headers = axum::http::HeaderMap::new();
        context::inject(&mut headers);
        let request = self
            .0
            .client
            .post(format!("{}/oauth2/token", config.identity_url.trim_end_matches('/')))
            .basic_auth(form_encode(&config.client_id), Some(form_encode(config.client_secret.expose_secret())))
            .headers(headers)
            .form(&form);
        // A connection that is kept may be one that the issuer is closing. Asking twice is harmless: the first token, if there is one, is
        // not used.
        let again = request.try_clone();
        let begun = Instant::now();
        let sent = match (request.send().await, again) {
            (Err(error), Some(again)) if !error.is_timeout() && !error.is_connect() => again.send().await,
            (sent, _) => sent,
        };
        if let Some(calls) = &self.0.calls {
            let (status, error_type) = match &sent {
                Ok(response) if response.status().is_server_error() => (response.status().as_u16(), "5xx"),
                Ok(response) => (response.status().as_u16(), ""),
                Err(error) if error.is_timeout() => (0, "timeout"),
                Err(error) if error.is_connect() => (0, "unreachable"),
                Err(_) => (0, "broken"),
            };
            let url_template = "/oauth2/token";
            let call = HttpCall { peer: ISSUER, url_template, method: "POST", status, error_type };
            calls.observe(&call, begun.elapsed(), TraceLabel::current());
        }
        let mut response = sent.map_err(unavailable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ServiceTokenError::Unavailable("the answer is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if matches!(status.as_u16(), 400 | 401 | 403) {
            let code = serde_json::from_slice::<serde_json::Value>(&body).ok();
            let code = code.as_ref().and_then(|body| body.get("error")?.as_str()).unwrap_or("no reason given");
            return Err(ServiceTokenError::Refused(format!("{status}: {code}")));
        }
        if !status.is_success() {
            return Err(ServiceTokenError::Unavailable(format!("answered {status}")));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| ServiceTokenError::Unavailable("the answer is not a token".to_owned()))?;
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(ServiceTokenError::Unavailable("the answer is not a bearer token".to_owned()));
        }
        Ok(answer)
    }
}

/// RFC 6749, 2.3.1: id and secret are form-encoded before they become user and password.
fn form_encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceToken").field("client_id", &self.0.config.client_id).finish_non_exhaustive()
    }
}
