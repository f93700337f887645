//! Whether a server has the directory, and whether the directory is whole.

use std::path::Path;

use amends_sql::lock::Holder;

use super::Report;
use crate::data_dir;

const CHECK: &str = "server";

pub(super) fn check(data_dir: Option<&Path>, report: &mut Report) -> Option<Holder> {
    let dir = data_dir?;
    if !dir.is_dir() {
        let what = format!("{} is no directory", dir.display());
        report.wrong(
            CHECK,
            what,
            format!("name another with --data-dir, or begin a shop there: amends up --data-dir {}", dir.display()),
        );
        return None;
    }
    match data_dir::holder(dir) {
        Ok(Some(holder)) => {
            report.passed(CHECK, format!("{} is served by {holder}", dir.display()));
            Some(holder)
        }
        Ok(None) => {
            report.notice(
                CHECK,
                format!("no server has {}", dir.display()),
                format!("amends up --data-dir {}", dir.display()),
            );
            None
        }
        Err(error) => {
            let remedy = "put the data on a file system that locks files, and let only its owner write there";
            report.wrong(CHECK, format!("{:#}", anyhow::Error::new(error)), remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_serves_a_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        assert_eq!(check(Some(dir.path()), &mut report), None);
        assert!(report.complaints()[0].contains("amends up"), "{report:?}");
        let _lock = data_dir::take(dir.path()).unwrap();
        let holder = check(Some(dir.path()), &mut Report::default()).unwrap();
        assert_eq!(holder.process, Some(std::process::id()));
    }
}
