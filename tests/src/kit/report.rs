//! What was run, what was not, and how soon orders were accepted again: told at once, and kept for the table at the end of a run.

use std::{
    fmt::Display,
    io::Write,
    time::{Duration, Instant},
};

use amends::client::{Client, order_of};
use anyhow::{Result, bail};

use crate::{announce, check::key, setting};

/// Variable that names the file of which `cargo xtask` makes its table, one line a result.
const FILE: &str = "AMENDS_MACHINE_REPORT";
/// An order that is not accepted for so long after a fault has gone will not be by itself.
const HEALED_MAX: Duration = Duration::from_mins(1);

/// Says, and lists, that a test did not run. It returns then: what it would have shown is not known.
pub fn not_run(what: &str, why: impl Display) {
    announce(&format!("NOT RUN: {what}: {why}"));
    keep(&format!("NOT RUN\t{what}\t{why}"));
}

/// Lists how long it took from the end of a fault until an order was accepted.
pub fn healed(what: &str, after: Duration) {
    announce(&format!("{what}: orders accepted {} ms after the fault was gone", after.as_millis()));
    keep(&format!("healed\t{what}\t{} ms", after.as_millis()));
}

/// Orders under new keys until one is accepted, and lists how long after `gone` that was.
///
/// # Errors
/// With the last answer, when none is within a minute.
pub async fn accepted_again(what: &str, customer: &Client, gone: Instant) -> Result<Duration> {
    loop {
        let answer = customer.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await;
        let last = match answer {
            Ok(answer) if [201, 202].contains(&answer.status.as_u16()) => {
                let after = gone.elapsed();
                healed(what, after);
                return Ok(after);
            }
            Ok(answer) => format!("{} {}", answer.status, answer.body),
            Err(error) => format!("{error:#}"),
        };
        if gone.elapsed() > HEALED_MAX {
            bail!("no order is accepted {HEALED_MAX:?} after the fault was gone; the last answer: {last}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn keep(line: &str) {
    let Some(file) = setting(FILE) else { return };
    let kept = std::fs::File::options().create(true).append(true).open(&file);
    if let Err(error) = kept.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
        announce(&format!("{file}: {error}: the table at the end will lack a line"));
    }
}
