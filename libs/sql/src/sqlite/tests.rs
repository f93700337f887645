//! What callers are told of statements, and what becomes of connections whose callers have gone.

use std::path::Path;

use sqlx::Row as _;

use crate::{Database, Migration, Options, Schema, sqlite_url};

const SCHEMA: Schema = Schema {
    component: "things",
    migrations: &[Migration {
        version: 1,
        description: "create",
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
