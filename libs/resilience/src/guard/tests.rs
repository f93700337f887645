//! A guard and a dependency that misbehaves on cue.

use std::sync::atomic::{AtomicU32, Ordering};

use amends_primitives::ManualClock;
use tokio::time::Instant;
use tonic::Status;

use super::*;
use crate::{BulkheadConfig, testing::EDGE};
use service_base::problem;

struct World {
    guard: Guard,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    calls: AtomicU32,
}

impl World {
    fn new(config: &Resilience) -> Self {
        let (clock, metrics) = (Arc::new(ManualClock::default()), Metrics::new());
        let guard = Guard::new(EDGE, config, Arc::clone(&clock) as Arc<dyn Clock>, &metrics);
        Self { guard, clock, metrics, calls: AtomicU32::new(0) }
    }

    /// Calls with a dependency that gives these answers in turn, and the last of them for ever.
    async fn call(
        &self,
        wait: Duration,
        answers: &[Result<&'static str, Status>],
    ) -> Result<&'static str, GuardError<Status>> {
        let first = self.calls.load(Ordering::SeqCst);
        let deadline = Deadline::after(wait);
        self.guard
            .call("test.Payments/Charge", deadline, |attempt| {
                let nth = self.calls.fetch_add(1, Ordering::SeqCst) - first;
                assert_eq!(attempt.number, nth + 1);
                assert!(attempt.timeout <= Duration::from_millis(500));
                let answer = answers.get(nth as usize).or(answers.last()).unwrap().clone();
                async move {
                    match answer {
                        Err(status) if status.message() == "hang" => std::future::pending().await,
                        answer => answer,
                    }
                }
            })
            .await
    }

    fn calls(&self) -> u32 {
        self.calls.swap(0, Ordering::SeqCst)
    }
}

fn down() -> Result<&'static str, Status> {
    Err(Status::unavailable("down"))
}

fn hang() -> Result<&'static str, Status> {
    Err(Status::unknown("hang"))
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn transient_failures_are_tried_again_and_refusals_are_not() {
    let world = World::new(&Resilience::default());
    assert_eq!(world.call(LONG, &[down(), hang(), Ok("done")]).await.unwrap(), "done");
    assert_eq!(world.calls(), 3);
    let refusal = || Err(Status::failed_precondition("declined"));
    assert!(matches!(world.call(LONG, &[refusal()]).await, Err(GuardError::Failed(s)) if s.message() == "declined"));
    assert_eq!(world.calls(), 1);
    assert!(matches!(world.call(LONG, &[down()]).await, Err(GuardError::Failed(_))));
    assert_eq!(world.calls(), 3);
    let page = world.metrics.encode();
    assert!(page.contains(r#"retries_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service"} 4"#), "{page}");
    assert!(page.contains(
        r#"rpc_client_call_duration_seconds_count{service="order-service",peer_service="payment-service",service_peer_name="payment-service",rpc_method="test.Payments/Charge",rpc_status_code="UNAVAILABLE",error_type="UNAVAILABLE"} 4"#
    ), "{page}");
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_deadline() {
    let world = World::new(&Resilience::default());
    let began = Instant::now();
    assert_eq!(world.call(Duration::from_millis(700), &[hang()]).await.unwrap_err().to_string(), "no answer in time");
    assert!(began.elapsed() <= Duration::from_millis(701), "{:?}", began.elapsed());
    assert_eq!(world.calls(), 2);
    assert!(matches!(world.call(Duration::ZERO, &[Ok("x")]).await, Err(GuardError::TooLate)));
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_dependency_may_ask_for_patience() {
    let world = World::new(&Resilience::default());
    let busy: Status =
        problem::Problem::of(problem::Code::RateLimited, "busy").retry_after(Duration::from_secs(2)).into();
    let began = Instant::now();
    world.call(LONG, &[Err(busy.clone()), Ok("done")]).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    world.calls();
    // The requested pause is longer than the time left: the error at once.
    assert!(world.call(Duration::from_secs(1), &[Err(busy)]).await.is_err());
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_refuses_at_once_and_probes_later() {
    let world = World::new(&Resilience { attempts: 1, ..Resilience::default() });
    for _ in 0..5 {
        world.call(LONG, &[down()]).await.unwrap_err();
    }
    world.calls();
    let open = world.call(LONG, &[Ok("x")]).await.unwrap_err();
    assert_eq!((world.calls(), open.nothing_sent()), (0, true));
    assert_eq!(world.guard.refuses_for(), Some(Duration::from_secs(30)));
    assert!(matches!(open, GuardError::Open { retry_after } if retry_after == Duration::from_secs(30)));
    assert!(world.metrics.encode().contains(r#"circuit_breaker_state{service="order-service",peer_service="payment-service",service_peer_name="payment-service"} 2"#));
    world.clock.advance(Duration::from_secs(30));
    assert_eq!((world.guard.refuses_for(), world.guard.state()), (None, BreakerState::Open));
    for _ in 0..3 {
        world.call(LONG, &[Ok("x")]).await.unwrap();
    }
    assert_eq!(world.guard.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opening_between_attempts_hides_no_sent_attempt() {
    let world = World::new(&Resilience::default());
    world.call(LONG, &[down()]).await.unwrap_err();
    // Two more failures make five in a row; the third attempt is refused by the breaker, but the second may have had an effect.
    let error = world.call(LONG, &[hang()]).await.unwrap_err();
    assert!(matches!(error, GuardError::TimedOut), "{error}");
    assert_eq!(world.guard.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_frees_its_permit_and_counts_as_no_failure() {
    let bulkhead = BulkheadConfig { concurrent_max: 1, queued_max: 0 };
    let world = Arc::new(World::new(&Resilience { bulkhead, timeout_ms: 400, ..Resilience::default() }));
    for _ in 0..10 {
        let call = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.call(LONG, &[hang()]).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(world.guard.stack().bulkhead().in_flight(), 1);
        assert!(matches!(world.call(LONG, &[Ok("x")]).await, Err(GuardError::Full)));
        call.abort();
        call.await.unwrap_err();
        world.calls();
    }
    assert_eq!((world.guard.state(), world.guard.stack().bulkhead().in_flight()), (BreakerState::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_answered_with_three_times_the_load() {
    let breaker = crate::BreakerConfig { failures_in_a_row: u32::MAX, calls_min: u32::MAX, ..Default::default() };
    let world = World::new(&Resilience { breaker, ..Resilience::default() });
    for _ in 0..100 {
        world.call(LONG, &[down()]).await.unwrap_err();
    }
    let calls = world.calls();
    assert!((100..=141).contains(&calls), "{calls}");
    assert!(world.metrics.encode().contains(r#"reason="retry_budget""#));
}
