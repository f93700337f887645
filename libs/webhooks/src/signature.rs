//! The signature of the Standard Webhooks specification, 1.0.0, symmetric: `v1,<base64 of HMAC-SHA256 over id.timestamp.body>`.
//! Signing for the sender, and [`verify`] for receivers in Rust and for our tests.
//!
//! Must not know: who sends, and when.

use std::{fmt, time::Duration};

use amends_primitives::Timestamp;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What a secret begins with, as it is given to people.
pub const SECRET_PREFIX: &str = "whsec_";
/// The specification's bounds of a key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const VERSION: &str = "v1";

/// How old, or how far ahead, a timestamp may be that a receiver believes.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// The header with the id of what is told: the same for every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with one signature for each secret, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// A secret, ready to sign with.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

/// A text is no secret. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and the base64 of 24 to 64 random bytes")]
pub struct InvalidSecret;

impl SigningKey {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// When it is not base64 of 24 to 64 bytes behind that prefix.
    pub fn parse(secret: &str) -> Result<Self, InvalidSecret> {
        let encoded = secret.strip_prefix(SECRET_PREFIX).ok_or(InvalidSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidSecret)?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(InvalidSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(secret)")
    }
}

fn signed_content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), timestamp.as_bytes(), body].join(&b'.')
}

/// The signature header's value: one signature for each key, so that a receiver with any of them can verify it. `at_secs` is the
/// time of the attempt, in seconds since the Unix epoch.
pub fn sign(keys: &[SigningKey], id: &str, at_secs: i64, body: &[u8]) -> String {
    let content = signed_content(id, &at_secs.to_string(), body);
    let signatures: Vec<String> =
        keys.iter().map(|key| format!("{VERSION},{}", STANDARD.encode(hmac::sign(&key.0, &content)))).collect();
    signatures.join(" ")
}

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The timestamp is no number of seconds.
    #[error("the timestamp cannot be read")]
    Timestamp,
    /// It was sent too long ago, or in the future: perhaps a recording.
    #[error("the timestamp is too far from now")]
    OutsideTolerance,
    /// No signature is by one of our secrets.
    #[error("no signature fits")]
    Signature,
}

/// Whether a sender that knows one of `keys` sent this, and not long ago. `id`, `timestamp` and `signature` are the headers, `body` is
/// what was received, to the byte.
///
/// # Errors
/// When the message must not be accepted. Repeated ids are not detected here: the caller keeps those.
pub fn verify(
    keys: &[SigningKey],
    (id, timestamp, signature): (&str, &str, &str),
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let sent_secs: i64 = timestamp.parse().map_err(|_| VerifyError::Timestamp)?;
    let distance_secs = now.as_secs().saturating_sub(sent_secs).unsigned_abs();
    if distance_secs > tolerance.as_secs() {
        return Err(VerifyError::OutsideTolerance);
    }
    let content = signed_content(id, timestamp, body);
    let ours = signature.split(' ').filter_map(|one| one.strip_prefix(VERSION)?.strip_prefix(','));
    let fits = ours
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        // In constant time, so that the answer's delay does not spell the right signature.
        .any(|theirs| keys.iter().any(|key| hmac::verify(&key.0, &content, &theirs).is_ok()));
    if fits { Ok(()) } else { Err(VerifyError::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From the specification's reference libraries, github.com/standard-webhooks/standard-webhooks,
    // libraries/javascript/src/webhook.test.ts, "sign function works".
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const EXPECTED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key(secret: &str) -> SigningKey {
        SigningKey::parse(secret).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(AT * 1000)
    }

    fn other() -> SigningKey {
        key(&format!("whsec_{}", STANDARD.encode([7; 24])))
    }

    #[test]
    fn the_specifications_example_is_signed_as_it_says() {
        assert_eq!(sign(&[key(SECRET)], ID, AT, BODY), EXPECTED);
        let headers = (ID, "1614265330", EXPECTED);
        assert_eq!(verify(&[key(SECRET)], headers, BODY, now(), TOLERANCE), Ok(()));
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign_and_either_is_enough() {
        let both = sign(&[other(), key(SECRET)], ID, AT, BODY);
        assert_eq!(both.split(' ').nth(1), Some(EXPECTED));
        for keys in [vec![key(SECRET)], vec![other()], vec![other(), key(SECRET)]] {
            assert_eq!(verify(&keys, (ID, "1614265330", &both), BODY, now(), TOLERANCE), Ok(()));
        }
        // Versions we do not know are skipped.
        let newer = format!("v2,AAAA v1a,{} {EXPECTED}", STANDARD.encode([1; 64]));
        assert_eq!(verify(&[key(SECRET)], (ID, "1614265330", &newer), BODY, now(), TOLERANCE), Ok(()));
    }

    #[test]
    fn a_change_anywhere_is_noticed() {
        let verify = |id, timestamp, signature: &str, body: &[u8], now| {
            verify(&[key(SECRET)], (id, timestamp, signature), body, now, TOLERANCE)
        };
        let wrong = Err(VerifyError::Signature);
        assert_eq!(verify("msg_other", "1614265330", EXPECTED, BODY, now()), wrong);
        assert_eq!(verify(ID, "1614265331", EXPECTED, BODY, now()), wrong);
        assert_eq!(verify(ID, "1614265330", EXPECTED, br#"{"test": 2432232315}"#, now()), wrong);
        for signature in ["", "v1", "v1,", "v1,?", &EXPECTED[..20], &EXPECTED[3..], &EXPECTED.replace("v1", "v2")] {
            assert_eq!(verify(ID, "1614265330", signature, BODY, now()), wrong, "{signature}");
        }
        assert_eq!(super::verify(&[other()], (ID, "1614265330", EXPECTED), BODY, now(), TOLERANCE), wrong);
        assert_eq!(super::verify(&[], (ID, "1614265330", EXPECTED), BODY, now(), TOLERANCE), wrong);
    }

    #[test]
    fn a_recording_is_refused() {
        let verify = |timestamp, now| verify(&[key(SECRET)], (ID, timestamp, EXPECTED), BODY, now, TOLERANCE);
        assert_eq!(verify("1614265330", now() + TOLERANCE), Ok(()));
        let late = now() + TOLERANCE + Duration::from_secs(1);
        assert_eq!(verify("1614265330", late), Err(VerifyError::OutsideTolerance));
        let early = now() - TOLERANCE - Duration::from_secs(1);
        assert_eq!(verify("1614265330", early), Err(VerifyError::OutsideTolerance));
        assert_eq!(verify("hello", now()), Err(VerifyError::Timestamp));
        assert_eq!(verify("-9223372036854775808", now()), Err(VerifyError::OutsideTolerance));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes]));
        for (good, secret) in [(true, of(24)), (true, of(64)), (false, of(23)), (false, of(65))] {
            assert_eq!(SigningKey::parse(&secret).is_ok(), good, "{secret}");
        }
        for secret in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_no base64 but quite long all the same"]
        {
            let error = SigningKey::parse(secret).unwrap_err();
            // Whole, since a part of what was typed is enough.
            assert_eq!(error.to_string(), "must be whsec_ and the base64 of 24 to 64 random bytes");
            assert_eq!(format!("{error:?}"), "InvalidSecret");
        }
        assert_eq!(format!("{:?}", key(SECRET)), "SigningKey(secret)");
    }
}
