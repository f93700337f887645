//! Verifying access tokens.
//!
//! Order of checks: size and shape, algorithm, type, extensions (all before any cryptography), signature, then issuer,
//! audience, time and revocation. Only "this signature is good" is remembered, for at most a minute, under the SHA-256 of
//! the whole token; everything after it is checked at each use.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use amends_primitives::{Clock, Moment, Timestamp};
use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use serde::{Deserialize, Serialize};

use super::{
    AuthError, BearerToken, Claims, HttpKeys, InvalidToken, KeySource, Revocable, Revocations, Scopes,
    jwks::{Keys, Pace},
    throttle::Throttle,
    token::{self, RawClaims},
};
use service_base::{
    config::{ConfigError, Section},
    metrics::Metrics,
};

/// Whose tokens are good, and how hard we look.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifierConfig {
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// The `aud` that tokens must have, or have among others.
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub jwks_url: String,
    /// Seconds by which the issuer's clock may differ from ours.
    pub leeway_secs: u64,
    /// Seconds for which a good signature is remembered. At most 60; 0 remembers nothing.
    pub cache_secs: u64,
    /// Bytes of remembered tokens.
    pub cache_bytes_max: u64,
    /// Seconds after which the keys are fetched anew.
    pub jwks_refresh_secs: u64,
    /// Seconds after which keys that could not be refreshed are no longer used.
    pub jwks_stale_max_secs: u64,
    /// Seconds between two fetches caused by unknown keys or failures.
    pub jwks_refetch_min_secs: u64,
    /// Bad tokens from one address (an IPv6 address counts as its /64) in ten seconds whose signatures are looked at; the rest are
    /// refused before, with 429. Good tokens that were seen before are not affected. Where the caller's address is known: at the gateway.
    pub failures_max: u32,
}

/// Longer, and a withdrawn key would be honoured for longer than an operator expects.
const CACHE_SECS_MAX: u64 = 60;
const THROTTLE_WINDOW: Duration = Duration::from_secs(10);
/// Tokens known to have been good, at about 100 bytes each: 10 MB. More callers than one gateway serves.
const KNOWN_MAX: u64 = 100_000;
/// The longest life of an access token; longer, and a token is looked at as a new one is.
const KNOWN_FOR: Duration = Duration::from_mins(15);

impl Default for VerifierConfig {
    fn default() -> Self {
        Self {
            issuer: "http://127.0.0.1:8081".to_owned(),
            audience: "amends".to_owned(),
            jwks_url: "http://127.0.0.1:8081/.well-known/jwks.json".to_owned(),
            leeway_secs: 5,
            cache_secs: CACHE_SECS_MAX,
            cache_bytes_max: 16 * 1024 * 1024,
            jwks_refresh_secs: 300,
            jwks_stale_max_secs: 3600,
            jwks_refetch_min_secs: 5,
            failures_max: 50,
        }
    }
}

impl Section for VerifierConfig {
    fn validate(&self, errors: &mut Vec<ConfigError>) {
        let mut check = |good: bool, key: &str, message: &str| ConfigError::unless(good, key, message, errors);
        check(!self.issuer.is_empty(), "issuer", "must not be empty");
        check(!self.audience.is_empty(), "audience", "must not be empty");
        let is_url = reqwest::Url::parse(&self.jwks_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        check(is_url, "jwks_url", "must be an http or https URL");
        check(self.leeway_secs <= 300, "leeway_secs", "must be at most 300");
        check(self.cache_secs <= CACHE_SECS_MAX, "cache_secs", "must be at most 60");
        check(
            self.jwks_stale_max_secs >= self.jwks_refresh_secs,
            "jwks_stale_max_secs",
            "must not be below jwks_refresh_secs",
        );
        check(self.jwks_refetch_min_secs >= 1, "jwks_refetch_min_secs", "must be at least 1");
        check(self.failures_max >= 1, "failures_max", "must be at least 1");
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone)]
struct Seen {
    claims: Arc<RawClaims>,
    generation: u64,
    at: Moment,
}

struct Inner {
    config: VerifierConfig,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    revocations: Arc<dyn Revocations>,
    good: Cache<[u8; 32], Seen>,
    /// Signatures that were bad: the same bad token is refused again without cryptography.
    bad: Cache<[u8; 32], u64>,
    /// Signatures that were good, for longer than they are believed: callers who have shown one are not throttled for what others at
    /// their address send, although its signature is looked at again.
    known: Cache<[u8; 32], ()>,
    throttle: Throttle,
    results: Family<ResultLabels, Counter>,
}

/// Verifies access tokens. Clones share keys and memory.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

impl Verifier {
    /// A verifier that fetches keys from `config.jwks_url` when it first needs them.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        config: VerifierConfig,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
        revocations: Arc<dyn Revocations>,
    ) -> Result<Self, reqwest::Error> {
        let source = HttpKeys::new(config.jwks_url.clone())?;
        Ok(Self::with_keys(config, clock, metrics, revocations, source))
    }

    /// A verifier with keys from elsewhere: for tests, and for the issuer itself.
    pub fn with_keys(
        config: VerifierConfig,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
        revocations: Arc<dyn Revocations>,
        source: impl KeySource,
    ) -> Self {
        let pace = Pace {
            refresh_after: Duration::from_secs(config.jwks_refresh_secs),
            stale_max: Duration::from_secs(config.jwks_stale_max_secs),
            refetch_min: Duration::from_secs(config.jwks_refetch_min_secs),
        };
        let remembered = Duration::from_secs(config.cache_secs.min(CACHE_SECS_MAX));
        let weigh = |_: &[u8; 32], seen: &Seen| seen.claims.weight();
        let good =
            Cache::builder().max_capacity(config.cache_bytes_max).weigher(weigh).time_to_live(remembered).build();
        let bad = Cache::builder().max_capacity(10_000).time_to_live(THROTTLE_WINDOW).build();
        let known = Cache::builder().max_capacity(KNOWN_MAX).time_to_live(KNOWN_FOR).build();
        Self(Arc::new(Inner {
            keys: Arc::new(Keys::new(Box::new(source), Arc::clone(&clock), pace)),
            throttle: Throttle::new(config.failures_max, THROTTLE_WINDOW),
            results: metrics.counter("auth_verifications_total", "Tokens looked at, by result"),
            config,
            clock,
            revocations,
            good,
            bad,
            known,
        }))
    }

    /// Verifies a token, wherever it came from: for services whose callers come through a gateway, which is one address for all of
    /// them and has throttled them already.
    ///
    /// # Errors
    /// See [`AuthError`]; never [`AuthError::Throttled`] or [`AuthError::InsufficientScope`].
    pub async fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        self.judge(token, None).await
    }

    /// Verifies a token that came from an address. Past `failures_max`, unknown tokens from there are refused before their signature is
    /// looked at, but for one now and then; tokens that were good before are not held back.
    ///
    /// # Errors
    /// See [`AuthError`]; never [`AuthError::InsufficientScope`].
    pub async fn verify_from(&self, address: IpAddr, token: &str) -> Result<Claims, AuthError> {
        self.judge(token, Some(address)).await
    }

    async fn judge(&self, token: &str, from: Option<IpAddr>) -> Result<Claims, AuthError> {
        let result = self.check(token, from).await;
        let label = match &result {
            Ok(_) => "ok",
            Err(AuthError::Invalid(reason)) => reason.label(),
            Err(AuthError::Throttled { .. }) => "throttled",
            Err(_) => "unavailable",
        };
        self.0.results.get_or_create(&ResultLabels { result: label }).inc();
        if let Err(error) = &result {
            tracing::debug!(%error, "a token was refused");
        }
        result
    }

    async fn check(&self, token: &str, from: Option<IpAddr>) -> Result<Claims, AuthError> {
        if token.len() > token::TOKEN_BYTES_MAX {
            self.failed(from);
            return Err(InvalidToken::TooLong.into());
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let claims = match self.remembered(&hash) {
            Some(claims) => claims,
            None => self.check_unknown(token, hash, from).await?,
        };
        self.check_claims(&claims)?;
        match self.0.revocations.is_revoked(Revocable { jti: &claims.jti, sid: claims.sid.as_deref() }).await {
            Ok(false) => {}
            Ok(true) => return Err(InvalidToken::Revoked.into()),
            Err(error) => {
                tracing::warn!(%error, "refusing a token that nobody can say is not revoked");
                return Err(AuthError::Unavailable { what: "the list of revocations" });
            }
        }
        Ok(Claims {
            sub: claims.sub.clone(),
            client_id: claims.client_id.clone(),
            scope: Scopes::parse(claims.scope.as_deref().unwrap_or_default()),
            jti: claims.jti.clone(),
            sid: claims.sid.clone(),
            iat: Timestamp::from_micros(claims.iat.0),
            exp: Timestamp::from_micros(claims.exp.0),
            token: BearerToken::new(token),
        })
    }

    /// Looks at a token that is not remembered, unless its caller's address has used up its failures.
    async fn check_unknown(
        &self,
        token: &str,
        hash: [u8; 32],
        from: Option<IpAddr>,
    ) -> Result<Arc<RawClaims>, AuthError> {
        // Another caller at that address sends the bad ones.
        let from = if self.0.known.contains_key(&hash) { None } else { from };
        if let Some(retry_after) = from.and_then(|address| self.0.throttle.refuses(address)) {
            return Err(AuthError::Throttled { retry_after });
        }
        let result = self.check_signature(token, hash, from).await;
        // A bad signature is counted where it is found. An expired token is what an honest client sends before it asks for a new one.
        if let Err(AuthError::Invalid(reason)) = &result
            && !matches!(reason, InvalidToken::Expired | InvalidToken::Signature)
        {
            self.failed(from);
        }
        result
    }

    fn failed(&self, from: Option<IpAddr>) {
        if let Some(address) = from {
            self.0.throttle.failed(address);
        }
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Arc<RawClaims>> {
        let generation = self.0.keys.generation()?;
        let seen = self.0.good.get(hash)?;
        let age = self.0.clock.moment().since(seen.at);
        let fresh = age <= Duration::from_secs(self.0.config.cache_secs) && seen.generation == generation;
        fresh.then_some(seen.claims)
    }

    async fn check_signature(
        &self,
        token: &str,
        hash: [u8; 32],
        from: Option<IpAddr>,
    ) -> Result<Arc<RawClaims>, AuthError> {
        let parsed = token::parse(token)?;
        // What fails without cryptography fails before it.
        self.check_claims(&parsed.claims)?;
        let (key, generation) = self.0.keys.get(&parsed.kid).await?;
        let throttled = |retry_after| AuthError::Throttled { retry_after };
        let advance = from.map(|address| self.0.throttle.advance(address)).transpose().map_err(throttled)?;
        if self.0.bad.get(&hash) == Some(generation) {
            return Err(InvalidToken::Signature.into());
        }
        if let Err(reason) = key.verify(parsed.algorithm, parsed.signed, &parsed.signature) {
            self.0.bad.insert(hash, generation);
            self.0.known.invalidate(&hash);
            return Err(reason.into());
        }
        if let Some(advance) = advance {
            advance.forgive();
            self.0.known.insert(hash, ());
        }
        let claims = Arc::new(parsed.claims);
        if self.0.config.cache_secs > 0 {
            self.0.good.insert(hash, Seen { claims: Arc::clone(&claims), generation, at: self.0.clock.moment() });
        }
        Ok(claims)
    }

    fn check_claims(&self, claims: &RawClaims) -> Result<(), InvalidToken> {
        let config = &self.0.config;
        if claims.iss != config.issuer {
            return Err(InvalidToken::Issuer);
        }
        if !claims.is_for(&config.audience) {
            return Err(InvalidToken::Audience);
        }
        let now = self.0.clock.now();
        let leeway = Duration::from_secs(config.leeway_secs);
        if Timestamp::from_micros(claims.exp.0) + leeway <= now {
            return Err(InvalidToken::Expired);
        }
        let begins = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
        if Timestamp::from_micros(begins.0) > now + leeway {
            return Err(InvalidToken::NotYet);
        }
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.0.config.issuer)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}
