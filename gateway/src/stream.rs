//! The stream Pingora reads from: it hands over one request at a time, and only after that request's head was judged.
//!
//! Without it, bytes that come after a request's end would be read together with the body, and a caller that sends two requests at
//! once would lose the second. With it, Pingora sees exactly one head and one body; what follows waits here for its own turn.
//! Must not know: routes, tokens, upstreams.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf},
    sync::oneshot,
};

use crate::hygiene::{ChunkScanner, Framing};

/// Whatever a connection runs over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug> Transport for T {}

/// Pingora writes header and body apart; this many bytes leave in one packet.
const WRITE_BUFFER_BYTES: usize = 4096;
/// Read at once while waiting for a head: what an idle connection keeps.
const HEAD_BUFFER_BYTES: usize = 2 * 1024;
/// Read at once of a body, at most.
pub(crate) const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Which of the bytes that arrive may be read now.
#[derive(Debug)]
enum Window {
    /// None: no request has begun, or the last one is over.
    Shut,
    /// The rest of the head, then this number of bytes of body.
    Length { head: usize, body: u64 },
    /// The rest of the head, then a chunked body.
    Chunked { head: usize, body: ChunkScanner },
    /// All of them: HTTP/2 delimits its own frames.
    Open,
}

/// A connection whose reader sees one request at a time.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// `None` only while dropping.
    io: Option<BufWriter<Box<dyn Transport>>>,
    received: BytesMut,
    window: Window,
    since: SystemTime,
    id: UniqueIDType,
    socket: Arc<SocketDigest>,
    /// The connection, where requests find it: Pingora hands this to each of them, and we are behind no CONNECT proxy.
    connection: Arc<ProxyDigest>,
    /// Gets the transport back when Pingora drops the stream, so that it can be closed with care.
    returns_to: Option<oneshot::Sender<Box<dyn Transport>>>,
}

impl Guarded {
    /// A connection of which nothing may be read yet. `id` is the socket's descriptor, which Pingora shows in its logs.
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        id: UniqueIDType,
        socket: Arc<SocketDigest>,
        since: SystemTime,
        connection: ProxyDigest,
    ) -> (Self, oneshot::Receiver<Box<dyn Transport>>) {
        let (returns_to, returned) = oneshot::channel();
        let guarded = Self {
            io: Some(BufWriter::with_capacity(WRITE_BUFFER_BYTES, transport)),
            received: BytesMut::new(),
            window: Window::Shut,
            since,
            id,
            socket,
            connection: Arc::new(connection),
            returns_to: Some(returns_to),
        };
        (guarded, returned)
    }

    /// What arrived and was not read yet.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Forgets the first bytes of what arrived.
    pub(crate) fn skip(&mut self, count: usize) {
        self.received.advance(count);
    }

    /// Waits for more to arrive. How much did; zero at the end.
    pub(crate) async fn receive(&mut self) -> io::Result<usize> {
        use tokio::io::AsyncReadExt as _;
        let io = self.io.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        self.received.reserve(HEAD_BUFFER_BYTES);
        io.read_buf(&mut self.received).await
    }

    /// Lets one request be read: its head, then its body.
    pub(crate) fn admit(&mut self, head: usize, framing: Framing) {
        self.window = match framing {
            Framing::Length(body) => Window::Length { head, body },
            Framing::Chunked => Window::Chunked { head, body: ChunkScanner::default() },
        };
    }

    /// Lets everything be read.
    pub(crate) fn open(&mut self) {
        self.window = Window::Open;
    }

    /// Writes all of `bytes` and flushes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let io = self.io.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        io.write_all(bytes).await?;
        io.flush().await
    }

    fn io(&mut self) -> io::Result<Pin<&mut BufWriter<Box<dyn Transport>>>> {
        self.io.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// How many of the received bytes may be read now; `None` where the request is over.
    fn readable(&mut self, room: usize) -> io::Result<Option<usize>> {
        let offered = self.received.len().min(room).min(READ_BUFFER_BYTES);
        match &mut self.window {
            Window::Shut | Window::Length { head: 0, body: 0 } => Ok(None),
            Window::Open => Ok(Some(offered)),
            Window::Length { head, .. } | Window::Chunked { head, .. } if *head > 0 => {
                let count = offered.min(*head);
                *head -= count;
                Ok(Some(count))
            }
            Window::Length { body, .. } => {
                let count = usize::try_from(*body).unwrap_or(usize::MAX).min(offered);
                *body -= u64::try_from(count).unwrap_or(*body);
                Ok(Some(count))
            }
            Window::Chunked { body, .. } if body.is_done() => Ok(None),
            Window::Chunked { body, .. } => body
                .advance(&self.received[..offered])
                .map(Some)
                .map_err(|flaw| io::Error::new(io::ErrorKind::InvalidData, FramingError(flaw.sentence()))),
        }
    }

    /// Whether the admitted request was read to its end.
    pub(crate) fn is_over(&self) -> bool {
        match &self.window {
            Window::Shut | Window::Length { head: 0, body: 0 } => true,
            Window::Chunked { head: 0, body } => body.is_done(),
            _ => false,
        }
    }
}

/// The body is not framed as its head promised.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FramingError(pub(crate) &'static str);

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_over() {
            // Pingora looks out for a client that goes away. A client that sent a whole request is answered, even if it then
            // closed its sending side, so there is nothing to tell, and nothing that could wake this up.
            return Poll::Pending;
        }
        if this.received.is_empty() {
            if matches!(this.window, Window::Open) {
                return this.io()?.poll_read(context, into);
            }
            this.received.reserve(READ_BUFFER_BYTES);
            let Self { io, received, .. } = this;
            let io = io.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let read = ready!(tokio_util::io::poll_read_buf(Pin::new(io), context, received))?;
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(count) = this.readable(into.remaining())? {
            into.put_slice(&this.received[..count]);
            this.received.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().io()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().io()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let (Some(io), Some(returns_to)) = (self.io.take(), self.returns_to.take()) {
            // While the process stops, no receiver is left. What sits in the buffer was never flushed, so no reader relies on it.
            let _ = returns_to.send(io.into_inner());
        }
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        if let Some(io) = self.io.as_mut() {
            // The peer has gone: a failure has no reader.
            let _ = io.shutdown().await;
        }
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

// Even where the transport is TLS: Pingora would otherwise decide by ALPN, and the opening bytes are what we decided by.
impl Ssl for Guarded {}

#[async_trait]
impl Peek for Guarded {
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        match self.received.get(..into.len()) {
            Some(first) => {
                into.copy_from_slice(first);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.since, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.connection))
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}
