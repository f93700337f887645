//! Asks callers for a token, before the handler or the method runs.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use tower::{Layer, Service};

use super::{AuthError, Claims, Verifier, bearer_of};

/// gRPC services that need no token: what they tell is no secret, and those who ask have none.
const OPEN_RPCS: &[&str] =
    &["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// The claims of a gRPC call that came through [`AuthLayer`].
///
/// # Errors
/// [`AuthError::Missing`] when it did not: a service that forgot the layer refuses every call.
pub fn claims_of<T>(request: &tonic::Request<T>) -> Result<&Claims, AuthError> {
    request.extensions().get::<Claims>().ok_or(AuthError::Missing)
}

/// Wraps a router: a request without a good token is answered here, in its protocol; for others the handler finds the [`Claims`] in the
/// request's extensions.
#[derive(Debug, Clone)]
pub struct AuthLayer {
    verifier: Verifier,
    /// Beginnings of paths that need no token.
    open: &'static [&'static str],
    refuse: fn(AuthError) -> Response,
}

impl AuthLayer {
    /// For HTTP routes, each of which needs a token.
    pub fn http(verifier: Verifier) -> Self {
        Self { verifier, open: &[], refuse: |error| error.into_response() }
    }

    /// For a gRPC router; health and reflection need no token.
    pub fn grpc(verifier: Verifier) -> Self {
        Self { verifier, open: OPEN_RPCS, refuse: |error| tonic::Status::from(error).into_http() }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService { inner, layer: self.clone() }
    }
}

/// See [`AuthLayer`].
#[derive(Debug, Clone)]
pub struct AuthService<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S> Service<Request> for AuthService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let AuthLayer { verifier, open, refuse } = self.layer.clone();
        if open.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
            return Box::pin(inner.call(request));
        }
        Box::pin(async move {
            let claims = match bearer_of(request.headers()) {
                Ok(token) => verifier.verify(token).await,
                Err(error) => Err(error),
            };
            match claims {
                Ok(claims) => {
                    request.extensions_mut().insert(claims);
                    inner.call(request).await
                }
                Err(error) => Ok(refuse(error)),
            }
        })
    }
}
