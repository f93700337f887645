//! Reading a request's head. Pure.

use http::{HeaderMap, Uri, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        // `application/grpc-web` is another protocol, which nobody here speaks.
        rest.is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';' | b' '))
    })
}

/// The path of a target in origin or absolute form, without its query.
pub(super) fn path_of(target: &[u8]) -> &[u8] {
    let target = match target.iter().position(|byte| *byte == b'?') {
        Some(end) => &target[..end],
        None => target,
    };
    if target.starts_with(b"/") {
        return target;
    }
    let after_scheme = target.windows(3).position(|window| window == b"://").map_or(target, |at| &target[at + 3..]);
    after_scheme.iter().position(|byte| *byte == b'/').map_or(b"/", |at| &after_scheme[at..])
}

/// `GET http://host/path` becomes `GET /path`; the host was compared with the Host header before.
pub(super) fn origin_form(head: &mut RequestHeader) -> Result<()> {
    if head.version == Version::HTTP_2 || head.raw_path().starts_with(b"/") {
        return Ok(());
    }
    let target = String::from_utf8_lossy(head.raw_path()).into_owned();
    let uri: Uri = target.parse().map_err(|error| {
        Error::because(ErrorType::InvalidHTTPHeader, "an absolute-form target that is no URI", error).into_down()
    })?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    head.set_raw_path(path.as_bytes())
}

pub(super) fn declared_length(head: &RequestHeader) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let check = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            is_grpc(&headers)
        };
        assert!(check("application/grpc") && check("application/grpc+proto") && check("application/grpc;x=y"));
        assert!(!check("application/grpc-web") && !check("application/json"));
    }

    #[test]
    fn paths_come_without_query_and_host() {
        for (target, path) in
            [("/a?b=/c", "/a"), ("/", "/"), ("http://h/a?b", "/a"), ("http://h", "/"), ("http://h?x", "/")]
        {
            assert_eq!(path_of(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }
}
