//! The `[gateway]` section of the configuration: every knob, its default, and what makes a value impossible.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use amends_auth::VerifierConfig;
use serde::{Deserialize, Serialize};
use service_base::{
    config::{ConfigError, SecretUrl, Section},
    kv::Redis,
    peer::Network,
};

/// More than any machine has processors for.
const THREADS_MAX: usize = 1024;

/// Everything the gateway can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where callers connect: HTTP/1.1 and HTTP/2 with prior knowledge on one port.
    pub listen: SocketAddr,
    /// Threads of its own, where it shares its process with services that may keep theirs busy; none, and it runs on its process's.
    pub threads: usize,
    /// Speak TLS there, HTTP/1.1 and HTTP/2 by ALPN.
    pub tls: Option<Tls>,
    /// Load balancers whose `X-Forwarded-For` is believed, as addresses or networks. Without them every caller behind one
    /// counts as the balancer's address, for rate limits and in logs.
    pub trusted_proxies: Vec<Network>,
    /// The services behind.
    pub upstreams: Upstreams,
    /// Whose tokens are accepted, and where that issuer's keys are.
    pub auth: VerifierConfig,
    /// What replicas share: revoked tokens and rate limits. Empty, both live in this process alone. Set and not reachable,
    /// requests that need it are refused with 503: a limit or a revocation that cannot be read cannot be relied on.
    pub redis_url: SecretUrl,
    /// How much a caller may send.
    pub limits: Limits,
    /// Whether callers decide, by the flag in their `traceparent`, that their requests are recorded in traces. Otherwise the trace is
    /// continued, and `telemetry` alone decides: a caller could have all of its requests recorded, or none.
    pub trust_callers_traces: bool,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How often a caller may ask.
    pub rate_limit: RateLimits,
    /// What callers without a token may ask about the services behind.
    pub probes: Probes,
}

/// What callers without a token may ask the services behind, over gRPC. Off unless set: which service is healthy, and what there is
/// to call, is no business of the whole world. `amends up` sets both. `/healthz` and `/readyz` are about the gateway itself, and
/// always there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probes {
    /// Passes `grpc.health.v1.Health` on to the order service.
    pub health: bool,
    /// Passes `grpc.reflection` (v1 and v1alpha) on to the order service.
    pub reflection: bool,
}

/// The certificate callers see.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// Where the services behind the gateway are, as `host:port`. A name is asked for again every few seconds, and all its
/// addresses are used in turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstreams {
    /// The identity service.
    pub identity: String,
    /// The order service's REST listener.
    pub order_http: String,
    /// The order service's gRPC listener.
    pub order_grpc: String,
}

/// How much a caller may send.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at once; more are answered 503 and closed. One costs about 25 KiB while idle.
    pub connections: usize,
    /// Connections at once from one address (an IPv6 address counts as its /64; addresses in `trusted_proxies` are exempt). For one
    /// more, the one that has been idle longest is closed; where none is idle, the answer is 503. Enough for the many callers behind
    /// one NAT, and an eighth of what there is.
    pub connections_per_address: usize,
    /// Requests being answered at once, over all connections; more are answered 503. Streams are counted apart.
    pub requests: usize,
    /// Requests being answered at once for one address, of callers without a token; more are answered 429. They log in, mostly, and
    /// the token service answers fewer at once than this.
    pub requests_per_address: usize,
    /// Requests being answered at once for one token subject, from any number of addresses; more are answered 429. A back office that
    /// orders for thousands still gets 2,000 answers a second at 128 ms each; and one subject alone cannot take what one order service
    /// lets wait (1,024).
    pub requests_per_subject: usize,
    /// Streams of answers open at once: `WatchOrder`, health and reflection.
    pub open_streams: usize,
    /// Streams open at once for one address, of callers without a token; more are answered 429. One load balancer watches health with
    /// one; a few people behind one address look at reflection.
    pub open_streams_per_address: usize,
    /// Streams open at once for one token subject; more are answered 429. A quarter of what one order service serves (256).
    pub open_streams_per_subject: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request's head. Two tokens fit in; more is refused with 431.
    pub head_bytes: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of the request target; more is refused with 414.
    pub target_bytes: usize,
    /// Bytes of a request's body; more is refused with 413.
    pub body_bytes: u64,
    /// Bytes a second that a body must bring on average, once `timeouts.body_ms` have passed; a slower one is refused with 408. A
    /// telephone with one bar is faster.
    pub body_bytes_per_second: u64,
    /// Bytes of bodies that are still arriving, of all callers, counted as at least 4 KiB each. A body of up to 64 KiB is read whole
    /// before anything else is taken for its request; more than this at once is answered 503.
    pub waiting_bytes: usize,
    /// The same for one caller: one subject, or one address of callers without a token; more is answered 429. That is 1,024 half-sent
    /// requests, where an honest caller has a handful for a moment.
    pub waiting_bytes_per_caller: usize,
    /// Bodies longer than 64 KiB at once, which are passed on while they arrive. No service of ours takes such a body.
    pub long_bodies: usize,
    /// The same for one caller.
    pub long_bodies_per_caller: usize,
}

/// How long things may take, in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last, and from the connection to HTTP/2's preface.
    pub head_ms: u64,
    /// How long a connection may be idle between requests.
    pub idle_ms: u64,
    /// How long a body may pause, and how long it may be slower than `limits.body_bytes_per_second`.
    pub body_ms: u64,
    /// How long a whole body may take to arrive, at whatever rate; a later one is refused with 408.
    pub body_whole_ms: u64,
    /// How long a caller may take to read what we have for it.
    pub write_ms: u64,
    /// How long connecting to an upstream may take.
    pub connect_ms: u64,
    /// How long an idle connection to an upstream is kept: less than they keep it, so that we never send into a closing one.
    pub upstream_idle_ms: u64,
    /// A whole exchange with the identity service.
    pub identity_ms: u64,
    /// A whole question to the order service: more than it waits for a saga (`Prefer: wait`).
    pub answer_ms: u64,
    /// A whole stream of answers, after which the caller is told to open another (gRPC `UNAVAILABLE`): longer than the order service
    /// lets one last, and short enough that a forgotten stream is given back. A stream in which the service behind speaks just before
    /// ends when it speaks again, or as much later.
    pub stream_ms: u64,
    /// How long requests may take to end once shutdown has begun.
    pub drain_ms: u64,
}

/// How often a caller may ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Off, requests are not counted.
    pub enabled: bool,
    /// Per token subject.
    pub subject: Rate,
    /// Per address, for requests without a valid token. An IPv6 address counts as its /64.
    pub address: Rate,
    /// Per address, for questions about health and about what is served (see `gateway.probes`): what watches asks once in a second or
    /// two, and keeps streams open.
    pub probe: Rate,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second, over time.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            threads: 0,
            tls: None,
            trusted_proxies: Vec::new(),
            upstreams: Upstreams::default(),
            auth: VerifierConfig::default(),
            redis_url: SecretUrl::default(),
            limits: Limits::default(),
            trust_callers_traces: false,
            timeouts: Timeouts::default(),
            rate_limit: RateLimits::default(),
            probes: Probes::default(),
        }
    }
}

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            identity: "127.0.0.1:8081".to_owned(),
            order_http: "127.0.0.1:8082".to_owned(),
            order_grpc: "127.0.0.1:50051".to_owned(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_per_address: 1024,
            requests: 4096,
            requests_per_address: 256,
            requests_per_subject: 256,
            open_streams: 1024,
            open_streams_per_address: 16,
            open_streams_per_subject: 64,
            streams: 100,
            head_bytes: 16 * 1024,
            headers: 100,
            target_bytes: 8 * 1024,
            body_bytes: 1024 * 1024,
            body_bytes_per_second: 1024,
            waiting_bytes: 64 * 1024 * 1024,
            waiting_bytes_per_caller: 4 * 1024 * 1024,
            long_bodies: 64,
            long_bodies_per_caller: 4,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head_ms: 10_000,
            idle_ms: 60_000,
            body_ms: 15_000,
            body_whole_ms: 30_000,
            write_ms: 30_000,
            connect_ms: 1_000,
            upstream_idle_ms: 10_000,
            identity_ms: 10_000,
            answer_ms: 35_000,
            stream_ms: 900_000,
            drain_ms: 10_000,
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            subject: Rate { per_second: 2_000, burst: 4_000 },
            address: Rate { per_second: 200, burst: 400 },
            probe: Rate { per_second: 10, burst: 40 },
        }
    }
}

impl Section for Config {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let Self { upstreams, auth, limits, timeouts, rate_limit, redis_url, .. } = self;
        ConfigError::within("auth", errors, |errors| auth.validate(errors));
        Redis::check(redis_url, errors);
        let mut wrong = |key: &str, message: &str| errors.push(ConfigError::new(key, message));
        for (key, address) in [
            ("upstreams.identity", &upstreams.identity),
            ("upstreams.order_http", &upstreams.order_http),
            ("upstreams.order_grpc", &upstreams.order_grpc),
        ] {
            if !is_host_and_port(address) {
                wrong(key, "must be host:port, such as order-service:8082");
            }
        }
        // Pingora reads at most 1 MiB of head and 256 headers, and keeps nothing above.
        if !(1024..=512 * 1024).contains(&limits.head_bytes) {
            wrong("limits.head_bytes", "must be between 1024 and 524288");
        }
        if !(8..=250).contains(&limits.headers) {
            wrong("limits.headers", "must be between 8 and 250");
        }
        if !(64..=limits.head_bytes.max(64)).contains(&limits.target_bytes) {
            wrong("limits.target_bytes", "must be at least 64 and at most limits.head_bytes");
        }
        if self.threads > THREADS_MAX {
            wrong("threads", "must be at most 1024");
        }
        for (key, is_zero) in [
            ("limits.connections", limits.connections == 0),
            ("limits.connections_per_address", limits.connections_per_address == 0),
            ("limits.requests", limits.requests == 0),
            ("limits.requests_per_address", limits.requests_per_address == 0),
            ("limits.requests_per_subject", limits.requests_per_subject == 0),
            ("limits.open_streams", limits.open_streams == 0),
            ("limits.open_streams_per_address", limits.open_streams_per_address == 0),
            ("limits.open_streams_per_subject", limits.open_streams_per_subject == 0),
            ("limits.streams", limits.streams == 0),
            ("limits.body_bytes", limits.body_bytes == 0),
            ("limits.body_bytes_per_second", limits.body_bytes_per_second == 0),
            ("limits.long_bodies", limits.long_bodies == 0),
            ("limits.long_bodies_per_caller", limits.long_bodies_per_caller == 0),
        ] {
            if is_zero {
                wrong(key, "must be at least 1");
            }
        }
        for (key, bytes) in [
            ("limits.waiting_bytes", limits.waiting_bytes),
            ("limits.waiting_bytes_per_caller", limits.waiting_bytes_per_caller),
        ] {
            // One body that is read first, and what its request costs besides.
            if bytes < 128 * 1024 {
                wrong(key, "must be at least 131072");
            }
        }
        for (key, value) in [
            ("timeouts.head_ms", timeouts.head_ms),
            ("timeouts.idle_ms", timeouts.idle_ms),
            ("timeouts.body_ms", timeouts.body_ms),
            ("timeouts.body_whole_ms", timeouts.body_whole_ms),
            ("timeouts.write_ms", timeouts.write_ms),
            ("timeouts.connect_ms", timeouts.connect_ms),
            ("timeouts.upstream_idle_ms", timeouts.upstream_idle_ms),
            ("timeouts.identity_ms", timeouts.identity_ms),
            ("timeouts.answer_ms", timeouts.answer_ms),
            ("timeouts.stream_ms", timeouts.stream_ms),
        ] {
            if !(1..=86_400_000).contains(&value) {
                wrong(key, "must be between 1 and 86400000 (one day)");
            }
        }
        for (key, rate) in [
            ("rate_limit.subject", rate_limit.subject),
            ("rate_limit.address", rate_limit.address),
            ("rate_limit.probe", rate_limit.probe),
        ] {
            if !(1..=1_000_000).contains(&rate.per_second) || !(1..=1_000_000).contains(&rate.burst) {
                wrong(key, "per_second and burst must be between 1 and 1000000");
            }
        }
    }
}

/// Milliseconds as configured.
pub(crate) const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn is_host_and_port(text: &str) -> bool {
    text.parse::<http::uri::Authority>()
        .is_ok_and(|authority| !authority.host().is_empty() && authority.port_u16().is_some() && !text.contains('@'))
}

#[cfg(test)]
mod tests {
    use service_base::config::{Sources, defaults, load_from};

    use super::*;

    #[test]
    fn defaults_are_valid_and_can_be_written_down() {
        let mut errors = Vec::new();
        Config::default().validate(&mut errors);
        assert_eq!(errors, []);
        let text = defaults::<Config>("gateway");
        assert!(text.contains("listen = \"127.0.0.1:8080\"") && text.contains("per_second = 2000"), "{text}");
    }

    #[test]
    fn all_mistakes_at_once_by_key() {
        let sources = Sources::none()
            .set("gateway.upstreams.identity", "nowhere")
            .set("gateway.limits.headers", 7)
            .set("gateway.threads", 1025)
            .set("gateway.timeouts.head_ms", 0)
            .set("gateway.limits.requests_per_subject", 0)
            .set("gateway.limits.waiting_bytes_per_caller", 4096)
            .set("gateway.rate_limit.subject", r#"{"per_second":0,"burst":1}"#)
            .set("gateway.redis_url", "http://x")
            .set("gateway.nonsense", 1);
        let errors = load_from::<Config>("gateway", &sources).unwrap_err();
        let keys: Vec<&str> = errors.0.iter().map(|error| error.key.as_str()).collect();
        for key in [
            "gateway.limits.headers",
            "gateway.limits.requests_per_subject",
            "gateway.limits.waiting_bytes_per_caller",
            "gateway.nonsense",
            "gateway.rate_limit.subject",
            "gateway.redis_url",
            "gateway.threads",
            "gateway.timeouts.head_ms",
            "gateway.upstreams.identity",
        ] {
            assert!(keys.contains(&key), "{key} is not in {keys:?}");
        }
    }
}
