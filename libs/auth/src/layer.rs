//! Asks callers for a token, before the handler or the method runs.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{AuthError, Claims, Verifier, bearer_of};

/// gRPC services that need no token: what they tell is no secret, and those who ask have none.
const OPEN_RPCS: &[&str] =
    &["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// The claims of a gRPC call that came through [`authenticate`].
///
/// # Errors
/// [`AuthError::Missing`] when it did not: a service that forgot the middleware refuses every call.
pub fn claims_of<T>(request: &tonic::Request<T>) -> Result<&Claims, AuthError> {
    request.extensions().get::<Claims>().ok_or(AuthError::Missing)
}

/// Who checks tokens, which paths need none, and how a refusal is told.
#[derive(Debug, Clone)]
pub struct Gate {
    verifier: Verifier,
    /// Beginnings of paths that need no token.
    open: &'static [&'static str],
    refuse: fn(AuthError) -> Response,
}

impl Gate {
    /// For HTTP routes, each of which needs a token.
    pub fn http(verifier: Verifier) -> Self {
        Self { verifier, open: &[], refuse: |error| error.into_response() }
    }

    /// For a gRPC router; health and reflection need no token.
    pub fn grpc(verifier: Verifier) -> Self {
        Self { verifier, open: OPEN_RPCS, refuse: |error| tonic::Status::from(error).into_http() }
    }
}

/// Middleware, as `from_fn_with_state(Gate::http(verifier), authenticate)`: a request without a good token is answered here, in its
/// protocol; for others the handler finds the [`Claims`] in the request's extensions.
pub async fn authenticate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if gate.open.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
        return next.run(request).await;
    }
    let claims = match bearer_of(request.headers()) {
        Ok(token) => gate.verifier.verify(token).await,
        Err(error) => Err(error),
    };
    match claims {
        Ok(claims) => {
            request.extensions_mut().insert(claims);
            next.run(request).await
        }
        Err(error) => (gate.refuse)(error),
    }
}
