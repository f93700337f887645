//! Runs one saga to its end, whatever fault is injected: crashes restart the orchestrator, an outage ends after a while, and what is
//! parked is retried by an operator once the fault is fixed. In virtual time: call it in a runtime whose clock is paused.

use std::{sync::Arc, time::Duration};

use amends_primitives::{IdSource, SagaId, SeededIds};

use super::{
    MemoryJournal, TokioClock,
    faults::{Fault, FaultInjector, FaultyJournal},
};
use crate::{
    Definition, Engine, NewSaga, Saga, Snapshot, Status, TraceContext, Waited,
    journal::{Journal, Operator, Stored},
};

/// No saga here takes longer, in virtual time.
const PATIENCE: Duration = Duration::from_hours(24);
/// How long what is never answered goes on: longer than it takes to be parked for what is answered wrongly.
const OUTAGE: Duration = Duration::from_mins(20);

/// How a saga ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The saga as it is stored.
    pub stored: Stored,
    /// Whether it had been parked on the way.
    pub was_parked: bool,
    /// How often the orchestrator crashed.
    pub crashes: u32,
}

impl Ended {
    /// Where it ended.
    pub const fn status(&self) -> Status {
        self.stored.row.status
    }
}

/// Runs one saga to its end with a fault.
///
/// # Panics
/// When the saga does not end: that is what is being tested.
pub async fn run_with<S: Saga>(
    fault: Fault,
    definition: Definition<S>,
    journal: MemoryJournal<S::Local>,
    id: SagaId,
    state: S::State,
) -> Ended {
    let injector = FaultInjector::new(fault.clone());
    let clock = Arc::new(TokioClock::default());
    let ids = Arc::new(SeededIds::new(0xfa17));
    let engine = || {
        let journal = Arc::new(FaultyJournal::new(journal.clone(), Arc::clone(&injector)));
        let ids: Arc<dyn IdSource> = Arc::<SeededIds>::clone(&ids);
        Engine::builder(journal)
            .clock(Arc::<TokioClock>::clone(&clock))
            .ids(ids)
            .jitter(|| 0.5)
            .intercept(Arc::<FaultInjector>::clone(&injector))
            .register(definition.clone())
            .start()
    };
    let mut running = engine();
    while !running.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let new = NewSaga::<S> { id, state, subject: format!("subject of {id}"), trace: TraceContext::none() };
    let started = running.start(new).await;
    assert!(started.is_ok(), "{fault}: {started:?}");

    let (mut crashes, mut was_parked, mut patience) = (0, false, OUTAGE);
    loop {
        let handle = running.handle(id);
        let settled = tokio::select! {
            biased;
            () = injector.crashes() => None,
            waited = handle.settled(patience) => Some(waited),
        };
        match settled {
            None => {
                crashes += 1;
                assert!(crashes < 100, "{fault}: crashes again and again");
                running.kill();
                running = engine();
            }
            Some(Waited::Running(_)) if patience == OUTAGE => {
                patience = PATIENCE;
                injector.fix();
            }
            Some(Waited::Settled(Snapshot { status: Status::Parked, .. })) if !was_parked => {
                was_parked = true;
                injector.fix();
                let by = Operator { who: "the test".into(), why: "the fault is fixed".into() };
                let asked = running.retry(id, by).await;
                assert!(asked.is_ok(), "{fault}: {asked:?}");
                while running.snapshot(id).await.ok().flatten().is_some_and(|found| found.status == Status::Parked) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Some(waited) => {
                // Messages that are still on their way arrive before the books are read.
                tokio::time::sleep(Duration::from_secs(100)).await;
                running.kill();
                let stored = journal.load(id).await.ok().flatten();
                let Some(stored) = stored else { unreachable!("{fault}: the saga is gone") };
                assert!(matches!(waited, Waited::Settled(_)), "{fault}: did not end: {stored:#?}");
                return Ended { stored, was_parked, crashes };
            }
        }
    }
}
