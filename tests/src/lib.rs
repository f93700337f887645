//! What the tests of the whole platform share: processes, proxies, books, forged tokens, and faults of the machine.
//!
//! The programs under test run as processes of their own and are asked from outside, as a client or an operator would.

pub mod balancer;
pub mod check;
pub mod direct;
pub mod forge;
pub mod kit;
pub mod platform;
pub mod process;
pub mod proxy;
pub mod shoppers;

/// A setting of this test run, from the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are configured by their environment, not by the services' configuration"
)]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says what did not run, past the test harness, which would keep it to itself.
pub fn announce(what: &str) {
    use std::io::Write;
    // A terminal that is gone is no reason to fail.
    let _ = std::io::stderr().write_all(format!("{what}\n").as_bytes());
}
