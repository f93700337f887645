//! A store on a machine that misbehaves: what it costs, and that it passes.

use std::{io::Write as _, path::PathBuf, time::Duration};

use futures::FutureExt as _;

use crate::{Database, Migration, Options, Schema, SqlError, Tx, in_words, sqlite_url};

const SCHEMA: Schema = Schema {
    component: "things",
    migrations: &[Migration {
        version: 1,
        description: "create",
        postgres: None,
        sql: "CREATE TABLE thing (id BIGINT PRIMARY KEY, filler BLOB);
              CREATE TABLE part (id BIGINT PRIMARY KEY, of_thing BIGINT REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED)",
    }],
};

struct Store {
    dir: tempfile::TempDir,
    database: Database,
}

impl Store {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Self { database: open(&dir.path().join("t.db"), &Options::default()), dir };
        store.database.migrate(&SCHEMA).await.unwrap();
        store
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("t.db")
    }

    async fn things(&self) -> i64 {
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM thing").fetch_one(self.database.reader()).await.unwrap();
        count
    }

    /// As a caller does: a transaction with two statements.
    async fn put_two(&self, id: i64) -> Result<(), SqlError> {
        let mut tx = self.database.begin().await?;
        put(&mut tx, id).await?;
        put(&mut tx, id + 1).await?;
        Ok(tx.commit().await?)
    }
}

fn open(file: &std::path::Path, options: &Options) -> Database {
    Database::connect_lazy(&sqlite_url(file).unwrap(), options).unwrap()
}

/// Needs two pages more.
async fn put(tx: &mut Tx, id: i64) -> Result<(), SqlError> {
    sqlx::query("INSERT INTO thing (id, filler) VALUES ($1, zeroblob(8192))").bind(id).execute(&mut **tx).await?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "called on what a call has just returned")]
fn is_unavailable(result: Result<(), SqlError>) {
    assert!(matches!(result, Err(SqlError::Unavailable(_))), "{result:?}");
}

#[tokio::test]
async fn a_full_disk_passes_by_itself() {
    let store = Store::new().await;
    store.put_two(1).await.unwrap();
    store.database.fill_up();
    for _ in 0..3 {
        is_unavailable(store.put_two(3).await);
    }
    store.database.repair();
    store.put_two(3).await.unwrap();
    assert_eq!(store.things().await, 4);
}

#[tokio::test]
async fn a_read_only_file_passes_by_itself() {
    let store = Store::new().await;
    store.database.turn_read_only();
    for _ in 0..3 {
        is_unavailable(store.put_two(1).await);
    }
    let single = sqlx::query("INSERT INTO thing (id) VALUES (1)").execute(store.database.writer()).await;
    is_unavailable(single.map(|_| ()).map_err(SqlError::from));
    store.database.repair();
    store.put_two(1).await.unwrap();
}

#[tokio::test]
async fn what_follows_a_full_disk_in_a_transaction_is_refused() {
    let store = Store::new().await;
    let mut tx = store.database.begin().await.unwrap();
    put(&mut tx, 1).await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *tx).await.unwrap();
    is_unavailable(put(&mut tx, 2).await);
    // SQLite has rolled back: this would be committed alone.
    let small = sqlx::query("INSERT INTO part (id) VALUES (1)").execute(&mut *tx).await;
    is_unavailable(small.map(|_| ()).map_err(SqlError::from));
    is_unavailable(tx.commit().await.map_err(SqlError::from));
    assert_eq!(store.things().await, 0);
    let (parts,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM part").fetch_one(store.database.reader()).await.unwrap();
    assert_eq!(parts, 0);
    store.put_two(1).await.unwrap();
}

#[tokio::test]
async fn rolling_back_what_the_disk_ended_succeeds() {
    let store = Store::new().await;
    let mut tx = store.database.begin().await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *tx).await.unwrap();
    is_unavailable(put(&mut tx, 1).await);
    tx.rollback().await.unwrap();
    store.put_two(1).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_fails_takes_its_connection_with_it() {
    let store = Store::new().await;
    for _ in 0..2 {
        let mut tx = store.database.begin().await.unwrap();
        sqlx::query("INSERT INTO part (id, of_thing) VALUES (1, 404)").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap_err();
    }
    store.put_two(1).await.unwrap();
}

#[tokio::test]
async fn a_transaction_cut_short_anywhere_leaves_nothing() {
    let store = Store::new().await;
    for round in 0..20 {
        // Polled once: the command is under way, and its answer is not waited for.
        drop(store.database.begin().now_or_never());
        let mut tx = store.database.begin().await.unwrap();
        put(&mut tx, 1000 + round).await.unwrap();
        match round % 4 {
            0 => drop(tx),
            1 => {
                drop(put(&mut tx, 2000).now_or_never());
                drop(tx);
            }
            2 => drop(tx.rollback().now_or_never()),
            // Whether this one is committed is in doubt; the next must not be affected.
            _ => drop(tx.commit().now_or_never()),
        }
        store.put_two(10 * round).await.unwrap();
    }
    let sql = "SELECT COUNT(*) FROM thing WHERE id >= 1000 AND (id - 1000) % 4 <> 3";
    let (left,): (i64,) = sqlx::query_as(sql).fetch_one(store.database.reader()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_transaction_on_a_reader_is_as_good() {
    let store = Store::new().await;
    store.put_two(1).await.unwrap();
    for _ in 0..20 {
        let mut tx = store.database.begin_reading().await.unwrap();
        sqlx::query("SELECT nothing FROM nowhere").execute(&mut *tx).await.unwrap_err();
        drop(tx);
    }
    let mut tx = store.database.begin_reading().await.unwrap();
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM thing").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(count, 2);
}

#[tokio::test]
async fn readiness_tests_writing() {
    let store = Store::new().await;
    store.database.ready().await.unwrap();
    for ail in [Database::fill_up, Database::turn_read_only] {
        ail(&store.database);
        is_unavailable(store.put_two(1).await);
        for _ in 0..2 {
            let error = store.database.ready().await.unwrap_err();
            assert!(in_words(&error).contains("(code: "), "{error:?}");
        }
        store.database.repair();
        store.database.ready().await.unwrap();
    }
    store.put_two(1).await.unwrap();
}

#[tokio::test]
async fn an_idle_store_that_turned_read_only_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { write_shows: Duration::ZERO, ..Options::default() };
    let database = open(&dir.path().join("t.db"), &options);
    database.migrate(&SCHEMA).await.unwrap();
    database.ready().await.unwrap();
    database.turn_read_only();
    database.ready().await.unwrap_err();
    database.repair();
    database.ready().await.unwrap();
}

#[tokio::test]
async fn asking_whether_it_is_ready_seldom_writes() {
    let store = Store::new().await;
    let log = || std::fs::metadata(store.dir.path().join("t.db-wal")).unwrap().len();
    store.put_two(1).await.unwrap();
    let before = log();
    for _ in 0..10 {
        store.database.ready().await.unwrap();
    }
    assert_eq!(log(), before, "a change just made shows enough");
    let idle = open(&store.file(), &Options::default());
    idle.ready().await.unwrap();
    let tested = log();
    assert!(tested > before, "nothing is known: writing is tested");
    for _ in 0..10 {
        idle.ready().await.unwrap();
    }
    assert_eq!(log(), tested);
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_made_anew() {
    let store = Store::new().await;
    store.put_two(1).await.unwrap();
    for file in ["t.db", "t.db-wal", "t.db-shm"] {
        std::fs::remove_file(store.dir.path().join(file)).unwrap();
    }
    let error = store.database.ready().await.unwrap_err();
    assert!(matches!(error, SqlError::Unusable(_)) && error.to_string().contains("removed"), "{error}");
    // Whose connections are gone too does not find an empty store.
    let reader = store.database.reader();
    let held = futures::future::join_all((0..8).map(|_| reader.acquire())).await;
    assert!(held.iter().any(Result::is_err));
    assert!(!store.file().exists());
}

#[tokio::test]
async fn who_only_looks_makes_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.db");
    let database = open(&file, &Options::looking());
    database.ping().await.unwrap_err();
    assert!(!file.exists());
}

/// What migrating such a file says.
async fn refusal(file: &std::path::Path) -> String {
    let database = open(file, &Options::default());
    // Were it waited for, this would be the test's time-out.
    let error = database.migrate_when_up(&SCHEMA, Duration::from_hours(1)).await.unwrap_err();
    assert!(matches!(error, SqlError::Unusable(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.starts_with(&format!("{}: ", file.display())), "{said}");
    said
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.db");
    std::fs::write(&file, "this is a letter to a friend, and as long as a header would be: ".repeat(100)).unwrap();
    assert!(refusal(&file).await.contains("is not a SQLite database"));
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    assert!(refusal(&folder).await.contains("this is a folder"));
    assert!(refusal(&dir.path().join("nowhere").join("t.db")).await.contains("there is no folder"));
    assert!(refusal(&file.join("t.db")).await.contains("is not a folder"));
}

/// A file of some hundred pages that no process has open.
async fn closed_file() -> (tempfile::TempDir, PathBuf) {
    let Store { dir, database } = Store::new().await;
    let mut tx = database.begin().await.unwrap();
    for id in 0..100 {
        put(&mut tx, id).await.unwrap();
    }
    tx.commit().await.unwrap();
    database.close().await;
    let file = dir.path().join("t.db");
    (dir, file)
}

fn overwrite(file: &std::path::Path, page: u64) {
    use std::io::Seek as _;
    let mut file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(std::io::SeekFrom::Start(page * 4096)).unwrap();
    file.write_all(&[0xa5; 4096]).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_named_at_once() {
    let (_dir, file) = closed_file().await;
    // The root of the first table: found by its structure.
    overwrite(&file, 3);
    assert!(refusal(&file).await.contains("the file is damaged"));
}

#[tokio::test]
async fn a_truncated_file_is_named_at_once() {
    let (_dir, file) = closed_file().await;
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(10 * 4096).unwrap();
    assert!(refusal(&file).await.contains("the file is damaged"));
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(700).unwrap();
    refusal(&file).await;
}

#[tokio::test]
async fn a_file_opened_read_only_is_named_at_once() {
    let (_dir, file) = closed_file().await;
    let url = sqlite_url(&file).unwrap().replace("mode=rwc", "mode=ro");
    let database = Database::connect_lazy(&url, &Options::default()).unwrap();
    let error = database.migrate_when_up(&SCHEMA, Duration::from_hours(1)).await.unwrap_err().to_string();
    assert!(error.contains("cannot be written") && error.starts_with(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn an_index_that_disagrees_with_its_table_is_found() {
    let (_dir, file) = closed_file().await;
    let database = open(&file, &Options::default());
    // The index is told to be another: its entries are then not those of the table.
    let sql = "CREATE INDEX thing_id ON thing (id) WHERE id < 50; PRAGMA writable_schema = 1;
               UPDATE sqlite_schema SET sql = 'CREATE INDEX thing_id ON thing (id)' WHERE name = 'thing_id'";
    sqlx::raw_sql(sql).execute(database.writer()).await.unwrap();
    database.close().await;
    let database = open(&file, &Options::looking());
    let checked = database.check_fully().await.unwrap();
    assert!(checked.complete && checked.findings.iter().any(|found| found.contains("thing_id")), "{checked:?}");
    let checked = database.check_quickly(Duration::ZERO).await.unwrap();
    assert!(!checked.complete && checked.findings.is_empty(), "{checked:?}");
    assert!(refusal(&file).await.contains("the file is damaged"));
}

#[tokio::test]
async fn damage_met_while_running_is_told_and_not_a_bug() {
    let (_dir, file) = closed_file().await;
    let database = open(&file, &Options::default());
    database.migrate(&SCHEMA).await.unwrap();
    database.ready().await.unwrap();
    for page in 1..50 {
        overwrite(&file, page);
    }
    let read = sqlx::query("SELECT SUM(LENGTH(filler)) FROM thing").execute(database.reader()).await;
    let error = SqlError::from(read.unwrap_err());
    assert!(matches!(error, SqlError::Damaged(_)) && error.is_unavailable() && !error.is_transient(), "{error:?}");
    let error = database.ready().await.unwrap_err().to_string();
    assert!(error.contains("the file is damaged"), "{error}");
}

#[tokio::test]
async fn statements_and_commits_are_counted_once() {
    let store = Store::new().await;
    let before = store.database.counts();
    // Two statements, one commit.
    store.put_two(1).await.unwrap();
    // One that reads, and one that is a transaction by itself.
    assert_eq!(store.things().await, 2);
    sqlx::query("DELETE FROM thing WHERE id = 1").execute(store.database.writer()).await.unwrap();
    // One that is undone.
    let mut tx = store.database.begin().await.unwrap();
    put(&mut tx, 7).await.unwrap();
    tx.rollback().await.unwrap();
    let counts = store.database.counts();
    assert_eq!((counts.statements - before.statements, counts.commits - before.commits), (5, 2));
}
