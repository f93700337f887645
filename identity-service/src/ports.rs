//! What the token service needs from the world: a store, and a place where revocations are shared.
//!
//! Must not know: SQL, Redis, transports.

use async_trait::async_trait;
use uuid::Uuid;

use amends_auth::Revocable;
use amends_primitives::Timestamp;

use crate::{
    config::VERIFIER_LEEWAY_MAX,
    crypto::refresh_token::Presented,
    domain::{
        key_schedule::{KeyTimes, NewKey},
        principal::{Client, User},
        refresh::{Family, IssuedAccess, RefreshPolicy, Refusal},
        throttle::Failures,
    },
};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It cannot be asked now: away, not writable, damaged.
    #[error("the identity store cannot be asked")]
    Unavailable(#[source] amends_sql::SqlError),
    /// A mistake in this program, or what is stored is not what it writes.
    #[error("the identity store failed")]
    Failed(#[source] amends_sql::SqlError),
}

impl From<amends_sql::SqlError> for StoreError {
    fn from(error: amends_sql::SqlError) -> Self {
        if error.is_unavailable() { Self::Unavailable(error) } else { Self::Failed(error) }
    }
}

/// What is revoked, by name, and when that stops to matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// An access token's `jti`, or a session's name ([`session_name`](amends_auth::session_name)).
    pub name: String,
    /// No token that it is about is accepted from then on, and nothing about it is kept longer.
    pub expires_at: Timestamp,
}

/// Until when verifiers may accept a token that ends at `exp`, in seconds since 1970: a little longer than it says.
pub(crate) fn accepted_until(exp: i64) -> Timestamp {
    Timestamp::from_millis(exp.saturating_mul(1000)) + VERIFIER_LEEWAY_MAX
}

/// A signing key as stored: its private half is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKey {
    /// The thumbprint.
    pub kid: String,
    /// The public half.
    pub x: String,
    /// The private half, sealed.
    pub sealed_private: String,
    /// Its times.
    pub times: KeyTimes,
}

/// A presented refresh token and what is to happen with it.
#[derive(Debug, Clone)]
pub(crate) struct Rotation<'a> {
    /// Which.
    pub presented: Presented,
    /// By whom.
    pub client_id: &'a str,
    /// The family as it was read a moment ago, if it was: while it is as it was, it need not be read again.
    pub known: Option<&'a Family>,
    /// The access token to issue, unless the generation has one already.
    pub access: &'a IssuedAccess,
    /// Until then a revocation of the session is kept, if this turns out to be one.
    pub revoked_until: Timestamp,
}

/// What is stored of a session and of who asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Its refresh tokens.
    pub family: Family,
    /// Whose it is; none where the user is gone.
    pub user: Option<User>,
    /// The client that was named, which may be another than the session's; none where there is none of that name.
    pub client: Option<Client>,
}

/// What became of a presented refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rotated {
    /// `generation` is the newest now: made just now, or a moment ago for an answer that was lost.
    Current {
        /// To hand out.
        generation: u32,
        /// The generation's access token, to be handed out with it.
        access: IssuedAccess,
        /// Whether a twin made it.
        repeated: bool,
    },
    /// It was an old one, and the session is revoked now.
    Reused(Revocation),
    /// It is no good.
    Refused(Refusal),
    /// The family is gone.
    Unknown,
}

/// Users, clients, keys, refresh families and revocations. Every call is bounded in time; every change is one transaction.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// A user by name.
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError>;
    /// Creates or replaces a user.
    async fn put_user(&self, user: &User, now: Timestamp) -> Result<(), StoreError>;
    /// Replaces a user's hash, unless it has changed from `former` meanwhile.
    async fn rehash_user(&self, username: &str, former: &str, hash: &str) -> Result<(), StoreError>;

    /// A client by id.
    async fn client(&self, client_id: &str) -> Result<Option<Client>, StoreError>;
    /// Creates or replaces a client.
    async fn put_client(&self, client: &Client, now: Timestamp) -> Result<(), StoreError>;

    /// Wrong passwords of a pair of name and address.
    async fn failures(&self, pair: &str) -> Result<Option<Failures>, StoreError>;
    /// Counts one more; those older than `forget_before` no longer count.
    async fn add_failure(&self, pair: &str, now: Timestamp, forget_before: Timestamp) -> Result<(), StoreError>;
    /// Forgets them after a success.
    async fn clear_failures(&self, pair: &str) -> Result<(), StoreError>;

    /// All keys, by sequence.
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError>;
    /// Adds a key and ends its predecessor; `false` when another replica made that sequence number first.
    async fn add_key(&self, key: &StoredKey, plan: &NewKey) -> Result<bool, StoreError>;
    /// Replaces the sealed half of a key, after the key encryption key changed.
    async fn reseal_key(&self, kid: &str, sealed_private: &str) -> Result<(), StoreError>;

    /// Begins a family.
    async fn begin_family(&self, family: &Family) -> Result<(), StoreError>;
    /// A family by id.
    async fn family(&self, family_id: Uuid) -> Result<Option<Family>, StoreError>;
    /// A family by id, with its user, and a client by id.
    async fn session(&self, family_id: Uuid, client_id: &str) -> Result<Option<Session>, StoreError>;
    /// Decides about a presented refresh token and carries the decision out, as one.
    async fn rotate(
        &self,
        rotation: Rotation<'_>,
        policy: &RefreshPolicy,
        now: Timestamp,
    ) -> Result<Rotated, StoreError>;
    /// Revokes a session, until its last token has expired: at `until`, or later if the store knows better. One row, however many
    /// tokens there are. `None` when there is no such session.
    async fn revoke_family(
        &self,
        family_id: Uuid,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Revocation>, StoreError>;
    /// Revokes what other releases left to do, at most `limit` rows of each kind: sessions that they ended, and access tokens of ended
    /// sessions that name none. Returns how many there were.
    async fn catch_up(&self, since: Timestamp, until: Timestamp, now: Timestamp, limit: u32)
    -> Result<u64, StoreError>;

    /// Revokes an access token.
    async fn revoke(&self, token: &Revocation, now: Timestamp) -> Result<(), StoreError>;
    /// Whether an access token or its session is revoked.
    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, StoreError>;
    /// Revocations that still matter, in the order of names, from after `after`, at most `limit`.
    async fn revocations(&self, now: Timestamp, after: Option<&str>, limit: u32)
    -> Result<Vec<Revocation>, StoreError>;
    /// Revocations not yet shared, at most `limit`.
    async fn unshared(&self, now: Timestamp, limit: u32) -> Result<Vec<Revocation>, StoreError>;
    /// Notes that they are shared.
    async fn mark_shared(&self, revoked: &[Revocation]) -> Result<(), StoreError>;

    /// Deletes what no longer matters, at most `limit` rows of each kind; returns how many rows went.
    async fn purge(&self, now: Timestamp, forget_failures_before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// Shared revocations cannot be asked or told.
#[derive(Debug, Clone, thiserror::Error)]
#[error("revocations cannot be shared: {0}")]
pub(crate) struct ShareError(pub String);

/// Where other processes look for what is revoked.
#[async_trait]
pub(crate) trait Sharing: Send + Sync + 'static {
    /// Tells that these are revoked. Telling twice is fine.
    async fn share(&self, revoked: &[Revocation], now: Timestamp) -> Result<(), ShareError>;
    /// Whether what was shared may have been lost since the last [`remember`](Self::remember), as after a restart without its data.
    async fn has_forgotten(&self) -> Result<bool, ShareError>;
    /// Notes that everything is shared.
    async fn remember(&self) -> Result<(), ShareError>;
}
