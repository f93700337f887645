//! Rules about wording, as far as a program can check them.

use super::{Finding, Tree, code, is};

/// A comment or a document names its subject: the replica, the caller, the issuer.
///
/// Contracts are left out: their sentences are published, and change only with them.
pub(super) fn subjects_are_named(tree: &Tree) -> Vec<Finding> {
    const INDEFINITE: [&str; 3] = ["somebody", "nobody", "whoever"];
    const CONTRACTS: [&str; 2] = ["protos/", "docs/errors/"];
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !CONTRACTS.iter().any(|folder| path.starts_with(folder))) {
        let words = match path {
            _ if is(path, "rs") => code::comments(text).to_lowercase(),
            _ if is(path, "md") => text.to_lowercase(),
            _ => continue,
        };
        for word in INDEFINITE {
            let found = code::lines_with(&words, word);
            findings.extend(found.map(|line| Finding::error(path, format!("`{word}`: name the subject")).at(line)));
        }
    }
    findings
}

/// A test's name says state and expectation, in a line of a report.
pub(super) fn names_are_short(tree: &Tree) -> Vec<Finding> {
    const NAME_LEN_MAX: usize = 60;
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        for (index, line) in code::only(text).lines().enumerate() {
            let Some((_, rest)) = line.split_once("fn ") else { continue };
            let name = rest.split(|next: char| !next.is_alphanumeric() && next != '_').next().unwrap_or_default();
            if name.len() > NAME_LEN_MAX {
                let what =
                    format!("`{name}` has {} characters: say state and expectation in {NAME_LEN_MAX}", name.len());
                findings.push(Finding::error(path, what).at(index + 1));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn an_indefinite_pronoun_is_found_in_comments_and_documents() {
        let files = [
            ("a/src/lib.rs", "//! Nobody.\nlet nobody = \"whoever\"; // Somebody's.\n/* a\n whoever */\n"),
            ("docs/a.md", "Good.\nWhoever waits, `a_nobody_b`\n"),
            ("docs/errors/a.md", "nobody\n"),
            ("protos/src/gen/a.rs", "/// nobody\n"),
            ("a.toml", "# nobody\n"),
        ];
        let expected = [
            "error: a/src/lib.rs:2: `somebody`",
            "error: a/src/lib.rs:1: `nobody`",
            "error: a/src/lib.rs:4: `whoever`",
            "error: docs/a.md:2: `whoever`",
        ];
        check(subjects_are_named, &files, &expected);
    }

    #[test]
    fn a_name_that_does_not_fit_a_line_is_found() {
        let (fits, long) = ("a".repeat(60), "b".repeat(61));
        let text = format!("//! fn {long}\nfn {fits}() {{}}\n#[test]\nasync fn {long}() {{}}\n\"fn {long}\"\n");
        let expected = format!("error: a/src/lib.rs:4: `{long}` has 61");
        check(names_are_short, &[("a/src/lib.rs", &text)], &[&expected]);
    }
}
