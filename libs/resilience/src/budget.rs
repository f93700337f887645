//! A budget of retries: an outage must not be answered with three times the load.

use parking_lot::Mutex;
use tower::retry::budget;

use super::Resilience;

/// Hundredths of a retry, so that the arithmetic stays whole.
const WHOLE: u64 = 100;

#[derive(Debug)]
pub(super) struct Budget {
    left: Mutex<u64>,
    per_call: u64,
    max: u64,
}

impl Budget {
    pub(super) fn new(config: &Resilience) -> Self {
        let max = u64::from(config.retry_burst) * WHOLE;
        Self { left: Mutex::new(max), per_call: u64::from(config.retry_percent), max }
    }
}

impl budget::Budget for Budget {
    /// A call earns its share of a retry.
    fn deposit(&self) {
        let mut left = self.left.lock();
        *left = (*left + self.per_call).min(self.max);
    }

    /// Whether a retry may be made; it is paid for then.
    fn withdraw(&self) -> bool {
        let mut left = self.left.lock();
        let enough = *left >= WHOLE;
        if enough {
            *left -= WHOLE;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use tower::retry::budget::Budget as _;

    use super::*;

    #[test]
    fn a_burst_then_a_share() {
        let budget = Budget::new(&Resilience { retry_burst: 2, retry_percent: 20, ..Resilience::default() });
        assert_eq!([budget.withdraw(), budget.withdraw(), budget.withdraw()], [true, true, false]);
        for _ in 0..5 {
            budget.deposit();
        }
        assert_eq!([budget.withdraw(), budget.withdraw()], [true, false]);
        for _ in 0..1000 {
            budget.deposit();
        }
        assert_eq!([budget.withdraw(), budget.withdraw(), budget.withdraw()], [true, true, false]);
    }
}
