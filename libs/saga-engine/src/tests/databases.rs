//! A case on a database of its own, of every kind there is.

use amends_sql::Database;
use amends_testing::TestDatabase;

/// Runs a case on each of the databases there are.
pub(super) async fn on_each<F: AsyncFn(Database)>(case: F) {
    for own in TestDatabase::each().await {
        case(own.open()).await;
        own.remove().await;
    }
}
