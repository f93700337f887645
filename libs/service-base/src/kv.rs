//! Redis, for what replicas share: every call is bounded, and a server that is down is an error, never a wait. A command may run twice,
//! as it may wherever an answer gets lost: callers must be able to bear that, as a counter bears being one too high.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{
    Cmd, FromRedisValue, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::OnceCell;
use tracing::{Instrument as _, field::Empty};

use crate::{
    config::{ConfigError, SecretUrl},
    context::is_recording,
    metrics::{Metrics, StoreCalls, TraceLabel},
};

/// In spans.
const SYSTEM: &str = "redis";

/// Longer than any healthy answer, shorter than any caller's deadline.
const CALL_BOUND: Duration = Duration::from_millis(300);

/// Redis did not answer in time, or not sensibly.
#[derive(Debug, thiserror::Error)]
#[error("redis is unavailable")]
pub struct Unavailable(#[source] Option<RedisError>);

impl Unavailable {
    /// With what Redis said, for operators.
    pub fn in_words(&self) -> String {
        match &self.0 {
            Some(cause) => format!("{self}: {cause}"),
            None => format!("{self}: no answer within {} ms", CALL_BOUND.as_millis()),
        }
    }
}

/// A connection that finds back by itself. Clones share it.
#[derive(Clone)]
pub struct Redis {
    client: redis::Client,
    /// Made at the first call: its task needs a runtime, and configuration is checked before there is one.
    manager: Arc<OnceCell<ConnectionManager>>,
    calls: Option<StoreCalls>,
}

impl Redis {
    /// Adds what is wrong with a section's `redis_url`. Unlike [`Redis::new`], it may be asked before the asynchronous runtime exists.
    pub fn check(url: &SecretUrl, errors: &mut Vec<ConfigError>) {
        if !url.is_empty() && redis::Client::open(url.expose()).is_err() {
            errors.push(ConfigError::new("redis_url", "must be redis://[user:password@]host:port[/db], or empty"));
        }
    }

    /// The server at a configured URL; none where it is empty.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn at(url: &SecretUrl) -> Result<Option<Self>, RedisError> {
        (!url.is_empty()).then(|| Self::new(url.expose())).transpose()
    }

    /// Takes `redis://[user:password@]host:port/db`. Does not connect: the first call does.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self { client: redis::Client::open(url)?, manager: Arc::default(), calls: None })
    }

    /// The same, and measures the calls that this service makes.
    #[must_use]
    pub fn measured(self, service: &'static str, metrics: &Metrics) -> Self {
        Self { calls: Some(StoreCalls::new(service, "redis", metrics)), ..self }
    }

    async fn manager(&self) -> Result<ConnectionManager, Unavailable> {
        let make = || async {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CALL_BOUND))
                .set_response_timeout(Some(CALL_BOUND))
                .set_number_of_retries(1)
                .set_max_delay(Duration::from_secs(1));
            ConnectionManager::new_lazy_with_config(self.client.clone(), config)
        };
        self.manager.get_or_try_init(make).await.cloned().map_err(|error| Unavailable(Some(error)))
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no sensible answer within 300 ms.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let mut manager = self.manager().await?;
        let twice = async {
            match command.query_async(&mut manager).await {
                Err(error) if is_lost(&error) => command.query_async(&mut manager).await,
                answer => answer,
            }
        };
        self.bounded(operation(command), twice).await
    }

    /// Runs a script by its hash, sending its text where Redis does not know it yet.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no sensible answer within 300 ms.
    pub async fn invoke<T: FromRedisValue>(&self, call: &redis::ScriptInvocation<'_>) -> Result<T, Unavailable> {
        let mut manager = self.manager().await?;
        let twice = async {
            match call.invoke_async(&mut manager).await {
                Err(error) if is_lost(&error) => call.invoke_async(&mut manager).await,
                answer => answer,
            }
        };
        self.bounded("EVALSHA", twice).await
    }

    /// Whether there is such a key.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no sensible answer within 300 ms.
    pub async fn exists(&self, key: &str) -> Result<bool, Unavailable> {
        self.query(redis::cmd("EXISTS").arg(key)).await
    }

    /// Whether there is any of these keys, in one round trip.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no sensible answer within 300 ms.
    pub async fn exists_any(&self, keys: &[String]) -> Result<bool, Unavailable> {
        let count: u64 = self.query(redis::cmd("EXISTS").arg(keys)).await?;
        Ok(count > 0)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no sensible answer within 300 ms.
    pub async fn get(&self, key: &str) -> Result<Option<String>, Unavailable> {
        self.query(redis::cmd("GET").arg(key)).await
    }

    /// Sets a key that expires after `ttl` (at least a second).
    ///
    /// # Errors
    /// [`Unavailable`] when there is no sensible answer within 300 ms.
    pub async fn set(&self, key: &str, value: &str, ttl: Duration) -> Result<(), Unavailable> {
        self.query(redis::cmd("SET").arg(key).arg(value).arg("EX").arg(ttl.as_secs().max(1))).await
    }

    /// Whether Redis takes writes: a replica, a server without memory or one whose disk is full answers a `PING` all the same. Sets a
    /// key that expires; nothing is flushed to a disk for this.
    ///
    /// # Errors
    /// [`Unavailable`] when it does not within 300 ms; its source says why (`READONLY`, `OOM`, `MISCONF`, `LOADING`, `NOAUTH`).
    pub async fn ready(&self) -> Result<(), Unavailable> {
        self.set("amends:readiness", "1", Duration::from_mins(1)).await
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// [`Unavailable`] when it does not within 300 ms.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        self.query(&redis::cmd("PING")).await
    }
}

/// Whether to ask once more, within the same time. The manager answers with the error of a connection that it could not make, however
/// long ago, and makes the next one only then.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped()
}

/// Waits in a client span, where that is recorded.
async fn spanned<T>(
    command: &'static str,
    call: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    if !is_recording() {
        return call.await;
    }
    let span = tracing::info_span!(
        "redis",
        otel.name = command,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = SYSTEM,
        db.operation.name = command,
        peer.service = SYSTEM,
        service.peer.name = SYSTEM,
        error.type = Empty,
    );
    let result = call.instrument(span.clone()).await;
    if let Err(Unavailable(cause)) = &result {
        let kind = if cause.is_some() { "unavailable" } else { "timeout" };
        span.record("otel.status_code", "ERROR").record("error.type", kind);
    }
    result
}

/// A command's name. Those that we send; a label must not take what comes.
fn operation(command: &Cmd) -> &'static str {
    const KNOWN: [&str; 5] = ["GET", "SET", "EXISTS", "PING", "DEL"];
    let name = match command.args_iter().next() {
        Some(redis::Arg::Simple(name)) => name,
        _ => b"",
    };
    KNOWN.into_iter().find(|known| known.as_bytes() == name).unwrap_or("OTHER")
}

impl Redis {
    async fn bounded<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Unavailable> {
        let begun = Instant::now();
        let answered = async {
            match tokio::time::timeout(CALL_BOUND, call).await {
                Ok(answer) => answer.map_err(|error| Unavailable(Some(error))),
                Err(_) => Err(Unavailable(None)),
            }
        };
        let answer = spanned(operation, answered).await;
        let error_type = match &answer {
            Ok(_) => "",
            Err(Unavailable(Some(_))) => "unavailable",
            Err(Unavailable(None)) => "timeout",
        };
        if let Some(calls) = &self.calls {
            calls.observe("", operation, error_type, begun.elapsed(), TraceLabel::current());
        }
        answer
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_url_is_checked_without_a_runtime() {
        assert!(Redis::new("redis://:secret@127.0.0.1:6379/0").is_ok());
        assert!(Redis::new("http://x").is_err());
    }

    #[tokio::test]
    async fn a_redis_that_is_gone_or_hangs_is_an_error_and_never_a_wait() {
        let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for address in [gone, hung.local_addr().unwrap()] {
            let redis = Redis::new(&format!("redis://{address}")).unwrap();
            let began = Instant::now();
            for _ in 0..3 {
                redis.exists("x").await.unwrap_err();
            }
            assert!(began.elapsed() < Duration::from_secs(3), "{address}: {:?}", began.elapsed());
        }
    }

    #[tokio::test]
    async fn a_redis_that_takes_no_writes_is_not_ready() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for refusal in [
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed",
            "MISCONF Errors writing",
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            // A server that knows the greeting and `PING`, and refuses `SET`.
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(async move {
                        let mut buffer = [0_u8; 4096];
                        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                            let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
                            for command in asked.split('*').skip(1) {
                                let answer = if command.contains("SET\r") && !command.contains("CLIENT") {
                                    format!("-{refusal}\r\n")
                                } else if command.contains("PING") {
                                    "+PONG\r\n".to_owned()
                                } else {
                                    "+OK\r\n".to_owned()
                                };
                                stream.write_all(answer.as_bytes()).await.unwrap();
                            }
                        }
                    });
                }
            });
            let redis = Redis::new(&format!("redis://{address}")).unwrap();
            redis.ping().await.unwrap();
            let said = redis.ready().await.unwrap_err().in_words();
            // The driver has words of its own for some codes.
            let code = refusal.split(' ').next().unwrap();
            assert!(said.contains(code) || said.to_uppercase().replace([' ', '-'], "").contains(code), "{said}");
            server.abort();
        }
    }

    #[tokio::test]
    async fn the_first_call_after_an_outage_is_answered() {
        let Some(url) = amends_testing::redis() else { return };
        let (_, behind) = url.split_once("://").unwrap();
        let behind = behind.split('/').next().unwrap().rsplit('@').next().unwrap().to_owned();
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let redis = Redis::new(&format!("redis://{address}")).unwrap();
        redis.ping().await.unwrap_err();
        // Until the manager has given up and waits for the next call.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            loop {
                let (mut front, _) = listener.accept().await.unwrap();
                let mut back = tokio::net::TcpStream::connect(&behind).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut front, &mut back).await });
            }
        });
        redis.ping().await.unwrap();
    }

    #[tokio::test]
    async fn keys_are_kept_and_go_away_by_themselves() {
        let Some(url) = amends_testing::redis() else { return };
        let redis = Redis::new(&url).unwrap();
        redis.ping().await.unwrap();
        redis.ready().await.unwrap();
        let key = format!("amends:test:{}", rand::random::<u64>());
        assert_eq!((redis.exists(&key).await.unwrap(), redis.get(&key).await.unwrap()), (false, None));
        redis.set(&key, "value", Duration::from_mins(1)).await.unwrap();
        assert_eq!(
            (redis.exists(&key).await.unwrap(), redis.get(&key).await.unwrap().as_deref()),
            (true, Some("value"))
        );
        let absent = format!("{key}:absent");
        assert!(redis.exists_any(&[absent.clone(), key.clone()]).await.unwrap());
        assert!(!redis.exists_any(&[absent]).await.unwrap());
        let left: i64 = redis.query(redis::cmd("TTL").arg(&key)).await.unwrap();
        assert!((1..=60).contains(&left), "{left}");
        let script = redis::Script::new("return redis.call('DEL', KEYS[1])");
        let mut call = script.prepare_invoke();
        call.key(&key);
        assert_eq!(redis.invoke::<i64>(&call).await.unwrap(), 1);
    }
}
