//! Reading a compact JWS as an RFC 9068 access token, before any cryptography. Pure: no keys, no clock.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::InvalidToken;

/// Ours are about 700 bytes. A longer one is refused before a byte of it is hashed.
pub(super) const TOKEN_BYTES_MAX: usize = 4096;
const KID_LENGTH_MAX: usize = 128;
const ID_LENGTH_MAX: usize = 256;

/// The algorithms we accept. A key knows which one is its own; the header can only fail to match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            // RFC 9864 gives Ed25519 a name of its own.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// A token that reads well. Nothing in it is believed yet.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: String,
    pub(super) claims: RawClaims,
    /// What is signed: the first two parts as they came.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    // RFC 7797: a payload that is not base64url; it must be critical, but a header that forgets that is no better.
    #[serde(default, deserialize_with = "present")]
    b64: bool,
}

/// The claims by their types. A string where a number belongs fails here: no check is ever skipped for a wrong type.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RawClaims {
    pub(super) iss: String,
    aud: Audience,
    pub(super) sub: String,
    pub(super) client_id: String,
    #[serde(default)]
    pub(super) scope: Option<String>,
    pub(super) jti: String,
    /// The session (the registered claim of OpenID Connect's logout specifications; RFC 9068 allows more claims than its own).
    #[serde(default, deserialize_with = "some_text")]
    pub(super) sid: Option<String>,
    pub(super) iat: NumericDate,
    pub(super) exp: NumericDate,
    #[serde(default, deserialize_with = "some")]
    pub(super) nbf: Option<NumericDate>,
}

impl RawClaims {
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Many(many) => many.iter().any(|one| one == audience),
        }
    }

    /// About how many bytes these claims hold, for a bounded cache.
    pub(super) fn weight(&self) -> u32 {
        let aud = match &self.aud {
            Audience::One(one) => one.len(),
            Audience::Many(many) => many.iter().map(|one| one.len() + 24).sum(),
        };
        let text = self.iss.len() + self.sub.len() + self.client_id.len() + self.jti.len() + aud;
        let scope = [&self.scope, &self.sid].into_iter().flatten().map(String::len).sum::<usize>();
        // The struct, the entry and its key.
        u32::try_from(text + scope + 400).unwrap_or(u32::MAX)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// RFC 7519: seconds since the epoch, perhaps with a fraction. Kept in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NumericDate(pub(super) i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let number = serde_json::Number::deserialize(deserializer)?;
        if let Some(seconds) = number.as_i64() {
            return Ok(Self(seconds.saturating_mul(1_000_000)));
        }
        match number.as_f64() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float cast saturates, and either end is refused or expired"
            )]
            Some(seconds) => Ok(Self((seconds * 1e6) as i64)),
            None => Err(D::Error::custom("not a date")),
        }
    }
}

/// `true` for a member that is there, whatever it is, `null` included.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A member that is there must be a date; `null` is not "absent".
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NumericDate>, D::Error> {
    NumericDate::deserialize(deserializer).map(Some)
}

/// As [`some`], of text.
fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// A compact JWS that reads well as such: whose, what for and what type it is has not been looked at.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    header: Header,
    payload: Vec<u8>,
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// Opens a compact JWS: size, shape, extensions, algorithm.
pub(super) fn open(token: &str) -> Result<Jws<'_>, InvalidToken> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(InvalidToken::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(InvalidToken::Malformed)?;
    // Strict: no padding, no stray bits, no other alphabet; so one token has one spelling. A third dot fails here too.
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| InvalidToken::Malformed)?;
    if header.crit || header.b64 {
        return Err(InvalidToken::Critical);
    }
    let algorithm = Algorithm::named(&header.alg).ok_or(InvalidToken::Algorithm)?;
    Ok(Jws { algorithm, header, payload: decode(payload)?, signed: signed.as_bytes(), signature: decode(signature)? })
}

/// Reads a token: what [`open`] looks at, then its type, its key's name, and the types of its claims.
pub(super) fn parse(token: &str) -> Result<Parsed<'_>, InvalidToken> {
    let Jws { algorithm, header, payload, signed, signature } = open(token)?;
    let typ = header.typ.unwrap_or_default().to_ascii_lowercase();
    if typ.strip_prefix("application/").unwrap_or(&typ) != "at+jwt" {
        return Err(InvalidToken::Type);
    }
    let kid = header.kid.filter(|kid| kid.len() <= KID_LENGTH_MAX).ok_or(InvalidToken::UnknownKey)?;
    let claims: RawClaims = serde_json::from_slice(&payload).map_err(|_| InvalidToken::Malformed)?;
    let plain = |id: &str| (1..=ID_LENGTH_MAX).contains(&id.len()) && !id.chars().any(char::is_control);
    let plain_session = claims.sid.as_deref().is_none_or(plain);
    if !(plain(&claims.sub) && plain(&claims.client_id) && plain(&claims.jti) && plain_session) {
        return Err(InvalidToken::Malformed);
    }
    Ok(Parsed { algorithm, kid, claims, signed, signature })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode([7; 64]))
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})
    }

    fn claims() -> Value {
        json!({"iss": "i", "aud": "amends", "sub": "demo", "client_id": "c", "scope": "a b", "jti": "1", "iat": 1, "exp": 2})
    }

    fn with(mut value: Value, key: &str, new: Value) -> Value {
        value[key] = new;
        value
    }

    #[test]
    fn a_malformed_header_is_refused_before_cryptography() {
        let check = |key: &str, value: Value| parse(&token(&with(header(), key, value), &claims())).err();
        assert_eq!(check("typ", json!("at+jwt")), None);
        assert_eq!(check("typ", json!("application/AT+JWT")), None);
        assert_eq!(check("alg", json!("ES256")), None);
        assert_eq!(check("alg", json!("Ed25519")), None);
        for alg in ["none", "None", "HS256", "RS256", "ES384", "eddsa", ""] {
            assert_eq!(check("alg", json!(alg)), Some(InvalidToken::Algorithm), "{alg}");
        }
        for typ in [json!("JWT"), json!(""), json!(null), json!("at+jwt2")] {
            assert_eq!(check("typ", typ.clone()), Some(InvalidToken::Type), "{typ}");
        }
        for crit in [json!(["exp"]), json!([]), json!(null), json!("x")] {
            assert_eq!(check("crit", crit), Some(InvalidToken::Critical));
        }
        assert_eq!(check("b64", json!(false)), Some(InvalidToken::Critical));
        assert_eq!(check("kid", json!(null)), Some(InvalidToken::UnknownKey));
        assert_eq!(check("kid", json!("k".repeat(200))), Some(InvalidToken::UnknownKey));
        assert_eq!(check("kid", json!(1)), Some(InvalidToken::Malformed));
    }

    #[test]
    fn a_claim_of_another_type_never_skips_its_check() {
        let check = |key: &str, value: Value| parse(&token(&header(), &with(claims(), key, value))).err();
        for key in ["exp", "iat", "nbf"] {
            for bad in [json!("2"), json!(null), json!([2]), json!(true)] {
                assert_eq!(check(key, bad.clone()), Some(InvalidToken::Malformed), "{key}: {bad}");
            }
            assert_eq!(check(key, json!(2.5)), None);
        }
        for key in ["iss", "sub", "client_id", "jti"] {
            for bad in [json!(1), json!(null), json!({})] {
                assert_eq!(check(key, bad), Some(InvalidToken::Malformed), "{key}");
            }
        }
        assert_eq!(check("sub", json!("")), Some(InvalidToken::Malformed));
        assert_eq!(check("jti", json!("a\r\nb")), Some(InvalidToken::Malformed));
        for bad in [json!(1), json!(null), json!(""), json!("a\nb")] {
            assert_eq!(check("sid", bad), Some(InvalidToken::Malformed), "an unreadable session is not none");
        }
        assert_eq!(check("sid", json!("s-1")), None);
        assert_eq!(check("aud", json!(["x", "amends"])), None);
        assert_eq!(check("aud", json!(7)), Some(InvalidToken::Malformed));
        let huge = token(&header(), &with(claims(), "exp", json!(1e300)));
        assert_eq!(parse(&huge).unwrap().claims.exp, NumericDate(i64::MAX));
    }

    #[test]
    fn every_length_has_its_bound() {
        let kid = |length| parse(&token(&with(header(), "kid", json!("k".repeat(length))), &claims())).err();
        assert_eq!([kid(128), kid(129)], [None, Some(InvalidToken::UnknownKey)]);
        for key in ["sub", "client_id", "jti", "sid"] {
            let id = |length| parse(&token(&header(), &with(claims(), key, json!("x".repeat(length))))).err();
            assert_eq!([id(1), id(256), id(257)], [None, None, Some(InvalidToken::Malformed)], "{key}");
        }
        let dots = |length| format!("{}..", "A".repeat(length - 2));
        assert_eq!(parse(&dots(TOKEN_BYTES_MAX)).err(), Some(InvalidToken::Malformed), "of a length that is looked at");
        assert_eq!(parse(&dots(TOKEN_BYTES_MAX + 1)).err(), Some(InvalidToken::TooLong));
    }

    #[test]
    fn a_date_is_kept_to_the_microsecond() {
        let exp = |value| parse(&token(&header(), &with(claims(), "exp", value))).unwrap().claims.exp;
        assert_eq!(
            [exp(json!(2)), exp(json!(2.5)), exp(json!(-1))].map(|date| date.0),
            [2_000_000, 2_500_000, -1_000_000]
        );
    }

    #[test]
    fn claims_weigh_what_they_hold() {
        let weight = |claims: Value| parse(&token(&header(), &claims)).unwrap().claims.weight();
        let plain = weight(claims());
        assert_eq!(plain, 400 + 16);
        for key in ["iss", "sub", "client_id", "scope", "jti", "sid", "aud"] {
            let long = weight(with(claims(), key, json!("x".repeat(200))));
            assert!(long.abs_diff(plain + 200) <= 8, "{key}: {plain}, {long}");
        }
        // Each of many is an allocation of its own.
        assert_eq!(weight(with(claims(), "aud", json!(["amends", "b"]))), plain + 1 + 2 * 24);
    }

    #[test]
    fn an_audience_is_one_name_or_one_of_many() {
        let is_for = |aud| parse(&token(&header(), &with(claims(), "aud", aud))).unwrap().claims.is_for("amends");
        assert!(is_for(json!("amends")) && is_for(json!(["x", "amends"])));
        assert!(!is_for(json!("x")) && !is_for(json!(["x"])) && !is_for(json!([])));
    }

    #[test]
    fn one_token_has_one_spelling() {
        let good = token(&header(), &claims());
        assert!(parse(&good).is_ok());
        let missing = |key: &str| {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(key);
            parse(&token(&header(), &claims)).err()
        };
        for key in ["iss", "aud", "sub", "client_id", "jti", "iat", "exp"] {
            assert_eq!(missing(key), Some(InvalidToken::Malformed), "{key}");
        }
        let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"k1"}"#);
        let rest = good.split_once('.').unwrap().1;
        assert_eq!(parse(&format!("{twice}.{rest}")).err(), Some(InvalidToken::Malformed));
        for bad in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            &format!("{good}="),
            &format!("{good}.x"),
            &format!(" {good}"),
            &format!("{good}\n"),
        ] {
            assert_eq!(parse(bad).err(), Some(InvalidToken::Malformed), "{bad:?}");
        }
        assert_eq!(parse(&"a".repeat(TOKEN_BYTES_MAX + 1)).err(), Some(InvalidToken::TooLong));
    }
}
