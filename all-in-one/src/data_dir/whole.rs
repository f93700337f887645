//! Whether the stores of a data directory are all there and whole, before a server or a tool takes them for the shop's books.

use std::path::Path;

use amends_sql::claim::{find_torn, with_suffix};
use anyhow::{Context as _, bail, ensure};

use super::Instance;

/// There while `amends restore` moves files into place.
pub const UNFINISHED_FILE: &str = "restore-unfinished";

/// Fails if a store of the directory is missing, empty, or lacks its `-wal`. For a server with the directory's lock, and for tools; before
/// this process opens any of the files.
///
/// # Errors
/// With the first store that is not whole, and what to do about it.
pub async fn check_whole(data_dir: &Path, stores: &[&Path]) -> anyhow::Result<()> {
    ensure!(
        !data_dir.join(UNFINISHED_FILE).exists(),
        "a restore into {} was cut off: run `amends restore --replace` again",
        data_dir.display()
    );
    for file in stores {
        let found = find_torn(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        if let Some(torn) = found {
            bail!(torn);
        }
    }
    // One that the configuration has put elsewhere since is not missed here.
    let recorded = Instance::read(data_dir)?.stores.into_iter().map(|name| data_dir.join(name));
    for file in recorded.filter(|file| stores.contains(&file.as_path())) {
        let there = file.exists();
        let what = if there { "is empty" } else { "is missing" };
        ensure!(
            there && !holds_nothing(&file),
            "{} {what}, and was not when the shop was last open: restore a backup (`amends restore`), or, to begin this store anew, \
             remove its name from {}",
            file.display(),
            Instance::file(data_dir).display()
        );
    }
    Ok(())
}

/// Whether a file has no table, not in its `-wal` either. One that SQLite cannot read is another matter, told where it is opened.
fn holds_nothing(file: &Path) -> bool {
    // A file that was copied right after it was made has one page, and everything else in its -wal.
    const ONE_PAGE_MAX: u64 = 65_536;
    let length = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    length(file) <= ONE_PAGE_MAX && length(&with_suffix(file, "-wal")) == 0 && tables(file) == Some(0)
}

fn tables(file: &Path) -> Option<i64> {
    if std::fs::metadata(file).ok()?.len() == 0 {
        return Some(0);
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(file, flags).ok()?;
    connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0)).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn directory() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["a.db", "b.db"].map(|name| dir.path().join(name)).into();
        for file in &files {
            rusqlite::Connection::open(file).unwrap().execute_batch("CREATE TABLE t (id INTEGER)").unwrap();
        }
        Instance::record(dir.path(), files.iter().map(PathBuf::as_path)).unwrap();
        (dir, files)
    }

    async fn complaint(dir: &Path, files: &[PathBuf]) -> String {
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let checked = check_whole(dir, &files).await;
        checked.map_or_else(|error| format!("{error:#}"), |()| String::new())
    }

    #[tokio::test]
    async fn a_directory_with_all_its_stores_is_whole() {
        let (dir, files) = directory();
        assert_eq!(complaint(dir.path(), &files).await, "");
    }

    #[test]
    fn half_written_files_of_a_killed_holder_are_removed() {
        let (dir, _files) = directory();
        let drafts = [crate::data_dir::SECRETS_FILE, "instance.toml", UNFINISHED_FILE]
            .map(|name| dir.path().join(format!(".{name}.draft-1")));
        for draft in &drafts {
            std::fs::write(draft, "demo_pass").unwrap();
        }
        let _lock = crate::data_dir::take(dir.path()).unwrap();
        assert_eq!(drafts.map(|draft| draft.exists()), [false; 3]);
    }

    #[tokio::test]
    async fn a_missing_store_is_named() {
        let (dir, files) = directory();
        std::fs::remove_file(&files[1]).unwrap();
        assert!(complaint(dir.path(), &files).await.contains("b.db is missing"));
        // Configured to be elsewhere, it is not missed.
        assert_eq!(complaint(dir.path(), &files[..1]).await, "");
    }

    #[tokio::test]
    async fn an_emptied_store_is_named() {
        let (dir, files) = directory();
        std::fs::write(&files[0], "").unwrap();
        assert!(complaint(dir.path(), &files).await.contains("a.db is empty"));
        std::fs::remove_file(&files[0]).unwrap();
        // As a copy without its -wal is, taken before the first checkpoint.
        let connection = rusqlite::Connection::open(&files[0]).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        drop(connection);
        assert_eq!(std::fs::metadata(&files[0]).unwrap().len(), 4096);
        assert!(complaint(dir.path(), &files).await.contains("a.db is empty"));
    }

    #[tokio::test]
    async fn an_unfinished_restore_is_told() {
        let (dir, files) = directory();
        std::fs::write(dir.path().join(UNFINISHED_FILE), "").unwrap();
        assert!(complaint(dir.path(), &files).await.contains("was cut off"));
    }

    #[tokio::test]
    async fn a_first_start_that_was_cut_off_may_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = [dir.path().join("a.db"), dir.path().join("b.db")];
        std::fs::write(&files[0], "").unwrap();
        assert_eq!(complaint(dir.path(), &files).await, "");
    }
}
