//! Where a request comes from: the other end of the connection, or the address that a trusted proxy names.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use axum::http::HeaderMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The header in which proxies list whom they saw, each behind what it was sent.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// Addresses that share a prefix, as `10.0.0.0/8` or `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// The text is not an address with an optional prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an address or a network, such as 10.0.0.0/8")]
pub struct NotANetwork;

impl Network {
    /// This machine: `127.0.0.0/8` and `::1`.
    pub const LOOPBACK: [Self; 2] = [
        Self(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))),
        Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))),
    ];

    /// Whether the address is one of them. An IPv4 address is the same written as IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// That address alone.
impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        // The crate reads `010.0.0.0` as an address, which others read as another one.
        let address: IpAddr = text.split('/').next().unwrap_or_default().parse().map_err(|_| NotANetwork)?;
        if text.contains('/') { text.parse().map(Self).map_err(|_| NotANetwork) } else { Ok(Self(address.into())) }
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// Whether the peer is a trusted proxy.
pub fn is_trusted(peer: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(peer))
}

/// The peer; or, where the peer is a proxy that is trusted, whom it saw: the last entry, because what stands before it was sent by the
/// caller.
pub fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let list = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
    let last = list.and_then(|list| list.rsplit(',').next()).and_then(|last| last.trim().parse::<IpAddr>().ok());
    last.map_or(peer, |address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_by_prefix() {
        let check =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(
            check("10.0.0.0/8", "10.1.2.3") && check("10.0.0.1", "::ffff:10.0.0.1") && check("0.0.0.0/0", "192.0.2.1")
        );
        assert!(check("2001:db8::/32", "2001:db8:1::1") && check("::/0", "2001:db8::1"));
        assert!(
            !check("10.0.0.0/8", "11.0.0.1") && !check("10.0.0.1", "10.0.0.2") && !check("0.0.0.0/0", "2001:db8::1")
        );
        assert!(Network::LOOPBACK[0].contains("127.0.0.1".parse().unwrap()));
        assert_eq!(Network::LOOPBACK.map(String::from), ["127.0.0.0/8", "::1/128"]);
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "010.0.0.0/8", "x", "::/129", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_entry() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let check = |peer: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            caller(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(check("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(check("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("::ffff:10.0.0.1", &["forged, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["forged", "2001:db8::1"]), "2001:db8::1");
        assert_eq!(check("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &[]), "10.0.0.1");
    }
}
