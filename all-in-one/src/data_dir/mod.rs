//! A data directory: which process has it, what belongs into it, and whether what is in it is whole.
//!
//! Must not know: what the stores hold.

mod instance;
mod whole;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use amends_sql::{
    claim::lock_sqlite,
    lock::{FileLock, Holder, LockError},
};
use anyhow::Context as _;
use service_base::files;

use crate::stores::StoreLocation;

pub use instance::Instance;
pub use whole::{UNFINISHED_FILE, check_whole};

/// The secrets.
pub const SECRETS_FILE: &str = "secrets.toml";
/// The token service's store, which is of no use without the secrets.
pub const IDENTITY_FILE: &str = "identity.db";
/// Locked by the one server of the directory, and by what must not meet one.
const LOCK_FILE: &str = "lock";

/// Where the secrets of a data directory are.
pub fn secrets_file(data_dir: &Path) -> PathBuf {
    data_dir.join(SECRETS_FILE)
}

/// Makes a directory for data that only its owner can enter, and those above it. When this returns, their names survive a power cut: what
/// is synced in a directory without a name is lost.
///
/// # Errors
/// When it cannot be made, or what it is in cannot be synced.
pub fn make_private(dir: &Path) -> anyhow::Result<()> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    missing.into_iter().try_for_each(files::sync_folder_of)
}

/// Takes a data directory for this process alone, or says at once which one has it. Given back when dropped, and by the kernel
/// when the process dies. What an earlier holder left half written, because it was killed, is removed.
///
/// # Errors
/// When another process has it, or an unfinished file cannot be removed.
pub fn take(data_dir: &Path) -> anyhow::Result<Arc<FileLock>> {
    let lock = FileLock::take(&data_dir.join(LOCK_FILE), data_dir).map_err(|error| match error {
        held @ LockError::Held { .. } => anyhow::Error::new(held).context(
            "a data directory has one server at a time; `audit`, `saga`, `webhook`, `backup` and `doctor` work beside it",
        ),
        failed @ LockError::Failed { .. } => failed.into(),
    })?;
    for file in [secrets_file(data_dir), Instance::file(data_dir), data_dir.join(UNFINISHED_FILE)] {
        files::remove_drafts(&file)?;
    }
    Ok(lock)
}

/// Which process serves a data directory.
///
/// # Errors
/// When that cannot be found out.
pub fn holder(data_dir: &Path) -> Result<Option<Holder>, LockError> {
    FileLock::holder(&data_dir.join(LOCK_FILE))
}

/// Takes every SQLite file that the configuration names: also those outside the directory, and those that a service serves which was
/// started by itself.
///
/// # Errors
/// When another process has one.
pub fn take_files(files: &[&Path]) -> anyhow::Result<Vec<Arc<FileLock>>> {
    let existing =
        files.iter().filter(|file| file.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.exists()));
    existing.map(|file| lock_sqlite(file).map_err(Into::into)).collect()
}

/// The SQLite files among the stores.
pub fn files(locations: &[StoreLocation]) -> Vec<&Path> {
    locations.iter().filter_map(|location| location.file.as_deref()).collect()
}
