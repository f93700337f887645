//! Copies, crashes and closings of a claimed file.

use std::{future::poll_fn, task::Poll};

use super::*;
use crate::{Migration, Options, Schema};

const SCHEMA: Schema = Schema {
    component: "claimed",
    migrations: &[Migration {
        version: 1,
        description: "create",
        postgres: None,
        sql: "CREATE TABLE t (id BIGINT PRIMARY KEY)",
    }],
};

async fn served(file: &Path) -> Result<Database, ClaimError> {
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let database = Database::connect_lazy(&url, &Options::default()).unwrap();
    database.claim(&url).await?;
    database.migrate(&SCHEMA).await.unwrap();
    Ok(database)
}

async fn insert(database: &Database, id: i64) {
    sqlx::query("INSERT INTO t VALUES ($1)").bind(id).execute(database.writer()).await.unwrap();
}

async fn count(database: &Database) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(database.reader()).await.unwrap()
}

#[tokio::test]
async fn a_copy_without_its_wal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    let database = served(&file).await.unwrap();
    insert(&database, 1).await;
    std::fs::copy(&file, &copy).unwrap();
    let refused = served(&copy).await.unwrap_err();
    assert!(matches!(refused, ClaimError::Torn(_)), "{refused}");
    accept(&copy).await.unwrap();
    let taken = served(&copy).await.unwrap();
    assert_eq!(count(&taken).await, 0);
    taken.close().await;
    database.close().await;
}

#[tokio::test]
async fn a_copy_with_its_wal_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    let database = served(&file).await.unwrap();
    insert(&database, 1).await;
    for suffix in ["", "-wal"] {
        std::fs::copy(with_suffix(&file, suffix), with_suffix(&copy, suffix)).unwrap();
    }
    let taken = served(&copy).await.unwrap();
    assert_eq!(count(&taken).await, 1);
    taken.close().await;
    database.close().await;
}

#[tokio::test]
async fn a_closed_file_is_whole_without_a_wal() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    for id in 1..3 {
        let database = served(&file).await.unwrap();
        insert(&database, id).await;
        database.close().await;
        assert!(!with_suffix(&file, "-wal").exists());
    }
    std::fs::copy(&file, &copy).unwrap();
    assert_eq!(count(&served(&copy).await.unwrap()).await, 2);
}

#[tokio::test]
async fn a_crashed_file_closed_by_another_program_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    let database = served(&file).await.unwrap();
    insert(&database, 1).await;
    // As after SIGKILL: file and -wal, and no process has it open.
    for suffix in ["", "-wal"] {
        std::fs::copy(with_suffix(&file, suffix), with_suffix(&copy, suffix)).unwrap();
    }
    let mut other = SqliteConnectOptions::new().filename(&copy).connect().await.unwrap();
    sqlx::query("SELECT COUNT(*) FROM t").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    assert!(!with_suffix(&copy, "-wal").exists());
    let taken = served(&copy).await.unwrap();
    assert_eq!(count(&taken).await, 1);
    database.close().await;
}

#[tokio::test]
async fn a_promise_is_made_again_after_a_checkpoint_kept_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.db");
    let database = served(&file).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(database.writer()).await.unwrap();
    let kept = dir.path().join("kept.db");
    std::fs::copy(&file, &kept).unwrap();
    assert_eq!(find_torn(&kept).await.unwrap(), None);
    insert(&database, 1).await;
    database.claimed().promise().await;
    let promised = dir.path().join("promised.db");
    std::fs::copy(&file, &promised).unwrap();
    assert!(find_torn(&promised).await.unwrap().is_some());
    database.close().await;
}

#[tokio::test]
async fn a_promise_outlasts_a_probe_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("a.db"), dir.path().join("copy.db"));
    let database = served(&file).await.unwrap();
    database.write_a_page().await.unwrap();
    database.claimed().promise().await;
    std::fs::copy(&file, &copy).unwrap();
    assert!(find_torn(&copy).await.unwrap().is_some());
    database.close().await;
}

#[tokio::test]
async fn a_promise_whose_caller_has_gone_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.db");
    for polls in 1.. {
        let database = served(&file).await.unwrap_or_else(|error| panic!("before poll {polls}: {error}"));
        insert(&database, polls).await;
        let (slot, mut left) = (database.claimed().clone(), polls);
        let mut promise = Box::pin(slot.promise());
        let made = poll_fn(|context| {
            left -= 1;
            if left == 0 { Poll::Ready(false) } else { promise.as_mut().poll(context).map(|()| true) }
        });
        let made = made.await;
        drop(promise);
        database.close().await;
        if made {
            break;
        }
    }
}

#[tokio::test]
async fn a_file_of_another_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.db");
    let other = std::fs::File::create(with_suffix(&file, ".lock")).unwrap();
    other.lock().unwrap();
    let refused = served(&file).await.unwrap_err().to_string();
    assert!(refused.contains("a.db is in use by another process"), "{refused}");
    assert!(!file.exists());
    drop(other);
    served(&file).await.unwrap().close().await;
}

#[test]
fn only_a_file_of_sqlite_is_claimed() {
    assert_eq!(sqlite_file("sqlite://a/b.db?mode=rwc"), Some(PathBuf::from("a/b.db")));
    assert_eq!(sqlite_file("sqlite:///a/b%20c.db"), Some(PathBuf::from("/a/b c.db")));
    for none in ["postgres://a/b", "sqlite::memory:", "sqlite://x?mode=memory", "mongodb://a"] {
        assert_eq!(sqlite_file(none), None, "{none}");
    }
}
