//! Three replicas of the order service on one database: one is killed, one is frozen and comes back as a zombie.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use amends::client::Client;
use amends_tests::{
    platform::Platform,
    process::eventually,
    shoppers::{PATIENCE, Shoppers},
};
use anyhow::{Context, Result};
use rand::{Rng, rngs::StdRng};

use crate::takeovers::{Onlooker, Takeovers};

const ORDERS: usize = 150;
/// A customer who hears nothing from a replica for so long asks another: more than the service itself takes to answer.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Longer than a lease by far, so that the frozen replica has surely lost its sagas when it wakes.
const FROZEN_FOR: Duration = Duration::from_secs(15);

pub(crate) async fn rounds(
    platform: &mut Platform,
    numbers: RangeInclusive<usize>,
    random: &mut StdRng,
) -> Result<Takeovers> {
    let mut all = Takeovers::default();
    for number in numbers {
        let begun = Instant::now();
        let (said, takeovers) = round(platform, random).await.with_context(|| format!("round {number}"))?;
        println!("round {number}: {ORDERS} orders, {said}; {takeovers}; {:.1} s", begun.elapsed().as_secs_f64());
        all.extend(takeovers);
    }
    Ok(all)
}

async fn round(platform: &mut Platform, random: &mut StdRng) -> Result<(String, Takeovers)> {
    let onlooker = Onlooker::at(&platform.order_database)?;
    let token = platform.demo().await?.token().unwrap_or_default().to_owned();
    let ways: Result<Vec<Client>> = platform
        .orders
        .iter()
        .map(|replica| Ok(Client::with_patience(*replica, ANSWER_MAX)?.with_token(token.clone())))
        .collect();
    let shoppers = Shoppers::send(ways?, ORDERS, random);

    shoppers.have_answers(random.random_range(1..ORDERS / 4)).await?;
    platform.kill("order").await?;
    shoppers.have_answers(random.random_range(ORDERS / 4..ORDERS / 2)).await?;
    platform.signal("order-2", "STOP").await?;
    let frozen_at = Instant::now();
    let before = shoppers.confirmed();
    let all_or_more = || async { shoppers.confirmed() > before || shoppers.answered() == ORDERS };
    let accepted = eventually("the last replica confirms orders", PATIENCE, all_or_more).await;
    // The point is that it is away for longer than its lease, not that something happens meanwhile.
    tokio::time::sleep(FROZEN_FOR.saturating_sub(frozen_at.elapsed())).await;
    platform.signal("order-2", "CONT").await?;
    accepted?;
    platform.restart("order").await?;

    let summary = shoppers.all_answered().await?.summary()?;
    platform.settled().await?;
    platform.audit().await?;
    Ok((summary, onlooker.takeovers().await?))
}
