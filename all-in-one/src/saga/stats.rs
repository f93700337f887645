//! `amends saga stats`

use amends_primitives::{Clock, SystemClock};
use anyhow::Context;
use order_service::saga::Journal;
use saga_engine::journal::{Journal as _, StatsRow};
use serde_json::{Value, json};

use super::{Told, spoken};
use crate::table::{Align, draw};

const COLUMNS: [(&str, Align); 4] =
    [("kind", Align::Left), ("state", Align::Left), ("sagas", Align::Right), ("oldest", Align::Right)];

pub(super) async fn run(journal: &Journal, json: bool) -> anyhow::Result<Told> {
    let stats = journal.stats(SystemClock.now()).await.context("the order store could not be read")?;
    if json {
        let count = |row: &StatsRow| -> Value {
            json!({"kind": row.definition.name, "version": row.definition.version, "state": row.status.as_str(), "sagas": row.count,
                "oldest_seconds": row.oldest.as_secs()})
        };
        let counts: Vec<Value> = stats.counts.iter().map(count).collect();
        let oldest = stats.oldest_active().map(|age| age.as_secs());
        let answer = json!({"unfinished": counts, "replicas": stats.replicas, "oldest_active_seconds": oldest});
        return Ok(Told::good(format!("{answer:#}\n")));
    }
    let cells = |row: &StatsRow| {
        vec![
            format!("{} v{}", row.definition.name, row.definition.version),
            row.status.to_string(),
            row.count.to_string(),
            spoken(row.oldest),
        ]
    };
    let rows: Vec<Vec<String>> = stats.counts.iter().map(cells).collect();
    let table = if rows.is_empty() { "every saga has finished\n".to_owned() } else { draw("", &COLUMNS, &rows) };
    let oldest = stats.oldest_active().map_or_else(String::new, |age| format!(", the oldest for {}", spoken(age)));
    Ok(Told::good(format!("{table}{} replicas{oldest}\n", stats.replicas)))
}
