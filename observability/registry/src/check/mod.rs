//! What is wrong with telemetry that was received: names that the registry does not have, values of another type, what must be there and
//! is not, and what is there twice.
//!
//! Must not know: how it was received.

mod page;
mod record;
mod span;

use std::{collections::HashSet, fmt};

use serde_json::Value;

use crate::{Attribute, Kind, Level, Registry, Use};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mistake {
    /// A span, a metric or an event that the registry does not have.
    UnknownSignal {
        /// What was received.
        what: String,
    },
    /// An attribute, a field or a label that it may not have.
    Unknown {
        /// Whose.
        of: String,
        /// Its name.
        name: String,
    },
    /// A value of another type, or none of those that there are.
    WrongType {
        /// Whose.
        of: String,
        /// Its name.
        name: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// What must be there is not.
    Missing {
        /// Of what.
        of: String,
        /// Its name.
        name: String,
    },
    /// A name that is there twice.
    Twice {
        /// Whose.
        of: String,
        /// Its name.
        name: String,
    },
    /// A span that is named in another way than its attributes say, or a metric of another type.
    Misnamed {
        /// What was received.
        of: String,
        /// What it should be.
        expected: String,
    },
    /// It cannot be read at all.
    Unreadable {
        /// What was received.
        what: String,
    },
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSignal { what } => write!(out, "{what}: not in the registry"),
            Self::Unknown { of, name } => write!(out, "{of}: may not have `{name}`"),
            Self::WrongType { of, name, expected, found } => {
                write!(out, "{of}: `{name}` is {found}, and not of type {expected}")
            }
            Self::Missing { of, name } => write!(out, "{of}: lacks `{name}`"),
            Self::Twice { of, name } => write!(out, "{of}: has `{name}` twice"),
            Self::Misnamed { of, expected } => write!(out, "{of}: should be `{expected}`"),
            Self::Unreadable { what } => write!(out, "cannot be read: {what}"),
        }
    }
}

/// A value as it was received.
pub(crate) enum Received<'a> {
    Text(&'a str),
    Int,
    Double,
    Boolean,
    Other,
}

impl Received<'_> {
    fn of_json(value: &Value) -> Received<'_> {
        match value {
            Value::String(text) => Received::Text(text),
            Value::Number(number) if number.is_f64() => Received::Double,
            Value::Number(_) => Received::Int,
            Value::Bool(_) => Received::Boolean,
            _ => Received::Other,
        }
    }

    /// What it is, where it is not what it should be.
    fn contradicts(&self, attribute: &Attribute) -> Option<String> {
        let is_right = match (&attribute.kind, self) {
            (Kind::String, Self::Text(_))
            | (Kind::Int, Self::Int)
            // JSON writes a whole number of milliseconds without a point.
            | (Kind::Double, Self::Double | Self::Int)
            | (Kind::Boolean, Self::Boolean) => true,
            (Kind::Enum(values), Self::Text(text)) => values.iter().any(|(value, _)| value == text),
            _ => false,
        };
        (!is_right).then(|| match self {
            Self::Text(text) => format!("the text `{text}`"),
            Self::Int => "a whole number".to_owned(),
            Self::Double => "a number".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Other => "something else".to_owned(),
        })
    }
}

/// Looks at the attributes of one thing; the names are as [`Named`] spells them.
struct Look<'a> {
    of: &'a str,
    registry: &'a Registry,
    mistakes: Vec<Mistake>,
    seen: HashSet<String>,
}

impl<'a> Look<'a> {
    fn new(of: &'a str, registry: &'a Registry) -> Self {
        Self { of, registry, mistakes: Vec::new(), seen: HashSet::new() }
    }

    fn value(&mut self, name: &str, value: &Received<'_>, allowed: Option<&Attribute>) {
        let (of, name) = (self.of.to_owned(), name.to_owned());
        match allowed {
            None => self.mistakes.push(Mistake::Unknown { of: of.clone(), name: name.clone() }),
            Some(attribute) => {
                if let Some(found) = value.contradicts(attribute) {
                    let expected = attribute.kind.as_str();
                    self.mistakes.push(Mistake::WrongType { of: of.clone(), name: name.clone(), expected, found });
                }
            }
        }
        if !self.seen.insert(name.clone()) {
            self.mistakes.push(Mistake::Twice { of, name });
        }
    }

    /// What must be there, spelled in one way or another.
    fn required(&mut self, uses: &[Use], spell: fn(&Attribute) -> String) {
        for used in uses.iter().filter(|used| used.level == Level::Required) {
            let name = spell(self.registry.attribute(used));
            if !self.seen.contains(&name) {
                self.mistakes.push(Mistake::Missing { of: self.of.to_owned(), name });
            }
        }
    }

    fn find<'u>(
        &self,
        uses: impl IntoIterator<Item = &'u Use>,
        name: &str,
        spell: fn(&Attribute) -> String,
    ) -> Option<&'a Attribute> {
        let mut attributes = uses.into_iter().map(|used| self.registry.attribute(used));
        attributes.find(|attribute| spell(attribute) == name)
    }
}

/// The attributes in a span's name.
pub(crate) fn placeholders(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const SEMCONV: &str = r"
groups:
  - id: s
    type: attribute_group
    brief: B
    attributes:
      - {id: db.system.name, type: string, stability: stable, brief: B, examples: [x]}
      - {id: db.operation.name, type: string, stability: stable, brief: B, examples: [x]}
      - {id: service.name, type: string, stability: stable, brief: B, examples: [x]}
";

    const OWN: &str = r#"
groups:
  - id: r
    type: attribute_group
    brief: B
    attributes:
      - {id: order.id, type: string, stability: stable, brief: An order., examples: [x]}
      - {id: retry.attempt, type: int, stability: stable, brief: A number.}
      - {id: duration_ms, type: double, stability: stable, brief: A number.}
      - {id: replayed, type: boolean, stability: stable, brief: B}
      - {id: msg, type: string, stability: stable, brief: B, examples: [x]}
      - {id: target, type: string, stability: stable, brief: B, examples: [x]}
      - id: saga.phase
        type: {members: [{id: action, value: action, stability: stable}]}
        stability: stable
        brief: B
  - {id: resource, type: attribute_group, brief: B, annotations: {amends: {role: resource}}, attributes: [{ref: service.name, requirement_level: required}]}
  - {id: record, type: attribute_group, brief: B, annotations: {amends: {role: record}}, attributes: [{ref: msg, requirement_level: required}, {ref: target}]}
  - {id: lines, type: attribute_group, brief: B, annotations: {amends: {role: lines}}, attributes: [{ref: duration_ms}, {ref: replayed}]}
  - id: span.db
    type: span
    span_kind: client
    stability: stable
    brief: B
    annotations: {amends: {told_by: [db.system.name], name: "{db.operation.name} {order.id}"}}
    attributes: [{ref: db.system.name}, {ref: db.operation.name, requirement_level: required}, {ref: order.id}, {ref: retry.attempt}]
  - {id: span.any, type: span, span_kind: internal, stability: stable, brief: B, attributes: [{ref: saga.phase}]}
  - id: event.accepted
    type: event
    name: order.accepted
    stability: stable
    brief: B
    annotations: {amends: {message: accepted, target: story}}
    attributes: [{ref: order.id, requirement_level: required}]
  - {id: m.wait, type: metric, metric_name: order.wait, instrument: histogram, unit: s, stability: stable, brief: B, attributes: [{ref: saga.phase, requirement_level: required}]}
  - {id: m.orders, type: metric, metric_name: orders, instrument: counter, unit: "{order}", stability: stable, brief: B}
"#;

    pub(crate) fn registry() -> Registry {
        let file = |text: &str| [("x.yaml".to_owned(), text.to_owned())];
        Registry::from_yaml(&file(SEMCONV), &file(OWN)).unwrap()
    }

    pub(crate) fn said(mistakes: &[Mistake]) -> Vec<String> {
        mistakes.iter().map(ToString::to_string).collect()
    }
}
