//! What a backup says of itself: written last, so that a folder without it is no backup.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use service_base::files::{self, Access};

use super::copy;
use crate::{data_dir::SECRETS_FILE, stores::Name};

/// Its file's name.
const FILE: &str = "manifest.json";
/// Of this shape. Counted up when an older program could not restore what a newer one wrote: from 2 on the simulated acquirer has a file.
const FORMAT: u32 = 2;

/// The manifest of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the manifest and the files.
    pub format: u32,
    /// The version of the program that took it.
    pub amends: String,
    /// The version of SQLite that wrote the files.
    pub sqlite: String,
    /// When, RFC 3339: the moment that all stores show.
    pub taken_at: String,
    /// The newest migration of each component, by store.
    pub schemas: BTreeMap<String, BTreeMap<String, i64>>,
    /// Every file, by its name.
    pub files: BTreeMap<String, Entry>,
    /// Discrepancies that the audit of the copy found.
    pub discrepancies: u64,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its length.
    pub bytes: u64,
    /// Of its content, in hexadecimal.
    pub sha256: String,
}

/// What every format says first.
#[derive(Deserialize)]
struct Shape {
    format: u32,
}

impl Manifest {
    /// With what is known before the files are final.
    pub(super) fn new(taken_at: String) -> Self {
        Self {
            format: FORMAT,
            amends: env!("CARGO_PKG_VERSION").to_owned(),
            sqlite: rusqlite::version().to_owned(),
            taken_at,
            schemas: BTreeMap::new(),
            files: BTreeMap::new(),
            discrepancies: 0,
        }
    }

    /// Adds the files of `folder` as they are now.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn describe(&mut self, folder: &Path, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            let (bytes, sha256) = copy::digest(&folder.join(name))?;
            self.files.insert((*name).to_owned(), Entry { bytes, sha256 });
        }
        Ok(())
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        files::write_whole(
            &folder.join(FILE),
            format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes(),
            Access::Shared,
        )
    }

    /// Reads it.
    ///
    /// # Errors
    /// When there is none, or it is of a newer format, or names files that are none of ours.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "{} is no backup: it has no {FILE}. Copies of the stores' files are none either: what was committed last is not in them",
                folder.display()
            ),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let damaged = || format!("{} is damaged", file.display());
        let Shape { format } = serde_json::from_str(&text).with_context(damaged)?;
        ensure!(
            format <= FORMAT,
            "{}: format {format} is newer than this program, which knows {FORMAT}",
            file.display()
        );
        let manifest: Self = serde_json::from_str(&text).with_context(damaged)?;
        let known = |name: &str| name == SECRETS_FILE || Name::ALL.iter().any(|store| store.file_name() == name);
        if let Some(other) = manifest.files.keys().find(|name| !known(name)) {
            bail!("{}: {other:?} is no file of a backup", file.display());
        }
        // An acquirer that is another party has no file here.
        for store in Name::ALL.into_iter().filter(|store| *store != Name::Acquirer) {
            ensure!(
                manifest.files.contains_key(store.file_name()),
                "{}: {} is missing",
                file.display(),
                store.file_name()
            );
        }
        Ok(manifest)
    }

    /// Compares each file of `folder` with what is said of it.
    ///
    /// # Errors
    /// With the first file that is another.
    pub fn verify(&self, folder: &Path) -> anyhow::Result<()> {
        for (name, said) in &self.files {
            let file = folder.join(name);
            let (bytes, sha256) = copy::digest(&file)?;
            ensure!(
                bytes == said.bytes && sha256 == said.sha256,
                "{} is not what was backed up: it has {bytes} bytes with SHA-256 {sha256}, and had {} with {}",
                file.display(),
                said.bytes,
                said.sha256
            );
        }
        Ok(())
    }

    /// Where a file of the backup in `folder` is, if it has that file.
    pub fn file(&self, folder: &Path, name: &str) -> Option<PathBuf> {
        self.files.contains_key(name).then(|| folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> (tempfile::TempDir, Manifest) {
        let dir = tempfile::tempdir().unwrap();
        let names = Name::ALL.map(Name::file_name);
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let mut manifest = Manifest::new("2026-11-28T00:00:00Z".to_owned());
        manifest.describe(dir.path(), &names).unwrap();
        manifest.write(dir.path()).unwrap();
        (dir, manifest)
    }

    fn refusal(dir: &Path) -> String {
        let checked = Manifest::read(dir).and_then(|manifest| manifest.verify(dir));
        checked.map_or_else(|error| format!("{error:#}"), |()| String::new())
    }

    #[test]
    fn a_manifest_reads_as_it_was_written() {
        let (dir, manifest) = backup();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
        assert_eq!(refusal(dir.path()), "");
    }

    #[test]
    fn a_folder_without_a_manifest_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("order.db"), "x").unwrap();
        assert!(refusal(dir.path()).contains("is no backup"));
    }

    #[test]
    fn a_changed_or_missing_file_is_named() {
        let (dir, _) = backup();
        fs::write(dir.path().join("order.db"), "order.dB").unwrap();
        assert!(refusal(dir.path()).contains("order.db is not what was backed up"));
        fs::remove_file(dir.path().join("order.db")).unwrap();
        assert!(refusal(dir.path()).contains("order.db"));
    }

    #[test]
    fn a_manifest_names_no_file_outside_its_folder() {
        let (dir, mut manifest) = backup();
        manifest.files.insert("../evil".to_owned(), Entry { bytes: 0, sha256: String::new() });
        manifest.write(dir.path()).unwrap();
        assert!(refusal(dir.path()).contains("is no file of a backup"));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let (dir, mut manifest) = backup();
        manifest.format = FORMAT + 1;
        manifest.write(dir.path()).unwrap();
        assert!(refusal(dir.path()).contains("newer than this program"));
    }
}
