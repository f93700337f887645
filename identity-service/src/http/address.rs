//! Where a request comes from, for the waits after wrong passwords.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

use super::HttpState;
use crate::config::IpRange;

/// The caller's address, if it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallerAddress(pub(super) Option<IpAddr>);

impl FromRequestParts<HttpState> for CallerAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        Ok(Self(peer.map(|peer| caller(peer, &parts.headers, &state.trusted_proxies))))
    }
}

/// The peer; or, when the peer is our gateway, whom the gateway saw: the last entry, because what stands before it came from the
/// caller.
fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[IpRange]) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|range| range.contains(peer)) {
        return peer;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
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
