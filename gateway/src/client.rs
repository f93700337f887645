//! What counts as one caller, for limits and shares.

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one caller: an IPv4 address, or the /64 that an IPv6 caller has to itself.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}
