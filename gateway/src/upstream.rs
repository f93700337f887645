//! Where the services behind us are, and how we talk to them.
//!
//! A name is resolved off the request's path most of the time, all its addresses are used in turn, and one that refuses a
//! connection is passed over for the rest of that request. Must not know: requests, tokens.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use tokio::time::Instant;

use crate::{
    config::{Config, Timeouts, millis},
    routes::Upstream,
};

/// A replica that is started or stopped is known this soon.
const RESOLVED_FOR: Duration = Duration::from_secs(5);
/// The longest wait for a name.
const RESOLVE_BOUND: Duration = Duration::from_secs(1);
/// gRPC calls at once on one connection; another connection is opened beyond.
const STREAMS_PER_CONNECTION: usize = 100;
/// A silent upstream is noticed this soon.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// No address is known for an upstream.
#[derive(Debug, thiserror::Error)]
#[error("no address is known for {name} at {address}")]
pub(crate) struct Unresolved {
    name: &'static str,
    address: String,
}

/// One upstream's addresses.
#[derive(Debug)]
struct Target {
    upstream: Upstream,
    address: String,
    /// Set where `address` needs no resolving.
    fixed: Option<SocketAddr>,
    resolved: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
    turn: AtomicUsize,
}

/// All upstreams.
#[derive(Debug)]
pub(crate) struct Resolver {
    targets: [Target; 3],
    timeouts: Timeouts,
}

impl Resolver {
    /// As configured. Nothing is resolved or connected yet: upstreams may come later than we do.
    pub(crate) fn new(config: &Config) -> Self {
        let target = |upstream| {
            let address = match upstream {
                Upstream::Identity => &config.upstreams.identity,
                Upstream::OrderHttp => &config.upstreams.order_http,
                Upstream::OrderGrpc => &config.upstreams.order_grpc,
            };
            Target {
                upstream,
                address: address.clone(),
                fixed: address.parse().ok(),
                resolved: Mutex::new(None),
                turn: AtomicUsize::new(0),
            }
        };
        Self { targets: Upstream::ALL.map(target), timeouts: config.timeouts.clone() }
    }

    /// `host:port` as configured, which upstreams see as their own name.
    pub(crate) fn authority(&self, upstream: Upstream) -> &str {
        &self.target(upstream).address
    }

    /// The next address of an upstream, if possible none of `tried`; and how many addresses it has.
    pub(crate) async fn next(
        &self,
        upstream: Upstream,
        tried: &[SocketAddr],
    ) -> Result<(SocketAddr, usize), Unresolved> {
        let target = self.target(upstream);
        if let Some(fixed) = target.fixed {
            return Ok((fixed, 1));
        }
        let addresses = target.resolve().await;
        let start = target.turn.fetch_add(1, Ordering::Relaxed);
        let count = addresses.len();
        let in_turn = (0..count).map(|step| addresses[(start + step) % count]);
        let address = in_turn.clone().find(|address| !tried.contains(address)).or_else(|| in_turn.clone().next());
        address
            .map(|address| (address, count))
            .ok_or_else(|| Unresolved { name: upstream.name(), address: target.address.clone() })
    }

    /// How to talk to an upstream, for a request that may take another `left`.
    pub(crate) fn peer(&self, upstream: Upstream, address: SocketAddr, left: Duration) -> Box<HttpPeer> {
        let mut peer = HttpPeer::new(address, false, String::new());
        let options = &mut peer.options;
        let connect = millis(self.timeouts.connect_ms).min(left);
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(connect);
        options.read_timeout = Some(left);
        options.write_timeout = Some(millis(self.timeouts.write_ms).min(left));
        options.idle_timeout = Some(millis(self.timeouts.upstream_idle_ms));
        // Hop-by-hop fields end here, and no service behind the gateway speaks WebSocket.
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        if upstream == Upstream::OrderGrpc {
            options.set_http_version(2, 2);
            options.max_h2_streams = STREAMS_PER_CONNECTION;
            options.h2_ping_interval = Some(PING_INTERVAL);
        }
        Box::new(peer)
    }

    fn target(&self, upstream: Upstream) -> &Target {
        &self.targets[upstream as usize]
    }
}

impl Target {
    async fn resolve(&self) -> Vec<SocketAddr> {
        let now = Instant::now();
        let known = self.resolved.lock().clone();
        if let Some((at, addresses)) = &known
            && now.duration_since(*at) < RESOLVED_FOR
        {
            return addresses.clone();
        }
        let found = match tokio::time::timeout(RESOLVE_BOUND, tokio::net::lookup_host(&self.address)).await {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(error)) => {
                tracing::warn!(upstream = self.upstream.name(), address = %self.address, %error, "cannot be resolved");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!(upstream = self.upstream.name(), address = %self.address, "was not resolved in time");
                Vec::new()
            }
        };
        // Name servers fail more often than addresses change.
        let addresses = if found.is_empty() { known.map(|(_, old)| old).unwrap_or_default() } else { prefer_v4(found) };
        *self.resolved.lock() = Some((now, addresses.clone()));
        addresses
    }
}

/// Where a name has both kinds of address, the listeners of this project are on IPv4 unless told otherwise.
fn prefer_v4(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.iter().any(SocketAddr::is_ipv4) {
        addresses.retain(|address| matches!(address.ip(), IpAddr::V4(_)));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_used_in_turn_and_failed_ones_passed_over() {
        let targets = Resolver::new(&Config::default());
        let target = targets.target(Upstream::OrderHttp);
        let two: Vec<SocketAddr> = vec!["192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap()];
        let named = Target {
            upstream: Upstream::OrderHttp,
            address: "orders.test:1".to_owned(),
            fixed: None,
            resolved: Mutex::new(Some((Instant::now(), two.clone()))),
            turn: AtomicUsize::new(0),
        };
        assert_eq!(target.fixed, Some("127.0.0.1:8082".parse().unwrap()));
        let targets = Resolver {
            targets: [Upstream::Identity, Upstream::OrderHttp, Upstream::OrderGrpc].map(|_| Target {
                resolved: Mutex::new(named.resolved.lock().clone()),
                address: named.address.clone(),
                turn: AtomicUsize::new(0),
                ..named
            }),
            timeouts: Timeouts::default(),
        };
        assert_eq!(targets.next(Upstream::OrderHttp, &[]).await.unwrap(), (two[0], 2));
        assert_eq!(targets.next(Upstream::OrderHttp, &[]).await.unwrap(), (two[1], 2));
        assert_eq!(targets.next(Upstream::OrderHttp, &[two[0]]).await.unwrap(), (two[1], 2));
        assert_eq!(targets.next(Upstream::OrderHttp, &two).await.unwrap().1, 2, "better one that failed than none");
    }
}
