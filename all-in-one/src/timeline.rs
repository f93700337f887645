//! A saga's timeline as a table: what was done, how often it was tried, how it ended, and how long it took.

use serde_json::Value;

use crate::table::{Align, draw};

const COLUMNS: [(&str, Align); 6] = [
    ("at", Align::Right),
    ("step", Align::Left),
    ("", Align::Left),
    ("attempts", Align::Right),
    ("outcome", Align::Left),
    ("took", Align::Right),
];

/// Draws the answer of `GET /v1/orders/{id}/saga`.
pub fn render(saga: &Value) -> String {
    let begun = saga["started_at"].as_str().and_then(micros_of_day);
    let steps = saga["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = steps.iter().map(|step| row(step, begun)).collect();
    let head = format!(
        "   saga {} · {} v{} · {}\n",
        text(saga, "id"),
        text(saga, "definition"),
        saga["version"],
        text(saga, "status")
    );
    head + &draw("   ", &COLUMNS, &rows)
}

fn row(step: &Value, saga_begun: Option<i64>) -> Vec<String> {
    let (begun, ended) =
        (step["started_at"].as_str().and_then(micros_of_day), step["finished_at"].as_str().and_then(micros_of_day));
    let what = match text(step, "phase") {
        "compensation" => "↩ undo",
        "close" => "⊘ close",
        _ => "→ do",
    };
    let outcome = match (text(step, "outcome"), text(step, "code")) {
        (good @ ("done" | "undone" | "closed"), _) => format!("✓ {good}"),
        ("refused", code) => format!("✗ refused: {code}"),
        ("unknown", code) => format!("? unknown: {code}"),
        ("not_sent", code) => format!("– not sent: {code}"),
        (other, _) => other.to_owned(),
    };
    vec![
        distance(saga_begun, begun).map_or_else(String::new, |at| format!("+{at}")),
        text(step, "name").to_owned(),
        what.to_owned(),
        step["attempts"].to_string(),
        outcome,
        distance(begun, ended).unwrap_or_default(),
    ]
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

/// Microseconds since midnight of an RFC 3339 time; enough to tell steps of one saga apart.
fn micros_of_day(time: &str) -> Option<i64> {
    let clock = time.split_once('T')?.1.trim_end_matches('Z');
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut seconds = 0;
    for part in whole.split(':') {
        seconds = seconds * 60 + part.parse::<i64>().ok()?;
    }
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(seconds * 1_000_000 + micros)
}

fn distance(from: Option<i64>, to: Option<i64>) -> Option<String> {
    // A saga that crosses midnight still goes forwards.
    let micros = (to? - from?).rem_euclid(86_400_000_000);
    let (whole, tenth) = (micros / 1000, micros % 1000 / 100);
    Some(if whole >= 1000 {
        format!("{}.{:01} s", whole / 1000, whole % 1000 / 100)
    } else {
        format!("{whole}.{tenth} ms")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_declined_order_reads_top_down() {
        let saga = json!({"id": "s", "definition": "place-order", "version": 1, "status": "unwound", "started_at": "2026-11-20T23:59:59.999Z",
            "steps": [
                {"name": "charge_payment", "phase": "action", "attempts": 2, "outcome": "refused", "code": "payment_declined",
                 "started_at": "2026-11-20T23:59:59.999500Z", "finished_at": "2026-11-21T00:00:00.001Z"},
                {"name": "reserve_stock", "phase": "compensation", "attempts": 1, "outcome": "undone",
                 "started_at": "2026-11-21T00:00:00.002Z", "finished_at": "2026-11-21T00:00:01.302Z"}]});
        let drawn = render(&saga);
        assert!(drawn.contains("saga s · place-order v1 · unwound"), "{drawn}");
        assert!(
            drawn.contains("+0.5 ms │ charge_payment │ → do   │        2 │ ✗ refused: payment_declined │ 1.5 ms"),
            "{drawn}"
        );
        assert!(
            drawn.contains("+3.0 ms │ reserve_stock  │ ↩ undo │        1 │ ✓ undone                    │  1.3 s"),
            "{drawn}"
        );
    }
}
