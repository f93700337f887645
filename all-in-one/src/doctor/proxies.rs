//! Whether variables for HTTP proxies are set. Calls among the services must not go through one: it would read their credentials.

use std::collections::BTreeMap;

use super::Report;

const CHECK: &str = "proxies";
const NAMES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Names only: the values may hold passwords.
pub(super) fn check(env: &BTreeMap<String, String>, report: &mut Report) {
    let set: Vec<&str> = env
        .iter()
        .filter(|(name, value)| !value.is_empty() && NAMES.contains(&name.to_uppercase().as_str()))
        .map(|(name, _)| name.as_str())
        .collect();
    if set.is_empty() {
        return report.passed(CHECK, "no variable for a proxy is set");
    }
    let what = format!("{} set here", set.join(", "));
    report.notice(
        CHECK,
        what,
        format!("calls among the services do not need one: unset {} before the start", set.join(" ")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_variables_are_named_without_their_values() {
        let env =
            [("http_proxy", "http://u:hunter2@p"), ("ALL_PROXY", "socks5://p"), ("HTTPS_PROXY", ""), ("PATH", "/bin")];
        let mut report = Report::default();
        check(&env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), &mut report);
        let said = report.complaints().join("");
        assert!(said.contains("ALL_PROXY, http_proxy") && said.contains("unset ALL_PROXY http_proxy"), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("HTTPS"), "{said}");
    }
}
