//! The overload curve: what a system answers when it is offered more than it can serve.
//!
//! First the best throughput is found, by callers who each wait for their answer (a closed loop). Then orders arrive at multiples of
//! that rate, whatever the answers are (an open loop): a customer does not know that others wait. Latency counts from the moment at which
//! an order should have been sent, so that a generator that falls behind shows as latency and not as less load.
//!
//! Everything is bounded: the time of each stage, the requests of each stage, the connections. Only the loopback interface is loaded.

mod caller;
mod load;
mod page;
mod stage;
mod svg;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;

use self::caller::Caller;
pub use self::page::{figures, put};
pub use self::stage::{Judged, Outcome, Sample, Stage, table, verdict};
pub use self::svg::draw;

/// What is usually offered, as multiples of the best throughput.
pub const MULTIPLES: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
/// Numbers of callers among which the best throughput is looked for: batches grow with them, up to a point.
const CALLERS: [usize; 3] = [32, 64, 128];
/// Requests that one stage may send: what this process can remember without a thought.
const REQUESTS_MAX: usize = 1_000_000;

/// How a curve is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For how long each stage is offered load.
    pub seconds: u64,
    /// How long a caller waits for its answer. What comes later is no use to it.
    pub patience: Duration,
    /// Connections at once. What would need another is counted as not sent.
    pub connections_max: usize,
    /// The best throughput, where it is known already.
    pub best: Option<f64>,
    /// What is offered, as multiples of the best throughput.
    pub multiples: Vec<f64>,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Confirmed orders a second, of callers who wait for each other's answers.
    pub best: f64,
    /// In order of what was offered.
    pub stages: Vec<Stage>,
}

/// Measures the curve of the gateway at `host`, such as `http://127.0.0.1:8080`. `told` is called with each stage as it ends.
///
/// # Errors
/// When `host` is not on the loopback interface, or the demo user cannot log in there.
pub async fn measure(host: &str, password: &str, plan: &Plan, told: impl Fn(&str)) -> anyhow::Result<Curve> {
    let caller = Arc::new(Caller::new(host, plan.patience, plan.connections_max)?);
    caller.log_in(password).await.context("cannot log in")?;
    // Caches and pools fill, and the first pages are written.
    load::closed(&caller, CALLERS[0], Duration::from_secs(plan.seconds.min(2))).await;
    let best = match plan.best {
        Some(best) => best,
        None => find_best(&caller, plan, &told).await,
    };
    anyhow::ensure!(best >= 1.0, "no order a second is confirmed: there is nothing to take multiples of");
    let mut stages = Vec::new();
    for multiple in plan.multiples.iter().copied() {
        // Tokens live for minutes, and so may a stage.
        caller.log_in(password).await.context("cannot log in again")?;
        let rate = best * multiple;
        let samples = load::open(&caller, rate, Duration::from_secs(plan.seconds), REQUESTS_MAX).await;
        let stage = Stage::of(multiple, rate, plan.seconds, plan.patience, &samples);
        told(&format!("{multiple} × done: {:.0} of {rate:.0} a second confirmed in time", stage.goodput));
        stages.push(stage);
        caller.wait_until_well(plan.patience).await;
    }
    Ok(Curve { best, stages })
}

async fn find_best(caller: &Arc<Caller>, plan: &Plan, told: &impl Fn(&str)) -> f64 {
    let mut best: f64 = 0.0;
    for callers in CALLERS {
        let samples = load::closed(caller, callers, Duration::from_secs(plan.seconds)).await;
        let found = Stage::of(0.0, 0.0, plan.seconds, plan.patience, &samples);
        told(&format!(
            "closed loop, {callers} callers: {:.0} orders a second, p50 {} ms, p99 {} ms{}",
            found.goodput,
            found.accepted_p50.as_millis(),
            found.accepted_p99.as_millis(),
            if found.others.is_empty() { String::new() } else { format!(", and {:?}", found.others) }
        ));
        best = best.max(found.goodput);
    }
    best
}

/// Writes a curve as SVG, and makes its folder.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, title: &str, curve: &Curve) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, draw(title, curve)).with_context(|| path.display().to_string())
}
