//! Three replicas of the order service on one database: one is killed, one is frozen and comes back as a zombie.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use amends::client::Client;
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
    let owners = Owners::read(platform).await?;
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
    Ok(format!("{summary}; {}", owners.takeover(platform).await?))
}

/// Who ran which sagas when a replica was killed, and what became of those of the killed one. How soon is a figure, not a judgement.
struct Owners {
    /// When each replica's lease ends, by the database's clock.
    expiries: HashMap<String, i64>,
    /// Sagas that were running or unwinding, and their replicas.
    sagas: HashMap<String, String>,
}

impl Owners {
    async fn read(platform: &Platform) -> Result<Self> {
        let database = Database::connect_lazy(&platform.order_database, &Options::default())?;
        let sagas = "SELECT id, owner FROM sagas WHERE status IN ('running', 'unwinding') AND owner IS NOT NULL";
        let sagas: Vec<(String, String)> = sqlx::query_as(sagas).fetch_all(database.reader()).await?;
        let expiries: Vec<(String, i64)> =
            sqlx::query_as("SELECT id, expires_at FROM saga_replicas").fetch_all(database.reader()).await?;
        database.close().await;
        Ok(Self { expiries: expiries.into_iter().collect(), sagas: sagas.into_iter().collect() })
    }

    /// How long after its last heartbeat, and after its lease, another replica first went on with a saga of the killed one.
    async fn takeover(&self, platform: &Platform) -> Result<String> {
        let now = Self::read(platform).await?;
        // The others have said since that they are alive, the frozen one when it woke.
        let is_silent =
            |(replica, expiry): &(&String, &i64)| now.expiries.get(*replica).is_none_or(|now| now == *expiry);
        let running = |replica: &String| self.sagas.values().filter(|owner| *owner == replica).count();
        let killed =
            self.expiries.iter().filter(is_silent).max_by_key(|(replica, expiry)| (running(replica), **expiry));
        let Some((killed, expiry)) = killed else {
            return Ok("the killed replica had not said that it was alive".into());
        };
        let mut first: Option<i64> = None;
        for (saga, _) in self.sagas.iter().filter(|(_, owner)| *owner == killed) {
            first = first.into_iter().chain(resumed(platform, saga, killed).await?).min();
        }
        let Some(first) = first else { return Ok("the killed replica had nothing in flight".into()) };
        let lease = i64::try_from(saga_engine::Config::default().lease.as_micros())?;
        let seconds = |micros: i64| Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
        ensure!(
            first >= *expiry,
            "a saga was taken over {:.3} s before the lease on it had ended",
            seconds(expiry - first)
        );
        let (of_beat, of_lease) = (seconds(first - (expiry - lease)), seconds(first - expiry));
        Ok(format!(
            "{} sagas of the killed one taken over {of_beat:.1} s after its last heartbeat, {of_lease:.2} s after its lease",
            running(killed)
        ))
    }
}

/// When a replica other than its owner first went on with the saga, in microseconds; none if its own replica had finished it.
async fn resumed(platform: &Platform, saga: &str, owner: &str) -> Result<Option<i64>> {
    let database = Database::connect_lazy(&platform.order_database, &Options::default())?;
    let rows: Vec<(String,)> = sqlx::query_as("SELECT events FROM saga_events WHERE saga_id = $1 ORDER BY seq")
        .bind(saga.to_owned())
        .fetch_all(database.reader())
        .await?;
    database.close().await;
    for (events,) in rows {
        let events: Vec<serde_json::Value> = serde_json::from_str(&events)?;
        if let Some(event) = events.iter().find(|event| event["event"] == "resumed.v1" && event["replica"] != owner) {
            return Ok(Some(event["at"].as_i64().context("an event has a time")?));
        }
    }
    Ok(None)
}
