//! The breaker alone, around a service that fails on cue.

use amends_primitives::ManualClock;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::*;
use crate::{
    GuardError,
    testing::{Answer, DOWN, Dependency, EDGE, TestFailure, call},
};

struct World {
    layer: BreakerLayer,
    clock: Arc<ManualClock>,
    dependency: Dependency,
    metrics: Metrics,
}

impl World {
    fn new() -> Self {
        let (clock, metrics) = (Arc::new(ManualClock::default()), Metrics::new());
        let config = BreakerConfig::default();
        let layer = BreakerLayer::new(EDGE, &config, Arc::clone(&clock) as Arc<dyn Clock>, &metrics);
        Self { layer, clock, dependency: Dependency::that([DOWN]), metrics }
    }

    fn service(
        &self,
    ) -> BreakerService<
        impl tower::Service<crate::Call<()>, Response = &'static str, Error = GuardError<TestFailure>, Future: Send>
        + Clone
        + use<>,
    > {
        self.layer.layer(self.dependency.guarded())
    }

    async fn call(&self) -> Result<&'static str, GuardError<TestFailure>> {
        self.service().oneshot(call()).await
    }

    async fn opened() -> Self {
        let world = Self::new();
        for _ in 0..5 {
            assert_eq!(world.call().await, Err(GuardError::Failed(TestFailure::Down)));
        }
        assert_eq!((world.layer.state(), world.dependency.calls()), (BreakerState::Open, 5));
        world
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_answers_in_no_time_without_a_call() {
    let world = World::opened().await;
    world.dependency.will([Answer::Hang]);
    let began = Instant::now();
    let open = GuardError::Open { retry_after: Duration::from_secs(30) };
    assert_eq!((world.call().await, began.elapsed()), (Err(open), Duration::ZERO));
    assert_eq!((world.dependency.calls(), world.layer.refuses_for()), (0, Some(Duration::from_secs(30))));
    let page = world.metrics.encode();
    for line in [
        r#"circuit_breaker_state{service="order-service",peer_service="payment-service",service_peer_name="payment-service"} 2"#,
        r#"circuit_breaker_transitions_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="open"} 1"#,
        r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="breaker_open"} 1"#,
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_is_not_begun_counts_as_a_refused_call() {
    let refused = r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="breaker_open"}"#;
    let world = World::new();
    assert_eq!(world.layer.refuses_work_for(), None);
    assert!(world.metrics.encode().contains(&format!("{refused} 0")), "shown before the first outage");
    let world = World::opened().await;
    assert_eq!(world.layer.refuses_work_for(), Some(Duration::from_secs(30)));
    assert!(world.metrics.encode().contains(&format!("{refused} 1")));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_neither_closes_it_nor_keeps_it_open() {
    let hour = Duration::from_hours(1);
    for set in [ManualClock::step_back, ManualClock::step_forward] {
        let world = World::opened().await;
        set(&world.clock, hour);
        assert_eq!(world.layer.refuses_for(), Some(Duration::from_secs(30)));
        world.clock.advance(Duration::from_secs(30));
        assert_eq!(world.layer.refuses_for(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_three_probes_through_and_no_more() {
    let world = World::opened().await;
    world.clock.advance(Duration::from_secs(30));
    world.dependency.will([Answer::After(Duration::from_secs(1))]);
    let probes: Vec<_> = (0..3).map(|_| tokio::spawn(world.service().oneshot(call()))).collect();
    tokio::task::yield_now().await;
    assert_eq!((world.dependency.live(), world.layer.state()), (3, BreakerState::HalfOpen));
    assert!(matches!(world.call().await, Err(GuardError::Open { .. })));
    assert_eq!(world.dependency.calls(), 3);
    for probe in probes {
        assert_eq!(probe.await.unwrap(), Ok("done"));
    }
    assert_eq!((world.layer.state(), world.call().await), (BreakerState::Closed, Ok("done")));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_makes_room_for_another() {
    let world = World::opened().await;
    world.clock.advance(Duration::from_secs(30));
    world.dependency.will([Answer::Hang]);
    for _ in 0..10 {
        let probe = tokio::spawn(world.service().oneshot(call()));
        tokio::task::yield_now().await;
        assert_eq!(world.dependency.calls(), 1);
        probe.abort();
        probe.await.unwrap_err();
    }
    assert_eq!((world.layer.state(), world.layer.refuses_for()), (BreakerState::HalfOpen, None));
}

#[tokio::test(start_paused = true)]
async fn refusals_close_the_breaker_and_unsent_calls_do_not_count() {
    let world = World::new();
    world.dependency.will([Answer::Fail(TestFailure::Refused)]);
    for _ in 0..50 {
        world.call().await.unwrap_err();
    }
    assert_eq!(world.layer.state(), BreakerState::Closed);
    let stopped = tower::service_fn(|()| ready(Err::<(), _>(GuardError::<TestFailure>::Full)));
    for _ in 0..50 {
        world.layer.layer(stopped).oneshot(()).await.unwrap_err();
    }
    assert_eq!(world.layer.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_no_illness_and_no_recovery() {
    let world = World::new();
    let limited = Answer::Fail(TestFailure::Busy(Duration::from_secs(1)));
    for _ in 0..20 {
        world.dependency.will([Answer::Done, limited, limited, limited, limited]);
        for _ in 0..5 {
            let _limited = world.call().await;
        }
    }
    assert_eq!(world.layer.state(), BreakerState::Closed);
    // Nor does it make good what failed before it.
    world.dependency.will([DOWN, limited, DOWN, limited, DOWN, limited, DOWN, limited, DOWN]);
    for _ in 0..9 {
        world.call().await.unwrap_err();
    }
    assert_eq!(world.layer.state(), BreakerState::Open);
    // A probe that comes upon a limit gives its place to the next.
    world.clock.advance(Duration::from_secs(30));
    world.dependency.will([limited, limited, Answer::Done]);
    for _ in 0..4 {
        let _limited = world.call().await;
    }
    assert_eq!(world.layer.state(), BreakerState::HalfOpen);
    assert_eq!((world.call().await, world.layer.state()), (Ok("done"), BreakerState::Closed));
    // A dependency that serves no caller is cut off.
    world.clock.advance(Duration::from_secs(30));
    world.dependency.will([limited]);
    for _ in 0..10 {
        world.call().await.unwrap_err();
    }
    assert_eq!(world.layer.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn it_is_told_when_the_call_ends_although_the_future_is_kept() {
    let world = World::new();
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut call = Box::pin(world.service().ready().await.unwrap().call(call()));
        (&mut call).await.unwrap_err();
        kept.push(call);
    }
    assert_eq!((world.layer.state(), kept.len()), (BreakerState::Open, 5));
}
