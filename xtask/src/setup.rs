//! What the build needs besides Rust's toolchain: finds it, or installs it, or names it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    environment,
    packages::{self, Need},
    process::{Failure, Result, about, run_aside, which, which_in},
};

/// Folders to put in front of `PATH` for what we start.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tools {
    extra: Vec<PathBuf>,
}

impl Tools {
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.extra.is_empty() {
            return;
        }
        let folders = self.extra.iter().cloned().chain(environment::search_path());
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
    }

    /// Where the program is, and that its folder is on the path from now on.
    fn find(&mut self, program: &str, installed: bool) -> bool {
        if which(program).is_some() {
            return true;
        }
        // Only after an install: what the user took off the path on purpose stays off.
        let standard = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"];
        let found = installed.then(|| which_in(program, standard.map(PathBuf::from))).flatten();
        if let Some(folder) = found.as_deref().and_then(Path::parent) {
            self.extra.push(folder.to_path_buf());
        }
        found.is_some()
    }

    fn missing(&mut self, installed: bool) -> Vec<Need> {
        let wanted = [(Need::Cmake, "cmake"), (Need::CCompiler, "cc"), (Need::Make, "make")];
        wanted.into_iter().filter(|(_, program)| !self.find(program, installed)).map(|(need, _)| need).collect()
    }
}

/// Makes sure that what the build needs is here.
pub(crate) fn build_tools() -> Result<Tools> {
    let mut tools = Tools::default();
    let missing = tools.missing(false);
    if missing.is_empty() {
        return Ok(tools);
    }
    let refused = match packages::install(&missing) {
        Ok(()) => None,
        // cmake is the one that can be had without being root.
        Err(why) if missing == [Need::Cmake] => match cmake_from_pip() {
            Ok(folder) => {
                tools.extra.push(folder);
                return Ok(tools);
            }
            Err(_) => Some(why),
        },
        Err(why) => Some(why),
    };
    if let Some(why) = refused {
        return Err(why);
    }
    match tools.missing(true).as_slice() {
        [] => Ok(tools),
        still => Err(Failure::message(format!("{} was installed, but is not found", packages::names(still)))),
    }
}

/// The official wheel, pinned, into the cache.
fn cmake_from_pip() -> Result<PathBuf> {
    const VERSION: &str = "3.31.6";
    let home = environment::cache_dir().join(format!("cmake-{VERSION}"));
    // The wheel's `bin/cmake` is a Python script that looks for its package; this is the program itself.
    let folder = home.join("cmake/data/bin");
    if folder.join("cmake").is_file() {
        return Ok(folder);
    }
    eprintln!("cmake is missing and may not be installed for everybody: fetching it with pip into {}", home.display());
    let staging = environment::cache_dir().join(format!("cmake-{VERSION}.{}", std::process::id()));
    let wheel = format!("cmake=={VERSION}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(&staging).arg(wheel);
    let fetched = run_aside(&mut pip);
    if fetched.is_ok() {
        let _gone = std::fs::remove_dir_all(&home);
        std::fs::rename(&staging, &home).map_err(about(home.display()))?;
    } else {
        let _gone = std::fs::remove_dir_all(&staging);
    }
    fetched.map(|()| folder)
}
