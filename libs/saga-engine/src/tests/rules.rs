//! The pure machine, event by event: which can happen to a saga in which state, and what is decided at each limit. What participants
//! and replicas make of it is in `machine`.

use std::time::Duration;

use amends_primitives::{SagaId, Timestamp};
use serde_json::Value;

use crate::{
    Cause, CauseKind, Closed, Failure, FailureKind, Outcome, Refusal, Snapshot, Status, Undo,
    event::{Event, Record},
    journal::{Operator, OperatorRequest, Resolution, Wish},
    plan::{self, Conclusion, Effect, EffectKind, Next},
    shape::{Outline, Role, Shape},
    state::{Phase, State, StepState},
    transition::apply,
};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// A step that can be compensated, the pivot, and one after it.
fn shape() -> Shape {
    let steps = [("a", Role::Compensable), ("p", Role::Pivot), ("z", Role::Retriable)];
    let mut shape = Shape::outlined("rules", 1, &steps.map(|(name, role)| Outline::new(name, role)));
    shape.deadline = Some(SECOND * 30);
    shape
}

fn operator() -> Operator {
    Operator { who: "ann".into(), why: "because".into() }
}

fn cause() -> Cause {
    Cause::permanent("broken", "it is")
}

fn away() -> Cause {
    Cause::environment("gone", "away")
}

fn failure() -> Failure {
    Failure { step: None, kind: FailureKind::Cancelled, code: "cancelled".into(), message: String::new() }
}

/// What happens to a step, in the words of the tables below.
const OF_STEPS: [&str; 12] = [
    "start",
    "done",
    "refused",
    "again",
    "lost",
    "close",
    "closed",
    "was-done",
    "close-later",
    "undo",
    "undone",
    "undo-later",
];
const OF_ATTEMPTS: [&str; 6] = ["a1", "a2", "p1", "p2", "z1", "z2"];
const OF_SAGAS: [&str; 14] = [
    "resume",
    "cancel",
    "note",
    "retry",
    "unwind",
    "park",
    "complete",
    "unwound",
    "as-done a",
    "as-done p",
    "as-done z",
    "as-undone a",
    "as-undone p",
    "as-undone z",
];

/// `start a1`: the first attempt of step a begins. A wait ends a second later.
fn event(words: &str, now: Timestamp) -> Event {
    let (verb, about) = words.split_once(' ').unwrap_or((words, ""));
    let (step, attempt) =
        (about.chars().take(1).collect::<String>(), about.get(1..).and_then(|n| n.parse().ok()).unwrap_or(0));
    let (output, by, retry_at) = (Value::Null, operator(), now + SECOND);
    match verb {
        "start" => Event::StepStarted { step, attempt },
        "done" => Event::StepDone { step, attempt, output },
        "refused" => Event::StepRefused { step, attempt, refusal: Refusal::new("no", "never"), retry_at: None },
        "again" => Event::StepRefused { step, attempt, refusal: Refusal::new("no", "never"), retry_at: Some(retry_at) },
        "lost" => Event::StepUnknown { step, attempt, cause: cause(), retry_at, not_sent: false },
        "away" => Event::StepUnknown { step, attempt, cause: away(), retry_at, not_sent: false },
        "unsent" => Event::StepUnknown { step, attempt, cause: cause(), retry_at, not_sent: true },
        "close" => Event::CloseStarted { step, attempt },
        "closed" => Event::PivotClosed { step, attempt },
        "was-done" => Event::PivotWasDone { step, attempt, output },
        "close-later" => Event::CloseNotYet { step, attempt, cause: cause(), retry_at },
        "close-away" => Event::CloseNotYet { step, attempt, cause: away(), retry_at },
        "undo" => Event::CompensationStarted { step, attempt },
        "undone" => Event::Compensated { step, attempt },
        "undo-later" => Event::CompensationNotYet { step, attempt, cause: cause(), retry_at },
        "undo-away" => Event::CompensationNotYet { step, attempt, cause: away(), retry_at },
        "resume" => Event::Resumed { replica: "next".into(), fence: 2 },
        "cancel" => Event::CancelRequested { by },
        "note" => Event::RequestRefused { by, reason: "no".into() },
        "retry" => Event::Retried { by },
        "unwind" => Event::Unwinding { failure: failure() },
        "park" => Event::Parked { step: None, cause: cause() },
        "complete" => Event::Completed,
        "unwound" => Event::Unwound,
        "as-done" => Event::Resolved { by, step, resolution: Resolution::Done { output } },
        "as-undone" => Event::Resolved { by, step, resolution: Resolution::Undone },
        other => panic!("{other}"),
    }
}

/// How far sagas of the tables have come.
const PAID: &str = "start a1, done a1, start p1, done p1";
const IN_DOUBT: &str = "start a1, done a1, start p1, lost p1, unwind";
const CLOSED: &str = "start a1, done a1, start p1, lost p1, unwind, close p1, closed p1";

/// The state after events that are separated by commas, each a second after the one before.
fn after(shape: &Shape, script: &str) -> (State, Timestamp) {
    let (mut state, mut now) = (State::started(shape, START), START);
    let script = script.replace("PAID", PAID).replace("IN_DOUBT", IN_DOUBT).replace("CLOSED", CLOSED);
    for words in script.split(", ").filter(|words| !words.is_empty()) {
        apply(shape, &mut state, &Record { at: now, event: event(words, now) }).unwrap();
        now = now + SECOND;
    }
    (state, now)
}

/// All that can happen next.
fn legal(script: &str) -> String {
    let shape = shape();
    let (state, now) = after(&shape, script);
    let of_steps = OF_STEPS.iter().flat_map(|verb| OF_ATTEMPTS.map(|about| format!("{verb} {about}")));
    let all = of_steps.chain(OF_SAGAS.map(str::to_owned));
    let can = |words: &String| {
        let mut tried = state.clone();
        let outcome = apply(&shape, &mut tried, &Record { at: now, event: event(words, now) });
        assert!(outcome.is_ok() || tried == state, "{words} was refused, but changed the saga");
        outcome.is_ok()
    };
    all.filter(can).collect::<Vec<_>>().join(", ")
}

#[test]
fn each_state_has_its_events_and_no_other() {
    let table = [
        ("", "start a1, start p1, start z1, resume, cancel, note, retry, unwind, park"),
        ("resume", "start a1, start p1, start z1, resume, cancel, note, retry, unwind, park"),
        ("start a1", "start p1, start z1, done a1, refused a1, again a1, lost a1, resume, cancel, note, retry"),
        ("start a1, lost a1", "start a2, start p1, start z1, resume, cancel, note, retry, unwind, park"),
        ("start a1, lost a1, resume", "start a2, start p1, start z1, resume, cancel, note, retry, unwind, park"),
        ("start a1, refused a1", "start p1, start z1, resume, cancel, note, retry, unwind, park"),
        ("start a1, unsent a1, unwind", "resume, cancel, note, retry, park, unwound"),
        ("start a1, done a1", "start p1, start z1, resume, cancel, note, retry, unwind, park"),
        (
            "start a1, done a1, start p1",
            "start z1, done p1, refused p1, again p1, lost p1, resume, cancel, note, retry",
        ),
        ("PAID", "start z1, resume, cancel, note, retry, park"),
        ("PAID, start z1", "done z1, refused z1, again z1, lost z1, resume, cancel, note, retry"),
        ("PAID, start z1, again z1", "start z2, resume, cancel, note, retry, park"),
        ("PAID, start z1, again z1, park", "resume, note, retry, as-done z"),
        ("PAID, start z1, done z1", "resume, cancel, note, retry, park, complete"),
        ("PAID, start z1, done z1, complete", "note"),
        ("IN_DOUBT", "close p1, resume, cancel, note, retry, park"),
        ("IN_DOUBT, close p1", "closed p1, was-done p1, close-later p1, resume, cancel, note, retry"),
        ("IN_DOUBT, close p1, close-later p1", "close p2, resume, cancel, note, retry, park"),
        ("IN_DOUBT, close p1, close-later p1, park", "resume, note, retry, as-done p, as-undone p"),
        ("CLOSED", "undo a1, resume, cancel, note, retry, park"),
        ("CLOSED, undo a1", "undone a1, undo-later a1, resume, cancel, note, retry"),
        ("CLOSED, undo a1, undo-later a1", "undo a2, resume, cancel, note, retry, park"),
        ("CLOSED, undo a1, undo-later a1, park", "resume, note, retry, as-undone a"),
        ("CLOSED, undo a1, undone a1", "resume, cancel, note, retry, park, unwound"),
        ("CLOSED, undo a1, undone a1, unwound", "note"),
    ];
    for (script, expected) in table {
        assert_eq!(legal(script), expected, "after {script:?}");
    }
}

#[test]
fn an_illegal_event_names_the_saga_and_the_step() {
    let shape = shape();
    let refusal = |script: &str, words: &str| {
        let (mut state, now) = after(&shape, script);
        apply(&shape, &mut state, &Record { at: now, event: event(words, now) }).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("start a1", "done a2"),
        "the event step_done cannot happen to a saga that is running with step a acting"
    );
    assert_eq!(refusal("", "done x1"), "the event step_done cannot happen to a saga that is running with no step x");
    assert_eq!(refusal("CLOSED", "complete"), "the event completed cannot happen to a saga that is unwinding");
}

/// Attempts made, how many of them were in vain, when the next is due, and whether one may have had an effect.
fn retrying(state: &State, name: &str) -> Option<(u32, u32, Duration, Option<bool>)> {
    match state.step(shape().index_of(name).unwrap()) {
        StepState::Retrying { attempts, permanent, at, in_doubt, .. } => {
            Some((*attempts, *permanent, at.since(START), Some(*in_doubt)))
        }
        StepState::UndoRetrying { attempts, permanent, at, .. } => Some((*attempts, *permanent, at.since(START), None)),
        _ => None,
    }
}

#[test]
fn an_attempt_is_counted_and_its_doubt_is_kept() {
    let of = |script: &str, name| retrying(&after(&shape(), script).0, name);
    let secs = Duration::from_secs;
    assert_eq!(of("start a1, lost a1", "a"), Some((1, 1, secs(2), Some(true))));
    assert_eq!(of("start a1, unsent a1", "a"), Some((1, 1, secs(2), Some(false))));
    assert_eq!(
        of("start a1, lost a1, start a2, unsent a2", "a"),
        Some((2, 2, secs(4), Some(true))),
        "the first still may"
    );
    assert_eq!(of("start a1, unsent a1, start a2, lost a2", "a"), Some((2, 2, secs(4), Some(true))));
    assert_eq!(of("PAID, start z1, again z1, start z2, again z2", "z"), Some((2, 2, secs(8), Some(false))));
    assert_eq!(of("CLOSED, undo a1, undo-later a1, undo a2, undo-later a2", "a"), Some((2, 2, secs(11), None)));
    assert_eq!(of("IN_DOUBT, close p1, close-later p1", "p"), Some((1, 1, secs(7), None)));
    // An operator's wish renews what may still be tried, at once.
    assert_eq!(of("start a1, lost a1, park, retry", "a"), Some((0, 0, secs(3), Some(true))));
    assert_eq!(of("CLOSED, undo a1, undo-later a1, park, retry", "a"), Some((0, 0, secs(10), None)));
}

#[test]
fn another_replica_doubts_what_it_cannot_know() {
    let of = |script: &str, name| retrying(&after(&shape(), script).0, name);
    let secs = Duration::from_secs;
    assert_eq!(of("start a1, resume", "a"), Some((1, 0, secs(1), Some(true))), "the attempt that it finds under way");
    assert_eq!(of("start a1, unsent a1, resume", "a"), Some((1, 1, secs(2), Some(true))));
    assert_eq!(of("CLOSED, undo a1, resume", "a"), Some((1, 0, secs(8), None)));
    let (state, _) = after(&shape(), "resume");
    assert!(state.steps.iter().all(|step| *step == StepState::InDoubt));
    let (state, _) = after(&shape(), "IN_DOUBT, resume");
    assert_eq!(state.steps[2], StepState::Untouched, "what had been tried before unwinding is in the journal");
}

#[test]
fn a_clock_that_is_behind_makes_no_wait_longer() {
    let shape = shape();
    for (script, step) in [("start a1, lost a1", "a"), ("IN_DOUBT, close p1, close-later p1", "p")] {
        let (mut state, _) = after(&shape, script);
        let behind = START - Duration::from_hours(1);
        apply(&shape, &mut state, &Record { at: behind, event: event("resume", behind) }).unwrap();
        let at = match state.step(shape.index_of(step).unwrap()) {
            StepState::Retrying { at, .. } | StepState::UndoRetrying { at, .. } => *at,
            other => panic!("{other:?}"),
        };
        assert_eq!((at, state.started_at), (behind + SECOND, behind));
    }
}

#[test]
fn a_sagas_times_move_with_a_clock_that_was_set() {
    let hour = Duration::from_hours(1);
    for (script, step) in [("start a1, lost a1", "a"), ("IN_DOUBT, close p1, close-later p1", "p")] {
        let (mut state, _) = after(&shape(), script);
        let (attempts, permanent, due, in_doubt) = retrying(&state, step).unwrap();
        state.clock_was_set(|time| time + hour);
        assert_eq!(retrying(&state, step), Some((attempts, permanent, due + hour, in_doubt)), "after {script:?}");
        assert_eq!(state.started_at, START + hour);
    }
}

#[test]
fn a_pivot_that_was_done_turns_the_saga_around() {
    let (state, _) = after(&shape(), "start a1, lost a1, start p1, lost p1, unwind, close p1, was-done p1");
    assert_eq!((&state.phase, &state.steps[1]), (&Phase::Running, &StepState::Done));
    let asked_again = Some((0, 0, Duration::from_secs(6), Some(true)));
    assert_eq!(retrying(&state, "a"), asked_again, "for its output");
    let (state, _) = after(&shape(), "start a1, refused a1, start p1, lost p1, unwind, close p1, was-done p1");
    assert_eq!(retrying(&state, "a"), asked_again, "it was done, whatever it said last");
}

fn decided(shape: &Shape, script: &str, later: Duration) -> String {
    let (state, now) = after(shape, script);
    let name = |effect: &Effect| {
        let verb = match effect.kind {
            EffectKind::Act => "act",
            EffectKind::Compensate => "compensate",
            EffectKind::Close => "close",
        };
        format!("{verb} {}{}", shape.step(effect.step).name, effect.attempt)
    };
    match plan::next(shape, &state, now + later) {
        Next::Perform(effects) => effects.iter().map(name).collect::<Vec<_>>().join(", "),
        Next::Change(effect) => format!("change: {}", name(&effect)),
        Next::Decide(Event::Unwinding { failure }) => format!("unwind: {:?} {}", failure.kind, failure.code),
        Next::Decide(Event::Parked { step, .. }) => format!("park: {}", step.unwrap_or_default()),
        Next::Decide(other) => other.name().to_owned(),
        Next::Wait(until) => format!("wait {:?}", until.map(|until| until.since(now).as_secs())),
        Next::Settled => "settled".to_owned(),
    }
}

#[test]
fn what_is_next_follows_from_the_state() {
    let now = Duration::ZERO;
    for (script, expected) in [
        ("", "act a1"),
        ("resume", "act a1"),
        ("start a1", "wait None"),
        ("start a1, lost a1", "act a2"),
        ("start a1, refused a1", "unwind: Refused no"),
        ("start a1, done a1", "act p1"),
        ("start a1, done a1, cancel", "unwind: Cancelled cancelled"),
        ("start a1, cancel", "wait None"),
        ("PAID", "act z1"),
        ("PAID, cancel", "act z1"),
        ("PAID, start z1, again z1", "act z2"),
        ("PAID, start z1, done z1", "completed"),
        ("PAID, start z1, done z1, complete", "settled"),
        ("IN_DOUBT", "close p1"),
        ("IN_DOUBT, close p1", "wait None"),
        ("IN_DOUBT, close p1, close-later p1", "close p2"),
        ("CLOSED", "compensate a1"),
        ("CLOSED, undo a1", "wait None"),
        ("CLOSED, undo a1, undo-later a1", "compensate a2"),
        ("CLOSED, undo a1, undone a1", "unwound"),
        ("CLOSED, undo a1, undone a1, unwound", "settled"),
        ("start a1, unsent a1, unwind", "unwound"),
        ("PAID, park", "settled"),
        ("PAID, start z1, again z1, park, retry", "act z1"),
        ("PAID, start z1, again z1, park, as-done z", "completed"),
        ("CLOSED, undo a1, undo-later a1, park, retry", "compensate a1"),
        ("CLOSED, undo a1, undo-later a1, park, as-undone a", "unwound"),
    ] {
        assert_eq!(decided(&shape(), script, now), expected, "after {script:?}");
    }
}

#[test]
fn a_retry_is_due_at_its_time_and_not_before() {
    let shape = shape();
    for (script, expected) in [
        ("start a1, lost a1", "act a2"),
        ("PAID, start z1, again z1", "act z2"),
        ("IN_DOUBT, close p1, close-later p1", "close p2"),
        ("CLOSED, undo a1, undo-later a1", "compensate a2"),
    ] {
        let (state, due) = after(&shape, script);
        assert_eq!(plan::next(&shape, &state, due - Duration::from_micros(1)), Next::Wait(Some(due)), "{script}");
        assert_eq!(decided(&shape, script, Duration::ZERO), expected);
    }
}

#[test]
fn a_step_has_as_many_attempts_as_its_policy_says() {
    let mut shape = shape();
    let script =
        |attempts: u32| (1..=attempts).map(|n| format!("start a{n}, lost a{n}")).collect::<Vec<_>>().join(", ");
    for attempts_max in [1, 2, 3] {
        shape.steps[0].policy.attempts_max = attempts_max;
        for attempts in 1..attempts_max {
            assert_eq!(decided(&shape, &script(attempts), Duration::ZERO), format!("act a{}", attempts + 1));
        }
        assert_eq!(decided(&shape, &script(attempts_max), Duration::ZERO), "unwind: Exhausted broken");
    }
    shape.steps[0].policy.attempts_max = 0;
    assert_eq!(decided(&shape, &script(1), Duration::ZERO), "unwind: Exhausted broken", "none is one");
}

#[test]
fn before_the_pivot_the_deadline_ends_a_saga_to_the_microsecond() {
    let (mut shape, micro) = (shape(), Duration::from_micros(1));
    let (deadline, just_before) = (SECOND * 30, Duration::from_micros(29_999_999));
    assert_eq!(decided(&shape, "", just_before), "act a1");
    assert_eq!(decided(&shape, "", deadline), "unwind: DeadlineExceeded deadline_exceeded");
    assert_eq!(decided(&shape, "PAID", deadline * 2), "act z1", "past it nothing but forward");
    // A wait until the deadline would only find it passed.
    for (secs, expected) in [(2, "unwind: Exhausted broken"), (3, "wait Some(0)")] {
        shape.deadline = Some(SECOND * secs);
        let (state, _) = after(&shape, "start a1, lost a1");
        let next = plan::next(&shape, &state, START + SECOND * 2 - micro);
        let is_wait = matches!(next, Next::Wait(Some(until)) if until == START + SECOND * 2);
        assert_eq!(is_wait, expected.starts_with("wait"), "{secs}: {next:?}");
    }
}

#[test]
fn an_attempt_takes_no_longer_than_what_is_left() {
    let shape = shape();
    let effect = |kind, position: usize| Effect { kind, step: shape.indices().nth(position).unwrap(), attempt: 1 };
    let left = |script: &str, effect, later| {
        let (state, _) = after(&shape, script);
        plan::timeout(&shape, &state, effect, START + later)
    };
    let (bound, short) = (Duration::from_millis(500), Duration::from_millis(100));
    // The deadline is after 30 seconds.
    let late = Duration::from_millis(29_900);
    assert_eq!(left("", effect(EffectKind::Act, 0), SECOND), bound);
    assert_eq!(left("", effect(EffectKind::Act, 0), late), short);
    assert_eq!(left("PAID", effect(EffectKind::Act, 2), late), bound, "past the pivot there is no deadline");
    assert_eq!(left("CLOSED", effect(EffectKind::Compensate, 0), late), bound, "nor on the way back");
}

#[test]
fn what_asking_again_does_not_change_is_parked() {
    let mut shape = shape();
    for step in &mut shape.steps {
        step.policy.persistence.attempts_before_parking = 2;
    }
    let now = Duration::ZERO;
    assert_eq!(decided(&shape, "PAID, start z1, again z1", now), "act z2");
    assert_eq!(decided(&shape, "PAID, start z1, again z1, start z2, again z2", now), "park: z");
    assert_eq!(decided(&shape, "CLOSED, undo a1, undo-later a1", now), "compensate a2");
    assert_eq!(decided(&shape, "CLOSED, undo a1, undo-later a1, undo a2, undo-later a2", now), "park: a");
    // What acting was answered does not count on the way back.
    assert_eq!(decided(&shape, "start a1, lost a1, start a2, lost a2, unwind", now), "compensate a1");
}

#[test]
fn what_the_environment_ends_never_parks_a_saga() {
    let mut shape = shape();
    for step in &mut shape.steps {
        step.policy.persistence.attempts_before_parking = 1;
    }
    for (script, expected) in [
        ("PAID, start z1, away z1", "act z2"),
        ("IN_DOUBT, close p1, close-away p1", "close p2"),
        ("CLOSED, undo a1, undo-away a1", "compensate a2"),
    ] {
        assert_eq!(decided(&shape, script, Duration::ZERO), expected, "after {script:?}");
    }
}

#[test]
fn an_operator_is_told_why_a_request_is_refused() {
    let shape = shape();
    let answer = |script: &str, wish: Wish| {
        let (state, now) = after(&shape, script);
        match plan::requested(&shape, &state, &OperatorRequest { operator: operator(), wish, at: now }) {
            Event::RequestRefused { reason, by } if by == operator() => reason,
            other => other.name().to_owned(),
        }
    };
    let resolve = |step: &str, resolution| Wish::Resolve { step: step.into(), resolution };
    let done = || Resolution::Done { output: Value::Null };
    let (parked, over) = ("CLOSED, undo a1, undo-later a1, park", "PAID, start z1, done z1, complete");
    assert_eq!(answer("start a1", Wish::Cancel), "cancel_requested");
    assert_eq!(answer("PAID", Wish::Cancel), "cancel: the saga is past its pivot");
    assert_eq!(answer(parked, Wish::Cancel), "cancel: the saga is parked");
    assert_eq!(answer(over, Wish::Cancel), "cancel: the saga is completed");
    assert_eq!(answer(parked, Wish::Retry), "retried");
    assert_eq!(answer("", Wish::Retry), "retried");
    assert_eq!(answer(over, Wish::Retry), "retry: the saga is completed");
    assert_eq!(answer(parked, resolve("a", Resolution::Undone)), "resolved");
    let why = "the event resolved cannot happen to a saga that is parked with";
    assert_eq!(answer(parked, resolve("a", done())), format!("resolve a as done: {why} step a undo_retrying"));
    assert_eq!(
        answer(parked, resolve("z", Resolution::Undone)),
        format!("resolve z as undone: {why} step z untouched")
    );
}

#[test]
fn a_saga_tells_where_it_is() {
    let shape = shape();
    let told = |script: &str| {
        let (state, _) = after(&shape, script);
        let step = state.current_step(&shape).map(|index| shape.step(index).name);
        (state.status().as_str(), step, state.failure().is_some(), state.parked().is_some())
    };
    assert_eq!(told("start a1"), ("running", Some("a"), false, false));
    assert_eq!(told("PAID"), ("running", Some("z"), false, false));
    assert_eq!(told("PAID, park"), ("parked", Some("z"), false, true));
    assert_eq!(told("IN_DOUBT"), ("unwinding", Some("p"), true, false));
    assert_eq!(told("CLOSED"), ("unwinding", Some("a"), true, false));
    assert_eq!(told("CLOSED, park"), ("parked", Some("a"), true, true));
    assert_eq!(told("CLOSED, undo a1, undone a1, unwound"), ("unwound", None, true, false));
    assert_eq!(told("PAID, start z1, done z1, complete"), ("completed", None, false, false));
    let (state, _) = after(&shape, "PAID");
    assert_eq!(state.seq, 4, "one for each event");
}

#[test]
fn only_decisions_are_written_before_a_saga_goes_on() {
    let decisions = ["unwind", "park", "complete", "unwound"];
    for words in OF_SAGAS.into_iter().chain(["start a1", "done a1", "lost a1", "close-later p1"]) {
        assert_eq!(plan::is_decision(&event(words, START)), decisions.contains(&words), "{words}");
    }
    let shape = shape();
    assert_eq!(shape.indices().map(|index| plan::is_pivot(&shape, index)).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn an_answer_is_told_by_its_code_and_its_sentence() {
    let refusal = Refusal::new("no", "never");
    let cause = Cause::environment("gone", "away").retry_after(SECOND);
    assert_eq!((refusal.to_string(), cause.to_string()), ("no: never".to_owned(), "gone: away".to_owned()));
    assert_eq!((cause.retry_after, cause.kind), (Some(SECOND), CauseKind::Environment));
    assert_eq!([false, true].map(|permanent| bool::from(CauseKind::from(permanent))), [false, true]);
    let stored = serde_json::json!({"code": "gone", "message": "away", "retry_after_ms": 1000});
    assert_eq!(serde_json::to_value(&cause).unwrap(), stored);
    assert_eq!(serde_json::from_value::<Cause>(stored).unwrap(), cause);
    assert_eq!(Outcome::<u8>::refused("no", "never"), Outcome::Refused(refusal));
    let environment = Cause::environment("gone", "away");
    assert_eq!(Outcome::<u8>::unknown("gone", "away"), Outcome::Unknown(environment.clone()));
    assert_eq!(Outcome::<u8>::not_sent("gone", "away").map(|n| n + 1), Outcome::NotSent(environment));
    assert_eq!(Outcome::Done(1).map(|n| n + 1), Outcome::Done(2));
}

#[test]
fn a_status_says_whether_to_wait_for_it() {
    let table = [
        (Status::Running, "running", true, false),
        (Status::Unwinding, "unwinding", true, false),
        (Status::Completed, "completed", false, true),
        (Status::Unwound, "unwound", false, true),
        (Status::Parked, "parked", false, false),
    ];
    for (status, word, is_active, is_finished) in table {
        assert_eq!((status.to_string().as_str(), word.parse()), (word, Ok(status)));
        assert_eq!((status.is_active(), status.is_finished()), (is_active, is_finished), "{word}");
        let id = "0198c0de-0000-7000-8000-000000000001".parse::<SagaId>().unwrap();
        let seen = Snapshot { id, status, failure: None, parked: None, seq: 1 };
        assert_eq!(seen.is_settled(), !is_active, "{word}");
    }
    assert!("lost".parse::<Status>().is_err());
}

#[test]
fn a_failed_attempt_is_asked_again_later() {
    let shape = shape();
    assert_eq!((shape.commit_stage, shape.stages.len()), (Some(2), 3));
    let refused = Outcome::refused("no", "never");
    for (script, kind, position, conclusion) in [
        ("start a1", EffectKind::Act, 0, Conclusion::Acted(Outcome::unknown("gone", "away"))),
        ("PAID, start z1", EffectKind::Act, 2, Conclusion::Acted(Outcome::unknown("gone", "away"))),
        ("PAID, start z1", EffectKind::Act, 2, Conclusion::Acted(refused)),
        ("IN_DOUBT, close p1", EffectKind::Close, 1, Conclusion::Closed(Closed::NotYet(cause()))),
        ("CLOSED, undo a1", EffectKind::Compensate, 0, Conclusion::Compensated(Undo::NotYet(cause()))),
    ] {
        let (state, now) = after(&shape, script);
        let effect = Effect { kind, step: shape.indices().nth(position).unwrap(), attempt: 1 };
        let at = match plan::concluded(&shape, &state, effect, conclusion, now, 1.0) {
            Event::StepUnknown { retry_at, .. }
            | Event::CompensationNotYet { retry_at, .. }
            | Event::CloseNotYet { retry_at, .. }
            | Event::StepRefused { retry_at: Some(retry_at), .. } => retry_at,
            other => panic!("{other:?}"),
        };
        assert!(at > now && at.since(now) <= SECOND, "{script}: after {:?}", at.since(now));
    }
}
