//! `amends doctor`: what is wrong with the stores, the machine and the configuration, and what to type about it. A check a file.
//!
//! It changes nothing, works beside a server and without one, and every check is bounded in time unless all pages are to be read.
//!
//! Must not know: how a service serves.

mod clock;
mod keys;
mod limits;
mod pages;
mod ports;
mod proxies;
mod reachable;
mod report;
mod server;
mod space;
mod stores;

use std::path::{Path, PathBuf};

use amends_sql::lock::Holder;
use service_base::config::Sources;

pub use report::{Finding, Level, Report};

use crate::{data_dir, embedded, settings::Settings, stores::StoreLocation};

/// What is examined.
pub struct Inspection {
    /// The data directory, unless the configured stores are meant.
    data_dir: Option<PathBuf>,
    sources: Sources,
    settings: Settings,
    locations: Vec<StoreLocation>,
    /// The process that serves the directory.
    server: Option<Holder>,
    /// Whether every page is to be read.
    full: bool,
}

/// Examines everything. Never fails: what cannot be found out is a finding.
pub async fn examine(data_dir: Option<&Path>, sources: Sources, full: bool) -> Report {
    let mut report = Report::default();
    let sources = match data_dir {
        Some(dir) => match embedded::look(&data_dir::secrets_file(dir), dir, sources) {
            Ok(sources) => sources,
            Err(error) => {
                report.wrong("configuration", format!("{error:#}"), "name another directory with --data-dir");
                return report;
            }
        },
        None => sources,
    };
    proxies::check(&sources.env, &mut report);
    limits::check(&mut report);
    let (settings, locations) = match (Settings::load(&sources), crate::stores::locations(&sources)) {
        (Ok(settings), Ok(locations)) => (settings, locations),
        (settings, locations) => {
            let told =
                settings.err().map(|errors| errors.to_string()).or(locations.err().map(|error| format!("{error:#}")));
            report.wrong(
                "configuration",
                told.unwrap_or_default(),
                "correct each key; `amends config` prints all of them",
            );
            return report;
        }
    };
    report.passed("configuration", "every section can be read");
    let server = server::check(data_dir, &mut report);
    let inspection =
        Inspection { data_dir: data_dir.map(Path::to_path_buf), sources, settings, locations, server, full };
    stores::check(&inspection, &mut report).await;
    space::check(&inspection, &mut report);
    clock::check(&inspection, &mut report).await;
    keys::check(&inspection, &mut report).await;
    ports::check(&inspection, &mut report);
    reachable::check(&inspection, &mut report).await;
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_directory_is_told_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("data");
        let report = examine(Some(&missing), Sources::none(), false).await;
        assert!(!report.is_well());
        assert!(report.to_text().contains("amends up --data-dir"), "{}", report.to_text());
        assert!(!missing.exists());
    }

    #[tokio::test]
    async fn mistakes_in_the_configuration_are_told_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources::none().set("gateway.listen", "here");
        let report = examine(Some(dir.path()), sources, false).await;
        assert!(!report.is_well() && report.to_text().contains("gateway.listen"), "{}", report.to_text());
    }
}
