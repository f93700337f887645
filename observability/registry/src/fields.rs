//! `observability/FIELDS.md`: the registry for people.
//!
//! Must not know: which panel or search uses a field.

use std::fmt::Write as _;

use crate::{Attribute, Kind, Level, Registry, Use, names::unit};

const HEAD: &str = "\
# Fields

What every span, log record and metric of Amends may hold. `cargo xtask registry` writes this page from [registry](registry), which has the
form of OpenTelemetry Weaver and builds on the semantic conventions 1.45; the platform tests check what is received against it.

In spans and in code names have dots. In log records those of `order.`, `saga.`, `payment.` and `reservation.` are written with underscores
(`order_id`); in metrics all are. **Bold** is always there; *slanted* on the condition that is given.
";

/// Makes the page.
pub fn render(registry: &Registry) -> String {
    let mut out = HEAD.to_owned();
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## Spans\n");
    for span in &registry.spans {
        let named = span.name.as_ref().map_or_else(String::new, |name| format!(", named `{name}`"));
        let _ = write!(out, "\n**{}** ({}{named}): {}\n\n", span.id.trim_start_matches("span."), span.kind, span.brief);
        list(&mut out, registry, &span.attributes, |attribute| attribute.name.clone());
    }
    let _ = write!(out, "\n## The process\n\nWhat spans say of the process they are from.\n\n");
    list(&mut out, registry, &registry.resource, |attribute| attribute.name.clone());

    let _ = write!(out, "\n## Log records\n\nEach has:\n\n");
    list(&mut out, registry, &registry.record, Attribute::in_record);
    let _ = write!(out, "\nand the attributes of the spans around it. Events that have a name:\n\n");
    let _ = write!(out, "| Event | Message | Tells | Fields |\n|---|---|---|---|\n");
    for event in &registry.events {
        let fields: Vec<String> =
            event.attributes.iter().map(|used| mention(registry, used, Attribute::in_record)).collect();
        let target = event.target.as_ref().map_or_else(String::new, |target| format!(" (`{target}`)"));
        let _ =
            writeln!(out, "| `{}`{target} | {} | {} | {} |", event.name, event.message, event.brief, fields.join(", "));
    }
    let _ = write!(out, "\nOther lines are for operators, and have fields of these:\n\n");
    list(&mut out, registry, &registry.lines, Attribute::in_record);

    let _ = write!(out, "\n## Metrics\n\n| Metric | Type | In | Counts | Labels |\n|---|---|---|---|---|\n");
    for metric in registry.metrics.values() {
        let suffix = if metric.instrument == "counter" { "_total" } else { "" };
        let labels: Vec<String> = metric.labels.iter().map(|used| mention(registry, used, Attribute::label)).collect();
        let _ = writeln!(
            out,
            "| `{}{suffix}` | {} | {} | {} | {} |",
            metric.shown,
            metric.page_type(),
            unit(&metric.unit),
            metric.brief,
            labels.join(", ")
        );
    }

    let _ = write!(out, "\n## Attributes\n\n| Attribute | Type | Says | Such as |\n|---|---|---|---|\n");
    for attribute in registry.attributes.values().filter(|attribute| attribute.renamed_to.is_none()) {
        let such = match &attribute.kind {
            Kind::Enum(values) => values.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(" "),
            _ => attribute.examples.iter().map(|example| format!("`{example}`")).collect::<Vec<_>>().join(" "),
        };
        let whose = if attribute.is_semconv { "" } else { " (ours)" };
        let _ = writeln!(
            out,
            "| `{}`{whose} | {} | {} | {such} |",
            attribute.name,
            attribute.kind.as_str(),
            attribute.brief
        );
    }
    let renamed = registry.attributes.values().filter_map(|old| Some((&old.name, old.renamed_to.as_ref()?)));
    let _ = write!(
        out,
        "\n## Former names\n\nAliases in the index template, for one release.\n\n| Was | Is |\n|---|---|\n"
    );
    for (old, new) in renamed {
        let new = registry.attributes.get(new).map_or_else(|| new.clone(), Attribute::in_record);
        let _ = writeln!(out, "| `{old}` | `{new}` |");
    }
    out
}

fn list(out: &mut String, registry: &Registry, uses: &[Use], spell: fn(&Attribute) -> String) {
    let mentions: Vec<String> = uses.iter().map(|used| mention(registry, used, spell)).collect();
    let _ = writeln!(out, "{}", mentions.join(" · "));
}

fn mention(registry: &Registry, used: &Use, spell: fn(&Attribute) -> String) -> String {
    let name = spell(registry.attribute(used));
    match &used.level {
        Level::Required => format!("**`{name}`**"),
        Level::Conditionally(condition) => format!("*`{name}`* ({condition})"),
        Level::Recommended => format!("`{name}`"),
        Level::OptIn => format!("`{name}` (where asked for)"),
    }
}
