//! What can be known of a callsite once and for all: the members of its records that never change, and its fields' keys as they are written.
//!
//! Names of our own namespaces are written with underscores (`order.id` is `order_id`), everything else as the code has it.
//!
//! Must not know: values, sinks.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use tracing::{Metadata, callsite::Identifier, field::Field};

use crate::json;

/// Namespaces of our own: in a record their names have underscores, as people type them.
const OWN_NAMESPACES: [&str; 4] = ["order.", "saga.", "payment.", "reservation."];

/// Members that are written by the renderers themselves; a field of that name would be a second one.
const RESERVED: [&str; 17] = [
    "v",
    "name",
    "msg",
    "level",
    "hostname",
    "pid",
    "time",
    "target",
    "line",
    "file",
    "@timestamp",
    "message",
    "span",
    "logger",
    "service_name",
    "service_version",
    "environment",
];

/// A field's name as records have it.
pub(crate) fn record_name(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    if OWN_NAMESPACES.iter().any(|namespace| name.starts_with(namespace)) {
        name.replace('.', "_")
    } else {
        name.to_owned()
    }
}

/// A key, in its quotes, as records have it.
pub(crate) fn record_key(key: &[u8]) -> Cow<'_, [u8]> {
    let name = key.get(1..).unwrap_or_default();
    if OWN_NAMESPACES.iter().any(|namespace| name.starts_with(namespace.as_bytes())) {
        key.iter().map(|byte| if *byte == b'.' { b'_' } else { *byte }).collect()
    } else {
        key.into()
    }
}

/// One callsite: of an event or of a span.
#[derive(Debug)]
pub(crate) struct Callsite {
    /// Members that each of its records has, each after a comma.
    pub(crate) constant: Vec<u8>,
    /// `[SPAN - EVENT] `, as the bunyan formatter has it, for events in this span.
    pub(crate) prefix: String,
    /// Its fields' keys, `,"key":`, in their order; none for what is not written.
    keys: Vec<Option<Box<[u8]>>>,
    /// Which of its fields is the message.
    message: Option<usize>,
}

impl Callsite {
    fn new(metadata: &'static Metadata<'static>) -> Self {
        let mut constant = Vec::new();
        let level = *metadata.level();
        json::push_key(&mut constant, "level");
        constant.extend_from_slice(bunyan(level).as_bytes());
        json::push_key(&mut constant, "log.level");
        json::push_str(&mut constant, level.as_str());
        json::push_key(&mut constant, "target");
        json::push_str(&mut constant, metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            json::push_key(&mut constant, "line");
            constant.extend_from_slice(line.to_string().as_bytes());
            json::push_key(&mut constant, "file");
            json::push_str(&mut constant, file);
        }
        let mut names: Vec<String> = Vec::new();
        let mut message = None;
        let keys = metadata.fields().iter().map(|field| {
            if field.name() == "message" {
                message = Some(field.index());
            }
            let name = record_name(field.name());
            // What the `log` crate says of its own records is of no use, and what is said to OpenTelemetry is in the trace. Of two fields
            // that come to the same name, the first is kept.
            let is_written = !RESERVED.contains(&name.as_str())
                && !name.starts_with("log.")
                && !name.starts_with("otel.")
                && !names.contains(&name);
            is_written.then(|| {
                let mut key = Vec::new();
                json::push_key(&mut key, &name);
                names.push(name);
                key.into_boxed_slice()
            })
        });
        let keys = keys.collect();
        Self { constant, prefix: format!("[{} - EVENT] ", metadata.name().to_uppercase()), keys, message }
    }

    /// The field's key, unless the field is not written.
    pub(crate) fn key(&self, field: &Field) -> Option<&[u8]> {
        self.keys.get(field.index())?.as_deref()
    }

    /// The key of the field at that place.
    pub(crate) fn key_at(&self, index: usize) -> Option<&[u8]> {
        self.keys.get(index)?.as_deref()
    }

    /// Whether the field is the message.
    pub(crate) fn is_message(&self, field: &Field) -> bool {
        self.message == Some(field.index())
    }
}

/// Bunyan's number for a level.
fn bunyan(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "50",
        tracing::Level::WARN => "40",
        tracing::Level::INFO => "30",
        tracing::Level::DEBUG => "20",
        tracing::Level::TRACE => "10",
    }
}

type Known = HashMap<Identifier, Arc<Callsite>>;

thread_local! {
    /// What this thread has met: no lock is shared on the way of a line.
    static MET: RefCell<Known> = RefCell::default();
}

/// What is known of the callsite; found out at the first call.
pub(crate) fn of(metadata: &'static Metadata<'static>) -> Arc<Callsite> {
    static ALL: OnceLock<RwLock<Known>> = OnceLock::new();
    let id = metadata.callsite();
    MET.with_borrow_mut(|met| {
        let known = met.entry(id.clone()).or_insert_with(|| {
            let mut all = ALL.get_or_init(RwLock::default).write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(id).or_insert_with(|| Arc::new(Callsite::new(metadata))))
        });
        Arc::clone(known)
    })
}
