//! An OpenTelemetry Collector with what `observability/collector/config.yaml` needs, built by its own builder through Go's module proxy and
//! kept outside the clone.
//!
//! The exporter to Elasticsearch is not among it: some of its modules cannot be had from the proxy. The proof prints what would go there.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    cache,
    process::{Failure, Result, about, run_aside, which},
};

const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.159.0";

/// What the builder is told. Not every module has each version in Go's checksum database: these have, and fit each other.
const MANIFEST: &str = include_str!("collector.yaml");

/// Counts up with the manifest: another one is another program.
const EDITION: u32 = 1;

/// Where the program is; builds it where it is not there, which takes a quarter of an hour, once.
pub(super) fn program() -> Result<PathBuf> {
    let (home, _lock) = cache::folder(&format!("otelcol-0.159.0-{EDITION}"))?;
    let program = home.join("otelcol-amends");
    if program.is_file() {
        return Ok(program);
    }
    if which("go").is_none() {
        return Err(Failure::message("Go is missing (https://go.dev/dl), which builds the OpenTelemetry Collector"));
    }
    fs::create_dir_all(&home).map_err(about(home.display()))?;
    let manifest = home.join("builder.yaml");
    fs::write(&manifest, MANIFEST).map_err(about(manifest.display()))?;
    eprintln!("building the OpenTelemetry Collector into {}: a quarter of an hour, once", home.display());
    // One package at a time: two or three of its compilers at once take all of a small machine's memory.
    let go = |command: &mut Command| run_aside(command.current_dir(&home).env("GOFLAGS", "-p=1 -buildvcs=false"));
    go(Command::new("go").args(["install", BUILDER]).env("GOBIN", &home))?;
    let arguments = ["--config", "builder.yaml", "--skip-strict-versioning", "--skip-compilation"];
    go(Command::new(home.join("builder")).args(arguments))?;
    // The last step, so that what has the name is whole.
    let half = home.join("half-built");
    let source = home.join("out");
    let mut build = Command::new("go");
    build.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&half).arg(".");
    run_aside(build.current_dir(&source).env("GOFLAGS", "-p=1 -buildvcs=false"))?;
    fs::rename(&half, &program).map_err(about(program.display()))?;
    Ok(program)
}
