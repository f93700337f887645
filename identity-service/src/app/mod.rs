//! The use cases, one verb a file, on the ports.
//!
//! Must not know: SQL, Redis, HTTP.

pub(crate) mod authenticate;
pub(crate) mod bootstrap;
pub(crate) mod client_credentials;
pub(crate) mod exchange;
pub(crate) mod introspect;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod maintain;
pub(crate) mod refresh;
pub(crate) mod revocations;
pub(crate) mod revoke;
pub(crate) mod tokens;

use std::sync::Arc;

use amends_primitives::{Clock, IdSource, Moment, SteadyTime, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    crypto::{
        keyring::Keyring,
        password::{PasswordError, Passwords},
    },
    domain::{refresh::RefreshPolicy, throttle::ThrottlePolicy},
    metrics::Metrics,
    ports::{ShareError, Sharing, Store, StoreError},
};

use {
    keys::Keys,
    revocations::{KnownRevocations, Singles},
};

/// What every use case works with.
pub(crate) struct Core {
    /// Users, clients, keys, sessions.
    pub store: Arc<dyn Store>,
    /// Where other processes look for revocations, if there is such a place.
    pub sharing: Option<Arc<dyn Sharing>>,
    /// Revocations this process knows of.
    pub known: KnownRevocations,
    /// How much of that is whose.
    pub singles: Singles,
    /// Woken when a revocation is stored and could not be shared.
    pub unshared: Notify,
    /// The time by which things are deleted.
    pub steady: Mutex<SteadyTime>,
    /// When all of them were shared last, by both clocks.
    pub shared_at: Mutex<Option<(Moment, Timestamp)>>,
    /// Signing keys.
    pub keys: Keys,
    /// Key encryption keys.
    pub keyring: Arc<Keyring>,
    /// Password hashing.
    pub passwords: Passwords,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn IdSource>,
    /// What is counted.
    pub metrics: Metrics,
    /// The rest of the configuration.
    pub settings: Settings,
}

/// What use cases need of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Life of an access token.
    pub access_life: std::time::Duration,
    /// Lives of sessions.
    pub refresh: RefreshPolicy,
    /// Waits after wrong passwords.
    pub throttle: ThrottlePolicy,
    /// The public client log-ins act for.
    pub login_client_id: String,
    /// Whether the password grant is answered.
    pub password_grant: bool,
}

impl Core {
    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Why a use case could not answer: none of it is the caller's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place where revocations are shared.
    #[error(transparent)]
    Sharing(#[from] ShareError),
    /// Password hashing.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Signing keys.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
}

/// Why there is no token, as RFC 6749 section 5.2 and RFC 8693 section 2.2.2 name it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The request is malformed.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The client is not who it says, or says nothing.
    #[error("the client could not be authenticated")]
    InvalidClient,
    /// The credentials or the refresh token are no good.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// This client may not use this grant.
    #[error("this client may not do that")]
    UnauthorizedClient,
    /// No client may use this grant.
    #[error("this grant type is not supported")]
    UnsupportedGrantType,
    /// More was asked than may be given.
    #[error("the requested scope is malformed or exceeds what may be granted")]
    InvalidScope,
    /// A token for another platform was requested.
    #[error("tokens are issued for this platform only")]
    InvalidTarget,
    /// Too many wrong passwords.
    #[error("too many wrong passwords")]
    Throttled(std::time::Duration),
    /// Too many tokens revoked one by one.
    #[error("too many access tokens of this subject were revoked one by one; end their session instead")]
    TooManyRevocations(std::time::Duration),
    /// None of the caller's business.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<keys::KeysError> for TokenError {
    fn from(error: keys::KeysError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<PasswordError> for TokenError {
    fn from(error: PasswordError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ShareError> for TokenError {
    fn from(error: ShareError) -> Self {
        Self::Failed(error.into())
    }
}
