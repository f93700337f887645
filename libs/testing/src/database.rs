//! A database of a test's own: a SQLite file always, one on a PostgreSQL server where there is one.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use amends_sql::{Database, Options};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

/// `sqlite://…` of a file in that folder, which is made when it is missing.
pub fn sqlite_url(dir: &TempDir, file: impl AsRef<Path>) -> String {
    amends_sql::sqlite_url(&dir.path().join(file)).unwrap()
}

/// An empty database. A file goes with it; one on a server is removed by [`TestDatabase::remove`].
#[derive(Debug)]
pub struct TestDatabase {
    /// Where it is.
    pub url: String,
    dir: Option<TempDir>,
    /// The administrator's URL and the name.
    made: Option<(String, String)>,
}

impl TestDatabase {
    /// One that is there already.
    pub const fn at(url: String) -> Self {
        Self { url, dir: None, made: None }
    }

    /// A SQLite file.
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { url: sqlite_url(&dir, "test.db"), dir: Some(dir), made: None }
    }

    /// On the server, if there is one: see [`postgres`](crate::postgres).
    pub async fn postgres() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let admin = crate::postgres()?;
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A process of the same number may have left one behind.
        let statements = [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")];
        administer(&admin, &statements).await;
        let (base, parameters) = admin.split_at(admin.find('?').unwrap_or(admin.len()));
        // `postgres://host`, with or without a database.
        let server: Vec<&str> = base.split('/').take(3).collect();
        let url = format!("{}/{name}{parameters}", server.join("/"));
        Some(Self { url, dir: None, made: Some((admin, name)) })
    }

    /// One of every kind there is.
    pub async fn each() -> Vec<Self> {
        [Self::sqlite()].into_iter().chain(Self::postgres().await).collect()
    }

    /// Opens it with the usual bounds.
    pub fn open(&self) -> Database {
        self.open_with(&Options::default())
    }

    /// Opens it.
    pub fn open_with(&self, options: &Options) -> Database {
        Database::connect_lazy(&self.url, options).unwrap()
    }

    /// Whether it is a file.
    pub const fn is_file(&self) -> bool {
        self.dir.is_some()
    }

    /// Removes it from its server, even if a test still uses it.
    pub async fn remove(self) {
        if let Some((admin, name)) = &self.made {
            administer(admin, &[format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")]).await;
        }
    }
}

async fn administer(url: &str, statements: &[String]) {
    let server = Database::connect_lazy(url, &Options::administration()).unwrap();
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement.clone())).execute(server.writer()).await.unwrap();
    }
    server.close().await;
}
