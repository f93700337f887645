//! Three replicas of the order service on one database: one is killed, one is frozen and comes back as a zombie.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use amends::client::Client;
use amends_primitives::{Clock, SystemClock, Timestamp};
use amends_sql::{Database, Options};
use amends_tests::{platform::Platform, process::eventually};
use anyhow::{Context, Result, ensure};
use rand::{Rng, rngs::StdRng};

use crate::shoppers::{PATIENCE, Shoppers};

const ORDERS: usize = 150;
/// A customer who hears nothing from a replica for so long asks another: more than the service itself takes to answer.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Longer than a lease by far, so that the frozen replica has surely lost its sagas when it wakes.
const FROZEN_FOR: Duration = Duration::from_secs(15);

pub(crate) async fn rounds(platform: &mut Platform, numbers: RangeInclusive<usize>, random: &mut StdRng) -> Result<()> {
    for number in numbers {
        let begun = Instant::now();
        let said = round(platform, random).await.with_context(|| format!("round {number}"))?;
        println!("round {number}: {ORDERS} orders, {said}, {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn round(platform: &mut Platform, random: &mut StdRng) -> Result<String> {
    let token = platform.demo().await?.token().unwrap_or_default().to_owned();
    let ways: Result<Vec<Client>> = platform
        .orders
        .iter()
        .map(|replica| Ok(Client::with_patience(*replica, ANSWER_MAX)?.with_token(token.clone())))
        .collect();
    let shoppers = Shoppers::send(ways?, ORDERS, random);

    shoppers.have_answers(random.random_range(1..ORDERS / 4)).await?;
    platform.kill("order").await?;
    let killed_at = SystemClock.now();
    shoppers.have_answers(random.random_range(ORDERS / 4..ORDERS / 2)).await?;
    platform.signal("order-2", "STOP").await?;
    let (frozen_at, frozen_on) = (Instant::now(), SystemClock.now());
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
    Ok(format!("{summary}; {}", takeover(platform, killed_at, frozen_on).await?))
}

/// By then another replica goes on with the sagas of one that is gone: a lease, and the time to see that it has ended.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(3);

/// When another replica first went on with a saga: a figure, not a judgement. One of the replica that was killed, unless that had none
/// in flight; then one of the frozen one.
async fn takeover(platform: &Platform, killed_at: Timestamp, frozen_at: Timestamp) -> Result<String> {
    let database = Database::connect_lazy(&platform.order_database, &Options::default())?;
    let rows: Vec<(String,)> = sqlx::query_as("SELECT events FROM saga_events WHERE events LIKE '%resumed.v1%'")
        .fetch_all(database.reader())
        .await?;
    database.close().await;
    let mut first: Option<i64> = None;
    for (events,) in rows {
        let events: Vec<serde_json::Value> = serde_json::from_str(&events)?;
        for event in events.iter().filter(|event| event["event"] == "resumed.v1") {
            let at = event["at"].as_i64().context("an event has a time")?;
            if at >= killed_at.as_micros() {
                first = Some(first.map_or(at, |first| first.min(at)));
            }
        }
    }
    ensure!(first.is_none_or(|first| first >= killed_at.as_micros()), "taken over from a living replica");
    let after = |since: Timestamp| first.map(|first| Timestamp::from_micros(first).since(since).as_secs_f64());
    Ok(match (after(killed_at), after(frozen_at)) {
        (Some(killed), Some(frozen)) if killed > TAKEN_OVER_WITHIN.as_secs_f64() => {
            format!("taken over {killed:.1} s after the kill, {frozen:.1} s after the freeze")
        }
        (Some(killed), _) => format!("taken over {killed:.1} s after the kill"),
        (None, _) => "nothing was in flight".to_owned(),
    })
}
