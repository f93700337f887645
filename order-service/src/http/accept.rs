//! We answer in JSON. A caller who accepts no JSON is told so before anything is done, rather than sent what they cannot read.

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use service_base::problem::{Code, Problem};

pub(super) async fn refuse_the_unacceptable(request: Request, next: Next) -> Response {
    if accepts_json(request.headers()) {
        next.run(request).await
    } else {
        Problem::from(Code::NotAcceptable).into_response()
    }
}

/// Whether JSON has a weight above zero. The most specific range that matches decides (RFC 9110, section 12.5.1); a problem is JSON too.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().peekable();
    if ranges.peek().is_none() {
        return true;
    }
    let mut best: Option<(u8, bool)> = None;
    for range in ranges.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let specificity = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" => 3,
            "application/problem+json" => 2,
            "application/*" => 1,
            "*/*" => 0,
            _ => continue,
        };
        let is_accepted = !parts.any(is_zero_weight);
        if best.is_none_or(|(known, accepted)| (specificity, is_accepted) > (known, accepted)) {
            best = Some((specificity, is_accepted));
        }
    }
    best.is_some_and(|(_, is_accepted)| is_accepted)
}

/// `q=0`, `q=0.` and up to three more zeros.
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.trim();
    name.trim().eq_ignore_ascii_case("q")
        && value.starts_with('0')
        && value.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_accept_no_json_are_refused() {
        let check = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            accepts_json(&headers)
        };
        assert!(accepts_json(&HeaderMap::new()));
        for good in [
            "*/*",
            "application/json",
            "text/html, application/*;q=0.1",
            "Application/JSON; charset=utf-8",
            "application/json;q=0.001",
            "*/*;q=0, application/json",
            "application/json;q=1, */*;q=0",
            "application/problem+json",
            "nonsense, */*",
        ] {
            assert!(check(good), "{good}");
        }
        for bad in [
            "text/html",
            "application/xml, text/*",
            "application/json;q=0",
            "application/json; Q=0.0",
            "application/json; q = 0.000",
            "*/*, application/json;q=0",
            "application/*;q=0, */*",
            "text/json",
            "application/jsonx",
            "nonsense",
            "",
        ] {
            assert!(!check(bad), "{bad}");
        }
    }
}
