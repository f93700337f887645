//! How many transactions changed a database, counted by the database itself: from PostgreSQL's write-ahead log.
//!
//! Statistics would not do: they count reads as well, and other tests' databases are on the same server.

use std::collections::HashSet;

use amends_sql::Database;
use sqlx::AssertSqlSafe;

/// A place in the write-ahead log.
pub(crate) struct Mark(String);

impl Mark {
    /// Where the log is now.
    pub(crate) async fn now(database: &Database) -> Self {
        sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_walinspect").execute(database.writer()).await.unwrap();
        Self(text(database, "SELECT CAST(pg_current_wal_flush_lsn() AS TEXT)").await)
    }

    /// Transactions committed since then that changed this database, besides the replicas' heartbeats.
    pub(crate) async fn commits_since(&self, database: &Database) -> usize {
        // What committed without waiting for the disk would be missed; this waits for it, and what came before it comes along. Not a
        // checkpoint: that may remove the log that is to be read.
        sqlx::query("SELECT CAST(pg_logical_emit_message(true, 'amends', 'flush') AS TEXT)")
            .execute(database.writer())
            .await
            .unwrap();
        let end = text(database, "SELECT CAST(pg_current_wal_flush_lsn() AS TEXT)").await;
        let ours = text(database, "SELECT '/' || oid || '/' FROM pg_database WHERE datname = current_database()").await;
        let beats = text(database, "SELECT CAST(pg_relation_filenode('saga_replicas') AS TEXT)").await;
        let sql = format!(
            "SELECT CAST(xid AS TEXT), resource_manager || ' ' || record_type, COALESCE(description, ''), COALESCE(block_ref, '')
             FROM pg_get_wal_records_info('{}', '{end}') WHERE CAST(xid AS TEXT) <> '0' AND record_length > 0",
            self.0
        );
        let records: Vec<(String, String, String, String)> =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_all(database.reader()).await.unwrap();
        let heartbeat = format!("{ours}{beats} ");
        let touches = |blocks: &str| blocks.contains(&ours) && !blocks.contains(&heartbeat);
        let changing: HashSet<&str> = records
            .iter()
            .filter(|(_, kind, _, blocks)| kind.starts_with("Heap") && touches(blocks))
            .map(|(xid, ..)| xid.as_str())
            .collect();
        let commits = records.iter().filter(|(_, kind, ..)| kind.starts_with("Transaction COMMIT"));
        commits
            .filter(|(xid, _, description, _)| {
                // A savepoint has an id of its own, and the commit names it.
                let (_, parts) = description.split_once("subxacts: ").unwrap_or_default();
                let parts = parts.split(';').next().unwrap_or_default().split(' ');
                std::iter::once(xid.as_str()).chain(parts).any(|id| changing.contains(id))
            })
            .count()
    }
}

async fn text(database: &Database, sql: &'static str) -> String {
    let (text,): (String,) = sqlx::query_as(sql).fetch_one(database.reader()).await.unwrap();
    text
}
