//! What follows an answer: pure. A delivery is accepted, tried again after a pause, or dead.
//!
//! Must not know: HTTP beyond its status codes, stores, the clock.

use std::time::Duration;

use amends_primitives::Timestamp;

use super::{
    config::WebhooksConfig,
    delivery::{AttemptOutcome, Delivery, Next},
};

/// An endpoint may ask for this long a pause at the most, so that a mistake of its own does not silence it for good.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// The endpoint is gone and wants nothing more.
const GONE: u16 = 410;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The endpoint answered, with this status and, where it said so, the pause it wants.
    Status { code: u16, retry_after: Option<Duration> },
    /// The endpoint did not answer; why, in a word.
    Failed(&'static str),
}

impl Answer {
    /// For people and metrics: never what the endpoint said.
    pub(super) fn words(self) -> String {
        match self {
            Self::Status { code, .. } => format!("status {code}"),
            Self::Failed(how) => how.to_owned(),
        }
    }

    pub(super) const fn result(self) -> &'static str {
        match self {
            Self::Status { code, .. } => match code {
                200..300 => "accepted",
                300..400 => "redirected",
                429 => "rate_limited",
                400..500 => "client_error",
                _ => "server_error",
            },
            Self::Failed(how) => how,
        }
    }
}

/// How often, how fast and how long to retry.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryLimits {
    pub(super) base: Duration,
    pub(super) max: Duration,
    pub(super) give_up_after: Duration,
}

impl From<&WebhooksConfig> for RetryLimits {
    fn from(config: &WebhooksConfig) -> Self {
        Self {
            base: Duration::from_millis(config.retry_base_ms),
            max: Duration::from_secs(config.retry_max_secs),
            give_up_after: config.give_up_after(),
        }
    }
}

impl RetryLimits {
    /// The longest pause after this number of failures: doubled each time, up to a bound.
    pub(super) fn pause_max(&self, tries: i64) -> Duration {
        let doublings = u32::try_from(tries.clamp(1, 31) - 1).unwrap_or(0);
        self.base.saturating_mul(1 << doublings).min(self.max)
    }

    /// What follows `answer`. `share` of the longest pause is taken, 0 to 1: full jitter, so that what failed together does not
    /// come back together. The last attempt is made when `give_up_after` has passed, even if the pause would end later.
    pub(super) fn settle(&self, delivery: &Delivery, answer: Answer, now: Timestamp, share: f64) -> AttemptOutcome {
        let ends = delivery.began_at + self.give_up_after;
        let next = match answer {
            Answer::Status { code: 200..300, .. } => Next::Delivered,
            Answer::Status { code: GONE, .. } => Next::Dead,
            _ if now >= ends => Next::Dead,
            Answer::Status { retry_after, .. } => {
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                Next::Retry { at: (now + asked.max(self.pause(delivery, share))).min(ends) }
            }
            Answer::Failed(_) => Next::Retry { at: (now + self.pause(delivery, share)).min(ends) },
        };
        AttemptOutcome { next, at: now, answer: answer.words() }
    }

    fn pause(&self, delivery: &Delivery, share: f64) -> Duration {
        self.pause_max(delivery.tries).mul_f64(share.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use amends_primitives::{OrderId, PaymentId};
    use uuid::Uuid;

    use super::*;
    use crate::{delivery::DeliveryState, event::EventKind};

    const BEGAN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn retry_limits() -> RetryLimits {
        RetryLimits::from(&WebhooksConfig::default())
    }

    fn delivery(tries: i64) -> Delivery {
        Delivery {
            event_id: "evt_1".into(),
            endpoint: "shop".into(),
            kind: EventKind::new("payment.captured"),
            payment_id: Some(PaymentId::new(Uuid::from_u128(1))),
            order_id: OrderId::new(Uuid::from_u128(2)),
            body: "{}".into(),
            created_at: BEGAN,
            began_at: BEGAN,
            state: DeliveryState::Pending,
            due_at: BEGAN,
            leased: true,
            attempts: tries,
            tries,
            attempted_at: Some(BEGAN),
            answer: None,
            done_at: None,
        }
    }

    fn status(code: u16) -> Answer {
        Answer::Status { code, retry_after: None }
    }

    fn next(tries: i64, answer: Answer, after: Duration, share: f64) -> Next {
        retry_limits().settle(&delivery(tries), answer, BEGAN + after, share).next
    }

    #[test]
    fn only_2xx_is_accepted_and_only_gone_is_final() {
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(next(1, status(code), Duration::ZERO, 0.5), Next::Delivered);
        }
        for answer in [100, 301, 307, 400, 401, 404, 409, 422, 429, 500, 503].map(status) {
            assert!(matches!(next(1, answer, Duration::ZERO, 0.5), Next::Retry { .. }), "{answer:?}");
        }
        assert!(matches!(next(1, Answer::Failed("timeout"), Duration::ZERO, 0.5), Next::Retry { .. }));
        assert_eq!(next(1, status(410), Duration::ZERO, 0.5), Next::Dead);
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_any_part_of_one_may_be_taken() {
        let seconds: Vec<u64> = (1..=14).map(|tries| retry_limits().pause_max(tries).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 10_800, 10_800]);
        assert_eq!(retry_limits().pause_max(i64::MAX), Duration::from_hours(3));
        for (share, pause_ms) in [(0.0, 0), (0.25, 5_000), (1.0, 20_000), (7.0, 20_000)] {
            let wanted = Next::Retry { at: BEGAN + Duration::from_millis(pause_ms) };
            assert_eq!(next(3, status(500), Duration::ZERO, share), wanted);
        }
    }

    #[test]
    fn a_longer_pause_that_is_asked_for_is_kept_within_bounds() {
        let asked = |secs| Answer::Status { code: 429, retry_after: Some(Duration::from_secs(secs)) };
        let at = |secs| Next::Retry { at: BEGAN + Duration::from_secs(secs) };
        assert_eq!(next(1, asked(120), Duration::ZERO, 1.0), at(120));
        assert_eq!(next(1, asked(1), Duration::ZERO, 1.0), at(5));
        assert_eq!(next(1, asked(u64::MAX), Duration::ZERO, 1.0), at(24 * 3600));
    }

    #[test]
    fn when_patience_ends_there_is_one_last_attempt() {
        let ends = retry_limits().give_up_after;
        assert_eq!(next(60, status(500), Duration::from_hours(71), 1.0), Next::Retry { at: BEGAN + ends });
        assert_eq!(next(61, status(500), ends, 1.0), Next::Dead);
        assert_eq!(next(61, Answer::Failed("timeout"), ends, 1.0), Next::Dead);
        assert_eq!(next(61, status(200), ends, 1.0), Next::Delivered);
    }
}
