//! Copies files so that they are on the disk, and takes their digests.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::Path,
};

use anyhow::Context as _;
use aws_lc_rs::digest::{Context, SHA256};

use super::PIECE_BYTES;

/// The length of a file, and its SHA-256 in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub(super) fn digest(file: &Path) -> anyhow::Result<(u64, String)> {
    pass(file, None)
}

/// Copies a file, readable by its owner alone, and syncs it. Its length and SHA-256 are those of what was read.
///
/// # Errors
/// When `from` cannot be read, or `to` exists or cannot be written.
pub(super) fn private(from: &Path, to: &Path) -> anyhow::Result<(u64, String)> {
    let mut target = create_private(to)?;
    let read = pass(from, Some((&mut target, to)))?;
    target.sync_all().with_context(|| format!("cannot write {}", to.display()))?;
    Ok(read)
}

/// Makes a file that only its owner can read.
///
/// # Errors
/// When it exists, or cannot be made.
pub(super) fn create_private(file: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).with_context(|| format!("cannot make {}", file.display()))
}

fn pass(from: &Path, mut to: Option<(&mut File, &Path)>) -> anyhow::Result<(u64, String)> {
    let reading = || format!("cannot read {}", from.display());
    let mut file = File::open(from).with_context(reading)?;
    let (mut hash, mut bytes, mut piece) = (Context::new(&SHA256), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece).with_context(reading)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
        if let Some((target, name)) = &mut to {
            target.write_all(&piece[..read]).with_context(|| format!("cannot write {}", name.display()))?;
        }
    }
    let mut hex = String::with_capacity(64);
    for byte in hash.finish().as_ref() {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
    }
    Ok((bytes, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_private_and_has_the_digest_of_its_source() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned());
        assert_eq!(private(&from, &to).unwrap(), expected);
        assert_eq!(digest(&to).unwrap(), expected);
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&to).unwrap()) & 0o777, 0o600);
        assert!(private(&from, &to).is_err(), "an existing file was overwritten");
    }
}
