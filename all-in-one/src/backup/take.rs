//! `amends backup --to DIR`: under a name of its own until it is whole, checked and on the disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use amends_primitives::{Clock as _, SystemClock};
use amends_sql::lock::FileLock;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use service_base::{config::Sources, files};

use super::{check, manifest::Manifest, snapshot::Snapshot};
use crate::{
    audit::report::Report,
    data_dir::{self, SECRETS_FILE},
    stores::{self, Name, StoreLocation},
};

/// What a backup came to.
pub struct Taken {
    /// Where it is.
    pub to: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// For how long nothing could be committed.
    pub held: Duration,
    /// How long all of it took.
    pub took: Duration,
    /// The audit of the copy.
    pub report: Report,
}

/// Takes a backup of the stores that `sources` name, and of the secrets of `data_dir`, if that is where they are.
///
/// # Errors
/// When a store is no SQLite file, `to` is not empty, or anything cannot be read or written; then `to` is as it was.
pub async fn take(data_dir: Option<&Path>, sources: &Sources, to: &Path) -> anyhow::Result<Taken> {
    let begun = Instant::now();
    let locations = stores::locations(sources)?;
    let files = sqlite_files(&locations)?;
    refuse_occupied(to)?;
    let staging = Staging::begin(to)?;
    let secrets = data_dir.map(data_dir::secrets_file).filter(|file| file.exists());
    let copying = (files.clone(), secrets.clone(), staging.dir.clone());
    let (mut manifest, held) =
        tokio::task::spawn_blocking(move || copy_all(&copying.0, copying.1.as_deref(), &copying.2)).await??;

    let report = check::audit(&staging.dir, sources).await.context("the copy cannot be audited")?;
    manifest.discrepancies = report.findings.len() as u64;
    let dir = staging.dir.clone();
    let manifest = tokio::task::spawn_blocking(move || finish(manifest, &dir, secrets.is_some())).await??;
    staging.publish(to)?;
    Ok(Taken { to: to.to_path_buf(), manifest, held, took: begun.elapsed(), report })
}

/// The stores' files, in the order in which they are locked.
fn sqlite_files(locations: &[StoreLocation]) -> anyhow::Result<Vec<(Name, PathBuf)>> {
    let file = |location: &StoreLocation| {
        let key = location.name.url_key();
        let file = location.file.clone().with_context(|| {
            format!(
                "{key} names a server, which has its own way of being backed up: see docs/operations.md, \
                 \"Stores on servers\""
            )
        })?;
        Ok((location.name, file))
    };
    locations.iter().map(file).collect()
}

fn refuse_occupied(to: &Path) -> anyhow::Result<()> {
    match fs::read_dir(to) {
        Ok(mut entries) => {
            ensure!(entries.next().is_none(), "{} is not empty: a backup goes into a folder of its own", to.display());
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot use {}", to.display())),
    }
}

fn copy_all(files: &[(Name, PathBuf)], secrets: Option<&Path>, to: &Path) -> anyhow::Result<(Manifest, Duration)> {
    let paths: Vec<PathBuf> = files.iter().map(|(_, file)| file.clone()).collect();
    let snapshot = Snapshot::pin(&paths)?;
    let manifest = Manifest::new(SystemClock.now().to_string());
    for (name, file) in files {
        snapshot.copy(file, &to.join(name.file_name()))?;
    }
    if let Some(secrets) = secrets {
        super::copy::private(secrets, &to.join(SECRETS_FILE))?;
    }
    Ok((manifest, snapshot.held))
}

fn finish(mut manifest: Manifest, dir: &Path, with_secrets: bool) -> anyhow::Result<Manifest> {
    let mut names: Vec<&str> = Vec::new();
    for (store, file) in stores::files_in(dir) {
        check::settle(&file)?;
        let connection = rusqlite::Connection::open(&file)?;
        manifest.schemas.insert(store.section().to_owned(), check::schemas(&connection)?);
        drop(connection);
        let synced = fs::File::open(&file).and_then(|opened| opened.sync_all());
        synced.with_context(|| format!("cannot sync {}", file.display()))?;
        names.push(store.file_name());
    }
    names.extend(with_secrets.then_some(SECRETS_FILE));
    manifest.describe(dir, &names)?;
    manifest.write(dir)?;
    Ok(manifest)
}

/// The folder a backup is in until it is one. Removed when dropped.
struct Staging {
    dir: PathBuf,
    lock: Option<Arc<FileLock>>,
}

impl Staging {
    /// Beside `to`, so that it can take its name. What a process left there that was killed is removed.
    fn begin(to: &Path) -> anyhow::Result<Self> {
        let name = to.file_name().with_context(|| format!("{} names no folder", to.display()))?;
        let dir = to.with_file_name(format!(".{}.part", name.to_string_lossy()));
        data_dir::make_private(&dir)?;
        let lock = FileLock::take(&dir.join("lock"), to)?;
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.file_name() != lock.path().file_name() {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(Self { dir, lock: Some(lock) })
    }

    /// Gives it its name.
    fn publish(mut self, to: &Path) -> anyhow::Result<()> {
        if let Some(lock) = self.lock.take() {
            fs::remove_file(lock.path()).with_context(|| format!("cannot remove {}", lock.path().display()))?;
        }
        files::sync_folder(&self.dir)?;
        refuse_occupied(to)?;
        fs::rename(&self.dir, to).with_context(|| format!("cannot name the finished backup {}", to.display()))?;
        files::sync_folder_of(to)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already if it has its name. If it cannot be removed, the next backup to the same place does.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Taken {
    /// Whether the books in it balance.
    pub fn code(&self) -> ExitCode {
        if self.report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let bytes: u64 = self.manifest.files.values().map(|entry| entry.bytes).sum();
        let verdict = if self.report.is_clean() {
            String::new()
        } else {
            "The backup is a true copy of a shop whose books do not balance: settle the above, and take another.\n"
                .to_owned()
        };
        format!(
            "backup: {} as of {}: {} files, {bytes} bytes, in {:.1} s (writers waited {} ms)\n{}{verdict}",
            self.to.display(),
            self.manifest.taken_at,
            self.manifest.files.len(),
            self.took.as_secs_f64(),
            self.held.as_millis(),
            self.report.to_text(),
        )
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({
            "to": self.to, "manifest": self.manifest, "writers_waited_ms": u64::try_from(self.held.as_millis()).unwrap_or(u64::MAX),
            "audit": self.report.to_json(),
        })
    }
}
