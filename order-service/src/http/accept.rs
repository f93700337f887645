//! We answer in JSON. A caller who accepts no JSON is told so before anything is done, rather than sent what they cannot read.

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use service_kit::problem::{ErrorKind, Problem};

pub(super) async fn refuse_the_unacceptable(request: Request, next: Next) -> Response {
    if accepts_json(request.headers()) {
        next.run(request).await
    } else {
        Problem::new(ErrorKind::NotAcceptable, "not_acceptable", "answers are application/json").into_response()
    }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        !refused
            && matches!(essence.as_str(), "*/*" | "application/*" | "application/json" | "application/problem+json")
    })
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
        for good in ["*/*", "application/json", "text/html, application/*;q=0.1", "Application/JSON; charset=utf-8"] {
            assert!(check(good), "{good}");
        }
        for bad in ["text/html", "application/xml, text/*", "application/json;q=0", ""] {
            assert!(!check(bad), "{bad}");
        }
    }
}
