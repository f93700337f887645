//! What a run must show, and whether it did. Pure: figures in, verdict out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `budgets.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The run that is measured.
    pub full: Shape,
    /// The short one that only has to work.
    pub smoke: Shape,
    /// Per request name, the slowest 99th percentile that is accepted.
    pub p99_ms: BTreeMap<String, u64>,
}

/// How much load, and how much of it must have been answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Customers at once, each with one request in flight.
    pub users: usize,
    /// For how long.
    pub seconds: u64,
    /// Fewer requests than this and the run says nothing.
    pub requests_min: usize,
}

/// What one kind of request did.
#[derive(Debug, Clone)]
pub struct Figures {
    /// `place`, `get` …
    pub name: String,
    /// Answered as expected.
    pub succeeded: usize,
    /// Not answered, or otherwise.
    pub failed: usize,
    /// Median, microseconds.
    pub p50_us: u64,
    /// 99th percentile, microseconds.
    pub p99_us: u64,
}

impl Budgets {
    /// The budgets as committed.
    ///
    /// # Errors
    /// When the file is not what this program expects.
    pub fn committed() -> anyhow::Result<Self> {
        Ok(toml::from_str(include_str!("../budgets.toml"))?)
    }

    /// Everything that keeps this run from being good, in words; empty when it is.
    pub fn verdict(&self, shape: &Shape, figures: &[Figures], times_count: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        let requests: usize = figures.iter().map(|one| one.succeeded + one.failed).sum();
        if requests < shape.requests_min {
            wrong.push(format!("only {requests} requests, at least {} were expected", shape.requests_min));
        }
        for one in figures.iter().filter(|one| one.failed > 0) {
            wrong.push(format!("{}: {} of {} failed", one.name, one.failed, one.succeeded + one.failed));
        }
        for (name, budget_ms) in &self.p99_ms {
            match figures.iter().find(|one| one.name == *name) {
                None => wrong.push(format!("{name}: never asked")),
                Some(one) if times_count && one.p99_us > budget_ms * 1000 => {
                    wrong.push(format!("{name}: p99 {} ms, the budget is {budget_ms} ms", one.p99_us / 1000));
                }
                Some(_) => {}
            }
        }
        wrong
    }

    /// The figures as a table.
    pub fn table(&self, figures: &[Figures], seconds: u64) -> String {
        let mut table = format!(
            "{:<8}{:>9}{:>8}{:>9}{:>11}{:>11}{:>11}\n",
            "", "ok", "failed", "per s", "p50 ms", "p99 ms", "budget"
        );
        for one in figures {
            let budget = self.p99_ms.get(&one.name).map_or("-".to_owned(), u64::to_string);
            let per_second = one.succeeded as u64 / seconds.max(1);
            let (p50, p99) = (milliseconds(one.p50_us), milliseconds(one.p99_us));
            let (name, ok, failed) = (&one.name, one.succeeded, one.failed);
            let line = format!("{name:<8}{ok:>9}{failed:>8}{per_second:>9}{p50:>11}{p99:>11}{budget:>11}\n");
            table.push_str(&line);
        }
        table
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{}", microseconds / 1000, microseconds % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(failed: usize, p99_us: u64) -> Vec<Figures> {
        let names = Budgets::committed().unwrap().p99_ms.into_keys();
        names.map(|name| Figures { name, succeeded: 5000, failed, p50_us: 1000, p99_us }).collect()
    }

    #[test]
    fn the_committed_budgets_can_be_read() {
        let budgets = Budgets::committed().unwrap();
        assert!(budgets.smoke.seconds <= 15, "the smoke test runs in every ci");
        assert!(budgets.verdict(&budgets.full, &figures(0, 1), true).is_empty());
    }

    #[test]
    fn failures_always_breach_and_slowness_only_where_times_count() {
        let budgets = Budgets::committed().unwrap();
        let of = |figures: &[Figures], times| budgets.verdict(&budgets.smoke, figures, times).len();
        let kinds = budgets.p99_ms.len();
        assert_eq!(of(&figures(1, 1), false), kinds);
        assert_eq!(of(&figures(0, 10_000_000), false), 0);
        assert_eq!(of(&figures(0, 10_000_000), true), kinds);
    }

    #[test]
    fn a_run_that_hardly_asked_proves_nothing() {
        let budgets = Budgets::committed().unwrap();
        let verdict = budgets.verdict(&budgets.smoke, &[], false);
        assert_eq!(verdict[0], "only 0 requests, at least 80 were expected");
        assert_eq!(verdict.len(), 1 + budgets.p99_ms.len());
    }
}
