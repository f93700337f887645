//! The bulkhead alone, around a service that answers when told to.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{JoinHandle, yield_now};
use tower::ServiceExt as _;

use super::*;
use crate::{
    GuardError,
    testing::{Answer, Dependency, EDGE, TestFailure, call, call_within},
};

type Answered = Result<&'static str, GuardError<TestFailure>>;

struct World {
    layer: BulkheadLayer,
    dependency: Dependency,
    metrics: Metrics,
}

impl World {
    fn new(concurrent_max: u32, queued_max: u32, answer: Answer) -> Self {
        let metrics = Metrics::new();
        let layer = BulkheadLayer::new(EDGE, &BulkheadConfig { concurrent_max, queued_max }, &metrics);
        Self { layer, dependency: Dependency::that([answer]), metrics }
    }

    /// A call that has gone as far as it gets by itself.
    async fn begin(&self, call: Call<()>) -> JoinHandle<Answered> {
        let task = tokio::spawn(self.layer.layer(self.dependency.guarded()).oneshot(call));
        yield_now().await;
        task
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn one_runs_one_waits_the_third_is_refused() {
    let world = World::new(1, 1, Answer::After(SECOND));
    let (first, second) = (world.begin(call()).await, world.begin(call()).await);
    assert_eq!((world.layer.in_flight(), world.layer.queued(), world.dependency.live()), (1, 1, 1));
    let third = world.begin(call()).await;
    assert_eq!(third.await.unwrap(), Err(GuardError::Full));
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok("done"), Ok("done")));
    assert_eq!((world.layer.in_flight(), world.layer.queued(), world.dependency.live_max()), (0, 0, 1));
    let page = world.metrics.encode();
    let line = r#"calls_refused_total{service="order-service",peer_service="payment-service",service_peer_name="payment-service",reason="bulkhead_full"} 1"#;
    assert!(page.contains(line), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_no_longer_than_its_deadline() {
    let world = World::new(1, 1, Answer::Hang);
    let hung = world.begin(call()).await;
    let began = tokio::time::Instant::now();
    let waiting = world.begin(call_within(SECOND)).await;
    assert_eq!((waiting.await.unwrap(), began.elapsed()), (Err(GuardError::TooLate), SECOND));
    assert_eq!((world.layer.queued(), world.dependency.calls()), (0, 1));
    assert!(world.metrics.encode().contains(r#"reason="deadline"} 1"#));
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_is_given_up_leaves_the_queue() {
    let world = World::new(1, 1, Answer::After(SECOND));
    let first = world.begin(call()).await;
    for _ in 0..10 {
        let waiting = world.begin(call()).await;
        assert_eq!(world.layer.queued(), 1);
        waiting.abort();
        waiting.await.unwrap_err();
        assert_eq!(world.layer.queued(), 0);
    }
    let last = world.begin(call()).await;
    assert_eq!((first.await.unwrap(), last.await.unwrap()), (Ok("done"), Ok("done")));
    assert_eq!(world.dependency.calls(), 2, "who left the queue is not called for");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_frees_its_place() {
    let world = World::new(1, 0, Answer::Hang);
    for _ in 0..10 {
        let call = world.begin(call()).await;
        assert_eq!((world.layer.in_flight(), world.dependency.live()), (1, 1));
        call.abort();
        call.await.unwrap_err();
        assert_eq!((world.layer.in_flight(), world.dependency.live()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_served_in_order_and_never_more_run_than_may() {
    let world = World::new(4, 100, Answer::After(SECOND));
    let began = tokio::time::Instant::now();
    let mut calls = Vec::new();
    for _ in 0..40 {
        calls.push(world.begin(call()).await);
    }
    for (nth, call) in (0_u32..).zip(calls) {
        assert_eq!((call.await.unwrap(), began.elapsed()), (Ok("done"), SECOND * (nth / 4 + 1)));
    }
    assert_eq!((world.dependency.live_max(), world.layer.in_flight()), (4, 0));
}

/// Looks, as it ends, at how many calls are in flight.
struct LooksBack(BulkheadLayer, Arc<Mutex<Vec<i64>>>);

impl Drop for LooksBack {
    fn drop(&mut self) {
        self.1.lock().push(self.0.in_flight());
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_once_the_call_is_gone_and_not_before() {
    let layer = World::new(1, 0, Answer::Done).layer;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let looking = |call: Call<()>| {
        let looks = LooksBack(layer.clone(), Arc::clone(&seen));
        async move {
            tokio::time::sleep(call.deadline.remaining() / 2).await;
            drop(looks);
            Ok::<_, GuardError<TestFailure>>(())
        }
    };
    let mut service = layer.layer(tower::service_fn(looking));
    // Keeping a future that is ready does not keep its permit.
    let mut finished = Box::pin(service.ready().await.unwrap().call(call()));
    (&mut finished).await.unwrap();
    assert_eq!(layer.in_flight(), 0);
    let mut given_up = Box::pin(service.ready().await.unwrap().call(call()));
    assert!(futures::poll!(&mut given_up).is_pending());
    drop(given_up);
    assert_eq!((layer.in_flight(), seen.lock().clone()), (0, vec![1, 1]));
}
