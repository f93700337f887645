//! What the resilience layers cost a call that needs none of them: around a service that answers at once, each alone and all together.
//! `cargo bench -p amends-resilience`.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::{future::ready, hint::black_box, sync::Arc, time::Duration};

use amends_primitives::SystemClock;
use amends_resilience::{
    BreakerConfig, BreakerLayer, BulkheadConfig, BulkheadLayer, Call, Deadline, DeadlineLayer, Edge, GuardError,
    Resilience, RetryLayer, TimeoutLayer, stack,
};
use criterion::{Criterion, criterion_group, criterion_main};
use service_base::metrics::Metrics;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};
use tonic::Status;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

const PEER: Edge = Edge::new("order-service", "payment-service");

fn measure<S, E>(criterion: &mut Criterion, runtime: &Runtime, name: &str, service: &S)
where
    S: Service<Call<u64>, Response = u64, Error = E> + Clone,
    E: std::fmt::Debug,
{
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..times {
                    let deadline = Deadline::after(Duration::from_secs(5));
                    let call = Call::new("test.Payments/Charge", deadline, black_box(7));
                    black_box(service.clone().oneshot(call).await.unwrap());
                }
                began.elapsed()
            })
        });
    });
}

fn layers(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (metrics, config) = (Metrics::new(), Resilience::default());
    let bare = service_fn(|call: Call<u64>| ready(Ok::<u64, Status>(call.message)));
    let inner = bare.map_err(GuardError::Failed as fn(Status) -> GuardError<Status>);
    let clock = || Arc::new(SystemClock) as _;

    measure(criterion, &runtime, "bare", &bare);
    let deadline = DeadlineLayer::new(PEER, Duration::from_secs(30), &metrics);
    measure(criterion, &runtime, "deadline", &deadline.layer(inner.clone()));
    let retry = RetryLayer::<GuardError<Status>>::new(PEER, &config, &metrics);
    measure(criterion, &runtime, "retry", &retry.layer(inner.clone()));
    let bulkhead = BulkheadLayer::new(PEER, &BulkheadConfig::default(), &metrics);
    measure(criterion, &runtime, "bulkhead", &bulkhead.layer(inner.clone()));
    let breaker = BreakerLayer::new(PEER, &BreakerConfig::default(), clock(), &metrics);
    measure(criterion, &runtime, "breaker", &breaker.layer(inner.clone()));
    measure(criterion, &runtime, "timeout", &TimeoutLayer::new(Duration::from_millis(500)).layer(inner.clone()));
    // With the client span (which is not recorded here) and the duration histogram.
    let all = stack(PEER, &config, clock(), &metrics);
    measure(criterion, &runtime, "stack", &all.layer::<Status>().layer(bare));
}

criterion_group!(benches, layers);
criterion_main!(benches);
