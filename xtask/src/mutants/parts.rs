//! What is mutated: the code that decides and does not wait, and for each piece the tests that are to notice.
//!
//! Must not know: how mutants are made or run.

/// A piece of the code, and what its tests are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// As the table calls it.
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// Globs, from the root.
    pub(crate) files: &'static [&'static str],
    /// What is the package's whole library meanwhile: rules need little of it, and a mutant then costs a second instead of ten. Empty
    /// where they need all of it.
    pub(crate) library: &'static str,
    /// A word that the library's tests have in their paths, of which cargo takes one; none for all of them.
    pub(crate) tests: &'static [&'static str],
}

const DOMAIN: &str = "pub mod domain;";

/// The rules of a service, which use nothing of the rest of it.
const fn domain(name: &'static str, package: &'static str, files: &'static [&'static str]) -> Part {
    Part { name, package, files, library: DOMAIN, tests: &[] }
}

/// The cheap ones first.
pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "primitives",
        package: "amends-primitives",
        files: &["libs/primitives/src/*.rs"],
        library: "",
        tests: &[],
    },
    Part {
        name: "webhook signature",
        package: "amends-webhooks",
        files: &["libs/webhooks/src/signature.rs"],
        library: "pub mod signature;",
        tests: &[],
    },
    Part {
        name: "trace sampling",
        package: "amends-telemetry",
        files: &["observability/telemetry/src/traces/sampling.rs", "observability/telemetry/src/traces/tail.rs"],
        library: "",
        tests: &["traces"],
    },
    domain("acquirer", "acquirer", &["acquirer/src/domain/**/*.rs"]),
    domain("inventory", "inventory-service", &["inventory-service/src/domain/**/*.rs"]),
    domain("identity", "identity-service", &["identity-service/src/domain/**/*.rs"]),
    domain("payment", "payment-service", &["payment-service/src/domain/**/*.rs"]),
    domain("order", "order-service", &["order-service/src/domain/**/*.rs"]),
    Part {
        name: "passwords",
        package: "identity-service",
        files: &["identity-service/src/crypto/password.rs"],
        library: "mod crypto { mod password; mod turns; } mod domain { pub(crate) mod network; }",
        tests: &["password::"],
    },
    Part {
        name: "prefer and cursor",
        package: "order-service",
        files: &["order-service/src/http/prefer.rs", "order-service/src/http/cursor.rs"],
        library: "mod http { mod cursor; mod prefer; }",
        tests: &[],
    },
    Part {
        name: "hygiene",
        package: "gateway",
        files: &["gateway/src/hygiene/*.rs"],
        library: "mod hygiene;",
        tests: &[],
    },
    Part {
        name: "tokens",
        package: "amends-auth",
        files: &["libs/auth/src/claims.rs", "libs/auth/src/token.rs", "libs/auth/src/verifier.rs"],
        // Its tests are served by `service-kit`, which needs all of it.
        library: "",
        tests: &[],
    },
    Part {
        name: "audit laws",
        package: "amends",
        files: &["all-in-one/src/audit/laws/*.rs"],
        library: "pub mod audit { pub mod account; pub mod laws; }",
        tests: &[],
    },
    Part {
        name: "engine machine",
        package: "saga-engine",
        files: &[
            "libs/saga-engine/src/state.rs",
            "libs/saga-engine/src/transition.rs",
            "libs/saga-engine/src/plan.rs",
            "libs/saga-engine/src/retry.rs",
            "libs/saga-engine/src/shape.rs",
            "libs/saga-engine/src/status.rs",
            "libs/saga-engine/src/outcome.rs",
            "libs/saga-engine/src/policy.rs",
        ],
        library: "pub mod event; mod operator; mod outcome; pub mod plan; mod policy; pub mod retry; pub mod shape; pub mod state; \
                  mod status; pub mod transition; pub use {outcome::*, policy::*, status::*}; \
                  pub mod journal { pub use crate::operator::{Operator, OperatorRequest, Resolution, Wish}; } \
                  #[cfg(test)] mod tests { mod golden; mod machine; mod rules; }",
        tests: &[],
    },
    Part {
        name: "engine barrier",
        package: "saga-engine",
        files: &["libs/saga-engine/src/participant/decide.rs"],
        library: "pub mod participant { pub mod decide; }",
        tests: &[],
    },
];
