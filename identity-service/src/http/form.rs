//! Form bodies of the OAuth endpoints, read strictly: UTF-8 only, nothing twice; and the client's credentials.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use secrecy::SecretString;
use zeroize::Zeroizing;

use service_base::problem::{Code, Problem};

use super::problem::Refusal;
use crate::{
    app::{TokenError, authenticate::Presented},
    domain::scope::ScopeSet,
};

/// No request of ours has half as many.
const PARAMETERS_MAX: usize = 32;

/// RFC 8693 allows these more than once.
const REPEATABLE: [&str; 2] = ["audience", "resource"];

const MALFORMED: TokenError = TokenError::InvalidRequest("the body is not a well-formed form in UTF-8");
const MALFORMED_BASIC: TokenError =
    TokenError::InvalidRequest("the authorization header is not well-formed Basic credentials");

/// A form and who sent it. `Debug` shows names of parameters only.
pub(super) struct Form {
    parameters: Vec<(String, Zeroizing<String>)>,
    basic: Option<(String, SecretString)>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.parameters.iter().map(|(name, _)| name)).finish()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(TokenError::InvalidRequest("the body must be application/x-www-form-urlencoded").into());
        }
        let basic = basic_credentials(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Refusal::Problem(Problem::from(Code::PayloadTooLarge))
            } else {
                Refusal::OAuth(TokenError::InvalidRequest("the body could not be read to its end"))
            }
        })?;
        Ok(Self { parameters: read_parameters(&body)?, basic })
    }
}

impl Form {
    /// A parameter; one without a value counts as absent (RFC 6749 section 3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parameters.iter().find(|(key, value)| key == name && !value.is_empty())?;
        Some(value)
    }

    /// A parameter that must be there.
    pub(super) fn require(&self, name: &str, missing: &'static str) -> Result<&str, TokenError> {
        self.get(name).ok_or(TokenError::InvalidRequest(missing))
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.parameters
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// The requested scopes, if any.
    pub(super) fn scope(&self) -> Result<Option<ScopeSet>, TokenError> {
        self.get("scope").map(ScopeSet::parse).transpose().map_err(|_| TokenError::InvalidScope)
    }

    /// What the request says about its client, by exactly one of the two methods (RFC 6749 section 2.3).
    pub(super) fn client(&mut self) -> Result<Presented, TokenError> {
        let client_id = self.get("client_id").map(str::to_owned);
        let client_secret = self.get("client_secret").map(SecretString::from);
        let Some((basic_id, basic_secret)) = self.basic.take() else {
            return Ok(Presented { client_id, client_secret });
        };
        if client_secret.is_some() {
            return Err(TokenError::InvalidRequest("the client must use one authentication method, not two"));
        }
        if client_id.is_some_and(|client_id| client_id != basic_id) {
            return Err(TokenError::InvalidRequest("client_id differs from the authorization header"));
        }
        Ok(Presented { client_id: Some(basic_id), client_secret: Some(basic_secret) })
    }
}

fn read_parameters(body: &[u8]) -> Result<Vec<(String, Zeroizing<String>)>, TokenError> {
    let mut parameters: Vec<(String, Zeroizing<String>)> = Vec::new();
    for part in body.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &[][..]),
        };
        let name = decode(name).ok_or(MALFORMED)?;
        let value = Zeroizing::new(decode(value).ok_or(MALFORMED)?);
        if parameters.iter().any(|(known, _)| *known == name) && !REPEATABLE.contains(&name.as_str()) {
            return Err(TokenError::InvalidRequest("a parameter is given more than once"));
        }
        parameters.push((name, value));
        if parameters.len() > PARAMETERS_MAX {
            return Err(TokenError::InvalidRequest("there are too many parameters"));
        }
    }
    Ok(parameters)
}

/// RFC 6749 section 2.3.1: id and secret are form-encoded before they become Basic credentials.
fn basic_credentials(headers: &HeaderMap) -> Result<Option<(String, SecretString)>, TokenError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(TokenError::InvalidRequest("there is more than one authorization header"));
    }
    let text = value.to_str().map_err(|_| MALFORMED_BASIC)?;
    let (scheme, credentials) = text.split_once(' ').ok_or(TokenError::InvalidClient)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(TokenError::InvalidClient);
    }
    let decoded = Zeroizing::new(STANDARD.decode(credentials.trim()).map_err(|_| MALFORMED_BASIC)?);
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or(MALFORMED_BASIC)?;
    let client_id = decode(&decoded[..colon]).ok_or(MALFORMED_BASIC)?;
    let secret = decode(&decoded[colon + 1..]).ok_or(MALFORMED_BASIC)?;
    Ok(Some((client_id, secret.into())))
}

/// Decodes `application/x-www-form-urlencoded`; `None` when it is malformed or not UTF-8.
fn decode(encoded: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(*bytes.next()?)? << 4 | hex(*bytes.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(body: &[u8]) -> Result<Vec<(String, String)>, TokenError> {
        let parameters = read_parameters(body)?;
        Ok(parameters.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }

    #[test]
    fn forms_are_read_strictly() {
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(read(b"a=b+c%2B%C3%A4").unwrap(), one("a", "b c+ä"));
        assert_eq!(read(b"&a&").unwrap(), one("a", ""));
        assert_eq!(read(b"a=b=c").unwrap(), one("a", "b=c"));
        assert_eq!(read(b"").unwrap(), []);
        assert_eq!(read(b"resource=1&resource=2").unwrap().len(), 2);
        for bad in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff", b"%ff=1", b"a=1&a=2", b"a&%61"] {
            assert!(matches!(read(bad), Err(TokenError::InvalidRequest(_))), "{bad:?}");
        }
        let many = (0..=PARAMETERS_MAX).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(read(many.as_bytes()).is_err());
    }

    #[test]
    fn basic_credentials_are_read_strictly() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            let read = basic_credentials(&headers);
            read.map(|found| found.map(|(id, secret)| format!("{id} {}", secret.expose_secret())))
        };
        let basic = |plain: &str| format!("Basic {}", STANDARD.encode(plain));
        assert_eq!(check(&basic("shop:s%3Ae+c")).unwrap().unwrap(), "shop s:e c");
        assert_eq!(check(&basic("shop:a:b")).unwrap().unwrap(), "shop a:b");
        assert_eq!(check(&basic("shop:").replace("Basic", "bAsIc")).unwrap().unwrap(), "shop ");
        for bad in ["Basic !", &basic("no colon"), &basic("a:%ff")] {
            assert!(matches!(check(bad), Err(TokenError::InvalidRequest(_))), "{bad}");
        }
        for other in ["Bearer x", "Basic"] {
            assert!(matches!(check(other), Err(TokenError::InvalidClient)), "{other}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let form = Form { parameters: read_parameters(b"password=hunter2").unwrap(), basic: None };
        assert_eq!(format!("{form:?}"), r#"["password"]"#);
    }
}
