//! What goes wrong in the payment service, one thing at a time and all at once.

use serde_json::{Value, json};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// As `PUT /faults` takes them.
    pub(crate) faults: fn() -> Value,
}

const fn scenario(name: &'static str, faults: fn() -> Value) -> Scenario {
    Scenario { name, faults }
}

pub(crate) const SCENARIOS: [Scenario; 11] = [
    scenario("nothing", || json!({})),
    scenario("300 ms late", || json!({"delay_ms": 300})),
    scenario("800 ms late: over the 500 ms of an attempt", || json!({"delay_ms": 800})),
    scenario("30 % errors", || json!({"error_pct": 30})),
    scenario("100 % errors", || json!({"error_pct": 100})),
    scenario("50 % limited (429)", || json!({"rate_limit_pct": 50})),
    scenario("100 % limited (429)", || json!({"rate_limit_pct": 100})),
    scenario("30 % hang", || json!({"hang_pct": 30})),
    scenario("100 % hang", || json!({"hang_pct": 100})),
    scenario("30 % of connections reset", || json!({"reset_pct": 30})),
    scenario(
        "all of it: 300 ms late (half), 20 % errors, 20 % limited, 5 % hang, 5 % reset",
        || json!({"delay_ms": 300, "delay_pct": 50, "error_pct": 20, "rate_limit_pct": 20, "hang_pct": 5, "reset_pct": 5}),
    ),
];
