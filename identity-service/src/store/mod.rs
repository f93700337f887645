//! The identity store on SQLite and PostgreSQL: one SQL text for both. Only this folder knows SQL.

mod families;
mod keys;
mod principals;
mod revocations;
mod schema;
mod sessions;
mod throttle;

use async_trait::async_trait;
use uuid::Uuid;

use amends_auth::Revocable;
use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError};

use crate::{
    domain::{
        key_schedule::NewKey,
        principal::{Client, User},
        refresh::{Family, RefreshPolicy},
        throttle::Failures,
    },
    ports::{Revocation, Rotated, Rotation, Session, Store, StoreError, StoredKey},
};

pub use schema::SCHEMA;

/// The store behind [`Store`].
#[derive(Debug, Clone)]
pub(crate) struct SqlStore {
    database: Database,
}

impl SqlStore {
    /// On a database whose schema is up to date.
    pub(crate) const fn new(database: Database) -> Self {
        Self { database }
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, SqlError>>) -> Result<T, StoreError> {
        Ok(self.database.bounded(call).await?)
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError> {
        self.bounded(principals::user(&self.database, username)).await
    }

    async fn put_user(&self, user: &User, now: Timestamp) -> Result<(), StoreError> {
        self.bounded(principals::put_user(&self.database, user, now)).await
    }

    async fn rehash_user(&self, username: &str, former: &str, hash: &str) -> Result<(), StoreError> {
        self.bounded(principals::rehash_user(&self.database, username, former, hash)).await
    }

    async fn client(&self, client_id: &str) -> Result<Option<Client>, StoreError> {
        self.bounded(principals::client(&self.database, client_id)).await
    }

    async fn put_client(&self, client: &Client, now: Timestamp) -> Result<(), StoreError> {
        self.bounded(principals::put_client(&self.database, client, now)).await
    }

    async fn failures(&self, pair: &str) -> Result<Option<Failures>, StoreError> {
        self.bounded(throttle::failures(&self.database, pair)).await
    }

    async fn add_failure(&self, pair: &str, now: Timestamp, forget_before: Timestamp) -> Result<(), StoreError> {
        self.bounded(throttle::add_failure(&self.database, pair, now, forget_before)).await
    }

    async fn clear_failures(&self, pair: &str) -> Result<(), StoreError> {
        self.bounded(throttle::clear_failures(&self.database, pair)).await
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        self.bounded(keys::all(&self.database)).await
    }

    async fn add_key(&self, key: &StoredKey, plan: &NewKey) -> Result<bool, StoreError> {
        self.bounded(keys::add(&self.database, key, plan)).await
    }

    async fn reseal_key(&self, kid: &str, sealed_private: &str) -> Result<(), StoreError> {
        self.bounded(keys::reseal(&self.database, kid, sealed_private)).await
    }

    async fn begin_family(&self, family: &Family) -> Result<(), StoreError> {
        self.bounded(families::begin(&self.database, family)).await
    }

    async fn family(&self, family_id: Uuid) -> Result<Option<Family>, StoreError> {
        self.bounded(families::read(&self.database, family_id)).await
    }

    async fn session(&self, family_id: Uuid, client_id: &str) -> Result<Option<Session>, StoreError> {
        self.bounded(sessions::read(&self.database, family_id, client_id)).await
    }

    async fn rotate(
        &self,
        rotation: Rotation<'_>,
        policy: &RefreshPolicy,
        now: Timestamp,
    ) -> Result<Rotated, StoreError> {
        self.bounded(families::rotate(&self.database, rotation, policy, now)).await
    }

    async fn revoke_family(
        &self,
        family_id: Uuid,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Revocation>, StoreError> {
        self.bounded(families::revoke(&self.database, family_id, until, now)).await
    }

    async fn catch_up(
        &self,
        since: Timestamp,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let sessions = self.bounded(revocations::add_sessions(&self.database, since, until, limit)).await?;
        Ok(sessions + self.bounded(revocations::add_tokens(&self.database, now, limit)).await?)
    }

    async fn revoke(&self, token: &Revocation, now: Timestamp) -> Result<(), StoreError> {
        self.bounded(revocations::add(&self.database, token, now)).await
    }

    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, StoreError> {
        self.bounded(revocations::contains(&self.database, token)).await
    }

    async fn revocations(
        &self,
        now: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Revocation>, StoreError> {
        self.bounded(revocations::page(&self.database, now, after, limit)).await
    }

    async fn unshared(&self, now: Timestamp, limit: u32) -> Result<Vec<Revocation>, StoreError> {
        self.bounded(revocations::unshared(&self.database, now, limit)).await
    }

    async fn mark_shared(&self, revoked: &[Revocation]) -> Result<(), StoreError> {
        self.bounded(revocations::mark_shared(&self.database, revoked)).await
    }

    async fn purge(&self, now: Timestamp, forget_failures_before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for (statement, before) in [
            (revocations::PURGE, now),
            (families::PURGE_ACCESS, now),
            (families::PURGE, now),
            (keys::PURGE, now),
            (throttle::PURGE, forget_failures_before),
        ] {
            let delete = sqlx::query(statement).bind(before.as_micros()).bind(i64::from(limit));
            deleted +=
                self.bounded(async { Ok(delete.execute(self.database.writer()).await?.rows_affected()) }).await?;
        }
        Ok(deleted)
    }
}
