//! The old books in MongoDB: a collection of their own.

use acquirer::store::FormerLine;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use mongodb::bson::{self, doc};
use serde::Deserialize;

use super::{MongoStore, SIMULATED_PROCESSOR};
use crate::store::{StoreError, former::FormerLedger};

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    idempotency_key: String,
    version: i64,
    entry: String,
}

#[async_trait]
impl FormerLedger for MongoStore {
    async fn former_lines(&self, after: &str, limit: u32) -> Result<Vec<FormerLine>, StoreError> {
        let lines = self.database.collection::<Line>(SIMULATED_PROCESSOR);
        let found: Vec<Line> = self
            .bounded(async {
                let cursor = lines.find(doc! { "_id": { "$gt": after } }).sort(doc! { "_id": 1 });
                cursor.limit(i64::from(limit)).max_time(self.bound).await?.try_collect().await
            })
            .await?;
        let former = |line: Line| FormerLine { key: line.idempotency_key, version: line.version, line: line.entry };
        Ok(found.into_iter().map(former).collect())
    }

    async fn forget_former(&self) -> Result<(), StoreError> {
        let lines = self.database.collection::<bson::Document>(SIMULATED_PROCESSOR);
        Ok(self.bounded(lines.drop().into_future()).await?)
    }
}
