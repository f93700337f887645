//! Rules about any text: it holds on every machine, and its links lead somewhere.

use super::{Finding, Tree, is};

/// Folders that exist on one machine only. In pieces, or this file would break its own rule.
const MACHINE: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("C:", "\\Users"),
];
/// Homes inside container images and of well-known tools, the same everywhere.
const EVERYWHERE: [&str; 2] = [concat!("/ho", "me/nonroot"), concat!("/ho", "me/linuxbrew")];

pub(super) fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        for (index, line) in text.lines().enumerate() {
            let found = MACHINE.iter().find(|folder| line.match_indices(**folder).any(|(at, _)| is_absolute(line, at)));
            if let Some(folder) = found {
                findings.push(Finding::error(path, format!("`{folder}…` exists on one machine only")).at(index + 1));
            }
        }
    }
    findings
}

fn is_absolute(line: &str, at: usize) -> bool {
    let inside_a_longer_path =
        line[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || "._-/}".contains(before));
    !inside_a_longer_path && !EVERYWHERE.iter().any(|folder| line[at..].starts_with(folder))
}

/// Every relative link of a Markdown page, and every `docs/…` named in code, exists.
pub(super) fn links_lead_somewhere(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The rules' own tests name pages that do not exist.
    for (path, text) in tree.texts().filter(|(path, _)| !path.starts_with("xtask/src/tidy/")) {
        for (index, line) in text.lines().enumerate() {
            let mut targets = Vec::new();
            if is(path, "md") {
                targets.extend(links(line).map(|link| resolved(path, link)));
            } else if is(path, "rs") || is(path, "toml") || is(path, "yml") {
                targets.extend(named_documents(line).map(str::to_owned));
            }
            for target in targets {
                let folder = format!("{}/", target.trim_end_matches('/'));
                let exists =
                    target.is_empty() || tree.files.keys().any(|known| *known == target || known.starts_with(&folder));
                if !exists {
                    findings.push(Finding::error(path, format!("`{target}` does not exist")).at(index + 1));
                }
            }
        }
    }
    findings
}

const DECISIONS: &str = "docs/adr/";

/// Every decision is in the index, with the number that its name has.
pub(super) fn decisions_are_listed(tree: &Tree) -> Vec<Finding> {
    let index = tree.files.get("docs/adr/README.md").map_or("", String::as_str);
    let missing = decisions(tree).filter(|(name, _)| !index.contains(&format!("]({name})")));
    missing.map(|(name, _)| Finding::error(&format!("{DECISIONS}{name}"), "is not in docs/adr/README.md")).collect()
}

/// Every decision says what the problem was, what was chosen, and what follows.
pub(super) fn decisions_have_three_parts(tree: &Tree) -> Vec<Finding> {
    const PARTS: [&str; 3] = ["## Context", "## Decision", "## Consequences"];
    let parts = |text: &str| text.lines().filter(|line| line.starts_with("## ")).eq(PARTS);
    let wrong = decisions(tree).filter(|(_, text)| !parts(text));
    wrong
        .map(|(name, _)| Finding::error(&format!("{DECISIONS}{name}"), format!("has other parts than {PARTS:?}")))
        .collect()
}

fn decisions(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let pages = tree.texts().filter_map(|(path, text)| Some((path.strip_prefix(DECISIONS)?, text)));
    pages.filter(|(name, _)| *name != "README.md")
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split('#').next().unwrap_or(target));
    targets.filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
}

fn resolved(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// `docs/adr/0001-x.md` and the like, but not patterns such as `docs/errors/<code>.md`.
fn named_documents(line: &str) -> impl Iterator<Item = &str> {
    let starts = line
        .match_indices("docs/")
        .filter(|(at, _)| !line[..*at].ends_with(|before: char| before.is_alphanumeric() || "./_-".contains(before)));
    let named = starts.filter_map(|(at, _)| {
        let rest = &line[at..];
        let end =
            rest.find(|next: char| !(next.is_ascii_alphanumeric() || "./_-".contains(next))).unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches('.')).filter(|_| !rest[end..].starts_with(['<', '{', '*', '…']))
    });
    named.filter(|name| is(name, "md"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn a_path_of_one_machine_is_found() {
        let bad = format!("x\nsee `{}me/data`\n", MACHINE[0]);
        let good = "docs/home/x http://a/home/b ${X}/home/y homespun\n";
        let image = format!("USER {}\n", EVERYWHERE[0]);
        check(no_machine_paths, &[("a.md", &bad), ("b.md", good), ("c", &image)], &["error: a.md:2: "]);
    }

    #[test]
    fn an_unlisted_decision_is_found() {
        let files = [("docs/adr/README.md", "[1](0001-a.md)"), ("docs/adr/0001-a.md", ""), ("docs/adr/0002-b.md", "")];
        check(decisions_are_listed, &files, &["error: docs/adr/0002-b.md: is not in"]);
    }

    #[test]
    fn a_decision_without_its_three_parts_is_found() {
        let files = [
            ("docs/adr/README.md", "## Not a decision\n"),
            ("docs/adr/0001-a.md", "# 1\n## Context\n## Decision\n### Alternatives\n## Consequences\n"),
            ("docs/adr/0002-b.md", "# 2\n## Context\n## Consequences\n## Decision\n"),
            ("docs/adr/0003-c.md", "# 3\n"),
        ];
        let expected = ["error: docs/adr/0002-b.md: has other", "error: docs/adr/0003-c.md: has other"];
        check(decisions_have_three_parts, &files, &expected);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = "[a](../b.md) [b](c.md#x) [c](https://x.y/z.md) [d](#here) [e](../docs)\n[f](gone.md)\n";
        let code = "// See docs/x/c.md. And docs/errors/<code>.md, docs/gone.md.\n";
        let files = [("docs/x/a.md", page), ("docs/b.md", ""), ("docs/x/c.md", ""), ("s/lib.rs", code)];
        let expected = [
            "error: docs/x/a.md:1: `docs/docs`",
            "error: docs/x/a.md:2: `docs/x/gone.md`",
            "error: s/lib.rs:1: `docs/gone.md`",
        ];
        check(links_lead_somewhere, &files, &expected);
    }
}
