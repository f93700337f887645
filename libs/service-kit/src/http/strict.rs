//! Requests whose body would have to be decoded first: no service of ours decodes bodies, so all of them refuse.
//!
//! Read as it is, a compressed body is nonsense at best; decoded, a small one becomes as large as its sender likes.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use service_base::problem::{Code, Problem};

/// Refuses content codings with 415 (RFC 9110, section 8.4) and transfer codings other than `chunked` with 400, as the gateway does.
pub(super) async fn refuse_coded(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if has_other(headers, &header::CONTENT_ENCODING, "identity") {
        let detail = "the body is coded; send it as it is";
        let problem = Problem::of(Code::UnsupportedMediaType, detail);
        let mut response = problem.into_response();
        // RFC 9110, section 15.5.16: what would be read.
        response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return response;
    }
    if has_other(headers, &header::TRANSFER_ENCODING, "chunked") {
        let detail = "the only Transfer-Encoding read here is chunked";
        return Problem::of(Code::BadRequest, detail).into_response();
    }
    next.run(request).await
}

/// Whether a header that is a list names anything but `known`.
fn has_other(headers: &HeaderMap, name: &HeaderName, known: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let items = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        items.into_iter().any(|item| !item.is_empty() && !item.eq_ignore_ascii_case(known.as_bytes()))
    })
}
