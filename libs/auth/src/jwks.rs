//! The issuer's public keys: fetched when needed, kept while the issuer cannot be asked, refetched for a key we do not know.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use amends_primitives::{Clock, Moment};
use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{AuthError, InvalidToken, token::Algorithm};

/// A key set of an issuer that rotates daily has three keys; this is far beyond any sensible one.
const KEYS_MAX: usize = 64;
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
const FETCH_BOUND: Duration = Duration::from_secs(2);

/// A JSON Web Key Set (RFC 7517).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// A public key, as far as we use it: OKP/Ed25519 or EC/P-256. Others are read and left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `OKP` or `EC`.
    pub kty: String,
    /// Curve: `Ed25519` or `P-256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// First coordinate, or the whole key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// The key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The one algorithm it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What it is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// What may be done with it: `verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
}

/// The issuer's keys could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys could not be fetched: {0}")]
pub struct FetchError(pub String);

/// Where the issuer's keys come from.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Fetches the keys, within a bound.
    async fn fetch(&self) -> Result<Jwks, FetchError>;
}

/// Keys over HTTP.
#[derive(Debug, Clone)]
pub struct HttpKeys {
    url: String,
    client: reqwest::Client,
}

impl HttpKeys {
    /// Keys at that URL. No redirect is followed: the issuer's address is configuration, not something to be talked into.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: impl Into<String>) -> Result<Self, reqwest::Error> {
        let client = service_base::client::internal().timeout(FETCH_BOUND).connect_timeout(FETCH_BOUND / 2).build()?;
        Ok(Self { url: url.into(), client })
    }
}

#[async_trait]
impl KeySource for HttpKeys {
    async fn fetch(&self) -> Result<Jwks, FetchError> {
        let failed = |error: reqwest::Error| FetchError(error.without_url().to_string());
        let mut response =
            self.client.get(&self.url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(FetchError("the answer is too large".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| FetchError(format!("the answer is not a key set: {error}")))
    }
}

/// A key that can verify, bound to its one algorithm.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Key {
    /// `None` for keys that are not for us.
    pub(super) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return None;
        }
        let coordinate =
            |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok().filter(|bytes| bytes.len() == 32);
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()?) {
            ("OKP", "Ed25519") => Self { algorithm: Algorithm::EdDsa, bytes: coordinate(&jwk.x)? },
            ("EC", "P-256") => {
                let bytes = [vec![0x04], coordinate(&jwk.x)?, coordinate(&jwk.y)?].concat();
                Self { algorithm: Algorithm::Es256, bytes }
            }
            _ => return None,
        };
        let fits = jwk.alg.as_deref().is_none_or(|alg| Algorithm::named(alg) == Some(key.algorithm));
        fits.then_some(key)
    }

    pub(super) fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Result<(), InvalidToken> {
        if algorithm != self.algorithm {
            return Err(InvalidToken::Algorithm);
        }
        let result = match algorithm {
            Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(signed, signature),
            Algorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(signed, signature),
        };
        result.map_err(|_| InvalidToken::Signature)
    }
}

/// The keys of one moment.
struct KeySet {
    keys: HashMap<String, Key>,
    /// Changes when a key is taken away or replaced: what was verified by an earlier generation is verified again.
    generation: u64,
    fetched: Option<Moment>,
}

/// Bounds on asking the issuer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Keys older than this are fetched anew, beside the requests.
    pub(super) refresh_after: Duration,
    /// Keys older than this are not used: the issuer may have taken them away while we could not ask.
    pub(super) stale_max: Duration,
    /// Time between two fetches that unknown keys or failures may cause.
    pub(super) refetch_min: Duration,
}

/// The keys, and the rules by which they are fetched.
pub(super) struct Keys {
    source: Box<dyn KeySource>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    current: RwLock<Arc<KeySet>>,
    /// Held while fetching, so that a crowd waits for one fetch. Holds when the last attempt ended, and whether well.
    fetching: Mutex<Option<(Moment, bool)>>,
}

impl Keys {
    pub(super) fn new(source: Box<dyn KeySource>, clock: Arc<dyn Clock>, pace: Pace) -> Self {
        let empty = KeySet { keys: HashMap::new(), generation: 0, fetched: None };
        Self { source, clock, pace, current: RwLock::new(Arc::new(empty)), fetching: Mutex::new(None) }
    }

    /// The generation of the keys we have, for judging what was verified before; `None` when they vouch for nothing.
    pub(super) fn generation(self: &Arc<Self>) -> Option<u64> {
        self.usable().map(|set| set.generation)
    }

    /// The key of that id, and its generation.
    pub(super) async fn get(self: &Arc<Self>, kid: &str) -> Result<(Key, u64), AuthError> {
        let unavailable = AuthError::Unavailable { what: "the issuer's keys" };
        // Keys that are too old are not used, but count as seen: another task may have fetched newer ones meanwhile.
        let fetched_before = self.current.read().fetched;
        let set = self.usable();
        if let Some(found) = set.as_deref().and_then(|set| Some((set.keys.get(kid)?.clone(), set.generation))) {
            return Ok(found);
        }
        let well = self.fetch(fetched_before).await;
        match self.usable() {
            None => Err(unavailable),
            Some(set) => match set.keys.get(kid) {
                Some(key) => Ok((key.clone(), set.generation)),
                None if well => Err(InvalidToken::UnknownKey.into()),
                // It may be a new key that we could not hear of.
                None => Err(unavailable),
            },
        }
    }

    /// The keys we have, unless they are too old. Starts a refresh beside us when they are getting old.
    fn usable(self: &Arc<Self>) -> Option<Arc<KeySet>> {
        let set = Arc::clone(&self.current.read());
        let fetched = set.fetched?;
        let age = self.clock.moment().since(fetched);
        if age > self.pace.stale_max {
            return None;
        }
        if age > self.pace.refresh_after && self.fetching.try_lock().is_ok_and(|last| self.may_fetch(*last)) {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.fetch(Some(fetched)).await });
        }
        Some(set)
    }

    fn may_fetch(&self, last: Option<(Moment, bool)>) -> bool {
        last.is_none_or(|(ended, _)| self.clock.moment().since(ended) >= self.pace.refetch_min)
    }

    /// Fetches, unless another task has done so since `seen`, or just now. Whether the last fetch went well.
    async fn fetch(&self, seen: Option<Moment>) -> bool {
        let mut last = self.fetching.lock().await;
        let newer = self.current.read().fetched.is_some_and(|fetched| seen.is_none_or(|seen| fetched > seen));
        if newer {
            return true;
        }
        if !self.may_fetch(*last) {
            return last.is_some_and(|(_, well)| well);
        }
        let result = self.source.fetch().await;
        let now = self.clock.moment();
        *last = Some((now, result.is_ok()));
        match result {
            Ok(jwks) => {
                self.replace(&jwks, now);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "keeping the keys there are");
                false
            }
        }
    }

    fn replace(&self, jwks: &Jwks, now: Moment) {
        let mut keys = HashMap::new();
        for jwk in jwks.keys.iter().take(KEYS_MAX) {
            if let (Some(kid), Some(key)) = (&jwk.kid, Key::from_jwk(jwk)) {
                keys.insert(kid.clone(), key);
            }
        }
        let mut current = self.current.write();
        let kept = current.keys.iter().all(|(kid, key)| keys.get(kid) == Some(key));
        let generation = current.generation + u64::from(!kept);
        *current = Arc::new(KeySet { keys, generation, fetched: Some(now) });
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.current.read();
        f.debug_struct("Keys")
            .field("kids", &set.keys.keys())
            .field("generation", &set.generation)
            .finish_non_exhaustive()
    }
}
