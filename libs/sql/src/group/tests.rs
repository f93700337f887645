//! What callers hear, and what is committed with what. Each batch is made on purpose: a first write holds the transaction open until
//! the others have queued up behind it.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use futures::{FutureExt as _, future::join_all};
use tokio::sync::Semaphore;

use super::{Asked, Batch, BatchWriter, GroupCommit};
use crate::{Database, Migration, Options, Schema, SqlError, Tx, sqlite_url};

const SCHEMA: Schema = Schema {
    component: "numbers",
    migrations: &[Migration {
        version: 1,
        description: "create",
        postgres: None,
        sql: "CREATE TABLE number (id BIGINT PRIMARY KEY, filler BLOB)",
    }],
};

#[derive(Clone, Copy)]
enum Write {
    Number(i64),
    /// Written, and then undone.
    Refused(i64),
    /// Fails if there is that number, be it one of its own batch.
    Unless(i64),
    Panics,
    /// Waits for the test, inside the transaction.
    Waits,
    /// Waits for the test as for a disk: with the thread it is on.
    Hangs,
}

type Asks = Asked<Write, i64, SqlError>;

/// A writer that the test holds up, and whose batches it sees.
#[derive(Clone, Default)]
struct Numbers {
    batches: Arc<Mutex<Vec<Batch>>>,
    gate: Arc<Gate>,
    disk: Arc<Mutex<Option<mpsc::Receiver<()>>>>,
}

struct Gate {
    entered: Semaphore,
    open: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { entered: Semaphore::new(0), open: Semaphore::new(0) }
    }
}

impl BatchWriter for Numbers {
    type Job = Asks;

    async fn one(&self, tx: &mut Tx, job: &mut Asks) -> Result<bool, SqlError> {
        let (id, keep) = match job.what {
            Write::Number(id) => (id, true),
            Write::Refused(id) => (id, false),
            Write::Unless(id) => {
                let sql = "SELECT COUNT(*) FROM number WHERE id = $1";
                let found: i64 = sqlx::query_scalar(sql).bind(id).fetch_one(&mut **tx).await?;
                job.reply.keep(if found > 0 { Err(SqlError::Unexpected { what: "it is there" }) } else { Ok(id) });
                return Ok(found == 0);
            }
            Write::Panics => panic!("on purpose"),
            Write::Hangs => {
                let hung = self.disk.lock().unwrap().take();
                // Until the test lets go of the other end.
                let _closed = hung.map(|hung| hung.recv());
                (7, true)
            }
            Write::Waits => {
                self.gate.entered.add_permits(1);
                self.gate.open.acquire().await.unwrap().forget();
                job.reply.keep(Ok(0));
                return Ok(false);
            }
        };
        let sql = "INSERT INTO number (id, filler) VALUES ($1, zeroblob(8192))";
        sqlx::query(sql).bind(id).execute(&mut **tx).await?;
        job.reply.keep(Ok(id));
        Ok(keep)
    }

    fn observe(&self, batch: &Batch) {
        self.batches.lock().unwrap().push(*batch);
    }
}

struct Store {
    _dir: tempfile::TempDir,
    database: Database,
    writer: Numbers,
    group: GroupCommit<Asks>,
}

impl Store {
    async fn new() -> Self {
        Self::with(&Options::default()).await
    }

    async fn with(options: &Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::connect_lazy(&sqlite_url(&dir.path().join("n.db")).unwrap(), options).unwrap();
        database.migrate(&SCHEMA).await.unwrap();
        let writer = Numbers::default();
        Self { group: GroupCommit::start(database.clone(), writer.clone()), _dir: dir, database, writer }
    }

    async fn ask(&self, write: Write) -> Result<i64, SqlError> {
        self.group.submit(|reply| Asked::new(write, reply)).await
    }

    /// Has them written in one batch; runs `queued` when they have queued up.
    async fn in_one_batch(&self, writes: &[Write], queued: impl AsyncFnOnce()) -> Vec<Result<i64, SqlError>> {
        let (_, answers, ()) = futures::join!(
            self.ask(Write::Waits),
            async {
                self.writer.gate.entered.acquire().await.unwrap().forget();
                join_all(writes.iter().map(|write| self.ask(*write))).await
            },
            async {
                while self.group.waiting() < writes.len() {
                    tokio::task::yield_now().await;
                }
                queued().await;
                self.writer.gate.open.add_permits(1);
            }
        );
        answers
    }

    /// The disk hangs until the answer is dropped.
    fn hang(&self) -> mpsc::Sender<()> {
        let (end, disk) = mpsc::channel();
        *self.writer.disk.lock().unwrap() = Some(disk);
        end
    }

    async fn numbers(&self) -> Vec<i64> {
        let rows: Vec<(i64,)> =
            sqlx::query_as("SELECT id FROM number ORDER BY id").fetch_all(self.database.reader()).await.unwrap();
        rows.into_iter().map(|(id,)| id).collect()
    }

    /// Jobs and whether they were committed, of every batch but the one that waited.
    fn batches(&self) -> Vec<(usize, bool)> {
        self.writer.batches.lock().unwrap().iter().skip(1).map(|batch| (batch.jobs, batch.committed)).collect()
    }
}

async fn nothing() {}

#[tokio::test]
async fn a_lone_write_is_committed_when_answered() {
    let store = Store::new().await;
    assert_eq!(store.ask(Write::Number(1)).await.unwrap(), 1);
    assert_eq!(store.numbers().await, [1]);
}

#[tokio::test]
async fn waiting_writes_share_one_commit() {
    let store = Store::new().await;
    let writes: Vec<_> = (0..64).map(Write::Number).collect();
    let answers = store.in_one_batch(&writes, nothing).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(store.batches(), [(64, true)]);
    assert_eq!(store.numbers().await.len(), 64);
}

#[tokio::test]
async fn more_than_a_batch_takes_two_commits() {
    let store = Store::new().await;
    let writes: Vec<_> = (0..65).map(Write::Number).collect();
    store.in_one_batch(&writes, nothing).await;
    assert_eq!(store.batches(), [(64, true), (1, true)]);
}

#[tokio::test]
async fn a_bad_write_fails_alone_in_one_commit() {
    let store = Store::new().await;
    store.ask(Write::Number(2)).await.unwrap();
    store.writer.batches.lock().unwrap().clear();
    let writes = [Write::Number(1), Write::Number(2), Write::Number(3)];
    let answers = store.in_one_batch(&writes, nothing).await;
    assert!(matches!(&answers[..], [Ok(1), Err(SqlError::UniqueViolation(_)), Ok(3)]), "{answers:?}");
    assert_eq!(store.numbers().await, [1, 2, 3]);
    assert_eq!(store.batches(), [(3, true)]);
}

#[tokio::test]
async fn a_write_that_is_undone_leaves_its_neighbours() {
    let store = Store::new().await;
    let writes = [Write::Number(1), Write::Refused(2), Write::Refused(3), Write::Number(4)];
    let answers = store.in_one_batch(&writes, nothing).await;
    assert!(matches!(&answers[..], [Ok(1), Ok(2), Ok(3), Ok(4)]), "{answers:?}");
    assert_eq!(store.numbers().await, [1, 4]);
}

#[tokio::test]
async fn a_refusal_by_what_was_not_committed_is_not_told() {
    let bound = Duration::from_millis(500);
    let store = Store::with(&Options { acquire_timeout: bound, statement_timeout: bound, ..Options::default() }).await;
    let writes = [Write::Number(1), Write::Unless(1)];
    let answers = store.in_one_batch(&writes, nothing).await;
    assert!(matches!(&answers[..], [Ok(1), Err(SqlError::Unexpected { .. })]), "{answers:?}");
    let writes = [Write::Number(2), Write::Unless(2), Write::Waits];
    let answers = store.in_one_batch(&writes, nothing).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(SqlError::Unavailable(_)))), "{answers:?}");
    assert_eq!(store.numbers().await, [1]);
}

#[tokio::test]
async fn a_batch_of_which_all_is_undone_is_not_committed() {
    let store = Store::new().await;
    store.in_one_batch(&[Write::Refused(1), Write::Refused(2)], nothing).await;
    assert_eq!(store.batches(), [(2, false)]);
    assert!(store.numbers().await.is_empty());
}

#[tokio::test]
async fn a_panic_fails_one_write_and_the_task_goes_on() {
    let store = Store::new().await;
    let answers = store.in_one_batch(&[Write::Number(1), Write::Panics, Write::Number(2)], nothing).await;
    assert!(matches!(&answers[..], [Ok(1), Err(SqlError::Bug(_)), Ok(2)]), "{answers:?}");
    assert!(matches!(store.ask(Write::Panics).await, Err(SqlError::Bug(_))));
    assert_eq!(store.ask(Write::Number(3)).await.unwrap(), 3);
    assert_eq!(store.numbers().await, [1, 2, 3]);
}

#[tokio::test]
async fn a_write_without_a_caller_is_not_made() {
    let store = Store::new().await;
    let mut gone = Box::pin(store.ask(Write::Number(1)));
    store
        .in_one_batch(&[Write::Number(2)], async || {
            assert!((&mut gone).now_or_never().is_none());
            assert_eq!(store.group.waiting(), 2);
            drop(gone);
        })
        .await;
    assert_eq!(store.numbers().await, [2]);
}

#[tokio::test]
async fn an_ill_database_fails_all_that_wait_and_passes() {
    let store = Store::new().await;
    let writes: Vec<_> = (0..100).map(Write::Number).collect();
    let answers = store.in_one_batch(&writes, async || store.database.turn_read_only()).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(SqlError::Unavailable(_)))), "{answers:?}");
    // The first batch found out for all.
    assert_eq!(store.batches(), [(64, false)]);
    store.database.repair();
    assert_eq!(store.ask(Write::Number(1)).await.unwrap(), 1);
    assert_eq!(store.numbers().await, [1]);
}

#[tokio::test]
async fn a_database_that_hangs_fails_the_batch_at_its_bound() {
    let bound = Duration::from_millis(100);
    let store = Store::with(&Options { acquire_timeout: bound, statement_timeout: bound, ..Options::default() }).await;
    let answer = store.ask(Write::Waits).await;
    assert!(matches!(answer, Err(SqlError::Unavailable(_))), "{answer:?}");
    assert_eq!(store.ask(Write::Number(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_disk_that_hangs_is_waited_for_within_a_bound() {
    let bound = Duration::from_millis(50);
    let store = Store::with(&Options { acquire_timeout: bound, statement_timeout: bound, ..Options::default() }).await;
    let hung = store.hang();
    let behind = async {
        while store.writer.disk.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        store.ask(Write::Number(1)).await
    };
    let (hanging, behind) = futures::join!(store.ask(Write::Hangs), behind);
    assert!(
        matches!((&hanging, &behind), (Err(SqlError::TimedOut), Err(SqlError::TimedOut))),
        "{hanging:?} {behind:?}"
    );
    drop(hung);
    // 7 was under way; 1 has no caller any more.
    assert_eq!(store.ask(Write::Number(2)).await.unwrap(), 2);
    assert_eq!(store.numbers().await, [2, 7]);
}

/// The thread that writes is on no other's way: a runtime with one thread goes on.
#[tokio::test(flavor = "current_thread")]
async fn a_batch_runs_on_a_thread_of_its_own() {
    let store = Store::new().await;
    let hung = store.hang();
    let mut hanging = Box::pin(store.ask(Write::Hangs));
    assert!((&mut hanging).now_or_never().is_none());
    assert!(store.numbers().await.is_empty());
    drop(hung);
    assert_eq!(hanging.await.unwrap(), 7);
}
