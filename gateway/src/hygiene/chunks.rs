//! A chunked body: where it ends.

use super::{Flaw, hex};

/// Finds the end of a chunked body that arrives in pieces (RFC 9112, section 7.1), and refuses what does not follow the RFC exactly.
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

/// Chunk extensions and trailers are dropped by recipients; more of them than this has no honest use.
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
            // Sixteen digits could overflow; no client sends a chunk of 2^60 bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_dropped_has_a_bound() {
        let extra = "x".repeat(usize::from(CHUNK_EXTRA_BYTES_MAX));
        let extension = |extra: &str| chunks(format!("0;{extra}\r\n\r\n").as_bytes()).map(|(_, is_done)| is_done);
        assert_eq!((extension(&extra), extension(&format!("{extra}x"))), (Ok(true), Err(Flaw::ChunkInvalid)));
        // Of all trailers together.
        let (half, rest) = extra.split_at(1000);
        let trailers =
            |rest: &str| chunks(format!("0\r\n{half}\r\n{rest}\r\n\r\n").as_bytes()).map(|(_, is_done)| is_done);
        assert_eq!((trailers(rest), trailers(&format!("{rest}x"))), (Ok(true), Err(Flaw::ChunkInvalid)));
    }

    #[test]
    fn chunked_bodies_end_where_they_say() {
        assert_eq!(chunks(b"3\r\nabc\r\n0\r\n\r\nGET /"), Ok((13, true)));
        assert_eq!(chunks(b"A;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"), Ok((30, true)));
        assert_eq!(chunks(b"3\r\nab"), Ok((5, false)));
        assert_eq!(chunks(b"a\r\n0123456789\r\n0\r\n\r\n"), Ok((20, true)));
        assert_eq!(chunks(b"1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n"), Ok((42, true)));
        assert_eq!(chunks(b"000000000000003\r\nabc\r\n0 \r\n\r\n"), Ok((28, true)), "fifteen digits");
        assert_eq!(chunks(b"0\r\nT: v\r\nU: \xe9\tw\r\n\r\nGET"), Ok((19, true)));
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
            "0\r\nT: v\r\r",
            "0\r\nT: v\n",
            "0\r\nT\u{7f}\r\n",
            "3;x\u{7f}\r\n",
            "3\r\nabc\n",
            "3\r\nabc\rx",
        ] {
            assert_eq!(chunks(bad.as_bytes()), Err(Flaw::ChunkInvalid), "{bad:?}");
        }
    }
}
