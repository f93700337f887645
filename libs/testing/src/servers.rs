//! Which servers there are for tests: `cargo xtask test` starts them, and names them in the environment.

use std::io::Write as _;

/// `postgres://…` of an administrator, who may make databases.
///
/// # Panics
/// Without a server, unless the run was restricted to embedded stores on purpose: then there is `None`, and a line that says so. The same
/// holds for the others.
pub fn postgres() -> Option<String> {
    server("AMENDS_TEST_POSTGRES_URL")
}

/// `mongodb://…`.
pub fn mongodb() -> Option<String> {
    server("AMENDS_TEST_MONGODB_URI")
}

/// `redis://…`.
pub fn redis() -> Option<String> {
    server("AMENDS_TEST_REDIS_URL")
}

#[expect(clippy::disallowed_methods, reason = "where tests find their servers")]
fn server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        let embedded = std::env::var("AMENDS_TEST_BACKENDS").as_deref() == Ok("embedded");
        assert!(embedded, "{variable} is not set: run through `cargo xtask test`");
        // Past the test harness, which would keep it to itself. A terminal that is gone is no reason to fail.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {variable} is not set, and AMENDS_TEST_BACKENDS=embedded");
    }
    url
}
