//! References followed, groups extended, and every mistake named: what the files say becomes a [`Registry`].
//!
//! Must not know: files.

use std::collections::{BTreeMap, HashSet};

use crate::{
    Attribute, Event, Kind, Level, Metric, Registry, Span, Use,
    form::{Group, GroupKind, Item, ItemKind, RequirementLevel, Role},
};

/// The mistakes in a registry's text, which may lean on the conventions' text.
///
/// # Errors
/// When the text is not of the form at all.
pub fn mistakes_in(semconv: &str, own: &str) -> anyhow::Result<Vec<String>> {
    let parse = |text: &str| yaml_serde::from_str::<crate::form::File>(text);
    Ok(resolve(&parse(semconv)?.groups, &parse(own)?.groups).1)
}

pub(crate) fn resolve(semconv: &[Group], own: &[Group]) -> (Registry, Vec<String>) {
    let mut resolver = Resolver { attributes: BTreeMap::new(), mistakes: Vec::new() };
    let mut ids = HashSet::new();
    for (group, is_semconv) in semconv.iter().map(|group| (group, true)).chain(own.iter().map(|group| (group, false))) {
        if !ids.insert(group.id.as_str()) {
            resolver.say(&group.id, "is there twice");
        }
        for item in &group.attributes {
            resolver.define(group, item, is_semconv);
        }
    }
    let registry = resolver.signals(own);
    let mut mistakes = resolver.mistakes;
    let used = used(&registry);
    for attribute in registry.attributes.values() {
        // What is only in the conventions' excerpt costs nothing; what is ours and nowhere is a leftover.
        if !attribute.is_semconv && attribute.renamed_to.is_none() && !used.contains(attribute.name.as_str()) {
            mistakes.push(format!("{}: no span, event, metric or record has it", attribute.name));
        }
        if let Some(new) = &attribute.renamed_to
            && !registry.attributes.contains_key(new)
        {
            mistakes.push(format!("{}: is renamed to {new}, which is not there", attribute.name));
        }
    }
    (registry, mistakes)
}

fn used(registry: &Registry) -> HashSet<&str> {
    let lists = registry
        .spans
        .iter()
        .map(|span| &span.attributes)
        .chain(registry.metrics.values().map(|metric| &metric.labels))
        .chain(registry.events.iter().map(|event| &event.attributes))
        .chain([&registry.resource, &registry.record, &registry.lines]);
    lists.flatten().map(|used| used.attribute.as_str()).collect()
}

struct Resolver {
    attributes: BTreeMap<String, Attribute>,
    mistakes: Vec<String>,
}

impl Resolver {
    fn say(&mut self, about: &str, what: &str) {
        self.mistakes.push(format!("{about}: {what}"));
    }

    /// Takes a definition; a reference is for later.
    fn define(&mut self, group: &Group, item: &Item, is_semconv: bool) {
        let name = match (&item.id, &item.reference) {
            (Some(name), None) => name,
            (None, Some(_)) => return,
            _ => return self.say(&group.id, "an attribute has either `id` or `ref`"),
        };
        let kind = match &item.kind {
            Some(ItemKind::Simple(word)) => match word.as_str() {
                "string" => Some(Kind::String),
                "int" => Some(Kind::Int),
                "double" => Some(Kind::Double),
                "boolean" => Some(Kind::Boolean),
                _ => None,
            },
            Some(ItemKind::Enum { members }) => {
                let ids: HashSet<&str> = members.iter().map(|member| member.id.as_str()).collect();
                let members: Vec<_> =
                    members.iter().map(|member| (member.value.clone(), member.brief.clone())).collect();
                (ids.len() == members.len() && !members.is_empty()).then_some(Kind::Enum(members))
            }
            None => None,
        };
        let Some(kind) = kind else { return self.say(name, "has no type that is known here") };
        let brief = item.brief.clone().unwrap_or_default();
        if brief.is_empty() {
            self.say(name, "has no brief");
        }
        let stability = item.stability.clone().unwrap_or_default();
        if !["stable", "development"].contains(&stability.as_str()) {
            self.say(name, "is neither `stable` nor in `development`");
        }
        if kind == Kind::String && item.examples.is_empty() && item.deprecated.is_none() {
            self.say(name, "has no example");
        }
        let renamed_to = match &item.deprecated {
            None => None,
            Some(deprecated) if deprecated.reason == "renamed" => deprecated.renamed_to.clone(),
            Some(_) => {
                self.say(name, "can be deprecated only by being renamed");
                None
            }
        };
        let examples = item.examples.iter().map(shown).collect();
        let attribute = Attribute { name: name.clone(), kind, brief, stability, examples, is_semconv, renamed_to };
        if self.attributes.insert(name.clone(), attribute).is_some() {
            self.say(name, "is defined twice");
        }
    }

    fn signals(&mut self, groups: &[Group]) -> Registry {
        let mut registry = Registry {
            attributes: BTreeMap::new(),
            resource: Vec::new(),
            spans: Vec::new(),
            metrics: BTreeMap::new(),
            events: Vec::new(),
            record: Vec::new(),
            lines: Vec::new(),
        };
        for group in groups {
            let attributes = self.uses(groups, group);
            let ours = &group.annotations.amends;
            if group.kind != GroupKind::AttributeGroup && group.stability.is_none() {
                self.say(&group.id, "has no stability");
            }
            match group.kind {
                GroupKind::AttributeGroup => match ours.role {
                    Some(Role::Resource) => registry.resource.extend(attributes),
                    Some(Role::Record) => registry.record.extend(attributes),
                    Some(Role::Lines) => registry.lines.extend(attributes),
                    None => {}
                },
                GroupKind::Span => {
                    let span = Span {
                        id: group.id.clone(),
                        kind: group.span_kind.clone().unwrap_or_default(),
                        name: ours.name.clone(),
                        told_by: ours.told_by.clone(),
                        brief: group.brief.clone(),
                        attributes,
                    };
                    self.check_span(&span);
                    registry.spans.push(span);
                }
                GroupKind::Metric => {
                    if let Some(metric) = self.metric(group, attributes)
                        && let Some(other) = registry.metrics.insert(metric.shown.clone(), metric)
                    {
                        self.say(&other.shown, "is the name of two metrics");
                    }
                }
                GroupKind::Event => match (&group.name, &ours.message) {
                    (Some(name), Some(message)) => {
                        if registry.events.iter().any(|other| other.message == *message && other.target == ours.target)
                        {
                            self.say(&group.id, "cannot be told from another event: the same message");
                        }
                        registry.events.push(Event {
                            name: name.clone(),
                            message: message.clone(),
                            target: ours.target.clone(),
                            brief: group.brief.clone(),
                            attributes,
                        });
                    }
                    _ => self.say(&group.id, "an event has a name and a message"),
                },
            }
        }
        registry.attributes = self.attributes.clone();
        registry
    }

    fn check_span(&mut self, span: &Span) {
        if !["server", "client", "internal"].contains(&span.kind.as_str()) {
            self.say(&span.id, "has no kind that is known here");
        }
        let has = |name: &str| span.attributes.iter().any(|used| used.attribute == name);
        for name in &span.told_by {
            if !has(name) {
                self.mistakes.push(format!("{}: is told by {name}, which it does not have", span.id));
            }
        }
        for name in span.name.iter().flat_map(|pattern| crate::check::placeholders(pattern)) {
            if !has(name) {
                self.mistakes.push(format!("{}: is named by {name}, which it does not have", span.id));
            }
        }
    }

    fn metric(&mut self, group: &Group, labels: Vec<Use>) -> Option<Metric> {
        let (Some(name), Some(instrument), Some(unit)) = (&group.metric_name, &group.instrument, &group.unit) else {
            self.say(&group.id, "a metric has a name, an instrument and a unit");
            return None;
        };
        if !["counter", "updowncounter", "gauge", "histogram"].contains(&instrument.as_str()) {
            self.say(&group.id, "has no instrument that is known here");
        }
        Some(Metric {
            name: name.clone(),
            shown: shown_name(name, unit),
            instrument: instrument.clone(),
            unit: unit.clone(),
            brief: group.brief.clone(),
            labels,
        })
    }

    /// The group's attributes, those of the group it extends first; what it says of one itself goes before.
    fn uses(&mut self, groups: &[Group], group: &Group) -> Vec<Use> {
        let mut found: Vec<Use> = Vec::new();
        if let Some(base) = &group.extends {
            match groups.iter().find(|other| other.id == *base) {
                // One level deep: more would have to be looked for circles.
                Some(base) if base.extends.is_none() => found = self.uses(groups, base),
                _ => self.say(&group.id, "extends what is not there, or itself extends another group"),
            }
        }
        for item in &group.attributes {
            let Some(attribute) = item.id.as_ref().or(item.reference.as_ref()) else { continue };
            if !self.attributes.contains_key(attribute) {
                self.mistakes.push(format!("{}: refers to {attribute}, which is not there", group.id));
                continue;
            }
            let level = match &item.requirement_level {
                None => Level::Recommended,
                Some(RequirementLevel::Word(word)) => match word.as_str() {
                    "required" => Level::Required,
                    "recommended" => Level::Recommended,
                    "opt_in" => Level::OptIn,
                    _ => {
                        self.mistakes.push(format!("{}: {attribute} has no level that is known here", group.id));
                        continue;
                    }
                },
                Some(RequirementLevel::Condition(condition)) => match condition.get("conditionally_required") {
                    Some(sentence) if condition.len() == 1 => Level::Conditionally(sentence.clone()),
                    _ => {
                        self.mistakes.push(format!("{}: {attribute} has no level that is known here", group.id));
                        continue;
                    }
                },
            };
            let used = Use { attribute: attribute.clone(), level };
            match found.iter_mut().find(|known| known.attribute == used.attribute) {
                Some(known) => *known = used,
                None => found.push(used),
            }
        }
        found
    }
}

/// A metric's name on the page: what Prometheus makes of name and unit.
fn shown_name(name: &str, unit: &str) -> String {
    let name = name.replace('.', "_");
    let suffix = match unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    if name.ends_with(suffix) { name } else { name + suffix }
}

fn shown(example: &yaml_serde::Value) -> String {
    match example {
        yaml_serde::Value::String(text) => text.clone(),
        other => yaml_serde::to_string(other).unwrap_or_default().trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEMCONV: &str = r"
groups:
  - {id: s, type: attribute_group, brief: B, attributes: [{id: error.type, type: string, stability: stable, brief: B, examples: [x]}]}
";

    const GOOD: &str = r#"
groups:
  - id: r
    type: attribute_group
    brief: B
    attributes:
      - {id: order.id, type: string, stability: stable, brief: An order., examples: [x]}
      - {id: n, type: int, stability: stable, brief: A number.}
      - {id: order_id, type: string, stability: stable, brief: Old., deprecated: {reason: renamed, renamed_to: order.id}}
  - {id: base, type: attribute_group, brief: B, attributes: [{ref: error.type}, {ref: order.id}]}
  - id: span.x
    type: span
    span_kind: client
    stability: stable
    brief: B
    extends: base
    annotations: {amends: {told_by: [order.id], name: "x {order.id}"}}
    attributes: [{ref: order.id, requirement_level: required}]
  - {id: m, type: metric, metric_name: order.wait, instrument: histogram, unit: s, stability: stable, brief: B, attributes: [{ref: n}]}
"#;

    fn mistakes(change: &[(&str, &str)]) -> Vec<String> {
        let own = change.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        mistakes_in(SEMCONV, &own).unwrap_or_else(|error| vec![error.to_string()])
    }

    #[test]
    fn references_and_extensions_are_resolved() {
        let file = |text: &str| [("x.yaml".to_owned(), text.to_owned())];
        let registry = Registry::from_yaml(&file(SEMCONV), &file(GOOD)).expect("a good registry");
        let span = &registry.spans[0];
        let of = |attribute: &str, level| Use { attribute: attribute.to_owned(), level };
        assert_eq!(span.attributes, [of("error.type", Level::Recommended), of("order.id", Level::Required)]);
        assert_eq!(registry.metrics["order_wait_seconds"].page_type(), "histogram");
        assert_eq!(registry.attributes["order.id"].in_record(), "order_id");
        assert_eq!(registry.attributes["error.type"].in_record(), "error.type");
    }

    #[test]
    fn each_mistake_in_the_registry_is_named() {
        let cases: [(&[(&str, &str)], &str); 14] = [
            (&[("type: int", "type: integer")], "n: has no type"),
            (&[("brief: A number.", "brief: \"\"")], "n: has no brief"),
            (&[("{id: n, type: int, stability: stable", "{id: n, type: int, stability: old")], "n: is neither"),
            (&[(", examples: [x]", "")], "order.id: has no example"),
            (&[("[{ref: n}]", "[{ref: m}]")], "m: refers to m"),
            (&[("[{ref: n}]", "[]")], "n: no span"),
            (&[("{ref: error.type}", "{ref: error.type, id: x}")], "base: an attribute has either"),
            (&[("extends: base", "extends: none")], "span.x: extends what is not there"),
            (&[("requirement_level: required", "requirement_level: always")], "span.x: order.id has no level"),
            (&[("told_by: [order.id]", "told_by: [n]")], "span.x: is told by n"),
            (&[("x {order.id}", "x {n}")], "span.x: is named by n"),
            (&[("span_kind: client", "span_kind: kind")], "span.x: has no kind"),
            (&[("renamed_to: order.id", "renamed_to: order.no")], "order_id: is renamed to order.no"),
            (&[("span_kind: client", "spankind: client")], "groups[2]"),
        ];
        for (change, expected) in cases {
            let found = mistakes(change);
            assert!(found.iter().any(|mistake| mistake.contains(expected)), "{expected}: {found:?}");
        }
        assert_eq!(mistakes(&[]), [""; 0]);
    }
}
