//! Tokens that were taken back before their time.

use async_trait::async_trait;

use crate::kv::Redis;

/// A revoked token's id follows this in Redis; the key lives as long as the token would have.
pub const REVOKED_KEY_PREFIX: &str = "amends:revoked:";

/// The list of revocations cannot be asked, so nobody may assume that a token is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the list of revocations cannot be asked: {0}")]
pub struct RevocationsUnavailable(pub String);

/// Knows which tokens were taken back. Asked at every use of a token, cached signature or not.
#[async_trait]
pub trait Revocations: Send + Sync + 'static {
    /// Whether the token of this id was taken back.
    async fn is_revoked(&self, jti: &str) -> Result<bool, RevocationsUnavailable>;
}

/// Nothing is ever taken back: for services whose callers' tokens are checked before them, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRevocations;

#[async_trait]
impl Revocations for NoRevocations {
    async fn is_revoked(&self, _: &str) -> Result<bool, RevocationsUnavailable> {
        Ok(false)
    }
}

/// Revocations that the issuer writes to Redis.
#[derive(Debug, Clone)]
pub struct RedisRevocations(Redis);

impl RedisRevocations {
    /// Reads from there.
    pub fn new(redis: Redis) -> Self {
        Self(redis)
    }
}

#[async_trait]
impl Revocations for RedisRevocations {
    async fn is_revoked(&self, jti: &str) -> Result<bool, RevocationsUnavailable> {
        let key = format!("{REVOKED_KEY_PREFIX}{jti}");
        self.0.exists(&key).await.map_err(|error| RevocationsUnavailable(error.to_string()))
    }
}
