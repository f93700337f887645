//! Reading JSON bodies: every way a body can be wrong has a code, and names the field.

use axum::{
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use service_base::problem::{Code, Problem};

/// A body that was JSON of that shape. The extractor refuses others with a [`Problem`]:
/// `unsupported_media_type`, `payload_too_large`, `invalid_json`, `unknown_field`, `invalid_request`.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body must be JSON in UTF-8: content-type: application/json";
            return Err(Problem::of(Code::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
        read_json(&body).map(Self)
    }
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::from(Code::PayloadTooLarge)
    } else {
        Problem::of(Code::BadRequest, "the body could not be read to its end")
    }
}

/// One `Content-Type`: `application/json` or `application/…+json`, in UTF-8, as JSON is by definition (RFC 8259, section 8.1). Parameters
/// that say nothing about that do not matter.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(text)), None) = (types.next().map(|value| value.to_str()), types.next()) else { return false };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_subtype = |name: &str| name.strip_suffix("+json").is_some_and(|name| !name.is_empty());
    let is_json = essence.strip_prefix("application/").is_some_and(|name| name == "json" || is_subtype(name));
    is_json
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            let charset = value.trim().trim_matches('"');
            !name.trim().eq_ignore_ascii_case("charset")
                || ["utf-8", "utf8", "us-ascii"].iter().any(|good| charset.eq_ignore_ascii_case(good))
        })
}

/// Reads a JSON object, or says which field is wrong.
///
/// # Errors
/// `invalid_json` (400) when it is not JSON; `unknown_field` or `invalid_request` (422) when it is, but not of that shape.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        // Derived readers take the fields of an object from an array, in order; that order is not documented.
        return Err(Problem::invalid("body", "must be an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| refused(&error))?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::of(Code::InvalidJson, format!("the body is not JSON: {error}"))
}

fn refused(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    use serde_json::error::Category;
    let inner = error.inner();
    if matches!(inner.classify(), Category::Syntax | Category::Eof | Category::Io) {
        return not_json(inner);
    }
    let text = inner.to_string();
    // "… at line 1 column 7" is of the body, not of the field.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let path = error.path().to_string();
    let path = if path == "." { "" } else { path.as_str() };
    let quoted = |start: &str| message.strip_prefix(start).and_then(|rest| rest.split('`').next());
    if let Some(field) = quoted("unknown field `") {
        let field = if path.rsplit('.').next() == Some(field) { path.to_owned() } else { within(path, field) };
        return Problem::from(Code::UnknownField).field(field, message);
    }
    let field = match quoted("missing field `") {
        Some(missing) => within(path, missing),
        None => within(path, ""),
    };
    Problem::invalid(field, message)
}

/// `field` of what is at `path`; the body itself is called `body`.
fn within(path: &str, field: &str) -> String {
    match (path, field) {
        ("", "") => "body".to_owned(),
        ("", field) => field.to_owned(),
        (path, "") => path.to_owned(),
        (path, field) => format!("{path}.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only read")]
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[expect(dead_code, reason = "only read")]
        quantity: u32,
    }

    #[test]
    fn json_is_told_by_one_content_type_in_utf_8() {
        let check = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_TYPE, line.parse().unwrap());
            }
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON",
            "application/json ; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=us-ascii",
            "application/json; profile=x",
            "application/merge-patch+json",
        ] {
            assert!(check(&[good]), "{good}");
        }
        for bad in [
            &[][..],
            &[""],
            &["text/json"],
            &["text/plain"],
            &["application/jsonx"],
            &["application/+json"],
            &["application/json/x"],
            &["json"],
            &["application/json;charset=latin1"],
            &["application/json; Charset=\"utf-16\""],
            &["application/json; charset=utf-8; charset=utf-16"],
            &["application/json", "application/json"],
            &["application/x-www-form-urlencoded"],
        ] {
            assert!(!check(bad), "{bad:?}");
        }
    }

    #[test]
    fn odd_json_is_refused_and_does_not_exhaust_the_stack() {
        let check = |body: &[u8]| {
            let problem = read_json::<Order>(body).unwrap_err();
            let field = problem.errors().first().map(|e| e.field.clone()).unwrap_or_default();
            format!("{} {} {field}", problem.http_status().as_u16(), problem.code())
        };
        let deep = |open: &str, close: &str| {
            let (open, close) = (open.repeat(30_000), close.repeat(30_000));
            format!("{{\"items\":[{open}1{close}]}}")
        };
        // (what is odd, the body, the answer)
        let table: [(&str, Vec<u8>, &str); 14] = [
            ("a byte order mark", b"\xef\xbb\xbf{\"items\":[]}".to_vec(), "400 invalid_json "),
            ("UTF-16", b"\xff\xfe{\0}\0".to_vec(), "400 invalid_json "),
            ("a lone surrogate", br#"{"\ud800":1}"#.to_vec(), "400 invalid_json "),
            ("a key twice", br#"{"items":[],"items":[]}"#.to_vec(), "422 invalid_request body"),
            (
                "a nested key twice",
                br#"{"items":[{"quantity":1,"quantity":2}]}"#.to_vec(),
                "422 invalid_request items[0]",
            ),
            ("NaN", br#"{"items":[{"quantity":NaN}]}"#.to_vec(), "400 invalid_json "),
            ("Infinity", br#"{"items":[{"quantity":-Infinity}]}"#.to_vec(), "400 invalid_json "),
            ("a leading zero", br#"{"items":[{"quantity":01}]}"#.to_vec(), "400 invalid_json "),
            ("a plus sign", br#"{"items":[{"quantity":+1}]}"#.to_vec(), "400 invalid_json "),
            ("a huge exponent", br#"{"items":[{"quantity":1e999}]}"#.to_vec(), "400 invalid_json "),
            ("a comment", br#"{"items":[]/**/}"#.to_vec(), "400 invalid_json "),
            ("a trailing comma", br#"{"items":[],}"#.to_vec(), "400 invalid_json "),
            ("deep arrays", deep("[", "]").into(), "422 invalid_request items[0][0]"),
            ("deep objects", deep("{\"quantity\":", "}").into(), "422 invalid_request items[0].quantity"),
        ];
        let answers: Vec<(&str, String)> = table.iter().map(|(what, body, _)| (*what, check(body))).collect();
        let expected: Vec<(&str, String)> =
            table.iter().map(|(what, _, answer)| (*what, (*answer).to_owned())).collect();
        assert_eq!(answers, expected);
        assert!(read_json::<serde_json::Value>(deep("[", "]").as_bytes()).is_err(), "nothing of that depth is read");
    }

    #[test]
    fn a_wrong_body_is_told_what_is_wrong() {
        let check = |body: &[u8]| {
            let problem = read_json::<Order>(body).unwrap_err();
            let field = problem.errors().first().map(|e| e.field.clone()).unwrap_or_default();
            format!("{} {} {field}", problem.http_status().as_u16(), problem.code())
        };
        assert!(read_json::<Order>(br#"{"items":[{"quantity":1}]}"#).is_ok());
        assert_eq!(check(b""), "400 invalid_json ");
        assert_eq!(check(b"{"), "400 invalid_json ");
        assert_eq!(check(b"\xff"), "400 invalid_json ");
        assert_eq!(check(br#"{"items":[]} x"#), "400 invalid_json ");
        assert_eq!(check(b"[[[1]]]"), "422 invalid_request body");
        assert_eq!(check(b"7"), "422 invalid_request body");
        assert_eq!(check(b"{}"), "422 invalid_request items");
        assert_eq!(check(br#"{"items":[{}]}"#), "422 invalid_request items[0].quantity");
        assert_eq!(check(br#"{"items":[{"quantity":-1}]}"#), "422 invalid_request items[0].quantity");
        assert_eq!(check(br#"{"items":[{"quantity":1,"colour":1}]}"#), "422 unknown_field items[0].colour");
        assert_eq!(check(br#"{"colour":1}"#), "422 unknown_field colour");
    }
}
