//! A SQLite file's path as a URL, and back. A path is a path: whatever its bytes, the URL names that file and no other.

use std::{
    fmt::Write as _,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use rusqlite::OpenFlags;
use sqlx::sqlite::SqliteConnectOptions;

use crate::{SqlError, sqlite::Opening};

/// The URL of a SQLite file that is made if it is missing: `sqlite:///data/order.db?mode=rwc`.
///
/// Whatever a URL could take for something else (`?`, `%`, `#`, a space, `..` in the middle, `:memory:`) is escaped.
///
/// # Errors
/// [`SqlError::UnsupportedPath`] when the path is not UTF-8.
pub fn sqlite_url(path: &Path) -> Result<String, SqlError> {
    let text = path.to_str().ok_or_else(|| SqlError::UnsupportedPath(path.to_owned()))?;
    // As a URL with an authority only where none of its parts would be resolved; else as one whose path nothing is made of.
    let plain = path.is_absolute() && !text.split('/').any(|part| matches!(part, "." | ".."));
    let mut url = String::from(if plain { "sqlite://" } else { "sqlite:" });
    let relative_to_here = matches!(path.components().next(), Some(Component::Normal(_)) | None);
    if relative_to_here {
        // Else `:memory:` and `file:x` would be names with a meaning of their own.
        url.push_str("./");
    }
    for byte in text.bytes() {
        match byte {
            b'/' if plain || !url.ends_with(':') => url.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            byte => {
                let _ = write!(url, "%{byte:02X}"); // cannot fail
            }
        }
    }
    url.push_str("?mode=rwc");
    Ok(url)
}

/// The same URL, for a file that is not made if it is missing.
pub(crate) fn existing_only(url: &str) -> String {
    let Some((file, parameters)) = url.split_once('?') else { return url.to_owned() };
    let parameters = parameters.split('&').map(|parameter| if parameter == "mode=rwc" { "mode=rw" } else { parameter });
    format!("{file}?{}", parameters.collect::<Vec<_>>().join("&"))
}

/// The file that a URL names; none for a database in memory.
pub(crate) fn file_of(url: &str) -> Option<PathBuf> {
    let (database, parameters) = url.split_once('?').unwrap_or((url, ""));
    if database.ends_with(":memory:") || parameters.contains("mode=memory") {
        return None;
    }
    SqliteConnectOptions::from_str(url).ok().map(|options| options.get_filename().to_owned())
}

/// How a URL's file is opened. A file that is missing is made only if the URL says so.
pub(crate) fn opening(url: &str, may_create: bool, set_up: String) -> Result<Opening, SqlError> {
    let path = SqliteConnectOptions::from_str(url)?.get_filename().to_owned();
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    let mode = parameters.split('&').find_map(|parameter| parameter.strip_prefix("mode="));
    let flags = match mode {
        Some("ro") => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Some("rwc") if may_create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        _ => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    // A connection is used by one thread at a time.
    Ok(Opening { path, flags: flags | OpenFlags::SQLITE_OPEN_NO_MUTEX, set_up })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Options, Schema};

    /// What `Database` makes of the URL: the path through the URL's parser, as the driver gets it.
    fn opened(url: &str) -> Option<PathBuf> {
        file_of(sqlx::any::AnyConnectOptions::from_str(url).unwrap().database_url.as_str())
    }

    #[test]
    fn a_path_comes_back_from_its_url() {
        for path in [
            "/data/order.db",
            "/what?/order.db",
            "/a%20b/order.db",
            "/shop%2Da/order.db",
            "/a b#c&d=e+f/order.db",
            "/größe/商店/order.db",
            "/x/../y/./order.db",
            "//twice//order.db",
            "/%2e%2e/order.db",
            "/[x]{y}|z^`\"<>\\/order.db",
            "/tab\tline\n /order.db ",
            "order.db",
            "data/order.db",
            "../data/order.db",
            "./order.db",
            "-data/order.db",
            ":data/order.db",
            "C:\\data/order.db",
            ":memory:",
            "file:x?mode=memory",
            "sqlite:x/order.db",
            "what?mode=memory/order.db",
        ] {
            let url = sqlite_url(Path::new(path)).unwrap();
            let here = matches!(Path::new(path).components().next(), Some(Component::Normal(_)));
            let expected = if here { format!("./{path}") } else { path.to_owned() };
            assert_eq!(opened(&url).unwrap().to_str().unwrap(), expected, "{url}");
            assert_eq!(opened(&existing_only(&url)).unwrap().to_str().unwrap(), expected, "{url}");
        }
        assert_eq!(sqlite_url(Path::new("/data/order.db")).unwrap(), "sqlite:///data/order.db?mode=rwc");
        assert_eq!(existing_only("sqlite:///data/order.db?mode=rwc"), "sqlite:///data/order.db?mode=rw");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/shop\xff/order.db"));
        let error = sqlite_url(path).unwrap_err().to_string();
        assert!(error.contains(r"/shop\xFF/order.db") && error.contains("UTF-8"), "{error}");
    }

    #[tokio::test]
    async fn oddly_named_folders_hold_their_own_files() {
        let root = tempfile::tempdir().unwrap();
        let names = ["shop-a", "shop%2Da", "what?", "a%20b", "a b", "#", "größe", ":memory:", "-x", "file:y?mode=ro"];
        for (row, name) in names.iter().enumerate() {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let url = sqlite_url(&folder.join("t.db")).unwrap();
            let database = Database::connect_lazy(&url, &Options::default()).unwrap();
            database.migrate(&Schema { component: "path", migrations: &[] }).await.unwrap();
            sqlx::query("CREATE TABLE t (id BIGINT)").execute(database.writer()).await.unwrap();
            let insert = sqlx::query("INSERT INTO t VALUES ($1)").bind(i64::try_from(row).unwrap());
            insert.execute(database.writer()).await.unwrap();
            database.close().await;
            assert!(folder.join("t.db").is_file(), "{name}");
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), names.len());
        for (row, name) in names.iter().enumerate() {
            let url = sqlite_url(&root.path().join(name).join("t.db")).unwrap();
            let database = Database::connect_lazy(&url, &Options::looking()).unwrap();
            let (found,): (i64,) = sqlx::query_as("SELECT id FROM t").fetch_one(database.reader()).await.unwrap();
            assert_eq!(usize::try_from(found).unwrap(), row, "{name}");
        }
    }
}
