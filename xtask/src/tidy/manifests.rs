//! What every package's manifest must share with the workspace: lints, so that none is exempt, and versions, so that there is one. And
//! that it names no more than it needs: a dependency that no code names is built for nothing, by everyone, each time.

use std::collections::BTreeSet;

use super::{Finding, Tree, code};

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

/// Dependencies that no file of their package names, and those of the workspace that no package has.
pub(super) fn no_unused(tree: &Tree) -> Vec<Finding> {
    let (mut findings, mut wanted) = (Vec::new(), BTreeSet::new());
    let manifests: Vec<_> =
        tree.texts().filter_map(|(path, text)| Some((path.strip_suffix("/Cargo.toml")?, text))).collect();
    for (folder, text) in &manifests {
        // A folder may hold another package, whose files are that one's.
        let owner = |path: &str| {
            let owners = manifests.iter().map(|(folder, _)| *folder).filter(|folder| is_below(path, folder));
            owners.max_by_key(|folder| folder.len())
        };
        let sources = tree.files.iter().filter(|(path, _)| super::is(path, "rs") && owner(path) == Some(folder));
        let sources: Vec<String> = sources.map(|(_, text)| code::only(text)).collect();
        for (index, name) in dependencies(text) {
            wanted.insert(name);
            let word = name.replace('-', "_");
            if !sources.iter().any(|source| code::lines_with(source, &word).next().is_some()) {
                let what = format!("`{name}`: no file of this package names it");
                findings.push(Finding::error(&format!("{folder}/Cargo.toml"), what).at(index + 1));
            }
        }
    }
    let root = tree.files.get("Cargo.toml").map_or("", String::as_str);
    for (index, name) in dependencies(root).filter(|(_, name)| !wanted.contains(name)) {
        findings.push(Finding::error("Cargo.toml", format!("`{name}`: no package depends on it")).at(index + 1));
    }
    findings
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The names of a manifest's dependencies, of every kind.
fn dependencies(text: &str) -> impl Iterator<Item = (usize, &str)> {
    inside_dependencies(text).filter_map(|(index, line)| {
        let name = line.split(['.', '=', ' ']).next()?;
        (!name.is_empty() && line.contains('=')).then_some((index, name))
    })
}

fn versions_of_its_own(text: &str) -> impl Iterator<Item = (usize, &str)> {
    inside_dependencies(text).filter(|(_, line)| {
        line.contains("version = \"") || line.split_once('=').is_some_and(|(_, to)| to.trim().starts_with('"'))
    })
}

fn inside_dependencies(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter(move |(_, line)| {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        }
        inside && !line.starts_with(['#', '['])
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

    #[test]
    fn a_dependency_that_no_file_names_is_found() {
        let root = "[workspace.dependencies]\nserde = \"1\"\ntokio = \"1\"\nold = \"1\"\n";
        let manifest = "[dependencies]\nserde.workspace = true\naws-lc-rs = { workspace = true }\n\
            [dev-dependencies]\n# For one test.\ntokio.workspace = true\nuuid.workspace = true\n[features]\ntesting = []\n";
        let files = [
            ("Cargo.toml", root),
            ("a/Cargo.toml", manifest),
            ("a/src/lib.rs", "use serde::Serialize; // uuid\nconst NAME: &str = \"uuid\";\n"),
            ("a/tests/it.rs", "#[tokio::test]\nasync fn f() { aws_lc_rs::x() }\n"),
            ("a/b/Cargo.toml", "[dependencies]\n"),
            ("a/b/src/lib.rs", "use uuid::Uuid;\n"),
        ];
        let expected = ["error: a/Cargo.toml:7: `uuid`: no file", "error: Cargo.toml:4: `old`: no package"];
        check(no_unused, &files, &expected);
    }
}
