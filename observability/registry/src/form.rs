//! The YAML form of OpenTelemetry Weaver, as much of it as the registry uses. What is not known here is refused, so that a misspelt key
//! is found.
//!
//! Must not know: what a reference leads to.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: GroupKind,
    pub(crate) brief: String,
    pub(crate) stability: Option<String>,
    /// Another group, whose attributes this one has too.
    pub(crate) extends: Option<String>,
    #[serde(default)]
    pub(crate) attributes: Vec<Item>,
    #[serde(default)]
    pub(crate) annotations: Annotations,
    /// Of a span.
    pub(crate) span_kind: Option<String>,
    /// Of an event.
    pub(crate) name: Option<String>,
    /// Of a metric, like the next two.
    pub(crate) metric_name: Option<String>,
    pub(crate) instrument: Option<String>,
    pub(crate) unit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupKind {
    AttributeGroup,
    Span,
    Metric,
    Event,
}

/// An attribute that is defined, or one that is referred to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) id: Option<String>,
    #[serde(rename = "ref")]
    pub(crate) reference: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<ItemKind>,
    pub(crate) brief: Option<String>,
    pub(crate) stability: Option<String>,
    #[serde(default)]
    pub(crate) examples: Vec<yaml_serde::Value>,
    pub(crate) requirement_level: Option<RequirementLevel>,
    pub(crate) deprecated: Option<Deprecated>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum ItemKind {
    Simple(String),
    Enum { members: Vec<Member> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) brief: String,
    /// Weaver wants it; a value here is as stable as its attribute.
    #[serde(rename = "stability")]
    pub(crate) _stability: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum RequirementLevel {
    Word(String),
    Condition(BTreeMap<String, String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deprecated {
    pub(crate) reason: String,
    pub(crate) renamed_to: Option<String>,
}

/// What Weaver leaves to those who use it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Annotations {
    #[serde(default)]
    pub(crate) amends: Ours,
}

/// What the form has no word for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ours {
    /// Of an attribute group: which of the lists that are no signal it is.
    pub(crate) role: Option<Role>,
    /// Of a span: the attributes by which it is recognised among those of its kind.
    #[serde(default)]
    pub(crate) told_by: Vec<String>,
    /// Of a span: how it is named, of its attributes.
    pub(crate) name: Option<String>,
    /// Of an event: the message by which it is recognised.
    pub(crate) message: Option<String>,
    /// Of an event: its target, where it has one of its own.
    pub(crate) target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// What an exported span says of its process.
    Resource,
    /// What every log record has.
    Record,
    /// What lines for operators may have besides.
    Lines,
}
