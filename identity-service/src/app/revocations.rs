//! What is revoked, tokens and sessions, as far as this process knows. In one process this is all there is to ask; between processes Redis is asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};

use amends_auth::{Revocable, Revocations, RevocationsUnavailable};
use amends_primitives::{Moment, Timestamp};

use crate::{
    config::{ACCESS_LIFE_MAX, VERIFIER_LEEWAY_MAX},
    ports::Revocation,
};

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

/// Access tokens of one subject that can be revoked one by one within [`SINGLES_WINDOW`]: more than any honest client has in its hands.
/// Each is a name that all verifiers keep for as long as the token lives; a session is one name whatever it has, and has no such bound.
const SINGLES_MAX: u32 = 1000;
/// Longer than any of these names is kept.
const SINGLES_WINDOW: Duration = ACCESS_LIFE_MAX.saturating_add(VERIFIER_LEEWAY_MAX);

/// How many access tokens of whom were revoked one by one. Of subjects that have tokens, so there are no more than users and clients.
#[derive(Debug, Default)]
pub(crate) struct Singles(Mutex<HashMap<String, (Moment, u32)>>);

impl Singles {
    /// Counts one more of `sub`, or says how long there is room for none.
    pub(crate) fn add(&self, sub: &str, now: Moment) -> Result<(), Duration> {
        let mut counts = self.0.lock();
        let (began, count) = counts.entry(sub.to_owned()).or_insert((now, 0));
        if now.since(*began) >= SINGLES_WINDOW {
            (*began, *count) = (now, 0);
        }
        if *count >= SINGLES_MAX {
            return Err((*began + SINGLES_WINDOW).since(now));
        }
        *count += 1;
        Ok(())
    }

    /// Forgets whom nothing is held against.
    pub(crate) fn forget(&self, now: Moment) {
        self.0.lock().retain(|_, (began, _)| now.since(*began) < SINGLES_WINDOW);
    }
}

#[async_trait]
impl Revocations for KnownRevocations {
    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, RevocationsUnavailable> {
        Ok(self.contains(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subject_fills_its_own_share_only() {
        let (singles, start) = (Singles::default(), Moment::default());
        for _ in 0..SINGLES_MAX {
            singles.add("ann", start).unwrap();
        }
        let later = start + Duration::from_mins(5);
        assert_eq!(singles.add("ann", later), Err(Duration::from_hours(1)));
        singles.add("bob", later).unwrap();
        singles.add("ann", start + SINGLES_WINDOW).unwrap();
        singles.forget(later + SINGLES_WINDOW);
        assert_eq!(singles.0.lock().len(), 1, "ann's window is a new one");
    }
}
