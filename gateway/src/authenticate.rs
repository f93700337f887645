//! Who asks, and whether they may: the bearer token of a request, verified, against the scopes of its route.
//!
//! Must not know: Pingora, upstreams.

use std::net::IpAddr;

use amends_auth::{Claims, Verifier};
use http::{HeaderMap, header};
use service_base::problem::{Code, Problem};

use crate::{refusal::Refusal, routes::Access};

/// Ours are below 1 KiB; no honest token is near this.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// RFC 6750, section 3: without credentials the challenge says nothing about an error.
const CHALLENGE: &str = r#"Bearer realm="amends""#;
const CHALLENGE_MALFORMED: &str =
    r#"Bearer realm="amends", error="invalid_token", error_description="the token is malformed""#;

/// Verifies the token of a caller at that address.
///
/// # Errors
/// 401 without a good token; 429 when too many bad ones came from there; 503 when its signature or revocation cannot be checked.
pub(crate) async fn authenticate(verifier: &Verifier, from: IpAddr, headers: &HeaderMap) -> Result<Claims, Refusal> {
    let token = bearer(headers)?;
    verifier.verify_from(from, token).await.map_err(|error| Problem::from(error).into())
}

/// Whether the token's scopes allow what the route asks for.
///
/// # Errors
/// 403 naming the scope that would do.
pub(crate) fn authorize(claims: &Claims, access: Access) -> Result<(), Refusal> {
    let Access::AnyScope([first, others @ ..]) = access else { return Ok(()) };
    match claims.require(first) {
        Err(_) if others.iter().any(|scope| claims.require(scope).is_ok()) => Ok(()),
        judged => judged.map_err(|error| Problem::from(error).into()),
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value =
        values.next().ok_or_else(|| unauthenticated(Code::Unauthenticated, "this needs a bearer token", CHALLENGE))?;
    // HTTP/1 heads were judged before; HTTP/2 may still bring two, and nothing says which of them counts.
    if values.next().is_some() {
        return Err(crate::hygiene::Flaw::AuthorizationRepeated.into());
    }
    let malformed = || unauthenticated(Code::InvalidToken, "the token is malformed", CHALLENGE_MALFORMED);
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated(Code::Unauthenticated, "this needs a bearer token", CHALLENGE));
    }
    let token = token.trim_matches(' ');
    let fits = (1..=TOKEN_BYTES_MAX).contains(&token.len());
    if fits && token.bytes().all(is_token68) { Ok(token) } else { Err(malformed()) }
}

fn unauthenticated(code: Code, detail: &'static str, challenge: &'static str) -> Refusal {
    Problem::of(code, detail).www_authenticate(challenge).into()
}

/// RFC 6750, section 2.1.
const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn judge(values: &[&'static str]) -> Result<String, (u16, Code)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        bearer(&headers).map(str::to_owned).map_err(|refusal| (refusal.status().as_u16(), refusal.code()))
    }

    #[test]
    fn one_bearer_token_or_a_challenge() {
        assert_eq!(judge(&["Bearer a.b-c_d.e"]), Ok("a.b-c_d.e".to_owned()));
        assert_eq!(judge(&["bearer  a"]), Ok("a".to_owned()));
        assert_eq!(judge(&[]), Err((401, Code::Unauthenticated)));
        assert_eq!(judge(&["Basic YTpi"]), Err((401, Code::Unauthenticated)));
        assert_eq!(judge(&["Bearer"]), Err((401, Code::InvalidToken)));
        assert_eq!(judge(&["Bearer a b"]), Err((401, Code::InvalidToken)));
        assert_eq!(judge(&["Bearer a,b"]), Err((401, Code::InvalidToken)));
        assert_eq!(judge(&["Bearer a", "Bearer b"]), Err((400, Code::BadRequest)));
    }
}
