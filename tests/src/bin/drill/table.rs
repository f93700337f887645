//! The table, in Markdown.

use std::{fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context, Result};

use crate::{customers::First, meters::Meters};

const BEGIN: &str = "<!-- cargo xtask drill: begin -->";
const END: &str = "<!-- cargo xtask drill: end -->";

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) answers: Vec<First>,
    pub(crate) meters: Meters,
    pub(crate) charged_twice: usize,
    pub(crate) findings: usize,
}

pub(crate) fn render(rows: &[Row]) -> String {
    let mut out = String::from(
        "| The payment service | Orders | 201 | 202 | 503 | p50 | p99 | 503 at once, p50 | Attempts without an answer | Breaker opened / closed | Charged twice | Audit |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let orders = row.answers.len();
        let share = |status: u16| {
            let count = row.answers.iter().filter(|first| first.status.as_u16() == status).count();
            percent(count, orders)
        };
        let all: Vec<Duration> = row.answers.iter().map(|first| first.after).collect();
        let at_once: Vec<Duration> =
            row.answers.iter().filter(|first| first.at_once).map(|first| first.after).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {orders} | {} | {} | {} | {} | {} | {} | {:.0} | {:.0} / {:.0} | {} | {} |",
            row.name,
            share(201),
            share(202),
            share(503),
            milliseconds(&all, 50),
            milliseconds(&all, 99),
            milliseconds(&at_once, 50),
            row.meters.repeats,
            row.meters.opened,
            row.meters.closed,
            row.charged_twice,
            if row.findings == 0 { "clean".to_owned() } else { row.findings.to_string() },
        );
    }
    out
}

/// Puts the table between its marks in a page.
pub(crate) fn write(file: &Path, table: &str) -> Result<()> {
    let page = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{} has no mark {BEGIN}", file.display()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{} has no mark {END}", file.display()))?;
    let page = format!("{before}{BEGIN}\n{table}{END}{after}");
    service_base::files::write_whole(file, page.as_bytes(), service_base::files::Access::Shared)
}

fn percent(count: usize, of: usize) -> String {
    match (count * 1000).checked_div(of) {
        None | Some(0) if count == 0 => "–".to_owned(),
        Some(thousandths) => format!("{}.{} %", thousandths / 10, thousandths % 10),
        None => "–".to_owned(),
    }
}

/// The smallest value that this percentage does not exceed.
fn milliseconds(durations: &[Duration], percentile: usize) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percentile).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or_else(
        || "–".to_owned(),
        |duration| {
            let milliseconds = duration.as_secs_f64() * 1000.0;
            if milliseconds < 10.0 { format!("{milliseconds:.1} ms") } else { format!("{milliseconds:.0} ms") }
        },
    )
}
