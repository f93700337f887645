//! The Rust module of names, `observability/telemetry/src/names.rs`.
//!
//! Must not know: who uses which name.

use std::fmt::Write as _;

use crate::{Attribute, Kind, Registry};

const HEAD: &str = "\
//! What telemetry is called: attributes of spans and fields of events as code spells them, values of which there are few, metrics as they
//! are on the page, and the messages of events. `cargo xtask registry` writes this file from `observability/registry`.
//!
//! Long because each name has a sentence.
";

/// Makes the module's text.
pub fn render(registry: &Registry) -> String {
    let mut out = HEAD.to_owned();
    let current = || registry.attributes.values().filter(|attribute| attribute.renamed_to.is_none());
    // The renderer's own keys have a module of their own: `service_name` is one, and `service.name` an attribute.
    let is_of_records = |attribute: &Attribute| {
        !attribute.is_semconv && registry.record.iter().any(|used| used.attribute == attribute.name)
    };
    for (name, doc, are_of_records) in [
        ("attribute", "Attributes of spans, fields of events, labels of metrics.", false),
        ("record", "What the renderer writes into each log record.", true),
    ] {
        module(&mut out, name, doc, |out| {
            for attribute in current().filter(|attribute| is_of_records(attribute) == are_of_records) {
                let Attribute { name, kind, brief, .. } = attribute;
                constant(out, name, &format!("{brief} Type: {}.", kind.as_str()), name);
            }
        });
    }
    for attribute in current() {
        if let Kind::Enum(values) = &attribute.kind {
            let doc = format!("Values of `{}`.", attribute.name);
            module(&mut out, &attribute.label(), &doc, |out| {
                for (value, brief) in values {
                    constant(out, value, brief, value);
                }
            });
        }
    }
    module(
        &mut out,
        "metric",
        "Metrics, as they are called on the page; samples of counters end in `_total`.",
        |out| {
            for metric in registry.metrics.values() {
                let doc = format!("{} A {} in {}.", metric.brief, metric.instrument, unit(&metric.unit));
                constant(out, &metric.name, &doc, &metric.shown);
            }
        },
    );
    module(&mut out, "event", "Messages of events that have a name.", |out| {
        for event in &registry.events {
            constant(out, &event.name, &event.brief, &event.message);
        }
    });
    out
}

fn module(out: &mut String, name: &str, doc: &str, fill: impl FnOnce(&mut String)) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n/// {doc}\npub mod {name} {{");
    fill(out);
    out.push_str("}\n");
}

fn constant(out: &mut String, name: &str, doc: &str, value: &str) {
    let name: String =
        name.chars().map(|letter| if letter.is_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }).collect();
    // The name that Elasticsearch has for a time begins with a sign.
    let name = name.trim_start_matches('_');
    let _ = writeln!(out, "    /// {doc}\n    pub const {name}: &str = {value:?};");
}

/// The unit in words: of what is counted, Weaver has the noun in braces.
pub(crate) fn unit(unit: &str) -> String {
    match unit {
        "s" => "seconds".to_owned(),
        "By" => "bytes".to_owned(),
        other => other.trim_matches(['{', '}']).replace('_', " ") + "s",
    }
}
