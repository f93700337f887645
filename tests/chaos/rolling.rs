//! A rolling restart: two replicas of each service and two gateways, told to stop one after the other, while customers order who do not ask
//! twice. No customer notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use amends::client::{Client, order_of};
use amends_tests::{check::key, direct, platform::Platform};
use anyhow::{Context, Result, ensure};

use crate::{unhurried, warnings};

const CUSTOMERS: usize = 8;
const STOPPED_MAX: Duration = Duration::from_secs(30);
const REPLICAS: [&str; 10] = [
    "inventory",
    "inventory-2",
    "payment",
    "payment-2",
    "identity",
    "identity-2",
    "order",
    "order-2",
    "gateway",
    "gateway-2",
];

/// What customers were answered that they should not have been.
#[derive(Debug, Default)]
struct Customers {
    stop: AtomicBool,
    answered: AtomicUsize,
    failed: std::sync::Mutex<Vec<String>>,
}

pub(crate) async fn no_customer_notices(rounds: usize) -> Result<()> {
    let Some(mut platform) = Platform::doubled(unhurried()).await? else { return Ok(()) };
    for round in 1..=rounds {
        let rolled = roll(&mut platform).await;
        let answered = rolled.with_context(|| format!("round {round}\n{}", warnings(&platform)))?;
        println!("round {round}: {answered} orders while {} replicas were restarted, none failed", REPLICAS.len());
    }
    platform.settled().await?;
    platform.audit().await?;
    direct::books_agree(&platform).await?;
    platform.stop().await
}

async fn roll(platform: &mut Platform) -> Result<usize> {
    let customers = Arc::new(Customers::default());
    let demo = platform.demo().await?;
    let ordering: Vec<_> =
        (0..CUSTOMERS).map(|_| tokio::spawn(order_until_told(demo.clone(), Arc::clone(&customers)))).collect();
    let mut during = Vec::new();
    for replica in REPLICAS {
        let before = customers.failures();
        customers.some_more().await?;
        let code = platform.terminate(replica, STOPPED_MAX).await?;
        ensure!(code == Some(0), "{replica} ended with {code:?}");
        customers.some_more().await?;
        platform.restart(replica).await?;
        customers.some_more().await?;
        during.extend(customers.failures_since(before).into_iter().map(|what| format!("{replica}: {what}")));
    }
    customers.stop.store(true, Ordering::SeqCst);
    for customer in ordering {
        customer.await?;
    }
    let answered = customers.answered.load(Ordering::SeqCst);
    ensure!(during.is_empty(), "{} of {answered} orders failed:\n{}", during.len(), during.join("\n"));
    Ok(answered)
}

async fn order_until_told(demo: Client, customers: Arc<Customers>) {
    while !customers.stop.load(Ordering::SeqCst) {
        let failed = match demo.place(&key(), &order_of("case-chaos", 1, "pm_ok")).await {
            Ok(answer) if [201, 202].contains(&answer.status.as_u16()) => None,
            Ok(answer) => Some(format!("{} {}", answer.status, answer.body)),
            Err(error) => Some(format!("{error:#}")),
        };
        customers.answered.fetch_add(1, Ordering::SeqCst);
        if let Some(failed) = failed {
            customers.locked().push(failed);
        }
    }
}

impl Customers {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn failures(&self) -> usize {
        self.locked().len()
    }

    fn failures_since(&self, before: usize) -> Vec<String> {
        self.locked().get(before..).unwrap_or_default().to_vec()
    }

    /// Waits for a few more answers, so that something is under way whenever a replica is stopped or started.
    async fn some_more(&self) -> Result<()> {
        let enough = self.answered.load(Ordering::SeqCst) + CUSTOMERS * 2;
        amends_tests::process::eventually("customers are answered", Duration::from_mins(1), || async {
            self.answered.load(Ordering::SeqCst) >= enough
        })
        .await
    }
}
