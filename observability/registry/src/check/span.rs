//! Spans as they come by OTLP, and what is said of their process.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1 as otlp,
};

use super::{Look, Mistake, Received};
use crate::{Attribute, Kind, Registry, Span};

/// What a span's events have besides the fields of the log record that they are.
const OF_SPAN_EVENTS: [&str; 2] = ["level", "target"];

impl Registry {
    /// What is wrong with a span.
    pub fn check_span(&self, span: &otlp::Span) -> Vec<Mistake> {
        let kind = kind(span.kind());
        let of = format!("{kind} span `{}`", span.name);
        let Some(known) = self.recognised(kind, &span.attributes) else {
            let keys: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            return vec![Mistake::UnknownSignal { what: format!("{of} with {}", keys.join(", ")) }];
        };
        let mut look = Look::new(&of, self);
        for KeyValue { key, value, .. } in &span.attributes {
            let allowed = look.find(&known.attributes, key, name);
            look.value(key, &received(value.as_ref()), allowed);
        }
        look.required(&known.attributes, name);
        let mut mistakes = look.mistakes;
        if let Some(expected) = known.name.as_ref().map(|pattern| named(pattern, &span.attributes))
            && expected != span.name
        {
            mistakes.push(Mistake::Misnamed { of: of.clone(), expected });
        }
        for event in &span.events {
            mistakes.extend(self.check_span_event(&of, event));
        }
        mistakes
    }

    /// What is wrong with what a span says of its process.
    pub fn check_resource(&self, resource: &Resource) -> Vec<Mistake> {
        let mut look = Look::new("resource", self);
        for KeyValue { key, value, .. } in &resource.attributes {
            let allowed = look.find(&self.resource, key, name);
            look.value(key, &received(value.as_ref()), allowed);
        }
        look.required(&self.resource, name);
        look.mistakes
    }

    fn check_span_event(&self, span: &str, event: &otlp::span::Event) -> Vec<Mistake> {
        let of = format!("event `{}` of {span}", event.name);
        let mut look = Look::new(&of, self);
        for KeyValue { key, value, .. } in &event.attributes {
            if !OF_SPAN_EVENTS.contains(&key.as_str()) {
                let allowed = look.find(self.in_lines(), key, name);
                let value = received(value.as_ref());
                // The layer that makes spans writes unsigned numbers of events as text; the log record of the same event has numbers.
                let is_number = |text: &str| {
                    allowed.is_some_and(|attribute| attribute.kind == Kind::Int) && text.parse::<u64>().is_ok()
                };
                let value = match value {
                    Received::Text(text) if is_number(text) => Received::Int,
                    other => other,
                };
                look.value(key, &value, allowed);
            }
        }
        look.mistakes
    }

    /// Which kind of span it is: of those of its kind the one that more attributes tell.
    fn recognised(&self, kind: &str, attributes: &[KeyValue]) -> Option<&Span> {
        let has = |name: &String| attributes.iter().any(|attribute| attribute.key == *name);
        let fitting = self.spans.iter().filter(|span| span.kind == kind && span.told_by.iter().all(has));
        // The first of several: the order of the files decides.
        fitting.rev().max_by_key(|span| span.told_by.len())
    }
}

fn name(attribute: &Attribute) -> String {
    attribute.name.clone()
}

/// A name made of a pattern; what is not there is left out, with the blank before it.
fn named(pattern: &str, attributes: &[KeyValue]) -> String {
    let values: BTreeMap<&str, String> =
        attributes.iter().map(|attribute| (attribute.key.as_str(), text(attribute.value.as_ref()))).collect();
    let filled = super::placeholders(pattern).fold(pattern.to_owned(), |name, key| {
        name.replace(&format!("{{{key}}}"), values.get(key).map_or("", String::as_str))
    });
    filled.trim().to_owned()
}

const fn kind(kind: otlp::span::SpanKind) -> &'static str {
    match kind {
        otlp::span::SpanKind::Server => "server",
        otlp::span::SpanKind::Client => "client",
        otlp::span::SpanKind::Internal => "internal",
        otlp::span::SpanKind::Producer => "producer",
        otlp::span::SpanKind::Consumer => "consumer",
        otlp::span::SpanKind::Unspecified => "unspecified",
    }
}

fn received(value: Option<&AnyValue>) -> Received<'_> {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => Received::Text(text),
        Some(Value::IntValue(_)) => Received::Int,
        Some(Value::DoubleValue(_)) => Received::Double,
        Some(Value::BoolValue(_)) => Received::Boolean,
        _ => Received::Other,
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn words(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
        pairs.iter().map(|(key, value)| attribute(key, Value::StringValue((*value).to_owned()))).collect()
    }

    /// What is said of a client span with these attributes, which names what was good about it.
    fn found(name: &str, attributes: Vec<KeyValue>) -> Vec<String> {
        let kind = otlp::span::SpanKind::Client.into();
        let span = otlp::Span { name: name.to_owned(), kind, attributes, ..otlp::Span::default() };
        tests::said(&tests::registry().check_span(&span))
    }

    const GOOD: [(&str, &str); 3] = [("db.system.name", "sqlite"), ("db.operation.name", "insert"), ("order.id", "o")];

    #[test]
    fn a_span_as_the_registry_has_it_has_no_mistakes() {
        let attributes = [words(&GOOD), vec![attribute("retry.attempt", Value::IntValue(1))]].concat();
        assert_eq!(found("insert o", attributes), [""; 0]);
        assert_eq!(found("insert", words(&GOOD[..2])), [""; 0], "what is not there is not in the name");
    }

    #[test]
    fn each_mistake_of_a_span_is_found() {
        let of = "client span `insert o`";
        let with = |more: KeyValue| found("insert o", [words(&GOOD), vec![more]].concat());
        assert_eq!(
            found("insert o", words(&GOOD[1..])),
            [format!("{of} with db.operation.name, order.id: not in the registry")]
        );
        assert_eq!(with(attribute("order", Value::IntValue(1))), [format!("{of}: may not have `order`")]);
        assert_eq!(
            with(attribute("retry.attempt", Value::StringValue("1".to_owned()))),
            [format!("{of}: `retry.attempt` is the text `1`, and not of type int")]
        );
        assert_eq!(with(words(&GOOD).remove(2)), [format!("{of}: has `order.id` twice")]);
        assert_eq!(found("o", words(&[GOOD[0], GOOD[2]])), ["client span `o`: lacks `db.operation.name`"]);
        assert_eq!(found("db", words(&GOOD)), ["client span `db`: should be `insert o`"]);
    }

    #[test]
    fn a_value_that_is_not_one_of_those_there_are_is_found() {
        let check = |value: &str| {
            let kind = otlp::span::SpanKind::Internal.into();
            let attributes = words(&[("saga.phase", value)]);
            tests::registry().check_span(&otlp::Span { kind, attributes, ..otlp::Span::default() }).len()
        };
        assert_eq!((check("action"), check("acting")), (0, 1));
    }

    #[test]
    fn a_process_without_a_name_is_found() {
        let check = |attributes| {
            tests::said(&tests::registry().check_resource(&Resource { attributes, ..Resource::default() }))
        };
        assert_eq!(check(words(&[("service.name", "x")])), [""; 0]);
        assert_eq!(check(words(&[("name", "x")])), ["resource: may not have `name`", "resource: lacks `service.name`"]);
    }

    #[test]
    fn an_unknown_field_of_a_spans_event_is_found() {
        let event = |key: &str| {
            let attributes = words(&[(key, "7"), ("level", "INFO")]);
            let events = vec![otlp::span::Event { name: "e".to_owned(), attributes, ..otlp::span::Event::default() }];
            let kind = otlp::span::SpanKind::Internal.into();
            tests::said(&tests::registry().check_span(&otlp::Span { kind, events, ..otlp::Span::default() }))
        };
        assert_eq!([event("order.id"), event("retry.attempt")], [[""; 0]; 2]);
        assert_eq!(event("order_id"), ["event `e` of internal span ``: may not have `order_id`"]);
    }
}
