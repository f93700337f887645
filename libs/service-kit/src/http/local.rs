//! Requests of callers in the same process to the router of a listener, without a connection.
//!
//! They live and end with the listener as those do that come over a connection: refused once it closes, waited for while it drains, cut
//! when that takes too long. Must not know: gRPC, what is asked.

use std::net::SocketAddr;

use axum::{
    Router,
    body::{Bytes, HttpBody},
    extract::ConnectInfo,
    http::{Extensions, Request},
    response::Response,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tower::{BoxError, ServiceExt as _};

use super::drain::{DrainLayer, DrainService};
use crate::faults::Hangup;

/// Who calls, for handlers that ask. The caller is on this machine, and has no port.
const CALLER: ConnectInfo<SocketAddr> =
    ConnectInfo(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0));

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The listener is closed. The request was not received.
    #[error("the server in this process is closed")]
    Refused,
    /// Ended by the server, as a connection that breaks: what became of the request is not known.
    #[error("the server in this process ended the call without an answer")]
    Broken,
    /// A defect outside the handlers, whose own panics are answered.
    #[error("the server in this process panicked")]
    Panicked,
}

/// The router of a listener, for callers in the same process.
pub(crate) struct Local {
    pub(super) service: DrainService<Router>,
    pub(super) drain: DrainLayer,
    /// The listener takes no more requests.
    pub(super) closed: CancellationToken,
    /// It waits for none any longer.
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Local {
    /// The answer to a request. A caller that gives up ends the request's work where it awaits, as the reset of a stream does.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn answer<B>(&self, mut request: Request<B>) -> Result<Response, Lost>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Counted first: a listener that closes after the look at it waits for what is counted.
        let counted = self.drain.begun();
        if self.closed.is_cancelled() {
            return Err(Lost::Refused);
        }
        let hangup = Hangup::default();
        // What a caller has attached to its request would not pass a connection, and must not be taken for what a layer here attaches.
        let mut extensions = Extensions::new();
        extensions.insert(CALLER);
        extensions.insert(hangup.clone());
        *request.extensions_mut() = extensions;
        let (service, cut) = (self.service.clone(), self.cut.clone());
        // A task of its own, as of a stream: with neither the caller's context nor its spans, and dropped by the runtime, not by the caller.
        let task = self.tasks.spawn(async move {
            let _counted = counted;
            let answered = tokio::select! {
                biased;
                () = hangup.pulled() => return Err(Lost::Broken),
                () = cut.cancelled() => return Err(Lost::Broken),
                answered = service.oneshot(request) => answered,
            };
            let Ok(mut response) = answered;
            // Answered in the moment in which it was to be lost.
            if hangup.is_pulled() {
                return Err(Lost::Broken);
            }
            response.extensions_mut().clear();
            Ok(response)
        });
        match AbortOnDropHandle::new(task).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => Err(Lost::Panicked),
            Err(_) => Err(Lost::Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{body::Body, routing::get};
    use futures::poll;
    use tokio::{net::TcpListener, task::JoinHandle};

    use super::*;
    use crate::{
        http::{Limits, serve_also},
        shutdown::Shutdown,
    };

    /// A router that is served, and the way to it.
    async fn served(router: Router, shutdown: &Shutdown) -> (Arc<Local>, JoinHandle<std::io::Result<()>>) {
        let (opened, open) = tokio::sync::oneshot::channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = serve_also(listener, router, Limits::default(), shutdown.clone(), |local| {
            opened.send(Arc::new(local)).ok();
        });
        let serving = tokio::spawn(serving);
        (open.await.unwrap(), serving)
    }

    fn request() -> Request<Body> {
        Request::new(Body::empty())
    }

    async fn panics() -> &'static str {
        panic!("a handler panics on purpose")
    }

    #[tokio::test]
    async fn a_panic_outside_every_layer_is_no_panic_of_the_caller() {
        let shutdown = Shutdown::new();
        let (local, _serving) = served(Router::new().route("/", get(panics)), &shutdown).await;
        assert_eq!(local.answer(request()).await.err(), Some(Lost::Panicked));
    }

    #[tokio::test]
    async fn a_request_counts_from_the_moment_it_is_taken() {
        let shutdown = Shutdown::new();
        let (local, _serving) = served(Router::new().route("/", get(std::future::pending::<()>)), &shutdown).await;
        let mut call = Box::pin(local.answer(request()));
        assert!(poll!(&mut call).is_pending());
        // Its task has not run yet: a listener that closes now waits for it, and ends after it if it is cut.
        assert_eq!((local.drain.in_flight(), local.tasks.len()), (1, 1));
    }

    #[tokio::test]
    async fn draining_waits_for_answers_that_are_still_read() {
        let shutdown = Shutdown::new();
        let (local, mut serving) = served(Router::new().route("/", get(async || "an answer")), &shutdown).await;
        let answer = local.answer(request()).await.unwrap();
        shutdown.trigger();
        let is_waiting = tokio::time::timeout(Duration::from_millis(50), &mut serving).await.is_err();
        assert!(is_waiting, "it does not wait for an answer that is being read");
        drop(answer);
        tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it ends").unwrap().unwrap();
        assert_eq!(local.answer(request()).await.err(), Some(Lost::Refused));
    }

    #[tokio::test]
    async fn a_server_that_is_given_up_takes_no_more() {
        let (local, serving) = served(Router::new(), &Shutdown::new()).await;
        serving.abort();
        serving.await.unwrap_err();
        assert_eq!(local.answer(request()).await.err(), Some(Lost::Refused));
    }
}
