//! Empties one configured store. What is not recognisably ours is refused, and so is a store that others are connected to.

use std::path::Path;

use amends_sql::{Database, Options, claim::with_suffix};
use anyhow::{Context as _, ensure};
use service_base::config::{Sources, load_from};

use super::database_of;
use crate::stores::{Name, StoreLocation};

/// What a person calls the store: the database's name, or the file's.
pub(super) fn name_of(location: &StoreLocation, sources: &Sources) -> anyhow::Result<String> {
    if let Some(file) = &location.file {
        return Ok(file.display().to_string());
    }
    if location.name == Name::Payment {
        let payment: payment_service::Config = load_from("payment", sources)?;
        return Ok(payment.database.name);
    }
    let section = location.name.section();
    database_of(&location.url).with_context(|| format!("{section}.database.url names no database"))
}

/// Empties it, and says what is gone.
pub(super) async fn empty(location: &StoreLocation, sources: &Sources) -> anyhow::Result<String> {
    if let Some(file) = &location.file {
        return remove(file);
    }
    if location.name == Name::Payment {
        let payment: payment_service::Config = load_from("payment", sources)?;
        payment_service::erase(&payment.database).await?;
        return Ok(format!("the collections of {} are dropped", payment.database.name));
    }
    let database = Database::connect_lazy(location.url.expose(), &Options::administration())?;
    let emptied = drop_tables(&database).await;
    database.close().await;
    emptied
}

fn remove(file: &Path) -> anyhow::Result<String> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = with_suffix(file, suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", file.display()));
            }
            _ => {}
        }
    }
    Ok(format!("{} is removed", file.display()))
}

async fn drop_tables(database: &Database) -> anyhow::Result<String> {
    let mut tx = database.begin().await?;
    let others: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
         AND backend_type = 'client backend'",
    )
    .fetch_one(&mut *tx)
    .await?;
    ensure!(others == 0, "{others} other connections use it: stop the services first");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
    )
    .fetch_all(&mut *tx)
    .await?;
    let ours = |table: &String| table.starts_with('_') && table.ends_with("_migrations");
    ensure!(tables.is_empty() || tables.iter().any(ours), "none of its tables is ours: it is another program's");
    for table in &tables {
        let quoted = table.replace('"', "\"\"");
        // A name cannot be bound; it is the server's own, and quoted.
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE \"{quoted}\" CASCADE"))).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(format!("{} tables are dropped", tables.len()))
}
