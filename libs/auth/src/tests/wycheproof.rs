//! Project Wycheproof's vectors for JSON Web Signatures, where they are at hand. They are not part of this project.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::super::{Jwk, jwks::Key, token};

const FILE: &str = "json_web_signature_test.json";

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

/// The directory that `AMENDS_TEST_VECTORS` names, or `shared/vectors` beside the checkout.
fn directory() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    std::env::var_os("AMENDS_TEST_VECTORS").map_or(beside, PathBuf::from)
}

fn accepts(key: Option<&Key>, jws: &Value) -> bool {
    let (Some(key), Some(text)) = (key, jws.as_str()) else { return false };
    token::open(text).is_ok_and(|jws| key.verify(jws.algorithm, jws.signed, &jws.signature).is_ok())
}

#[test]
fn every_wycheproof_vector_is_judged_right() {
    let file = directory().join(FILE);
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED wycheproof: {FILE} is not there; name its directory in AMENDS_TEST_VECTORS");
        return;
    };
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
    eprintln!("wycheproof: {accepted} vectors accepted, {refused} refused, as they should be");
    assert!(accepted > 0 && refused > 0);
}
