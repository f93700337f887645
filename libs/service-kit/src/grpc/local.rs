//! The way to a server of the same process: its router is called, and a message stays as it was encoded. No connection, no HTTP/2.
//!
//! Whatever a caller sees of a server over a connection, it sees here: a server that is not there yet is waited for, one that is closed has
//! received nothing, one that ends a call leaves in doubt what became of it. Must not know: services.

use std::{fmt, io, sync::Arc, time::Duration};

use axum::http::{Request, Response};
use tokio::sync::watch;
use tonic::{ConnectError, Status, TimeoutExpired, body::Body};
use tower::BoxError;

use crate::http::{self, Lost};
use service_base::wire::grpc_timeout;

/// Where a server is found once it serves.
pub(super) type Door = watch::Sender<Option<Arc<http::Local>>>;

/// The way to a [`Server`](super::Server) of this process. Clones lead to the same one.
#[derive(Clone)]
pub struct Local(watch::Receiver<Option<Arc<http::Local>>>);

impl Local {
    pub(super) fn through(door: &Door) -> Self {
        Self(door.subscribe())
    }

    /// One call, which takes no longer than `max` and than its own `grpc-timeout`.
    pub(super) async fn call(self, request: Request<Body>, max: Duration) -> Result<Response<Body>, BoxError> {
        let max = grpc_timeout(request.headers()).map_or(max, |asked| asked.min(max));
        let answered = tokio::time::timeout(max, self.answer(request)).await;
        // tonic's own error for it, by which a status says what it says over a connection.
        answered.unwrap_or_else(|_| Err(TimeoutExpired(()).into()))
    }

    async fn answer(mut self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        // A listener is bound before it serves, and so keeps its first callers waiting. A server that will never serve is closed.
        let server = match self.0.wait_for(Option::is_some).await {
            Ok(server) => server.clone(),
            Err(_) => None,
        };
        let Some(server) = server else { return Err(lost(Lost::Refused)) };
        server.answer(request).await.map(|response| response.map(Body::new)).map_err(lost)
    }
}

/// The errors of tonic's own channels, which statuses are made of.
fn lost(lost: Lost) -> BoxError {
    match lost {
        Lost::Refused => ConnectError(io::Error::new(io::ErrorKind::ConnectionRefused, lost).into()).into(),
        Lost::Broken => io::Error::new(io::ErrorKind::ConnectionReset, lost).into(),
        Lost::Panicked => Status::internal(lost.to_string()).into(),
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("serves", &self.0.borrow().is_some()).finish()
    }
}
