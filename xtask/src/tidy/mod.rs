//! The rules the compiler cannot check: who may depend on whom, what a folder may name, what every file must say.
//!
//! Each rule is a function from a [`Tree`] to findings, and has a test that breaks it.

mod circles;
mod code;
mod documents;
mod edges;
mod manifests;
mod skeleton;
mod sources;
mod telemetry;
mod wording;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::{
    cargo::{Package, Workspace},
    environment,
    process::{Failure, Result, about, capture},
};

/// What is checked: the text files of the clone, and the packages.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Path relative to the root, with `/`, and content.
    files: BTreeMap<String, String>,
    packages: Vec<Package>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: String,
    line: Option<usize>,
    what: String,
    /// A warning is shown, and fails nothing.
    fatal: bool,
}

impl Finding {
    fn error(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, what: what.into(), fatal: true }
    }

    fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    const fn warning(mut self) -> Self {
        self.fatal = false;
        self
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = if self.fatal { "error" } else { "warning" };
        match self.line {
            Some(line) => write!(out, "{level}: {}:{line}: {}", self.path, self.what),
            None => write!(out, "{level}: {}: {}", self.path, self.what),
        }
    }
}

impl Tree {
    fn read() -> Result<Self> {
        let root = environment::root();
        let mut files = BTreeMap::new();
        for path in paths(&root)? {
            let full = root.join(&path);
            // Listed by git but deleted, a link to a folder, or binary: no text to check.
            if let Ok(bytes) = fs::read(full)
                && let Ok(text) = String::from_utf8(bytes)
            {
                files.insert(path, text);
            }
        }
        Ok(Self { files, packages: Workspace::read()?.packages })
    }

    /// Hand-written Rust: generated code follows its generator's taste.
    fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| is(path, "rs") && !path.contains("/src/gen/"))
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { files, packages: Vec::new() }
    }
}

/// Whether the file is of that kind.
fn is(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Whether the file is for tests only, by where it is. They look behind a store's back, and make things up.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/testkit/") || path.ends_with("/tests.rs")
}

/// What git knows or would add; without git (an archive), everything outside `target`.
fn paths(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    if let Ok(list) = capture(&mut git) {
        return Ok(list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect());
    }
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(about(folder.display()))?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}

pub(crate) fn run() -> Result {
    let tree = Tree::read()?;
    let rules: [fn(&Tree) -> Vec<Finding>; 18] = [
        edges::allowed,
        circles::none,
        manifests::shared,
        manifests::no_unused,
        skeleton::kept,
        sources::header,
        sources::folders_have_mod_files,
        sources::pure_domain,
        sources::stores_know_sql,
        sources::services_are_closed,
        sources::length,
        documents::no_machine_paths,
        documents::links_lead_somewhere,
        documents::decisions_are_listed,
        documents::decisions_have_three_parts,
        telemetry::fields_are_registered,
        wording::subjects_are_named,
        wording::names_are_short,
    ];
    let findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(&tree)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.fatal).count();
    println!("tidy: {} files, {} packages, {errors} errors", tree.files.len(), tree.packages.len());
    if errors == 0 { Ok(()) } else { Err(Failure::message(format!("tidy found {errors} errors"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule finds exactly these `path:line: …` beginnings.
    pub(super) fn check(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
        check_tree(rule, &Tree::of(files), expected);
    }

    pub(super) fn check_tree(rule: fn(&Tree) -> Vec<Finding>, tree: &Tree, expected: &[&str]) {
        let found: Vec<String> = rule(tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "found {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "found `{found}`, expected `{expected}`");
        }
    }

    #[test]
    fn this_clone_is_read() {
        let tree = Tree::read().unwrap();
        assert!(tree.files.contains_key("xtask/src/tidy/mod.rs"));
        assert!(tree.packages.iter().any(|package| package.name == "xtask"));
    }
}
