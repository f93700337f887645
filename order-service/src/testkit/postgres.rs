//! Databases of one's own on the PostgreSQL server that the environment names.

use amends_testing::TestDatabase;
use tokio::sync::Mutex;

/// The server.
#[derive(Default)]
pub(crate) struct Postgres(Mutex<Vec<TestDatabase>>);

impl Postgres {
    /// The server, unless this run is to do without one; then it says so. A run that merely forgot fails.
    pub(crate) fn from_env() -> Option<Self> {
        amends_testing::postgres().map(|_| Self::default())
    }

    /// The URL of a new, empty database.
    pub(crate) async fn database(&self) -> String {
        let made = TestDatabase::postgres().await.unwrap();
        let url = made.url.clone();
        self.0.lock().await.push(made);
        url
    }

    /// Removes them all.
    pub(crate) async fn clean_up(self) {
        for made in self.0.into_inner() {
            made.remove().await;
        }
    }
}
