//! Where a request comes from, as far as shares and waits go by it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// One subscriber's network: an IPv4 address, or the /64 of an IPv6 address, which one subscriber has whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Network {
    /// An IPv4 address, however it was written.
    V4(Ipv4Addr),
    /// The first four groups of an IPv6 address.
    V6([u16; 4]),
    /// The caller's address is not known: all of these are one.
    Unknown,
    /// This process itself, at start.
    Own,
}

impl Network {
    /// Of a caller.
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = Ipv6Addr::segments(&address);
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// Part of what wrong passwords are counted under, in the store: not to be changed.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(segments) => {
                for segment in segments {
                    write!(f, "{segment:x}:")?;
                }
                f.write_str(":/64")
            }
            Self::Unknown => f.write_str("unknown"),
            Self::Own => f.write_str("own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_64_is_one_network() {
        let at = |address: &str| Network::of(Some(address.parse().unwrap()));
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_eq!(at("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(
            (at("192.0.2.1").to_string().as_str(), Network::of(None).to_string().as_str()),
            ("192.0.2.1", "unknown")
        );
        assert_eq!(Network::Own.to_string(), "own");
    }
}
