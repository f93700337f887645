//! The signing keys of this process: loaded from the store, rotated by the schedule, kept in memory for signing and checking.

use std::sync::Arc;

use parking_lot::RwLock;

use amends_primitives::Timestamp;

use crate::{
    crypto::{
        keyring::{CannotOpen, Keyring},
        signing::{self, AccessClaims, Expected, KeyError, PublicKey, SigningKey},
    },
    domain::key_schedule::{self, KeyTimes, NewKey, RotationPolicy},
    ports::{Store, StoreError, StoredKey},
};

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The store cannot be asked, and nothing was loaded before.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key encryption key is another one than the store was written with.
    #[error(transparent)]
    Sealed(#[from] CannotOpen),
    /// A stored key is damaged, or the library failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// None was loaded yet.
    #[error("no signing key is loaded")]
    None,
}

#[derive(Debug, Clone)]
struct Loaded {
    times: KeyTimes,
    key: SigningKey,
}

/// Keys in memory.
#[derive(Debug)]
pub(crate) struct Keys {
    policy: RotationPolicy,
    loaded: RwLock<Arc<Vec<Loaded>>>,
}

impl Keys {
    /// None yet: see [`refresh`](Self::refresh).
    pub(crate) fn new(policy: RotationPolicy) -> Self {
        Self { policy, loaded: RwLock::default() }
    }

    /// Loads what the store has, and makes the next key when it is time. Replicas may do this at once.
    ///
    /// # Errors
    /// When the store cannot be asked or a key cannot be read. The keys loaded before stay.
    pub(crate) async fn refresh(&self, store: &dyn Store, keyring: &Keyring, now: Timestamp) -> Result<(), KeysError> {
        let mut stored = store.keys().await?;
        let times: Vec<KeyTimes> = stored.iter().map(|key| key.times).collect();
        if let Some(plan) = key_schedule::plan(&times, &self.policy, now) {
            let key = make(keyring, &plan)?;
            if store.add_key(&key, &plan).await? {
                tracing::info!(kid = key.kid, active_from = %plan.times.active_from, "made a signing key");
            }
            stored = store.keys().await?;
        }
        let before = self.snapshot();
        let mut loaded = Vec::with_capacity(stored.len());
        // All of them, also those that are withdrawn: the clock may be set back before the store is read again.
        for key in stored {
            let known = before.iter().find(|known| known.key.public().kid == key.kid);
            let signing_key = match known {
                Some(known) => known.key.clone(),
                None => open(store, keyring, &key).await?,
            };
            loaded.push(Loaded { times: key.times, key: signing_key });
        }
        *self.loaded.write() = Arc::new(loaded);
        Ok(())
    }

    /// Signs with today's key.
    ///
    /// # Errors
    /// When there is none or the library fails.
    pub(crate) fn sign(&self, claims: &AccessClaims, now: Timestamp) -> Result<String, KeysError> {
        let loaded = self.snapshot();
        let index = key_schedule::signing(&times(&loaded), now).ok_or(KeysError::None)?;
        Ok(loaded[index].key.sign(claims)?)
    }

    /// The claims of a token of ours that has not expired.
    pub(crate) fn read(&self, token: &str, expected: Expected<'_>, now: Timestamp) -> Option<AccessClaims> {
        let loaded = self.snapshot();
        let published = key_schedule::published(&times(&loaded), now);
        let find =
            |kid: &str| published.into_iter().map(|index| &loaded[index].key).find(|key| key.public().kid == kid);
        signing::read(token, expected, now, find)
    }

    /// Since when the key signs that signs now.
    pub(crate) fn signs_since(&self, now: Timestamp) -> Option<Timestamp> {
        let times = times(&self.snapshot());
        key_schedule::signing(&times, now).map(|index| times[index].active_from)
    }

    /// The key set, RFC 7517: whatever [`sign`](Self::sign) signs with is in it.
    pub(crate) fn public(&self, now: Timestamp) -> Vec<PublicKey> {
        let loaded = self.snapshot();
        let published = key_schedule::published(&times(&loaded), now);
        published.into_iter().map(|index| loaded[index].key.public().clone()).collect()
    }

    fn snapshot(&self) -> Arc<Vec<Loaded>> {
        Arc::clone(&self.loaded.read())
    }
}

fn times(loaded: &[Loaded]) -> Vec<KeyTimes> {
    loaded.iter().map(|loaded| loaded.times).collect()
}

/// Opens every key that the store has, and changes none; how many there are.
///
/// # Errors
/// When the store cannot be asked, or a key was sealed with another key encryption key.
pub(crate) async fn probe(store: &dyn Store, keyring: &Keyring) -> Result<usize, KeysError> {
    let stored = store.keys().await?;
    for key in &stored {
        let private = keyring.open(&context(&key.kid), &key.sealed_private)?;
        SigningKey::from_stored(PublicKey { kid: key.kid.clone(), x: key.x.clone() }, &private)?;
    }
    Ok(stored.len())
}

/// Binds a sealed key to its name, so that rows of the store cannot be swapped.
fn context(kid: &str) -> String {
    format!("signing-key/{kid}")
}

fn make(keyring: &Keyring, plan: &NewKey) -> Result<StoredKey, KeysError> {
    let pair = signing::generate()?;
    let sealed_private = keyring.seal(&context(&pair.public.kid), &pair.private).map_err(|_| KeyError)?;
    Ok(StoredKey { kid: pair.public.kid, x: pair.public.x, sealed_private, times: plan.times })
}

async fn open(store: &dyn Store, keyring: &Keyring, key: &StoredKey) -> Result<SigningKey, KeysError> {
    let private = keyring.open(&context(&key.kid), &key.sealed_private)?;
    if !keyring.is_current(&key.sealed_private) {
        let sealed = keyring.seal(&context(&key.kid), &private).map_err(|_| KeyError)?;
        store.reseal_key(&key.kid, &sealed).await?;
        tracing::info!(kid = key.kid, "sealed a signing key with the current key encryption key");
    }
    Ok(SigningKey::from_stored(PublicKey { kid: key.kid.clone(), x: key.x.clone() }, &private)?)
}
