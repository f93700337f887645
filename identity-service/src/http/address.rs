//! Where a request comes from, for the waits after wrong passwords and the turns at hashing.

use std::{convert::Infallible, net::SocketAddr, sync::atomic::Ordering};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::request::Parts,
};

use service_base::peer::{FORWARDED_FOR, caller, is_trusted};

use super::HttpState;
use crate::domain::network::Network;

/// Where the caller is.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallerNetwork(pub(super) Network);

impl FromRequestParts<HttpState> for CallerNetwork {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let address = peer.map(|peer| caller(peer, &parts.headers, &state.trusted_proxies));
        if peer.is_some_and(|peer| !is_trusted(peer, &state.trusted_proxies))
            && parts.headers.contains_key(FORWARDED_FOR)
            && !state.unnamed_proxy.swap(true, Ordering::Relaxed)
        {
            // Said once: a caller who makes the header up is no news, a gateway that is not named is.
            tracing::warn!(
                ?peer,
                "x-forwarded-for is not believed from there: if that is the gateway, name it in identity.trusted_proxies, or all of its \
                 callers share one wait and one turn at logging in"
            );
        }
        Ok(Self(Network::of(address)))
    }
}
