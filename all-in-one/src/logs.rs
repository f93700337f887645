//! `amends logs`: the latest lines about an order, from the memory of the processes that wrote them, through their admin listeners.
//!
//! Must not know: where else lines go.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use reqwest::Url;
use serde_json::{Map, Value};
use service_base::config::{Sources, load_from};
use service_kit::admin;

/// A process answers from its memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Members that a person does not need in a line: what is before the fields, and what says the same twice.
const NOT_SHOWN: [&str; 14] = [
    "time",
    "name",
    "level",
    "log.level",
    "msg",
    "target",
    "line",
    "file",
    "v",
    "pid",
    "hostname",
    "trace_id",
    "span_id",
    "service.peer.name",
];

/// Which lines, and of which processes.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The order's id; or that of a saga, a request or a trace
    id: String,
    /// The admin listener of a process, such as <http://127.0.0.1:9090>; may be repeated. Without it: `admin.listen`
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
}

/// Asks the processes, and gives their lines in order of time: as JSON, or for people.
///
/// # Errors
/// When a process cannot be asked, or keeps no lines.
pub async fn run(args: LogsArgs, sources: &Sources, json: bool) -> anyhow::Result<String> {
    let LogsArgs { id, mut urls } = args;
    if urls.is_empty() {
        let admin: admin::Config = load_from("admin", sources)?;
        urls.push(format!("http://{}", admin.listen));
    }
    let client = service_base::client::internal().timeout(PATIENCE).build().context("no HTTP client")?;
    let mut lines: Vec<Map<String, Value>> = Vec::new();
    for url in urls {
        let asked = format!("{}/logs", url.trim_end_matches('/'));
        let mut with_id = Url::parse(&asked).with_context(|| format!("{asked} is no URL"))?;
        with_id.query_pairs_mut().append_pair("about", &id);
        let answer = client.get(with_id).send().await;
        let answer = answer
            .with_context(|| format!("{asked} does not answer: is the process up, and is this its admin.listen?"))?;
        let status = answer.status();
        ensure!(status != 404, "{url} keeps no lines: telemetry.recent_kib is 0 there");
        ensure!(status.is_success(), "{url} answers {status}: {}", answer.text().await.unwrap_or_default());
        let text = answer.text().await.with_context(|| format!("{asked} stopped in the middle of its answer"))?;
        for line in text.lines() {
            lines.push(serde_json::from_str(line).with_context(|| format!("{asked} says no JSON: {line}"))?);
        }
    }
    // Times are written in one length and zone, so that their order is that of their texts.
    lines.sort_by_cached_key(|line| text(line, "time").to_owned());
    if json {
        let mut out = String::new();
        for line in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", Value::Object(line));
        }
        return Ok(out);
    }
    Ok(if lines.is_empty() { format!("no line is kept about {id}\n") } else { render(&lines) })
}

fn text<'a>(line: &'a Map<String, Value>, member: &str) -> &'a str {
    line.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn render(lines: &[Map<String, Value>]) -> String {
    let mut out = String::new();
    for line in lines {
        let time = text(line, "time").get(11..23).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(out, "{time} {:5} {:17} {}", text(line, "log.level"), text(line, "name"), text(line, "msg"));
        for (name, value) in line.iter().filter(|(name, _)| !NOT_SHOWN.contains(&name.as_str())) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(out, "  {name}={value}");
        }
        out.push('\n');
    }
    if let Some(trace) = lines.iter().map(|line| text(line, "trace_id")).find(|trace| !trace.is_empty()) {
        let _ = writeln!(out, "trace {trace}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_with_its_own_fields_only() {
        let line = r#"{"time":"2026-11-29T12:00:01.123456Z","name":"amends","level":30,"log.level":"INFO","target":"story",
            "line":1,"file":"x","msg":"step done","trace_id":"t-1","span_id":"s","order_id":"o-1","retry.attempt":2}"#;
        let line: Map<String, Value> = serde_json::from_str(line).unwrap();
        let shown = "12:00:01.123 INFO  amends            step done  order_id=o-1  retry.attempt=2\ntrace t-1\n";
        assert_eq!(render(&[line]), shown);
    }
}
