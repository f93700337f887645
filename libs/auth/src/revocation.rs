//! Tokens that were taken back before their time.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;

use service_base::kv::Redis;

/// What was revoked follows this in Redis: a token's id, or a session by its [`session_name`]. The key lives as long as the last token
/// that it is about could have.
pub const REVOKED_KEY_PREFIX: &str = "amends:revoked:";

/// A session's revocation is named by this and its id. No token's id has a colon, so the two are never taken for each other.
const SESSION_PREFIX: &str = "sid:";

/// Under which name a session is revoked.
pub fn session_name(sid: &str) -> String {
    format!("{SESSION_PREFIX}{sid}")
}

/// What a token may be revoked by: its own id, and that of the session it belongs to. However many tokens a session has, its
/// revocation is one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocable<'a> {
    /// `jti`.
    pub jti: &'a str,
    /// `sid`, if the token belongs to a session.
    pub sid: Option<&'a str>,
}

impl<'a> Revocable<'a> {
    /// A token of no session.
    pub const fn token(jti: &'a str) -> Self {
        Self { jti, sid: None }
    }

    /// The names to look for. Any of them found: the token is revoked.
    pub fn names(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let session = self.sid.map(|sid| Cow::Owned(session_name(sid)));
        std::iter::once(Cow::Borrowed(self.jti)).chain(session)
    }
}

/// The list of revocations cannot be asked, so no verifier may assume that a token is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the list of revocations cannot be asked: {0}")]
pub struct RevocationsUnavailable(pub String);

/// Knows which tokens were taken back. Asked at every use of a token, cached signature or not.
#[async_trait]
pub trait Revocations: Send + Sync + 'static {
    /// Whether the token, or the session it belongs to, was taken back. One question, whatever is revoked.
    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, RevocationsUnavailable>;
}

/// Nothing is ever taken back: for services whose callers' tokens are checked before them, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRevocations;

#[async_trait]
impl Revocations for NoRevocations {
    async fn is_revoked(&self, _: Revocable<'_>) -> Result<bool, RevocationsUnavailable> {
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
    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, RevocationsUnavailable> {
        let keys: Vec<String> = token.names().map(|name| format!("{REVOKED_KEY_PREFIX}{name}")).collect();
        self.0.exists_any(&keys).await.map_err(|error| RevocationsUnavailable(error.to_string()))
    }
}

/// What the issuer writes to that Redis; without one, nothing is ever taken back.
pub fn revocations(redis: Option<Redis>) -> Arc<dyn Revocations> {
    redis
        .map_or_else(|| Arc::new(NoRevocations) as Arc<dyn Revocations>, |redis| Arc::new(RedisRevocations::new(redis)))
}
