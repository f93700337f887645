//! The accept loop: HTTP/1.1 and HTTP/2 without TLS on one port, bounded in connections, headers and time.

use std::{io, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Layer as _;

use crate::{descriptors::Share, faults::Hangup, shutdown::Shutdown};

/// What a listener allows its callers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// More connections are turned away. One costs about 10 KiB while idle.
    pub connections_max: usize,
    /// Concurrent HTTP/2 requests of one connection.
    pub streams_max: u32,
    /// Time for a request's headers, and how long an idle HTTP/1.1 connection is kept.
    pub header_read_max: Duration,
    /// Bytes of all headers of one request.
    pub header_bytes_max: u32,
    /// How long requests may take to end once shutdown has begun.
    pub drain_max: Duration,
    /// Only HTTP/2 with prior knowledge, as gRPC has it.
    pub http2_only: bool,
}

impl Limits {
    /// The usual ones.
    pub const DEFAULT: Self = Self {
        connections_max: 8192,
        streams_max: 256,
        header_read_max: Duration::from_secs(15),
        header_bytes_max: 32 * 1024,
        drain_max: Duration::from_secs(10),
        http2_only: false,
    };

    /// The usual ones, with no more connections than this share has descriptors.
    pub fn within(share: &Share) -> Self {
        Self { connections_max: share.at_most(Self::DEFAULT.connections_max), ..Self::DEFAULT }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a caller is told for whom there is no place.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves until shutdown, with the default [`Limits`].
///
/// # Errors
/// Never at present: a listener that fails to accept waits a little and tries again.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    serve_with(listener, router, Limits::default(), shutdown).await
}

/// Serves until shutdown; then accepts nobody, lets requests end within `drain_max`, and cuts the rest.
///
/// # Errors
/// Never at present: a listener that fails to accept waits a little and tries again.
pub async fn serve_with(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown) -> io::Result<()> {
    let stop = shutdown.token();
    let cut = CancellationToken::new();
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let Some(stream) = accept(&listener, &stop).await else { break };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            turn_away(&stream, &limits);
            continue;
        };
        connections.spawn(connection(stream, router.clone(), limits, stop.clone(), cut.clone(), permit));
    }
    drop(listener); // a new caller is refused at once, and finds another replica
    connections.close();
    if tokio::time::timeout(limits.drain_max, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not end in time; cutting them");
        cut.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The next connection; `None` when it is time to stop.
async fn accept(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    let next = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                // Out of file descriptors, or a caller that went away: neither is a reason to stop serving.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = next => Some(accepted),
    }
}

/// At once, and without waiting for anything: whoever waited in the queue of connections would be answered by nobody until it gave up.
/// A connection for gRPC is only closed, which its caller takes for what it is.
fn turn_away(stream: &TcpStream, limits: &Limits) {
    if !limits.http2_only {
        // What a new connection does not take at once is not said.
        let _ = stream.try_write(TURNED_AWAY);
    }
    tracing::debug!(connections_max = limits.connections_max, "turned a connection away");
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    cut: CancellationToken,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    // Handlers may ask who connected; a connection without an address is gone already.
    let Ok(peer) = stream.peer_addr() else { return };
    let hangup = Hangup::default();
    let service = Extension(ConnectInfo(peer)).layer(Extension(hangup.clone()).layer(router));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_max)
        .max_buf_size(limits.header_bytes_max.max(8192) as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(limits.header_bytes_max)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let builder = if limits.http2_only { builder.http2_only() } else { builder };
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let result = tokio::select! {
        // First of all: what was answered in the same moment must not get out.
        biased;
        () = hangup.pulled() => return,
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection.as_mut() => result,
                () = cut.cancelled() => return,
                () = hangup.pulled() => return,
            }
        }
    };
    if let Err(error) = result {
        // Callers that go away or send nonsense; the operator cannot do anything about either.
        tracing::debug!(%error, "a connection ended early");
    }
}
