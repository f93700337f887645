//! Reads what a handler left unread of a request's body, so that the answer arrives.
//!
//! An answer may be complete before its request is: a refusal needs the head alone. Dropping the rest then resets the stream (HTTP/2) or
//! closes the connection (HTTP/1). Both are allowed (RFC 9113, section 8.1; RFC 9112, section 9.6), and many callers that are still
//! sending lose the answer by it: they see a failed write before they read. A proxy makes a 502 of that.
//!
//! Must not know: handlers, what is in a body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::HttpBody, http::Request};
use bytes::{Buf as _, Bytes};
use futures::future::poll_fn;
use hyper::{
    body::{Frame, SizeHint},
    header,
};
use tower::Service;

/// So much is read on. Who sends more than any request of ours may have learns of it as before, by a reset.
const BYTES_MAX: usize = super::BODY_BYTES_MAX;
/// And for so long, for all of it.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Around everything that a connection serves.
#[derive(Debug, Clone)]
pub(super) struct ReadOn<S>(pub(super) S);

impl<S, B> Service<Request<B>> for ReadOn<S>
where
    S: Service<Request<Unread<B>>>,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        // Who waits for `100 Continue` sends nothing after a final answer.
        let is_sent = !request.headers().contains_key(header::EXPECT);
        self.0.call(request.map(|body| Unread { body: Some(body), is_left: is_sent, read: 0 }))
    }
}

/// A request's body. What is left of it when it is dropped is read elsewhere.
#[derive(Debug)]
pub(super) struct Unread<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> {
    /// Taken when this is dropped.
    body: Option<B>,
    is_left: bool,
    /// Bytes that the handler has read.
    read: usize,
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> HttpBody for Unread<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, Bytes::remaining),
            Some(Err(_)) | None => self.is_left = false,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> Drop for Unread<B> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && self.is_left
            && !body.is_end_stream()
            // A runtime that ends reads nothing any more.
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(TIME_MAX, read_on(body, BYTES_MAX.saturating_sub(self.read))));
        }
    }
}

/// Reads and forgets, up to the body's end, its error, or so many bytes.
async fn read_on<B: HttpBody<Data = Bytes> + Unpin>(mut body: B, mut left: usize) {
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let bytes = frame.data_ref().map_or(0, Bytes::remaining);
        if bytes > left {
            return;
        }
        left -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::SocketAddr};

    use axum::{Router, http::StatusCode, routing::post};
    use futures::{FutureExt as _, SinkExt as _, channel::mpsc};
    use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::BoxBody};
    use hyper::client::conn::http2;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{
        http::{Limits, serve_with},
        shutdown::Shutdown,
    };

    /// A listener whose one route refuses everything unread.
    async fn refusing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(|| async { (StatusCode::FORBIDDEN, "not you") }));
        tokio::spawn(serve_with(listener, router, Limits::default(), Shutdown::new()));
        address
    }

    type Part = Result<Frame<Bytes>, Infallible>;

    /// A request over HTTP/2 that is refused, and what still sends its body.
    async fn refused_while_sending(address: SocketAddr) -> mpsc::Sender<Part> {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let (sender, parts) = mpsc::channel::<Part>(0);
        let mut ask = |body: BoxBody<Bytes, Infallible>| {
            let request = Request::post(format!("http://{address}/")).body(body).unwrap();
            client.send_request(request).map(|answer| answer.unwrap())
        };
        let answer = ask(BoxBody::new(StreamBody::new(parts))).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "not you");
        // Whatever the server had to say of the first request has been read before the second one's answer.
        assert_eq!(ask(BoxBody::new(Empty::new())).await.status(), StatusCode::FORBIDDEN);
        sender
    }

    async fn send(sender: &mut mpsc::Sender<Part>, bytes: usize) -> Result<(), mpsc::SendError> {
        sender.send(Ok(Frame::data(Bytes::from(vec![b'x'; bytes])))).await
    }

    #[tokio::test]
    async fn what_follows_an_early_answer_is_no_error_on_http2() {
        let mut sender = refused_while_sending(refusing().await).await;
        for _ in 0..BYTES_MAX / 8192 {
            send(&mut sender, 8192).await.unwrap();
        }
    }

    #[tokio::test]
    async fn more_than_any_request_has_is_not_read() {
        let mut sender = refused_while_sending(refusing().await).await;
        let mut sent = 0;
        while send(&mut sender, 8192).await.is_ok() {
            sent += 8192;
            // Beside what is read, windows and buffers of both sides take some.
            assert!(sent < 8 * BYTES_MAX);
        }
        assert!(sent >= BYTES_MAX, "{sent}");
    }

    #[tokio::test]
    async fn a_connection_is_kept_after_an_early_answer_on_http1() {
        let mut stream = TcpStream::connect(refusing().await).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {BYTES_MAX}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        while !answers.ends_with(b"not you") {
            assert_ne!(stream.read_buf(&mut answers).await.unwrap(), 0, "closed before its answer");
        }
        stream.write_all(&vec![b'x'; BYTES_MAX]).await.unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        stream.read_to_end(&mut answers).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 403").count(), 2);
    }

    /// A body that never goes on, and says when it is given up.
    struct Stuck(Option<tokio::sync::oneshot::Sender<()>>);

    impl HttpBody for Stuck {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Part>> {
            Poll::Pending
        }
    }

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.0.take().map(|gone| gone.send(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_go_on_is_given_up() {
        let began = tokio::time::Instant::now();
        let (gone, is_gone) = tokio::sync::oneshot::channel();
        drop(Unread { body: Some(Stuck(Some(gone))), is_left: true, read: 0 });
        is_gone.await.unwrap();
        assert_eq!(began.elapsed(), TIME_MAX);
    }
}
