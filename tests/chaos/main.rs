//! Crashes under load: whatever is killed whenever, each order is answered once, and the books balance.
//!
//! Seeded: `AMENDS_CHAOS_SEED` repeats a run's choices (not the machine's timing). `AMENDS_CHAOS_ROUNDS` sets how many rounds.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and tells what it did")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amends::client::{Client, order_of};
use amends_tests::platform::Platform;
use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::Semaphore;

const ORDERS_PER_ROUND: usize = 200;
/// Customers who order at once.
const CUSTOMERS: usize = 6;
/// A breaker opened twice by a slow machine holds a compensation back for a minute; an order without an answer by then has been left alone.
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_process_is_killed_while_orders_are_placed() {
    let Some(mut platform) = Platform::distributed().await.unwrap() else { return };
    kill_rounds(&mut platform, "order", rounds(3)).await.unwrap();
    platform.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_in_one_process_is_killed_while_orders_are_placed() {
    let mut platform = Platform::embedded().await.unwrap();
    kill_rounds(&mut platform, "amends", rounds(2)).await.unwrap();
    platform.stop().await.unwrap();
}

async fn kill_rounds(platform: &mut Platform, victim: &str, rounds: usize) -> Result<()> {
    let seed =
        amends_tests::setting("AMENDS_CHAOS_SEED").and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("killing {victim}: {rounds} rounds of {ORDERS_PER_ROUND} orders, AMENDS_CHAOS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 1..=rounds {
        let begun = Instant::now();
        let summary =
            kill_round(platform, victim, &mut random).await.with_context(|| format!("round {round}, seed {seed}"))?;
        println!("round {round}: {summary}, {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn kill_round(platform: &mut Platform, victim: &str, random: &mut StdRng) -> Result<String> {
    let client = platform.demo().await?;
    let answered = Arc::new(AtomicUsize::new(0));
    let orders: Vec<(String, serde_json::Value)> = (0..ORDERS_PER_ROUND).map(|_| order(random)).collect();
    let shoppers = tokio::spawn(place_all(client, orders, Arc::clone(&answered)));

    // Three deaths a round, each after a random share of the answers and a random moment more.
    let mut marks: Vec<usize> = (0..3).map(|_| random.random_range(0..ORDERS_PER_ROUND * 9 / 10)).collect();
    marks.sort_unstable();
    for mark in marks {
        let moment = Duration::from_micros(random.random_range(0..30_000));
        let reached = || async { answered.load(Ordering::SeqCst) >= mark || shoppers.is_finished() };
        amends_tests::process::eventually("orders are answered", PATIENCE * 2, reached).await?;
        tokio::time::sleep(moment).await;
        platform.kill(victim).await?;
        platform.restart(victim).await?;
    }

    let answers = shoppers.await??;
    let mut by_status: HashMap<u16, usize> = HashMap::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    for (status, id) in answers {
        *by_status.entry(status).or_default() += 1;
        *ids.entry(id).or_default() += 1;
    }
    ensure!(ids.values().all(|times| *times == 1), "two keys were answered with one order");
    ensure!(by_status.keys().all(|status| [201, 402, 409].contains(status)), "unexpected answers: {by_status:?}");
    platform.settled().await?;
    platform.audit().await?;
    let mut counts: Vec<_> = by_status.into_iter().collect();
    counts.sort_unstable();
    Ok(format!("answers {counts:?}"))
}

/// Mostly orders that succeed; some are declined, some refused at the pivot.
fn order(random: &mut StdRng) -> (String, serde_json::Value) {
    let key = format!("chaos-{:032x}", random.random::<u128>());
    let order = match random.random_range(0..10) {
        0 => order_of("case-chaos", 1, "pm_declined"),
        1 => order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok"),
        2 => order_of("case-chaos", 1, "pm_flaky"),
        _ => order_of("case-chaos", random.random_range(1..4), "pm_ok"),
    };
    (key, order)
}

async fn place_all(
    client: Client,
    orders: Vec<(String, serde_json::Value)>,
    answered: Arc<AtomicUsize>,
) -> Result<Vec<(u16, String)>> {
    let places = Arc::new(Semaphore::new(CUSTOMERS));
    let tasks = orders.into_iter().map(|(key, order)| {
        let (client, answered, places) = (client.clone(), Arc::clone(&answered), Arc::clone(&places));
        tokio::spawn(async move {
            let _place = places.acquire().await?;
            let settled = place_until_settled(&client, &key, &order).await;
            answered.fetch_add(1, Ordering::SeqCst);
            settled
        })
    });
    let mut settled = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        settled.push(task.await??);
    }
    Ok(settled)
}

/// What a careful client does: the same key again until there is an answer.
async fn place_until_settled(client: &Client, key: &str, order: &serde_json::Value) -> Result<(u16, String)> {
    let (begun, mut location) = (Instant::now(), String::new());
    loop {
        let last = match client.place(key, order).await {
            Ok(answer) if [201, 402, 409].contains(&answer.status.as_u16()) => {
                let id = answer.header("location").rsplit('/').next().unwrap_or_default().to_owned();
                ensure!(!id.is_empty(), "{} without Location: {}", answer.status, answer.body);
                return Ok((answer.status.as_u16(), id));
            }
            // Still running, or nobody there: ask again.
            Ok(answer) if [202, 502, 503, 504].contains(&answer.status.as_u16()) => {
                answer.header("location").clone_into(&mut location);
                format!("{} {}", answer.status, answer.body)
            }
            Ok(answer) => anyhow::bail!("{key}: {} {}", answer.status, answer.body),
            Err(error) => format!("{error:#}"),
        };
        if begun.elapsed() > PATIENCE {
            let saga = client.get(&format!("{location}/saga")).await.map(|saga| saga.body);
            anyhow::bail!("{key} was left without an answer: {last}; its saga: {saga:?}");
        }
        // A client's pause between tries.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn rounds(default: usize) -> usize {
    amends_tests::setting("AMENDS_CHAOS_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}
