//! Connections: accepted up to a bound and a share, told apart by their first bytes, judged head by head, closed with care.
//!
//! Pingora's own accept loop waits for HTTP/2's preface without a bound, and its read timeout is per read, so a caller that
//! sends one byte now and then holds a connection for ever. So the loop is ours: it waits for the first bytes and for each
//! whole HTTP/1 head under one deadline, judges the head, and only then lets Pingora read it.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use amends_primitives::IdSource;
use http::StatusCode;
use pingora_core::{
    apps::{HttpServerApp as _, ServerApp as _},
    protocols::{
        SocketDigest, UniqueIDType, http::ServerSession, l4::socket::SocketAddr as PeerAddr, raw_connect::ProxyDigest,
    },
    server::ShutdownWatch,
};
use pingora_http::ResponseHeader;
use pingora_proxy::HttpProxy;
use service_base::context::Correlation;
use service_kit::http::LAST_CALL;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::connections_full,
    config::{Config, millis},
    connection_table::{ConnectionTable, Member},
    hygiene::{self, Flaw, Framing, HeadLimits, HeadScanner, Opening},
    observe::{Observer, Summary},
    proxy::Gateway,
    refusal::Refusal,
    shares::{self, Owner, Shares},
    stream::{Guarded, Transport},
};

/// Empty lines before a request that are read over, as RFC 9112, section 2.2 asks: old clients end a body with one.
const EMPTY_LINES_MAX: usize = 2;
/// Callers that came when there was no room, told so at once. Beyond these, connections are just closed.
pub(crate) const TURNED_AWAY_AT_ONCE_MAX: usize = 64;
/// Those from one address, so that others still hear why.
const TURNED_AWAY_PER_ADDRESS_MAX: usize = 16;
/// After our last byte a caller may still be sending. Closing at once would reset the connection, and the caller would lose
/// the answer that says why.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// How long an answer may take to be written at shutdown, and its connection to close, when nothing else is left to do.
const LAST_WRITE_MAX: Duration = Duration::from_millis(500);
/// How long GOAWAY may take to leave.
const GOAWAY_MAX: Duration = Duration::from_millis(100);
/// Requests on one HTTP/1 connection before it is closed, so that callers spread over new replicas in time.
const REQUESTS_PER_CONNECTION_MAX: u32 = 10_000;

/// Everything a connection needs.
pub(crate) struct Front {
    pub(crate) app: Arc<HttpProxy<Gateway>>,
    pub(crate) observer: Observer,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Requests that shutdown waits for; streams without an end are not among them.
    awaited: TaskTracker,
    limits: HeadLimits,
    head: Duration,
    idle: Duration,
    write: Duration,
    table: Arc<ConnectionTable>,
    lobby: Shares,
}

impl Front {
    pub(crate) fn new(
        app: Arc<HttpProxy<Gateway>>,
        observer: Observer,
        ids: Arc<dyn IdSource>,
        tls: Option<TlsAcceptor>,
        awaited: TaskTracker,
        config: &Config,
    ) -> Self {
        let limits = &config.limits;
        let (total, per_address) = (TURNED_AWAY_AT_ONCE_MAX, TURNED_AWAY_PER_ADDRESS_MAX);
        let turned_away = shares::Limits { total, per_address, per_subject: 0 };
        let held = observer.held("turned_away");
        Self {
            app,
            observer,
            ids,
            tls,
            awaited,
            limits: HeadLimits { bytes: limits.head_bytes, headers: limits.headers, target_bytes: limits.target_bytes },
            head: millis(config.timeouts.head_ms),
            idle: millis(config.timeouts.idle_ms),
            write: millis(config.timeouts.write_ms),
            table: Arc::new(ConnectionTable::new(
                limits.connections,
                limits.connections_per_address,
                config.trusted_proxies.clone(),
            )),
            lobby: Shares::new(turned_away, held),
        }
    }

    /// Accepts until `stop`; then lets requests end, and cuts what has not within `drain`.
    ///
    /// No request is lost: connections that wait to be accepted are, answers over HTTP/1 say that they are the last on their
    /// connection, idle connections get [`LAST_CALL`], and HTTP/2 says GOAWAY. When only streams are left, or connections whose other
    /// side is quiet, these are cut at once.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken, drain: Duration) {
        let (tell, shutdown) = tokio::sync::watch::channel(false);
        let cut = CancellationToken::new();
        let tasks = TaskTracker::new();
        let take = |socket: TcpStream, peer: SocketAddr| {
            let front = Arc::clone(&self);
            if let Some(permit) = self.table.enter(peer.ip()) {
                let (shutdown, cut) = (shutdown.clone(), cut.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = front.connection(socket, peer, shutdown, permit.member()) => {}
                        () = cut.cancelled() => {}
                    }
                    drop(permit);
                });
            } else if let Ok(permit) = self.lobby.take(&Owner::from(peer.ip()), 1) {
                tasks.spawn(async move {
                    front.turn_away(socket, peer).await;
                    drop(permit);
                });
            }
        };
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => take(socket, peer),
                Err(error) => {
                    // Out of descriptors, or a caller that left: neither is a reason to stop, nor to spin.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        // The kernel has made these connections already, and their callers may have sent requests. After that a new caller is refused at
        // once, and finds another replica.
        if let Ok(listener) = listener.into_std() {
            while let Ok((socket, peer)) = listener.accept()
                && socket.set_nonblocking(true).is_ok()
                && let Ok(socket) = TcpStream::from_std(socket)
            {
                take(socket, peer);
            }
        }
        let _ = tell.send(true);
        tasks.close();
        self.awaited.close();
        let ended = timeout(drain, async {
            let last_answer = async {
                tokio::time::sleep(LAST_CALL).await;
                self.awaited.wait().await;
                tokio::time::sleep(LAST_WRITE_MAX).await;
            };
            tokio::select! {
                () = tasks.wait() => {}
                () = last_answer => {}
            }
        });
        if ended.await.is_err() {
            tracing::warn!(requests = self.awaited.len(), "requests did not end in time; cutting them");
        }
        cut.cancel();
        tasks.wait().await;
        self.app.cleanup().await;
    }

    async fn connection(&self, socket: TcpStream, peer: SocketAddr, shutdown: ShutdownWatch, member: &Arc<Member>) {
        let _connected = self.observer.connected();
        // Answers are written whole; waiting to fill a segment only delays them.
        let _ = socket.set_nodelay(true);
        let id = socket.as_raw_fd();
        let Some(tls) = &self.tls else {
            return self.exchange(Box::new(socket), id, peer, shutdown, member).await;
        };
        match timeout(self.head, tls.accept(socket)).await {
            Ok(Ok(stream)) => self.exchange(Box::new(stream), id, peer, shutdown, member).await,
            Ok(Err(error)) => tracing::debug!(client.address = %peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(client.address = %peer, "a TLS handshake took too long"),
        }
    }

    /// Serves one connection until it is over.
    async fn exchange(
        &self,
        transport: Box<dyn Transport>,
        id: UniqueIDType,
        peer: SocketAddr,
        mut shutdown: ShutdownWatch,
        member: &Arc<Member>,
    ) {
        let digest = SocketDigest::from_raw_fd(id);
        let _ = digest.peer_addr.set(Some(PeerAddr::Inet(peer)));
        let connection = match ResponseHeader::build(StatusCode::OK, None) {
            Ok(unused) => ProxyDigest::new(Box::new(unused), Some(Box::new(Arc::clone(member)))),
            Err(error) => return tracing::error!(%error, "Pingora makes no empty header"),
        };
        let (mut stream, mut returned) = Guarded::new(transport, id, Arc::new(digest), SystemTime::now(), connection);
        for number in 0..REQUESTS_PER_CONNECTION_MAX {
            match self.read_head(&mut stream, number == 0, &mut shutdown, member).await {
                Ok(Arrived::Http1 { head, framing }) => {
                    stream.admit(head, framing);
                    let mut session = ServerSession::new_http1(Box::new(stream));
                    let is_last = *shutdown.borrow() || number + 1 == REQUESTS_PER_CONNECTION_MAX;
                    session.set_keepalive((!is_last).then(|| self.idle.as_secs().max(1)));
                    let Some(reused) = self.app.process_new_http(session, &shutdown).await else {
                        return self.linger(&mut returned).await;
                    };
                    let Ok(back) = reused.consume().0.into_any().downcast::<Guarded>() else {
                        return tracing::error!("Pingora gave back another stream than it was given");
                    };
                    stream = *back;
                    // What is left of one request must not be read as the next.
                    if !stream.is_over() {
                        drop(stream);
                        return self.linger(&mut returned).await;
                    }
                }
                Ok(Arrived::Http2) => {
                    stream.open();
                    self.serve_h2(stream, shutdown, member).await;
                    return self.linger(&mut returned).await;
                }
                Ok(Arrived::Nothing) => return,
                Err(flaw) => {
                    self.refuse(&mut stream, peer, &Refusal::from(flaw)).await;
                    drop(stream);
                    return self.linger(&mut returned).await;
                }
            }
        }
    }

    /// Serves requests over HTTP/2 until the connection is over. Told to stop, or to give way, it sends GOAWAY and lets streams end.
    async fn serve_h2(&self, stream: Guarded, mut shutdown: ShutdownWatch, member: &Arc<Member>) {
        let (tell, told_here) = tokio::sync::watch::channel(*shutdown.borrow());
        let served = self.app.process_new(Box::new(stream), &told_here);
        tokio::pin!(served);
        tokio::select! {
            _ = &mut served => return,
            () = told(&mut shutdown) => {
                let _ = tell.send(true);
                served.await;
                return;
            }
            () = member.gives_way() => {}
        }
        let _ = tell.send(true);
        // Its place is another's already, and its caller need not answer GOAWAY: cut it as soon as no answer would be lost.
        loop {
            tokio::select! {
                _ = &mut served => return,
                () = tokio::time::sleep(GOAWAY_MAX), if !member.is_busy() => return,
                () = tokio::time::sleep(LINGER_MAX) => {}
            }
        }
    }

    /// Waits for the head of the next request, whole, and judges it.
    async fn read_head(
        &self,
        stream: &mut Guarded,
        is_first: bool,
        shutdown: &mut ShutdownWatch,
        member: &Arc<Member>,
    ) -> Result<Arrived, Flaw> {
        let mut scanner = HeadScanner::default();
        let mut is_h1 = !is_first;
        let mut empty_lines = 0;
        // A new caller has come to say something; one that stays may think for longer.
        let mut deadline = Instant::now() + if is_first { self.head } else { self.idle };
        let mut has_begun = false;
        loop {
            while scanner.is_new() && empty_lines < EMPTY_LINES_MAX && stream.received().starts_with(b"\r\n") {
                stream.skip(2);
                empty_lines += 1;
                is_h1 = true;
            }
            let received = stream.received();
            if !is_h1 {
                match hygiene::opening(received) {
                    Opening::H2 => return Ok(Arrived::Http2),
                    Opening::H1 => is_h1 = true,
                    Opening::Undecided => {}
                }
            }
            // A lone CR may become one of those empty lines.
            if is_h1
                && received != b"\r"
                && let Some(head) = scanner.advance(received, &self.limits)?
            {
                return Ok(Arrived::Http1 { head, framing: hygiene::inspect(&received[..head], &self.limits)? });
            }
            if !has_begun && !received.is_empty() {
                has_begun = true;
                if !is_first {
                    deadline = Instant::now() + self.head;
                }
            }
            let arrived = tokio::select! {
                biased;
                arrived = timeout_at(deadline, stream.receive()) => arrived,
                // A request may be on its way, and one that has begun may still arrive.
                () = last_call(shutdown), if !has_begun => return Ok(Arrived::Nothing),
                () = member.gives_way() => return Ok(Arrived::Nothing),
            };
            match arrived {
                Ok(Ok(0) | Err(_)) => return Ok(Arrived::Nothing),
                Ok(Ok(_)) => {}
                // A slow HTTP/2 preface gets no answer: its sender would not understand one.
                Err(_) if has_begun && is_h1 => return Err(Flaw::HeadTooSlow),
                Err(_) => return Ok(Arrived::Nothing),
            }
        }
    }

    /// Answers what never became a request, and says so in metrics and log.
    async fn refuse(&self, stream: &mut Guarded, peer: SocketAddr, refusal: &Refusal) {
        let correlation = Correlation::fresh(&*self.ids);
        self.note(peer, refusal, &correlation);
        let _ = timeout(self.write, stream.send(&refusal.raw(correlation.as_str()))).await;
    }

    fn note(&self, peer: SocketAddr, refusal: &Refusal, correlation: &Correlation) {
        self.observer.ended(&Summary {
            order: None,
            protocol: "http",
            method: "",
            path: "",
            route: "unmatched",
            status: refusal.status().as_u16(),
            grpc_code: None,
            took: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
            client: Some(peer.ip()),
            subject: None,
            upstream: None,
            is_shed: false,
            refused: Some(refusal.code()),
            is_probe: false,
            correlation_id: correlation.as_str(),
            trace_id: "",
            error: Some(refusal.detail().to_owned()),
        });
    }

    /// There is no room for this connection.
    async fn turn_away(&self, mut socket: TcpStream, peer: SocketAddr) {
        let refusal = connections_full();
        let correlation = Correlation::fresh(&*self.ids);
        self.note(peer, &refusal, &correlation);
        if self.tls.is_none() {
            let answer = refusal.raw(correlation.as_str());
            let _ = timeout(LINGER_MAX, socket.write_all(&answer)).await;
            close(&mut socket).await;
        }
    }

    /// Takes the transport back from the dropped stream and closes it without losing the answer.
    async fn linger(&self, returned: &mut oneshot::Receiver<Box<dyn Transport>>) {
        if let Ok(mut transport) = returned.try_recv() {
            close(&mut transport).await;
        }
    }
}

/// What came over a connection.
enum Arrived {
    /// A judged head of this length in bytes, and how its body is framed.
    Http1 { head: usize, framing: Framing },
    /// HTTP/2's preface.
    Http2,
    /// The caller left, or said nothing in time, or we stop.
    Nothing,
}

/// Shutdown has begun.
async fn told(shutdown: &mut ShutdownWatch) {
    // The sender lives as long as the accept loop; without it we stop as well.
    let _ = shutdown.wait_for(|told| *told).await;
}

/// Shutdown has begun, and idle connections have had their time.
async fn last_call(shutdown: &mut ShutdownWatch) {
    told(shutdown).await;
    tokio::time::sleep(LAST_CALL).await;
}

/// Closes our side, then reads over what the caller is still sending, for a bounded time.
async fn close<T: Transport + ?Sized>(transport: &mut T) {
    let _ = timeout(LINGER_MAX, async {
        transport.shutdown().await?;
        let mut rest = vec![0; 16 * 1024];
        while transport.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}
