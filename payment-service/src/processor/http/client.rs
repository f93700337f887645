//! Questions over HTTP/1.1: pooled connections, one key, a bounded number of attempts within one deadline, answers of bounded size,
//! no redirects. An attempt that is given up may still take effect; its repeat, under the same key, is told so.
//!
//! Must not know: what is asked, what an answer means.

use std::{fmt, time::Duration};

use rand::Rng as _;
use reqwest::{
    Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use service_base::context::{self, RequestContext};
use tokio::time::{Instant, sleep, timeout};

use super::wire::Answer;
use crate::{config::HttpProcessorConfig, processor::Unknown};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// An answer has a few hundred bytes. More is not one, and reading it would only take memory and time.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Before the second attempt; twice as long before each further one, give or take half.
const PAUSE: Duration = Duration::from_millis(20);
/// Where a `Retry-After` cannot be read as seconds.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
/// The longest wait that callers are told: a wrong header must not stop payments for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Below the time for which servers keep an idle connection, so that it is seldom closed just when it is used.
const POOL_IDLE_MAX: Duration = Duration::from_secs(10);

/// Why there can be no client. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum InvalidClient {
    /// The URL cannot be used.
    #[error("url: must be http://host[:port] or https://host[:port]")]
    Url,
    /// The secret cannot be sent.
    #[error("secret: has characters that no header may have")]
    Secret,
    /// The proxy's URL cannot be used.
    #[error("proxy_url: {}", service_base::client::InvalidProxy)]
    Proxy,
    /// The client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// The connections to one acquirer, and the bounds of a question. Clones share the connections.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    attempt_timeout: Duration,
    attempts_max: u32,
}

/// Not its connections, whose headers hold the secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// What one attempt came to.
enum Attempt {
    Answered(Answer),
    /// Not now.
    ComeBack(Duration),
    /// In doubt, and asking again may help.
    Doubt(&'static str),
    /// In doubt, and asking again does not help.
    Hopeless(u16),
}

impl Client {
    pub(super) fn new(config: &HttpProcessorConfig, timeout: Duration) -> Result<Self, InvalidClient> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", config.secret.expose_secret()))
            .map_err(|_| InvalidClient::Secret)?;
        bearer.set_sensitive(true);
        // The secret goes where the configuration says, and nowhere else.
        let http = service_base::client::outgoing(&config.proxy_url)
            .map_err(|_| InvalidClient::Proxy)?
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .user_agent(crate::SERVICE)
            .http1_only()
            // Attempts are counted here, all of them.
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .pool_idle_timeout(POOL_IDLE_MAX)
            .pool_max_idle_per_host(config.idle_connections_max)
            .build()
            .map_err(InvalidClient::Client)?;
        let base = config.base_url().ok_or(InvalidClient::Url)?;
        let attempt_timeout = Duration::from_millis(config.attempt_timeout_ms);
        Ok(Self { http, base, timeout, attempt_timeout, attempts_max: config.attempts_max })
    }

    /// Asks until `read` finds an answer, within the bounds.
    pub(super) async fn ask<T>(
        &self,
        path: &'static str,
        key: Option<&str>,
        body: &(impl Serialize + Sync),
        read: impl Fn(&Answer) -> Option<T> + Send,
    ) -> Result<T, Unknown> {
        let deadline = self.deadline();
        let mut why = Unknown::TimedOut;
        for attempt in 1..=self.attempts_max {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let tried = timeout(self.attempt_timeout.min(left), self.attempt(path, key, body)).await;
            let pause = match tried {
                Ok(Attempt::Answered(answer)) => {
                    if let Some(outcome) = read(&answer) {
                        return Ok(outcome);
                    }
                    why = self.doubt(path, attempt, "an answer to another question");
                    pause_after(attempt)
                }
                Ok(Attempt::Doubt(what)) => {
                    why = self.doubt(path, attempt, what);
                    pause_after(attempt)
                }
                Ok(Attempt::ComeBack(after)) => {
                    why = Unknown::Busy { retry_after: after };
                    after
                }
                Ok(Attempt::Hopeless(status)) => {
                    tracing::error!(path, status, "the acquirer does not accept our requests");
                    return Err(Unknown::Failed);
                }
                Err(_elapsed) => {
                    self.doubt(path, attempt, "no answer in time");
                    why = Unknown::TimedOut;
                    pause_after(attempt)
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if attempt == self.attempts_max || pause >= left {
                break;
            }
            sleep(pause).await;
        }
        Err(why)
    }

    /// Ours, or the caller's, if that is sooner.
    fn deadline(&self) -> Instant {
        let ours = Instant::now() + self.timeout;
        RequestContext::current().and_then(|context| context.deadline).map_or(ours, |theirs| theirs.min(ours))
    }

    fn doubt(&self, path: &'static str, attempt: u32, what: &'static str) -> Unknown {
        tracing::info!(
            path,
            peer.service = "acquirer",
            service.peer.name = "acquirer",
            retry.attempt = attempt,
            of = self.attempts_max,
            error = what,
            "the acquirer's answer is in doubt"
        );
        Unknown::Failed
    }

    async fn attempt(&self, path: &'static str, key: Option<&str>, body: &(impl Serialize + Sync)) -> Attempt {
        let mut headers = HeaderMap::new();
        context::inject(&mut headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let Ok(key) = HeaderValue::from_str(key) else { return Attempt::Doubt("a key that no header may have") };
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let mut url = self.base.clone();
        url.set_path(path);
        let response = match self.http.post(url).headers(headers).json(body).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Attempt::Doubt("no connection"),
            Err(_) => return Attempt::Doubt("the connection broke"),
        };
        let status = response.status().as_u16();
        match (status, retry_after(&response)) {
            (429, after) => Attempt::ComeBack(after.unwrap_or(RETRY_AFTER_DEFAULT)),
            (503, Some(after)) => Attempt::ComeBack(after),
            (200 | 402 | 409 | 422, _) => match read_bounded(response).await {
                Ok(body) => Answer::read(status, &body).map_or_else(|| unreadable(status), Attempt::Answered),
                Err(what) => Attempt::Doubt(what),
            },
            (408 | 425 | 500.., _) => Attempt::Doubt("a status that says nothing"),
            _ => Attempt::Hopeless(status),
        }
    }
}

/// A 200 that cannot be read may yet be followed by one that can; a refusal that we do not know stays one.
const fn unreadable(status: u16) -> Attempt {
    if status == 200 { Attempt::Doubt("an answer that cannot be read") } else { Attempt::Hopeless(status) }
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_BYTES_MAX => return Err("an answer that is too long"),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(_) => return Err("an answer that was cut short"),
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?;
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    Some(seconds.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs).min(RETRY_AFTER_MAX))
}

fn pause_after(attempt: u32) -> Duration {
    let full = PAUSE.saturating_mul(1 << (attempt - 1).min(8));
    full.mul_f64(rand::rng().random_range(0.5..1.5))
}
