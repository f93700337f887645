//! Tools that this project downloads or builds for itself, kept outside the clone so that a fresh clone finds them.
//!
//! Must not know: what a tool is for.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use crate::{
    cargo::cargo,
    environment,
    process::{Result, about, run_aside},
    setup::build_tools,
};

/// A folder of the cache, and the right to install into it: two runs that start at once must not install over each other.
pub(crate) fn folder(name: &str) -> Result<(PathBuf, File)> {
    let cache = environment::cache_dir();
    fs::create_dir_all(&cache).map_err(about(cache.display()))?;
    let lock_path = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(about(lock_path.display()))?;
    lock.lock().map_err(about(lock_path.display()))?;
    Ok((cache.join(name), lock))
}

/// A program that cargo builds from a crate; one version of it, so that two machines run the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) program: &'static str,
    /// How long it takes, once.
    pub(crate) takes: &'static str,
}

impl Crate {
    fn key(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Where the program is, if it was built before.
    pub(crate) fn built(&self) -> Option<PathBuf> {
        let program = environment::cache_dir().join(self.key()).join("bin").join(self.program);
        // cargo puts a program there when all of it is built.
        program.is_file().then_some(program)
    }

    /// Where the program is; builds it where it is not there.
    pub(crate) fn install(&self) -> Result<PathBuf> {
        let (home, _lock) = folder(&self.key())?;
        if let Some(program) = self.built() {
            return Ok(program);
        }
        let tools = build_tools()?;
        let Self { name, version, takes, .. } = self;
        eprintln!("building {name} {version} into {}: {takes}, once", home.display());
        // Its own toolchain would be another download; it builds with ours.
        let mut install = cargo(&tools);
        install.args(["install", name, "--version", version, "--locked", "--ignore-rust-version", "--root"]).arg(&home);
        run_aside(&mut install)?;
        Ok(home.join("bin").join(self.program))
    }
}
