//! What requests notice of their listener's end: an answer over HTTP/1 closes its connection, a gRPC stream without an end gets one, and
//! the listener knows when none is left.
//!
//! Must not know: when shutdown begins, connections.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Request, Version, header},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tower::{Layer, Service};

use service_base::{
    problem::{Code, Problem},
    wire,
};

/// Another replica, or this one's next start, serves by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Around everything that a listener serves.
#[derive(Debug, Clone)]
pub(super) struct DrainLayer {
    /// The listener is closing.
    closing: CancellationToken,
    /// The process stops, which may be earlier.
    stopping: CancellationToken,
    /// Requests whose answers are not written yet.
    requests: TaskTracker,
}

impl DrainLayer {
    pub(super) fn new(closing: CancellationToken, stopping: CancellationToken) -> Self {
        Self { closing, stopping, requests: TaskTracker::new() }
    }

    /// Counts a request that does not come through [`Layer::layer`] yet, until the token is dropped.
    pub(super) fn begun(&self) -> TaskTrackerToken {
        self.requests.token()
    }

    /// How many requests are being answered.
    pub(super) fn in_flight(&self) -> usize {
        self.requests.len()
    }

    /// Waits until none is. Those that come later are not waited for.
    pub(super) async fn all_answered(&self) {
        self.requests.close();
        self.requests.wait().await;
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, inner: S) -> DrainService<S> {
        DrainService { inner, layer: self.clone() }
    }
}

/// See [`DrainLayer`].
#[derive(Debug, Clone)]
pub(super) struct DrainService<S> {
    inner: S,
    layer: DrainLayer,
}

impl<S, B> Service<Request<B>> for DrainService<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_http1 = request.version() < Version::HTTP_2;
        let token = Some(self.layer.requests.token());
        Answering { inner: self.inner.call(request), is_http1, token, layer: self.layer.clone() }
    }
}

pin_project! {
    /// A request being answered.
    pub(super) struct Answering<F> {
        #[pin]
        inner: F,
        is_http1: bool,
        token: Option<TaskTrackerToken>,
        layer: DrainLayer,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(context))?;
        if *this.is_http1 && this.layer.closing.is_cancelled() {
            // Read by hyper too, which then closes once this is written. The next request gets another connection.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let stopping = wire::is_grpc(response.headers()).then(|| this.layer.stopping.clone());
        let token = this.token.take();
        Poll::Ready(Ok(
            response.map(|inner| Body::new(Answer { inner, stopping, stopped: None, is_over: false, _token: token }))
        ))
    }
}

pin_project! {
    /// An answer's body: over at shutdown, where it is a stream that has nothing to say for now.
    struct Answer {
        #[pin]
        inner: Body,
        // Set for gRPC, which can say that a stream was ended early.
        stopping: Option<CancellationToken>,
        // Made when the body first waits, which the answer to one question never does.
        stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
        is_over: bool,
        _token: Option<TaskTrackerToken>,
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if *this.is_over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.inner.poll_frame(context) {
            return Poll::Ready(frame);
        }
        let Some(stopping) = this.stopping else { return Poll::Pending };
        let stopped = this.stopped.get_or_insert_with(|| Box::pin(stopping.clone().cancelled_owned()));
        ready!(stopped.as_mut().poll(context));
        *this.is_over = true;
        Poll::Ready(Some(Ok(Frame::trailers(ended_early()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a stream's caller is told: it may open another one, elsewhere.
fn ended_early() -> HeaderMap {
    let problem = Problem::of(Code::Overloaded, "the service is stopping");
    let status = tonic::Status::from(problem.retry_after(RETRY_AFTER));
    let mut trailers = status.into_http::<tonic::body::Body>().into_parts().0.headers;
    trailers.remove(header::CONTENT_TYPE);
    trailers
}
