//! Project Wycheproof's signatures against the verifier's own keys: ECDSA on P-256 in the raw form that a JWS has, and Ed25519. Its
//! file of whole JSON Web Signatures is not part of this project, nor of the crate: it is read where it is given.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;
use wycheproof::{ecdsa, eddsa};

use super::super::{
    Jwk,
    jwks::Key,
    token::{self, Algorithm},
};

fn coordinate(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Compares what the key says with what it must say, for each vector; how many signatures it accepted and refused.
fn judged<'a>(
    key: &Key,
    algorithm: Algorithm,
    vectors: impl Iterator<Item = (bool, &'a [u8], &'a [u8])>,
) -> [usize; 2] {
    let mut counts = [0, 0];
    for (index, (is_valid, message, signature)) in vectors.enumerate() {
        let accepted = key.verify(algorithm, message, signature).is_ok();
        assert_eq!(accepted, is_valid, "{algorithm:?}, vector {index} of the group");
        counts[usize::from(!accepted)] += 1;
    }
    counts
}

/// No vector may be left to taste: the sets that are used have none that is merely acceptable.
fn is_valid(result: wycheproof::TestResult) -> bool {
    assert_ne!(result, wycheproof::TestResult::Acceptable);
    result == wycheproof::TestResult::Valid
}

#[test]
fn ecdsa_signatures_are_judged_right() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut total = [0, 0];
    for group in &set.test_groups {
        let point = group.key.key.as_ref();
        let (x, y) = point[1..].split_at(32);
        let jwk = Jwk {
            kty: "EC".into(),
            crv: Some("P-256".into()),
            x: Some(coordinate(x)),
            y: Some(coordinate(y)),
            ..Jwk::default()
        };
        let vectors = group.tests.iter().map(|test| (is_valid(test.result), &test.msg[..], &test.sig[..]));
        let counts = judged(&Key::from_jwk(&jwk).unwrap(), Algorithm::Es256, vectors);
        total = [total[0] + counts[0], total[1] + counts[1]];
    }
    assert!(total[0] > 100 && total[1] > 50, "{total:?}");
}

#[test]
fn ed25519_signatures_are_judged_right() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut total = [0, 0];
    for group in &set.test_groups {
        let jwk = Jwk {
            kty: "OKP".into(),
            crv: Some("Ed25519".into()),
            x: Some(coordinate(group.key.pk.as_ref())),
            ..Jwk::default()
        };
        let vectors = group.tests.iter().map(|test| (is_valid(test.result), &test.msg[..], &test.sig[..]));
        let counts = judged(&Key::from_jwk(&jwk).unwrap(), Algorithm::EdDsa, vectors);
        total = [total[0] + counts[0], total[1] + counts[1]];
    }
    assert!(total[0] > 50 && total[1] > 20, "{total:?}");
}

#[test]
fn a_key_verifies_no_signature_of_another_algorithm() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let group = &set.test_groups[0];
    let jwk = Jwk {
        kty: "OKP".into(),
        crv: Some("Ed25519".into()),
        x: Some(coordinate(group.key.pk.as_ref())),
        ..Jwk::default()
    };
    let (key, test) = (Key::from_jwk(&jwk).unwrap(), &group.tests[0]);
    assert!(key.verify(Algorithm::EdDsa, &test.msg, &test.sig).is_ok());
    assert!(key.verify(Algorithm::Es256, &test.msg, &test.sig).is_err());
    // No RSA, whatever its parameters: a token service of ours never signs with it.
    assert!(Key::from_jwk(&Jwk { kty: "RSA".into(), ..Jwk::default() }).is_none());
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    comment: String,
    public: Option<Jwk>,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    tc_id: u32,
    comment: String,
    jws: Value,
    result: String,
}

fn accepts(key: Option<&Key>, jws: &Value) -> bool {
    let (Some(key), Some(text)) = (key, jws.as_str()) else { return false };
    token::open(text).is_ok_and(|jws| key.verify(jws.algorithm, jws.signed, &jws.signature).is_ok())
}

#[test]
#[ignore = "needs Wycheproof's json_web_signature_test.json, in the folder that AMENDS_TEST_VECTORS names"]
fn whole_json_web_signatures_are_judged_right() {
    let folder = std::env::var_os("AMENDS_TEST_VECTORS").expect("AMENDS_TEST_VECTORS names the folder");
    let text = std::fs::read_to_string(PathBuf::from(folder).join("json_web_signature_test.json")).unwrap();
    let vectors: Vectors = serde_json::from_str(&text).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in &vectors.test_groups {
        let key = group.public.as_ref().and_then(Key::from_jwk);
        for vector in &group.tests {
            // We do ES256; whatever is signed in another way is refused, however well.
            let expected = vector.result == "valid" && key.is_some();
            let told = accepts(key.as_ref(), &vector.jws);
            assert_eq!(told, expected, "vector {} of {}: {}", vector.tc_id, group.comment, vector.comment);
            if told { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(accepted > 0 && refused > 0);
}
