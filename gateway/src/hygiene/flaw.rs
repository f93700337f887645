//! Why a request is refused, and how it is told.

use service_base::code::Code;

/// Why a request is refused before its method and path are considered.
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
    Expectation,
}

impl Flaw {
    /// The HTTP status that says so.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::HeadTooSlow | Self::BodyTooSlow => 408,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge => 431,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The stable code.
    pub(crate) const fn code(self) -> Code {
        match self {
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            _ => Code::BadRequest,
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
            Self::Expectation => "the only expectation met here is 100-continue",
        }
    }
}

amends_primitives::display_as!(Flaw => sentence);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_has_a_status_a_code_and_a_sentence() {
        for (flaw, status, code, sentence) in [
            (Flaw::HostMissing, 400, Code::BadRequest, "the Host header is missing"),
            (Flaw::Expectation, 417, Code::BadRequest, "the only expectation met here is 100-continue"),
        ] {
            assert_eq!((flaw.status(), flaw.code(), flaw.to_string().as_str()), (status, code, sentence));
        }
        assert_eq!(Flaw::MethodNotAllowed.code(), Code::MethodNotAllowed);
    }

    #[test]
    fn a_flaw_that_http_has_a_status_for_gets_it() {
        for (flaw, status) in [
            (Flaw::MethodNotAllowed, 405),
            (Flaw::HeadTooSlow, 408),
            (Flaw::BodyTooSlow, 408),
            (Flaw::TargetTooLong, 414),
            (Flaw::Expectation, 417),
            (Flaw::HeadTooLarge, 431),
            (Flaw::Version, 505),
            (Flaw::ChunkInvalid, 400),
        ] {
            assert_eq!(flaw.status(), status, "{flaw}");
        }
    }
}
