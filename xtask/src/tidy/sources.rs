//! Rules about single Rust files: what they say first, which words a folder may use, how long they are.

use super::{Finding, Tree, code, is_test};

/// Every file says what it is for before anything else.
pub(super) fn header(tree: &Tree) -> Vec<Finding> {
    let silent = tree.rust().filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(path, _)| Finding::error(path, "does not begin with `//! ` and what it is for")).collect()
}

/// A module with a folder has its file in it, so that everything about it is in one place.
pub(super) fn folders_have_mod_files(tree: &Tree) -> Vec<Finding> {
    let beside = |path: &str| {
        let folder = path.strip_suffix(".rs").map(|stem| format!("{stem}/"));
        folder.filter(|folder| tree.rust().any(|(other, _)| other.starts_with(folder.as_str())))
    };
    let found = tree.rust().filter_map(|(path, _)| Some((path, beside(path)?)));
    found.map(|(path, folder)| Finding::error(path, format!("stands beside its folder: `{folder}mod.rs`"))).collect()
}

/// Rules of the business are functions of their arguments.
pub(super) fn pure_domain(tree: &Tree) -> Vec<Finding> {
    const FORBIDDEN: [&str; 7] = ["async", "await", "sqlx", "mongodb", "tonic", "axum", "tokio"];
    let domain = |path: &str| path.contains("/domain/") || path.ends_with("/domain.rs");
    words(tree, domain, &FORBIDDEN, "a domain neither waits nor knows stores and transports")
}

/// Only a service's `store` knows which database it has.
pub(super) fn stores_know_sql(tree: &Tree) -> Vec<Finding> {
    const SERVICES: [&str; 6] = [
        "acquirer/src",
        "order-service/src",
        "payment-service/src",
        "inventory-service/src",
        "identity-service/src",
        "gateway/src",
    ];
    let outside = |path: &str| {
        let in_service =
            SERVICES.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
        let allowed = path.contains("/store/") || path.ends_with("/store.rs");
        in_service && !allowed && !is_test(path)
    };
    words(tree, outside, &["sqlx", "mongodb"], "only `store` names a database driver")
}

/// What one program knows of the services it is made of is what they offer it: how they are built, and their audit views.
pub(super) fn services_are_closed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("all-in-one/src/")) {
        for (index, line) in code::only(text).lines().enumerate() {
            if ["store", "domain"].iter().any(|part| line.contains(&format!("_service::{part}::"))) {
                let what = "reaches into a service's store or domain: see its `audit` module";
                findings.push(Finding::error(path, what).at(index + 1));
            }
        }
    }
    findings
}

fn words(tree: &Tree, concerned: impl Fn(&str) -> bool, words: &[&str], why: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| concerned(path)) {
        let code = code::only(text);
        for word in words {
            let found = code::lines_with(&code, word);
            findings.extend(found.map(|line| Finding::error(path, format!("`{word}`: {why}")).at(line)));
        }
    }
    findings
}

/// A long file deserves a second look; a very long one must have had it, and say in its header `Long because …`.
pub(super) fn length(tree: &Tree) -> Vec<Finding> {
    const WORTH_A_LOOK: usize = 400;
    const LINES_MAX: usize = 800;
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let lines = text.lines().count();
        let explained =
            text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains("Long because"));
        if lines > LINES_MAX && !explained {
            let what = format!("{lines} lines: split it by verb, or say `Long because …` in its header");
            findings.push(Finding::error(path, what));
        } else if lines > WORTH_A_LOOK {
            findings.push(Finding::error(path, format!("{lines} lines")).warning());
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn a_file_that_does_not_say_what_it_is_for_is_found() {
        let files = [
            ("a/src/lib.rs", "//! Why.\n"),
            ("a/src/b.rs", "use x;\n//! Late.\n"),
            ("a/src/c.rs", ""),
            ("a/src/gen/d.rs", "// generated\n"),
        ];
        check(header, &files, &["error: a/src/b.rs: does not begin", "error: a/src/c.rs: does not begin"]);
    }

    #[test]
    fn a_file_beside_its_folder_is_found() {
        let files = [
            ("a/src/b.rs", "//! x\n"),
            ("a/src/b/c/mod.rs", "//! x\n"),
            ("a/src/b/c/d.rs", "//! x\n"),
            ("a/src/bc.rs", "//! x\n"),
            ("a/tests/it/e.rs", "//! x\n"),
            ("a/tests/it/e/f.rs", "//! x\n"),
            ("a/src/g.rs", "//! x\n"),
            ("a/src/g/h.sql", "x\n"),
        ];
        let expected = ["error: a/src/b.rs: stands beside its folder: `a/src/b/mod.rs`", "error: a/tests/it/e.rs:"];
        check(folders_have_mod_files, &files, &expected);
    }

    #[test]
    fn a_domain_that_waits_or_knows_a_transport_is_found() {
        let files = [
            ("s/src/domain/decide.rs", "//! async in words\nasync fn f() {\n g().await;\n}\nuse axum::Json;\n"),
            ("s/src/domain.rs", "//! x\nuse sqlx::Row;\nconst X: &str = \"tonic\";\n"),
            ("s/src/app/place.rs", "//! x\nasync fn f() {}\n"),
        ];
        let expected = [
            "error: s/src/domain.rs:2: `sqlx`",
            "error: s/src/domain/decide.rs:2: `async`",
            "error: s/src/domain/decide.rs:3: `await`",
            "error: s/src/domain/decide.rs:5: `axum`",
        ];
        check(pure_domain, &files, &expected);
    }

    #[test]
    fn sql_outside_a_store_is_found() {
        let text = "//! x\nuse sqlx::Row;\n";
        let files = [
            ("order-service/src/http/get.rs", text),
            ("order-service/src/store/orders.rs", text),
            ("payment-service/src/store.rs", text),
            ("saga-engine/src/journal.rs", text),
            ("order-service/tests/it.rs", text),
            ("order-service/src/tests/support.rs", text),
        ];
        check(stores_know_sql, &files, &["error: order-service/src/http/get.rs:2: `sqlx`"]);
    }

    #[test]
    fn another_program_in_a_services_store_is_found() {
        let text = "//! x\nuse order_service::{audit, store};\nuse order_service::store::Orders;\nuse order_service::audit::X;\n";
        let files = [("all-in-one/src/stores.rs", text), ("order-service/tests/it/main.rs", text)];
        check(services_are_closed, &files, &["error: all-in-one/src/stores.rs:3: reaches into"]);
    }

    #[test]
    fn a_long_file_is_shown_and_a_very_long_one_must_say_why() {
        let (long, very_long) = ("//! x\n".repeat(401), "x\n".repeat(900));
        let explained = format!("//! x\n//! Long because it is a table.\n{very_long}");
        let files = [("a/a.rs", long.as_str()), ("a/b.rs", &very_long), ("a/c.rs", &explained), ("a/d.rs", "//! x\n")];
        check(length, &files, &["warning: a/a.rs: 401", "error: a/b.rs: 900", "warning: a/c.rs: 902"]);
    }
}
