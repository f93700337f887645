//! A customer's client: one connection a request at a time, kept for the next one, as browsers and mobile applications do.
//!
//! It speaks just enough HTTP/1.1, by hand: it shares two processors with what it loads, and a client library costs as much for each
//! request as the gateway does for a refusal.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
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
    idle: Mutex<Vec<TcpStream>>,
    open: AtomicUsize,
    connections_max: usize,
    token: Mutex<String>,
    /// Keys must differ between runs against the same instance, too: they live for days.
    run: u128,
    next: AtomicU64,
}

/// A place among the open connections.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    has_retry_after: bool,
    closes: bool,
    body: Vec<u8>,
}

impl Caller {
    /// Of the gateway at `host`.
    pub(super) fn new(host: &str, patience: Duration, connections_max: usize) -> anyhow::Result<Self> {
        let authority = host.strip_prefix("http://").context("say http://ADDRESS:PORT")?.trim_end_matches('/');
        let address: SocketAddr = authority.parse().with_context(|| format!("{authority} is no ADDRESS:PORT"))?;
        ensure!(address.ip().is_loopback(), "{address} is not on the loopback interface: only that is loaded");
        Ok(Self {
            address,
            authority: authority.to_owned(),
            patience,
            idle: Mutex::default(),
            open: AtomicUsize::new(0),
            connections_max,
            token: Mutex::default(),
            run: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
            next: AtomicU64::new(0),
        })
    }

    /// Takes a token for the orders that follow.
    pub(super) async fn log_in(&self, password: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({"username": USERNAME, "password": password}).to_string();
        let request = self.post("/auth/login", "", &body);
        let answer = timeout_at(Instant::now() + LOG_IN_MAX, self.ask(&request)).await??;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "{}: {text}", answer.status);
        let body: Value = serde_json::from_str(&text)?;
        let token = body["access_token"].as_str().context("no access_token")?;
        token.clone_into(&mut self.token.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// Places one order that was to be sent at `intended`.
    pub(super) async fn order(&self, intended: Instant) -> Outcome {
        let (run, number, seconds) =
            (self.run, self.next.fetch_add(1, Ordering::Relaxed), self.patience.as_secs().max(1));
        let headers = {
            let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            format!(
                "authorization: Bearer {token}\r\nidempotency-key: curve-{run}-{number}\r\nprefer: wait={seconds}\r\n"
            )
        };
        let request = self.post("/v1/orders", &headers, ORDER);
        match timeout_at(intended + self.patience + GRACE, self.ask(&request)).await {
            Ok(Ok(answer)) => outcome(&answer),
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

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let (host, length) = (&self.authority, body.len());
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    }

    async fn ask(&self, request: &str) -> anyhow::Result<Answer> {
        // Counted first: what is given up in the middle frees its place by being dropped.
        let _place = self.place().context("not sent, for want of a connection")?;
        let mut connection = self.connection().await.map_err(|_| anyhow::anyhow!("connection could not be made"))?;
        let answer = exchange(&mut connection, request).await.map_err(|_| anyhow::anyhow!("connection broke"))?;
        if !answer.closes {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }

    fn place(&self) -> Option<Place<'_>> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.open);
        (before < self.connections_max).then_some(place)
    }

    async fn connection(&self) -> anyhow::Result<TcpStream> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                // Closed meanwhile, it has something to read: its end.
                Some(connection) if is_open(&connection) => return Ok(connection),
                Some(_) => {}
                None => break,
            }
        }
        let stream = timeout_at(Instant::now() + CONNECT_MAX, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn is_open(connection: &TcpStream) -> bool {
    matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn exchange(connection: &mut TcpStream, request: &str) -> anyhow::Result<Answer> {
    connection.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::with_capacity(2048);
    loop {
        if connection.read_buf(&mut bytes).await? == 0 {
            bail!("closed in the middle of an answer");
        }
        if let Some(answer) = parse(&bytes)? {
            return Ok(answer);
        }
        ensure!(bytes.len() <= ANSWER_BYTES_MAX, "an answer without an end");
    }
}

/// The answer, once it is whole. Its length must be declared.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
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
    Ok(body.map(|body| Answer { status, has_retry_after, closes, body: body.to_vec() }))
}

fn outcome(answer: &Answer) -> Outcome {
    let code = || {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        body["code"].as_str().unwrap_or("without a code").to_owned()
    };
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
            outcome(&Answer { status, has_retry_after, closes: false, body: body.as_bytes().to_vec() })
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
        let expected = Answer { status: 503, has_retry_after: true, closes: true, body: b"{}".to_vec() };
        assert_eq!(parse(whole).unwrap(), Some(expected));
        for end in [0, 20, whole.len() - 1] {
            assert_eq!(parse(&whole[..end]).unwrap(), None);
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
