//! Whole engines in a bad world: several replicas that crash, freeze and are cut off from the journal, clocks that are set forward and
//! back (each replica's and the store's), participants behind a network that loses, repeats and delays, all drawn from one seed and in
//! virtual time. Afterwards every saga has ended and the books balance.
//!
//! `AMENDS_SIMULATION_SEEDS=from..to` runs others than the fixed ones. A hundred thousand take about a minute in a release build:
//! `AMENDS_SIMULATION_SEEDS=0..100000 cargo test --release -p saga-engine --lib simulation -- --nocapture`.

use std::{
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use amends_primitives::{IdSource, SagaId, SeededIds};
use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    engine::Wire,
    sample::{ALL, Notes, Trip, TripState, trip},
};
use crate::{
    Call, Cause, Closed, Config, Engine, EngineMetrics, Intercept, NewSaga, Outcome, Refusal, Status, TraceContext,
    Undo,
    journal::{Journal, Operator},
    plan::{Conclusion, EffectKind},
    testkit::{Books, TokioClock},
};

const REPLICAS: usize = 3;
const SAGAS: usize = 6;
/// No message arrives later.
const LATE_MAX_MS: u32 = 20_000;
const LATE_MAX: Duration = Duration::from_millis(LATE_MAX_MS as u64);
/// How often it is looked whether all sagas have ended, once nothing goes wrong any more.
const ROUND: Duration = Duration::from_secs(2);
/// In all more than half an hour: some sagas wait out long pauses, more than once.
const ROUNDS_MAX: u32 = 1000;

struct Weather {
    random: Mutex<StdRng>,
    calm: AtomicBool,
}

impl Weather {
    fn draw(&self, below: u32) -> u32 {
        self.random.lock().random_range(0..below)
    }

    fn millis(&self, below: u32) -> Duration {
        Duration::from_millis(u64::from(self.draw(below)))
    }
}

#[async_trait]
impl Intercept for Weather {
    async fn attempt(
        &self,
        call: &Call,
        perform: &(dyn Fn() -> BoxFuture<'static, Conclusion> + Send + Sync),
    ) -> Conclusion {
        if self.calm.load(Ordering::SeqCst) {
            return perform().await;
        }
        let broken = self.draw(6) == 0;
        let cause = || {
            if broken {
                Cause::permanent("weather", "asking again does not help")
            } else {
                Cause::environment("weather", "no answer")
            }
        };
        let unknown = match call.kind {
            EffectKind::Act => Conclusion::Acted(Outcome::Unknown(cause())),
            EffectKind::Compensate => Conclusion::Compensated(Undo::NotYet(cause())),
            EffectKind::Close => Conclusion::Closed(Closed::NotYet(cause())),
        };
        match self.draw(100) {
            0..10 => unknown,
            10..20 => {
                let _answer = perform().await;
                unknown
            }
            20..30 => {
                let (request, delay) = (perform(), self.millis(LATE_MAX_MS));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _answer = request.await;
                });
                unknown
            }
            30..38 => {
                let first = perform().await;
                let again = perform().await;
                assert_eq!(first, again, "a repeat of {call:?} was answered otherwise");
                again
            }
            38..44 if call.kind == EffectKind::Act => {
                Conclusion::Acted(Outcome::Refused(Refusal::new("no", "a bad day")))
            }
            44..48 if call.kind == EffectKind::Act => Conclusion::Acted(Outcome::not_sent("weather", "a storm")),
            48..54 => {
                tokio::time::sleep(self.millis(900)).await;
                perform().await
            }
            #[expect(clippy::panic, reason = "what is injected is a panic")]
            54..56 => panic!("a fault was injected"),
            _ => perform().await,
        }
    }
}

async fn simulate(seed: u64, metrics: &EngineMetrics) {
    let weather = Arc::new(Weather { random: Mutex::new(StdRng::seed_from_u64(seed)), calm: AtomicBool::new(false) });
    let (books, notes) = (Books::with_delay(Duration::from_millis(5)), Notes::default());
    let (journal, clock) = (notes.journal(), Arc::new(TokioClock::default()));
    let ids = Arc::new(SeededIds::new(seed));
    let replica = || {
        let wire = Wire::to(journal.clone());
        let (jitter, clock) = (Arc::clone(&weather), Arc::new(clock.of_another_machine()));
        let engine = Engine::builder(Arc::clone(&wire))
            .clock(Arc::<TokioClock>::clone(&clock))
            .ids(Arc::<SeededIds>::clone(&ids))
            .jitter(move || f64::from(jitter.draw(1000)) / 1000.0)
            .intercept(Arc::<Weather>::clone(&weather))
            .metrics(metrics.clone())
            .config(Config { sweep: Duration::from_secs(5), ..Config::default() })
            .register(trip(&books))
            .start();
        (wire, engine, clock)
    };
    let mut replicas: Vec<_> = (0..REPLICAS).map(|_| replica()).collect();
    let mut sagas = Vec::new();
    let operator = Operator { who: "the simulation".into(), why: "by chance".into() };

    for _ in 0..40 {
        tokio::time::sleep(weather.millis(1500)).await;
        let at = usize::try_from(weather.draw(3)).unwrap();
        match weather.draw(12) {
            0..4 if sagas.len() < SAGAS => {
                let id = SagaId::new(ids.next_id());
                let state = TripState { id: Some(id), ..TripState::default() };
                let new = NewSaga::<Trip> { id, state, subject: String::new(), trace: TraceContext::none() };
                if replicas[at].1.start(new).await.is_ok() {
                    sagas.push(id);
                }
            }
            4 | 5 => replicas[at].0.down.store(true, Ordering::SeqCst),
            6 | 7 => replicas[at].0.down.store(false, Ordering::SeqCst),
            8 => {
                if weather.draw(2) == 0 {
                    replicas[at].1.kill();
                } else {
                    replicas[at].1.drain(weather.millis(2000)).await;
                }
                replicas[at] = replica();
            }
            9 => {
                let (store, step) = (weather.draw(3) == 0, Duration::from_secs(u64::from(weather.draw(7200))));
                let clock = if store { journal.clock() } else { &*replicas[at].2 };
                if weather.draw(2) == 0 { clock.step_back(step) } else { clock.step_forward(step) }
            }
            _ => {
                if let Some(id) = sagas.last() {
                    let _asked = replicas[at].1.cancel(*id, operator.clone()).await;
                }
            }
        }
    }

    weather.calm.store(true, Ordering::SeqCst);
    for (wire, _, _) in &replicas {
        wire.down.store(false, Ordering::SeqCst);
    }
    for round in 0.. {
        tokio::time::sleep(ROUND).await;
        let rows: Vec<_> = journal.all().into_iter().map(|stored| stored.row).collect();
        for parked in rows.iter().filter(|row| row.status == Status::Parked) {
            let _asked = replicas[0].1.retry(parked.id, operator.clone()).await;
        }
        if rows.iter().all(|row| row.status.is_finished()) {
            break;
        }
        assert!(round < ROUNDS_MAX, "seed {seed}: does not end: {rows:#?}");
    }
    // What is still on its way arrives, when no replica is there to correct it.
    for (_, engine, _) in replicas {
        engine.kill();
    }
    tokio::time::sleep(LATE_MAX).await;
    assert_eq!(books.mistakes(), Vec::<String>::new(), "seed {seed}");
    for id in &sagas {
        let stored = journal.load(*id).await.unwrap().unwrap();
        let said: Vec<_> = notes.of(*id).into_iter().filter(|note| *note != "parked").collect();
        match stored.row.status {
            Status::Completed => {
                assert_eq!(
                    (books.in_effect(*id), said),
                    (ALL.map(str::to_owned).to_vec(), vec!["confirmed"]),
                    "seed {seed}"
                );
            }
            _ => assert_eq!((books.in_effect(*id), said), (vec![], vec!["failed"]), "seed {seed}: {stored:#?}"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how a failed seed is run again")]
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("AMENDS_SIMULATION_SEEDS").ok();
    let range = asked
        .as_deref()
        .and_then(|text| text.split_once(".."))
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or(0..150)
}

/// One schedule, in a runtime and a time of its own.
fn run(seed: u64, metrics: &EngineMetrics) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(simulate(seed, metrics));
}

/// Schedules share nothing, so each processor has its own. The first failure tells its seed, and no other is begun after it.
#[test]
fn in_bad_weather_every_saga_ends_and_the_books_balance() {
    super::faults::quiet();
    let (seeds, begun) = (seeds(), Instant::now());
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        // They are not read, and making them costs as much as a saga.
        let metrics = EngineMetrics::default();
        while !failed.load(Ordering::SeqCst) {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= seeds.end {
                break;
            }
            if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| run(seed, &metrics))) {
                failed.store(true, Ordering::SeqCst);
                eprintln!("to run it again: AMENDS_SIMULATION_SEEDS={seed}..{}", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (count, took) = (seeds.end.saturating_sub(seeds.start), begun.elapsed());
    let a_minute = u128::from(count) * 60_000_000 / took.as_micros().max(1);
    println!("simulation: {count} schedules, seeds {seeds:?}, in {took:.1?} on {threads} threads: {a_minute} a minute");
}
