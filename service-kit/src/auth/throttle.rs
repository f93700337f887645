//! Callers that keep sending bad tokens are refused before we look at the next one.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use amends_primitives::Moment;
use moka::sync::Cache;
use parking_lot::Mutex;
use std::sync::Arc;

/// Addresses remembered at most; the least recently seen are forgotten first.
const ADDRESSES_MAX: u64 = 50_000;

/// Counts failures per address in fixed windows.
pub(super) struct Throttle {
    windows: Cache<IpAddr, Arc<Mutex<Window>>>,
    failures_max: u32,
    window: Duration,
}

struct Window {
    began: Moment,
    failures: u32,
}

impl Throttle {
    pub(super) fn new(failures_max: u32, window: Duration) -> Self {
        Self {
            windows: Cache::builder().max_capacity(ADDRESSES_MAX).time_to_idle(window * 2).build(),
            failures_max,
            window,
        }
    }

    /// How long this address must wait, if it must.
    pub(super) fn refuses(&self, address: IpAddr, now: Moment) -> Option<Duration> {
        let entry = self.windows.get(&network_of(address))?;
        let window = entry.lock();
        let end = window.began + self.window;
        (window.failures >= self.failures_max && now < end).then(|| end.since(now))
    }

    pub(super) fn failed(&self, address: IpAddr, now: Moment) {
        let fresh = || Arc::new(Mutex::new(Window { began: now, failures: 0 }));
        let entry = self.windows.get_with(network_of(address), fresh);
        let mut window = entry.lock();
        if now >= window.began + self.window {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
    }
}

/// Whoever has one IPv6 address has the other 2^64 of its network too.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_too_often_waits_for_the_window_to_end() {
        let throttle = Throttle::new(2, Duration::from_secs(10));
        let start = Moment::from_beginning(Duration::from_secs(1));
        let (bad, good): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        throttle.failed(bad, start);
        assert_eq!(throttle.refuses(bad, start), None);
        throttle.failed("2001:db8::2".parse().unwrap(), start + Duration::from_secs(1));
        assert_eq!(throttle.refuses(bad, start + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        assert_eq!(throttle.refuses(good, start), None);
        assert_eq!(throttle.refuses(bad, start + Duration::from_secs(10)), None);
        throttle.failed(bad, start + Duration::from_secs(10));
        assert_eq!(throttle.refuses(bad, start + Duration::from_secs(10)), None);
    }
}
