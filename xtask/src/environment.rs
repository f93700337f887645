//! The only place of this tool that reads the environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// A variable's value; an empty one counts as absent, because CI systems set unused variables to "".
pub(crate) fn get(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// The cargo that runs us, so that a `cargo +toolchain xtask` stays on its toolchain.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Names of all variables that are set.
pub(crate) fn names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// Where programs are looked up.
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// Where downloaded tools are kept, outside the clone, so that a fresh clone finds them.
pub(crate) fn cache_dir() -> PathBuf {
    if let Some(dir) = get("AMENDS_CACHE_DIR") {
        return dir.into();
    }
    if let Some(dir) = get("XDG_CACHE_HOME") {
        return Path::new(&dir).join("amends");
    }
    match get("HOME") {
        Some(home) => Path::new(&home).join(".cache/amends"),
        None => std::env::temp_dir().join("amends-cache"),
    }
}

/// Where the state of `services up` is remembered: per clone, so that two clones do not share servers.
pub(crate) fn services_dir() -> PathBuf {
    root().join("target/services")
}

/// The clone's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().map_or_else(|| manifest_dir.to_path_buf(), Path::to_path_buf)
}
