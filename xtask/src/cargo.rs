//! Calling cargo, always with the same environment, so that no two of our commands invalidate each other's build.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    environment, json,
    process::{Failure, Result, capture},
    setup::Tools,
};

/// `cargo`, at the root of the clone.
pub(crate) fn cargo(tools: &Tools) -> Command {
    let mut command = Command::new(environment::cargo());
    command.current_dir(environment::root());
    // `cargo run`, which runs us, describes our own package in these. Build scripts watch them (ring's does), so that passing them
    // on would rebuild half the graph each time a developer alternates between `cargo build` and `cargo xtask`.
    for name in environment::names() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_PRIMARY_PACKAGE" {
            command.env_remove(name);
        }
    }
    // The pact crates report usage to their makers unless told not to.
    command.env("PACT_DO_NOT_TRACK", "true");
    tools.apply(&mut command);
    command
}

/// What of `cargo metadata` this tool needs.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The folder, relative to the root.
    pub(crate) folder: String,
    /// Other packages of this workspace: name, and whether only tests use it.
    pub(crate) edges: Vec<Edge>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: String,
    pub(crate) only_tests: bool,
}

impl Workspace {
    /// `--no-deps`: nothing is resolved, so nothing is fetched.
    pub(crate) fn read() -> Result<Self> {
        let mut command = cargo(&Tools::default());
        let text = capture(command.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        Self::parse(&text, &environment::root()).map_err(|why| Failure::message(format!("cargo metadata: {why}")))
    }

    fn parse(text: &str, root: &Path) -> std::result::Result<Self, String> {
        let value = json::parse(text)?;
        let target = value.get("target_directory").text().ok_or("no target_directory")?.into();
        let list = value.get("packages").items();
        let names: Vec<&str> = list.iter().filter_map(|package| package.get("name").text()).collect();
        let mut packages = Vec::new();
        for package in list {
            let name = package.get("name").text().ok_or("a package without a name")?.to_owned();
            let manifest = Path::new(package.get("manifest_path").text().ok_or("a package without a manifest")?);
            let folder = manifest.parent().unwrap_or(manifest);
            let folder = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
            let edges = package.get("dependencies").items().iter().filter_map(|dependency| {
                let to = dependency.get("name").text()?;
                let ours = names.contains(&to) && dependency.get("path").text().is_some();
                ours.then(|| Edge { to: to.to_owned(), only_tests: dependency.get("kind").text() == Some("dev") })
            });
            packages.push(Package { name, folder, edges: edges.collect() });
        }
        Ok(Self { target, packages })
    }

    /// Where a built program is.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        let mut path = self.target.clone();
        if let Some(triple) = environment::get("CARGO_BUILD_TARGET") {
            path.push(triple);
        }
        path.join(profile).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_a_dependency_on_a_package_of_this_workspace() {
        let text = r#"{"target_directory":"/r/target","packages":[
            {"name":"a","manifest_path":"/r/x/a/Cargo.toml","dependencies":[
                {"name":"b","path":"/r/b","kind":null},{"name":"serde","kind":null},{"name":"c","path":"/r/c","kind":"dev"}]},
            {"name":"b","manifest_path":"/r/b/Cargo.toml","dependencies":[]},
            {"name":"c","manifest_path":"/r/c/Cargo.toml","dependencies":[]}]}"#;
        let workspace = Workspace::parse(text, Path::new("/r")).unwrap();
        assert_eq!(workspace.packages[0].folder, "x/a");
        let edges: Vec<_> =
            workspace.packages[0].edges.iter().map(|edge| (edge.to.as_str(), edge.only_tests)).collect();
        assert_eq!(edges, [("b", false), ("c", true)]);
    }
}
