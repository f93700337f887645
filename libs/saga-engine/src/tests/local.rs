//! Changes to the host's own tables as steps: before the pivot with their undo, as the pivot, after it, and at the end.

use std::{sync::Arc, time::Duration};

use amends_primitives::{IdSource, SagaId, SeededIds, Timestamp};
use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{
    Cause, Definition, DefinitionError, Engine, Failure, LocalOutcome, LocalStep, NewSaga, Outcome, Persistence,
    Policy, Refusal, Saga, Status, Step, StepContext, TraceContext, Waited,
    testkit::{MemoryJournal, TokioClock},
};

struct Flow;

impl Saga for Flow {
    const NAME: &'static str = "flow";
    const VERSION: u32 = 1;
    type State = ();
    type Local = &'static str;

    fn on_unwinding(_state: &(), _failure: &Failure) -> Option<&'static str> {
        Some("unwinding")
    }

    fn on_unwound(_state: &(), _failure: &Failure) -> Option<&'static str> {
        Some("unwound")
    }

    fn on_parked(_state: &(), _cause: &Cause) -> Option<&'static str> {
        Some("parked")
    }
}

struct Mark;

impl LocalStep<Flow> for Mark {
    const NAME: &'static str = "mark";

    fn change(&self, _state: &(), _context: &StepContext) -> &'static str {
        "mark"
    }

    fn undo(&self, _state: &(), _context: &StepContext) -> Option<&'static str> {
        Some("unmark")
    }
}

/// A step whose key would be none.
struct Misnamed;

impl LocalStep<Flow> for Misnamed {
    const NAME: &'static str = "a/b";

    fn change(&self, _state: &(), _context: &StepContext) -> &'static str {
        "never"
    }
}

struct Pivot;

impl LocalStep<Flow> for Pivot {
    const NAME: &'static str = "pivot";

    fn change(&self, _state: &(), _context: &StepContext) -> &'static str {
        "pivot"
    }
}

struct End;

impl LocalStep<Flow> for End {
    const NAME: &'static str = "end";

    fn change(&self, _state: &(), _context: &StepContext) -> &'static str {
        "end"
    }
}

struct Work;

#[async_trait]
impl Step<Flow> for Work {
    const NAME: &'static str = "work";
    type Output = ();

    async fn act(&self, _state: &(), _context: &StepContext) -> Outcome<()> {
        Outcome::Done(())
    }

    fn record(_state: &mut (), _output: ()) {}
}

/// Runs a saga whose host refuses what `refuses` says, and returns what the host applied.
async fn run(
    definition: Definition<Flow>,
    refuses: impl Fn(&str, usize) -> bool + Send + Sync + 'static,
) -> (Status, Vec<&'static str>, u64) {
    let applied = Arc::new(Mutex::new(Vec::new()));
    let (log, asked) = (Arc::clone(&applied), Mutex::new(0_usize));
    let journal = MemoryJournal::new(move |local: &&'static str, _now: Timestamp| {
        let mut asked = asked.lock();
        *asked += 1;
        if refuses(local, *asked) {
            return LocalOutcome::Refused(Refusal::new("shipped", "it is too late"));
        }
        log.lock().push(*local);
        LocalOutcome::Applied
    });
    let engine =
        Engine::builder(Arc::new(journal.clone())).clock(Arc::new(TokioClock::default())).register(definition).start();
    while !engine.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let id = SagaId::new(SeededIds::new(3).next_id());
    let new = NewSaga::<Flow> { id, state: (), subject: String::new(), trace: TraceContext::none() };
    let handle = engine.start(new).await.unwrap();
    let Waited::Settled(snapshot) = handle.settled(Duration::from_hours(24)).await else { panic!("does not settle") };
    let applied = applied.lock().clone();
    (snapshot.status, applied, journal.commits())
}

fn cancellation() -> Definition<Flow> {
    Definition::builder().local_pivot(Pivot).retriable(Work, Policy::default()).local(End).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_local_pivot_and_a_local_end_cost_one_commit_each() {
    let ran = run(cancellation(), |_, _| false).await;
    assert_eq!(ran, (Status::Completed, vec!["pivot", "end"], 3));
}

#[tokio::test(start_paused = true)]
async fn a_refused_local_pivot_unwinds_without_closing() {
    let ran = run(cancellation(), |local, _| local == "pivot").await;
    assert_eq!(ran, (Status::Unwound, vec!["unwinding", "unwound"], 3));
}

#[tokio::test(start_paused = true)]
async fn a_local_step_before_the_pivot_is_undone_by_its_own_change() {
    let definition = Definition::builder().local(Mark).local_pivot(Pivot).local(End).build().unwrap();
    let ran = run(definition.clone(), |_, _| false).await;
    assert_eq!(ran, (Status::Completed, vec!["mark", "pivot", "end"], 4));
    let ran = run(definition, |local, _| local == "pivot").await;
    assert_eq!(ran, (Status::Unwound, vec!["mark", "unwinding", "unmark", "unwound"], 5));
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_after_the_pivot_is_tried_again() {
    let ran = run(cancellation(), |local, asked| local == "end" && asked < 5).await;
    assert_eq!((ran.0, ran.1), (Status::Completed, vec!["pivot", "end"]));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_for_ever_parks_the_saga() {
    let mut definition = cancellation();
    let impatient = Persistence { attempts_before_parking: 3, ..Persistence::default() };
    Arc::make_mut(&mut definition.shape).steps[2].policy.persistence = impatient;
    let ran = run(definition, |local, _| local == "end").await;
    assert_eq!((ran.0, ran.1), (Status::Parked, vec!["pivot", "parked"]));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_host_refuses_parks_the_saga() {
    let ran = run(cancellation(), |local, _| local == "pivot" || local == "unwound").await;
    assert_eq!((ran.0, ran.1), (Status::Parked, vec!["unwinding"]));
}

#[tokio::test(start_paused = true)]
async fn going_forward_only_is_journaled_after_other_steps() {
    let at_once = Definition::builder().forward_only().retriable(Work, Policy::default()).local(End).build().unwrap();
    assert_eq!(run(at_once, |_, _| false).await, (Status::Completed, vec!["end"], 2));
    let later = Definition::builder().local(Mark).forward_only().retriable(Work, Policy::default()).local(End);
    assert_eq!(run(later.build().unwrap(), |_, _| false).await, (Status::Completed, vec!["mark", "end"], 4));
}

#[test]
fn mistakes_in_a_definition_are_found_when_it_is_built() {
    let empty = Definition::<Flow>::builder().build().err();
    assert_eq!(empty, Some(DefinitionError::Empty { saga: "flow" }));
    let twice = Definition::builder().local(Mark).local(Mark).build().err();
    assert_eq!(twice, Some(DefinitionError::DuplicateStep { saga: "flow", step: "mark" }));
    let misnamed = Definition::builder().local(Misnamed).build().err();
    assert_eq!(misnamed, Some(DefinitionError::StepName { saga: "flow", step: "a/b" }));
}
