//! Every error code has a page that says what caller and operator do about it, and every page a code that still exists.

use std::collections::BTreeMap;

use super::{Finding, Tree, is_test};

const PAGES: &str = "docs/errors/";

/// What each kind of error answers over HTTP, as `service_base::problem::ErrorKind` has it.
const STATUSES: [(&str, u16); 16] = [
    ("Malformed", 400),
    ("Unauthenticated", 401),
    ("PaymentRequired", 402),
    ("Forbidden", 403),
    ("NotFound", 404),
    ("MethodNotAllowed", 405),
    ("NotAcceptable", 406),
    ("Conflict", 409),
    ("TooLarge", 413),
    ("UnsupportedMediaType", 415),
    ("Invalid", 422),
    ("RateLimited", 429),
    ("Bug", 500),
    ("BadGateway", 502),
    ("Unavailable", 503),
    ("Timeout", 504),
];

pub(super) fn documented(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (Used { code, kind }, (path, line)) in &used(tree) {
        let page = format!("{PAGES}{code}.md");
        let status = STATUSES.iter().find(|(known, _)| known == kind).map(|(_, status)| status);
        let what = match (tree.files.get(&page), status) {
            (None, _) => format!("`{code}` has no {page}"),
            (_, None) => format!("xtask/src/tidy/codes.rs does not know `ErrorKind::{kind}`"),
            (Some(text), Some(status)) if !says(text, *status) => {
                format!("`{code}` is HTTP {status} here, and {page} says otherwise")
            }
            _ => continue,
        };
        findings.push(Finding::error(path, what).at(*line));
    }
    let pages = tree.files.keys().filter_map(|path| path.strip_prefix(PAGES)?.strip_suffix(".md"));
    for code in pages.filter(|code| *code != "README") {
        let path = format!("{PAGES}{code}.md");
        let literal = format!("\"{code}\"");
        if !tree.rust().any(|(_, text)| text.contains(&literal)) {
            findings.push(Finding::error(&path, "no code uses this code"));
        }
        if !tree.files.get("docs/errors/README.md").is_some_and(|index| index.contains(&format!("]({code}.md)"))) {
            findings.push(Finding::error(&path, "is not in docs/errors/README.md"));
        }
    }
    findings
}

/// Whether the page's line of statuses has this one.
fn says(page: &str, status: u16) -> bool {
    page.lines().any(|line| line.starts_with("HTTP ") && line.contains(&status.to_string()))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Used {
    code: String,
    kind: String,
}

/// Codes and where they are first used. A code stands behind the kind it belongs to, `ErrorKind::Conflict, "sold_out"`, in whatever
/// that is an argument or a member of.
fn used(tree: &Tree) -> BTreeMap<Used, (String, usize)> {
    let mut codes = BTreeMap::new();
    // Tests make problems up.
    let concerned = |path: &str| path.contains("/src/") && !path.starts_with("xtask/") && !is_test(path);
    for (path, text) in tree.rust().filter(|(path, _)| concerned(path)) {
        let text = text.split("#[cfg(test)]").next().unwrap_or(text);
        for (at, prefix) in text.match_indices("ErrorKind::") {
            let behind = &text[at + prefix.len()..];
            let (kind, behind) =
                behind.split_at(behind.find(|next: char| !next.is_alphanumeric()).unwrap_or(behind.len()));
            let Some(literal) =
                behind.trim_start().strip_prefix(',').and_then(|rest| rest.trim_start().strip_prefix('"'))
            else {
                continue;
            };
            let code = literal.split('"').next().unwrap_or_default();
            if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                continue;
            }
            let used = Used { code: code.to_owned(), kind: kind.to_owned() };
            codes.entry(used).or_insert_with(|| (path.to_owned(), text[..at].lines().count()));
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn a_code_without_a_page_and_a_page_without_a_code_are_found() {
        let code = "//! x\nfn f() {\n    Problem::new(ErrorKind::Conflict, \"sold_out\", \"gone\");\n    let x = (ErrorKind::Bug,\n        \"known\",\n    );\n}\n";
        let files = [
            ("s/src/lib.rs", code),
            ("docs/errors/known.md", "HTTP 409 · gRPC"),
            ("docs/errors/stale.md", ""),
            ("docs/errors/README.md", "[known](known.md) [stale](stale.md)"),
        ];
        check(
            documented,
            &files,
            &[
                "error: s/src/lib.rs:4: `known` is HTTP 500 here",
                "error: s/src/lib.rs:3: `sold_out` has no",
                "error: docs/errors/stale.md: no code uses",
            ],
        );
    }
}
