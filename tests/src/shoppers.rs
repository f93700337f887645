//! Customers who order at once, and who are careful: they ask again under the same key until there is an answer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use amends::client::{Client, order_of};
use anyhow::{Context as _, Result, ensure};
use rand::{Rng, rngs::StdRng};
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::process::eventually;

/// Customers who order at once.
pub const CUSTOMERS: usize = 16;
/// An order without an answer by then has been left alone.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Mostly orders that succeed; some are declined, some refused at the pivot.
fn order(random: &mut StdRng) -> (String, Value) {
    let key = format!("chaos-{:032x}", random.random::<u128>());
    let order = match random.random_range(0..10) {
        0 => order_of("case-chaos", 1, "pm_declined"),
        1 => order_of(amends::catalogue::REFUSED_AT_PIVOT, 1, "pm_ok"),
        2 => order_of("case-chaos", 1, "pm_flaky"),
        _ => order_of("case-chaos", random.random_range(1..4), "pm_ok"),
    };
    (key, order)
}

/// Customers at work.
#[derive(Debug)]
pub struct Shoppers {
    progress: Arc<Progress>,
    work: JoinHandle<Result<Vec<(u16, String)>>>,
}

#[derive(Debug, Default)]
struct Progress {
    answered: AtomicUsize,
    confirmed: AtomicUsize,
    refusals: Mutex<Refusals>,
}

/// What customers were told that made them ask again.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// How often each status came.
    pub by_status: BTreeMap<u16, usize>,
    /// 503 that did not say when to come back.
    pub without_retry_after: usize,
    /// Connections that could not be made or broke.
    pub unanswered: usize,
}

/// Every customer's last answer (status, and the order's id), and what came before it.
#[derive(Debug)]
pub struct Answers(pub Vec<(u16, String)>, pub Refusals);

impl Shoppers {
    /// Sends customers with `count` orders. Each tries the first of `ways` that is its turn, and the next when that did not answer.
    pub fn send(ways: Vec<Client>, count: usize, random: &mut StdRng) -> Self {
        let orders: Vec<(String, Value)> = (0..count).map(|_| order(random)).collect();
        let progress = Arc::new(Progress::default());
        let work = tokio::spawn(place_all(ways, orders, Arc::clone(&progress)));
        Self { progress, work }
    }

    /// Waits until this number of orders has an answer.
    pub async fn have_answers(&self, count: usize) -> Result<()> {
        let reached = || async { self.answered() >= count || self.work.is_finished() };
        eventually("orders are answered", PATIENCE * 2, reached).await
    }

    /// How many orders have an answer.
    pub fn answered(&self) -> usize {
        self.progress.answered.load(Ordering::SeqCst)
    }

    /// What made customers ask again, so far.
    pub fn refusals(&self) -> Refusals {
        self.progress.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of them were confirmed.
    pub fn confirmed(&self) -> usize {
        self.progress.confirmed.load(Ordering::SeqCst)
    }

    /// Waits for the last customer.
    pub async fn all_answered(self) -> Result<Answers> {
        let Self { progress, work } = self;
        let answers = work.await?;
        let refusals = progress.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Answers(answers.with_context(|| format!("{refusals:?}"))?, refusals))
    }
}

impl Answers {
    /// How often each answer was given; an error where a key has another order's answer.
    pub fn summary(&self) -> Result<String> {
        let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
        let mut ids: HashSet<&str> = HashSet::new();
        for (status, id) in &self.0 {
            *by_status.entry(*status).or_default() += 1;
            ensure!(ids.insert(id), "two keys were answered with one order");
        }
        let counts: Vec<String> = by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        Ok(counts.join(", "))
    }
}

async fn place_all(
    ways: Vec<Client>,
    orders: Vec<(String, Value)>,
    progress: Arc<Progress>,
) -> Result<Vec<(u16, String)>> {
    let permits = Arc::new(Semaphore::new(CUSTOMERS));
    let tasks = orders.into_iter().enumerate().map(|(turn, (key, order))| {
        let (progress, permits) = (Arc::clone(&progress), Arc::clone(&permits));
        let mut ways = ways.clone();
        let first = turn % ways.len();
        ways.rotate_left(first);
        tokio::spawn(async move {
            let _permit = permits.acquire().await?;
            let settled = place_until_settled(&ways, &key, &order, &progress.refusals).await;
            progress.answered.fetch_add(1, Ordering::SeqCst);
            progress.confirmed.fetch_add(usize::from(matches!(settled, Ok((201, _)))), Ordering::SeqCst);
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
async fn place_until_settled(
    ways: &[Client],
    key: &str,
    order: &Value,
    refusals: &Mutex<Refusals>,
) -> Result<(u16, String)> {
    let note = |note: &dyn Fn(&mut Refusals)| note(&mut refusals.lock().unwrap_or_else(PoisonError::into_inner));
    let (begun, mut location) = (Instant::now(), String::new());
    for client in ways.iter().cycle() {
        let last = match client.place(key, order).await {
            Ok(answer) if [201, 402, 409].contains(&answer.status.as_u16()) => {
                let id = answer.header("location").rsplit('/').next().unwrap_or_default().to_owned();
                ensure!(!id.is_empty(), "{} without Location: {}", answer.status, answer.body);
                return Ok((answer.status.as_u16(), id));
            }
            // Still running, or no server there: ask again.
            Ok(answer) if [202, 502, 503, 504].contains(&answer.status.as_u16()) => {
                let status = answer.status.as_u16();
                let lacks = status == 503 && answer.header("retry-after").is_empty();
                note(&|refusals| {
                    *refusals.by_status.entry(status).or_default() += 1;
                    refusals.without_retry_after += usize::from(lacks);
                });
                answer.header("location").clone_into(&mut location);
                format!("{} {}", answer.status, answer.body)
            }
            Ok(answer) => anyhow::bail!("{key}: {} {}", answer.status, answer.body),
            Err(error) => {
                note(&|refusals| refusals.unanswered += 1);
                format!("{error:#}")
            }
        };
        if begun.elapsed() > PATIENCE {
            let saga = client.get(&format!("{location}/saga")).await.map(|saga| saga.body);
            anyhow::bail!("{key} was left without an answer: {last}; its saga: {saga:?}");
        }
        // A client's pause between tries.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("there is no way to place {key}")
}
