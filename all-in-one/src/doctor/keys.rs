//! Whether the secrets can be read, by their owner alone, and open the signing keys.

use std::path::Path;

use super::{Inspection, Report};
use crate::{data_dir, embedded::secrets::Secrets, stores::Name};

const CHECK: &str = "keys";

pub(super) async fn check(inspection: &Inspection, report: &mut Report) {
    if let Some(dir) = &inspection.data_dir
        && !check_secrets(&data_dir::secrets_file(dir), report)
    {
        return;
    }
    let identity = inspection.locations.iter().find(|location| location.name == Name::Identity);
    if let Some(file) = identity.and_then(|location| location.file.as_ref())
        && (!file.exists() || matches!(amends_sql::claim::find_torn(file).await, Ok(Some(_))))
    {
        return;
    }
    match identity_service::probe_keys(&inspection.settings.identity).await {
        Ok(count) => report.passed(CHECK, format!("{count} signing keys can be read")),
        Err(error) => report.wrong(
            CHECK,
            format!("the signing keys cannot be read: {error:#}"),
            "set identity.key_encryption_key, or secrets.toml, to what the store was written with; after a change of it, keep the old one \
             in identity.former_key_encryption_keys",
        ),
    }
}

/// Whether there are secrets.
fn check_secrets(file: &Path, report: &mut Report) -> bool {
    let shown = file.display();
    match Secrets::read(file) {
        Err(error) => {
            report.wrong(CHECK, format!("{error:#}"), "amends restore --from BACKUP --replace");
            return false;
        }
        Ok(None) => {
            let store = file.with_file_name(data_dir::IDENTITY_FILE);
            if store.metadata().is_ok_and(|metadata| metadata.len() > 0) {
                let what = format!("{shown} is missing or empty, and {} cannot be read without it", store.display());
                report.wrong(CHECK, what, "amends restore --from BACKUP --replace");
            } else {
                report.notice(CHECK, format!("{shown} is not there yet"), "the first start makes it");
            }
            return false;
        }
        Ok(Some(_)) => {}
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = file.metadata().map_or(0, |metadata| metadata.mode() & 0o777);
        if mode & 0o077 != 0 {
            report.wrong(
                CHECK,
                format!("{shown} has mode {mode:o}: others can read the secrets"),
                format!("chmod 600 {shown}"),
            );
            return true;
        }
    }
    report.passed(CHECK, format!("{shown} is its owner's alone"));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(file: &Path) -> String {
        let mut report = Report::default();
        check_secrets(file, &mut report);
        report.complaints().join("")
    }

    #[test]
    fn secrets_that_others_can_read_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = data_dir::secrets_file(dir.path());
        assert!(complaint(&file).starts_with("notice"));
        Secrets::load_or_make(&file, None).unwrap();
        assert_eq!(complaint(&file), "");
        #[cfg(unix)]
        {
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
            assert!(complaint(&file).contains("chmod 600"), "{}", complaint(&file));
        }
    }

    #[test]
    fn lost_secrets_beside_a_store_are_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(data_dir::IDENTITY_FILE), "keys").unwrap();
        assert!(complaint(&data_dir::secrets_file(dir.path())).starts_with("wrong"));
    }
}
