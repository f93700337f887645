//! Makes a copied store a file that stands by itself, checks it, and audits the copies as the shop's books.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use amends_sql::sqlite_url;
use anyhow::{Context as _, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use service_base::config::Sources;

use crate::{
    audit::{self, bank::Source, laws::Law, progress::Progress, report::Report},
    stores::{self, Name},
};

/// The audit lets go of the copies a moment after it has ended.
const LET_GO_MAX: Duration = Duration::from_secs(30);

/// The configuration with the stores in `folder`, whatever `sources` say of where stores are.
///
/// # Errors
/// When the folder's path is not UTF-8.
pub(super) fn of_copies(folder: &Path, sources: &Sources) -> anyhow::Result<Sources> {
    Name::ALL.into_iter().try_fold(sources.clone(), |sources, store| {
        Ok(sources.set(store.url_key(), sqlite_url(&folder.join(store.file_name()))?))
    })
}

/// Audits the stores in `folder`, whatever `sources` say of where stores are.
///
/// # Errors
/// When they cannot be read.
pub(super) async fn audit(folder: &Path, sources: &Sources) -> anyhow::Result<Report> {
    let mut books = stores::open(&of_copies(folder, sources)?).await?;
    if matches!(books.bank, Source::Acquirer(_)) {
        books.bank = Source::LeftOut("the copies are older than the acquirer's statement".to_owned());
    }
    let mut report = audit::run(&books, &mut Progress::on_terminal()).await?;
    // While nothing serves a store, nothing in it moves: its sagas go on when it is served again.
    report.findings.retain(|finding| finding.law != Law::SagaStuck);
    Ok(report)
}

/// Checks a store's pages and indexes, and makes it one file without `-wal`, whose [promise](amends_sql::claim) is kept.
///
/// # Errors
/// When the store is damaged, or another process has it open.
pub(super) fn settle(file: &Path) -> anyhow::Result<()> {
    let checking = || format!("cannot check {}", file.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).with_context(checking)?;
    connection.busy_timeout(Duration::from_secs(1)).with_context(checking)?;
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).with_context(checking)?;
    ensure!(found == "ok", "{} is damaged: {found}", file.display());
    let promised: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).with_context(checking)?;
    if promised > 0 {
        connection.execute("UPDATE _amends_claim SET kept = ?1", [promised]).with_context(checking)?;
    }
    let begun = Instant::now();
    loop {
        let mode = connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "delete" => return Ok(()),
            Ok(_) | Err(_) if begun.elapsed() < LET_GO_MAX => std::thread::sleep(Duration::from_millis(20)),
            Ok(mode) => bail!("{} stays in mode {mode}: another process has it open", file.display()),
            Err(error) => return Err(error).with_context(checking),
        }
    }
}

/// The newest migration of each component of a store.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn schemas(connection: &Connection) -> rusqlite::Result<BTreeMap<String, i64>> {
    let mut tables = connection
        .prepare(r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\_%\_migrations' ESCAPE '\'")?;
    let names = tables.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let newest = |table: String| {
        let component = table.trim_start_matches('_').trim_end_matches("_migrations").to_owned();
        let quoted = table.replace('"', "\"\"");
        let sql = format!("SELECT COALESCE(MAX(version), 0) FROM \"{quoted}\" WHERE success");
        Ok((component, connection.query_row(&sql, [], |row| row.get(0))?))
    };
    names.into_iter().map(newest).collect()
}
