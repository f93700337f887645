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
    /// Words that the library's tests have in their paths; none for all of them. The fewer tests, the less a mutant costs.
    pub(crate) tests: &'static [&'static str],
}

const fn part(
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    tests: &'static [&'static str],
) -> Part {
    Part { name, package, files, tests }
}

/// The cheap ones first.
pub(crate) const PARTS: &[Part] = &[
    part("primitives", "amends-primitives", &["libs/primitives/src/*.rs"], &[]),
    part("webhook signature", "amends-webhooks", &["libs/webhooks/src/signature.rs"], &["signature::"]),
    part(
        "token claims",
        "amends-auth",
        &["libs/auth/src/claims.rs", "libs/auth/src/token.rs", "libs/auth/src/verifier.rs"],
        &[],
    ),
    part("trace sampling", "amends-telemetry", &["observability/telemetry/src/sampling.rs"], &["sampling::"]),
    part("acquirer", "acquirer", &["acquirer/src/domain/**/*.rs"], &["domain::"]),
    part("inventory", "inventory-service", &["inventory-service/src/domain/**/*.rs"], &["domain::"]),
    part("identity", "identity-service", &["identity-service/src/domain/**/*.rs"], &["domain::"]),
    part("passwords", "identity-service", &["identity-service/src/crypto/password.rs"], &["crypto::password::"]),
    part("payment", "payment-service", &["payment-service/src/domain/**/*.rs"], &["domain::"]),
    part("order", "order-service", &["order-service/src/domain/**/*.rs"], &["domain::"]),
    part(
        "prefer and cursor",
        "order-service",
        &["order-service/src/http/prefer.rs", "order-service/src/http/cursor.rs"],
        &["http::prefer::", "http::cursor::"],
    ),
    part("hygiene", "gateway", &["gateway/src/hygiene/*.rs"], &["hygiene::", "refusal::"]),
    part("audit laws", "amends", &["all-in-one/src/audit/laws/*.rs"], &["audit::laws::"]),
    part(
        "engine machine",
        "saga-engine",
        &[
            "libs/saga-engine/src/state.rs",
            "libs/saga-engine/src/transition.rs",
            "libs/saga-engine/src/plan.rs",
            "libs/saga-engine/src/retry.rs",
            "libs/saga-engine/src/shape.rs",
            "libs/saga-engine/src/status.rs",
            "libs/saga-engine/src/outcome.rs",
            "libs/saga-engine/src/policy.rs",
            "libs/saga-engine/src/definition.rs",
            "libs/saga-engine/src/timeline.rs",
        ],
        // What takes seconds. The model and the fault harness take minutes.
        &["machine::", "golden::", "retry::", "tests::engine::", "local::", "parking::", "clocks::", "timeline::"],
    ),
    part("engine barrier", "saga-engine", &["libs/saga-engine/src/participant/decide.rs"], &["decide::"]),
];
