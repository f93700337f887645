//! Callers that keep sending bad tokens are refused before we do any work for the next one.
//!
//! An address has a bucket of failures. Empty, it fills again one by one, so that an address from which bad tokens pour still has some
//! of its unknown tokens looked at: a good one among them gets in when its turn comes. On the monotonic clock: a step of wall time
//! must neither lock callers out nor let forgers in.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Addresses remembered at most; the least recently seen are forgotten first.
const ADDRESSES_MAX: u64 = 50_000;

/// Counts failures per address.
pub(super) struct Throttle {
    /// When the bucket of an address will be full again.
    full_at: Cache<IpAddr, Arc<Mutex<Instant>>>,
    /// How long one failure takes to be forgotten.
    cost: Duration,
    /// How long a full bucket takes to be forgotten.
    window: Duration,
}

/// A failure that is counted in advance.
pub(super) struct Advance {
    full_at: Arc<Mutex<Instant>>,
    cost: Duration,
}

impl Throttle {
    pub(super) fn new(failures_max: u32, window: Duration) -> Self {
        let cost = window / failures_max.max(1);
        Self {
            full_at: Cache::builder().max_capacity(ADDRESSES_MAX).time_to_idle(window * 2).build(),
            cost,
            window: cost * failures_max.max(1),
        }
    }

    /// How long this address must wait, if it must.
    pub(super) fn refuses(&self, address: IpAddr) -> Option<Duration> {
        let entry = self.full_at.get(&network_of(address))?;
        let full_at = *entry.lock();
        self.wait(full_at)
    }

    /// Counts a failure before it is known to be one: of many requests at once, no more are looked at than may fail.
    ///
    /// # Errors
    /// With the time to wait, when no more may fail.
    pub(super) fn advance(&self, address: IpAddr) -> Result<Advance, Duration> {
        let full_at = self.full_at.get_with(network_of(address), || Arc::new(Mutex::new(Instant::now())));
        {
            let mut at = full_at.lock();
            if let Some(wait) = self.wait(*at) {
                return Err(wait);
            }
            *at = (*at).max(Instant::now()) + self.cost;
        }
        Ok(Advance { full_at, cost: self.cost })
    }

    /// Counts a failure.
    pub(super) fn failed(&self, address: IpAddr) {
        // One that no longer fits is as good as counted: the bucket is empty.
        let _counted = self.advance(address);
    }

    fn wait(&self, full_at: Instant) -> Option<Duration> {
        let ahead = full_at.saturating_duration_since(Instant::now());
        (ahead + self.cost).checked_sub(self.window).filter(|wait| !wait.is_zero())
    }
}

impl Advance {
    /// It was no failure.
    pub(super) fn forgive(self) {
        let mut at = self.full_at.lock();
        *at -= self.cost;
    }
}

/// A host that has one IPv6 address has the other 2^64 of its network too.
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

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_too_often_waits_for_its_turn() {
        let throttle = Throttle::new(2, Duration::from_secs(10));
        let (bad, good): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        throttle.failed(bad);
        assert_eq!(throttle.refuses(bad), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        throttle.failed("2001:db8::2".parse().unwrap());
        assert_eq!(throttle.refuses(bad), Some(Duration::from_secs(4)));
        throttle.failed(bad);
        assert_eq!(throttle.refuses(bad), Some(Duration::from_secs(4)), "what is refused costs nothing more");
        assert_eq!(throttle.refuses(good), None);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(throttle.refuses(bad), None, "one is looked at");
        throttle.failed(bad);
        assert_eq!(throttle.refuses(bad), Some(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(10)).await;
        throttle.failed(bad);
        assert_eq!(throttle.refuses(bad), None, "all is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn what_turns_out_well_is_not_counted() {
        let throttle = Throttle::new(2, Duration::from_secs(10));
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            throttle.advance(address).unwrap_or_else(|wait| panic!("must wait {wait:?}")).forgive();
        }
        let held = [throttle.advance(address), throttle.advance(address)];
        assert!(held.iter().all(Result::is_ok));
        assert!(throttle.advance(address).is_err(), "two may fail, so no third is looked at meanwhile");
    }
}
