//! A small disk of its own, in memory: it can be filled, freed and made read-only.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::{Here, is_root, tool};

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    at: TempDir,
}

impl Disk {
    /// Of this size in mebibytes. Needs root, and a kernel that lets it mount.
    ///
    /// # Errors
    /// Why it cannot be had here.
    pub fn of_mebibytes(size: u32) -> Here<Self> {
        if !is_root() {
            return Err("mounting a disk needs root".to_owned());
        }
        let mount = tool("mount").ok_or("there is no `mount`")?;
        let at = tempfile::Builder::new().prefix("amends-disk-").tempdir().map_err(|error| error.to_string())?;
        let options = format!("size={size}m,mode=0700");
        let output = Command::new(mount).args(["-t", "tmpfs", "-o", &options, "amends-test"]).arg(at.path()).output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self { at })
        } else {
            Err(format!("mounting is refused: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.at.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the room there is, but for `left` bytes.
    ///
    /// # Errors
    /// When it fails otherwise than for want of room.
    pub fn fill_but(&self, left: u64) -> Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        // Large pieces first, then small ones: a database finds every last page.
        for piece in [1024 * 1024, 4096, 1] {
            let zeros = vec![0; piece];
            loop {
                match ballast.write(&zeros) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if left > 0 {
            let length = ballast.metadata()?.len();
            ballast.set_len(length.saturating_sub(left))?;
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the ballast cannot be removed.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    /// Makes it read-only, or writable again. No process may have a file open for writing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn read_only(&self, is: bool) -> Result<()> {
        let options = if is { "remount,ro" } else { "remount,rw" };
        let output = Command::new("mount").args(["-o", options]).arg(self.path()).output()?;
        ensure!(output.status.success(), "mount -o {options}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a program that is just ending may have files open.
        let _unmounted = Command::new("umount").arg("-l").arg(self.at.path()).status();
    }
}
