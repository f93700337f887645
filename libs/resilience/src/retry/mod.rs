//! Trying again: how often, after which pause, and out of which budget.
//!
//! [`tower::retry`] drives it; here is only its policy.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;
use tokio::time::Sleep;
use tower::{
    Layer,
    retry::{Policy, Retry, budget::Budget as _},
};

use super::{
    Call, Classify, Resilience, Stopped, Verdict,
    budget::Budget,
    meters::{self, Edge, Refused},
};
use service_base::metrics::Metrics;

struct Shared {
    config: Resilience,
    budget: Budget,
    retries: Counter,
    refused: Refused,
}

/// Tries again what failed in passing, while attempts, budget and deadline allow it.
///
/// `E` is the error of the service inside. What it calls [`Verdict::Transient`] or [`Verdict::Limited`] is tried again after a pause:
/// doubled each time, capped, varied at random, and never shorter than the dependency asked for. A call whose pause would outlive the
/// deadline gets its error at once. A later attempt of which nothing was sent never hides the error of an earlier one, which may have
/// had an effect.
pub struct RetryLayer<E> {
    attempts: u32,
    shared: Arc<Shared>,
    error: PhantomData<fn() -> E>,
}

impl<E> RetryLayer<E> {
    /// With the attempts, pauses and budget of this configuration.
    pub fn new(edge: Edge, config: &Resilience, metrics: &Metrics) -> Self {
        let shared = Shared {
            budget: Budget::new(config),
            retries: meters::retries(edge, metrics),
            refused: Refused::new(edge, metrics),
            config: config.clone(),
        };
        Self { attempts: config.attempts, shared: Arc::new(shared), error: PhantomData }
    }

    /// The same budget with another number of attempts.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The same budget for services of another error.
    pub(super) fn of<F>(&self) -> RetryLayer<F> {
        RetryLayer { attempts: self.attempts, shared: Arc::clone(&self.shared), error: PhantomData }
    }
}

impl<E> Clone for RetryLayer<E> {
    fn clone(&self) -> Self {
        self.of()
    }
}

impl<E> fmt::Debug for RetryLayer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl<S, E> Layer<S> for RetryLayer<E> {
    type Service = Retry<RetryPolicy<E>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(RetryPolicy { layer: self.clone(), earlier: None }, inner)
    }
}

/// What [`tower::retry`] asks, for one call. See [`RetryLayer`].
pub struct RetryPolicy<E> {
    layer: RetryLayer<E>,
    /// Of the last attempt that was sent; of the one before, while none was.
    earlier: Option<E>,
}

impl<E> Clone for RetryPolicy<E> {
    /// For another call: what happened to this one is not its business.
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), earlier: None }
    }
}

impl<E> fmt::Debug for RetryPolicy<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<M, T, E> Policy<Call<M>, T, E> for RetryPolicy<E>
where
    M: Clone,
    E: Classify + From<Stopped>,
{
    type Future = Sleep;

    fn retry(&mut self, call: &mut Call<M>, result: &mut Result<T, E>) -> Option<Sleep> {
        let Shared { config, budget, retries, refused } = &*self.layer.shared;
        if call.attempt.number == 1 {
            budget.deposit();
        }
        let Err(error) = result else { return None };
        let again = || {
            let retry_after = match error.verdict() {
                Verdict::Transient { retry_after } => retry_after.unwrap_or_default(),
                Verdict::Limited { retry_after } => retry_after,
                Verdict::Answered | Verdict::NotSent => return None,
            };
            let pause = pause(config, call.attempt.number + 1, rand::random()).max(retry_after);
            if call.attempt.number >= self.layer.attempts || pause >= call.deadline.remaining() {
                return None;
            }
            if !budget.withdraw() {
                refused.count("retry_budget");
                return None;
            }
            Some(pause)
        };
        let pause = again();
        if error.nothing_sent()
            && let Some(earlier) = self.earlier.take()
        {
            *error = earlier;
        }
        let pause = pause?;
        retries.inc();
        call.attempt.number += 1;
        // The result is not looked at again once a pause is asked for, so what takes the error's place does not matter.
        self.earlier = Some(std::mem::replace(error, Stopped::TimedOut.into()));
        Some(tokio::time::sleep(pause))
    }

    fn clone_request(&mut self, call: &Call<M>) -> Option<Call<M>> {
        Some(call.clone())
    }
}

/// The pause before attempt `next` (2, 3, …): doubled each time, capped, then stretched or shrunk.
///
/// `dice` is from 0 to 1 and decides where in ±`jitter_percent` the pause lands.
fn pause(config: &Resilience, next: u32, dice: f64) -> Duration {
    let doubled = config.backoff_ms.saturating_mul(1_u64 << next.saturating_sub(2).min(32));
    let plain = Duration::from_millis(doubled.min(config.backoff_ms_max));
    let jitter = f64::from(config.jitter_percent) / 100.0;
    plain.mul_f64((1.0 + jitter * (2.0 * dice - 1.0)).max(0.0))
}

#[cfg(test)]
mod tests;
