//! What a request must look like before anything reads a meaning into it.
//!
//! Two programs that disagree about where a request ends, or about which path it names, can be played against each other.
//! So whatever RFC 9110 to 9112 allow a recipient to repair is refused here instead: nobody behind us has to guess.
//! Pure: bytes in, verdict out. Must not know: sockets, tokens, upstreams.

use std::fmt;

/// How HTTP/2 with prior knowledge begins (RFC 9113, section 3.4).
pub(crate) const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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

/// Why a request is refused before anybody looks at what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    BareLineFeed,
    BareCarriageReturn,
    ControlCharacter,
    NotHttp,
    RequestLine,
    Version,
    MethodNotAllowed,
    TargetTooLong,
    TargetForm,
    TargetMismatch,
    TargetEncoding,
    HeadTooLarge,
    HeadTooSlow,
    BodyTooSlow,
    HeaderName,
    HeaderFolding,
    HostMissing,
    HostRepeated,
    HostInvalid,
    LengthRepeated,
    LengthInvalid,
    LengthWithEncoding,
    EncodingRepeated,
    EncodingUnknown,
    EncodingInOldVersion,
    AuthorizationRepeated,
    ChunkInvalid,
}

impl Flaw {
    /// The HTTP status that says so.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::HeadTooSlow | Self::BodyTooSlow => 408,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge => 431,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The stable code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method_not_allowed",
            _ => "bad_request",
        }
    }

    /// A sentence for the caller.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of the request's head ends in LF without CR",
            Self::BareCarriageReturn => "the request's head has a CR that ends no line",
            Self::ControlCharacter => "the request's head has a control character",
            Self::NotHttp => "this is not HTTP",
            Self::RequestLine => "the request line is not method, target and version, separated by one space each",
            Self::Version => "HTTP/1.1, HTTP/1.0 and HTTP/2 with prior knowledge are spoken here",
            Self::MethodNotAllowed => "this method is not served here",
            Self::TargetTooLong => "the request target is too long",
            Self::TargetForm => "the request target is neither a path nor an http URL",
            Self::TargetMismatch => "the request target names another host than the Host header",
            Self::TargetEncoding => {
                "the path has a dot segment, an empty segment, an encoded slash, an encoded control character or a broken \
                 percent-encoding"
            }
            Self::HeadTooLarge => "the request's head is too large",
            Self::HeadTooSlow => "the request's head did not arrive in time",
            Self::BodyTooSlow => "the request's body did not arrive in time",
            Self::HeaderName => "a header's name is missing, or has a character that names may not have",
            Self::HeaderFolding => "a header is folded over two lines",
            Self::HostMissing => "the Host header is missing",
            Self::HostRepeated => "there is more than one Host header",
            Self::HostInvalid => "the Host header is not a host with an optional port",
            Self::LengthRepeated => "there is more than one Content-Length",
            Self::LengthInvalid => "Content-Length is not a number of bytes",
            Self::LengthWithEncoding => "Content-Length and Transfer-Encoding exclude each other",
            Self::EncodingRepeated => "there is more than one Transfer-Encoding",
            Self::EncodingUnknown => "the only Transfer-Encoding read here is chunked",
            Self::EncodingInOldVersion => "HTTP/1.0 has no Transfer-Encoding",
            Self::AuthorizationRepeated => "there is more than one Authorization header",
            Self::ChunkInvalid => "the chunked body is not framed as RFC 9112 has it",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Exactly so many bytes; zero where nothing is said.
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
    // CONNECT makes a tunnel and TRACE shows a caller's headers to whoever can make it ask.
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

/// Finds the end of a chunked body that arrives in pieces (RFC 9112, section 7.1), and refuses what is not written by the book.
///
/// The bytes are not decoded here. What counts is that the next request on the connection begins where we say it does.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ChunkScanner(Chunk);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size { value: u64, digits: u8 },
    Extension { value: u64, length: u16 },
    SizeLineFeed { value: u64 },
    Data { left: u64 },
    DataCarriageReturn,
    DataLineFeed,
    TrailerLine { total: u16, is_empty: bool },
    TrailerLineFeed { total: u16, is_empty: bool },
    Done,
}

impl Default for Chunk {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

/// Chunk extensions and trailers are dropped by whoever reads them; more of them than this has no honest use.
const CHUNK_EXTRA_BYTES_MAX: u16 = 4096;

impl ChunkScanner {
    /// How many of these bytes belong to the body; fewer than all only where the body ends within them.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        let mut at = 0;
        while at < bytes.len() && self.0 != Chunk::Done {
            if let Chunk::Data { left } = self.0 {
                let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(left);
                at += usize::try_from(here).unwrap_or(usize::MAX);
                self.0 = if here == left { Chunk::DataCarriageReturn } else { Chunk::Data { left: left - here } };
                continue;
            }
            self.0 = Self::step(self.0, bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// Whether the body is over.
    pub(crate) fn is_done(&self) -> bool {
        self.0 == Chunk::Done
    }

    fn step(state: Chunk, byte: u8) -> Result<Chunk, Flaw> {
        Ok(match (state, byte) {
            // Sixteen digits could overflow; nobody sends a chunk of 2^60 bytes.
            (Chunk::Size { value, digits }, _) if hex(byte).is_some() && digits < 15 => {
                Chunk::Size { value: value << 4 | u64::from(hex(byte).unwrap_or(0)), digits: digits + 1 }
            }
            (Chunk::Size { digits: 0, .. }, _) => return Err(Flaw::ChunkInvalid),
            (Chunk::Size { value, .. } | Chunk::Extension { value, .. }, b'\r') => Chunk::SizeLineFeed { value },
            (Chunk::Size { value, .. }, b';' | b' ' | b'\t') => Chunk::Extension { value, length: 0 },
            (Chunk::Extension { value, length }, b'\t' | 0x20..=0x7e) if length < CHUNK_EXTRA_BYTES_MAX => {
                Chunk::Extension { value, length: length + 1 }
            }
            (Chunk::SizeLineFeed { value: 0 }, b'\n') => Chunk::TrailerLine { total: 0, is_empty: true },
            (Chunk::SizeLineFeed { value }, b'\n') => Chunk::Data { left: value },
            (Chunk::DataCarriageReturn, b'\r') => Chunk::DataLineFeed,
            (Chunk::DataLineFeed, b'\n') => Chunk::default(),
            (Chunk::TrailerLine { total, is_empty }, b'\r') => Chunk::TrailerLineFeed { total, is_empty },
            (Chunk::TrailerLine { total, .. }, b'\t' | 0x20..=0x7e | 0x80..=0xff) if total < CHUNK_EXTRA_BYTES_MAX => {
                Chunk::TrailerLine { total: total + 1, is_empty: false }
            }
            (Chunk::TrailerLineFeed { is_empty: true, .. }, b'\n') => Chunk::Done,
            (Chunk::TrailerLineFeed { total, .. }, b'\n') => Chunk::TrailerLine { total, is_empty: true },
            _ => return Err(Flaw::ChunkInvalid),
        })
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Judges the path of a request of any version: it must mean the same to everybody who reads it.
///
/// Nothing is normalised: a path that needs it is refused, so the route we chose and the route the upstream takes are one.
pub(crate) fn check_path(path: &str) -> Result<(), Flaw> {
    if !path.starts_with('/') || path.contains("//") || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::TargetEncoding);
    }
    if path.bytes().any(|byte| matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^')) {
        return Err(Flaw::TargetEncoding);
    }
    for segment in path.split('/') {
        let decoded = decode(segment.as_bytes()).ok_or(Flaw::TargetEncoding)?;
        let is_dots = matches!(decoded.as_slice(), b"." | b"..");
        // `..;x` is a dot segment to servers that know path parameters.
        let is_parameter_dots = decoded.starts_with(b"..;") || decoded.starts_with(b".;");
        let has_separator = decoded.iter().any(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control());
        if is_dots || is_parameter_dots || has_separator || std::str::from_utf8(&decoded).is_err() {
            return Err(Flaw::TargetEncoding);
        }
        // Decoded twice by somebody, `%252e` is a dot.
        if decoded.contains(&b'%') && decode(&decoded).is_some_and(|again| again != decoded) {
            return Err(Flaw::TargetEncoding);
        }
    }
    Ok(())
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (high, low) = (hex(*after.first()?)?, hex(*after.get(1)?)?);
            decoded.push(high << 4 | low);
            rest = &after[2..];
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    Some(decoded)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
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
    fn tells_http_2_by_its_preface() {
        assert_eq!(opening(b""), Opening::Undecided);
        assert_eq!(opening(b"P"), Opening::Undecided);
        assert_eq!(opening(b"POST / "), Opening::H1);
        assert_eq!(opening(&H2_PREFACE[..23]), Opening::Undecided);
        assert_eq!(opening(H2_PREFACE), Opening::H2);
    }

    #[test]
    fn a_path_means_one_thing() {
        for good in [
            "/",
            "/v1/orders",
            "/v1/orders/",
            "/v1/items/caf%C3%A9",
            "/v1/items/a.b",
            "/v1/items/...",
            "/v1/items/50%25",
            "/x/%20y;a=1",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "x",
            "/..",
            "/v1/../x",
            "/v1/./x",
            "/v1/%2e%2e/x",
            "/v1/%2E/x",
            "/v1/.%2e/x",
            "/v1//orders",
            "/v1/%2forders",
            "/v1/%2Forders",
            "/v1/%5cx",
            "/v1\\x",
            "/v1/%00",
            "/v1/%0a",
            "/v1/%7f",
            "/v1/%",
            "/v1/%4",
            "/v1/%zz",
            "/v1/%252e%252e/x",
            "/v1/..;x/y",
            "/v1/%ff",
            "/a b",
            "/caf\u{e9}",
            "/x#y",
        ] {
            assert_eq!(check_path(bad), Err(Flaw::TargetEncoding), "{bad}");
        }
    }
    fn chunks(body: &[u8]) -> Result<(usize, bool), Flaw> {
        let mut scanner = ChunkScanner::default();
        let taken = scanner.advance(body)?;
        // In pieces the verdict is the same.
        let mut by_byte = ChunkScanner::default();
        let counted = body.iter().map(|byte| by_byte.advance(&[*byte])).sum::<Result<usize, Flaw>>()?;
        assert_eq!((taken, scanner.is_done()), (counted, by_byte.is_done()));
        Ok((taken, scanner.is_done()))
    }

    #[test]
    fn chunked_bodies_end_where_they_say() {
        assert_eq!(chunks(b"3\r\nabc\r\n0\r\n\r\nGET /"), Ok((13, true)));
        assert_eq!(chunks(b"A;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"), Ok((30, true)));
        assert_eq!(chunks(b"3\r\nab"), Ok((5, false)));
        for bad in [
            "\r\n",
            "x\r\n",
            "3\nabc\n0\n\n",
            "3\r\nabcd\r\n",
            "-1\r\n",
            "0x3\r\n",
            "1111111111111111\r\n",
            "3\rabc",
            "0\r\n\n",
        ] {
            assert_eq!(chunks(bad.as_bytes()), Err(Flaw::ChunkInvalid), "{bad:?}");
        }
    }
}
