//! The layers together: what each leaves to the others, and what only their order gives.

use amends_primitives::ManualClock;
use tokio::{task::yield_now, time::Instant};
use tower::ServiceExt as _;

use super::*;
use crate::{
    BreakerConfig, BreakerState, BulkheadConfig,
    testing::{Answer, DOWN, Dependency, EDGE, LONG, TestFailure, call, call_within},
};

struct World {
    stack: Stack,
    clock: Arc<ManualClock>,
    dependency: Dependency,
    metrics: Metrics,
}

impl World {
    fn new(config: &Resilience, answer: Answer) -> Self {
        let (clock, metrics) = (Arc::new(ManualClock::default()), Metrics::new());
        let stack = stack(EDGE, config, Arc::clone(&clock) as Arc<dyn Clock>, &metrics);
        Self { stack, clock, dependency: Dependency::that([answer]), metrics }
    }

    fn service(&self) -> Stacked<Dependency, TestFailure> {
        self.stack.layer().layer(self.dependency.clone())
    }

    async fn call(&self, wait: Duration) -> Result<&'static str, GuardError<TestFailure>> {
        self.service().oneshot(call_within(wait)).await
    }
}

const HALF: Duration = Duration::from_millis(500);

fn never_opens() -> BreakerConfig {
    BreakerConfig { failures_in_a_row: u32::MAX, calls_min: u32::MAX, ..BreakerConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_is_bounded_by_the_budget() {
    let world = World::new(&Resilience { breaker: never_opens(), ..Resilience::default() }, DOWN);
    let storm: Vec<_> = (0..1000).map(|_| tokio::spawn(world.service().oneshot(call()))).collect();
    for call in storm {
        assert_eq!(call.await.unwrap(), Err(GuardError::Failed(TestFailure::Down)));
    }
    // A burst of 20, and a fifth of a thousand; without a budget it would be three thousand.
    let calls = world.dependency.calls();
    assert!((1000..=1220).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_asked_before_any_pause_place_or_attempt() {
    let world = World::new(&Resilience { attempts: 1, ..Resilience::default() }, DOWN);
    for _ in 0..5 {
        world.call(LONG).await.unwrap_err();
    }
    world.dependency.calls();
    let began = Instant::now();
    let open = GuardError::Open { retry_after: Duration::from_secs(30) };
    // With attempts to spare: being refused by the breaker is not tried again.
    let refused = world.stack.clone().attempts(3).layer().layer(world.dependency.clone()).oneshot(call()).await;
    assert_eq!((refused, began.elapsed(), world.dependency.calls()), (Err(open), Duration::ZERO, 0));
    // And found well again after its time.
    world.clock.advance(Duration::from_secs(30));
    world.dependency.will([Answer::Done]);
    for _ in 0..3 {
        assert_eq!(world.call(LONG).await, Ok("done"));
    }
    assert_eq!(world.stack.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_waited_while_the_breaker_opened_is_not_sent() {
    let bulkhead = BulkheadConfig { concurrent_max: 5, queued_max: 100 };
    let world = World::new(&Resilience { bulkhead, attempts: 1, ..Resilience::default() }, Answer::Hang);
    let began = Instant::now();
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(world.service().oneshot(call()))).collect();
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap().unwrap_err());
    }
    assert_eq!(ends.iter().filter(|end| **end == GuardError::TimedOut).count(), 5);
    assert_eq!(ends.iter().filter(|end| matches!(end, GuardError::Open { .. })).count(), 45);
    // All of them at the moment the first five had hung for too long.
    assert_eq!((world.dependency.calls(), began.elapsed()), (5, HALF));
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_frees_its_place_when_its_time_is_over() {
    let bulkhead = BulkheadConfig { concurrent_max: 1, queued_max: 1 };
    let world = World::new(&Resilience { bulkhead, attempts: 1, ..Resilience::default() }, Answer::Hang);
    let began = Instant::now();
    let hung = tokio::spawn(world.service().oneshot(call()));
    yield_now().await;
    world.dependency.will([Answer::Done]);
    assert_eq!((world.call(LONG).await, began.elapsed()), (Ok("done"), HALF));
    assert_eq!(hung.await.unwrap(), Err(GuardError::TimedOut));
    assert_eq!((world.stack.bulkhead().in_flight(), world.dependency.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_no_place() {
    let bulkhead = BulkheadConfig { concurrent_max: 1, queued_max: 0 };
    let busy = Answer::Fail(TestFailure::Busy(Duration::from_secs(5)));
    let world = World::new(&Resilience { bulkhead, ..Resilience::default() }, busy);
    world.dependency.will([busy, Answer::Done]);
    let pausing = tokio::spawn(world.service().oneshot(call()));
    yield_now().await;
    assert_eq!(world.call(LONG).await, Ok("done"));
    assert_eq!(pausing.await.unwrap(), Ok("done"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_wins_over_attempts_and_pauses() {
    let config = Resilience { attempts: 10, breaker: never_opens(), ..Resilience::default() };
    let world = World::new(&config, Answer::Hang);
    let began = Instant::now();
    assert_eq!(world.call(Duration::from_millis(1300)).await, Err(GuardError::TimedOut));
    assert!(began.elapsed() <= Duration::from_millis(1300), "{:?}", began.elapsed());
    let attempts = world.dependency.attempts();
    assert_eq!(attempts.len(), 3);
    assert!(attempts[2].timeout < HALF, "{attempts:?}");
    // And the longest that is configured wins over a caller with more time.
    let world = World::new(&Resilience { deadline_ms_max: 700, ..config }, Answer::Hang);
    let began = Instant::now();
    world.call(LONG).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_millis(700));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_cut_off_by_the_deadline_counts_as_failure() {
    let world = World::new(&Resilience { attempts: 1, ..Resilience::default() }, Answer::Hang);
    for _ in 0..5 {
        assert_eq!(world.call(Duration::from_millis(20)).await, Err(GuardError::TimedOut));
    }
    assert_eq!(world.stack.breaker().state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_stack_share_what_it_knows() {
    let world = World::new(&Resilience { attempts: 1, ..Resilience::default() }, DOWN);
    for _ in 0..5 {
        world.call(LONG).await.unwrap_err();
    }
    let other = world.stack.clone().attempts(7).layer().layer(Dependency::that([Answer::Done]));
    assert!(matches!(other.oneshot(call()).await, Err(GuardError::Open { .. })));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_measured_and_refused_calls_counted_apart() {
    let world = World::new(&Resilience::default(), Answer::Done);
    world.dependency.will([DOWN, Answer::Hang, Answer::Done]);
    world.call(LONG).await.unwrap();
    world.dependency.will([Answer::Fail(TestFailure::Refused)]);
    world.call(LONG).await.unwrap_err();
    world.dependency.will([Answer::Fail(TestFailure::GivenUp)]);
    world.call(LONG).await.unwrap_err();
    world.call(Duration::ZERO).await.unwrap_err();
    let page = world.metrics.encode();
    let of = r#"service="order-service",peer_service="payment-service",service_peer_name="payment-service",rpc_method="test.Payments/Charge",rpc_status_code"#;
    for line in [
        format!(r#"_count{{{of}="OK",error_type=""}} 1"#),
        format!(r#"_count{{{of}="UNAVAILABLE",error_type="UNAVAILABLE"}} 1"#),
        format!(r#"_count{{{of}="DEADLINE_EXCEEDED",error_type="timeout"}} 1"#),
        format!(r#"_count{{{of}="FAILED_PRECONDITION",error_type=""}} 1"#),
        r#"retries_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service"} 2"#.to_owned(),
        r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="deadline"} 1"#.to_owned(),
        r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="not_sent"} 1"#.to_owned(),
    ] {
        assert!(page.contains(&line), "{line}\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_deadline_is_not_taken_for_a_missing_token() {
    let (config, metrics, clock) = (Resilience::default(), Metrics::new(), Arc::new(ManualClock::default()));
    let breaker = BreakerLayer::new(EDGE, &config.breaker, clock, &metrics);
    let bulkhead = BulkheadLayer::new(EDGE, &config.bulkhead, &metrics);
    let observe = ObserveLayer::new(EDGE, &breaker, &bulkhead, &metrics);
    let service = observe.layer(TimeoutLayer::new(HALF).layer(Dependency::that([Answer::Done]).guarded()));
    assert_eq!(service.oneshot(call_within(Duration::ZERO)).await, Err(GuardError::TooLate));
    let page = metrics.encode();
    let line = r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="deadline"} 1"#;
    assert!(page.contains(line) && !page.contains("not_sent"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_behind_by_a_call_that_is_given_up_anywhere() {
    let bulkhead = BulkheadConfig { concurrent_max: 1, queued_max: 2 };
    let config = Resilience { bulkhead, breaker: never_opens(), ..Resilience::default() };
    let world = World::new(&config, Answer::Hang);
    // Attempts, a queue and pauses: given up after each of these times.
    for wait in [0, 100, 499, 501, 530, 560, 700, 1200] {
        let calls: Vec<_> = (0..4).map(|_| tokio::spawn(world.service().oneshot(call()))).collect();
        yield_now().await;
        tokio::time::advance(Duration::from_millis(wait)).await;
        yield_now().await;
        for call in calls {
            call.abort();
            let _ = call.await;
        }
        let bulkhead = world.stack.bulkhead();
        assert_eq!((bulkhead.in_flight(), bulkhead.queued(), world.dependency.live()), (0, 0, 0), "after {wait} ms");
    }
    world.dependency.will([Answer::Done]);
    assert_eq!(world.call(LONG).await, Ok("done"));
}

fn in_this_process() -> Resilience {
    let breaker = BreakerConfig { open_ms: 200, ..BreakerConfig::default() };
    Resilience { in_process: true, attempts: 1, breaker, ..Resilience::default() }
}

#[tokio::test(start_paused = true)]
async fn a_slow_dependency_in_this_process_is_waited_for() {
    let world = World::new(&in_this_process(), Answer::After(HALF * 6));
    for _ in 0..20 {
        assert_eq!(world.call(LONG).await, Ok("done"));
    }
    assert_eq!(world.stack.breaker().state(), BreakerState::Closed);
    assert_eq!(world.dependency.attempts()[0].timeout, LONG, "an attempt has what is left of its caller's deadline");
}

#[tokio::test(start_paused = true)]
async fn a_caller_out_of_time_does_not_cut_off_its_own_process() {
    for slow in [Answer::Hang, Answer::Fail(TestFailure::Late), Answer::Fail(TestFailure::Unreachable)] {
        let world = World::new(&in_this_process(), slow);
        for _ in 0..20 {
            world.call(HALF).await.unwrap_err();
        }
        assert_eq!((world.stack.breaker().state(), world.dependency.calls()), (BreakerState::Closed, 20), "{slow:?}");
        // Between two processes the same counts as a failure.
        let elsewhere = World::new(&Resilience { in_process: false, ..in_this_process() }, slow);
        for _ in 0..20 {
            elsewhere.call(HALF * 2).await.unwrap_err();
        }
        assert_eq!(
            (elsewhere.stack.breaker().state(), elsewhere.dependency.calls()),
            (BreakerState::Open, 5),
            "{slow:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_answered_in_this_process_opens_for_a_moment() {
    let world = World::new(&in_this_process(), DOWN);
    for _ in 0..20 {
        world.call(LONG).await.unwrap_err();
    }
    assert_eq!((world.stack.breaker().state(), world.dependency.calls()), (BreakerState::Open, 5));
    world.dependency.will([Answer::Done]);
    world.clock.advance(Duration::from_millis(200));
    for _ in 0..4 {
        assert_eq!(world.call(LONG).await, Ok("done"));
    }
    assert_eq!(world.stack.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn starvation_of_our_own_does_not_open_the_breaker() {
    let world = World::new(&Resilience { attempts: 1, ..Resilience::default() }, Answer::Hang);
    for _ in 0..20 {
        let mut call = Box::pin(world.service().oneshot(call()));
        assert!(futures::poll!(&mut call).is_pending());
        // Nothing of this process is polled for longer than the attempt may take.
        tokio::time::advance(2 * HALF).await;
        assert_eq!(call.await, Err(GuardError::Starved));
    }
    assert_eq!(world.stack.breaker().state(), BreakerState::Closed);
}
