//! A budget of retries: an outage must not be answered with three times the load.

use parking_lot::Mutex;

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

    /// A call earns its share of a retry.
    pub(super) fn earn(&self) {
        let mut left = self.left.lock();
        *left = (*left + self.per_call).min(self.max);
    }

    /// Whether a retry may be made; it is paid for then.
    pub(super) fn spend(&self) -> bool {
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
    use super::*;

    #[test]
    fn a_burst_then_a_share() {
        let budget = Budget::new(&Resilience { retry_burst: 2, retry_percent: 20, ..Resilience::default() });
        assert_eq!([budget.spend(), budget.spend(), budget.spend()], [true, true, false]);
        for _ in 0..5 {
            budget.earn();
        }
        assert_eq!([budget.spend(), budget.spend()], [true, false]);
        for _ in 0..1000 {
            budget.earn();
        }
        assert_eq!([budget.spend(), budget.spend(), budget.spend()], [true, true, false]);
    }
}
