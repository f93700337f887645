//! One process may be several services, and each is a node of its own in a service graph. A span's `service` becomes its resource's
//! `service.name`; each name gets an exporter, since a resource is an exporter's.
//!
//! Must not know: protocols.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use tokio::sync::Mutex;

use super::{exporter::Connector, meters::Counted};
use crate::names;

/// Service names are constants of the program; more would be a mistake, and are taken for the process itself.
const SERVICES_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct ByService {
    connector: Connector,
    /// The process's own.
    own: Arc<str>,
    resource: Resource,
    exporters: Mutex<BTreeMap<Arc<str>, Arc<Otlp>>>,
    counted: Counted,
}

impl ByService {
    pub(super) fn new(connector: Connector, own: &str, counted: Counted) -> Self {
        let resource = Resource::builder_empty().build();
        Self { connector, own: own.into(), resource, exporters: Mutex::default(), counted }
    }

    async fn exporter(&self, service: &Arc<str>) -> Result<Arc<Otlp>, OTelSdkError> {
        let mut exporters = self.exporters.lock().await;
        if let Some(known) = exporters.get(service) {
            return Ok(Arc::clone(known));
        }
        let mut new = self.connector.connect().map_err(|error| OTelSdkError::InternalFailure(error.to_string()))?;
        new.set_resource(&of_service(&self.resource, service));
        let new = Arc::new(new);
        exporters.insert(Arc::clone(service), Arc::clone(&new));
        Ok(new)
    }

    fn split(&self, batch: Vec<SpanData>) -> BTreeMap<Arc<str>, Vec<SpanData>> {
        let mut parts: BTreeMap<Arc<str>, Vec<SpanData>> = BTreeMap::new();
        for mut span in batch {
            let service = take_service(&mut span.attributes);
            keep_last(&mut span.attributes);
            let service = service.filter(|name| parts.contains_key(name) || parts.len() < SERVICES_MAX);
            parts.entry(service.unwrap_or_else(|| Arc::clone(&self.own))).or_default().push(span);
        }
        parts
    }
}

/// Takes it out, however often it is there.
fn take_service(attributes: &mut Vec<KeyValue>) -> Option<Arc<str>> {
    let mut found = None;
    attributes.retain(|attribute| {
        let is_service = attribute.key.as_str() == names::attribute::SERVICE;
        if let (true, Value::String(name)) = (is_service, &attribute.value) {
            found = Some(Arc::from(name.as_str()));
        }
        !is_service
    });
    found
}

/// Of two attributes of one name the later: a value that was recorded twice is listed twice (OpenTelemetry's rule is that names are unique).
fn keep_last(attributes: &mut Vec<KeyValue>) {
    let mut at = attributes.len();
    while at > 0 {
        at -= 1;
        if attributes[at + 1..].iter().any(|later| later.key == attributes[at].key) {
            attributes.remove(at);
        }
    }
}

fn of_service(resource: &Resource, service: &str) -> Resource {
    let attributes = resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_schema_url(attributes, resource.schema_url().unwrap_or_default().to_owned())
        .with_service_name(service.to_owned())
        .build()
}

impl SpanExporter for ByService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut outcome = Ok(());
        self.counted.taken(batch.len());
        for (service, spans) in self.split(batch) {
            let count = spans.len();
            let sent = match self.exporter(&service).await {
                Ok(exporter) => exporter.export(spans).await,
                Err(error) => Err(error),
            };
            self.counted.sent(count, sent.is_ok());
            if sent.is_err() {
                outcome = sent;
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        // No export is under way any more, so no call holds it.
        let Ok(exporters) = self.exporters.try_lock() else { return Ok(()) };
        exporters.values().try_for_each(|exporter| exporter.shutdown_with_timeout(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_taken_out_of_the_attributes() {
        let mut attributes = vec![
            KeyValue::new("service", "gateway"),
            KeyValue::new("http.route", "/v1/orders"),
            KeyValue::new("service", "order-service"),
        ];
        assert_eq!(take_service(&mut attributes).as_deref(), Some("order-service"));
        assert_eq!(attributes, [KeyValue::new("http.route", "/v1/orders")]);
        assert_eq!(take_service(&mut attributes), None);
    }

    #[test]
    fn of_two_values_of_a_name_the_later_is_kept() {
        let mut attributes =
            vec![KeyValue::new("order.id", "early"), KeyValue::new("saga.id", "1"), KeyValue::new("order.id", "late")];
        keep_last(&mut attributes);
        assert_eq!(attributes, [KeyValue::new("saga.id", "1"), KeyValue::new("order.id", "late")]);
    }

    #[test]
    fn each_service_has_its_name_and_the_rest_of_the_process() {
        let resource = Resource::builder_empty()
            .with_schema_url([KeyValue::new("service.instance.id", "7")], "https://opentelemetry.io/schemas/1")
            .with_service_name("amends")
            .build();
        let own = of_service(&resource, "gateway");
        assert_eq!(own.get(&"service.name".into()), Some(Value::from("gateway")));
        assert_eq!(own.get(&"service.instance.id".into()), Some(Value::from("7")));
        assert_eq!(own.schema_url(), Some("https://opentelemetry.io/schemas/1"));
    }
}
