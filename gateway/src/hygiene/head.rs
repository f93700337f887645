//! The head of an HTTP/1 request: where it ends, whether it follows the RFC exactly, and how its body is framed.

use super::{Flaw, is_token};

/// How HTTP/2 with prior knowledge begins (RFC 9113, section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of a request's head we read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    /// Bytes, with the request line.
    pub(crate) bytes: usize,
    /// Header lines.
    pub(crate) headers: usize,
    /// Bytes of the request target.
    pub(crate) target_bytes: usize,
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Exactly this number of bytes; zero where the head has no length.
    Length(u64),
    /// Chunks, then an empty one.
    Chunked,
}

/// What a connection's first bytes turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Too few bytes to tell.
    Undecided,
    /// HTTP/2.
    H2,
    /// Anything else.
    H1,
}

/// Tells HTTP/2 with prior knowledge from HTTP/1.
pub(crate) fn opening(bytes: &[u8]) -> Opening {
    match bytes.get(..H2_PREFACE.len()) {
        Some(first) if first == H2_PREFACE => Opening::H2,
        None if H2_PREFACE.starts_with(bytes) => Opening::Undecided,
        _ => Opening::H1,
    }
}

/// Finds the end of a head that arrives in pieces, and refuses at the first byte that no head can have.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    scanned: usize,
    line_start: usize,
}

impl HeadScanner {
    /// Whether nothing was looked at yet.
    pub(crate) fn is_new(&self) -> bool {
        self.scanned == 0
    }

    /// Looks at the bytes that are new since the last call. Where the head ends, just past its empty line.
    pub(crate) fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Flaw> {
        while self.scanned < bytes.len() {
            let at = self.scanned;
            match bytes[at] {
                b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(Flaw::BareLineFeed),
                b'\n' => {
                    if at == self.line_start + 1 {
                        return if at + 1 > limits.bytes { Err(Flaw::HeadTooLarge) } else { Ok(Some(at + 1)) };
                    }
                    self.line_start = at + 1;
                }
                _ if at > 0 && bytes[at - 1] == b'\r' => return Err(Flaw::BareCarriageReturn),
                b'\r' | b'\t' | 0x20..=0x7e | 0x80..=0xff => {
                    // A TLS hello or random bytes would otherwise be waited on until the deadline.
                    if at == 0 && !is_token(bytes[at]) {
                        return Err(Flaw::NotHttp);
                    }
                }
                _ if at == 0 => return Err(Flaw::NotHttp),
                _ => return Err(Flaw::ControlCharacter),
            }
            self.scanned += 1;
            if self.line_start == 0 && self.scanned > limits.target_bytes + 64 {
                return Err(Flaw::TargetTooLong);
            }
            if self.scanned > limits.bytes {
                return Err(Flaw::HeadTooLarge);
            }
        }
        Ok(None)
    }
}

/// Judges a whole HTTP/1 head as [`HeadScanner`] delimited it, and says how the body is framed.
pub(crate) fn inspect(head: &[u8], limits: &HeadLimits) -> Result<Framing, Flaw> {
    let head = head.strip_suffix(b"\r\n\r\n").ok_or(Flaw::RequestLine)?;
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (target, version) = request_line(lines.next().unwrap_or_default(), limits)?;

    let (mut host, mut length, mut encoding, mut authorized) = (None, None, None, false);
    for (index, line) in lines.enumerate() {
        if index >= limits.headers {
            return Err(Flaw::HeadTooLarge);
        }
        let (name, value) = header_line(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            if host.replace(value).is_some() {
                return Err(Flaw::HostRepeated);
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(value).is_some() {
                return Err(Flaw::LengthRepeated);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if encoding.replace(value).is_some() {
                return Err(Flaw::EncodingRepeated);
            }
        } else if name.eq_ignore_ascii_case(b"authorization") && std::mem::replace(&mut authorized, true) {
            return Err(Flaw::AuthorizationRepeated);
        }
    }

    match host {
        Some(host) if !is_host(host) => return Err(Flaw::HostInvalid),
        None if version == Version::Http11 => return Err(Flaw::HostMissing),
        _ => {}
    }
    if let Some(named) = target_host(target)
        && host != Some(named)
    {
        return Err(Flaw::TargetMismatch);
    }
    match (length, encoding) {
        (Some(_), Some(_)) => Err(Flaw::LengthWithEncoding),
        (None, None) => Ok(Framing::Length(0)),
        (Some(length), None) => parse_length(length).map(Framing::Length),
        (None, Some(_)) if version == Version::Http10 => Err(Flaw::EncodingInOldVersion),
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Flaw::EncodingUnknown),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn request_line<'a>(line: &'a [u8], limits: &HeadLimits) -> Result<(&'a [u8], Version), Flaw> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Flaw::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
        return Err(Flaw::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if other.starts_with(b"HTTP/") => return Err(Flaw::Version),
        _ => return Err(Flaw::RequestLine),
    };
    if target.len() > limits.target_bytes {
        return Err(Flaw::TargetTooLong);
    }
    // CONNECT makes a tunnel and TRACE shows a caller's headers to a page that can make the caller send it.
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Flaw::MethodNotAllowed);
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(Flaw::TargetEncoding);
    }
    let is_path = target.starts_with(b"/") && !target.starts_with(b"//");
    if is_path || target_host(target).is_some() { Ok((target, version)) } else { Err(Flaw::TargetForm) }
}

fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(Flaw::HeaderFolding);
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Flaw::HeaderName)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    // "Content-Length : 5" has a space in its name: some would trim it, some would not know the header.
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Flaw::HeaderName);
    }
    Ok((name, value))
}

/// The host of an absolute-form target, `http://host/path`.
fn target_host(target: &[u8]) -> Option<&[u8]> {
    let scheme_end = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?
        .len();
    let rest = &target[scheme_end..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

fn is_host(value: &[u8]) -> bool {
    !value.is_empty()
        && !value.contains(&b'@')
        && http::uri::Authority::try_from(value).is_ok_and(|authority| !authority.host().is_empty())
}

fn parse_length(value: &[u8]) -> Result<u64, Flaw> {
    // `u64::from_str` would take a plus sign.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::LengthInvalid);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Flaw::LengthInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 400, headers: 4, target_bytes: 100 };

    fn judge(head: &str) -> Result<Framing, Flaw> {
        let mut scanner = HeadScanner::default();
        // Byte by byte, as a slow client would send it: the verdict may not depend on the pieces.
        for end in 1..=head.len() {
            if let Some(head_end) = scanner.advance(&head.as_bytes()[..end], &LIMITS)? {
                return inspect(&head.as_bytes()[..head_end], &LIMITS);
            }
        }
        panic!("{head:?} has no end");
    }

    #[test]
    fn plain_requests_pass() {
        assert_eq!(judge("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(judge("GET / HTTP/1.0\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(judge("POST /x HTTP/1.1\r\nhost: [::1]:80\r\nContent-Length: 12\r\n\r\n"), Ok(Framing::Length(12)));
        assert_eq!(judge("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"), Ok(Framing::Chunked));
        assert_eq!(judge("GET http://a:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n"), Ok(Framing::Length(0)));
    }

    #[test]
    fn what_two_programs_could_read_in_two_ways_is_refused() {
        let host = "Host: a\r\n";
        let rows = [
            ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), Flaw::BareLineFeed),
            ("\nGET / HTTP/1.1\r\n\r\n".to_owned(), Flaw::BareLineFeed),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n".to_owned(), Flaw::BareCarriageReturn),
            ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n".to_owned(), Flaw::ControlCharacter),
            ("\u{16}\u{3}\u{1}".to_owned(), Flaw::NotHttp),
            (" GET / HTTP/1.1\r\n\r\n".to_owned(), Flaw::NotHttp),
            (format!("GET  / HTTP/1.1\r\n{host}\r\n"), Flaw::RequestLine),
            (format!("GET /\r\n{host}\r\n"), Flaw::RequestLine),
            (format!("GET / HTTP/1.1 x\r\n{host}\r\n"), Flaw::RequestLine),
            (format!("GET / http/1.1\r\n{host}\r\n"), Flaw::RequestLine),
            (format!("GET / HTTP/1.2\r\n{host}\r\n"), Flaw::Version),
            (format!("G(T / HTTP/1.1\r\n{host}\r\n"), Flaw::RequestLine),
            (format!("TRACE / HTTP/1.1\r\n{host}\r\n"), Flaw::MethodNotAllowed),
            (format!("CONNECT a:80 HTTP/1.1\r\n{host}\r\n"), Flaw::MethodNotAllowed),
            (format!("GET * HTTP/1.1\r\n{host}\r\n"), Flaw::TargetForm),
            (format!("GET x HTTP/1.1\r\n{host}\r\n"), Flaw::TargetForm),
            (format!("GET //b/x HTTP/1.1\r\n{host}\r\n"), Flaw::TargetForm),
            (format!("GET http://b/ HTTP/1.1\r\n{host}\r\n"), Flaw::TargetMismatch),
            (format!("GET http://u@a/ HTTP/1.1\r\n{host}\r\n"), Flaw::TargetMismatch),
            (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(100)), Flaw::TargetTooLong),
            (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(300)), Flaw::TargetTooLong),
            (format!("GET /\u{e9} HTTP/1.1\r\n{host}\r\n"), Flaw::TargetEncoding),
            (format!("GET / HTTP/1.1\r\n{host}A: {}\r\n\r\n", "x".repeat(400)), Flaw::HeadTooLarge),
            (format!("GET / HTTP/1.1\r\n{host}A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n"), Flaw::HeadTooLarge),
            (format!("GET / HTTP/1.1\r\n{host}A: 1\r\n b\r\n\r\n"), Flaw::HeaderFolding),
            (format!("GET / HTTP/1.1\r\n {host}\r\n"), Flaw::HeaderFolding),
            (format!("GET / HTTP/1.1\r\n{host}A\r\n\r\n"), Flaw::HeaderName),
            (format!("GET / HTTP/1.1\r\n{host}: x\r\n\r\n"), Flaw::HeaderName),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length : 5\r\n\r\n"), Flaw::HeaderName),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n".to_owned(), Flaw::HostMissing),
            (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), Flaw::HostRepeated),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), Flaw::HostInvalid),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(), Flaw::HostInvalid),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), Flaw::HostInvalid),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), Flaw::LengthRepeated),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: 1, 1\r\n\r\n"), Flaw::LengthInvalid),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\n"), Flaw::LengthInvalid),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"), Flaw::LengthInvalid),
            (format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"), Flaw::LengthInvalid),
            (
                format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Flaw::LengthWithEncoding,
            ),
            (
                format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Flaw::EncodingRepeated,
            ),
            (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"), Flaw::EncodingUnknown),
            (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"), Flaw::EncodingUnknown),
            (format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n"), Flaw::EncodingInOldVersion),
            (
                format!("GET / HTTP/1.1\r\n{host}Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
                Flaw::AuthorizationRepeated,
            ),
        ];
        for (head, flaw) in rows {
            assert_eq!(judge(&head), Err(flaw), "{head:?}");
        }
    }

    #[test]
    fn each_limit_is_reached_and_not_passed() {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
        let of_bytes = |bytes: usize| format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4));
        assert_eq!(judge(&of_bytes(LIMITS.bytes)), Ok(Framing::Length(0)));
        assert_eq!(judge(&of_bytes(LIMITS.bytes + 1)), Err(Flaw::HeadTooLarge));
        let of_headers = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: 1\r\n".repeat(count - 1));
        assert_eq!(judge(&of_headers(LIMITS.headers)), Ok(Framing::Length(0)));
        assert_eq!(judge(&of_headers(LIMITS.headers + 1)), Err(Flaw::HeadTooLarge));
        let of_target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
        assert_eq!(judge(&of_target(LIMITS.target_bytes)), Ok(Framing::Length(0)));
        assert_eq!(judge(&of_target(LIMITS.target_bytes + 1)), Err(Flaw::TargetTooLong));
    }

    #[test]
    fn what_cannot_end_within_its_limit_is_not_waited_for() {
        let scan = |head: String| HeadScanner::default().advance(head.as_bytes(), &LIMITS);
        let line = LIMITS.target_bytes + 64;
        assert_eq!(scan("x".repeat(line)), Ok(None), "method, version and spaces have room too");
        assert_eq!(scan("x".repeat(line + 1)), Err(Flaw::TargetTooLong));
        let unended = |bytes: usize| format!("GET / HTTP/1.1\r\n{}", "x".repeat(bytes - 16));
        assert_eq!(scan(unended(LIMITS.bytes)), Ok(None));
        assert_eq!(scan(unended(LIMITS.bytes + 1)), Err(Flaw::HeadTooLarge));
    }

    #[test]
    fn a_scanner_knows_whether_it_has_seen_anything() {
        let mut scanner = HeadScanner::default();
        assert!(scanner.is_new());
        assert_eq!(scanner.advance(b"G", &LIMITS), Ok(None));
        assert!(!scanner.is_new());
    }

    #[test]
    fn a_request_line_has_three_words_and_a_target() {
        let line = |line: &str| judge(&format!("{line}\r\nHost: a\r\n\r\n"));
        for wrong in ["GET  HTTP/1.1", "GET", "GET / HTTP/1.1 "] {
            assert_eq!(line(wrong), Err(Flaw::RequestLine), "{wrong:?}");
        }
        assert_eq!(inspect(b" / HTTP/1.1\r\nHost: a\r\n\r\n", &LIMITS), Err(Flaw::RequestLine));
        for (target, flaw) in [
            ("http:///x", Some(Flaw::TargetForm)),
            ("ftp://a/x", Some(Flaw::TargetForm)),
            ("/", None),
            ("http://a", None),
            ("HTTPS://a/x", None),
            ("http://a?x", None),
            ("http://a#x", None),
            ("http://ab/x", Some(Flaw::TargetMismatch)),
        ] {
            assert_eq!(line(&format!("GET {target} HTTP/1.1")).err(), flaw, "{target}");
        }
    }

    #[test]
    fn a_host_has_a_name() {
        let host = |host: &str| judge(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).err();
        for good in ["a", "a.example:8080", "[::1]"] {
            assert_eq!(host(good), None, "{good}");
        }
        for bad in ["", ":80", "a@b", "@a", "a b", "[::1"] {
            assert_eq!(host(bad), Some(Flaw::HostInvalid), "{bad:?}");
        }
    }

    #[test]
    fn a_header_that_is_folded_or_empty_is_refused() {
        let header = |line: &str| judge(&format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
        assert_eq!(header("\tb: c"), Err(Flaw::HeaderFolding));
        assert_eq!(header("Content-Length:"), Err(Flaw::LengthInvalid));
        assert_eq!(header("Content-Length:\t 7 "), Ok(Framing::Length(7)));
        assert_eq!(header("Content-Length: 18446744073709551615"), Ok(Framing::Length(u64::MAX)));
        assert_eq!(header("Authorization: Bearer a"), Ok(Framing::Length(0)));
    }

    #[test]
    fn tells_http_2_by_its_preface() {
        assert_eq!(opening(b""), Opening::Undecided);
        assert_eq!(opening(b"P"), Opening::Undecided);
        assert_eq!(opening(b"POST / "), Opening::H1);
        assert_eq!(opening(&H2_PREFACE[..23]), Opening::Undecided);
        assert_eq!(opening(H2_PREFACE), Opening::H2);
        assert_eq!(opening(&[H2_PREFACE.as_slice(), b"more"].concat()), Opening::H2);
        assert_eq!(opening(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"), Opening::H1);
    }
}
