//! One connection to a SQLite file. All of it waits for the disk; see [`threads`](super::threads).

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Batch, Connection, ErrorCode, OpenFlags, fallible_iterator::FallibleIterator as _};
use sqlx::{
    Any, Error, Execute, SqlStr,
    any::{AnyArguments, AnyRow, AnyStatement},
    error::BoxDynError,
};
use sqlx_core::any::AnyValueKind;

use super::{
    DriverError,
    values::{self, Columns},
};

/// Into WAL mode a new file is put with a lock that SQLite does not wait for; several processes that open it at once take turns. A lock that
/// SQLite itself has waited for as long is not waited for again.
const SET_UP_MAX: Duration = Duration::from_secs(1);
const SET_UP_PAUSE: Duration = Duration::from_millis(25);
/// The statements of one store, with the sizes of its batches.
const CACHED_STATEMENTS: usize = 128;
/// A statement that takes longer is told of: an index is missing, or the machine is ill.
const SLOW: Duration = Duration::from_secs(1);

/// How connections are opened.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) path: PathBuf,
    pub(crate) flags: OpenFlags,
    /// Run first on each of them.
    pub(crate) set_up: String,
}

impl Opening {
    pub(super) fn open(&self) -> Result<Session, Error> {
        let open = || {
            let connection = Connection::open_with_flags(&self.path, self.flags)?;
            connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
            let begun = Instant::now();
            loop {
                match connection.execute_batch(&self.set_up) {
                    Err(error) if is_busy(&error) && begun.elapsed() < SET_UP_MAX => thread::sleep(SET_UP_PAUSE),
                    done => return done.map(|()| Session(connection)),
                }
            }
        };
        open().map_err(DriverError::convert)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// A statement with its values.
pub(crate) struct Statement {
    pub(crate) sql: SqlStr,
    /// None of a script, which may be several statements.
    pub(crate) arguments: Option<AnyArguments>,
    /// It will be asked for again.
    pub(crate) persistent: bool,
    pub(crate) wanted: Wanted,
}

impl Statement {
    pub(crate) fn of<'q>(mut query: impl Execute<'q, Any> + 'q, wanted: Wanted) -> Result<Self, Error> {
        let arguments = query.take_arguments().map_err(Error::Encode)?;
        let persistent = query.persistent();
        Ok(Self { sql: query.sql(), arguments, persistent, wanted })
    }
}

/// For a server, whose driver runs it.
impl Execute<'_, Any> for Statement {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&AnyStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Which of a statement's rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    None,
    First,
    All,
}

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<AnyRow>,
    /// How many rows were inserted, updated or deleted.
    pub(crate) changed: u64,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Session(Connection);

impl Session {
    /// A statement that takes no values and has no rows of interest, such as `BEGIN`.
    pub(crate) fn simple(&self, sql: &str) -> Result<(), Error> {
        let run = || self.step(&mut *self.0.prepare_cached(sql)?, sql, &[], Wanted::None, &mut Outcome::default());
        run().map_err(DriverError::convert)
    }

    pub(crate) fn run(&self, statement: &Statement) -> Result<Outcome, Error> {
        let begun = Instant::now();
        let outcome = self.run_all(statement).map_err(DriverError::convert);
        let took = begun.elapsed();
        tracing::trace!(sql = statement.sql.as_str(), took_us = took.as_micros(), "statement");
        if took >= SLOW {
            tracing::warn!(sql = statement.sql.as_str(), took_ms = took.as_millis(), "a statement was slow");
        }
        outcome
    }

    fn run_all(&self, statement: &Statement) -> rusqlite::Result<Outcome> {
        let (sql, wanted, mut outcome) = (statement.sql.as_str(), statement.wanted, Outcome::default());
        match &statement.arguments {
            Some(arguments) if statement.persistent => {
                self.step(&mut *self.0.prepare_cached(sql)?, sql, &arguments.values.0, wanted, &mut outcome)?;
            }
            Some(arguments) => self.step(&mut self.0.prepare(sql)?, sql, &arguments.values.0, wanted, &mut outcome)?,
            None => {
                let mut script = Batch::new(&self.0, sql);
                while let Some(mut part) = script.next()? {
                    self.step(&mut part, "", &[], wanted, &mut outcome)?;
                }
            }
        }
        Ok(outcome)
    }

    fn step(
        &self,
        statement: &mut rusqlite::Statement<'_>,
        sql: &str,
        values: &[AnyValueKind],
        wanted: Wanted,
        outcome: &mut Outcome,
    ) -> rusqlite::Result<()> {
        values::bind(statement, sql, values)?;
        let (before, mut columns) = (self.0.total_changes(), None);
        // A write that is a transaction of its own is committed after its last row, and only its end says whether that failed.
        let stops_at_first = wanted == Wanted::First && statement.readonly();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if wanted == Wanted::All || (wanted == Wanted::First && outcome.rows.is_empty()) {
                outcome.rows.push(columns.get_or_insert_with(|| Columns::of(row.as_ref())).read(row)?);
            }
            if stops_at_first {
                break;
            }
        }
        // What SQLite says of a statement that changes nothing is the last one's.
        if self.0.total_changes() != before {
            outcome.changed += self.0.changes();
        }
        Ok(())
    }

    /// Whether a transaction is open.
    pub(super) fn is_in_transaction(&self) -> bool {
        !self.0.is_autocommit()
    }
}
