//! `amends saga list`

use amends_primitives::{Clock, SystemClock, Timestamp};
use anyhow::Context;
use order_service::saga::Journal;
use saga_engine::journal::{Filter, Journal as _, SagaRow};
use serde_json::{Value, json};

use super::{ListArgs, Told, spoken};
use crate::table::{Align, draw};

const COLUMNS: [(&str, Align); 7] = [
    ("saga", Align::Left),
    ("kind", Align::Left),
    ("order", Align::Left),
    ("state", Align::Left),
    ("step", Align::Left),
    ("age", Align::Right),
    ("why", Align::Left),
];

pub(super) async fn run(journal: &Journal, args: ListArgs, json: bool) -> anyhow::Result<Told> {
    let now = SystemClock.now();
    let filter = Filter {
        status: args.state,
        definition: args.kind,
        step: args.step,
        subject: args.order,
        trace_id: args.trace,
        created_before: args.older_than.map(|age| now - age),
        cursor: args.cursor,
        limit: args.limit,
    };
    let page = journal.list(&filter).await.context("the order store could not be read")?;
    if json {
        let rows: Vec<Value> = page.rows.iter().map(to_json).collect();
        let answer = json!({"sagas": rows, "next_cursor": page.next.map(|next| next.to_string())});
        return Ok(Told::good(format!("{answer:#}\n")));
    }
    let rows: Vec<Vec<String>> = page.rows.iter().map(|row| cells(row, now)).collect();
    let more = page.next.map_or_else(String::new, |next| format!("go on with --cursor {next}\n"));
    Ok(Told::good(if rows.is_empty() { "no such saga\n".to_owned() } else { draw("", &COLUMNS, &rows) + &more }))
}

fn cells(row: &SagaRow, now: Timestamp) -> Vec<String> {
    vec![
        row.id.to_string(),
        format!("{} v{}", row.definition.name, row.definition.version),
        row.subject.clone(),
        row.status.to_string(),
        row.step.clone().unwrap_or_default(),
        spoken(now.since(row.created_at)),
        why(row).unwrap_or_default(),
    ]
}

/// What is most worth knowing: why it is parked, else why it failed.
fn why(row: &SagaRow) -> Option<String> {
    let parked = row.parked.as_ref().map(|cause| cause.code.clone());
    parked.or_else(|| row.failure.as_ref().map(|failure| failure.code.clone()))
}

pub(crate) fn to_json(row: &SagaRow) -> Value {
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": row.id.to_string(), "kind": row.definition.name, "version": row.definition.version, "order_id": row.subject,
        "state": row.status.as_str(), "step": row.step,
        "failure": row.failure.as_ref().map(|failure| json!({"code": failure.code, "message": failure.message})),
        "parked": row.parked.as_ref().map(|cause| json!({"code": cause.code, "message": cause.message})),
        "trace_id": row.trace.trace_id(), "owner": row.owner.as_ref().map(ToString::to_string), "fence": row.fence,
        "request": row.request, "wake_at": at(row.wake_at), "created_at": row.created_at.to_string(),
        "updated_at": row.updated_at.to_string(), "finished_at": at(row.finished_at),
    })
}
