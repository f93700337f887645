//! Log records: one JSON object a line, as the console writes it and the shipper sends it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use super::{Look, Mistake, Received};
use crate::{Attribute, Event, Registry, Use};

/// Where our own code logs: crates' names, and targets of their own. Lines of other people's libraries have fields of their own.
const OUR_TARGETS: [&str; 20] = [
    "story",
    "acquirer",
    "amends",
    "amends_auth",
    "amends_primitives",
    "amends_protos",
    "amends_resilience",
    "amends_sql",
    "amends_telemetry",
    "amends_webhooks",
    "gateway",
    "identity_service",
    "inventory_service",
    "order_service",
    "payment_service",
    "saga_engine",
    "service_base",
    "service_kit",
    "panic",
    "telemetry",
];

/// A JSON object's members, also those of one name.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The message without `[SPAN - EVENT] `, which bunyan's formatter writes before it within a span.
fn without_span(message: &str) -> &str {
    let rest = message.strip_prefix('[').and_then(|rest| rest.split_once(" - EVENT] "));
    rest.map_or(message, |(_, message)| message)
}

impl Registry {
    /// What is wrong with a log record.
    pub fn check_line(&self, line: &str) -> Vec<Mistake> {
        let Ok(Members(members)) = serde_json::from_str::<Members>(line) else {
            return vec![Mistake::Unreadable { what: line.chars().take(200).collect() }];
        };
        let text = |wanted: &[&str]| {
            let found = members.iter().find(|(name, _)| wanted.contains(&name.as_str()));
            found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let (message, target) = (without_span(text(&["msg", "message"])), text(&["target"]));
        let of = format!("line `{}`", message.chars().take(80).collect::<String>());
        let is_ours = OUR_TARGETS.contains(&target.split("::").next().unwrap_or_default());
        let event = self.event(message, target);
        let mut look = Look::new(&of, self);
        for (name, value) in &members {
            let allowed = look.find(self.record.iter().chain(self.in_lines()), name, Attribute::in_record);
            // A library's line has fields of its own, and comes through `log` without a place where it would have one.
            if is_ours || (allowed.is_some() && !value.is_null()) {
                look.value(name, &Received::of_json(value), allowed);
            }
        }
        look.required(&self.record, Attribute::in_record);
        if let Some(event) = event {
            look.required(&event.attributes, Attribute::in_record);
        } else if target == "story" {
            look.mistakes.push(Mistake::UnknownSignal { what: format!("{of} of the story") });
        }
        look.mistakes
    }

    fn event(&self, message: &str, target: &str) -> Option<&Event> {
        let is_it = |event: &&Event| {
            event.message == message && event.target.as_deref().is_none_or(|expected| expected == target)
        };
        self.events.iter().find(is_it)
    }

    /// What a line may have besides what every record has: its own fields, and those of the spans around it.
    pub(crate) fn in_lines(&self) -> impl Iterator<Item = &Use> {
        let of_spans = self.spans.iter().flat_map(|span| &span.attributes);
        let of_events = self.events.iter().flat_map(|event| &event.attributes);
        self.lines.iter().chain(of_spans).chain(of_events)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests;

    fn found(line: &str) -> Vec<String> {
        tests::said(&tests::registry().check_line(line))
    }

    #[test]
    fn a_line_as_the_registry_has_it_has_no_mistakes() {
        for good in [
            r#"{"msg":"accepted","target":"story","order_id":"o"}"#,
            r#"{"msg":"x","target":"saga_engine::runner","duration_ms":1,"replayed":false}"#,
            r#"{"msg":"x","target":"saga_engine::runner","duration_ms":1.5}"#,
            r#"{"msg":"x","target":"sqlx","rows":1}"#,
            r#"{"msg":"x","target":"log","log.target":"pingora","log.file":"pool.rs","replayed":null}"#,
        ] {
            assert_eq!(found(good), [""; 0], "{good}");
        }
    }

    #[test]
    fn each_mistake_of_a_line_is_found() {
        for (bad, expected) in [
            (r#"{"msg":"x","target":"gateway","rows":1}"#, "line `x`: may not have `rows`"),
            (r#"{"msg":"x","target":"gateway","order.id":"o"}"#, "line `x`: may not have `order.id`"),
            (r#"{"msg":"x","replayed":"no"}"#, "line `x`: `replayed` is the text `no`, and not of type boolean"),
            (r#"{"target":"gateway"}"#, "line ``: lacks `msg`"),
            (r#"{"msg":"accepted","target":"story"}"#, "line `accepted`: lacks `order_id`"),
            (r#"{"msg":"[RPC - EVENT] accepted","target":"story"}"#, "line `accepted`: lacks `order_id`"),
            (r#"{"msg":"told","target":"story"}"#, "line `told` of the story: not in the registry"),
            (r#"{"msg":"x","target":"sqlx","msg":"y"}"#, "line `x`: has `msg` twice"),
            ("panicked", "cannot be read: panicked"),
        ] {
            assert_eq!(found(bad), [expected], "{bad}");
        }
    }
}
