//! `amends saga show`

use std::fmt::Write as _;

use amends_primitives::SagaId;
use anyhow::Context;
use order_service::{http::orders::saga::TimelineView, saga::Journal};
use saga_engine::{
    event::{Event, Record},
    journal::{Journal as _, SagaRow},
    timeline::Timeline,
};
use serde_json::json;

use super::{Told, list};
use crate::timeline;

pub(super) async fn run(journal: &Journal, id: SagaId, json: bool) -> anyhow::Result<Told> {
    let stored = journal.load(id).await.context("the order store could not be read")?;
    let Some(stored) = stored else { return Ok(Told::bad(format!("there is no saga {id}\n"))) };
    let timeline = Timeline::new(stored);
    let (row, records) = (timeline.row.clone(), timeline.records.clone());
    let view = serde_json::to_value(TimelineView::from(timeline))?;
    if json {
        let answer = json!({"saga": list::to_json(&row), "steps": view["steps"], "events": records});
        return Ok(Told::good(format!("{answer:#}\n")));
    }
    Ok(Told::good(timeline::render(&view) + &details(&row) + &operators(&records)))
}

fn details(row: &SagaRow) -> String {
    let mut out = format!("   order {}\n", row.subject);
    let mut say = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "   {what} {value}");
        }
    };
    say("trace", row.trace.trace_id().map(str::to_owned));
    say("failed:", row.failure.as_ref().map(|failure| format!("{} ({})", failure.code, failure.message)));
    say("parked:", row.parked.as_ref().map(|cause| format!("{} ({})", cause.code, cause.message)));
    say("goes on at", row.wake_at.map(|at| at.to_string()));
    say("owner", row.owner.as_ref().map(ToString::to_string));
    say("waiting for a replica:", row.request.as_ref().map(|request| format!("{:?}", request.wish)));
    out
}

/// Who asked for what, and why: what an incident's report is written from.
fn operators(records: &[Record]) -> String {
    let mut out = String::new();
    for Record { at, event } in records {
        let (what, by) = match event {
            Event::CancelRequested { by } => ("cancel", by),
            Event::Retried { by } => ("retry", by),
            Event::Resolved { by, .. } => ("resolve", by),
            Event::RequestRefused { by, .. } => ("refused", by),
            _ => continue,
        };
        let _ = writeln!(out, "   {at} {what} by {}: {}", by.who, by.why);
    }
    out
}
