//! What is priced: a running Amends of which every program is counted.

use std::{collections::BTreeMap, time::Duration};

use amends::client::Client;
use amends_tests::{
    kit::meter::Meter,
    platform::{PROGRAMS, Platform, Setup},
    process::Launch,
};
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::figures::{Counts, of_page, of_reading};

/// Nothing counted for so long, and the programs are idle. A debug build on a busy machine is off the processor for several milliseconds.
const QUIET: Duration = Duration::from_millis(15);
/// An order is over long before, and so is all that it leaves to be done.
const IDLE_WITHIN: Duration = Duration::from_mins(1);

/// How long one service waits for another.
const PATIENCE_MS: u64 = 10_000;
const CONNECT_MS: u64 = 2_000;
/// How long a customer waits for the final answer: to ask again would be counted, too.
const WAIT_MS: u64 = 30_000;

/// How it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `amends up`.
    OneProcess,
    /// Five services on PostgreSQL, MongoDB and Redis, and an acquirer.
    FiveProcesses,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneProcess => "one_process",
            Self::FiveProcesses => "five_processes",
        }
    }

    /// Requests of each kind by one caller. Six programs take longer to become idle.
    pub(crate) const fn orders(self) -> usize {
        match self {
            Self::OneProcess => 100,
            Self::FiveProcesses => 20,
        }
    }

    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::OneProcess => &["amends"],
            Self::FiveProcesses => &PROGRAMS,
        }
    }
}

pub(crate) struct Subject {
    pub(crate) platform: Platform,
    pub(crate) client: Client,
    way: Way,
    meters: BTreeMap<&'static str, Meter>,
    http: reqwest::Client,
}

impl Subject {
    /// Each program with a meter.
    pub(crate) async fn start(way: Way, many_callers: bool) -> Result<Self> {
        let settings = settings(many_callers);
        let mut meters = BTreeMap::new();
        for program in way.programs() {
            meters.insert(*program, Meter::new().map_err(anyhow::Error::msg)?);
        }
        let launches: BTreeMap<&str, Launch> =
            meters.iter().map(|(program, meter)| (*program, meter.in_launch(Launch::default()))).collect();
        let platform = match way {
            Way::OneProcess => {
                let launch = launches["amends"].clone();
                Platform::embedded_as(Setup { settings, launch, ..Setup::default() }).await?
            }
            Way::FiveProcesses => {
                let platform = Platform::distributed_as(settings, &launches).await?;
                platform.context("needs PostgreSQL, MongoDB and Redis")?
            }
        };
        Self::of(platform, way, meters).await
    }

    /// One process, started like this, whose meter is the launch's own.
    pub(crate) async fn launched(launch: Launch) -> Result<Self> {
        let settings = settings(false);
        let platform = Platform::embedded_as(Setup { settings, launch, ..Setup::default() }).await?;
        Self::of(platform, Way::OneProcess, BTreeMap::new()).await
    }

    async fn of(platform: Platform, way: Way, meters: BTreeMap<&'static str, Meter>) -> Result<Self> {
        let client = platform.demo().await?;
        let http = service_base::client::internal().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { platform, client, way, meters, http })
    }

    /// What the meters have counted, once the programs are idle.
    pub(crate) async fn when_idle(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        // A program that is idle may be given work by one that is not yet: all are idle when none has counted while they were looked at.
        loop {
            let before = counts;
            counts = Counts::new();
            for (program, meter) in &self.meters {
                let reading = meter.read_when_quiet(QUIET, IDLE_WITHIN).await?;
                let of = if self.way == Way::OneProcess { "" } else { program };
                of_reading(&reading, of, &mut counts);
            }
            if before == counts || self.meters.len() == 1 {
                return Ok(counts);
            }
        }
    }

    /// What the programs count themselves. Being asked costs them something, too: ask between what is measured.
    pub(crate) async fn says(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for program in self.way.programs() {
            let metrics = format!("http://{}/metrics", self.platform.admin_address(program)?);
            let page = self.http.get(&metrics).send().await?.error_for_status()?.text().await?;
            of_page(&page, &mut counts)?;
        }
        Ok(counts)
    }
}

fn settings(many_callers: bool) -> Value {
    json!({
        // All callers have one address and are one subject: the limit per caller is not what is looked at here.
        "gateway": {"rate_limit": {"enabled": !many_callers}},
        // A machine that is busy with other work is no reason to ask twice: that would be counted, too.
        "order": {
            "wait": {"default_ms": WAIT_MS, "accept_ms": WAIT_MS},
            "saga": {"attempt_timeout_ms": PATIENCE_MS},
            "payment": {"channel": {"connect_timeout_ms": CONNECT_MS}, "resilience": {"timeout_ms": PATIENCE_MS}},
            "inventory": {"channel": {"connect_timeout_ms": CONNECT_MS}, "resilience": {"timeout_ms": PATIENCE_MS}},
        },
        "payment": {"processor": {"timeout_ms": PATIENCE_MS}},
        // As it is delivered: the tests' own configuration says otherwise.
        "telemetry": {"log_format": "auto", "filter": "info"},
    })
}
