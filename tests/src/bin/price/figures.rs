//! The figures of a process: what the meter counts and what the process counts itself, under the names of `price.toml`.

use std::collections::BTreeMap;

use amends_tests::kit::meter::Reading;
use anyhow::{Context, Result};

/// By name; what grew between two moments, or since the start.
pub(crate) type Figures = BTreeMap<String, u64>;

/// The figures of each journey.
pub(crate) type Measured = BTreeMap<&'static str, Figures>;

/// What the program counts itself: its series at `/metrics`, the label that tells them apart, and the figure's name.
const SERIES: [(&str, &str, &str); 4] = [
    ("sql_statements_total", "store", "statements"),
    ("sql_commits_total", "store", "commits"),
    ("rpc_server_call_duration_seconds_count", "rpc_method", "grpc"),
    ("http_server_request_duration_seconds_count", "service", "http"),
];

/// Reads what the program says of itself.
pub(crate) fn of_page(page: &str) -> Result<Figures> {
    let mut figures = Figures::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, rest) = line.split_once('{').unwrap_or((line, ""));
        let Some((_, label, figure)) = SERIES.iter().find(|(name, ..)| *name == series) else { continue };
        // A label's value holds no quotation mark here; an exemplar may follow the figure.
        let (labels, value) = rest.split_once("} ").with_context(|| format!("not a series: {line}"))?;
        let named = labels.split(',').find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"'));
        let named = named.with_context(|| format!("no label {label}: {line}"))?;
        // Of a gRPC method the name alone: services do not share any.
        let named = named.rsplit('/').next().unwrap_or(named);
        let value = value.split(' ').next().unwrap_or_default();
        let value: u64 = value.parse().with_context(|| format!("not a count: {line}"))?;
        *figures.entry(format!("{figure}_{named}")).or_default() += value;
    }
    Ok(figures)
}

/// What the meter has counted, files by their store: `order.db-wal` and `order.db` are of `order`.
pub(crate) fn of_reading(reading: &Reading) -> Figures {
    let counts = reading.counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
    let mut figures: Figures = counts.collect();
    // How the sink of the log writes is of no interest beside how much.
    figures.remove("log_writes");
    let mut add = |name: String, count: u64| *figures.entry(name).or_default() += count;
    for (name, file) in &reading.files {
        let store = name.split('.').next().unwrap_or(name);
        if name.contains(".db") {
            add(format!("fsyncs_{store}"), file.syncs);
            add(format!("frames_{store}"), file.frames);
            add("writes".to_owned(), file.writes);
            add("written_bytes".to_owned(), file.bytes);
        } else {
            // Files that SQLite spills into, above all; each of them is opened, written and thrown away.
            add("writes_elsewhere".to_owned(), file.writes);
        }
    }
    figures
}

/// What was added.
pub(crate) fn since(now: &Figures, before: &Figures) -> Figures {
    now.iter().map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_their_label() {
        let page = "# TYPE sql_commits counter\nsql_commits_total{store=\"order\"} 7\n\
            rpc_server_call_duration_seconds_count{service=\"a\",rpc_method=\"p.v1.S/Get\",rpc_response_status_code=\"OK\"} 2\n\
            rpc_server_call_duration_seconds_count{service=\"a\",rpc_method=\"p.v1.S/Get\",rpc_response_status_code=\"ABORTED\"} 1 # {trace_id=\"x\"} 1\n\
            sagas 3\n# EOF\n";
        let expected = [("commits_order".to_owned(), 7), ("grpc_Get".to_owned(), 3)];
        assert_eq!(of_page(page).unwrap(), Figures::from(expected));
    }
}
