//! Where a request comes from, for the waits after wrong passwords and the turns at hashing.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

use super::HttpState;
use crate::{config::IpRange, domain::place::Place};

/// Where the caller is.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallerPlace(pub(super) Place);

impl FromRequestParts<HttpState> for CallerPlace {
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
        Ok(Self(Place::of(address)))
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

fn is_trusted(peer: IpAddr, trusted: &[IpRange]) -> bool {
    trusted.iter().any(|range| range.contains(peer))
}

/// The peer; or, when the peer is our gateway, whom the gateway saw: the last entry, because what stands before it came from the
/// caller.
fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[IpRange]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
    forwarded.and_then(|list| list.rsplit(',').next()).and_then(|last| last.trim().parse().ok()).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateway_is_believed_and_only_its_own_entry() {
        let gateway: IpRange = "10.0.0.1".parse().unwrap();
        let check = |peer: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", (*line).parse().unwrap());
            }
            caller(peer.parse().unwrap(), &headers, &[gateway]).to_string()
        };
        assert_eq!(check("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(check("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("::ffff:10.0.0.1", &["forged, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["forged", "2001:db8::1"]), "2001:db8::1");
        assert_eq!(check("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &[]), "10.0.0.1");
    }
}
