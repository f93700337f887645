//! Which crate may depend on which. A new edge is a reviewed change to this table; `docs/adr/0003-workspace-and-directions.md` says
//! what the directions are for.

use super::{Finding, Tree};

struct Row {
    package: &'static str,
    may_use: &'static [&'static str],
    /// Additionally, in its tests.
    tests_may_use: &'static [&'static str],
}

const fn row(package: &'static str, may_use: &'static [&'static str], tests_may_use: &'static [&'static str]) -> Row {
    Row { package, may_use, tests_may_use }
}

const SERVICE: &[&str] = &[
    "amends-primitives",
    "amends-protos",
    "amends-sql",
    "amends-telemetry",
    "saga-engine",
    "service-base",
    "amends-auth",
    "amends-resilience",
    "service-kit",
];

/// From the bottom up. Nothing may use `amends-tests`, `amends-loadtests` or `xtask`, so no row names them.
const ALLOWED: [Row; 22] = [
    row("amends-primitives", &[], &[]),
    row("amends-protos", &[], &[]),
    row("amends-sql", &[], &[]),
    // For tests alone.
    row("amends-testing", &["amends-sql"], &[]),
    row("amends-telemetry", &["amends-primitives"], &[]),
    // What telemetry is called, and whether what was received is: for tests and generators alone.
    row("amends-registry", &[], &[]),
    // The engine knows no order and no payment, hence no contracts and no service.
    row("saga-engine", &["amends-primitives", "amends-sql"], &["amends-testing"]),
    row("service-base", &["amends-primitives", "amends-telemetry"], &["amends-testing"]),
    // Its tests are served by the kit above it.
    row("amends-auth", &["amends-primitives", "service-base"], &["service-kit"]),
    row("amends-resilience", &["amends-primitives", "service-base"], &[]),
    // SQL only with its feature `database`: the gateway goes without.
    row(
        "service-kit",
        &["amends-primitives", "amends-sql", "amends-telemetry", "service-base", "amends-auth", "amends-resilience"],
        &[],
    ),
    row("amends-webhooks", &["amends-primitives", "service-base", "service-kit"], &[]),
    // Another party: it knows none of our payments. Below the payment service, whose in-process simulation is the same acquirer.
    row("acquirer", &["amends-primitives", "amends-sql", "service-base", "service-kit"], &[]),
    // Services meet through `protos`, never through each other's code.
    row("order-service", SERVICE, &["amends-testing"]),
    row(
        "payment-service",
        &[
            "amends-primitives",
            "amends-protos",
            "amends-sql",
            "amends-telemetry",
            "saga-engine",
            "service-base",
            "amends-auth",
            "service-kit",
            "amends-webhooks",
            "acquirer",
        ],
        &["amends-testing"],
    ),
    row("inventory-service", SERVICE, &["amends-testing"]),
    row(
        "identity-service",
        &["amends-primitives", "amends-sql", "amends-telemetry", "service-base", "amends-auth", "service-kit"],
        &["amends-testing"],
    ),
    // The gateway stores nothing and runs no saga.
    row(
        "gateway",
        &["amends-primitives", "amends-telemetry", "service-base", "amends-auth", "service-kit"],
        &["amends-protos", "amends-testing"],
    ),
    row(
        "amends",
        &[
            "amends-primitives",
            "amends-protos",
            "amends-sql",
            "amends-telemetry",
            "saga-engine",
            "service-base",
            "service-kit",
            "amends-webhooks",
            "acquirer",
            "order-service",
            "payment-service",
            "inventory-service",
            "identity-service",
            "gateway",
        ],
        &[],
    ),
    // From outside: it starts the programs and speaks their contracts. What it uses besides are doubles (a token service with a clock
    // of its own) and, in contract tests, the very code whose messages are compared.
    row(
        "amends-tests",
        &[
            "amends-primitives",
            "amends-protos",
            "amends-registry",
            "amends-sql",
            "service-base",
            "service-kit",
            "identity-service",
            "amends",
        ],
        &["order-service", "saga-engine"],
    ),
    row("amends-loadtests", &[], &[]),
    // Must compile in seconds on a bare machine.
    row("xtask", &[], &[]),
];

pub(super) fn allowed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let Some(row) = ALLOWED.iter().find(|row| row.package == package.name) else {
            let what = format!("`{}` has no row in xtask/src/tidy/edges.rs: say what it may depend on", package.name);
            findings.push(Finding::error(&manifest, what));
            continue;
        };
        for edge in &package.edges {
            let to = edge.to.as_str();
            if !(row.may_use.contains(&to) || edge.only_tests && row.tests_may_use.contains(&to)) {
                let what = format!("`{}` may not depend on `{to}` (table in xtask/src/tidy/edges.rs)", package.name);
                findings.push(Finding::error(&manifest, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cargo::{Edge, Package},
        tidy::tests::check_tree,
    };

    fn package(name: &str, edges: &[(&str, bool)]) -> Package {
        let edges = edges.iter().map(|(to, only_tests)| Edge { to: (*to).to_owned(), only_tests: *only_tests });
        Package { name: name.to_owned(), folder: name.to_owned(), edges: edges.collect() }
    }

    #[test]
    fn an_edge_outside_the_table_is_found() {
        let packages = vec![
            package("order-service", &[("saga-engine", false), ("payment-service", false)]),
            package("saga-engine", &[("amends-protos", true)]),
            package("gateway", &[("amends-protos", true)]),
            package("newcomer", &[]),
        ];
        let expected = [
            "error: order-service/Cargo.toml: `order-service` may not depend on `payment-service`",
            "error: saga-engine/Cargo.toml: `saga-engine` may not depend on `amends-protos`",
            "error: newcomer/Cargo.toml: `newcomer` has no row",
        ];
        check_tree(allowed, &Tree { packages, ..Tree::default() }, &expected);
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Listed from the bottom up: a row may only name what stands above it.
        for (index, row) in ALLOWED.iter().enumerate() {
            for to in row.may_use {
                assert!(ALLOWED[..index].iter().any(|below| below.package == *to), "{} -> {to}", row.package);
            }
        }
    }
}
