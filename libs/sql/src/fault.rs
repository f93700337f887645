//! What is wrong with a SQLite file, in the file's own terms: which file, what, and what to do.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Why a SQLite file cannot be used as it is.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}; {advice}", path.display())]
pub struct FileFault {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl FileFault {
    pub(crate) fn new(path: &Path, what: impl Into<String>, advice: &'static str) -> Self {
        Self { path: path.to_owned(), what: what.into(), advice }
    }

    pub(crate) fn damaged(path: &Path, found: &str) -> Self {
        let advice = "stop the service and restore the file from a backup; `amends doctor` lists all that is damaged";
        Self::new(path, format!("the file is damaged: {found}"), advice)
    }

    pub(crate) fn not_a_database(path: &Path) -> Self {
        let advice = "move it away if it came here by mistake, or restore the database from a backup";
        Self::new(path, "the file is not a SQLite database", advice)
    }

    pub(crate) fn read_only(path: &Path) -> Self {
        let advice = "let the user this runs as write the file and its folder (chmod, chown), or remount the file system for writing";
        Self::new(path, "the file cannot be written: it, its folder or its file system is read-only", advice)
    }

    /// Of a file that SQLite could not open, and would not say why.
    pub(crate) async fn unopened(path: &Path) -> Self {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        match tokio::fs::metadata(path).await {
            Ok(found) if found.is_dir() => {
                Self::new(path, "this is a folder, where a file should be", "move it away, or name another file")
            }
            Ok(found) if !found.is_file() => {
                Self::new(path, "this is not a regular file", "move it away, or name another file")
            }
            Ok(_) => {
                let advice = "let the user this runs as read and write the file and its folder, and see that files can be opened \
                              (`ulimit -n`)";
                Self::new(path, "the file cannot be opened", advice)
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                match tokio::fs::metadata(folder).await {
                    Ok(found) if found.is_dir() => {
                        let advice = "start the service once, which makes it, or name the folder that has it";
                        Self::new(path, "there is no such file, and it could not be made", advice)
                    }
                    Ok(_) => Self::new(path, format!("{} is not a folder", folder.display()), "name another folder"),
                    Err(_) => {
                        Self::new(path, format!("there is no folder {}", folder.display()), "make it, or name another")
                    }
                }
            }
            Err(error) => Self::new(
                path,
                format!("the file cannot be looked at: {error}"),
                "see to the permissions of its folder",
            ),
        }
    }
}
