//! An issuer of tokens beside the service under test. It signs what it is told to; what is good about a token is the test's affair.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// One key, published under the issuer's name.
#[derive(Debug)]
pub struct Issuer {
    key: Ed25519KeyPair,
    /// `iss` of its tokens.
    pub name: String,
}

impl Issuer {
    /// With a key of its own, which is published by the test.
    pub fn new(name: impl Into<String>) -> Self {
        Self { key: Ed25519KeyPair::generate().unwrap(), name: name.into() }
    }

    /// As [`new`](Self::new), on a port of its own: whatever is asked for there, the answer is its key set.
    pub async fn serve() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self::new(format!("http://{}", listener.local_addr().unwrap()));
        let jwks = issuer.jwks();
        let published = axum::Router::new().fallback(move || async move { axum::Json(jwks) });
        tokio::spawn(async move { axum::serve(listener, published).await });
        issuer
    }

    /// Its key set.
    pub fn jwks(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": x}]})
    }

    /// A token of ten minutes from `now`, in seconds since 1970, for a caller with a scope; `claims` override what is usual.
    pub fn token(&self, now: i64, subject: &str, scope: &str, claims: &Value) -> String {
        let mut body = json!({
            "iss": self.name, "aud": "amends", "sub": subject, "client_id": subject, "scope": scope,
            "jti": "j-1", "iat": now, "exp": now + 600,
        });
        for (claim, value) in claims.as_object().into_iter().flatten() {
            body[claim] = value.clone();
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"})), encode(&body));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes())))
    }
}
