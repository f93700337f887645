//! What one stage of the curve came to. Pure: samples in, figures out.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::Curve;

/// What became of one order, as its caller saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 201.
    Confirmed,
    /// 202: the caller's time was up first.
    Accepted,
    /// 503 `overloaded` with `Retry-After`.
    Refused,
    /// Another answer, by status and code; or none, by its cause.
    Other(String),
}

/// One order: its outcome, and how long after the moment at which it should have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What became of it.
    pub outcome: Outcome,
    /// From the intended start to the answer.
    pub took: Duration,
}

/// Figures of one offered load.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Of the best throughput.
    pub multiple: f64,
    /// Orders a second that should have been sent.
    pub offered: f64,
    /// Orders in all.
    pub orders: usize,
    /// Orders a second confirmed within the caller's patience.
    pub goodput: f64,
    /// Median of the confirmed.
    pub accepted_p50: Duration,
    /// 99th percentile of the confirmed, late ones included.
    pub accepted_p99: Duration,
    /// Confirmed after the caller's patience, or only accepted in it.
    pub late: usize,
    /// 503 `overloaded` with `Retry-After`.
    pub refused: usize,
    /// Median of the refusals.
    pub refused_p50: Duration,
    /// 99th percentile of the refusals.
    pub refused_p99: Duration,
    /// Everything else. There should be nothing here.
    pub others: BTreeMap<String, usize>,
}

impl Stage {
    /// Of the samples of `seconds` during which `offered` orders a second arrived.
    pub fn of(multiple: f64, offered: f64, seconds: u64, patience: Duration, samples: &[Sample]) -> Self {
        let mut others = BTreeMap::new();
        let (mut accepted, mut refused, mut late) = (Vec::new(), Vec::new(), 0);
        for Sample { outcome, took } in samples {
            match outcome {
                Outcome::Confirmed => {
                    accepted.push(*took);
                    late += usize::from(*took > patience);
                }
                Outcome::Accepted => late += 1,
                Outcome::Refused => refused.push(*took),
                Outcome::Other(what) => *others.entry(what.clone()).or_default() += 1,
            }
        }
        let in_time = accepted.iter().filter(|took| **took <= patience).count();
        accepted.sort_unstable();
        refused.sort_unstable();
        Self {
            multiple,
            offered,
            orders: samples.len(),
            goodput: per_second(in_time, seconds),
            accepted_p50: percentile(&accepted, 50),
            accepted_p99: percentile(&accepted, 99),
            late,
            refused: refused.len(),
            refused_p50: percentile(&refused, 50),
            refused_p99: percentile(&refused, 99),
            others,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate to be shown")]
fn per_second(count: usize, seconds: u64) -> f64 {
    count as f64 / seconds.max(1) as f64
}

/// By nearest rank; zero of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The curve as a table in Markdown.
pub fn table(curve: &Curve) -> String {
    let mut table = String::from(
        "| Offered | Orders/s | Confirmed in time/s | Of the best | p50 | p99 | Late | 503 | 503 p50 | 503 p99 | Anything else |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for stage in &curve.stages {
        let percent = 100.0 * stage.goodput / curve.best;
        let others: Vec<String> = stage.others.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        let others = if others.is_empty() { "–".to_owned() } else { others.join(", ") };
        let Stage { multiple, offered, goodput, late, refused, .. } = stage;
        let _ = writeln!(
            table,
            "| {multiple} × | {offered:.0} | {goodput:.0} | {percent:.0} % | {} | {} | {late} | {refused} | {} | {} | {others} |",
            ms(stage.accepted_p50),
            ms(stage.accepted_p99),
            if *refused == 0 { "–".to_owned() } else { ms(stage.refused_p50) },
            if *refused == 0 { "–".to_owned() } else { ms(stage.refused_p99) },
        );
    }
    table
}

fn ms(time: Duration) -> String {
    let tenths = time.as_micros() / 100;
    if tenths >= 100 { format!("{} ms", tenths / 10) } else { format!("{}.{} ms", tenths / 10, tenths % 10) }
}

/// What a curve must show.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Confirmed in time, in percent of the best, where more is offered than can be served.
    pub goodput_percent_min: f64,
    /// 99th percentile of the refusals.
    pub refusal_p99_max: Duration,
}

impl Judged {
    /// What issue and page promise.
    pub const PROMISED: Self = Self { goodput_percent_min: 80.0, refusal_p99_max: Duration::from_millis(50) };
}

/// Everything that keeps a curve from being good, in words. Other answers always do; times only where `judged` says so.
pub fn verdict(curve: &Curve, judged: Option<Judged>) -> Vec<String> {
    let mut wrong = Vec::new();
    for stage in &curve.stages {
        let multiple = stage.multiple;
        for (what, count) in &stage.others {
            wrong.push(format!("{multiple} ×: {count} orders were answered by {what}"));
        }
        let Some(judged) = judged else { continue };
        let percent = 100.0 * stage.goodput / curve.best;
        if multiple > 1.0 && percent < judged.goodput_percent_min {
            wrong.push(format!(
                "{multiple} ×: {percent:.0} % of the best confirmed in time, not {:.0} %",
                judged.goodput_percent_min
            ));
        }
        if stage.refused > 0 && stage.refused_p99 > judged.refusal_p99_max {
            let (p99, max) = (stage.refused_p99.as_millis(), judged.refusal_p99_max.as_millis());
            wrong.push(format!("{multiple} ×: refusals take {p99} ms, not {max} ms"));
        }
    }
    wrong
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn sample(outcome: Outcome, ms: u64) -> Sample {
        Sample { outcome, took: Duration::from_millis(ms) }
    }

    pub(in crate::curve) fn curve() -> Curve {
        let mut samples: Vec<Sample> = (1..=180).map(|ms| sample(Outcome::Confirmed, ms)).collect();
        samples.extend((1..=100).map(|ms| sample(Outcome::Refused, ms % 10)));
        samples.push(sample(Outcome::Confirmed, 5_001));
        samples.push(sample(Outcome::Accepted, 4_999));
        Curve { best: 100.0, stages: vec![Stage::of(4.0, 400.0, 2, PATIENCE, &samples)] }
    }

    #[test]
    fn late_confirmations_are_no_goodput() {
        let stage = &curve().stages[0];
        assert!((stage.goodput - 90.0).abs() < 1e-9, "{stage:?}");
        assert_eq!((stage.late, stage.refused, stage.orders), (2, 100, 282));
        assert_eq!((stage.accepted_p50, stage.refused_p99), (Duration::from_millis(91), Duration::from_millis(9)));
    }

    #[test]
    fn the_table_names_every_other_answer() {
        let mut curve = curve();
        curve.stages[0].others.insert("504 gateway_timeout".to_owned(), 3);
        let table = table(&curve);
        assert!(table.contains("| 4 × | 400 | 90 | 90 % | 91 ms | 180 ms | 2 | 100 |"), "{table}");
        assert!(table.contains("3 × 504 gateway_timeout"), "{table}");
    }

    #[test]
    fn other_answers_always_fail_and_times_where_judged() {
        let mut curve = curve();
        assert_eq!(verdict(&curve, Some(Judged::PROMISED)), Vec::<String>::new());
        curve.stages[0].goodput = 79.0;
        curve.stages[0].refused_p99 = Duration::from_millis(51);
        assert_eq!(verdict(&curve, None), Vec::<String>::new());
        assert_eq!(verdict(&curve, Some(Judged::PROMISED)).len(), 2);
        curve.stages[0].others.insert("connection broke".to_owned(), 1);
        assert_eq!(verdict(&curve, None), ["4 ×: 1 orders were answered by connection broke"]);
    }
}
