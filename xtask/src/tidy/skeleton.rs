//! One skeleton for every service, so that a reader of one finds everything in the next.
//!
//! The gateway is none of them: it passes requests on, and has neither rules nor a store.

use super::{Finding, Tree};

const SERVICES: [&str; 5] = ["acquirer", "identity-service", "inventory-service", "order-service", "payment-service"];

/// A part of a service: the places where it may be, one of which must be there, and what it is for. A place that ends in `/` is a folder
/// with more than its `mod.rs`.
struct Part {
    places: &'static [&'static str],
    what: &'static str,
}

const fn part(places: &'static [&'static str], what: &'static str) -> Part {
    Part { places, what }
}

const PARTS: [Part; 10] = [
    part(&["src/domain/"], "the rules, which await nothing"),
    part(&["src/app/"], "the use cases, a verb a file"),
    part(&["src/ports.rs", "src/ports/mod.rs"], "what the use cases need of a store and of others"),
    part(&["src/store/"], "the only place that names a database driver"),
    part(&["src/grpc/", "src/http/"], "what is served, a verb a file"),
    part(&["src/config.rs", "src/config/mod.rs"], "its section of the configuration"),
    part(&["src/build.rs"], "the only place that knows all the others"),
    part(&["src/lib.rs"], "declares the modules"),
    part(&["src/main.rs"], "the program"),
    part(&["tests/it/main.rs"], "the service as its callers meet it"),
];

/// A part that a service does not have in its place yet: service, part, where it is instead. To be solved, not to be added to; an entry
/// that is solved is an error.
const KNOWN: [(&str, &str, &str); 5] = [
    ("acquirer", "src/app/", "src/acquirer.rs"),
    ("acquirer", "src/ports.rs", "src/ledger.rs"),
    ("payment-service", "src/ports.rs", "src/store/mod.rs"),
    // Their tests look behind the service's interface.
    ("identity-service", "tests/it/main.rs", "src/tests/mod.rs"),
    ("order-service", "tests/it/main.rs", "src/testkit/mod.rs"),
];

pub(super) fn kept(tree: &Tree) -> Vec<Finding> {
    find(tree, &SERVICES, &KNOWN)
}

fn find(tree: &Tree, services: &[&str], known: &[(&str, &str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let has = |service: &str, place: &str| {
        let path = format!("{service}/{place}");
        if place.ends_with('/') {
            let module = format!("{path}mod.rs");
            tree.rust().any(|(file, _)| file.starts_with(&path) && file != module)
        } else {
            tree.files.contains_key(&path)
        }
    };
    for service in services {
        for Part { places, what } in &PARTS {
            let there = places.iter().any(|place| has(service, place));
            let entry = known.iter().find(|(of, place, _)| of == service && *place == places[0]);
            let elsewhere = entry.is_some_and(|(.., instead)| has(service, instead));
            if !there && !elsewhere {
                let what = format!("has no `{}`: {what}", places.join("` or `"));
                findings.push(Finding::error(service, what));
            } else if there && entry.is_some() {
                let what = format!("`{service}` has its `{}`; remove it from `KNOWN`", places[0]);
                findings.push(Finding::error("xtask/src/tidy/skeleton.rs", what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [&str; 10] = [
        "s/src/domain/decide.rs",
        "s/src/app/place.rs",
        "s/src/ports.rs",
        "s/src/store/mod.rs",
        "s/src/grpc/place.rs",
        "s/src/config/mod.rs",
        "s/src/build.rs",
        "s/src/lib.rs",
        "s/src/main.rs",
        "s/tests/it/main.rs",
    ];

    fn missing(without: &str, and: &str, known: &[(&str, &str, &str)]) -> Vec<String> {
        let files = WHOLE.into_iter().chain(["s/src/store/sql.rs", and]).filter(|file| *file != without);
        let files: Vec<(&str, &str)> = files.map(|file| (file, "//! x\n")).collect();
        find(&Tree::of(&files), &["s"], known).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_missing_part_is_named() {
        assert_eq!(missing("", "s/src/x.rs", &[]), [""; 0]);
        for (file, place) in WHOLE.iter().zip(&PARTS).filter(|(file, _)| **file != "s/src/store/mod.rs") {
            let found = missing(file, "s/src/domain/mod.rs", &[]);
            assert_eq!(found.len(), 1, "{file}: {found:?}");
            assert!(found[0].starts_with(&format!("error: s: has no `{}`", place.places.join("` or `"))), "{found:?}");
        }
    }

    #[test]
    fn a_deviation_is_where_it_says_and_goes_when_solved() {
        let known = [("s", "src/ports.rs", "src/needs.rs")];
        assert_eq!(missing("s/src/ports.rs", "s/src/needs.rs", &known), [""; 0]);
        assert!(missing("s/src/ports.rs", "s/src/x.rs", &known)[0].contains("has no `src/ports.rs`"));
        assert!(missing("", "s/src/needs.rs", &known)[0].contains("remove it from `KNOWN`"));
    }
}
