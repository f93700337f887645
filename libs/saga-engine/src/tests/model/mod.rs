//! Model checking: every way in which replicas, participants and the network can play together, for one saga.
//!
//! The machine (`plan`, `transition`) and the barrier's rules (`participant::decide`) are the real ones; journal, ownership and network
//! are modelled, see `world`. The mistakes that must be found are made here, around the real functions.
//!
//! Bounds: two replicas, three steps, two attempts of each action and each undo, one cancellation (which stands for the deadline, too),
//! one more try of a parked saga. There is no bound on crashes, takeovers, losses, delays and repeats, except where a property needs
//! one. `AMENDS_MODEL=full` explores larger worlds too: three replicas, four steps two of which are parallel, no pivot.
//!
//! Not modelled: steps that are local changes (they commit with the journal), operators who resolve a step by hand (they may lie),
//! participants that refuse without remembering it (the barrier's contract forbids that).

mod machine;
mod participant;
mod properties;
mod world;

use std::{collections::BTreeSet, time::Instant};

use stateright::{Checker, HasDiscoveries, Model, Path};

use self::{
    machine::Machine,
    properties::MONEY_LAW,
    world::{Left, Saga},
};
use crate::{
    CauseKind,
    shape::Role::{self, Compensable, Pivot, Retriable},
};

/// A mistake that a developer might make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// Participants do what arrives, whenever it arrives.
    NoBarrier,
    /// The journal takes entries from any replica.
    NoFencing,
    /// Compensations begin before the decision to unwind is journaled.
    NoUnwindRecord,
    /// A step whose outcome is not known is not compensated.
    OnlyCompletedCompensated,
    /// Unwinding does not close the pivot.
    PivotLeftOpen,
    /// An attempt that was not sent makes those before it forgotten, which were.
    NotSentClearsDoubt,
    /// A replica that takes over believes that what the journal calls not sent was not sent later either.
    ResumedWithoutDoubt,
}

type Stages = &'static [&'static [Role]];

const WITH_A_RETRIABLE: Stages = &[&[Compensable], &[Pivot], &[Retriable]];
const TWO_TO_COMPENSATE: Stages = &[&[Compensable], &[Compensable], &[Pivot]];
const NO_PIVOT: Stages = &[&[Compensable], &[Compensable], &[Compensable]];
const FOUR_STEPS: Stages = &[&[Compensable, Compensable], &[Pivot], &[Retriable]];

/// Any number of crashes and takeovers, at any time; one cancellation, and one more try of a parked saga.
const ANY_WEATHER: Left = Left { disruptions: None, cancels: 1, retries: 1 };
/// The same without people.
const ANY_WEATHER_ALONE: Left = Left { disruptions: None, cancels: 0, retries: 0 };
/// So that no path comes back to where it was: then Stateright can tell whether it leads to an end.
const TWO_DISRUPTIONS: Left = Left { disruptions: Some(2), cancels: 1, retries: 0 };
/// Enough to find a mistake.
const ONE_DISRUPTION: Left = Left { disruptions: Some(1), cancels: 0, retries: 0 };

/// Calls without an answer use up the budget before parking here, so that it is used up.
fn saga(stages: Stages, replicas: usize, left: Left, bug: Bug) -> Saga {
    Saga { machine: Machine::new(machine::shape(stages), bug, CauseKind::Permanent), bug, replicas, left }
}

/// Explores everything, and says how much that was.
fn prove(what: &str, saga: Saga) {
    let (begun, machine, replicas) = (Instant::now(), saga.machine.len(), saga.replicas);
    let checker = saga.checker().threads(2).spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), begun.elapsed());
    println!("model: {what}, {replicas} replicas: {states} unique states ({machine} of the machine) in {took:.1?}");
    assert!(checker.is_done(), "{what}: not everything was explored");
    checker.assert_properties();
}

#[expect(clippy::disallowed_methods, reason = "what is too long for every day is asked for by the environment")]
fn asked_for_all() -> bool {
    std::env::var("AMENDS_MODEL").as_deref() == Ok("full")
}

#[test]
fn in_any_weather_the_money_law_holds() {
    prove("compensable, pivot, retriable", saga(WITH_A_RETRIABLE, 2, ANY_WEATHER, Bug::None));
}

#[test]
fn in_any_weather_two_compensations_obey_it_too() {
    prove("compensable, compensable, pivot", saga(TWO_TO_COMPENSATE, 2, ANY_WEATHER_ALONE, Bug::None));
}

/// However often and for however long calls have no answer, because of the environment.
#[test]
fn what_the_environment_does_parks_no_saga() {
    let machine = Machine::new(machine::shape(TWO_TO_COMPENSATE), Bug::None, CauseKind::Environment);
    let saga = Saga { machine, bug: Bug::None, replicas: 2, left: ANY_WEATHER_ALONE };
    prove("compensable, compensable, pivot, never parked", saga);
}

#[test]
fn whatever_two_disruptions_do_the_saga_ends_or_is_parked() {
    prove("compensable, pivot, retriable, two disruptions", saga(WITH_A_RETRIABLE, 2, TWO_DISRUPTIONS, Bug::None));
}

#[test]
fn larger_worlds() {
    if !asked_for_all() {
        eprintln!("SKIPPED larger worlds: AMENDS_MODEL=full explores them");
        return;
    }
    prove("compensable, compensable, pivot", saga(TWO_TO_COMPENSATE, 2, ANY_WEATHER, Bug::None));
    prove("the same, two disruptions", saga(TWO_TO_COMPENSATE, 2, TWO_DISRUPTIONS, Bug::None));
    prove("three compensable, no pivot", saga(NO_PIVOT, 2, ANY_WEATHER, Bug::None));
    prove("two in parallel, pivot, retriable", saga(FOUR_STEPS, 2, ANY_WEATHER_ALONE, Bug::None));
    prove("compensable, pivot, retriable", saga(WITH_A_RETRIABLE, 3, ANY_WEATHER_ALONE, Bug::None));
}

/// The mistake breaks the money law in a world where the law holds without the mistake. Tells the shortest way there.
fn find(bug: Bug, stages: Stages) {
    prove(&format!("without {bug:?}"), saga(stages, 2, ONE_DISRUPTION, Bug::None));
    let found = HasDiscoveries::AnyOf(BTreeSet::from([MONEY_LAW]));
    let checker = saga(stages, 2, ONE_DISRUPTION, bug).checker().finish_when(found).spawn_bfs().join();
    let way = checker.discovery(MONEY_LAW).map(Path::into_actions);
    let states = checker.unique_state_count();
    let way = way.unwrap_or_else(|| panic!("{bug:?} was not found in {states} states"));
    println!("model: {bug:?} is found after {states} states, {} moves away: {way:?}", way.len());
}

#[test]
fn participants_without_a_barrier_are_found() {
    find(Bug::NoBarrier, WITH_A_RETRIABLE);
}

#[test]
fn a_journal_without_fencing_is_found() {
    find(Bug::NoFencing, TWO_TO_COMPENSATE);
}

#[test]
fn unwinding_without_a_record_is_found() {
    find(Bug::NoUnwindRecord, TWO_TO_COMPENSATE);
}

#[test]
fn compensating_only_what_completed_is_found() {
    find(Bug::OnlyCompletedCompensated, WITH_A_RETRIABLE);
}

#[test]
fn unwinding_with_an_open_pivot_is_found() {
    find(Bug::PivotLeftOpen, WITH_A_RETRIABLE);
}

#[test]
fn forgetting_an_attempt_over_one_that_was_not_sent_is_found() {
    find(Bug::NotSentClearsDoubt, WITH_A_RETRIABLE);
}

#[test]
fn believing_the_journal_that_nothing_was_sent_is_found() {
    find(Bug::ResumedWithoutDoubt, WITH_A_RETRIABLE);
}
