//! Looks on from outside, in the order service's own database, at who owns which saga: how soon are those of a replica that fell silent
//! taken over? How soon is a figure, not a judgement; *too* soon is a mistake.

use std::{
    collections::HashMap,
    fmt::{Display, Formatter},
    time::Duration,
};

use amends_sql::{Database, Options};
use anyhow::{Result, ensure};
use tokio::{sync::oneshot, task::JoinHandle};

/// A takeover is seen this much later at the most.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Replicas and when their leases end, by the database's clock; active sagas, their owners and their fences. All of one moment.
const LOOK: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT), '', id, expires_at FROM saga_replicas
    UNION ALL
    SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT), id, owner, fence FROM sagas
    WHERE status IN ('running', 'unwinding') AND owner IS NOT NULL";

/// Looks on until it is asked what it saw.
pub(crate) struct Onlooker {
    enough: oneshot::Sender<()>,
    looking: JoinHandle<Result<Takeovers>>,
}

/// How soon the sagas of each replica that fell silent were taken over.
#[derive(Default)]
pub(crate) struct Takeovers(Vec<Takeover>);

/// What became of the sagas that one silent replica left behind. In microseconds by the database's clock.
struct Takeover {
    /// When its lease ended.
    expiry: i64,
    sagas: usize,
    first: i64,
    last: i64,
}

impl Onlooker {
    pub(crate) fn at(order_database: &str) -> Result<Self> {
        let database = Database::connect_lazy(order_database, &Options { connections_max: 1, ..Options::default() })?;
        let (enough, mut had_enough) = oneshot::channel();
        let looking = tokio::spawn(async move {
            let mut seen = Seen::default();
            loop {
                seen.look(&database).await?;
                tokio::select! {
                    _ = &mut had_enough => break,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
            database.close().await;
            Ok(seen.takeovers)
        });
        Ok(Self { enough, looking })
    }

    pub(crate) async fn takeovers(self) -> Result<Takeovers> {
        // Gone already if it failed, which is told next.
        let _failed = self.enough.send(());
        self.looking.await?
    }
}

#[derive(Default)]
struct Seen {
    /// When each replica's lease ends.
    expiries: HashMap<String, i64>,
    /// Each active saga's owner and fence.
    sagas: HashMap<String, (String, i64)>,
    takeovers: Takeovers,
}

impl Seen {
    async fn look(&mut self, database: &Database) -> Result<()> {
        let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(LOOK).fetch_all(database.reader()).await?;
        let Some(now) = rows.iter().map(|(now, ..)| *now).min() else { return Ok(()) };
        let (replicas, sagas): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, saga, ..)| saga.is_empty());
        let sagas: HashMap<_, _> = sagas.into_iter().map(|(_, saga, owner, fence)| (saga, (owner, fence))).collect();
        for (saga, (owner, fence)) in &self.sagas {
            let Some(expiry) = self.expiries.get(owner) else { continue };
            let fence_now = match sagas.get(saga) {
                Some((_, fence)) => *fence,
                // Whether its owner finished it or another who had taken it over.
                None if *expiry <= now => fence_of(database, saga).await?,
                None => continue,
            };
            if fence_now != *fence {
                ensure!(*expiry <= now, "{saga} was taken over {} µs before the lease on it had ended", expiry - now);
                self.takeovers.add(*expiry, now);
            }
        }
        self.expiries = replicas.into_iter().map(|(_, _, replica, expiry)| (replica, expiry)).collect();
        self.sagas = sagas;
        Ok(())
    }
}

async fn fence_of(database: &Database, saga: &str) -> Result<i64> {
    let sql = "SELECT fence FROM sagas WHERE id = $1";
    let (fence,): (i64,) = sqlx::query_as(sql).bind(saga.to_owned()).fetch_one(database.reader()).await?;
    Ok(fence)
}

impl Takeovers {
    fn add(&mut self, expiry: i64, at: i64) {
        match self.0.iter_mut().find(|takeover| takeover.expiry == expiry) {
            Some(takeover) => (takeover.sagas, takeover.last) = (takeover.sagas + 1, at),
            None => self.0.push(Takeover { expiry, sagas: 1, first: at, last: at }),
        }
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// When takeovers began, over all of them.
    pub(crate) fn summary(&self) -> String {
        let mut begun: Vec<f64> = self.0.iter().map(|takeover| takeover.since_beat(takeover.first)).collect();
        begun.sort_by(f64::total_cmp);
        let (Some(last), median) = (begun.last(), begun.get(begun.len() / 2)) else {
            return "nothing was taken over".into();
        };
        let late = begun.iter().filter(|seconds| **seconds > 3.0).count();
        format!(
            "{} replicas' sagas were taken over; it began {:.2} s after their last heartbeat (median), {last:.2} s at the latest; \
             {late} times later than 3 s",
            begun.len(),
            median.unwrap_or(last)
        )
    }
}

impl Display for Takeovers {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return write!(out, "nothing taken over");
        }
        for (at, takeover) in self.0.iter().enumerate() {
            let (comma, sagas) = (if at == 0 { "" } else { ", " }, takeover.sagas);
            let (first, last) = (takeover.since_beat(takeover.first), takeover.since_beat(takeover.last));
            write!(
                out,
                "{comma}{sagas} sagas taken over {first:.2} to {last:.2} s after their replica's last heartbeat"
            )?;
        }
        Ok(())
    }
}

impl Takeover {
    /// In seconds.
    fn since_beat(&self, at: i64) -> f64 {
        let lease = saga_engine::Config::default().lease;
        (lease + Duration::from_micros((at - self.expiry).unsigned_abs())).as_secs_f64()
    }
}
