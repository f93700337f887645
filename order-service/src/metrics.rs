//! What the business wants to know, and the engine's own counters, in the process's one registry.
//!
//! Labels are statuses and currencies only, never ids or customers.

use std::{collections::VecDeque, sync::Arc};

use amends_primitives::{OrderId, Timestamp};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        histogram::Histogram,
    },
};
use saga_engine::EngineMetrics;
use service_base::metrics::{DurationFamily, Metrics, TraceLabel};

use crate::{domain::Status, ports::Changed};

/// A status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

/// A currency.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CurrencyLabels {
    currency: String,
}

/// Minor units, from 1.00 to 100 000.00 of most currencies.
const VALUE_BUCKETS: [f64; 10] =
    [100.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 50_000.0, 100_000.0, 1_000_000.0, 10_000_000.0];

#[derive(Clone, Copy, Debug, Default)]
struct NewValues;

impl MetricConstructor<Histogram> for NewValues {
    fn new_metric(&self) -> Histogram {
        Histogram::new(VALUE_BUCKETS)
    }
}

/// The counters of this service. Clones share them.
#[derive(Clone)]
pub struct Meters {
    total: Family<StatusLabels, Counter>,
    seconds: DurationFamily<StatusLabels>,
    value: Family<CurrencyLabels, Histogram, NewValues>,
    seen: Arc<Mutex<VecDeque<(OrderId, Status)>>>,
    traced: Arc<Mutex<VecDeque<OrderId>>>,
}

/// Why a request to place an order came to nothing, and no order failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPlaced {
    /// A service or a store that an order needs is away: answered 503.
    Unavailable,
    /// There is no room for it: answered 503.
    Overloaded,
}

impl NotPlaced {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
        }
    }
}

/// All that `orders_total` counts. Each is shown from the start: the first failure after a start is a change of a series, not a new one,
/// whose first value no rate would have.
const STATUSES: [&str; 5] = [
    Status::Confirmed.as_str(),
    Status::Failed.as_str(),
    Status::Cancelled.as_str(),
    NotPlaced::Unavailable.as_str(),
    NotPlaced::Overloaded.as_str(),
];

/// Orders of sampled traces that have not settled yet: more than are under way at once. One that is pushed out has no exemplar.
const TRACED_MAX: usize = 1024;

/// A transaction that has to be repeated applies its changes again, at once: as many as one commit may hold.
const SEEN_MAX: usize = 1024;

impl Meters {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "Orders by how they ended (confirmed, failed; cancelled later), and requests answered 503 without an order \
                    (unavailable, overloaded)";
        let total = metrics.counter("orders_total", help);
        for status in STATUSES {
            drop(total.get_or_create(&StatusLabels { status }));
        }
        Self {
            total,
            seconds: metrics.durations("order_processing_seconds", "From placing an order to its being settled"),
            value: metrics.get_or_register("order_value", "Totals of confirmed orders, in minor units", || {
                Family::new_with_constructor(NewValues)
            }),
            seen: Arc::default(),
            traced: Arc::default(),
        }
    }

    /// A request to place an order was answered 503.
    pub(crate) fn not_placed(&self, why: NotPlaced) {
        self.total.get_or_create(&StatusLabels { status: why.as_str() }).inc();
    }

    /// An order is placed in the current trace. Whether that is one to be kept is known here only; it settles elsewhere.
    pub(crate) fn placing(&self, order: OrderId) {
        if TraceLabel::current().is_none() {
            return;
        }
        let mut traced = self.traced.lock();
        if traced.len() == TRACED_MAX {
            traced.pop_front();
        }
        traced.push_back(order);
    }

    fn is_traced(&self, order: OrderId) -> bool {
        let mut traced = self.traced.lock();
        let at = traced.iter().position(|known| *known == order);
        at.is_some_and(|at| traced.remove(at).is_some())
    }

    /// An order changed.
    pub(crate) fn changed(&self, order: OrderId, changed: &Changed, now: Timestamp) {
        if matches!(changed.status, Status::Pending | Status::Cancelling) || !self.is_new(order, changed.status) {
            return;
        }
        let labels = StatusLabels { status: changed.status.as_str() };
        self.total.get_or_create(&labels).inc();
        if matches!(changed.status, Status::Confirmed | Status::Failed) {
            let exemplar = self.is_traced(order).then(|| TraceLabel { trace_id: changed.trace_id.clone() });
            let seconds = now.since(changed.created_at).as_secs_f64();
            self.seconds.get_or_create(&labels).observe(seconds, exemplar, None);
        }
        if changed.status == Status::Confirmed {
            let currency = CurrencyLabels { currency: changed.total.currency().code().to_owned() };
            #[expect(clippy::cast_precision_loss, reason = "a histogram's sum; no money is computed from it")]
            self.value.get_or_create(&currency).observe(changed.total.amount_minor() as f64);
        }
    }

    fn is_new(&self, order: OrderId, status: Status) -> bool {
        let mut seen = self.seen.lock();
        if seen.contains(&(order, status)) {
            return false;
        }
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back((order, status));
        true
    }
}

/// The engine's counters, registered once per process; `orders_active` is how many of its sagas are in memory.
pub(crate) fn engine_metrics(metrics: &Metrics) -> EngineMetrics {
    let fresh = EngineMetrics::default();
    let active = metrics.get_or_register("saga_active", "Sagas in memory", || fresh.active.clone());
    metrics.get_or_register("orders_active", "Orders whose saga runs in this process", || active.clone());
    macro_rules! shared {
        ($($field:ident: $name:literal, $help:literal;)*) => {
            EngineMetrics { active, $($field: metrics.get_or_register($name, $help, || fresh.$field.clone()),)* }
        };
    }
    shared! {
        started: "saga_started_total", "Sagas stored to be run";
        settled: "saga_settled_total", "Sagas that settled here";
        duration_seconds: "saga_duration_seconds", "From a saga's start to its settling";
        parked: "saga_parked", "Sagas parked by this process and not moved on by it";
        oldest_seconds: "saga_oldest_seconds", "How long ago the oldest saga that is under way was started";
        attempts: "saga_step_attempts_total", "Attempts of steps";
        attempt_seconds: "saga_step_attempt_seconds", "How long an attempt took";
        claimed: "saga_claimed_total", "Sagas taken over";
        fenced: "saga_fenced_total", "Appends refused because the saga was taken over";
        leases_lost: "saga_leases_lost_total", "Times this replica's lease had run out";
        unknown_definitions: "saga_unknown_definitions", "Sagas left alone because their definition is not known here";
        append_seconds: "saga_journal_append_seconds", "From an entry's submission to its commit";
        journal_errors: "saga_journal_errors_total", "Journal calls that failed and are tried again";
        unreadable: "saga_unreadable_total", "Sagas whose journal cannot be read";
        purged: "saga_purged_total", "Finished sagas deleted by age";
    }
}

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, Money};

    use super::*;

    #[test]
    fn an_order_counts_once_although_its_transaction_is_repeated() {
        let metrics = Metrics::new();
        let meters = Meters::new(&metrics);
        let order = OrderId::new(uuid::Uuid::from_u128(1));
        let at = Timestamp::from_millis(1_000);
        let changed = |status| Changed {
            status,
            total: Money::new(3700, Currency::EUR),
            created_at: at,
            trace_id: String::new(),
        };
        for _ in 0..2 {
            meters.changed(order, &changed(Status::Confirmed), at + std::time::Duration::from_millis(20));
        }
        meters.changed(order, &changed(Status::Cancelling), at);
        meters.changed(order, &changed(Status::Cancelled), at);
        let page = metrics.encode();
        for line in [
            r#"orders_total{status="confirmed"} 1"#,
            r#"orders_total{status="cancelled"} 1"#,
            r#"order_processing_seconds_count{status="confirmed"} 1"#,
            r#"order_value_sum{currency="EUR"} 3700.0"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn statuses_that_have_not_happened_are_shown_as_zero() {
        let metrics = Metrics::new();
        let meters = Meters::new(&metrics);
        meters.not_placed(NotPlaced::Unavailable);
        let page = metrics.encode();
        for line in [
            r#"orders_total{status="unavailable"} 1"#,
            r#"orders_total{status="overloaded"} 0"#,
            r#"orders_total{status="failed"} 0"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn two_engines_of_one_process_share_their_counters() {
        let metrics = Metrics::new();
        let (one, two) = (engine_metrics(&metrics), engine_metrics(&metrics));
        one.claimed.inc();
        two.claimed.inc();
        assert!(metrics.encode().contains("saga_claimed_total 2"));
    }
}
