//! Crashes with faults of the machine mixed in: in each round one fault, at random, and a kill -9 under load, while it starts, or while it
//! stops. Afterwards every order has one answer, the audit is clean, and the rows themselves agree.

use std::time::{Duration, Instant};

use amends_tests::{
    direct,
    kit::{
        flood::{self, Ask, ELSEWHERE},
        report::not_run,
        shim::{Shim, Writes},
    },
    platform::{Platform, Setup, Start},
    process::{Launch, Output},
    shoppers::Shoppers,
};
use anyhow::{Context, Result, ensure};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use crate::{ROUNDS_OF_A_PLATFORM, seeded, unhurried, warnings};

const ORDERS: usize = 80;
/// A program that does not start because of a fault is started again until the fault is gone, which is sooner.
const STARTED_MAX: Duration = Duration::from_mins(1);

/// When the program is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    UnderLoad,
    AtStart,
    InDrain,
}

const MOMENTS: [Moment; 3] = [Moment::UnderLoad, Moment::AtStart, Moment::InDrain];

/// What the machine, or a caller, does meanwhile.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Nothing,
    Disk(Writes),
    /// Without processor time.
    Frozen,
    /// The terminal hangs up.
    Hangup,
    /// What it prints is not read, from its next start on.
    UnreadPipes,
    IdleConnections,
    /// Streams for which no token is needed.
    Streams,
    /// A server, or the bank, is cut off.
    Cut(&'static str),
    /// A server, or the bank, does not answer.
    Stalled(&'static str),
}

impl Fault {
    /// As `AMENDS_CHAOS_FAULTS` names it, to look at some of them only.
    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Disk(_) => "disk",
            Self::Frozen => "frozen",
            Self::Hangup => "hangup",
            Self::UnreadPipes => "pipes",
            Self::IdleConnections => "idle",
            Self::Streams => "streams",
            Self::Cut(_) => "cut",
            Self::Stalled(_) => "stalled",
        }
    }
}

const EMBEDDED: [Fault; 10] = [
    Fault::Nothing,
    Fault::IdleConnections,
    Fault::Disk(Writes::Broken),
    Fault::Disk(Writes::Full),
    Fault::Disk(Writes::ReadOnly),
    Fault::Disk(Writes::Slow),
    Fault::Frozen,
    Fault::Hangup,
    Fault::UnreadPipes,
    Fault::Streams,
];

const DISTRIBUTED: [Fault; 11] = [
    Fault::Nothing,
    Fault::Frozen,
    Fault::Hangup,
    Fault::UnreadPipes,
    Fault::IdleConnections,
    Fault::Streams,
    Fault::Cut("postgres"),
    Fault::Cut("mongodb"),
    Fault::Cut("redis"),
    Fault::Stalled("postgres"),
    Fault::Stalled("acquirer"),
];

const SERVICES: [&str; 5] = ["order", "payment", "inventory", "identity", "gateway"];

/// Everything in one process.
pub(crate) async fn embedded(rounds: usize) -> Result<()> {
    let (seed, mut random) = seeded();
    println!("machine faults, embedded: {rounds} rounds of {ORDERS} orders, AMENDS_CHAOS_SEED={seed}");
    for first in (1..=rounds).step_by(ROUNDS_OF_A_PLATFORM) {
        let dir = tempfile::Builder::new().prefix("amends-chaos-").tempdir()?;
        let data = dir.path().join("data");
        let shim = Shim::below(&data).map_err(|why| not_run("failing disks in chaos rounds", why)).ok();
        let launch = shim.as_ref().map_or_else(Launch::default, |shim| shim.in_launch(Launch::default()));
        let setup = Setup { data: Some(data), launch: launch.clone(), settings: json!({}) };
        let mut stage = Stage { platform: Platform::embedded_as(setup).await?, shim, launch };
        for round in first..=rounds.min(first + ROUNDS_OF_A_PLATFORM - 1) {
            let done = stage.round(round, "amends", &EMBEDDED, &mut random).await;
            done.with_context(|| format!("round {round}, seed {seed}\n{}", warnings(&stage.platform)))?;
        }
        stage.platform.stop().await?;
    }
    Ok(())
}

/// A process for each service, on servers.
pub(crate) async fn distributed(rounds: usize) -> Result<()> {
    let (seed, mut random) = seeded();
    println!("machine faults, distributed: {rounds} rounds of {ORDERS} orders, AMENDS_CHAOS_SEED={seed}");
    for first in (1..=rounds).step_by(ROUNDS_OF_A_PLATFORM) {
        let Some(platform) = Platform::distributed_with(unhurried()).await? else { return Ok(()) };
        let mut stage = Stage { platform, shim: None, launch: Launch::default() };
        for round in first..=rounds.min(first + ROUNDS_OF_A_PLATFORM - 1) {
            let victim = *SERVICES.choose(&mut random).context("no service")?;
            let done = stage.round(round, victim, &DISTRIBUTED, &mut random).await;
            done.with_context(|| format!("round {round}, seed {seed}\n{}", warnings(&stage.platform)))?;
        }
        stage.platform.stop().await?;
    }
    Ok(())
}

struct Stage {
    platform: Platform,
    shim: Option<Shim>,
    /// How programs are started when nothing is wrong with that.
    launch: Launch,
}

impl Stage {
    async fn round(&mut self, round: usize, victim: &str, faults: &[Fault], random: &mut StdRng) -> Result<()> {
        let begun = Instant::now();
        let wanted = amends_tests::setting("AMENDS_CHAOS_FAULTS");
        let is_wanted = |fault: &&Fault| wanted.as_ref().is_none_or(|names| names.contains(fault.name()));
        let faults: Vec<&Fault> = faults.iter().filter(is_wanted).collect();
        let fault = **faults.choose(random).context("AMENDS_CHAOS_FAULTS names no fault of this test")?;
        let moment = *MOMENTS.choose(random).context("no moment")?;
        let context = || format!("{fault:?}, and {victim} killed {moment:?}");
        let customer = self.platform.demo().await.with_context(context)?;
        let shoppers = Shoppers::send(vec![customer], ORDERS, random);
        shoppers.have_answers(random.random_range(1..ORDERS / 2)).await.with_context(context)?;
        let lasting = Duration::from_millis(random.random_range(50..1_500));
        let killed_after = Duration::from_millis(random.random_range(0..400));
        self.kill_during(fault, lasting, moment, killed_after, victim, random).await.with_context(context)?;
        let answers = shoppers.all_answered().await.with_context(context)?;
        self.platform.settled().await.with_context(context)?;
        self.platform.audit().await.with_context(context)?;
        let counted = direct::books_agree(&self.platform).await.with_context(context)?;
        println!(
            "round {round}: {}: {}; asked again for {:?}, and {} times without an answer; {} of {} orders confirmed; {:.1} s",
            context(),
            answers.summary()?,
            answers.1.by_status,
            answers.1.unanswered,
            counted.confirmed,
            counted.orders,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    async fn kill_during(
        &mut self,
        fault: Fault,
        lasting: Duration,
        moment: Moment,
        killed_after: Duration,
        victim: &str,
        random: &mut StdRng,
    ) -> Result<()> {
        let flood = self.begin(fault, victim).await?;
        let began = Instant::now();
        // A frozen process does not stop, so none is stopped while it is frozen.
        if matches!(fault, Fault::Frozen) {
            tokio::time::sleep(lasting).await;
            self.end(fault, victim).await?;
        }
        match moment {
            Moment::UnderLoad => {
                tokio::time::sleep(killed_after).await;
                self.platform.kill(victim).await?;
            }
            Moment::AtStart => {
                self.platform.kill(victim).await?;
                for _ in 0..random.random_range(1..4) {
                    self.platform.start(victim)?;
                    tokio::time::sleep(killed_after).await;
                    self.platform.kill(victim).await?;
                }
            }
            Moment::InDrain => {
                self.platform.signal(victim, "TERM").await?;
                tokio::time::sleep(killed_after).await;
                self.platform.kill(victim).await?;
            }
        }
        tokio::time::sleep(lasting.saturating_sub(began.elapsed())).await;
        // Half of the starts are into the fault, half after it.
        if random.random_bool(0.5) && !matches!(fault, Fault::Frozen) {
            let _into_the_fault = self.platform.try_start(victim, Duration::from_secs(2)).await?;
            self.end(fault, victim).await?;
        } else if !matches!(fault, Fault::Frozen) {
            self.end(fault, victim).await?;
        }
        drop(flood);
        self.started(victim).await?;
        // How it is started is a fault only until its next start.
        self.platform.relaunch_as(victim, self.launch.clone())
    }

    async fn begin(&mut self, fault: Fault, victim: &str) -> Result<Option<Meanwhile>> {
        match fault {
            Fault::Nothing => {}
            Fault::Disk(writes) => {
                if let Some(shim) = &self.shim {
                    shim.make(writes)?;
                }
            }
            Fault::Frozen => self.platform.signal(victim, "STOP").await?,
            Fault::Hangup => self.platform.signal(victim, "HUP").await?,
            Fault::UnreadPipes => {
                let launch = Launch { output: Output::UnreadPipes, ..self.launch.clone() };
                self.platform.relaunch_as(victim, launch)?;
            }
            Fault::IdleConnections => {
                let idle = flood::idle_connections(ELSEWHERE, self.platform.gateway, 300).await;
                return Ok(Some(Meanwhile::Idle(idle)));
            }
            Fault::Streams => {
                let streams = flood::streams(ELSEWHERE, self.platform.gateway, 10, 100, &Ask::WatchHealth);
                return Ok(Some(Meanwhile::Streams(streams)));
            }
            Fault::Cut(server) => self.platform.proxy(server).cut(),
            Fault::Stalled(server) => self.platform.proxy(server).stall(),
        }
        Ok(None)
    }

    async fn end(&mut self, fault: Fault, victim: &str) -> Result<()> {
        match fault {
            Fault::Disk(_) => self.shim.as_ref().map_or(Ok(()), Shim::repair),
            Fault::Frozen => self.platform.signal(victim, "CONT").await,
            Fault::Cut(server) | Fault::Stalled(server) => {
                self.platform.proxy(server).repair();
                Ok(())
            }
            Fault::Nothing | Fault::Hangup | Fault::UnreadPipes | Fault::IdleConnections | Fault::Streams => Ok(()),
        }
    }

    /// It is up, whether it is already or has to be started once more.
    async fn started(&mut self, victim: &str) -> Result<()> {
        if self.platform.is_running(victim) {
            return self.platform.ready(victim).await;
        }
        let start = self.platform.try_start(victim, STARTED_MAX).await?;
        ensure!(matches!(start, Start::Ready), "{victim} does not start after the fault is gone: {start:?}");
        Ok(())
    }
}

/// What is held on to while a fault lasts; it ends when it is dropped.
#[expect(dead_code, reason = "held, not read")]
enum Meanwhile {
    Idle(Vec<tokio::net::TcpStream>),
    Streams(flood::Flood),
}
