//! What a request must look like before anything reads a meaning into it.
//!
//! Two programs that disagree about where a request ends, or about which path it names, can be played against each other.
//! So whatever RFC 9110 to 9112 allow a recipient to repair is refused here instead: no service behind the gateway has to guess.
//! Pure: bytes in, verdict out. Must not know: sockets, tokens, upstreams.

mod chunks;
mod flaw;
mod head;
mod path;

pub(crate) use chunks::ChunkScanner;
pub(crate) use flaw::Flaw;
pub(crate) use head::{Framing, HeadLimits, HeadScanner, Opening, inspect, opening};
pub(crate) use path::check_path;

/// `tchar` of RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
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

    #[test]
    fn every_byte_is_a_token_character_or_a_digit_as_the_rfc_has_it() {
        let tokens = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for byte in 0..=u8::MAX {
            assert_eq!(is_token(byte), tokens.contains(&byte), "{byte}");
            let digit = char::from(byte).to_digit(16).map(|digit| u8::try_from(digit).unwrap());
            assert_eq!(hex(byte), digit, "{byte}");
        }
    }
}
