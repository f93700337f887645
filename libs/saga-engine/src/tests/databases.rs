//! A fresh database for each test: SQLite always, PostgreSQL where there is one.

use std::sync::atomic::{AtomicU32, Ordering};

use amends_sql::{Database, Options};

/// A SQLite file that goes with its test.
#[derive(Debug)]
pub(super) struct Sqlite {
    pub(super) database: Database,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("test.db").display());
        Self { database: Database::connect_lazy(&url, &Options::default()).unwrap(), _dir: dir }
    }
}

/// The server to make databases on, if tests may be run without one.
///
/// # Panics
/// When none is given and the run was not restricted to embedded stores on purpose.
#[expect(clippy::disallowed_methods, reason = "where tests find their servers")]
pub(super) fn postgres() -> Option<String> {
    match std::env::var("AMENDS_TEST_POSTGRES_URL") {
        Ok(url) => Some(url),
        Err(_) if std::env::var("AMENDS_TEST_BACKENDS").as_deref() == Ok("embedded") => {
            eprintln!("SKIPPED postgres: AMENDS_TEST_BACKENDS=embedded");
            None
        }
        Err(error) => panic!("AMENDS_TEST_POSTGRES_URL is not set ({error}): run through `cargo xtask test`"),
    }
}

/// An empty database on the server.
pub(super) async fn fresh_postgres(admin_url: &str, options: &Options) -> Database {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("saga_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = Database::connect_lazy(admin_url, &Options::administration()).unwrap();
    for sql in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(admin.writer()).await.unwrap();
    }
    admin.close().await;
    let (base, query) = admin_url.split_once('?').map_or((admin_url, None), |(base, query)| (base, Some(query)));
    let (server, _) = base.rsplit_once('/').unwrap();
    let url = format!("{server}/{name}{}", query.map(|query| format!("?{query}")).unwrap_or_default());
    Database::connect_lazy(&url, options).unwrap()
}

/// Runs a case on each of the databases there are.
pub(super) async fn on_each<F: AsyncFn(Database)>(case: F) {
    let sqlite = Sqlite::new();
    case(sqlite.database.clone()).await;
    if let Some(url) = postgres() {
        case(fresh_postgres(&url, &Options::default()).await).await;
    }
}
