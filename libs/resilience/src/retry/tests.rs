//! Retrying alone, around a service that fails on cue.

use tokio::time::Instant;
use tower::ServiceExt as _;

use super::*;
use crate::{
    GuardError,
    testing::{Answer, DOWN, Dependency, EDGE, TestFailure, call, call_within},
};

fn layer(config: &Resilience) -> (RetryLayer<GuardError<TestFailure>>, Metrics) {
    let metrics = Metrics::new();
    (RetryLayer::new(EDGE, config, &metrics), metrics)
}

#[test]
fn pauses_double_up_to_a_cap_and_vary_by_thirty_per_cent() {
    let config = Resilience::default();
    let middle: Vec<u128> = (2..=5).map(|next| pause(&config, next, 0.5).as_millis()).collect();
    assert_eq!(middle, [50, 100, 200, 200]);
    assert_eq!(pause(&config, 2, 0.0), Duration::from_millis(35));
    assert_eq!(pause(&config, 2, 1.0), Duration::from_millis(65));
    let long = Resilience { backoff_ms: u64::MAX, backoff_ms_max: u64::MAX, ..config };
    assert!(pause(&long, 99, 0.0) > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_numbered_and_comes_after_a_pause() {
    let (layer, metrics) = layer(&Resilience::default());
    let dependency = Dependency::that([DOWN, DOWN, Answer::Done]);
    let began = Instant::now();
    assert_eq!(layer.layer(dependency.guarded()).oneshot(call()).await, Ok("done"));
    let numbers: Vec<u32> = dependency.attempts().iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    // 50 ms and 100 ms, each ±30 %.
    assert!((105..=197).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(metrics.encode().contains(
        r#"retries_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service"} 2"#
    ));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_never_asked_for_again() {
    let (layer, _) = layer(&Resilience::default());
    let dependency = Dependency::that([Answer::Fail(TestFailure::Refused)]);
    let refused = layer.layer(dependency.guarded()).oneshot(call()).await;
    assert_eq!((refused, dependency.calls()), (Err(GuardError::Failed(TestFailure::Refused)), 1));
}

#[tokio::test(start_paused = true)]
async fn attempts_end_with_their_number() {
    let (layer, _) = layer(&Resilience::default());
    let dependency = Dependency::that([DOWN]);
    let down = Err(GuardError::Failed(TestFailure::Down));
    assert_eq!((layer.layer(dependency.guarded()).oneshot(call()).await, dependency.calls()), (down.clone(), 3));
    let once = layer.attempts(1).layer(dependency.guarded()).oneshot(call()).await;
    assert_eq!((once, dependency.calls()), (down, 1));
}

#[tokio::test(start_paused = true)]
async fn a_requested_pause_is_kept_unless_it_outlives_the_deadline() {
    let (layer, _) = layer(&Resilience::default());
    let two = Duration::from_secs(2);
    let dependency = Dependency::that([Answer::Fail(TestFailure::Busy(two)), Answer::Done]);
    let service = layer.layer(dependency.guarded());
    let began = Instant::now();
    assert_eq!((service.clone().oneshot(call()).await, began.elapsed()), (Ok("done"), two));
    dependency.will([Answer::Fail(TestFailure::Busy(two)), Answer::Done]);
    dependency.calls();
    let began = Instant::now();
    let busy = service.oneshot(call_within(two)).await;
    assert_eq!((busy, began.elapsed()), (Err(GuardError::Failed(TestFailure::Busy(two))), Duration::ZERO));
    assert_eq!(dependency.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_one_for_all_clones_and_is_earned_by_calls() {
    let config = Resilience { retry_burst: 2, retry_percent: 50, attempts: 10, ..Resilience::default() };
    let (layer, metrics) = layer(&config);
    let dependency = Dependency::that([DOWN]);
    let calls = async || {
        layer.clone().layer(dependency.guarded()).oneshot(call()).await.unwrap_err();
        dependency.calls()
    };
    // Two of the burst; then one in two calls earns one.
    assert_eq!([calls().await, calls().await, calls().await, calls().await, calls().await], [3, 1, 2, 1, 2]);
    assert!(metrics.encode().contains(r#"reason="retry_budget"} 5"#), "{}", metrics.encode());
}

/// What becomes of each attempt, from the first on.
#[derive(Clone)]
struct Attempts(Vec<GuardError<TestFailure>>);

impl tower::Service<Call<()>> for Attempts {
    type Response = &'static str;
    type Error = GuardError<TestFailure>;
    type Future = std::future::Ready<Result<&'static str, GuardError<TestFailure>>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<()>) -> Self::Future {
        std::future::ready(Err(self.0[call.attempt.number as usize - 1].clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_does_not_hide_that_an_earlier_attempt_was() {
    let ends_in = async |attempts: &[&GuardError<TestFailure>]| {
        let attempts = Attempts(attempts.iter().copied().cloned().collect());
        layer(&Resilience::default()).0.layer(attempts).oneshot(call()).await.unwrap_err()
    };
    let open = &GuardError::Open { retry_after: Duration::from_secs(30) };
    let unreachable = &GuardError::Failed(TestFailure::Unreachable);
    let sent = &GuardError::TimedOut;
    // Stopped at the first attempt, or no connection each time: nothing was sent, and the error says so.
    assert_eq!(ends_in(&[open]).await, *open);
    for never in [[unreachable, unreachable, unreachable], [unreachable, unreachable, open]] {
        assert_eq!(ends_in(&never).await, *unreachable);
        assert!(unreachable.nothing_sent());
    }
    // Sent once, at whichever attempt.
    assert_eq!(ends_in(&[sent, open]).await, *sent);
    for once in [
        [sent, unreachable, unreachable],
        [sent, unreachable, open],
        [unreachable, sent, unreachable],
        [unreachable, unreachable, sent],
    ] {
        assert_eq!(ends_in(&once).await, *sent);
    }
}
