//! JSON, written by hand into a buffer: no value is copied before it is escaped.
//!
//! Must not know: records.

use std::fmt::{self, Write as _};

/// Writes `,"key":`.
pub(crate) fn push_key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    push_str(out, key);
    out.push(b':');
}

/// Writes `text` as a JSON string.
pub(crate) fn push_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Writes what `value` displays as a JSON string.
pub(crate) fn push_display(out: &mut Vec<u8>, value: &dyn fmt::Display) {
    out.push(b'"');
    // Writing to a vector cannot fail; a value that fails to display itself is cut off there.
    let _ = write!(Escaping(out), "{value}");
    out.push(b'"');
}

/// Writes what `value`'s `Debug` shows as a JSON string.
pub(crate) fn push_debug(out: &mut Vec<u8>, value: &dyn fmt::Debug) {
    out.push(b'"');
    let _ = write!(Escaping(out), "{value:?}");
    out.push(b'"');
}

/// Writes a number; what is none is null.
pub(crate) fn push_f64(out: &mut Vec<u8>, value: f64) {
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, &value);
}

/// Writes `text` as it is within a JSON string.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        if short == 0 {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 0x0f)]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Escapes what is written through it.
pub(crate) struct Escaping<'a>(pub(crate) &'a mut Vec<u8>);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["", "plain", "a \"quoted\" \\ word", "line\nbreak\ttab\r", "\u{0}\u{1f}\u{7f}", "größer ✓ 𝄞"]
        {
            let mut out = Vec::new();
            push_str(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            out.clear();
            push_display(&mut out, &text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
        let mut out = Vec::new();
        for value in [0.5, f64::NAN] {
            push_f64(&mut out, value);
        }
        assert_eq!(out, b"0.5null");
    }
}
