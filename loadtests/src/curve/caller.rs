//! A customer's client: one connection a request at a time, kept for the next one, as browsers and mobile applications do.
//!
//! It speaks just enough HTTP/1.1, by hand: it shares two processors with what it loads, and a client library costs as much for each
//! request as the gateway does for a refusal.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::stage::Outcome;
use crate::scenario::USERNAME;

/// An order, and a problem, are smaller, with their headers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const ANSWER_BYTES_USUAL: usize = 2048;
/// How much longer than the caller's patience an answer is waited for, so that what comes too late is seen to come.
const GRACE: Duration = Duration::from_secs(1);
/// No order waits longer than this for a connection to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const LOG_IN_MAX: Duration = Duration::from_secs(20);

const ORDER: &str = r#"{"items":[{"sku":"espresso-1kg","quantity":1}],"payment_method":"pm_ok"}"#;

/// Sends orders over as many connections as are needed at once, up to a bound.
pub(super) struct Caller {
    address: SocketAddr,
    authority: String,
    patience: Duration,
    /// The last that was used is used first, as it is least likely to be closed by now.
    idle: Mutex<Vec<Connection>>,
    open: AtomicUsize,
    connections_max: usize,
    /// Every order up to its key. What follows the key is [`Self::after_key`].
    before_key: Mutex<Arc<str>>,
    after_key: String,
    next: AtomicU64,
}

/// A connection, and what is read from it: kept with it, so that an answer costs no memory of its own.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A place among the open connections.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    status: u16,
    has_retry_after: bool,
    closes: bool,
    body: &'a [u8],
}

impl Caller {
    /// Of the gateway at `host`.
    pub(super) fn new(host: &str, patience: Duration, connections_max: usize) -> anyhow::Result<Self> {
        let authority = host.strip_prefix("http://").context("say http://ADDRESS:PORT")?.trim_end_matches('/');
        let address: SocketAddr = authority.parse().with_context(|| format!("{authority} is no ADDRESS:PORT"))?;
        ensure!(address.ip().is_loopback(), "{address} is not on the loopback interface: only that is loaded");
        let seconds = patience.as_secs().max(1);
        let length = ORDER.len();
        Ok(Self {
            address,
            authority: authority.to_owned(),
            patience,
            idle: Mutex::default(),
            open: AtomicUsize::new(0),
            connections_max,
            before_key: Mutex::new("".into()),
            after_key: format!("\r\nprefer: wait={seconds}\r\ncontent-length: {length}\r\n\r\n{ORDER}"),
            next: AtomicU64::new(0),
        })
    }

    /// Takes a token for the orders that follow.
    pub(super) async fn log_in(&self, password: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({"username": USERNAME, "password": password}).to_string();
        let request = format!("{}content-length: {}\r\n\r\n{body}", self.post("/auth/login"), body.len());
        let token = self.ask(&request, |answer| {
            let text = String::from_utf8_lossy(answer.body);
            ensure!(answer.status == 200, "{}: {text}", answer.status);
            let body: Value = serde_json::from_str(&text)?;
            Ok(body["access_token"].as_str().context("no access_token")?.to_owned())
        });
        let token = timeout_at(Instant::now() + LOG_IN_MAX, token).await???;
        // Keys must differ between runs against the same instance, too: they live for days.
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let head = self.post("/v1/orders");
        let before_key = format!("{head}authorization: Bearer {token}\r\nidempotency-key: curve-{run}-");
        *self.before_key.lock().unwrap_or_else(PoisonError::into_inner) = before_key.into();
        Ok(())
    }

    /// Places one order that was to be sent at `intended`.
    pub(super) async fn order(&self, intended: Instant) -> Outcome {
        let before_key = Arc::clone(&self.before_key.lock().unwrap_or_else(PoisonError::into_inner));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let request = format!("{before_key}{number}{}", self.after_key);
        match timeout_at(intended + self.patience + GRACE, self.ask(&request, outcome)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Other(error.to_string()),
            Err(_) => Outcome::Other("no answer in time".to_owned()),
        }
    }

    /// Asks until an order is confirmed, or for as long as what was accepted may still be worked on.
    pub(super) async fn wait_until_well(&self, patience: Duration) {
        let until = Instant::now() + 3 * patience;
        while Instant::now() < until && self.order(Instant::now()).await != Outcome::Confirmed {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn post(&self, path: &str) -> String {
        format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n", self.authority)
    }

    async fn ask<T>(&self, request: &str, read: impl FnOnce(&Answer<'_>) -> T) -> anyhow::Result<T> {
        // Counted first: what is given up in the middle frees its place by being dropped.
        let _place = self.place().context("not sent, for want of a connection")?;
        let mut connection = self.connection().await.map_err(|_| anyhow::anyhow!("connection could not be made"))?;
        let answer = connection.exchange(request).await.map_err(|_| anyhow::anyhow!("connection broke"))?;
        let (read, closes) = (read(&answer), answer.closes);
        if !closes {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(read)
    }

    fn place(&self) -> Option<Place<'_>> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.open);
        (before < self.connections_max).then_some(place)
    }

    async fn connection(&self) -> anyhow::Result<Connection> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                // Closed meanwhile, it has something to read: its end.
                Some(connection) if connection.is_open() => return Ok(connection),
                Some(_) => {}
                None => break,
            }
        }
        let stream = timeout_at(Instant::now() + CONNECT_MAX, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::with_capacity(ANSWER_BYTES_USUAL) })
    }
}

impl Connection {
    fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    async fn exchange(&mut self, request: &str) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request.as_bytes()).await?;
        self.received.clear();
        while parse(&self.received)?.is_none() {
            ensure!(self.received.len() <= ANSWER_BYTES_MAX, "an answer without an end");
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("closed in the middle of an answer");
            }
        }
        parse(&self.received)?.context("an answer that was there a moment ago")
    }
}

/// The answer, once it is whole. Its length must be declared.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer<'_>>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let (mut length, mut has_retry_after, mut closes) = (None, false, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>()?);
        } else if name.eq_ignore_ascii_case("retry-after") {
            has_retry_after = value.parse::<u32>().is_ok_and(|seconds| seconds > 0);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    let length = length.context("an answer of no declared length")?;
    let body = bytes.get(end + 4..end + 4 + length);
    Ok(body.map(|body| Answer { status, has_retry_after, closes, body }))
}

/// The part of a problem that says what went wrong.
#[derive(Deserialize)]
struct Coded<'a> {
    code: &'a str,
}

fn outcome(answer: &Answer<'_>) -> Outcome {
    let code = || serde_json::from_slice(answer.body).map_or("without a code", |coded: Coded<'_>| coded.code);
    match answer.status {
        201 => Outcome::Confirmed,
        202 => Outcome::Accepted,
        503 if !answer.has_retry_after => Outcome::Other(format!("503 {} without Retry-After", code())),
        503 if code() == "overloaded" => Outcome::Refused,
        status => Outcome::Other(format!("{status} {}", code())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_interface_is_loaded() {
        let of = |host: &str| Caller::new(host, Duration::from_secs(5), 1).is_ok();
        assert!(of("http://127.0.0.1:8080") && of("http://[::1]:8080/"));
        assert!(!of("http://192.0.2.1:8080") && !of("http://shop.example:80") && !of("https://127.0.0.1:8080"));
    }

    #[test]
    fn a_refusal_needs_its_code_and_a_time_to_wait() {
        let of = |status, has_retry_after, body: &str| {
            outcome(&Answer { status, has_retry_after, closes: false, body: body.as_bytes() })
        };
        assert_eq!(of(503, true, r#"{"code":"overloaded"}"#), Outcome::Refused);
        let other = |what: &str| Outcome::Other(what.to_owned());
        assert_eq!(of(503, false, r#"{"code":"overloaded"}"#), other("503 overloaded without Retry-After"));
        assert_eq!(of(503, true, r#"{"code":"dependency_unavailable"}"#), other("503 dependency_unavailable"));
        assert_eq!(of(429, true, r#"{"code":"rate_limited"}"#), other("429 rate_limited"));
        assert_eq!(of(502, false, ""), other("502 without a code"));
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole =
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\ncontent-length: 2\r\nConnection: close\r\n\r\n{}";
        let expected = Answer { status: 503, has_retry_after: true, closes: true, body: b"{}" };
        assert_eq!(parse(whole).unwrap(), Some(expected));
        for end in [0, 20, whole.len() - 1] {
            assert_eq!(parse(&whole[..end]).unwrap(), None);
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
