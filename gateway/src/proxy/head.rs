//! Reading a request's head. Pure.

use http::{HeaderMap, Uri, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

use crate::hygiene::Flaw;

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

/// Whether the body is coded in a way that we, and the services behind, would have to undo. None does: a small body that becomes a
/// large one is a way to make others work, and read as it is it would be nonsense.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| {
        let codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        codings.into_iter().any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
    })
}

/// Whether the caller waits for `100 Continue` before it sends the body (RFC 9110, section 10.1.1).
///
/// # Errors
/// When it expects anything else.
pub(super) fn expects_continue(head: &RequestHeader) -> Result<bool, Flaw> {
    let mut expected = head.headers.get_all(header::EXPECT).iter().peekable();
    // HTTP/1.0 has no expectations: a recipient must act as if it had not read one.
    if expected.peek().is_none() || head.version == Version::HTTP_10 {
        return Ok(false);
    }
    if expected.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        Ok(true)
    } else {
        Err(Flaw::Expectation)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn coded_bodies_are_told_by_any_coding_but_identity() {
        let check = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            is_coded(&headers)
        };
        for plain in [&[][..], &[""], &["identity"], &["Identity, identity"], &[" , "]] {
            assert!(!check(plain), "{plain:?}");
        }
        for coded in [&["gzip"][..], &["GZIP"], &["identity, br"], &["identity", "zstd"], &["deflate"], &["x"], &["*"]]
        {
            assert!(check(coded), "{coded:?}");
        }
    }

    #[test]
    fn the_only_expectation_is_to_continue() {
        let check = |version: Version, lines: &[&'static str]| {
            let mut head = RequestHeader::build("POST", b"/", None).unwrap();
            head.set_version(version);
            for line in lines {
                head.append_header("expect", *line).unwrap();
            }
            expects_continue(&head)
        };
        assert_eq!(check(Version::HTTP_11, &[]), Ok(false));
        assert_eq!(check(Version::HTTP_11, &["100-continue"]), Ok(true));
        assert_eq!(check(Version::HTTP_2, &["100-Continue"]), Ok(true));
        assert_eq!(check(Version::HTTP_10, &["100-continue"]), Ok(false));
        for odd in [&["200-ok"][..], &["100-continue, 200-ok"], &[""], &["100-continue", "x"], &["100-continue=1"]] {
            assert_eq!(check(Version::HTTP_11, odd), Err(Flaw::Expectation), "{odd:?}");
        }
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
