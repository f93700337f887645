//! Records for the shipper: the members of the console's bunyan record and beside them the names that Elasticsearch expects
//! (`@timestamp`, `log.level`, `message`; the others are aliases in its index template), each key once.
//!
//! Written by hand because it runs for every event of every request: about a quarter of what a formatter costs. What never changes is
//! worked out once, for the process or for the callsite.

use std::{cell::RefCell, fmt, io::Write as _, sync::Arc, time::SystemTime};

use amends_primitives::Timestamp;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{
    Config,
    callsite::{self, Callsite},
    fields, json,
    shipper::Sender,
};

/// Members of one record beyond this are left out: none of ours has half as many.
const MEMBERS_MAX: usize = 64;

/// Keys that are written where a span is current. Elsewhere an event may bring them itself.
const TRACE_KEY: &[u8] = br#","trace_id":"#;
const SPAN_KEY: &[u8] = br#","span_id":"#;
const CORRELATION_KEY: &[u8] = br#","correlation_id":"#;

/// The fields of one span, as they are written.
struct SpanFields {
    callsite: Arc<Callsite>,
    /// Where each value is in `bytes`, by the field's place; a later value of a field replaces the earlier.
    values: Vec<(usize, std::ops::Range<usize>)>,
    bytes: Vec<u8>,
}

pub(crate) struct LeanLayer {
    /// Members of every record of this process, from the opening brace on.
    constant: Vec<u8>,
    sender: Sender,
}

impl LeanLayer {
    pub(crate) fn new(config: &Config, sender: Sender) -> Self {
        let mut constant = br#"{"v":0"#.to_vec();
        for (key, value) in [
            ("name", config.service_name.as_str()),
            ("hostname", &fields::hostname()),
            ("service_name", &config.service_name),
            ("service_version", &config.service_version),
            ("environment", &config.environment),
        ] {
            json::push_key(&mut constant, key);
            json::push_str(&mut constant, value);
        }
        json::push_key(&mut constant, "pid");
        constant.extend_from_slice(std::process::id().to_string().as_bytes());
        Self { constant, sender }
    }
}

/// Where the keys are that a record has already.
struct Keys {
    places: [(usize, usize); MEMBERS_MAX],
    count: usize,
}

impl Keys {
    const fn new() -> Self {
        Self { places: [(0, 0); MEMBERS_MAX], count: 0 }
    }

    /// Writes `key`, which begins with the comma before it, unless the record has it already or has too many.
    fn push(&mut self, record: &mut Vec<u8>, key: &[u8]) -> bool {
        let known = &self.places[..self.count];
        if self.count == MEMBERS_MAX || known.iter().any(|(from, to)| record[*from..*to] == *key) {
            return false;
        }
        let from = record.len();
        record.extend_from_slice(key);
        self.places[self.count] = (from, record.len());
        self.count += 1;
        true
    }
}

/// Writes an event's fields into a record, each after a comma, and its message, escaped.
struct OfEvent<'a> {
    callsite: &'a Callsite,
    keys: &'a mut Keys,
    record: &'a mut Vec<u8>,
    message: &'a mut Vec<u8>,
}

impl OfEvent<'_> {
    fn value(&mut self, field: &Field, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(key) = self.callsite.key(field)
            && self.keys.push(self.record, key)
        {
            write(self.record);
        }
    }
}

/// Implements a visitor whose numbers, words and texts go through its own `value`.
macro_rules! visits_values {
    () => {
        fn record_i64(&mut self, field: &Field, value: i64) {
            self.value(field, |out| drop(write!(out, "{value}")));
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            self.value(field, |out| drop(write!(out, "{value}")));
        }

        fn record_f64(&mut self, field: &Field, value: f64) {
            self.value(field, |out| json::push_f64(out, value));
        }

        fn record_bool(&mut self, field: &Field, value: bool) {
            self.value(field, |out| out.extend_from_slice(if value { b"true" } else { b"false" }));
        }
    };
}

impl Visit for OfEvent<'_> {
    visits_values!();

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.callsite.is_message(field) {
            return json::push_escaped(self.message, value);
        }
        self.value(field, |out| json::push_str(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.callsite.is_message(field) {
            // Writing to a vector cannot fail.
            let _ = fmt::write(&mut json::Escaping(self.message), format_args!("{value:?}"));
            return;
        }
        self.value(field, |out| json::push_debug(out, value));
    }
}

impl SpanFields {
    fn value(&mut self, field: &Field, write: impl FnOnce(&mut Vec<u8>)) {
        if self.callsite.key(field).is_none() {
            return;
        }
        let from = self.bytes.len();
        write(&mut self.bytes);
        let value = from..self.bytes.len();
        match self.values.iter_mut().find(|(index, _)| *index == field.index()) {
            Some((_, known)) => *known = value,
            None => self.values.push((field.index(), value)),
        }
    }
}

impl Visit for SpanFields {
    visits_values!();

    fn record_str(&mut self, field: &Field, value: &str) {
        self.value(field, |out| json::push_str(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.value(field, |out| json::push_debug(out, value));
    }
}

/// Where a record is put together before it is copied into the queue, as long as it is.
#[derive(Default)]
struct Scratch {
    record: Vec<u8>,
    message: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LeanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let callsite = callsite::of(attributes.metadata());
        let mut fields = SpanFields { callsite, values: Vec::new(), bytes: Vec::new() };
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // A value whose `Debug` logs would find the buffers taken: its own line is put together in new ones.
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => self.render(event, &context, &mut scratch),
            Err(_) => self.render(event, &context, &mut Scratch::default()),
        });
    }
}

impl LeanLayer {
    fn render<S>(&self, event: &Event<'_>, context: &Context<'_, S>, scratch: &mut Scratch)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Scratch { record, message } = scratch;
        record.clear();
        message.clear();
        record.extend_from_slice(&self.constant);
        let callsite = callsite::of(event.metadata());
        record.extend_from_slice(&callsite.constant);
        let now = Timestamp::from(SystemTime::now());
        for key in ["time", "@timestamp"] {
            json::push_key(record, key);
            json::push_display(record, &now);
        }
        let mut keys = Keys::new();
        if let Some((trace, span)) = fields::current_ids() {
            for (key, id) in [(TRACE_KEY, &trace as &dyn fmt::Display), (SPAN_KEY, &span)] {
                keys.push(record, key);
                json::push_display(record, id);
            }
        }
        // The event's own first, then from the innermost span outwards: the nearest of two values is kept.
        event.record(&mut OfEvent { callsite: &callsite, keys: &mut keys, record, message });
        let mut innermost = None;
        for span in context.event_scope(event).into_iter().flatten() {
            if innermost.is_none() {
                json::push_key(record, "span");
                json::push_str(record, span.name());
                innermost = Some(callsite::of(span.metadata()));
            }
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<SpanFields>() else { continue };
            for (index, value) in &fields.values {
                if let Some(key) = fields.callsite.key_at(*index)
                    && keys.push(record, key)
                {
                    record.extend_from_slice(&fields.bytes[value.clone()]);
                }
            }
        }
        fields::with_correlation(|id| {
            if keys.push(record, CORRELATION_KEY) {
                json::push_str(record, id);
            }
        });
        // As the bunyan formatter has it: the target where there is no message, and the span before it.
        record.extend_from_slice(br#","msg":""#);
        if let Some(span) = &innermost {
            json::push_escaped(record, &span.prefix);
        }
        if message.is_empty() {
            json::push_escaped(message, event.metadata().target());
        }
        record.extend_from_slice(message);
        record.extend_from_slice(br#"","message":""#);
        record.extend_from_slice(message);
        record.extend_from_slice(b"\"}\n");
        self.sender.send(record.as_slice().into());
    }
}
