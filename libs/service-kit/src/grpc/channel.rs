//! Channels to other services: several connections each, lazy, kept alive, bounded in the time to connect; or none, to a server of the
//! same process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response};
use futures::{
    TryFutureExt as _,
    future::{BoxFuture, Either, ErrInto},
};
use serde::{Deserialize, Serialize};
use tonic::{
    body::Body,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tower::{BoxError, Service, ServiceExt as _, util::Oneshot};

use super::local::Local;
use service_base::config::{ConfigError, Section};

/// A broken one takes a quarter of the calls in flight with it; more would cost the other side memory for little.
const CONNECTIONS: usize = 4;
/// Beyond that a replica is not better connected, only a burden on the other side.
const CONNECTIONS_MAX: usize = 64;

/// How to reach a gRPC service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelConfig {
    /// `http://host:port`.
    pub url: String,
    /// Connections, of which each call takes the next: as many calls fail with one that breaks as are on it, and a service of
    /// several replicas behind one address serves by as many as the connections happen to reach.
    pub connections: usize,
    /// Milliseconds a connection may take to be made: less than an attempt, so that the caller still waits when it fails.
    pub connect_timeout_ms: u64,
    /// Milliseconds no call may exceed, whatever its own deadline says.
    pub call_timeout_ms: u64,
}

impl ChannelConfig {
    /// A service at that URL, with default bounds.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:50051".to_owned(),
            connections: CONNECTIONS,
            connect_timeout_ms: 250,
            call_timeout_ms: 30_000,
        }
    }
}

impl Section for ChannelConfig {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            errors.push(ConfigError::new("connections", format!("must be from 1 to {CONNECTIONS_MAX}")));
        }
        for (key, millis) in
            [("connect_timeout_ms", self.connect_timeout_ms), ("call_timeout_ms", self.call_timeout_ms)]
        {
            if millis == 0 {
                errors.push(ConfigError::new(key, "must be at least 1"));
            }
        }
    }
}

/// The way to one service: several connections, of which each call takes the next, or within the process none. Clones share them.
///
/// Not tonic's own balancing: that keeps the error of a connection that could not be made until some call takes that connection, however
/// long after the other side is back.
#[derive(Debug, Clone)]
pub struct Channels(Way);

#[derive(Debug, Clone)]
enum Way {
    Connections(Arc<Connections>),
    Local { server: Local, call_max: Duration },
}

#[derive(Debug)]
struct Connections {
    channels: Box<[Channel]>,
    taken: AtomicUsize,
}

/// Channels that connect when they are first used and again whenever they must: the other service need not be up yet.
///
/// # Errors
/// When the URL is not one.
pub fn channels(config: &ChannelConfig) -> Result<Channels, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(config.url.clone())?
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .timeout(Duration::from_millis(config.call_timeout_ms))
        // A peer that vanished without a word is noticed within 10 + 5 seconds, also while nothing is in flight.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let channels = (0..config.connections.max(1)).map(|_| endpoint.connect_lazy()).collect();
    Ok(Channels(Way::Connections(Arc::new(Connections { channels, taken: AtomicUsize::new(0) }))))
}

impl Channels {
    /// To a server of this process. Of the configuration only the bound of a call applies.
    pub const fn local(server: Local, config: &ChannelConfig) -> Self {
        Self(Way::Local { server, call_max: Duration::from_millis(config.call_timeout_ms) })
    }
}

impl Connections {
    fn next(&self) -> Channel {
        let Self { channels, taken } = self;
        channels[taken.fetch_add(1, Ordering::Relaxed) % channels.len()].clone()
    }
}

impl Service<Request<Body>> for Channels {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Either<
        ErrInto<Oneshot<Channel, Request<Body>>, BoxError>,
        BoxFuture<'static, Result<Response<Body>, BoxError>>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // It is the next channel that has to be, which the call waits for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &self.0 {
            Way::Connections(connections) => Either::Left(connections.next().oneshot(request).err_into()),
            Way::Local { server, call_max } => Either::Right(Box::pin(server.clone().call(request, *call_max))),
        }
    }
}

/// `authorization: Bearer …`, marked so that nothing writes it out.
///
/// # Errors
/// When the token has characters that no header may have.
pub fn bearer(token: &str) -> Result<MetadataValue<Ascii>, tonic::Status> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| tonic::Status::internal("the token cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use futures::{future::join_all, stream};
    use tokio::net::TcpListener;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;
    use amends_resilience::{Classify as _, Verdict};
    use service_base::status;

    /// Serves health on a port of its own; returns how many connections were accepted.
    fn serve(listener: TcpListener) -> Arc<AtomicUsize> {
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let incoming = stream::unfold((listener, counter), |(listener, counter)| async move {
            let connection = listener.accept().await.map(|(connection, _)| connection);
            counter.fetch_add(1, Ordering::SeqCst);
            Some((connection, (listener, counter)))
        });
        let (_, health) = tonic_health::server::health_reporter();
        tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming));
        accepted
    }

    async fn check(channels: &Channels) -> Result<(), tonic::Status> {
        HealthClient::new(channels.clone()).check(HealthCheckRequest::default()).await.map(|_| ())
    }

    #[tokio::test]
    async fn calls_are_spread_over_all_connections_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ChannelConfig::at(format!("http://{}", listener.local_addr().unwrap()));
        let accepted = serve(listener);
        let channels = channels(&config).unwrap();
        for called in join_all((0..64).map(|_| check(&channels))).await {
            called.unwrap();
        }
        assert_eq!(accepted.load(Ordering::SeqCst), config.connections);
    }

    #[tokio::test]
    async fn without_a_server_nothing_is_sent_and_a_later_one_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let channels = channels(&ChannelConfig::at(format!("http://{address}"))).unwrap();
        for status in join_all((0..16).map(|_| check(&channels))).await {
            let status = status.unwrap_err();
            assert!(status::nothing_sent(&status) && !status::is_given_up(&status), "{status:?}");
            assert_eq!(status.verdict(), Verdict::Transient { retry_after: None });
        }
        serve(TcpListener::bind(address).await.unwrap());
        for called in join_all((0..16).map(|_| check(&channels))).await {
            called.unwrap();
        }
    }

    #[test]
    fn bounds_are_checked_by_name() {
        let mut errors = Vec::new();
        ChannelConfig { connections: 0, call_timeout_ms: 0, ..ChannelConfig::default() }.validate(&mut errors);
        let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["connections", "call_timeout_ms"]);
    }
}
