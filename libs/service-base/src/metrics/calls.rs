//! Calls to others, by who calls whom: the same metrics with the same labels, whichever service makes them, so that services of one
//! process share them and one panel shows all.
//!
//! `service` is the caller. The callee is `service_peer_name`, and `peer_service` for readers of the name it had before.

use std::time::Duration;

use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter};

use super::{DurationFamily, Durations, Metrics, TraceLabel};

/// Labels of an attempt to call over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    service: &'static str,
    peer_service: &'static str,
    service_peer_name: &'static str,
    url_template: &'static str,
    http_request_method: &'static str,
    /// Zero where there was no answer.
    http_response_status_code: u16,
    error_type: &'static str,
}

/// HTTP calls of one service: `http_client_request_duration_seconds`.
#[derive(Clone, Debug)]
pub struct HttpCalls {
    service: &'static str,
    family: DurationFamily<HttpLabels>,
}

/// One attempt to call over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct HttpCall {
    /// Who is called.
    pub peer: &'static str,
    /// The path with its variable parts named and not filled in.
    pub url_template: &'static str,
    /// The method, one of the known.
    pub method: &'static str,
    /// What was answered; zero where nothing was.
    pub status: u16,
    /// Empty where the callee was well.
    pub error_type: &'static str,
}

impl HttpCalls {
    /// The calls that `service` makes.
    pub fn new(service: &'static str, metrics: &Metrics) -> Self {
        let help = "How long HTTP calls to other services took, each attempt";
        Self { service, family: metrics.durations("http_client_request_duration_seconds", help) }
    }

    /// An attempt has ended.
    pub fn observe(&self, call: &HttpCall, took: Duration, exemplar: Option<TraceLabel>) {
        let labels = HttpLabels {
            service: self.service,
            peer_service: call.peer,
            service_peer_name: call.peer,
            url_template: call.url_template,
            http_request_method: call.method,
            http_response_status_code: call.status,
            error_type: call.error_type,
        };
        self.family.get_or_create(&labels).observe(took.as_secs_f64(), exemplar, None);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

/// Counts the requests that a service refuses for want of room, wherever it does: `requests_shed_total`.
pub fn requests_shed(service: &'static str, metrics: &Metrics) -> Counter {
    let shed = metrics.counter::<ServiceLabels>("requests_shed_total", "Requests refused because of too many others");
    shed.get_or_create_owned(&ServiceLabels { service })
}

/// Labels of a call to a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    service: &'static str,
    peer_service: &'static str,
    service_peer_name: &'static str,
    db_system_name: &'static str,
    /// Empty where a call is not about one.
    db_collection_name: &'static str,
    db_operation_name: &'static str,
    error_type: &'static str,
}

/// Calls of one service to one database: `db_client_operation_duration_seconds`.
#[derive(Clone, Debug)]
pub struct StoreCalls {
    service: &'static str,
    system: &'static str,
    family: DurationFamily<StoreLabels>,
}

impl StoreCalls {
    /// The calls that `service` makes to a database of that kind (`postgresql`, `sqlite`, `mongodb`, `redis`).
    pub fn new(service: &'static str, system: &'static str, metrics: &Metrics) -> Self {
        let help = "How long calls to databases took";
        Self { service, system, family: metrics.durations("db_client_operation_duration_seconds", help) }
    }

    /// The histogram of one operation that ended in one way, for a caller that keeps it.
    pub fn of(&self, collection: &'static str, operation: &'static str, error_type: &'static str) -> Durations {
        self.family.get_or_create_owned(&StoreLabels {
            service: self.service,
            peer_service: self.system,
            service_peer_name: self.system,
            db_system_name: self.system,
            db_collection_name: collection,
            db_operation_name: operation,
            error_type,
        })
    }

    /// A call has ended; `error_type` is empty where the database did what it was asked.
    pub fn observe(
        &self,
        collection: &'static str,
        operation: &'static str,
        error_type: &'static str,
        took: Duration,
        exemplar: Option<TraceLabel>,
    ) {
        self.of(collection, operation, error_type).observe(took.as_secs_f64(), exemplar, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_one_process_share_the_metric_of_their_calls() {
        let metrics = Metrics::new();
        let (gateway, order) = (HttpCalls::new("gateway", &metrics), HttpCalls::new("order-service", &metrics));
        let call =
            HttpCall { peer: "identity-service", url_template: "/t", method: "GET", status: 200, error_type: "" };
        gateway.observe(&call, Duration::from_millis(1), None);
        order.observe(&call, Duration::from_millis(1), None);
        StoreCalls::new("order-service", "redis", &metrics).observe("", "GET", "", Duration::from_millis(1), None);
        let page = metrics.encode();
        for line in [
            r#"http_client_request_duration_seconds_count{service="gateway",peer_service="identity-service",service_peer_name="identity-service",url_template="/t""#,
            r#"http_client_request_duration_seconds_count{service="order-service","#,
            r#"db_client_operation_duration_seconds_count{service="order-service",peer_service="redis",service_peer_name="redis",db_system_name="redis",db_collection_name="",db_operation_name="GET",error_type=""} 1"#,
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
