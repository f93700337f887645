//! What a machine does to a program without ending it: disks that fill or fail, clocks that are set, limits, proxies, floods.
//!
//! Each fault says whether it can be had here. One that cannot is announced and listed, never passed over in silence.

pub mod clock;
pub mod disk;
pub mod flood;
pub mod meter;
pub mod otlp;
pub mod power;
mod preload;
pub mod processor;
pub mod recorder;
pub mod report;
pub mod shim;

/// A fault, or why this machine cannot have it.
pub type Here<T> = Result<T, String>;

/// Where a program of this machine is, by its name.
pub fn tool(name: &str) -> Option<std::path::PathBuf> {
    let path = crate::setting("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether this test runs as root.
pub fn is_root() -> bool {
    let id = std::process::Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
