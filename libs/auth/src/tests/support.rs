//! An issuer and a verifier that test code can bend.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use amends_primitives::{Clock, ManualClock};
use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use super::super::*;
use service_base::metrics::Metrics;

enum Pair {
    Ed25519(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
}

pub(super) struct Issuer {
    kid: String,
    pair: Pair,
}

impl Issuer {
    pub(super) fn ed25519(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(super) fn es256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::Es256(pair) }
    }

    pub(super) fn jwk(&self) -> Jwk {
        let encode = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let (kty, crv, x, y, alg) = match &self.pair {
            Pair::Ed25519(pair) => ("OKP", "Ed25519", encode(pair.public_key().as_ref()), None, "EdDSA"),
            Pair::Es256(pair) => {
                let point = pair.public_key().as_ref();
                ("EC", "P-256", encode(&point[1..33]), encode(&point[33..]), "ES256")
            }
        };
        Jwk {
            kty: kty.to_owned(),
            crv: Some(crv.to_owned()),
            x,
            y,
            kid: Some(self.kid.clone()),
            alg: Some(alg.to_owned()),
            usage: Some("sig".to_owned()),
            key_ops: None,
        }
    }

    pub(super) fn token(&self, world: &World) -> String {
        self.token_with(world, &json!({}), &json!({}))
    }

    /// A token that is good but for these members of header and claims.
    pub(super) fn token_with(&self, world: &World, header: &Value, claims: &Value) -> String {
        let alg = self.jwk().alg;
        let now = world.now_secs();
        let mut all = [
            json!({"alg": alg, "typ": "at+jwt", "kid": self.kid}),
            json!({"iss": "http://issuer.test", "aud": "amends", "sub": "demo", "client_id": "amends-web",
                "scope": "orders:read orders:write", "jti": "jti-1", "iat": now, "exp": now + 600}),
        ];
        for (whole, changes) in all.iter_mut().zip([header, claims]) {
            for (key, value) in changes.as_object().unwrap() {
                whole[key] = value.clone();
            }
        }
        let signed = all.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Keys that are published, withheld or held up.
pub(super) struct Source {
    jwks: Mutex<Jwks>,
    pub(super) down: AtomicBool,
    pub(super) fetches: AtomicU32,
    held: AtomicBool,
    gate: Notify,
    done: Semaphore,
}

impl Source {
    fn new() -> Self {
        Self {
            jwks: Mutex::default(),
            down: AtomicBool::new(false),
            fetches: AtomicU32::new(0),
            held: AtomicBool::new(false),
            gate: Notify::new(),
            done: Semaphore::new(0),
        }
    }

    pub(super) fn publish(&self, issuers: &[&Issuer]) {
        *self.jwks.lock() = Jwks { keys: issuers.iter().map(|issuer| issuer.jwk()).collect() };
    }

    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    pub(super) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.gate.notify_one();
    }

    /// Waits until that many fetches have ended.
    pub(super) async fn fetched(&self, count: u32) {
        let _ = self.done.acquire_many(count).await.unwrap();
    }
}

struct Shared(Arc<Source>);

#[async_trait]
impl KeySource for Shared {
    async fn fetch(&self) -> Result<Jwks, FetchError> {
        self.0.fetches.fetch_add(1, Ordering::SeqCst);
        if self.0.held.load(Ordering::SeqCst) {
            self.0.gate.notified().await;
        }
        tokio::task::yield_now().await;
        self.0.done.add_permits(1);
        if self.0.down.load(Ordering::SeqCst) {
            Err(FetchError("down".to_owned()))
        } else {
            Ok(self.0.jwks.lock().clone())
        }
    }
}

#[derive(Default)]
pub(super) struct Revoked {
    ids: Mutex<BTreeSet<String>>,
    pub(super) down: AtomicBool,
}

impl Revoked {
    pub(super) fn revoke(&self, name: &str) {
        self.ids.lock().insert(name.to_owned());
    }

    pub(super) fn pardon(&self, name: &str) {
        self.ids.lock().remove(name);
    }
}

struct SharedRevoked(Arc<Revoked>);

#[async_trait]
impl Revocations for SharedRevoked {
    async fn is_revoked(&self, token: Revocable<'_>) -> Result<bool, RevocationsUnavailable> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(RevocationsUnavailable("down".to_owned()));
        }
        let names = self.0.ids.lock();
        Ok(token.names().any(|name| names.contains(name.as_ref())))
    }
}

pub(super) struct World {
    pub(super) clock: Arc<ManualClock>,
    pub(super) source: Arc<Source>,
    pub(super) revocations: Arc<Revoked>,
    pub(super) verifier: Verifier,
}

impl World {
    pub(super) fn with(issuer: &Issuer) -> Self {
        let clock = Arc::new(ManualClock::default());
        let (source, revocations) = (Arc::new(Source::new()), Arc::new(Revoked::default()));
        source.publish(&[issuer]);
        let config = VerifierConfig { issuer: "http://issuer.test".to_owned(), ..VerifierConfig::default() };
        let verifier = Verifier::with_keys(
            config,
            Arc::clone(&clock) as Arc<dyn Clock>,
            &Metrics::new(),
            Arc::new(SharedRevoked(Arc::clone(&revocations))),
            Shared(Arc::clone(&source)),
        );
        Self { clock, source, revocations, verifier }
    }

    pub(super) fn now_secs(&self) -> i64 {
        self.clock.now().as_secs()
    }
}
