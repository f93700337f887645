//! The drill: each way in which a participant can fail, under load, and what customers saw of it. Prints the table of
//! `docs/resilience.md`; with `--write FILE` puts it there, between its marks.
//!
//! Fails if an order was left without an answer, charged twice, or if the books do not balance: the figures are for reading, these
//! are not. `--seconds N` says how long each fault lasts (default 10); a short one serves as a test.

mod customers;
mod meters;
mod scenarios;
mod table;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use amends_tests::{announce, platform::Platform};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use customers::Customers;
use meters::Meters;
use scenarios::{SCENARIOS, Scenario};
use table::Row;

/// How long the breaker stays open before it lets probes through. Of the default's 30 s nothing more would be learned.
const OPEN_MS: u64 = 3_000;
/// As by default between two processes: `order.payment.channel`, `order.saga` and `payment.processor`.
const CONNECT_TIMEOUT_MS: u64 = 250;
const ATTEMPT_TIMEOUT_MS: u64 = 500;
const PROCESSOR_TIMEOUT_MS: u64 = 450;
/// By then everything is well again, whatever had been wrong.
const RECOVERED_WITHIN: Duration = Duration::from_mins(1);

struct Options {
    seconds: u64,
    write: Option<PathBuf>,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self { seconds: 10, write: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
            match argument.as_str() {
                "--seconds" => options.seconds = value.parse().context("--seconds must be a number")?,
                "--write" => options.write = Some(value.into()),
                _ => bail!("unknown argument {argument}: --seconds N, --write FILE"),
            }
        }
        ensure!((1..=300).contains(&options.seconds), "--seconds must be from 1 to 300");
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let settings = json!({
        // All callers have one address and are one subject: the limit per caller is not what is looked at here.
        "gateway": {"rate_limit": {"enabled": false}},
        // What is drilled is how a participant elsewhere is called, over connections and by the defaults that hold between processes. Within
        // one, there are none that a fault could cut, and a participant that is only slow is waited for.
        "embedded": {"join": "loopback"},
        "order": {
            "payment": {
                "channel": {"connect_timeout_ms": CONNECT_TIMEOUT_MS},
                "resilience": {"in_process": false, "breaker": {"open_ms": OPEN_MS}},
            },
            "saga": {"attempt_timeout_ms": ATTEMPT_TIMEOUT_MS},
        },
        "payment": {"processor": {"timeout_ms": PROCESSOR_TIMEOUT_MS}},
        "telemetry": {"filter": "warn"},
    });
    let platform = Platform::embedded_with(settings).await?;
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        announce(&format!("{}: {} s", scenario.name, options.seconds));
        let row = drill(&platform, scenario, Duration::from_secs(options.seconds)).await;
        rows.push(row.with_context(|| format!("{}\n{}", scenario.name, platform.logs()))?);
    }
    platform.stop().await?;
    let table = table::render(&rows);
    std::io::stdout().write_all(table.as_bytes())?;
    match options.write {
        Some(file) => table::write(&file, &table),
        None => Ok(()),
    }
}

/// The fault comes, customers order, the fault goes, and every customer gets an answer.
async fn drill(platform: &Platform, scenario: &Scenario, lasting: Duration) -> Result<Row> {
    let http = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
    let admin = platform.admin_address("amends")?;
    let before = Meters::read(&http, admin).await?;
    set_faults(&http, admin, &(scenario.faults)()).await?;
    let mut customers = Customers::order_for(platform.demo().await?, lasting).await?;
    set_faults(&http, admin, &json!({})).await?;
    customers.ask_again_until_answered().await?;
    platform.settled().await?;
    let since = Instant::now();
    while !Meters::read(&http, admin).await?.breaker_is_closed() {
        ensure!(since.elapsed() < RECOVERED_WITHIN, "the breaker did not close again");
        // Only a call can find out that a dependency is well again.
        customers.order_once().await?;
    }
    customers.ask_again_until_answered().await?;
    let meters = Meters::read(&http, admin).await?.since(&before);
    let report = platform.amends(&["audit", "--json"]).await?.unwrap_or_else(|report| report);
    let report: Value = serde_json::from_str(&report).with_context(|| format!("the audit said: {report}"))?;
    let findings = report["discrepancies"].as_array().context("an audit lists discrepancies")?;
    let twice = findings.iter().filter(|finding| finding["code"] == "charged_twice").count();
    ensure!(twice == 0 && findings.is_empty(), "the books do not balance: {report:#}");
    Ok(Row {
        name: scenario.name,
        answers: customers.answers(),
        meters,
        charged_twice: twice,
        findings: findings.len(),
    })
}

async fn set_faults(http: &reqwest::Client, admin: std::net::SocketAddr, payment: &Value) -> Result<()> {
    let body = json!({"payment": payment});
    let answer = http.put(format!("http://{admin}/faults")).json(&body).send().await?;
    ensure!(answer.status().is_success(), "the faults were refused: {} {}", answer.status(), answer.text().await?);
    Ok(())
}
