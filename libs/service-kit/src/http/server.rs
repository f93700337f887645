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

use super::{drain::DrainLayer, local::Local, unread::ReadOn};
use crate::{faults::Hangup, shutdown::Shutdown};
use service_base::descriptors::Share;

/// How long after the start of shutdown a connection over HTTP/1 that is idle may still bring a request, which is answered and told to
/// close. Closed at once, it would meet requests that are on their way, whose callers cannot know whether they were received. HTTP/2 needs
/// no such time: its GOAWAY says which requests were.
pub const LAST_CALL: Duration = Duration::from_millis(300);
/// How long an answer may take to be written, when nothing else is left to do: kernels take it in microseconds, unless its reader does
/// not read.
const LAST_WRITE_MAX: Duration = Duration::from_millis(250);

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
    /// How long requests may take to end once shutdown has begun. Twice what a caller of ours waits by default.
    pub drain_max: Duration,
    /// How long a connection over HTTP/1 that is idle may still bring a request once shutdown has begun.
    pub last_call: Duration,
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
        last_call: LAST_CALL,
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

/// Serves until shutdown; then accepts no connection, lets requests end within `drain_max`, and cuts the rest.
///
/// No request is lost: connections that wait to be accepted are, answers over HTTP/1 say that they are the last on their connection,
/// idle connections get a last call, and HTTP/2 says GOAWAY. Streams of gRPC are ended. Once no request is left, connections are cut
/// however quiet their other side is.
///
/// # Errors
/// Never at present: a listener that fails to accept waits a little and tries again.
pub async fn serve_with(listener: TcpListener, router: Router, limits: Limits, shutdown: Shutdown) -> io::Result<()> {
    serve_also(listener, router, limits, shutdown, drop).await
}

/// As [`serve_with`], and for callers in the same process, who are given the way in once it is served.
///
/// # Errors
/// As [`serve_with`].
pub(crate) async fn serve_also(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: Shutdown,
    open: impl FnOnce(Local) + Send,
) -> io::Result<()> {
    let stop = shutdown.token();
    let cut = CancellationToken::new();
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let drain = DrainLayer::new(stop.clone(), shutdown.stopping());
    // Closed with the listener, also where this is given up.
    let closed = stop.child_token();
    let _closes = closed.clone().drop_guard();
    open(Local {
        service: drain.layer(router.clone()),
        drain: drain.clone(),
        closed,
        cut: cut.clone(),
        tasks: connections.clone(),
    });
    // Those who call a stage have closed before it; and HTTP/2 alone needs no last call.
    let last_call = if shutdown.is_stage() || limits.http2_only { Duration::ZERO } else { limits.last_call };
    let ends = Ends { stop: stop.clone(), last_call, cut: cut.clone() };
    let serve = |stream, permit| {
        let (router, drain, ends) = (router.clone(), drain.clone(), ends.clone());
        connections.spawn(connection(stream, router, drain, limits, ends, permit));
    };
    while let Some(stream) = accept(&listener, &stop).await {
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => serve(stream, permit),
            Err(_) => turn_away(&stream, &limits),
        }
    }
    // The kernel has made these connections already, and their callers may have sent requests.
    accept_waiting(listener, &permits, serve);
    connections.close();
    let all_closed = tokio::time::timeout(limits.drain_max, async {
        let last_answer = async {
            tokio::time::sleep(last_call).await;
            drain.all_answered().await;
            tokio::time::sleep(LAST_WRITE_MAX).await;
        };
        let all_ended = async {
            connections.wait().await;
            // Without a connection an answer may still be read after its task has ended.
            drain.all_answered().await;
        };
        tokio::select! {
            () = all_ended => {}
            () = last_answer => {}
        }
    });
    if all_closed.await.is_err() && drain.in_flight() > 0 {
        tracing::warn!(requests = drain.in_flight(), "requests did not end in time; cutting them");
    }
    cut.cancel();
    connections.wait().await;
    Ok(())
}

/// Takes what waits in the listener's queue, then closes it: a new caller is refused at once, and finds another replica.
fn accept_waiting(listener: TcpListener, permits: &Arc<Semaphore>, serve: impl Fn(TcpStream, OwnedSemaphorePermit)) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok(permit) = Arc::clone(permits).try_acquire_owned()
        && let Ok((stream, _)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        serve(stream, permit);
    }
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

/// At once, and without waiting for anything: a caller in the queue of connections would get no answer until it gave up.
/// A connection for gRPC is only closed, which its caller takes for what it is.
fn turn_away(stream: &TcpStream, limits: &Limits) {
    if !limits.http2_only {
        // What a new connection does not take at once is not said.
        let _ = stream.try_write(TURNED_AWAY);
    }
    tracing::debug!(connections_max = limits.connections_max, "turned a connection away");
}

/// How a connection ends.
#[derive(Clone)]
struct Ends {
    stop: CancellationToken,
    /// How long after `stop` it may still bring a request, if it is idle.
    last_call: Duration,
    cut: CancellationToken,
}

async fn connection(
    stream: TcpStream,
    router: Router,
    drain: DrainLayer,
    limits: Limits,
    ends: Ends,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    // Handlers may ask who connected; a connection without an address is gone already.
    let Ok(peer) = stream.peer_addr() else { return };
    let hangup = Hangup::default();
    let service = ReadOn(drain.layer(Extension(ConnectInfo(peer)).layer(Extension(hangup.clone()).layer(router))));
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
    let Ends { stop, last_call, cut } = ends;
    let last_call = async {
        stop.cancelled().await;
        tokio::time::sleep(last_call).await;
    };
    let result = tokio::select! {
        // First of all: what was answered in the same moment must not get out.
        biased;
        () = hangup.pulled() => return,
        result = connection.as_mut() => result,
        () = cut.cancelled() => return,
        () = last_call => {
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
