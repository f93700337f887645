//! What is made from the registry is committed, and is what the registry says. `AMENDS_GEN=write` writes it instead.

#![allow(clippy::unwrap_used, clippy::allow_attributes, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use amends_registry::{Registry, fields, names, observability};

#[test]
fn names_and_page_are_what_the_registry_says() {
    let registry = Registry::load().unwrap();
    let made = [("telemetry/src/names.rs", names::render(&registry)), ("FIELDS.md", fields::render(&registry))];
    let differences: String = made.iter().map(|(name, text)| written_or_different(name, text)).collect();
    assert!(differences.is_empty(), "run `cargo xtask registry` and commit the result:\n{differences}");
}

/// The manifest is for Weaver; it must name what the excerpt is of.
#[test]
fn the_conventions_are_pinned_to_one_release() {
    let manifest = fs::read_to_string(observability().join("registry/manifest.yaml")).unwrap();
    for pin in ["https://opentelemetry.io/schemas/1.45.0", "semantic-conventions@v1.45.0[model]"] {
        assert!(manifest.contains(pin), "{pin}");
    }
    let excerpt = fs::read_to_string(observability().join("semconv/attributes.yaml")).unwrap();
    assert!(excerpt.starts_with("# What we use of the OpenTelemetry semantic conventions 1.45"));
}

fn written_or_different(name: &str, text: &str) -> String {
    let path = observability().join(name);
    let is_to_be_written = std::env::var_os("AMENDS_GEN").is_some_and(|mode| mode == "write");
    if is_to_be_written {
        fs::write(&path, text).unwrap();
        return String::new();
    }
    difference(&path, &fs::read_to_string(&path).unwrap_or_default(), text)
}

/// Lines that are too many (`-`) and that are missing (`+`), in the order of the file.
fn difference(path: &Path, found: &str, expected: &str) -> String {
    let has = |text: &str, line: &str| text.lines().any(|other| other == line);
    let surplus = found.lines().filter(|line| !has(expected, line)).map(|line| format!("- {line}\n"));
    let missing = expected.lines().filter(|line| !has(found, line)).map(|line| format!("+ {line}\n"));
    let lines: String = surplus.chain(missing).collect();
    match (lines.is_empty(), found == expected) {
        (_, true) => String::new(),
        (true, false) => format!("{}: the same lines in another order\n", path.display()),
        (false, false) => format!("{}\n{lines}", path.display()),
    }
}

#[test]
fn a_difference_names_the_lines() {
    let path = Path::new("x.md");
    assert_eq!(difference(path, "a\nb\n", "a\nb\n"), "");
    assert_eq!(difference(path, "a\nb\n", "a\nc\n"), "x.md\n- b\n+ c\n");
    assert_eq!(difference(path, "a\nb\n", "b\na\n"), "x.md: the same lines in another order\n");
}
