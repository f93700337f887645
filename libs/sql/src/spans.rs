//! What a trace shows of a store: a client span for each statement, and for each write that waits for its batch. Only under a span that is
//! recorded: what no request asked for (heartbeats, sweeps) is no trace.
//!
//! Names follow OpenTelemetry's conventions for databases: operation and table, never values, which the statements do not hold either.

use std::future::Future;

use opentelemetry::trace::TraceContextExt as _;
use sqlx::{Error, SqlStr, any::AnyConnectOptions};
use tokio::time::error::Elapsed;
use tracing::{Instrument as _, Span, field::Empty};

/// Which store it is, in spans.
#[derive(Debug, Default)]
pub(crate) struct Target {
    system: &'static str,
    /// The file's name, or the database's.
    namespace: String,
    /// None for a file.
    address: Option<(String, i64)>,
}

impl Target {
    pub(crate) fn new(is_file: bool, options: &AnyConnectOptions) -> Self {
        let url = &options.database_url;
        let last = url.path().rsplit('/').next().unwrap_or_default();
        if is_file {
            return Self { system: "sqlite", namespace: last.trim_end_matches(".db").to_owned(), address: None };
        }
        let address = url.host_str().map(|host| (host.to_owned(), i64::from(url.port().unwrap_or(5432))));
        Self { system: "postgresql", namespace: last.to_owned(), address }
    }

    /// Runs one statement, in a span of its own where that is recorded.
    pub(crate) async fn statement<T>(
        &self,
        sql: SqlStr,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !is_recorded() {
            return work.await;
        }
        let (operation, table) = summary(sql.as_str());
        let span = self.span(operation, table);
        let result = work.instrument(span.clone()).await;
        if let Err(error) = &result {
            failed(&span, kind(error));
        }
        result
    }

    /// Waits for a batch in a span, where that is recorded.
    pub(crate) async fn batch<T>(&self, work: impl Future<Output = Result<T, Elapsed>>) -> Result<T, Elapsed> {
        if !is_recorded() {
            return work.await;
        }
        let span = self.span("BATCH", &self.namespace);
        let result = work.instrument(span.clone()).await;
        if result.is_err() {
            failed(&span, "timeout");
        }
        result
    }

    fn span(&self, operation: &str, table: &str) -> Span {
        tracing::info_span!(
            "db",
            otel.name = format!("{operation} {table}").trim_end(),
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = self.system,
            db.namespace = self.namespace,
            db.operation.name = operation,
            db.collection.name = table,
            server.address = self.address.as_ref().map(|(host, _)| host.as_str()),
            server.port = self.address.as_ref().map(|(_, port)| *port),
            peer.service = self.system,
            service.peer.name = self.system,
            error.type = Empty,
        )
    }
}

/// Whether anything is recorded here.
pub(crate) fn is_recorded() -> bool {
    opentelemetry::Context::map_current(|context| context.span().is_recording())
}

fn failed(span: &Span, kind: &'static str) {
    span.record("otel.status_code", "ERROR").record("error.type", kind);
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Database(_) => "database",
        Error::PoolTimedOut => "pool_timed_out",
        Error::Io(_) | Error::WorkerCrashed | Error::PoolClosed => "connection",
        Error::Protocol(_) => "protocol",
        _ => "client",
    }
}

/// What a statement does, and to which table first: enough to tell statements apart.
fn summary(sql: &str) -> (&'static str, &str) {
    let words =
        sql.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';')).filter(|word| !word.is_empty());
    let mut operation = "";
    let mut after_key = false;
    for word in words {
        if after_key {
            return (operation, word);
        }
        let known = ["SELECT", "INSERT", "UPDATE", "DELETE", "PRAGMA", "VACUUM"]
            .into_iter()
            .find(|key| word.eq_ignore_ascii_case(key));
        if let Some(known) = known {
            // What a statement writes counts for more than what it reads for that.
            if operation.is_empty() || operation == "SELECT" {
                operation = known;
            }
            after_key = known == "UPDATE";
        } else if word.eq_ignore_ascii_case("INTO")
            || (word.eq_ignore_ascii_case("FROM") && !matches!(operation, "INSERT" | ""))
        {
            after_key = true;
        }
    }
    (operation, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_named_by_what_they_do_to_what() {
        for (sql, named) in [
            ("SELECT id, state FROM orders WHERE id = $1", ("SELECT", "orders")),
            ("INSERT INTO sagas (id) VALUES ($1)", ("INSERT", "sagas")),
            ("\n  update items SET held = held + 1", ("UPDATE", "items")),
            ("DELETE FROM step_keys WHERE at < $1", ("DELETE", "step_keys")),
            ("WITH entry AS (SELECT 1 FROM x) UPDATE sagas SET a = 1", ("SELECT", "x")),
            ("SELECT 1", ("SELECT", "")),
            ("BEGIN", ("", "")),
        ] {
            assert_eq!(summary(sql), named, "{sql}");
        }
    }

    #[test]
    fn stores_are_named_without_their_passwords() {
        let file = Target::new(true, &"sqlite:///data/order.db?mode=rwc".parse().unwrap());
        assert_eq!((file.namespace.as_str(), file.address), ("order", None));
        let server = Target::new(false, &"postgres://me:secret@db.example:6000/orders".parse().unwrap());
        assert!(!format!("{server:?}").contains("secret"));
        assert_eq!((server.namespace.as_str(), server.address), ("orders", Some(("db.example".to_owned(), 6000))));
    }
}
