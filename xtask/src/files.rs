//! Files that other processes read while this one writes them: they find all of one, or none.

use std::{fs, path::Path};

use crate::process::{Result, about};

/// Writes a file beside its name, then gives it the name. Not synced: what such files tell of does not outlive the machine.
pub(crate) fn write_whole(file: &Path, content: &str) -> Result {
    let draft = file.with_extension(format!("draft-{}", std::process::id()));
    let written = fs::write(&draft, content).and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        let _gone = fs::remove_file(&draft);
    }
    written.map_err(about(file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_no_draft() {
        let dir = std::env::temp_dir().join(format!("xtask-files-{}", std::process::id()));
        fs::create_dir_all(dir.join("taken/inside")).unwrap();
        write_whole(&dir.join("pid"), "1").unwrap();
        write_whole(&dir.join("pid"), "2").unwrap();
        assert_eq!(fs::read_to_string(dir.join("pid")).unwrap(), "2");
        assert!(write_whole(&dir.join("taken"), "x").is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }
}
