//! What every package's manifest must share with the workspace: lints, so that none is exempt, and versions, so that there is one.

use super::{Finding, Tree};

pub(super) fn shared(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::error(path, "has no `[lints] workspace = true`"));
        }
        for (index, line) in versions_of_its_own(text) {
            let what = format!("`{}`: versions stand in the workspace's Cargo.toml", line.trim());
            findings.push(Finding::error(path, what).at(index + 1));
        }
    }
    findings
}

fn versions_of_its_own(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter(move |(_, line)| {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        }
        let names_one =
            line.contains("version = \"") || line.split_once('=').is_some_and(|(_, to)| to.trim().starts_with('"'));
        inside && !line.starts_with('#') && names_one
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn a_manifest_that_goes_its_own_way_is_found() {
        let good =
            "[package]\nversion.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";
        let own = "[lints]\nworkspace = true\n[dev-dependencies]\nserde = \"1\"\ntokio = { version = \"1\", features = [] }\n";
        let files = [("a/Cargo.toml", good), ("b/Cargo.toml", own), ("c/Cargo.toml", "[package]\n")];
        let expected =
            ["error: b/Cargo.toml:4: `serde", "error: b/Cargo.toml:5: `tokio", "error: c/Cargo.toml: has no `[lints]"];
        check(shared, &files, &expected);
    }
}
