//! What travels through the layers: a message, and what every layer needs to know of the call it belongs to.

use std::time::Duration;

use tokio::time::Instant;

/// When the caller stops waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(duration: Duration) -> Self {
        // No caller waits for more than a month, and adding without a bound could overflow.
        Self(Instant::now() + duration.min(Duration::from_hours(30 * 24)))
    }

    /// At that moment.
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The earlier of the caller's (of the current [`RequestContext`](service_base::context::RequestContext)) and this long from now.
    pub fn of_caller_or(duration: Duration) -> Self {
        let ours = Self::after(duration);
        let callers = service_base::context::RequestContext::current().and_then(|context| context.deadline);
        callers.map_or(ours, |at| ours.min(Self(at)))
    }

    /// What is left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The moment itself.
    pub const fn instant(self) -> Instant {
        self.0
    }
}

/// One attempt of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// 1 for the first. The retry layer counts.
    pub number: u32,
    /// How long it may take: send it along (`grpc-timeout`), so that the other side stops when the caller does. The timeout layer
    /// sets it.
    pub timeout: Duration,
}

/// A message on its way to a dependency. Layers read and narrow everything but the message.
#[derive(Debug, Clone)]
pub struct Call<M> {
    /// The full gRPC method (`amends.payments.v1.PaymentService/Charge`), for span and metrics.
    pub method: &'static str,
    /// When the caller stops waiting. Nothing in the layers waits longer.
    pub deadline: Deadline,
    /// Which attempt this is.
    pub attempt: Attempt,
    /// What is sent. Cloned for each attempt.
    pub message: M,
}

impl<M> Call<M> {
    /// The first attempt of a call.
    pub fn new(method: &'static str, deadline: Deadline, message: M) -> Self {
        Self { method, deadline, attempt: Attempt { number: 1, timeout: Duration::MAX }, message }
    }

    /// Not the first: the caller that plans the attempts counts them, and spans show it.
    #[must_use]
    pub const fn attempt(mut self, number: u32) -> Self {
        self.attempt.number = number;
        self
    }

    /// As tonic sends it: what this attempt may take becomes its `grpc-timeout`.
    pub fn into_grpc(self) -> tonic::Request<M> {
        let timeout = self.attempt.timeout.min(self.deadline.remaining());
        let mut request = tonic::Request::new(self.message);
        request.set_timeout(timeout);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn grpc_timeout_is_the_attempts_and_at_most_the_callers() {
        let sent = |call: Call<()>| call.into_grpc().metadata().get("grpc-timeout").cloned().unwrap();
        let mut call = Call::new("m", Deadline::after(Duration::from_millis(700)), ());
        assert_eq!(sent(call.clone()), "700000u");
        call.attempt.timeout = Duration::from_millis(500);
        assert_eq!(sent(call), "500000u");
    }
}
