//! Customers who order at a steady pace, whatever they are answered, and who ask again later under the same key.

use std::time::{Duration, Instant};

use amends::client::{Answer, Client, order_of};
use amends_primitives::{IdSource, RandomIds};
use anyhow::{Result, bail, ensure};
use reqwest::StatusCode;

/// Customers at once.
const CUSTOMERS: usize = 8;
/// From one order of a customer to the next, if the answer comes before.
const PACE: Duration = Duration::from_millis(50);
/// A customer who asks again and again for so long has been left alone.
const PATIENCE: Duration = Duration::from_mins(2);

/// The first answer to an order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    pub(crate) status: StatusCode,
    pub(crate) after: Duration,
    /// Whether it was refused before anything was done: there is no order.
    pub(crate) at_once: bool,
}

pub(crate) struct Customers {
    client: Client,
    firsts: Vec<First>,
    /// Keys without a final answer.
    open: Vec<String>,
}

impl Customers {
    /// Has all customers order until the time is over.
    pub(crate) async fn order_for(client: Client, lasting: Duration) -> Result<Self> {
        let until = Instant::now() + lasting;
        let shopping: Vec<_> = (0..CUSTOMERS).map(|_| tokio::spawn(shop(client.clone(), until))).collect();
        let mut customers = Self { client, firsts: Vec::new(), open: Vec::new() };
        for customer in shopping {
            for (key, first) in customer.await?? {
                customers.firsts.push(first);
                if !is_final(first.status) {
                    customers.open.push(key);
                }
            }
        }
        Ok(customers)
    }

    /// One order more, which does not count.
    pub(crate) async fn order_once(&mut self) -> Result<()> {
        let key = new_key();
        let (first, _) = order(&self.client, &key).await?;
        if !is_final(first.status) {
            self.open.push(key);
        }
        Ok(())
    }

    /// Every order without a final answer is asked for again, under its key, until it has one.
    pub(crate) async fn ask_again_until_answered(&mut self) -> Result<()> {
        let begun = Instant::now();
        while let Some(key) = self.open.last() {
            let (first, answer) = order(&self.client, key).await?;
            if is_final(first.status) {
                self.open.pop();
                continue;
            }
            if begun.elapsed() > PATIENCE {
                bail!("{} orders were left without an answer, one with {}", self.open.len(), answer.body);
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    pub(crate) fn answers(&self) -> Vec<First> {
        self.firsts.clone()
    }
}

async fn shop(client: Client, until: Instant) -> Result<Vec<(String, First)>> {
    let mut firsts = Vec::new();
    while Instant::now() < until {
        let key = new_key();
        let (first, answer) = order(&client, &key).await?;
        let status = first.status;
        ensure!(
            is_final(status) || status == StatusCode::ACCEPTED || status == StatusCode::SERVICE_UNAVAILABLE,
            "{key} was answered {status}: {}",
            answer.body
        );
        ensure!(
            status != StatusCode::SERVICE_UNAVAILABLE || !answer.header("retry-after").is_empty(),
            "503 without Retry-After: {}",
            answer.body
        );
        firsts.push((key, first));
        tokio::time::sleep(PACE.saturating_sub(first.after)).await;
    }
    Ok(firsts)
}

async fn order(client: &Client, key: &str) -> Result<(First, Answer)> {
    let asked = Instant::now();
    let answer = client.place(key, &order_of("espresso-1kg", 1, "pm_ok")).await?;
    let at_once = answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.body.get("order_id").is_none();
    Ok((First { status: answer.status, after: asked.elapsed(), at_once }, answer))
}

/// No customer is declined here, and nothing is scarce.
fn is_final(status: StatusCode) -> bool {
    status == StatusCode::CREATED
}

fn new_key() -> String {
    format!("drill-{}", RandomIds.next_id())
}
