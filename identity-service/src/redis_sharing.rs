//! Revocations in Redis, where the gateway and the services look. Only this file knows Redis.
//!
//! Redis may lose its data; the store does not. So there is a marker beside the revocations: where the marker is missing,
//! the revocations may be missing too, and all are written again. Redis must not evict keys (`maxmemory-policy noeviction`).

use async_trait::async_trait;

use amends_auth::REVOKED_KEY_PREFIX;
use amends_primitives::Timestamp;
use service_base::kv::Redis;

use crate::ports::{Revocation, ShareError, Sharing};

/// There while nothing was lost.
const MARKER: &str = "amends:revocations:complete";

/// Commands in one round trip; some 10 KiB.
const BATCH: usize = 100;

/// The place itself.
#[derive(Debug, Clone)]
pub(crate) struct RedisSharing(Redis);

impl RedisSharing {
    /// In that Redis.
    pub(crate) const fn new(redis: Redis) -> Self {
        Self(redis)
    }
}

fn failed(error: &service_base::kv::Unavailable) -> ShareError {
    ShareError(error.to_string())
}

#[async_trait]
impl Sharing for RedisSharing {
    async fn share(&self, revoked: &[Revocation], now: Timestamp) -> Result<(), ShareError> {
        for batch in revoked.chunks(BATCH) {
            let writes = batch.iter().map(|revoked| async {
                let key = format!("{REVOKED_KEY_PREFIX}{}", revoked.name);
                self.0.set(&key, "1", revoked.expires_at.since(now)).await
            });
            futures::future::try_join_all(writes).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    async fn has_forgotten(&self) -> Result<bool, ShareError> {
        self.0.exists(MARKER).await.map(|there| !there).map_err(|error| failed(&error))
    }

    async fn remember(&self) -> Result<(), ShareError> {
        let mut set = redis::cmd("SET");
        set.arg(MARKER).arg("1");
        self.0.query(&set).await.map_err(|error| failed(&error))
    }
}
