//! `amends migrate`: brings every store's schema up to date, as each service does when it starts, and stops.

use std::time::Duration;

use amends_sql::{Database, Options, Schema};
use anyhow::Context;
use service_base::config::{Sources, load_from};

/// How long a database may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Migrates all stores that the configuration names.
///
/// # Errors
/// With the mistakes of a section, or when a store cannot be reached or migrated.
pub async fn migrate(sources: &Sources) -> anyhow::Result<()> {
    let identity: identity_service::Config = load_from("identity", sources)?;
    let inventory: inventory_service::Config = load_from("inventory", sources)?;
    let payment: payment_service::Config = load_from("payment", sources)?;
    let order: order_service::Config = load_from("order", sources)?;
    migrate_sql("identity", identity.database.url.expose(), &[identity_service::SCHEMA]).await?;
    migrate_sql("inventory", inventory.database.url.expose(), &inventory_service::schemas()).await?;
    migrate_sql("order", order.database.url.expose(), &order_service::schemas()).await?;
    payment_service::migrate(&payment).await
}

async fn migrate_sql(name: &str, url: &str, schemas: &[Schema]) -> anyhow::Result<()> {
    let database =
        Database::connect_lazy(url, &Options::default()).with_context(|| format!("{name}: the database's URL"))?;
    for schema in schemas {
        database.migrate_when_up(schema, PATIENCE).await.with_context(|| format!("{name}: {}", schema.component))?;
    }
    database.close().await;
    Ok(())
}
