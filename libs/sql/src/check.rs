//! Looking at a SQLite file: before a service relies on it, and on request.

use std::{
    str::FromStr as _,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    Database, FileFault, SqlError,
    classes::{self, AUTH, CANTOPEN, CORRUPT, INTERRUPT, NOTADB, PERM, READONLY},
    database::File,
    in_words,
};

/// Longer than a small shop's files take; a large one's are for [`Database::check_fully`]. A start waits this long at the most, per file.
const START_BOUND: Duration = Duration::from_secs(1);
/// More of them say nothing new.
const FINDINGS_MAX: u32 = 20;
/// Virtual instructions between two looks at the clock: some tens of microseconds.
const OPS_PER_LOOK: i32 = 1_000;

/// What looking at a store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whether all of it was looked at. Always false of PostgreSQL: its damage is for its own tools (`pg_amcheck`, checksums).
    pub complete: bool,
    /// What is wrong, in words; at most twenty of them.
    pub findings: Vec<String>,
}

impl Database {
    /// Looks for damage for as long as `bound` allows: the structure of all pages first, then whether indices agree with their tables.
    /// Beside a running service it is safe, and reads as much as it can in that time.
    ///
    /// # Errors
    /// When the file cannot be opened or read. That it is no database, or damaged beyond reading, is a finding.
    pub async fn check_quickly(&self, bound: Duration) -> Result<Checked, SqlError> {
        self.check(Some(Instant::now() + bound)).await
    }

    /// Looks for damage everywhere, however long it takes (about a second for a hundred megabytes). Changes nothing.
    ///
    /// # Errors
    /// As [`check_quickly`](Self::check_quickly).
    pub async fn check_fully(&self) -> Result<Checked, SqlError> {
        self.check(None).await
    }

    async fn check(&self, until: Option<Instant>) -> Result<Checked, SqlError> {
        let Some(file) = &self.file else { return Ok(Checked { complete: false, findings: Vec::new() }) };
        let mut connection = match open(file, until).await {
            Ok(connection) => connection,
            Err(error) => return finding(file, error).await,
        };
        let mut checked = Checked { complete: true, findings: Vec::new() };
        for pragma in ["quick_check", "integrity_check"] {
            if until.is_some_and(|until| until <= Instant::now()) {
                checked.complete = false;
                break;
            }
            match run(&mut connection, pragma).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => {
                    checked.findings = found;
                    break;
                }
                // The bound has passed.
                Err(error) if classes::sqlite_primary(&error) == Some(INTERRUPT) => {
                    checked.complete = false;
                    break;
                }
                Err(error) => {
                    checked = finding(file, error).await?;
                    break;
                }
            }
        }
        // Its own thread ends with it; what closing says is of no use any more.
        let _closed = connection.close().await;
        Ok(checked)
    }

    /// Looks at the file before the first use: what is named here within a second would otherwise be found out by customers.
    pub(crate) async fn look_at_the_file(&self) -> Result<(), SqlError> {
        let Some(file) = &self.file else { return Ok(()) };
        file.looked_at.get_or_try_init(|| self.look_at(file)).await.copied()
    }

    async fn look_at(&self, file: &File) -> Result<(), SqlError> {
        // A lock can be had on a file that cannot be written.
        if let Err(error) = self.write_a_page().await {
            return Err(in_the_files_terms(file, error).await);
        }
        let checked = self.check_quickly(START_BOUND).await?;
        if let Some(found) = checked.findings.first() {
            return Err(FileFault::damaged(&file.path, found).into());
        }
        if !checked.complete {
            tracing::info!(file = %file.path.display(), "too large to be checked at the start; `amends doctor` looks at all of it");
        }
        Ok(())
    }
}

/// A connection of its own, as only the driver's own kind can be given a bound in the middle of a statement.
async fn open(file: &File, until: Option<Instant>) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = SqliteConnectOptions::from_str(&file.existing_url)?.connect().await?;
    if let Some(until) = until {
        connection.lock_handle().await?.set_progress_handler(OPS_PER_LOOK, move || Instant::now() < until);
    }
    Ok(connection)
}

async fn run(connection: &mut SqliteConnection, pragma: &str) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("PRAGMA {pragma}({FINDINGS_MAX})");
    let rows: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(text,)| text).filter(|text| text != "ok").collect())
}

/// What says that the file is no good is a finding; what says that it could not be looked at is an error.
async fn finding(file: &File, error: sqlx::Error) -> Result<Checked, SqlError> {
    match SqlError::from(error) {
        SqlError::Damaged(error) => {
            let found = match classes::sqlite_primary(&error) {
                Some(NOTADB) => FileFault::not_a_database(&file.path).what,
                _ => in_words(&error),
            };
            Ok(Checked { complete: true, findings: vec![found] })
        }
        other => Err(in_the_files_terms(file, other).await),
    }
}

async fn in_the_files_terms(file: &File, error: SqlError) -> SqlError {
    let (SqlError::Unavailable(cause) | SqlError::Damaged(cause)) = &error else { return error };
    match classes::sqlite_primary(cause) {
        Some(PERM | READONLY | AUTH) => FileFault::read_only(&file.path).into(),
        Some(CANTOPEN) => FileFault::unopened(&file.path).await.into(),
        Some(NOTADB) => FileFault::not_a_database(&file.path).into(),
        Some(CORRUPT) => FileFault::damaged(&file.path, &in_words(cause)).into(),
        // A full disk, for one, is no fault of the file's, and may be waited for.
        _ => error,
    }
}
