//! Files written whole: a reader, and the start after a crash, find the old content, the new, or no file, never a part of one.
//!
//! Must not know: what is in a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone: mode 0600 from the first byte on.
    Owner,
    /// Readable as the process's umask permits: addresses, reports.
    Shared,
}

/// Writes `content` to `file`: into a draft beside it, which is synced and then takes the file's name. An existing file is replaced.
/// When this returns, content and name survive a power cut. Of two writers at once, the later wins.
///
/// # Errors
/// When the folder cannot be written to, or has no space left; then the file is as it was, and no draft is left.
pub fn write_whole(file: &Path, content: &[u8], access: Access) -> anyhow::Result<()> {
    let draft = draft_of(file);
    let written = write_draft(&draft, content, access).and_then(|()| fs::rename(&draft, file));
    if let Err(error) = written {
        // There may be none; whether or not it goes, the first error is the one to tell.
        let _ = fs::remove_file(&draft);
        return Err(error).with_context(|| format!("cannot write {}", file.display()));
    }
    sync_folder_of(file)
}

/// Makes what was created, renamed or removed in the folder of `file` survive a power cut.
///
/// # Errors
/// When the folder cannot be synced.
pub fn sync_folder_of(file: &Path) -> anyhow::Result<()> {
    sync_folder(folder_of(file))
}

/// The folder of a file, also of one that is named without.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes what was created, renamed or removed in `folder` survive a power cut.
///
/// # Errors
/// When the folder cannot be synced.
pub fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    // Elsewhere a folder cannot be opened as a file, and a rename is durable by itself.
    if cfg!(unix) {
        File::open(folder)
            .and_then(|opened| opened.sync_all())
            .with_context(|| format!("cannot sync the folder {}", folder.display()))?;
    }
    Ok(())
}

/// Removes the drafts of `file` that processes left which were killed while they wrote. Only for the one process that may write it.
///
/// # Errors
/// When the folder cannot be read, or a draft not removed.
pub fn remove_drafts(file: &Path) -> anyhow::Result<()> {
    let (folder, Some(name)) = (folder_of(file), file.file_name()) else { return Ok(()) };
    let prefix = draft_prefix(&name.to_string_lossy());
    let in_folder = || format!("cannot clear {} of unfinished files", folder.display());
    for entry in fs::read_dir(folder).with_context(in_folder)? {
        let entry = entry.with_context(in_folder)?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_file(entry.path()).with_context(in_folder)?;
        }
    }
    Ok(())
}

fn draft_prefix(name: &str) -> String {
    format!(".{name}.draft-")
}

/// In the same folder, since a rename does not cross file systems; named after the process, since two may write one file.
fn draft_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{}{}", draft_prefix(&name), std::process::id()))
}

fn write_draft(draft: &Path, content: &[u8], access: Access) -> io::Result<()> {
    // Of an earlier process with this id, as in a container, where every process has the same.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut opened = options.open(draft)?;
    opened.write_all(content)?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_is_whole_and_has_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        write_whole(&file, b"one", Access::Owner).unwrap();
        write_whole(&file, b"two", Access::Owner).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["secret"]);
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        // A folder cannot be replaced by a file, also when root runs the test.
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "kept").unwrap();
        let error = format!("{:#}", write_whole(&taken, b"new", Access::Shared).unwrap_err());
        assert!(error.contains("cannot write") && error.contains("taken"), "{error}");
        assert_eq!(names(dir.path()), ["taken"]);
        assert!(taken.join("inside").exists());
    }

    #[test]
    fn drafts_of_killed_writers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets.toml");
        fs::write(dir.path().join(".secrets.toml.draft-1"), "").unwrap();
        fs::write(draft_of(&file), "half").unwrap();
        fs::write(dir.path().join(".other.draft-1"), "").unwrap();
        write_whole(&file, b"whole", Access::Owner).unwrap();
        remove_drafts(&file).unwrap();
        assert_eq!(names(dir.path()), [".other.draft-1", "secrets.toml"]);
        remove_drafts(Path::new("named-without-a-folder")).unwrap();
    }
}
