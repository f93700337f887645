//! Every error code has a page that says what caller and operator do about it, and every page a code that still exists.

use std::collections::BTreeMap;

use super::{Finding, Tree};

const PAGES: &str = "docs/errors/";

pub(super) fn documented(tree: &Tree) -> Vec<Finding> {
    let used = used(tree);
    let mut findings = Vec::new();
    for (code, (path, line)) in &used {
        if !tree.files.contains_key(&format!("{PAGES}{code}.md")) {
            findings.push(Finding::error(path, format!("`{code}` has no {PAGES}{code}.md")).at(*line));
        }
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

/// Codes and where they are first used. A code stands behind the kind it belongs to, `ErrorKind::Conflict, "sold_out"`, in whatever
/// that is an argument or a member of.
fn used(tree: &Tree) -> BTreeMap<String, (String, usize)> {
    let mut codes = BTreeMap::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.contains("/src/") && !path.starts_with("xtask/")) {
        for (at, kind) in text.match_indices("ErrorKind::") {
            let behind = text[at + kind.len()..].trim_start_matches(char::is_alphanumeric).trim_start();
            let Some(literal) = behind.strip_prefix(',').and_then(|rest| rest.trim_start().strip_prefix('"')) else {
                continue;
            };
            let code = literal.split('"').next().unwrap_or_default();
            if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                continue;
            }
            let line = text[..at].lines().count();
            codes.entry(code.to_owned()).or_insert_with(|| (path.to_owned(), line));
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
            ("docs/errors/known.md", ""),
            ("docs/errors/stale.md", ""),
            ("docs/errors/README.md", "[known](known.md) [stale](stale.md)"),
        ];
        check(
            documented,
            &files,
            &["error: s/src/lib.rs:3: `sold_out` has no", "error: docs/errors/stale.md: no code uses"],
        );
    }
}
