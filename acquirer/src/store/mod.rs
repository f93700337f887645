//! The acquirer's own memory in a SQLite file: the lines of the ledger, and the statement of what moved, committed together.
//!
//! Must not know: when a line may change.

mod audit;
mod schema;
mod take_over;
mod writer;

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock, Money, Timestamp};
use amends_sql::{
    Database, Dialect, Options, SqlError,
    claim::ClaimError,
    group::{Asked, GroupCommit},
};
use sqlx::{Row as _, any::AnyRow};

use self::writer::{Job, Statements, Write};
use crate::{
    domain::{Entry, Key, Movement, MovementKind},
    ledger::{LedgerError, Swapped, decode, encode},
};

pub use audit::Line;
pub use schema::SCHEMA;
pub use take_over::FormerLine;

/// More on one page would make an answer larger than merchants read.
pub const PAGE_SIZE_MAX: u32 = 200;

/// A movement and its place on the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Counts from 1, without gaps, in the order of commits.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What moved.
    pub movement: Movement,
}

/// The file. Clones share its connections.
#[derive(Clone)]
pub struct SqlLedger {
    database: Database,
    clock: Arc<dyn Clock>,
    group: GroupCommit<Job>,
}

impl SqlLedger {
    /// Opens `url` (`sqlite://acquirer.db?mode=rwc`); the file is opened at the first call. Call it inside a runtime.
    ///
    /// # Errors
    /// When the URL is not one of SQLite's: the statement's numbering relies on there being one writer.
    pub fn open(url: &str, options: &Options, clock: Arc<dyn Clock>) -> Result<Self, SqlError> {
        let database = Database::connect_lazy(url, options)?;
        if database.dialect() != Dialect::Sqlite {
            return Err(SqlError::UnsupportedUrl);
        }
        let group = GroupCommit::start(database.clone(), Statements(Arc::clone(&clock)));
        Ok(Self { database, clock, group })
    }

    /// The file, to be counted; for tests, to make its disk full.
    #[doc(hidden)]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Claims the file of `url`, the one it was opened with, until [`close`](Self::close): no other process may serve it.
    ///
    /// # Errors
    /// When another process has it, or it was copied without its `-wal`.
    pub async fn serve_alone(&self, url: &str) -> Result<(), ClaimError> {
        self.database.claim(url).await
    }

    /// Brings the tables up to date, waiting up to `patience` for room on the disk.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub async fn migrate(&self, patience: Duration) -> Result<(), SqlError> {
        self.database.migrate_when_up(&SCHEMA, patience).await
    }

    /// Whether the file answers and can be written.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn ping(&self) -> Result<(), SqlError> {
        self.database.ready().await
    }

    /// Lets go of the file.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// What moved after that place on the statement, in order, at most `limit` and [`PAGE_SIZE_MAX`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn movements(&self, after: i64, limit: u32) -> Result<Vec<Posted>, LedgerError> {
        let sql = "SELECT seq, at, kind, idempotency_key, charge_key, amount_minor, currency, receipt \
                   FROM acquirer_movements WHERE seq > $1 ORDER BY seq LIMIT $2";
        let limit = limit.clamp(1, PAGE_SIZE_MAX);
        let rows = self
            .database
            .bounded(async {
                let query = sqlx::query(sql).bind(after).bind(i64::from(limit));
                query.fetch_all(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        rows.iter().map(read_posted).collect()
    }

    /// The charge or the authorization that a capture or a refund with this key belongs to.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn charge_of(&self, key: &Key) -> Result<Option<Key>, LedgerError> {
        let sql = "SELECT charge_key FROM acquirer_movements WHERE idempotency_key = $1 ORDER BY seq LIMIT 1";
        let found: Option<String> = self
            .database
            .bounded(async {
                let query = sqlx::query_scalar(sql).bind(key.to_string());
                query.fetch_optional(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        found.map(|key| read_key(&key)).transpose()
    }

    /// Writes the line unless its key has one; returns the one it has.
    ///
    /// # Errors
    /// When the ledger fails, or another charge has the key of what it moves.
    pub async fn claim(&self, entry: &Entry) -> Result<Option<Entry>, LedgerError> {
        let sql = "INSERT INTO acquirer_lines (idempotency_key, version, line) VALUES ($1, $2, $3) \
                   ON CONFLICT (idempotency_key) DO NOTHING";
        if self.write(sql, entry).await? {
            return Ok(None);
        }
        self.load(&entry.key).await?.map(Some).ok_or(LedgerError::Contended)
    }

    /// The line of a key.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn load(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        let found: Option<(i64, String)> = self
            .database
            .bounded(async {
                let query = sqlx::query_as("SELECT version, line FROM acquirer_lines WHERE idempotency_key = $1");
                query.bind(key.to_string()).fetch_optional(self.database.reader()).await.map_err(SqlError::from)
            })
            .await?;
        found.map(|(version, line)| decode(key.as_str(), version, &line)).transpose()
    }

    /// Replaces the line if its version is `next.version - 1`.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub async fn swap(&self, next: &Entry) -> Result<Swapped, LedgerError> {
        let sql = "UPDATE acquirer_lines SET version = $2, line = $3 WHERE idempotency_key = $1 AND version = $2 - 1";
        Ok(if self.write(sql, next).await? { Swapped::Done } else { Swapped::Lost })
    }

    /// Writes a line, and what moved with it, if the statement's condition holds.
    async fn write(&self, sql: &'static str, entry: &Entry) -> Result<bool, LedgerError> {
        let write = Write { sql, entry: entry.clone(), line: encode(entry)? };
        self.database.bounded(self.group.submit(|reply| Asked::new(write, reply))).await
    }
}

fn read_key(text: &str) -> Result<Key, LedgerError> {
    Key::try_new(text).map_err(|_| LedgerError::Corrupt { what: "idempotency key" })
}

fn read_posted(row: &AnyRow) -> Result<Posted, LedgerError> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(SqlError::from);
    let number = |column: &str| row.try_get::<i64, _>(column).map_err(SqlError::from);
    let currency = text("currency")?.parse().map_err(|_| LedgerError::Corrupt { what: "currency" })?;
    let movement = Movement {
        kind: MovementKind::from_name(&text("kind")?).ok_or(LedgerError::Corrupt { what: "movement" })?,
        key: read_key(&text("idempotency_key")?)?,
        charge: read_key(&text("charge_key")?)?,
        amount: Money::new(number("amount_minor")?, currency),
        receipt: text("receipt")?,
    };
    Ok(Posted { seq: number("seq")?, at: Timestamp::from_micros(number("at")?), movement })
}
