//! Libraries that are loaded before all others into a program under test. They are written in C: what they do is replace functions of C's
//! library, which in Rust would be the one `unsafe` crate of this workspace.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Here, tool};

/// The variable by which the system is told of such a library.
pub(super) const VARIABLE: &str = "LD_PRELOAD";

/// Compiles one in that folder. Needs a C compiler, as the build does, and a system that preloads libraries.
pub(super) fn compile(name: &str, source: &str, dir: &Path) -> Here<PathBuf> {
    if !cfg!(target_os = "linux") {
        return Err("preloading is written for Linux".to_owned());
    }
    let compiler = tool("cc").ok_or("there is no C compiler (cc)")?;
    let (file, library) = (dir.join(format!("{name}.c")), dir.join(format!("libamends-{name}.so")));
    std::fs::write(&file, source).map_err(|error| error.to_string())?;
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O2", "-D_LARGEFILE64_SOURCE", "-o"]).arg(&library).arg(&file).arg("-ldl");
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(library)
    } else {
        Err(format!("the library does not compile: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
