//! Log lines for Logstash: one JSON object per event, with ids, the fields of the event and of the spans around it, each
//! key once. Written by hand because it runs for every event of every request: about a quarter of what a formatter costs.

use std::{fmt, sync::Arc, time::SystemTime};

use amends_primitives::Timestamp;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{Config, fields, shipper::Sender};

/// A field's name and its value as JSON.
type Member = (&'static str, Vec<u8>);

/// The fields of one span.
struct SpanFields(Vec<Member>);

pub(crate) struct LeanLayer {
    /// Members that never change, from the comma after the first ones to the last.
    constant: Vec<u8>,
    sender: Arc<Sender>,
}

/// Keys that this layer writes itself; a field of that name would be a second one.
const OWN: [&str; 8] =
    ["@timestamp", "level", "message", "logger", "span", "service_name", "service_version", "environment"];

/// Keys that this layer writes where a span is entered. Elsewhere an event may bring them itself.
const IDS: [&str; 2] = ["trace_id", "span_id"];

impl LeanLayer {
    pub(crate) fn new(config: &Config, sender: Arc<Sender>) -> Self {
        let mut constant = Vec::new();
        for (key, value) in [
            ("service_name", &config.service_name),
            ("service_version", &config.service_version),
            ("environment", &config.environment),
        ] {
            constant.push(b',');
            fields::push_string(&mut constant, key);
            constant.push(b':');
            fields::push_string(&mut constant, value);
        }
        Self { constant, sender }
    }
}

/// Collects fields; a later value of a name replaces the earlier.
struct Collect<'a> {
    members: &'a mut Vec<Member>,
    message: Option<&'a mut String>,
}

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: Vec<u8>) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        match self.members.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => self.members.push((name, value)),
        }
    }

    fn json(&mut self, field: &Field, value: &impl serde::Serialize) {
        if let Ok(value) = serde_json::to_vec(value) {
            self.put(field, value);
        }
    }
}

impl Visit for Collect<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.json(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.json(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.json(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.json(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match (&mut self.message, field.name()) {
            (Some(message), "message") => value.clone_into(message),
            _ => self.json(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match (&mut self.message, field.name()) {
            (Some(message), "message") => **message = format!("{value:?}"),
            _ => self.json(field, &format_args!("{value:?}").to_string()),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LeanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut members = Vec::new();
        attributes.record(&mut Collect { members: &mut members, message: None });
        span.extensions_mut().insert(SpanFields(members));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(SpanFields(members)) = span.extensions_mut().get_mut() {
            values.record(&mut Collect { members, message: None });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (mut members, mut message) = (Vec::new(), String::new());
        event.record(&mut Collect { members: &mut members, message: Some(&mut message) });
        let metadata = event.metadata();
        let mut line = Vec::with_capacity(768);
        let mut first = true;
        let mut put = |line: &mut Vec<u8>, key: &str, value: &str| {
            line.push(if std::mem::take(&mut first) { b'{' } else { b',' });
            fields::push_string(line, key);
            line.push(b':');
            fields::push_string(line, value);
        };
        put(&mut line, "@timestamp", &Timestamp::from(SystemTime::now()).to_string());
        put(&mut line, "level", metadata.level().as_str());
        put(&mut line, "message", &message);
        put(&mut line, "logger", metadata.target());
        let ids = fields::current_ids();
        if let Some((trace, span)) = &ids {
            put(&mut line, "trace_id", trace);
            put(&mut line, "span_id", span);
        }
        let scope = context.event_scope(event);
        if let Some(span) = context.event_span(event) {
            put(&mut line, "span", span.name());
        }
        line.extend_from_slice(&self.constant);

        let mut written: Vec<&'static str> = Vec::with_capacity(24);
        let mut add = |line: &mut Vec<u8>, members: &[Member]| {
            for (key, value) in members {
                // What the `log` crate says of its own records is in `logger`; what is said to OpenTelemetry is in the trace.
                let own = OWN.contains(key) || (ids.is_some() && IDS.contains(key));
                if written.contains(key) || own || key.starts_with("log.") || key.starts_with("otel.") {
                    continue;
                }
                written.push(key);
                line.push(b',');
                fields::push_string(line, key);
                line.push(b':');
                line.extend_from_slice(value);
            }
        };
        // The event's own first, then from the innermost span outwards: the nearest of two values is kept.
        add(&mut line, &members);
        for span in scope.into_iter().flatten() {
            if let Some(SpanFields(members)) = span.extensions().get() {
                add(&mut line, members);
            }
        }
        line.extend_from_slice(b"}\n");
        self.sender.send(line);
    }
}
