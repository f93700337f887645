//! What is revoked, tokens and sessions, as far as this process knows. In one process this is all there is to ask; between processes Redis is asked.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::RwLock;

use amends_primitives::Timestamp;
use service_kit::auth::{Revocable, Revocations, RevocationsUnavailable};

use crate::ports::Revocation;

/// Names that are revoked, until no token that they are about can be accepted. Clones share them. A session is one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownRevocations(Arc<RwLock<HashMap<String, Timestamp>>>);

impl KnownRevocations {
    /// These are revoked.
    pub(crate) fn add(&self, revoked: &[Revocation]) {
        if !revoked.is_empty() {
            self.0.write().extend(revoked.iter().map(|revoked| (revoked.name.clone(), revoked.expires_at)));
        }
    }

    /// Forgets those that have expired.
    pub(crate) fn forget(&self, now: Timestamp) {
        self.0.write().retain(|_, expires_at| *expires_at > now);
    }

    /// Whether this token or its session is revoked.
    pub(crate) fn contains(&self, token: Revocable<'_>) -> bool {
        let known = self.0.read();
        token.names().any(|name| known.contains_key(name.as_ref()))
    }
}

#[async_trait]
impl Revocations for KnownRevocations {
    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, RevocationsUnavailable> {
        Ok(self.contains(token))
    }
}
