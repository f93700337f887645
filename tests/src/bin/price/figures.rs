//! The figures of an order: what the meters count and what the programs count themselves, under the names of `price.toml`.

use std::collections::{BTreeMap, BTreeSet};

use amends_tests::kit::meter::Reading;
use anyhow::{Context, Result};

/// By name, since the start of the programs.
pub(crate) type Counts = BTreeMap<String, u64>;

/// By name, of one order.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The figures of each journey.
pub(crate) type Measured = BTreeMap<&'static str, Figures>;

/// What the programs count themselves: the series at `/metrics`, the label that tells them apart, and the figure's name.
const SERIES: [(&str, &str, &str); 5] = [
    ("sql_statements_total", "store", "statements"),
    ("sql_commits_total", "store", "commits"),
    ("db_client_operation_duration_seconds_count", "db_operation_name", "payment_store"),
    ("rpc_server_call_duration_seconds_count", "rpc_method", "grpc"),
    ("http_server_request_duration_seconds_count", "service", "http"),
];

/// Adds what a program says of itself.
pub(crate) fn of_page(page: &str, counts: &mut Counts) -> Result<()> {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, rest) = line.split_once('{').unwrap_or((line, ""));
        // What SQL stores are asked for is counted by their statements.
        if rest.contains("db_collection_name=\"\"") {
            continue;
        }
        let Some((_, label, figure)) = SERIES.iter().find(|(name, ..)| *name == series) else { continue };
        // A label's value holds no quotation mark here; an exemplar may follow the figure.
        let (labels, value) = rest.split_once("} ").with_context(|| format!("not a series: {line}"))?;
        let named = labels.split(',').find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"'));
        let named = named.with_context(|| format!("no label {label}: {line}"))?;
        // Of a gRPC method the name alone: services do not share any.
        let named = named.rsplit('/').next().unwrap_or(named);
        let value = value.split(' ').next().unwrap_or_default();
        let value: u64 = value.parse().with_context(|| format!("not a count: {line}"))?;
        *counts.entry(format!("{figure}_{named}")).or_default() += value;
    }
    Ok(())
}

/// Adds what a program's meter has counted, files by their store: `order.db-wal` and `order.db` are of `order`. Where there are several
/// programs, the rest is by `program`.
pub(crate) fn of_reading(reading: &Reading, program: &str, counts: &mut Counts) {
    let named = |name: &str| if program.is_empty() { name.to_owned() } else { format!("{name}_{program}") };
    let mut add = |name: String, count: u64| *counts.entry(name).or_default() += count;
    // In how many writes the log's lines go out is of no interest beside how many there are.
    for (name, count) in reading.counts.iter().filter(|(name, _)| **name != "log_writes") {
        add(named(name), *count);
    }
    for (name, file) in &reading.files {
        match name.split_once(".db") {
            Some((store, _)) => {
                add(format!("fsyncs_{store}"), file.syncs);
                add(format!("frames_{store}"), file.frames);
                add(named("writes"), file.writes);
                add(named("written_bytes"), file.bytes);
            }
            // Files that SQLite spills into, above all: each of them is opened, written and thrown away.
            None => add(named("writes_elsewhere"), file.writes),
        }
    }
}

/// What was added for each of so many orders, to a hundredth.
pub(crate) fn since(now: &Counts, before: &Counts, orders: usize) -> Figures {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run, far below 2⁵²")]
    let each = |count: u64| (count as f64 * 100.0 / orders as f64).round() / 100.0;
    now.iter().map(|(name, count)| (name.clone(), each(count - before.get(name).unwrap_or(&0)))).collect()
}

/// The median of each figure.
pub(crate) fn median_of(samples: &[Figures]) -> Figures {
    let names: BTreeSet<&String> = samples.iter().flat_map(BTreeMap::keys).collect();
    let median = |name: &String| {
        let mut values: Vec<f64> = samples.iter().map(|figures| figures.get(name).copied().unwrap_or(0.0)).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    names.into_iter().map(|name| (name.clone(), median(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_their_label() {
        let page = "# TYPE sql_commits counter\nsql_commits_total{store=\"order\"} 7\n\
            rpc_server_call_duration_seconds_count{service=\"a\",rpc_method=\"p.v1.S/Get\",rpc_status_code=\"OK\"} 2\n\
            rpc_server_call_duration_seconds_count{service=\"a\",rpc_method=\"p.v1.S/Get\",rpc_status_code=\"ABORTED\"} 1 # {trace_id=\"x\"} 1\n\
            db_client_operation_duration_seconds_count{db_collection_name=\"\",db_operation_name=\"SELECT\",error_type=\"\"} 9\n\
            sagas 3\n# EOF\n";
        let mut counts = Counts::new();
        of_page(page, &mut counts).unwrap();
        assert_eq!(counts, Counts::from([("commits_order".to_owned(), 7), ("grpc_Get".to_owned(), 3)]));
    }

    #[test]
    fn what_happens_by_the_clock_is_in_no_median() {
        let of = |commits: f64| Figures::from([("commits".to_owned(), commits)]);
        assert_eq!(median_of(&[of(3.0), of(4.0), of(3.0), of(9.0), of(3.0)]), of(3.0));
    }

    #[test]
    fn a_run_is_divided_by_its_orders() {
        let of = |commits: u64| Counts::from([("commits".to_owned(), commits)]);
        assert_eq!(since(&of(110), &of(10), 32), Figures::from([("commits".to_owned(), 3.13)]));
    }
}
