//! Revoked tokens this process knows of. In one process this is all there is to ask; between processes Redis is asked.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::RwLock;

use amends_primitives::Timestamp;
use service_kit::auth::{Revocations, RevocationsUnavailable};

use crate::ports::TokenName;

/// Names of revoked tokens that have not expired. Clones share them. Bounded by what was issued within a token's life.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownRevocations(Arc<RwLock<HashMap<String, Timestamp>>>);

impl KnownRevocations {
    /// These are revoked.
    pub(crate) fn add(&self, tokens: &[TokenName]) {
        if !tokens.is_empty() {
            self.0.write().extend(tokens.iter().map(|token| (token.jti.clone(), token.expires_at)));
        }
    }

    /// Forgets those that have expired.
    pub(crate) fn forget(&self, now: Timestamp) {
        self.0.write().retain(|_, expires_at| *expires_at > now);
    }

    /// Whether this token is revoked.
    pub(crate) fn contains(&self, jti: &str) -> bool {
        self.0.read().contains_key(jti)
    }
}

#[async_trait]
impl Revocations for KnownRevocations {
    async fn is_revoked(&self, jti: &str) -> Result<bool, RevocationsUnavailable> {
        Ok(self.contains(jti))
    }
}
