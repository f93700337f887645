//! Migrations, run by the service or by `amends migrate`, never by hand. Each component of a database has its own history, so
//! that a library (the saga engine) and its host (the order service) can share one database.

use std::time::{Duration, Instant};

use sqlx::{
    AnyConnection, Connection as _, SqlSafeStr,
    migrate::{MigrationType, Migrator},
};

use crate::{Database, Dialect, SqlError, classes, in_words};

/// One step of a schema: forwards only, expand before contract, because old code runs against the new schema for a while. A step after which
/// old code can no longer write says so, and has a reason that is worth a stop of all replicas (ADR 24).
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Counts up from 1 within the component.
    pub version: i64,
    /// A few words.
    pub description: &'static str,
    /// Statements that both dialects understand, or SQLite alone.
    pub sql: &'static str,
    /// Statements for PostgreSQL, where it needs others.
    pub postgres: Option<&'static str>,
}

impl Migration {
    const fn text(&self, dialect: Dialect) -> &'static str {
        match (dialect, self.postgres) {
            (Dialect::Postgres, Some(text)) => text,
            _ => self.sql,
        }
    }
}

/// The schema of one component.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Names the history table: letters and underscores.
    pub component: &'static str,
    /// In order.
    pub migrations: &'static [Migration],
}

impl Database {
    /// Brings `schema` up to date. Replicas that start together wait for each other.
    ///
    /// A SQLite file is looked at first, once: what is wrong with it is said in its own terms.
    ///
    /// # Errors
    /// When the database cannot be reached, a statement fails, or the schema is newer than this binary.
    pub async fn migrate(&self, schema: &Schema) -> Result<(), SqlError> {
        let dialect = self.dialect();
        let mut migrator = Migrator::with_migrations(
            schema
                .migrations
                .iter()
                .map(|migration| {
                    let (description, sql) = (migration.description.into(), migration.text(dialect).into_sql_str());
                    sqlx::migrate::Migration::new(migration.version, description, MigrationType::Simple, sql, false)
                })
                .collect(),
        );
        migrator.dangerous_set_table_name(format!("_{}_migrations", schema.component));
        self.look_at_the_file().await?;
        let mut connection = self.writer().acquire().await?;
        // Not `run`: its `Acquire` bound makes this future `Send` for one lifetime only, and it could be neither spawned nor boxed.
        if let Some(raw) = connection.raw() {
            let migrated = migrator.run_direct(None, raw, false).await;
            // On PostgreSQL a run that failed has kept the migrator's lock, which ends with the session.
            migrated.inspect_err(|_| connection.give_up())?;
        } else {
            // The migrator speaks to drivers of sqlx's only. Nothing else writes meanwhile: this has the file's one writer.
            let mut raw = self.connect_by_sqlx().await?;
            let migrated = migrator.run_direct(None, &mut raw, false).await;
            raw.close().await?;
            migrated?;
        }
        self.expect_the_file();
        drop(connection);
        self.claimed().promise().await;
        Ok(())
    }

    async fn connect_by_sqlx(&self) -> Result<AnyConnection, SqlError> {
        let Some(file) = &self.file else { return Err(SqlError::UnsupportedUrl) };
        Ok(AnyConnection::connect(&file.existing_url).await?)
    }

    /// As [`migrate`](Self::migrate), but waits up to `patience` for a database that is still starting, or for room on the disk.
    ///
    /// # Errors
    /// The last error, once patience is spent, or the first permanent one: a file that is no database, is damaged or cannot
    /// be written, a server that refuses this program.
    pub async fn migrate_when_up(&self, schema: &Schema, patience: Duration) -> Result<(), SqlError> {
        let begun = Instant::now();
        loop {
            match self.migrate(schema).await {
                Err(error) if may_pass(&error) && begun.elapsed() < patience => {
                    tracing::warn!(component = schema.component, error = in_words(&error), "waiting for the database");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                done => return done,
            }
        }
    }
}

fn may_pass(error: &SqlError) -> bool {
    match error {
        SqlError::Unavailable(cause) => classes::may_pass_by_itself(cause),
        error => error.is_transient(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    const ONE: &[Migration] = &[Migration {
        version: 1,
        description: "create",
        postgres: None,
        sql: "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT, CHECK (id > 0))",
    }];

    fn sqlite() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("t.db").display());
        (dir, Database::connect_lazy(&url, &Options::default()).unwrap())
    }

    #[tokio::test]
    async fn components_share_a_database_and_migrating_is_idempotent() {
        let (_dir, database) = sqlite();
        for _ in 0..2 {
            database.migrate(&Schema { component: "a", migrations: ONE }).await.unwrap();
        }
        let other = &[Migration {
            version: 1,
            description: "create",
            postgres: None,
            sql: "CREATE TABLE u (id BIGINT PRIMARY KEY)",
        }];
        database.migrate(&Schema { component: "b", migrations: other }).await.unwrap();
    }

    #[tokio::test]
    async fn constraint_violations_have_their_own_classes() {
        let (_dir, database) = sqlite();
        database.migrate(&Schema { component: "a", migrations: ONE }).await.unwrap();
        let insert = |id: i64| {
            let pool = database.writer().clone();
            async move {
                sqlx::query("INSERT INTO t (id, name) VALUES ($1, $2)")
                    .bind(id)
                    .bind(None::<String>)
                    .execute(&pool)
                    .await
            }
        };
        insert(1).await.unwrap();
        assert!(matches!(SqlError::from(insert(1).await.unwrap_err()), SqlError::UniqueViolation(_)));
        assert!(matches!(SqlError::from(insert(-1).await.unwrap_err()), SqlError::CheckViolation(_)));
    }

    #[test]
    fn other_databases_are_refused_without_repeating_the_url() {
        let error = Database::connect_lazy("mysql://root:hunter2@db/x", &Options::default()).unwrap_err();
        assert!(matches!(error, SqlError::UnsupportedUrl) && !format!("{error:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_dropped_transaction_leaves_nothing() {
        let (_dir, database) = sqlite();
        database.migrate(&Schema { component: "a", migrations: ONE }).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        sqlx::query("INSERT INTO t (id) VALUES (7)").execute(&mut *tx).await.unwrap();
        drop(tx);
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM t").fetch_one(database.writer()).await.unwrap();
        assert_eq!(count, 0);
    }
}
