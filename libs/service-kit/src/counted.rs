//! What each SQL store of this process was asked for, among its metrics.
//!
//! Must not know: what is in a store.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use amends_sql::{Counts, Database, Dialect, Operation};
use parking_lot::RwLock;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};
use service_base::metrics::{Durations, Metrics, StoreCalls};

/// Which of a store's counts a metric shows.
type Figure = fn(Counts) -> u64;

/// One series for each store, read from the store itself when metrics are collected: counting costs an order two additions a statement.
#[derive(Clone)]
struct PerStore {
    stores: Arc<RwLock<Vec<(&'static str, Database)>>>,
    figure: Figure,
}

impl PerStore {
    fn new(figure: Figure) -> Self {
        Self { stores: Arc::default(), figure }
    }
}

impl EncodeMetric for PerStore {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (store, database) in self.stores.read().iter() {
            let labels = [("store", *store)];
            let mut series = encoder.encode_family(&labels)?;
            series.encode_counter::<NoLabelSet, u64, u64>(&(self.figure)(database.counts()), None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl fmt::Debug for PerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stores.read().iter().map(|(store, _)| store)).finish()
    }
}

/// Shows how long what `service` asks of its store takes.
pub(crate) fn time(metrics: &Metrics, service: &'static str, database: &Database) {
    let system = match database.dialect() {
        Dialect::Sqlite => "sqlite",
        Dialect::Postgres => "postgresql",
    };
    let calls = StoreCalls::new(service, system, metrics);
    // Looked up once: what goes well is nearly all, and an order is many statements.
    let well: [OnceLock<Durations>; Operation::ALL.len()] = Default::default();
    database.tell(Box::new(move |operation, took, failure| match failure {
        None => well[operation as usize].get_or_init(|| calls.of("", operation.name(), "")).observe(
            took.as_secs_f64(),
            None,
            None,
        ),
        Some(error_type) => calls.observe("", operation.name(), error_type, took, None),
    }));
}

/// Shows what `store` is asked for.
pub(crate) fn count(metrics: &Metrics, store: &'static str, database: &Database) {
    let figures: [(_, _, Figure); 2] = [
        ("sql_statements_total", "Statements sent to a store, without BEGIN, COMMIT and ROLLBACK", |of| of.statements),
        ("sql_commits_total", "Changes that a store was asked to make durable", |of| of.commits),
    ];
    for (name, help, figure) in figures {
        let shown = metrics.get_or_register(name, help, || PerStore::new(figure));
        shown.stores.write().push((store, database.clone()));
    }
}

#[cfg(test)]
mod tests {
    use amends_sql::Options;

    use super::*;

    #[tokio::test]
    async fn stores_of_one_process_are_counted_apart() {
        let metrics = Metrics::new();
        let dir = tempfile::tempdir().unwrap();
        let open = |file: &str| {
            Database::connect_lazy(&amends_sql::sqlite_url(&dir.path().join(file)).unwrap(), &Options::default())
                .unwrap()
        };
        let (busy, idle) = (open("busy.db"), open("idle.db"));
        count(&metrics, "busy", &busy);
        time(&metrics, "order-service", &busy);
        count(&metrics, "idle", &idle);
        busy.ping().await.unwrap();
        busy.begin().await.unwrap().commit().await.unwrap();
        let page = metrics.encode();
        for line in [
            "sql_statements_total{store=\"busy\"} 1",
            "sql_commits_total{store=\"busy\"} 1",
            "sql_statements_total{store=\"idle\"} 0",
            r#"db_client_operation_duration_seconds_count{service="order-service",peer_service="sqlite",service_peer_name="sqlite",db_system_name="sqlite",db_collection_name="",db_operation_name="SELECT",error_type=""} 1"#,
            r#"db_operation_name="COMMIT",error_type=""} 1"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
