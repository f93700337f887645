//! Who asks: the one merchant there is, by its secret.
//!
//! Must not know: what is asked.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{Digest, SHA256, digest},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use secrecy::{ExposeSecret as _, SecretString};
use service_base::problem::{Code, Problem};

/// The merchant's secret, as its digest: of equal length whatever is shown to us, so that comparing tells nothing.
#[derive(Clone, Copy)]
pub(super) struct Merchant {
    secret: Digest,
}

impl Merchant {
    pub(super) fn new(secret: &SecretString) -> Self {
        Self { secret: digest(&SHA256, secret.expose_secret().as_bytes()) }
    }

    fn knows(self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(shown), None) = (shown.next(), shown.next()) else { return false };
        let Some(secret) = shown.as_bytes().strip_prefix(b"Bearer ") else { return false };
        verify_slices_are_equal(digest(&SHA256, secret).as_ref(), self.secret.as_ref()).is_ok()
    }
}

pub(super) async fn known(State(merchant): State<Merchant>, request: Request, next: Next) -> Result<Response, Problem> {
    if !merchant.knows(request.headers()) {
        let problem = Problem::of(Code::Unauthenticated, "no merchant has this secret");
        return Err(problem.www_authenticate("Bearer"));
    }
    Ok(next.run(request).await)
}
