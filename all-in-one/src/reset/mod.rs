//! `amends reset`: takes everything a shop has, for development. Refused in production, and while a server has the stores.
//!
//! The databases on servers are emptied, not dropped: their owner may not be allowed to make them again.

mod servers;

use std::{fs, path::Path};

use amends_telemetry as telemetry;
use anyhow::{Context as _, ensure};
use service_base::{
    config::{SecretUrl, Sources, load_from},
    files,
};

use crate::{
    backup::restore::ours_in,
    data_dir::{self, UNFINISHED_FILE},
    embedded,
    stores::{self, StoreLocation},
};

/// Removes all stores, secrets and records of a data directory. What its user keeps there besides stays.
///
/// # Errors
/// When the shop is in production, a server has it, or a file cannot be removed.
pub fn data_directory(data_dir: &Path, sources: &Sources) -> anyhow::Result<String> {
    refuse_in_production(sources)?;
    ensure!(data_dir.is_dir(), "{} is no directory", data_dir.display());
    let _lock = data_dir::take(data_dir)?;
    // The secrets may be what is wrong with the directory.
    let sources = embedded::look(&data_dir::secrets_file(data_dir), data_dir, sources.clone())?;
    let locations = stores::locations(&sources)?;
    let _held = data_dir::take_files(&data_dir::files(&locations))?;
    let mut there = ours_in(data_dir)?;
    there.extend([data_dir.join(UNFINISHED_FILE)].into_iter().filter(|file| file.exists()));
    for file in &there {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    files::sync_folder(data_dir)?;
    let outside =
        locations.iter().filter(|location| location.file.as_ref().is_none_or(|file| file.parent() != Some(data_dir)));
    let kept: Vec<String> = outside
        .map(|location| format!("reset: the {} store is not in the directory and was left\n", location.name.section()))
        .collect();
    let kept = kept.concat();
    Ok(format!("reset: {} files removed from {}\n{kept}", there.len(), data_dir.display()))
}

/// What a reset of the configured stores would empty, by name, and what is to be typed to confirm it.
pub struct Plan {
    locations: Vec<StoreLocation>,
    sources: Sources,
    /// The stores' names, joined: what has to be typed.
    pub confirmation: String,
}

/// Reads which stores are configured.
///
/// # Errors
/// When the shop is in production, or the configuration has a mistake.
pub fn plan(sources: &Sources) -> anyhow::Result<Plan> {
    refuse_in_production(sources)?;
    let locations = stores::locations(sources)?;
    let names =
        locations.iter().map(|location| servers::name_of(location, sources)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Plan { locations, sources: sources.clone(), confirmation: names.join(",") })
}

impl Plan {
    /// Empties every store.
    ///
    /// # Errors
    /// When `typed` is not the confirmation, a file is in use, or a store cannot be reached.
    pub async fn carry_out(self, typed: &str) -> anyhow::Result<String> {
        ensure!(
            typed.trim() == self.confirmation,
            "nothing was deleted: to empty these stores, type {:?}, or say --yes-delete {}",
            self.confirmation,
            self.confirmation
        );
        let _held = data_dir::take_files(&data_dir::files(&self.locations))?;
        let mut done = Vec::new();
        for location in &self.locations {
            let emptied = servers::empty(location, &self.sources).await;
            let what =
                emptied.with_context(|| format!("the {} store could not be emptied", location.name.section()))?;
            done.push(format!("reset: {} store: {what}\n", location.name.section()));
        }
        Ok(done.concat())
    }
}

fn refuse_in_production(sources: &Sources) -> anyhow::Result<()> {
    let telemetry: telemetry::Config = load_from("telemetry", sources)?;
    ensure!(
        !telemetry.environment.eq_ignore_ascii_case("production"),
        "telemetry.environment is {:?}: nothing is deleted there",
        telemetry.environment
    );
    Ok(())
}

pub(crate) fn database_of(url: &SecretUrl) -> Option<String> {
    // What is after the last slash, without parameters: the path of a server's URL has one part.
    let url = url.expose().split(['?', '#']).next()?;
    let (_, rest) = url.split_once("://")?;
    rest.split_once('/').map(|(_, name)| name.to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["order.db", "order.db-wal", "secrets.toml", "amends.toml"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        dir
    }

    #[test]
    fn a_reset_directory_keeps_what_is_not_the_shops() {
        let dir = shop();
        data_directory(dir.path(), &Sources::none()).unwrap();
        for (file, there) in
            [("order.db", false), ("order.db-wal", false), ("secrets.toml", false), ("amends.toml", true)]
        {
            assert_eq!(dir.path().join(file).exists(), there, "{file}");
        }
    }

    #[test]
    fn production_is_never_reset() {
        let dir = shop();
        for name in ["production", "Production"] {
            let sources = Sources::none().set("telemetry.environment", name);
            let error = data_directory(dir.path(), &sources).unwrap_err().to_string();
            assert!(error.contains("telemetry.environment"), "{error}");
            assert!(plan(&sources).is_err());
        }
        assert!(dir.path().join("order.db").exists());
    }

    #[test]
    fn a_directory_in_use_is_not_reset() {
        let dir = shop();
        let other = fs::File::create(dir.path().join("lock")).unwrap();
        other.lock().unwrap();
        let error = format!("{:#}", data_directory(dir.path(), &Sources::none()).unwrap_err());
        assert!(error.contains("is in use by"), "{error}");
        assert!(dir.path().join("order.db").exists());
    }

    #[test]
    fn the_database_of_a_url_is_found() {
        let name = |url: &str| database_of(&url.to_owned().into());
        assert_eq!(name("postgres://u:p@h:5432/orders?sslmode=require").as_deref(), Some("orders"));
        assert_eq!(name("postgres://h"), None);
        assert_eq!(name("postgres://h/"), None);
    }
}
