//! For how long this replica may believe that its sagas are its own. Counted from before the heartbeat was sent, on the
//! monotonic clock, so that it ends here before it ends for the others.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// This replica's lease.
#[derive(Debug)]
pub(crate) struct Lease {
    until: watch::Sender<Option<Instant>>,
    /// No other replica could take the sagas over.
    exclusive: bool,
}

impl Lease {
    pub(crate) fn new(exclusive: bool) -> Self {
        Self { until: watch::channel(None).0, exclusive }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.exclusive || self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Whether it was held once and is not any more.
    pub(crate) fn has_lapsed(&self) -> bool {
        !self.exclusive && self.until.borrow().is_some_and(|until| until <= Instant::now())
    }

    pub(crate) fn renew(&self, sent: Instant, lease: Duration) {
        self.until.send_replace(Some(sent + lease));
    }

    /// Waits until it is held.
    pub(crate) async fn held(&self) {
        if self.is_held() {
            return;
        }
        let mut renewed = self.until.subscribe();
        while !self.is_held() {
            if renewed.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_by_itself_and_can_be_waited_for() {
        let lease = Lease::new(false);
        assert!(!lease.is_held() && !lease.has_lapsed());
        lease.renew(Instant::now(), Duration::from_secs(2));
        assert!(lease.is_held());
        lease.held().await;
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!lease.is_held() && lease.has_lapsed());
        let renew = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lease.renew(Instant::now(), Duration::from_secs(2));
        };
        tokio::join!(lease.held(), renew);
        assert!(Lease::new(true).is_held());
    }
}
