//! Whether the file systems of the stores have room.

use std::path::{Path, PathBuf};

use super::{Inspection, Report};

const CHECK: &str = "space";
/// Below this a store stops taking orders within minutes under load: a `-wal` and a checkpoint of it need some ten megabytes each.
const WRONG_BELOW: u64 = 64 << 20;
/// A day of a small shop.
const NOTICE_BELOW: u64 = 1 << 30;

pub(super) fn check(inspection: &Inspection, report: &mut Report) {
    let mut folders: Vec<PathBuf> = inspection
        .locations
        .iter()
        .filter_map(|location| Some(location.file.as_ref()?.parent()?.to_path_buf()))
        .collect();
    folders.extend(inspection.data_dir.clone());
    folders.sort();
    folders.dedup();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        match rustix::fs::statvfs(&folder) {
            Ok(found) => judge(&folder, found.f_bavail.saturating_mul(found.f_frsize), found.f_favail, report),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => {
                report.wrong(CHECK, format!("{}: {error}", folder.display()), "let this user read the folder");
            }
        }
    }
}

fn judge(folder: &Path, free_bytes: u64, free_files: u64, report: &mut Report) {
    let (shown, mib) = (folder.display(), free_bytes >> 20);
    let remedy =
        format!("make room: df -h {shown}; a store that cannot write answers 503 and goes on by itself once it can");
    if free_bytes < WRONG_BELOW {
        report.wrong(CHECK, format!("{shown} has {mib} MiB left"), remedy);
    } else if free_files < 16 {
        // Some file systems have no such limit, and tell it as zero together with a total of zero; none of those is used for stores.
        report.wrong(
            CHECK,
            format!("{shown} has room for {free_files} more files"),
            format!("remove files: df -i {shown}"),
        );
    } else if free_bytes < NOTICE_BELOW {
        report.notice(CHECK, format!("{shown} has {mib} MiB left"), remedy);
    } else {
        report.passed(CHECK, format!("{shown} has {mib} MiB left"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_wrong_and_some_is_noticed() {
        let complaint = |bytes, files| {
            let mut report = Report::default();
            judge(Path::new("data"), bytes, files, &mut report);
            report.complaints().join("")
        };
        assert!(complaint(10 << 20, 1000).starts_with("wrong: data has 10 MiB left → make room"));
        assert!(complaint(10 << 30, 0).starts_with("wrong: data has room for 0 more files"));
        assert!(complaint(512 << 20, 1000).starts_with("notice"));
        assert_eq!(complaint(10 << 30, 1000), "");
    }
}
