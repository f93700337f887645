//! Tokens that look right and are not.

use anyhow::Context;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

/// The same header and claims, signed by a key that is not the issuer's.
///
/// # Errors
/// When `genuine` is not a token.
pub fn foreign_token(genuine: &str) -> anyhow::Result<String> {
    let (signed, _) = genuine.rsplit_once('.').context("a token has three parts")?;
    let key = Ed25519KeyPair::generate().map_err(|_| anyhow::anyhow!("no key could be generated"))?;
    Ok(format!("{signed}.{}", BASE64.encode(key.sign(signed.as_bytes()))))
}

/// The same claims with `alg: none` and no signature (RFC 8725, section 2.1).
///
/// # Errors
/// When `genuine` is not a token.
pub fn unsigned_token(genuine: &str) -> anyhow::Result<String> {
    let mut parts = genuine.split('.');
    let (header, claims) = (parts.next().context("no header")?, parts.next().context("no claims")?);
    let mut header: Value = serde_json::from_slice(&BASE64.decode(header)?)?;
    header["alg"] = json!("none");
    Ok(format!("{}.{claims}.", BASE64.encode(header.to_string())))
}
