//! The section `database` of a service on SQL: where its store is, within which bounds, and how it is opened.
//!
//! Must not know: what is in it.

use std::{marker::PhantomData, time::Duration};

use amends_sql::{Database, Options, Schema};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use service_base::{
    config::{ConfigError, SecretUrl},
    metrics::Metrics,
};

use crate::{Runtime, counted};

/// More connections of one replica are more than a PostgreSQL server has for all.
const CONNECTIONS_MAX: u32 = 1_000;

/// What one service's database has where the configuration says nothing, and what it cannot do without.
pub trait Usual {
    /// The SQLite file.
    const FILE: &'static str;
    /// Whether it may be PostgreSQL.
    const MAY_BE_POSTGRES: bool = true;
    /// Fewer connections than this would wait for each other.
    const CONNECTIONS_MIN: u32 = 1;
    /// [`DatabaseConfig::acquire_timeout_ms`].
    const ACQUIRE_TIMEOUT_MS: u64 = 2_000;
    /// [`DatabaseConfig::statement_timeout_ms`].
    const STATEMENT_TIMEOUT_MS: u64 = 3_000;
}

/// A database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound(serialize = "", deserialize = "U: Usual"))]
pub struct DatabaseConfig<U> {
    /// `sqlite://FILE?mode=rwc` or `postgres://…`.
    pub url: SecretUrl,
    /// Connections at the most.
    pub connections_max: u32,
    /// How long a call waits for a connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long one statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long to wait at start for a database that is not up yet, in seconds.
    pub start_patience_secs: u64,
    #[serde(skip)]
    usual: PhantomData<U>,
}

impl<U: Usual> Default for DatabaseConfig<U> {
    fn default() -> Self {
        Self {
            url: format!("sqlite://{}?mode=rwc", U::FILE).into(),
            connections_max: 16,
            acquire_timeout_ms: U::ACQUIRE_TIMEOUT_MS,
            statement_timeout_ms: U::STATEMENT_TIMEOUT_MS,
            start_patience_secs: 30,
            usual: PhantomData,
        }
    }
}

impl<U: Usual> DatabaseConfig<U> {
    /// Adds what is wrong with it. Keys are relative to the service's section.
    pub fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| {
            ConfigError::unless(good, format!("database.{key}"), message, errors);
        };
        let is = |kind: &str| self.url.expose().starts_with(kind);
        if U::MAY_BE_POSTGRES {
            let known = is("sqlite:") || is("postgres:") || is("postgresql:");
            check(known, "url", "must begin with sqlite: or postgres:");
        } else {
            check(is("sqlite:"), "url", "must begin with sqlite:");
        }
        let connections = U::CONNECTIONS_MIN..=CONNECTIONS_MAX;
        let message = format!("must be from {} to {CONNECTIONS_MAX}", U::CONNECTIONS_MIN);
        check(connections.contains(&self.connections_max), "connections_max", &message);
        check(self.acquire_timeout_ms > 0, "acquire_timeout_ms", "must be at least 1");
        check(self.statement_timeout_ms > 0, "statement_timeout_ms", "must be at least 1");
    }
}

impl<U> DatabaseConfig<U> {
    /// As the store takes it.
    pub fn options(&self) -> Options {
        Options {
            connections_max: self.connections_max,
            acquire_timeout: Duration::from_millis(self.acquire_timeout_ms),
            statement_timeout: Duration::from_millis(self.statement_timeout_ms),
            ..Options::default()
        }
    }

    /// Opens the database of the section `service`, claims it where it is a file, and brings these schemas up to date, waiting for a
    /// server that is not up yet.
    ///
    /// # Errors
    /// When the URL is not one, another process serves the file, the database stays away for longer than configured, or a migration
    /// fails.
    pub async fn open(&self, service: &str, options: &Options, schemas: &[Schema]) -> anyhow::Result<Database> {
        let url = self.url.expose();
        let key = || format!("{service}.database.url");
        let database = Database::connect_lazy(url, options).with_context(key)?;
        database.claim(url).await.with_context(key)?;
        let patience = Duration::from_secs(self.start_patience_secs);
        for schema in schemas {
            let stale = || format!("the schema {} cannot be brought up to date", schema.component);
            database.migrate_when_up(schema, patience).await.with_context(stale)?;
        }
        Ok(database)
    }
}

/// Shows what a service asks of its store among the metrics, and adds the check `<store>-store`: whether it answers and can be written.
pub fn watch(runtime: &Runtime, service: &'static str, store: &'static str, database: &Database) {
    count(&runtime.metrics, store, database);
    time(&runtime.metrics, service, database);
    let database = database.clone();
    runtime.readiness.add(store, "store", move || {
        let database = database.clone();
        async move { database.ready().await.map_err(|error| amends_sql::in_words(&error)) }
    });
}

/// Shows what a store is asked for, without a check of its own: for stores that have another.
pub fn count(metrics: &Metrics, store: &'static str, database: &Database) {
    counted::count(metrics, store, database);
}

/// Shows how long what `service` asks of its store takes, where it does not measure its own operations.
pub fn time(metrics: &Metrics, service: &'static str, database: &Database) {
    counted::time(metrics, service, database);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Busy;

    impl Usual for Busy {
        const FILE: &'static str = "busy.db";
        const MAY_BE_POSTGRES: bool = false;
        const CONNECTIONS_MIN: u32 = 2;
        const STATEMENT_TIMEOUT_MS: u64 = 7;
    }

    fn read(text: &str) -> Result<DatabaseConfig<Busy>, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn wrong(config: &DatabaseConfig<Busy>) -> Vec<String> {
        let mut errors = Vec::new();
        config.validate(&mut errors);
        errors.into_iter().map(|error| error.to_string()).collect()
    }

    #[test]
    fn what_is_not_given_is_the_services_own_default() {
        let config = read(r#"{"acquire_timeout_ms": 5}"#).unwrap();
        assert_eq!(config.url.expose(), "sqlite://busy.db?mode=rwc");
        let options = config.options();
        let of = (options.connections_max, options.acquire_timeout.as_millis(), options.statement_timeout.as_millis());
        assert_eq!((of, wrong(&config)), ((16, 5, 7), vec![]));
        assert!(read(r#"{"usual": null}"#).is_err() && read(r#"{"nope": 1}"#).is_err());
    }

    #[test]
    fn every_mistake_is_named_by_its_key() {
        let text =
            r#"{"url": "postgres://x", "connections_max": 1, "acquire_timeout_ms": 0, "statement_timeout_ms": 0}"#;
        let expected = [
            "database.url: must begin with sqlite:",
            "database.connections_max: must be from 2 to 1000",
            "database.acquire_timeout_ms: must be at least 1",
            "database.statement_timeout_ms: must be at least 1",
        ];
        assert_eq!(wrong(&read(text).unwrap()), expected);
    }
}
