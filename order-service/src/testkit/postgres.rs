//! Databases of one's own on the PostgreSQL server that the environment names.

use std::sync::atomic::{AtomicU32, Ordering};

use amends_sql::{Database, Options};
use parking_lot::Mutex;
use sqlx::AssertSqlSafe;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The server.
pub(crate) struct Postgres {
    admin: String,
    server: Database,
    made: Mutex<Vec<String>>,
}

impl Postgres {
    /// The server, unless this run is to do without one; then it says so. A run that merely forgot fails.
    #[expect(clippy::disallowed_methods, reason = "which servers there are is told to tests by the environment")]
    pub(crate) fn from_env() -> Option<Self> {
        let Ok(admin) = std::env::var("AMENDS_TEST_POSTGRES_URL") else {
            assert!(
                std::env::var("AMENDS_TEST_BACKENDS").is_ok_and(|backends| backends == "embedded"),
                "AMENDS_TEST_POSTGRES_URL is not set: run through `cargo xtask test`"
            );
            println!("SKIPPED postgres: AMENDS_TEST_BACKENDS=embedded");
            return None;
        };
        let server = Database::connect_lazy(&admin, &Options::administration()).unwrap();
        Some(Self { admin, server, made: Mutex::default() })
    }

    /// The URL of a new, empty database.
    pub(crate) async fn database(&self) -> String {
        let name = format!("order_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            sqlx::query(AssertSqlSafe(statement)).execute(self.server.writer()).await.unwrap();
        }
        let (server, options) = server_and_options(&self.admin);
        let url = format!("{server}/{name}{options}");
        self.made.lock().push(name);
        url
    }

    /// Removes them all.
    pub(crate) async fn clean_up(self) {
        for name in self.made.into_inner() {
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            sqlx::query(AssertSqlSafe(statement)).execute(self.server.writer()).await.unwrap();
        }
    }
}

/// `postgres://user@host:port` and `?options`, without the database's name.
fn server_and_options(url: &str) -> (String, String) {
    let (url, options) =
        url.split_once('?').map_or((url, String::new()), |(url, options)| (url, format!("?{options}")));
    let scheme = url.find("://").unwrap() + 3;
    let end = url[scheme..].find('/').map_or(url.len(), |slash| scheme + slash);
    (url[..end].to_owned(), options)
}
