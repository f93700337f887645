//! What is drawn of the orders that there are, against files that show it.

use std::{fs, path::PathBuf, time::Duration};

use amends_primitives::{OrderId, SagaId};
use saga_engine::{
    Cause, Failure, FailureKind, Refusal, TraceContext,
    event::{Event, Record},
    journal::{DefinitionId, SagaRow},
};

use super::*;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_764_421_200_000_000 + micros)
}

fn order() -> OrderId {
    "0198a6f0-2f5e-7c3a-9d11-0c6b6f0f9a52".parse().unwrap()
}

/// A saga that began at a time and went as it is told: microseconds from there, and what happened.
fn saga(name: &str, begun: i64, status: Status, failure: Option<Failure>, told: &[(i64, Event)]) -> Stored {
    let id: SagaId = "0198a6f0-2f60-7aaa-8bbb-0c6b6f0f9a53".parse().unwrap();
    let records: Vec<Record> =
        told.iter().map(|(micros, event)| Record { at: at(begun + micros), event: event.clone() }).collect();
    let last = records.last().map_or_else(|| at(begun), |record| record.at);
    let row = SagaRow {
        id,
        definition: DefinitionId { name: name.to_owned(), version: 1 },
        subject: order().to_string(),
        input: "{}".to_owned(),
        trace: TraceContext::parse(TRACE),
        status,
        step: None,
        failure,
        parked: None,
        seq: records.len() as u64,
        fence: 1,
        owner: None,
        wake_at: None,
        request: None,
        created_at: at(begun),
        updated_at: last,
        finished_at: matches!(status, Status::Completed | Status::Unwound).then_some(last),
    };
    Stored { row, records }
}

fn started(step: &str, attempt: u32) -> Event {
    Event::StepStarted { step: step.to_owned(), attempt }
}

fn done(step: &str, attempt: u32) -> Event {
    Event::StepDone { step: step.to_owned(), attempt, output: serde_json::Value::Null }
}

fn refused(step: &str, code: &str) -> Event {
    Event::StepRefused { step: step.to_owned(), attempt: 1, refusal: Refusal::new(code, "no"), retry_at: None }
}

fn unknown(step: &str, attempt: u32, not_sent: bool) -> Event {
    let cause = Cause::environment("timeout", "no answer within 2000 ms");
    Event::StepUnknown { step: step.to_owned(), attempt, cause, retry_at: at(0), not_sent }
}

fn undoing(step: &str, attempt: u32) -> Event {
    Event::CompensationStarted { step: step.to_owned(), attempt }
}

fn undone(step: &str, attempt: u32) -> Event {
    Event::Compensated { step: step.to_owned(), attempt }
}

fn failure(step: &str, code: &str) -> Failure {
    let kind = FailureKind::Refused;
    Failure { step: Some(step.to_owned()), kind, code: code.to_owned(), message: "no".to_owned() }
}

fn confirmed() -> Stored {
    let told = [
        (400, started("reserve_stock", 1)),
        (6_500, done("reserve_stock", 1)),
        (6_600, started("charge_payment", 1)),
        (28_900, done("charge_payment", 1)),
        (29_000, started("commit_stock", 1)),
        (34_200, done("commit_stock", 1)),
        (34_300, started("confirm_order", 1)),
        (37_800, done("confirm_order", 1)),
        (37_800, Event::Completed),
    ];
    saga("place-order", 0, Status::Completed, None, &told)
}

/// Compares with a file that was looked at; `AMENDS_GEN=write` writes it instead.
fn golden(name: &str, sagas: &[Stored]) {
    let drawn = draw(order(), sagas, Look::default());
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/trace-{name}.txt"));
    if std::env::var_os("AMENDS_GEN").is_some_and(|mode| mode == "write") {
        fs::write(&file, &drawn).unwrap();
    }
    assert_eq!(drawn, fs::read_to_string(&file).unwrap_or_default(), "{}", file.display());
}

#[test]
fn a_confirmed_order_is_four_steps_on_one_time() {
    golden("confirmed", &[confirmed()]);
}

#[test]
fn a_declined_order_shows_attempts_and_what_was_undone() {
    let why = failure("charge_payment", "payment_declined");
    let told = [
        (400, started("reserve_stock", 1)),
        (6_500, done("reserve_stock", 1)),
        (6_600, started("charge_payment", 1)),
        (2_006_600, unknown("charge_payment", 1, false)),
        (2_110_000, started("charge_payment", 2)),
        (2_110_900, unknown("charge_payment", 2, true)),
        (2_310_000, started("charge_payment", 3)),
        (2_330_000, refused("charge_payment", "payment_declined")),
        (2_331_000, Event::Unwinding { failure: why.clone() }),
        (2_332_000, undoing("reserve_stock", 1)),
        (2_339_000, undone("reserve_stock", 1)),
        (2_341_000, Event::Unwound),
    ];
    golden("declined", &[saga("place-order", 0, Status::Unwound, Some(why), &told)]);
}

#[test]
fn an_order_refused_at_the_pivot_shows_the_refund() {
    let why = failure("commit_stock", "reservation_expired");
    let told = [
        (400, started("reserve_stock", 1)),
        (6_500, done("reserve_stock", 1)),
        (6_600, started("charge_payment", 1)),
        (28_900, done("charge_payment", 1)),
        (29_000, started("commit_stock", 1)),
        (34_200, refused("commit_stock", "reservation_expired")),
        (35_000, Event::Unwinding { failure: why.clone() }),
        (36_000, Event::CloseStarted { step: "commit_stock".to_owned(), attempt: 1 }),
        (39_000, Event::PivotClosed { step: "commit_stock".to_owned(), attempt: 1 }),
        (39_100, undoing("charge_payment", 1)),
        (61_000, undone("charge_payment", 1)),
        (61_100, undoing("reserve_stock", 1)),
        (66_000, undone("reserve_stock", 1)),
        (68_000, Event::Unwound),
    ];
    golden("refunded", &[saga("place-order", 0, Status::Unwound, Some(why), &told)]);
}

#[test]
fn a_cancelled_order_has_two_sagas_and_one_goes_on() {
    let told = [
        (300, started("mark_cancelling", 1)),
        (2_000, done("mark_cancelling", 1)),
        (2_100, started("refund_payment", 1)),
        (9_000_000, Event::Resumed { replica: "r-2".to_owned(), fence: 2 }),
        (9_000_500, started("refund_payment", 1)),
    ];
    golden("cancelling", &[confirmed(), saga("cancel-order", 60_000_000, Status::Running, None, &told)]);
}

#[test]
fn colours_are_for_terminals_alone() {
    let plain = draw(order(), &[confirmed()], Look::default());
    let coloured = draw(order(), &[confirmed()], Look { is_coloured: true });
    assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}[32m✓ done"), "{coloured}");
    let codes = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m"];
    assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain, "nothing else differs");
}

#[test]
fn times_have_a_unit_and_few_digits() {
    let spans = [0, 950, 12_340, 999_999, 1_500_000, 700_000_000].map(|micros| span(Duration::from_micros(micros)));
    assert_eq!(spans, ["0.0 ms", "0.9 ms", "12.3 ms", "999.9 ms", "1.5 s", "11m 40s"]);
}
