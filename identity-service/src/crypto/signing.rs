//! Access tokens: RFC 9068 (`at+jwt`), signed with Ed25519; and the check of our own tokens, where one is handed back to us.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use amends_primitives::Timestamp;

/// The `typ` header: so that an access token is never taken for an ID token or the reverse.
pub(crate) const TOKEN_TYPE: &str = "at+jwt";

/// Bytes of a token we look at. Ours have some 700; more is not worth any cryptography.
pub(crate) const TOKEN_LENGTH_MAX: usize = 8 * 1024;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    /// This service.
    pub iss: String,
    /// The platform.
    pub aud: String,
    /// The user, or the client when it acts for itself.
    pub sub: String,
    /// Who asked for the token.
    pub client_id: String,
    /// What it permits, separated by spaces.
    pub scope: String,
    /// Names this token, to revoke it.
    pub jti: String,
    /// Names the session it belongs to, to revoke all of its tokens; none where a client acts for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sid: Option<String>,
    /// Issued at, in seconds.
    pub iat: i64,
    /// Expires at, in seconds.
    pub exp: i64,
    /// Who acts for the subject, after a token exchange (RFC 8693).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act: Option<Actor>,
}

/// The actor, and the actor before it (RFC 8693, nested `act`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Actor {
    /// The acting client.
    pub sub: String,
    /// The actor before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act: Option<Box<Self>>,
}

impl Actor {
    /// How many acted one after the other.
    pub(crate) fn depth(&self) -> usize {
        std::iter::successors(Some(self), |actor| actor.act.as_deref()).count()
    }
}

/// The public half of a key, as RFC 7517 writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicKey {
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    /// The Ed25519 point, base64url.
    pub x: String,
}

impl PublicKey {
    /// As it stands in the key set.
    pub(crate) fn to_jwk(&self) -> serde_json::Value {
        serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.kid, "x": self.x })
    }
}

/// The library failed, or a stored key is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the signing key cannot be used")]
pub(crate) struct KeyError;

/// A key pair that is nowhere yet.
pub(crate) struct NewKeyPair {
    /// Its public half.
    pub public: PublicKey,
    /// PKCS #8, to be sealed.
    pub private: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for NewKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Makes a key pair from the library's randomness.
///
/// # Errors
/// When the library fails.
pub(crate) fn generate() -> Result<NewKeyPair, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError)?;
    let private = Zeroizing::new(pair.to_pkcs8v1().map_err(|_| KeyError)?.as_ref().to_vec());
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    // RFC 7638: the required members, in this order, without white space.
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()).as_ref());
    Ok(NewKeyPair { public: PublicKey { kid, x }, private })
}

/// A key that signs and checks. `Debug` shows its public half.
#[derive(Clone)]
pub(crate) struct SigningKey {
    public: PublicKey,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKey {
    /// From its stored halves.
    ///
    /// # Errors
    /// When they are damaged or do not belong together.
    pub(crate) fn from_stored(public: PublicKey, private_pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(private_pkcs8).map_err(|_| KeyError)?;
        if URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()) != public.x {
            return Err(KeyError);
        }
        Ok(Self {
            encoding: EncodingKey::from_ed_der(private_pkcs8),
            decoding: DecodingKey::from_ed_components(&public.x).map_err(|_| KeyError)?,
            public,
        })
    }

    /// The public half.
    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs an access token.
    ///
    /// # Errors
    /// When the library fails.
    pub(crate) fn sign(&self, claims: &AccessClaims) -> Result<String, KeyError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.public.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(|_| KeyError)
    }

    /// The claims, if this key signed the token. Only the signature is checked: see [`check_claims`].
    fn claims(&self, token: &str) -> Option<AccessClaims> {
        let mut signature_only = Validation::new(Algorithm::EdDSA);
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        signature_only.required_spec_claims.clear();
        jsonwebtoken::decode(token, &self.decoding, &signature_only).ok().map(|data| data.claims)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

/// What a token of ours must say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Our issuer.
    pub issuer: &'a str,
    /// Our audience.
    pub audience: &'a str,
}

/// The claims of a token that we signed and that has not expired at `now`. Revocation is another question.
pub(crate) fn read<'k>(
    token: &str,
    expected: Expected<'_>,
    now: Timestamp,
    find_key: impl FnOnce(&str) -> Option<&'k SigningKey>,
) -> Option<AccessClaims> {
    if token.len() > TOKEN_LENGTH_MAX {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    // Before any cryptography: our algorithm, our type, no extension we would have to understand.
    let ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TOKEN_TYPE) && header.crit.is_none();
    let key = if ours { find_key(header.kid.as_deref()?)? } else { return None };
    key.claims(token).filter(|claims| check_claims(claims, expected, now))
}

fn check_claims(claims: &AccessClaims, expected: Expected<'_>, now: Timestamp) -> bool {
    claims.iss == expected.issuer && claims.aud == expected.audience && now.as_secs() < claims.exp
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected<'static> = Expected { issuer: "https://sts.example", audience: "amends" };

    fn key() -> SigningKey {
        let pair = generate().unwrap();
        SigningKey::from_stored(pair.public, &pair.private).unwrap()
    }

    fn claims() -> AccessClaims {
        AccessClaims {
            iss: EXPECTED.issuer.into(),
            aud: EXPECTED.audience.into(),
            sub: "ann".into(),
            client_id: "web".into(),
            scope: "a b".into(),
            jti: "1".into(),
            sid: Some("s".into()),
            iat: 1000,
            exp: 1600,
            act: None,
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn reads_what_it_signed_until_it_expires() {
        let key = key();
        let token = key.sign(&claims()).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(header.kid.as_deref(), Some(key.public().kid.as_str()));
        let read_at = |secs| read(&token, EXPECTED, at(secs), |kid| (kid == key.public().kid).then_some(&key));
        assert_eq!(read_at(1599), Some(claims()));
        assert_eq!(read_at(1600), None);
    }

    #[test]
    fn refuses_what_is_not_ours() {
        let (ours, other) = (key(), key());
        let find = |_: &str| Some(&ours);
        assert_eq!(read(&other.sign(&claims()).unwrap(), EXPECTED, at(1000), find), None, "another key");
        for wrong in [
            AccessClaims { iss: "https://else.example".into(), ..claims() },
            AccessClaims { aud: "else".into(), ..claims() },
        ] {
            assert_eq!(read(&ours.sign(&wrong).unwrap(), EXPECTED, at(1000), find), None);
        }
        let token = ours.sign(&claims()).unwrap();
        assert_eq!(read(&token, EXPECTED, at(1000), |_| None), None, "an unknown key");
        let mut typed = Header::new(Algorithm::EdDSA);
        typed.kid = Some(ours.public().kid.clone());
        typed.typ = Some("JWT".into());
        let id_token = jsonwebtoken::encode(&typed, &claims(), &ours.encoding).unwrap();
        assert_eq!(read(&id_token, EXPECTED, at(1000), find), None, "an ID token");
        typed.typ = Some(TOKEN_TYPE.into());
        typed.crit = Some(vec!["exp".into()]);
        let critical = jsonwebtoken::encode(&typed, &claims(), &ours.encoding).unwrap();
        assert_eq!(read(&critical, EXPECTED, at(1000), find), None, "a critical extension");
        let hmac = jsonwebtoken::encode(
            &Header {
                typ: Some(TOKEN_TYPE.into()),
                kid: Some(ours.public().kid.clone()),
                ..Header::new(Algorithm::HS256)
            },
            &claims(),
            &EncodingKey::from_secret(ours.public().x.as_bytes()),
        );
        assert_eq!(read(&hmac.unwrap(), EXPECTED, at(1000), find), None, "our public key as a secret");
        for bad in ["", "a.b.c", &token[..token.len() - 2], &"x".repeat(TOKEN_LENGTH_MAX + 1)] {
            assert_eq!(read(bad, EXPECTED, at(1000), find), None);
        }
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert!(SigningKey::from_stored(one.public, &two.private).is_err());
        assert!(SigningKey::from_stored(two.public, b"damaged").is_err());
    }

    #[test]
    fn debug_shows_no_private_key() {
        let pair = generate().unwrap();
        let private = format!("{:?}", pair.private.as_slice());
        let key = SigningKey::from_stored(pair.public.clone(), &pair.private).unwrap();
        assert!(!format!("{pair:?}{key:?}").contains(&private[1..private.len() - 1]));
    }
}
