//! How fast money moves, for comparing one change with the next: `cargo test --release -p payment-service --test it -- --ignored`.

use std::time::Instant;

use futures::{StreamExt as _, stream};

use crate::support::{Place, charge_of, mongo, sqlite};

const CHARGES: usize = 500;

async fn measure(name: &str, place: Place) {
    let world = place.world().await;
    for concurrency in [1, 32] {
        let begun = Instant::now();
        let mut took: Vec<_> = stream::iter(0..CHARGES)
            .map(|_| {
                let payments = world.payments.clone();
                tokio::spawn(async move {
                    let begun = Instant::now();
                    payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
                    begun.elapsed()
                })
            })
            .buffer_unordered(concurrency)
            .map(Result::unwrap)
            .collect()
            .await;
        let all = begun.elapsed();
        took.sort();
        let (median, worst) = (took[CHARGES / 2], took[CHARGES * 99 / 100]);
        let rate = f64::from(u32::try_from(CHARGES).unwrap()) / all.as_secs_f64();
        eprintln!("{name}, {concurrency} at once: {rate:.0} charges/s, p50 {median:.1?}, p99 {worst:.1?}");
    }
    place.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, checks nothing"]
async fn charges_per_second() {
    measure("sqlite", sqlite().await.unwrap()).await;
    if let Some(place) = mongo().await {
        measure("mongodb", place).await;
    }
}
