//! What callers are told of statements, and what becomes of connections whose callers have gone.

use std::{path::Path, time::Duration};

use futures::FutureExt as _;
use rusqlite::OpenFlags;
use sqlx::{Error, Row as _};

use super::{Files, Opening};
use crate::{Database, Migration, Options, Schema, sqlite_url};

const SCHEMA: Schema = Schema {
    component: "things",
    migrations: &[Migration {
        version: 1,
        description: "create",
        postgres: None,
        sql: "CREATE TABLE thing (id BIGINT PRIMARY KEY, name TEXT);
              CREATE TABLE part (id BIGINT PRIMARY KEY, of_thing BIGINT REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED)",
    }],
};

async fn store() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().unwrap();
    let database = open(&dir.path().join("t.db"));
    database.migrate(&SCHEMA).await.unwrap();
    (dir, database)
}

fn open(file: &Path) -> Database {
    Database::connect_lazy(&sqlite_url(file).unwrap(), &Options::default()).unwrap()
}

/// The commit of such a statement comes after its rows.
#[tokio::test]
async fn a_row_of_a_write_that_is_not_committed_is_no_success() {
    let (_dir, database) = store().await;
    let sql = "INSERT INTO part (id, of_thing) VALUES (1, 404) RETURNING id";
    let answer = sqlx::query(sql).fetch_optional(database.writer()).await;
    assert!(answer.is_err(), "{:?}", answer.map(|row| row.map(|row| row.get::<i64, _>(0))));
    let (parts,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM part").fetch_one(database.writer()).await.unwrap();
    assert_eq!(parts, 0);
}

/// A file whose opening takes until its holder lets go, two seconds at most.
fn held_file(dir: &Path) -> (rusqlite::Connection, Opening) {
    let path = dir.join("t.db");
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.execute_batch("CREATE TABLE t (id BIGINT); BEGIN EXCLUSIVE").unwrap();
    let set_up = "PRAGMA busy_timeout = 2000; SELECT * FROM t".to_owned();
    (holder, Opening { path, flags: OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX, set_up })
}

#[tokio::test]
async fn an_opening_given_up_keeps_its_place_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (holder, opening) = held_file(dir.path());
    let files = Files::new(opening, 1, Duration::from_millis(100));
    assert!(files.acquire().now_or_never().is_none());
    // Else each caller would leave a thread behind that waits for the disk.
    let next = files.acquire().await.map(drop);
    assert!(matches!(next, Err(Error::PoolTimedOut)), "{next:?}");
    drop(holder);
    while files.acquire().await.is_err() {}
}

#[tokio::test]
async fn an_opening_that_hangs_is_waited_for_within_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (holder, opening) = held_file(dir.path());
    let files = Files::new(opening, 1, Duration::from_millis(100));
    let answer = tokio::time::timeout(Duration::from_secs(10), files.acquire()).await.expect("it is bounded");
    assert!(matches!(answer.map(drop), Err(Error::PoolTimedOut)));
    drop(holder);
    while files.acquire().await.is_err() {}
}
