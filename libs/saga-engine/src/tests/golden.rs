//! What is persisted is a contract: each event has a file under `tests/golden`, written once and read for ever.

use std::path::PathBuf;

use amends_primitives::Timestamp;
use serde_json::json;

use crate::{
    Cause, Failure, FailureKind, Refusal,
    event::{Event, Record},
    journal::{Operator, OperatorRequest, Resolution, Wish},
};

fn every_event() -> Vec<Event> {
    let at = Timestamp::from_micros(1_700_000_000_250_000);
    let step = || "charge_card".to_owned();
    let cause = || Cause::environment("timeout", "no answer within 500 ms");
    let by = || Operator { who: "ann".into(), why: "the bank confirmed it by phone".into() };
    vec![
        Event::Resumed { replica: "0198c0de-0000-7000-8000-000000000001".into(), fence: 2 },
        Event::StepStarted { step: step(), attempt: 1 },
        Event::StepDone { step: step(), attempt: 1, output: json!({"payment_id": "p-1"}) },
        Event::StepRefused {
            step: step(),
            attempt: 1,
            refusal: Refusal::new("declined", "the card was declined"),
            retry_at: None,
        },
        Event::StepUnknown { step: step(), attempt: 1, cause: cause(), retry_at: at, not_sent: false },
        Event::Unwinding {
            failure: Failure {
                step: Some(step()),
                kind: FailureKind::Exhausted,
                code: "timeout".into(),
                message: "no answer within 500 ms".into(),
            },
        },
        Event::CloseStarted { step: "issue_ticket".into(), attempt: 1 },
        Event::PivotClosed { step: "issue_ticket".into(), attempt: 1 },
        Event::PivotWasDone { step: "issue_ticket".into(), attempt: 1, output: json!("ticket-1") },
        Event::CloseNotYet { step: "issue_ticket".into(), attempt: 1, cause: cause(), retry_at: at },
        Event::CompensationStarted { step: step(), attempt: 1 },
        Event::Compensated { step: step(), attempt: 1 },
        Event::CompensationNotYet {
            step: step(),
            attempt: 1,
            cause: cause().retry_after(std::time::Duration::from_millis(1500)),
            retry_at: at,
        },
        Event::CancelRequested { by: by() },
        Event::Parked { step: Some(step()), cause: cause() },
        Event::Retried { by: by() },
        Event::Resolved {
            by: by(),
            step: step(),
            resolution: Resolution::Done { output: json!({"payment_id": "p-1"}) },
        },
        Event::RequestRefused { by: by(), reason: "cancel: the saga is past its pivot".into() },
        Event::Completed,
        Event::Unwound,
    ]
}

fn golden(name: &str, current: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    // A file is written only once, for a new name. To change a shape, add a variant with a new version.
    if !path.exists() && std::env::var_os("AMENDS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, current).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // As values: in which order keys are written depends on what else is built along.
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&stored), value(current), "{name}: what is persisted has changed");
}

#[test]
fn events_are_written_and_read_as_ever() {
    let mut names = Vec::new();
    for event in every_event() {
        let record = Record { at: Timestamp::from_micros(1_700_000_000_000_001), event };
        let value = serde_json::to_value(&record).unwrap();
        let name = value["event"].as_str().unwrap().to_owned();
        let (plain, _version) = name.split_once(".v").unwrap();
        assert_eq!(plain, record.event.name());
        let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
        golden(&name, &text);
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{name}");
        names.push(name);
    }
    names.sort();
    let twice = names.len();
    names.dedup();
    assert_eq!(names.len(), twice);
}

/// A field that came later: what was written before has none, and reads as "may have been sent".
#[test]
fn an_attempt_that_was_not_sent_is_written_as_ever() {
    let at = Timestamp::from_micros(1_700_000_000_250_000);
    let cause = Cause::environment("circuit_open", "the circuit breaker is open");
    let event = Event::StepUnknown { step: "charge_card".into(), attempt: 1, cause, retry_at: at, not_sent: true };
    let record = Record { at: Timestamp::from_micros(1_700_000_000_000_001), event };
    let text = serde_json::to_string_pretty(&serde_json::to_value(&record).unwrap()).unwrap() + "\n";
    golden("step_unknown.v1.not_sent", &text);
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

/// A field that came later: what was written before has none, and reads as the environment's.
#[test]
fn a_cause_that_stays_what_it_is_is_written_as_ever() {
    let at = Timestamp::from_micros(1_700_000_000_250_000);
    let cause = Cause::permanent("unimplemented", "no such method");
    let event = Event::CompensationNotYet { step: "charge_card".into(), attempt: 1, cause, retry_at: at };
    let record = Record { at: Timestamp::from_micros(1_700_000_000_000_001), event };
    let text = serde_json::to_string_pretty(&serde_json::to_value(&record).unwrap()).unwrap() + "\n";
    golden("compensation_not_yet.v1.permanent", &text);
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn requests_are_written_and_read_as_ever() {
    let wishes = [
        ("request_cancel", Wish::Cancel),
        ("request_retry", Wish::Retry),
        ("request_resolve", Wish::Resolve { step: "charge_card".into(), resolution: Resolution::Undone }),
    ];
    for (name, wish) in wishes {
        let operator = Operator { who: "ann".into(), why: "refunded by hand".into() };
        let request = OperatorRequest { operator, wish, at: Timestamp::from_micros(1_700_000_000_000_001) };
        let text = serde_json::to_string_pretty(&serde_json::to_value(&request).unwrap()).unwrap() + "\n";
        golden(name, &text);
        assert_eq!(serde_json::from_str::<OperatorRequest>(&text).unwrap(), request, "{name}");
    }
}
