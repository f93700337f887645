//! `amends restore --from DIR`: into a directory that no server has, by way of a folder inside it, since the directory itself may be a
//! mount point, which cannot be renamed.
//!
//! | Ends after | Leaves |
//! |---|---|
//! | copying, bringing it up to date, or the audit | what was there, and a folder that the next restore removes |
//! | the mark | the mark: a server refuses the directory until a restore has ended |
//! | moving the old files aside, or the new ones into place | the mark; nothing of the old shop is removed, ever |
//! | removing the mark | the restored shop |

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

use amends_primitives::{Clock as _, SystemClock};
use amends_sql::claim::with_suffix;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use service_base::{
    config::Sources,
    files::{self, Access},
};

use super::{check, copy, manifest::Manifest};
use crate::{
    audit::report::Report,
    data_dir::{self, Instance, SECRETS_FILE, UNFINISHED_FILE},
    embedded,
    stores::{self, Name},
};

/// Where the files are until they are checked.
const STAGING: &str = "restoring";

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// To move a shop that is there aside.
    pub replace: bool,
    /// To restore a backup whose books do not balance.
    pub unbalanced: bool,
}

/// What a restore came to.
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Where the former files are, if there were any.
    pub aside: Option<PathBuf>,
    /// The audit of what was restored.
    pub report: Report,
}

/// Restores the backup in `from` into `data_dir`.
///
/// # Errors
/// When a server has the directory, it holds a shop that may not be replaced, the backup is not what it was, or its books do not balance
/// and need to.
pub async fn restore(from: &Path, data_dir: &Path, sources: &Sources, allowed: Allowed) -> anyhow::Result<Restored> {
    let manifest = Manifest::read(from)?;
    data_dir::make_private(data_dir)?;
    let _lock = data_dir::take(data_dir)?;
    let sources = embedded::look(&manifest.file(from, SECRETS_FILE).unwrap_or_default(), data_dir, sources.clone())?;
    let locations = stores::locations(&sources)?;
    for location in &locations {
        let key = location.name.url_key();
        ensure!(
            location.file.as_deref() == Some(&data_dir.join(location.name.file_name())),
            "{key} puts this store outside {}: restore without that key, and move the file where it belongs",
            data_dir.display()
        );
    }
    let _held = data_dir::take_files(&data_dir::files(&locations))?;
    let there = ours_in(data_dir)?;
    if let (Some(first), false) = (there.first(), allowed.replace) {
        bail!(
            "{} holds a shop already ({}): choose an empty directory, or move that shop aside with --replace",
            data_dir.display(),
            first.display()
        );
    }

    let staging = data_dir.join(STAGING);
    let (source, told) = (from.to_path_buf(), manifest.clone());
    let target = staging.clone();
    tokio::task::spawn_blocking(move || copy_in(&source, &told, &target)).await??;
    // A backup of an earlier version is brought up to date here, where that can be tried again.
    crate::migrate::migrate(&check::of_copies(&staging, &sources)?)
        .await
        .context("what was copied cannot be brought up to date")?;
    let report = check::audit(&staging, &sources).await.context("what was copied cannot be audited")?;
    if !report.is_clean() && !allowed.unbalanced {
        remove_staging(&staging)?;
        bail!(
            "nothing was restored, since the books of this backup do not balance:\n{}To restore it all the same, and settle that \
             afterwards, say --unbalanced",
            report.to_text()
        );
    }
    let (dir, told) = (data_dir.to_path_buf(), manifest.clone());
    let aside = tokio::task::spawn_blocking(move || put_in_place(&dir, &staging, &told, &there)).await??;
    Ok(Restored { manifest, aside, report })
}

/// What of a shop is in the directory. What its user keeps there besides, such as a configuration or a log, is left alone.
pub(crate) fn ours_in(data_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let stores = Name::ALL.into_iter().flat_map(|store| {
        ["", "-wal", "-shm", "-journal"].map(|suffix| with_suffix(&data_dir.join(store.file_name()), suffix))
    });
    let rest = [data_dir::secrets_file(data_dir), Instance::file(data_dir)];
    let mut there = Vec::new();
    for file in stores.chain(rest) {
        match fs::symlink_metadata(&file) {
            Ok(_) => there.push(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot look at {}", file.display())),
        }
    }
    Ok(there)
}

fn copy_in(from: &Path, manifest: &Manifest, staging: &Path) -> anyhow::Result<()> {
    remove_staging(staging)?;
    data_dir::make_private(staging)?;
    for (name, said) in &manifest.files {
        let (bytes, sha256) = copy::private(&from.join(name), &staging.join(name))?;
        if (bytes, &sha256) != (said.bytes, &said.sha256) {
            remove_staging(staging)?;
            // Says which file, and what it should have been.
            manifest.verify(from)?;
            bail!("{} changed while it was read", from.join(name).display());
        }
    }
    for (_, file) in stores::files_in(staging) {
        check::settle(&file)?;
    }
    files::sync_folder(staging)
}

fn remove_staging(staging: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", staging.display()))
        }
        _ => Ok(()),
    }
}

fn put_in_place(
    data_dir: &Path,
    staging: &Path,
    manifest: &Manifest,
    there: &[PathBuf],
) -> anyhow::Result<Option<PathBuf>> {
    // Migration and audit opened the stores in their usual mode.
    let restored: Vec<(Name, PathBuf)> = stores::files_in(staging).collect();
    for (_, file) in &restored {
        check::settle(file)?;
    }
    let mark = data_dir.join(UNFINISHED_FILE);
    files::write_whole(&mark, b"amends restore was cut off; run it again with --replace\n", Access::Shared)?;
    let aside = if there.is_empty() { None } else { Some(move_aside(data_dir, there)?) };
    let stores: Vec<PathBuf> = restored.iter().map(|(store, _)| data_dir.join(store.file_name())).collect();
    for ((_, from), to) in restored.iter().zip(&stores) {
        rename(from, to)?;
    }
    if manifest.file(staging, SECRETS_FILE).is_some() {
        rename(&staging.join(SECRETS_FILE), &data_dir.join(SECRETS_FILE))?;
    }
    Instance::record(data_dir, stores.iter().map(PathBuf::as_path))?;
    files::sync_folder(data_dir)?;
    fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
    remove_staging(staging)?;
    files::sync_folder(data_dir)?;
    Ok(aside)
}

/// Moves files into a folder beside them that is named after the time.
///
/// # Errors
/// When the folder cannot be made, or a file not moved.
pub(crate) fn move_aside(data_dir: &Path, there: &[PathBuf]) -> anyhow::Result<PathBuf> {
    let now: String = SystemClock.now().to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let aside = data_dir.join(format!("replaced-{now}"));
    data_dir::make_private(&aside)?;
    for file in there {
        rename(file, &aside.join(file.file_name().unwrap_or_default()))?;
    }
    files::sync_folder(&aside)?;
    files::sync_folder(data_dir)?;
    Ok(aside)
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

impl Restored {
    /// The shop is there; whether its books balance.
    pub fn code(&self) -> ExitCode {
        if self.report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// For people.
    pub fn to_text(&self, data_dir: &Path) -> String {
        let aside = self.aside.as_ref().map_or_else(String::new, |aside| {
            format!("restore: the former shop is in {}; remove it when it is no longer wanted\n", aside.display())
        });
        format!(
            "restore: {} is the shop as of {}\n{aside}{}",
            data_dir.display(),
            self.manifest.taken_at,
            self.report.to_text()
        )
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        json!({"manifest": self.manifest, "former": self.aside, "audit": self.report.to_json()})
    }
}
