//! Whether the process may open as many files as a server needs.

use rustix::process::{Resource, getrlimit};

use super::Report;

const CHECK: &str = "limits";
/// Connections of customers, and of services among themselves, and the stores' files.
const FILES_WANTED: u64 = 4096;
/// Without customers: stores, listeners and the connections among the services.
const FILES_NEEDED: u64 = 256;

pub(super) fn check(report: &mut Report) {
    let files = getrlimit(Resource::Nofile);
    // None is without limit.
    judge(files.current.unwrap_or(u64::MAX), files.maximum.unwrap_or(u64::MAX), report);
}

fn judge(soft: u64, hard: u64, report: &mut Report) {
    let remedy = format!("ulimit -n {FILES_WANTED} before the start, or LimitNOFILE={FILES_WANTED} in the unit");
    let what = format!("{soft} open files, at most {hard}");
    match soft.max(hard) {
        most if most < FILES_NEEDED => report.wrong(CHECK, what, remedy),
        most if most < FILES_WANTED => report.notice(CHECK, what, remedy),
        _ if soft < FILES_WANTED => {
            report.notice(
                CHECK,
                what,
                format!("ulimit -n {} before the start, where the server does not raise it itself", hard.min(65_536)),
            );
        }
        _ => report.passed(CHECK, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_told() {
        let level = |soft, hard| {
            let mut report = Report::default();
            judge(soft, hard, &mut report);
            report.complaints().first().map(|said| said.split(':').next().unwrap_or_default().to_owned())
        };
        assert_eq!(level(64, 64).as_deref(), Some("wrong"));
        assert_eq!(level(1024, 1024).as_deref(), Some("notice"));
        assert_eq!(level(1024, 1_048_576).as_deref(), Some("notice"));
        assert_eq!(level(65_536, 65_536), None);
    }
}
