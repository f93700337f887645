//! Rules about telemetry: code names no field of a span or an event that the registry does not have.
//!
//! What the registry has is read from the module that is made from it, so that this tool needs no YAML. What the rule cannot see, a name
//! that is put together or that another crate gives, the platform tests see where it is received.

use std::collections::HashSet;

use super::{Finding, Tree, code, is_test};

/// Made by `cargo xtask registry`.
const NAMES: &str = "observability/telemetry/src/names.rs";

/// The macros that name fields: of spans first, whose first argument without a name is theirs.
const MACROS: [&str; 10] = [
    "info_span!",
    "debug_span!",
    "warn_span!",
    "error_span!",
    "error!",
    "warn!",
    "info!",
    "debug!",
    "trace!",
    // Within a macro of ours that is given the level.
    "$level!",
];

/// Fields of a span or an event that the registry does not have.
pub(super) fn fields_are_registered(tree: &Tree) -> Vec<Finding> {
    let Some(names) = tree.files.get(NAMES) else { return Vec::new() };
    let known: HashSet<&str> = names.split("&str = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| is_product(path)) {
        let (text, _) = text.split_once("#[cfg(test)]\nmod ").unwrap_or((text, ""));
        for (line, name) in named(&code::only(text)).into_iter().chain(recorded(text)) {
            // Said to OpenTelemetry's layer, and no attribute.
            if !known.contains(name.as_str()) && !name.starts_with("otel.") {
                let what = format!("`{name}` is no field that observability/registry has");
                findings.push(Finding::error(path, what).at(line));
            }
        }
    }
    findings
}

/// Whether it is code of a program that is delivered.
fn is_product(path: &str) -> bool {
    let others = ["tests/", "loadtests/", "xtask/", "libs/testing/", NAMES];
    !others.iter().any(|other| path.starts_with(other))
        && !is_test(path)
        && !["/benches/", "/examples/"].iter().any(|folder| path.contains(folder))
        && !path.ends_with("_tests.rs")
}

/// Fields that macros name, with their lines.
fn named(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, name) in MACROS.iter().flat_map(|name| code.match_indices(name)) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let Some(arguments) = code[at + name.len()..].strip_prefix('(') else { continue };
        let mut from = at + name.len() + 1;
        let mut is_span_named = !name.ends_with("_span!");
        for argument in split(arguments) {
            let line = 1 + code[..from + leading(argument)].matches('\n').count();
            from += argument.len() + 1;
            let argument = argument.trim();
            if argument.is_empty() && is_span_named {
                // The message: what follows is for its placeholders.
                break;
            }
            is_span_named |= argument.is_empty();
            if let Some(field) = field(argument) {
                found.push((line, field));
            }
        }
    }
    found
}

fn leading(argument: &str) -> usize {
    argument.len() - argument.trim_start().len()
}

/// A macro's arguments, up to its closing parenthesis.
fn split(arguments: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
    for (at, letter) in arguments.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => {
                found.push(&arguments[from..at]);
                return found;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&arguments[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The field that an argument names: `a.b = x`, `%a.b` and the like; not `target: x`.
fn field(argument: &str) -> Option<String> {
    let rest = argument.trim_start_matches(['%', '?']);
    let end = rest.find(|next: char| !next.is_alphanumeric() && !"_.#".contains(next)).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let rest = rest.trim_start();
    let is_field = (rest.is_empty() || rest.starts_with('=') && !rest.starts_with("==")) && !name.is_empty();
    is_field.then(|| name.trim_start_matches("r#").to_owned())
}

/// Fields that are recorded later, with their lines.
fn recorded(text: &str) -> Vec<(usize, String)> {
    let found = text.match_indices(".record(\"").filter_map(|(at, call)| {
        let name = text[at + call.len()..].split('"').next()?;
        Some((1 + text[..at].matches('\n').count(), name.to_owned()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn a_field_that_is_not_registered_is_found() {
        let names = "//! x\n    pub const A: &str = \"order.id\";\n    pub const B: &str = \"error\";\n    pub const C: &str = \"type\";\n";
        let good = "//! x\nfn f() {\n    tracing::info!(order.id = %id, %error, r#type = 1, \"told {}, {}\", how, often);\n\
             let _ = tracing::info_span!(parent: None, \"x\", otel.name = f(a, b), order.id = Empty);\n    span.record(\"order.id\", 1);\n}\n";
        let bad = "//! x\nfn f() {\n    tracing::info!(\n        target: \"story\",\n        order_id = %id,\n        peer,\n        \"told\"\n    );\n\
             span.record(\"saga\", 1);\n    tracing::$level!(?refusal, \"x\");\n}\n#[cfg(test)]\nmod tests {\n info!(x = 1);\n}\n";
        let files = [(NAMES, names), ("a/src/lib.rs", good), ("b/src/lib.rs", bad), ("b/src/tests.rs", bad)];
        let expected = [
            "error: b/src/lib.rs:5: `order_id`",
            "error: b/src/lib.rs:6: `peer`",
            "error: b/src/lib.rs:10: `refusal`",
            "error: b/src/lib.rs:9: `saga`",
        ];
        check(fields_are_registered, &files, &expected);
    }
}
