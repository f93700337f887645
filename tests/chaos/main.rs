//! Crashes under load: whatever is killed whenever, each order is answered once, and the books balance.
//!
//! Seeded: `AMENDS_CHAOS_SEED` repeats a run's choices (not the machine's timing). `AMENDS_CHAOS_ROUNDS` sets how many rounds;
//! `AMENDS_CHAOS_FAULTS=disk,frozen` which of the machine's faults are mixed in.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

mod machine;
mod replicas;
mod rolling;
mod servers;
mod takeovers;

use std::time::{Duration, Instant};

use amends_tests::{platform::Platform, shoppers::Shoppers};
use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use takeovers::Takeovers;

/// A test that uses the servers has them to itself: one of these tests kills them.
static SERVERS: Mutex<()> = Mutex::const_new(());

const ORDERS_PER_ROUND: usize = 200;
/// The audit after each round reads every order there is, so with one platform for many rounds most of the time would be spent on it.
const ROUNDS_OF_A_PLATFORM: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_process_is_killed_while_orders_are_placed() {
    let _alone = SERVERS.lock().await;
    let Some(mut platform) = Platform::distributed_with(unhurried()).await.unwrap() else { return };
    kill_rounds(&mut platform, "order", rounds(3)).await.unwrap();
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_is_killed_and_one_frozen() {
    let _alone = SERVERS.lock().await;
    let (seed, mut random) = seeded();
    let rounds = rounds(1);
    println!("three replicas: {rounds} rounds, AMENDS_CHAOS_SEED={seed}");
    let mut takeovers = Takeovers::default();
    for first in (1..=rounds).step_by(ROUNDS_OF_A_PLATFORM) {
        let Some(mut platform) = Platform::replicated(unhurried(), 3).await.unwrap() else { return };
        let these = first..=rounds.min(first + ROUNDS_OF_A_PLATFORM - 1);
        let done = replicas::rounds(&mut platform, these, &mut random).await;
        takeovers.extend(done.with_context(|| format!("seed {seed}\n{}", warnings(&platform))).unwrap());
        platform.stop().await.unwrap();
    }
    println!("{}", takeovers.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_killed_while_orders_are_placed() {
    let _alone = SERVERS.lock().await;
    servers::each_server_crashes(rounds(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_in_one_process_is_killed_while_orders_are_placed() {
    let mut platform = Platform::embedded().await.unwrap();
    kill_rounds(&mut platform, "amends", rounds(2)).await.unwrap();
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_faults_embedded() {
    machine::embedded(rounds(3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_faults_distributed() {
    let _alone = SERVERS.lock().await;
    machine::distributed(rounds(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart() {
    let _alone = SERVERS.lock().await;
    rolling::no_customer_notices(rounds(1).min(3)).await.unwrap();
}

/// What the programs complained of, the last of it last.
fn warnings(platform: &Platform) -> String {
    let output = platform.output();
    let complaints: Vec<&str> =
        output.lines().filter(|line| line.contains("\"level\":40") || line.contains("\"level\":50")).collect();
    complaints[complaints.len().saturating_sub(400)..].join("\n")
}

/// What is looked at is crashes, not a latency budget. A server that only speaks MongoDB's protocol may do a hundred durable writes a
/// second, for all customers together: 16 of them, each with three writes to wait for, are past the 500 ms that an attempt has by
/// default, and orders would be refused by an open breaker most of the time.
fn unhurried() -> Value {
    json!({"order": {
        "saga": {"attempt_timeout_ms": 4_000},
        "payment": {"resilience": {"timeout_ms": 4_000}},
        "inventory": {"resilience": {"timeout_ms": 4_000}},
    }})
}

async fn kill_rounds(platform: &mut Platform, victim: &str, rounds: usize) -> Result<()> {
    let (seed, mut random) = seeded();
    println!("killing {victim}: {rounds} rounds of {ORDERS_PER_ROUND} orders, AMENDS_CHAOS_SEED={seed}");
    for round in 1..=rounds {
        let begun = Instant::now();
        let summary =
            kill_round(platform, victim, &mut random).await.with_context(|| format!("round {round}, seed {seed}"))?;
        println!("round {round}: {summary}, {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn kill_round(platform: &mut Platform, victim: &str, random: &mut StdRng) -> Result<String> {
    let shoppers = Shoppers::send(vec![platform.demo().await?], ORDERS_PER_ROUND, random);
    // Three deaths a round, each after a random share of the answers and a random moment more.
    let mut marks: Vec<usize> = (0..3).map(|_| random.random_range(0..ORDERS_PER_ROUND * 9 / 10)).collect();
    marks.sort_unstable();
    for mark in marks {
        shoppers.have_answers(mark).await?;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..30_000))).await;
        platform.kill(victim).await?;
        platform.restart(victim).await?;
    }
    let summary = shoppers.all_answered().await?.summary()?;
    platform.settled().await?;
    platform.audit().await?;
    Ok(summary)
}

fn rounds(default: usize) -> usize {
    amends_tests::setting("AMENDS_CHAOS_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

fn seeded() -> (u64, StdRng) {
    let given = amends_tests::setting("AMENDS_CHAOS_SEED").and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    (seed, StdRng::seed_from_u64(seed))
}
