//! Whom a request comes from: the other end of the connection, or whom a load balancer we believe says it is.

use std::{fmt, net::IpAddr, str::FromStr};

use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// Addresses that share a prefix: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// The text is not an address with an optional prefix length.
#[derive(Debug, thiserror::Error)]
#[error("must be an address or a network, such as 10.0.0.0/8")]
pub struct NotANetwork;

impl Network {
    /// Whether the address is one of them. An IPv4 address is the same written as IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(bits_max), str::parse).map_err(|_| NotANetwork)?;
        if bits <= bits_max { Ok(Self { address, bits }) } else { Err(NotANetwork) }
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
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// The peer; or, where the peer is a load balancer of ours, whom it saw: the last entry, because what stands before it was
/// sent by the caller.
pub(crate) fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|network| network.contains(peer)) {
        return peer;
    }
    let list = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let last = list.and_then(|list| list.rsplit(',').next()).and_then(|last| last.trim().parse::<IpAddr>().ok());
    last.map_or(peer, |address| address.to_canonical())
}

/// What counts as one caller: an IPv4 address, or the /64 that an IPv6 caller has to itself.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(std::net::Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
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
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_trusted_balancer_is_believed_and_only_its_own_entry() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let check = |peer: &str, lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            caller(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(check("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(check("10.0.0.1", &["forged, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(check("10.0.0.1", &["forged", "198.51.100.8"]), "198.51.100.8");
        assert_eq!(check("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(check("10.0.0.1", &[]), "10.0.0.1");
    }
}
