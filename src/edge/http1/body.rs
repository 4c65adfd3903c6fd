//! HTTP/1 bodies: where they end, and the chunked coding both ways.
//!
//! For the edge, which owns the buffers. Chunk sizes, extensions and trailers are bounded; trailers are dropped.
//!
//! ```text
//!  chunked:  Size ─ digits ─┬─ ';' ─► Extension ─ CR ─┐
//!              ▲            └─ CR ──────────────────► SizeLf ─ LF ─┬─ size > 0 ─► Data ─► DataCr ─► DataLf ─► Size
//!              └───────────────────────────────────────────────────│──────────────────────────────────────┘
//!                                                                  └─ size = 0 ─► LineStart ─ CR ─► EndLf ─► Done
//!                                                                                   ▲   └► Trailer ─ CR ─► TrailerLf
//!                                                                                   └────────────────────────┘
//! ```

use std::io::Write as _;

use crate::edge::http1::head::BodyLength;

/// Digits of a chunk size: 2^48 bytes in one chunk are more than anybody sends.
const MAX_SIZE_DIGITS: u8 = 12;
/// Bytes of one chunk's extension; nobody uses them.
const MAX_EXTENSION: u16 = 256;
/// Bytes of all trailers.
const MAX_TRAILERS: u16 = 8192;

/// The end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The chunked coding is malformed or out of bounds.
    Chunk,
    /// The sender closed before the end.
    Truncated,
}

/// Finds the end of a body in a stream of bytes.
#[derive(Debug)]
pub enum BodyDecoder {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunked coding.
    Chunked(ChunkDecoder),
    /// All bytes until the sender closes.
    UntilClose,
    /// The end was seen.
    Done,
}

impl BodyDecoder {
    /// For a body of this framing.
    pub fn new(length: BodyLength) -> BodyDecoder {
        match length {
            BodyLength::None | BodyLength::Length(0) => BodyDecoder::Done,
            BodyLength::Length(length) => BodyDecoder::Length(length),
            BodyLength::Chunked => BodyDecoder::Chunked(ChunkDecoder::default()),
            BodyLength::UntilClose => BodyDecoder::UntilClose,
        }
    }

    /// Whether the end was seen.
    pub fn is_done(&self) -> bool {
        matches!(self, BodyDecoder::Done)
    }

    /// Takes bytes from the start of `input`. Returns how many belong to the body's encoding, and its payload:
    /// a part of `input`, or of `decoded` (which is overwritten) for a chunked body.
    pub fn decode<'a>(
        &mut self,
        input: &'a [u8],
        decoded: &'a mut Vec<u8>,
    ) -> Result<(usize, &'a [u8]), BodyError> {
        match self {
            BodyDecoder::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = BodyDecoder::Done;
                }
                Ok((taken, &input[..taken]))
            }
            BodyDecoder::Chunked(chunks) => {
                decoded.clear();
                let taken = chunks.decode(input, decoded)?;
                if chunks.is_done() {
                    *self = BodyDecoder::Done;
                }
                Ok((taken, decoded))
            }
            BodyDecoder::UntilClose => Ok((input.len(), input)),
            BodyDecoder::Done => Ok((0, &[])),
        }
    }

    /// The sender closed.
    pub fn end(&mut self) -> Result<(), BodyError> {
        match self {
            BodyDecoder::UntilClose | BodyDecoder::Done => {
                *self = BodyDecoder::Done;
                Ok(())
            }
            BodyDecoder::Length(_) | BodyDecoder::Chunked(_) => Err(BodyError::Truncated),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Decodes the chunked coding (RFC 9112, 7.1).
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: ChunkState,
    size: u64,
    digits: u8,
    extension: u16,
    trailers: u16,
}

impl ChunkDecoder {
    fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Appends the payload of `input` to `out`; returns how much was taken (less than all only after the end).
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyError> {
        let mut at = 0;
        while let Some(&byte) = input.get(at)
            && !self.is_done()
        {
            if self.state == ChunkState::Data {
                at += self.take_data(&input[at..], out);
            } else {
                self.step(byte)?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn take_data(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let taken = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
        out.extend_from_slice(&input[..taken]);
        self.size -= taken as u64;
        if self.size == 0 {
            self.state = ChunkState::DataCr;
        }
        taken
    }

    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        self.state = match (self.state, byte) {
            (ChunkState::Size, b'\r') if self.digits > 0 => ChunkState::SizeLf,
            (ChunkState::Size, b';') if self.digits > 0 => ChunkState::Extension,
            (ChunkState::Size, digit) => self.size_digit(digit)?,
            (ChunkState::Extension, b'\r') => ChunkState::SizeLf,
            (ChunkState::Extension, byte) => {
                count(&mut self.extension, MAX_EXTENSION, byte)?;
                ChunkState::Extension
            }
            (ChunkState::SizeLf, b'\n') if self.size == 0 => ChunkState::LineStart,
            (ChunkState::SizeLf, b'\n') => ChunkState::Data,
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => {
                self.digits = 0;
                self.extension = 0;
                ChunkState::Size
            }
            (ChunkState::LineStart, b'\r') => ChunkState::EndLf,
            (ChunkState::Trailer, b'\r') => ChunkState::TrailerLf,
            (ChunkState::LineStart | ChunkState::Trailer, byte) => {
                count(&mut self.trailers, MAX_TRAILERS, byte)?;
                ChunkState::Trailer
            }
            (ChunkState::TrailerLf, b'\n') => ChunkState::LineStart,
            (ChunkState::EndLf, b'\n') => ChunkState::Done,
            _ => return Err(BodyError::Chunk),
        };
        Ok(())
    }

    fn size_digit(&mut self, byte: u8) -> Result<ChunkState, BodyError> {
        let digit = char::from(byte).to_digit(16).ok_or(BodyError::Chunk)?;
        if self.digits == MAX_SIZE_DIGITS {
            return Err(BodyError::Chunk);
        }
        self.digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        Ok(ChunkState::Size)
    }
}

/// Counts a byte of an extension or trailer; controls and too many bytes are refused.
fn count(so_far: &mut u16, limit: u16, byte: u8) -> Result<(), BodyError> {
    *so_far += 1;
    let allowed = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if *so_far > limit || !allowed { Err(BodyError::Chunk) } else { Ok(()) }
}

/// Appends the line that begins a chunk of `size` bytes. The chunk ends with CR LF.
pub fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{size:x}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let (mut payload, mut total, mut buffer) = (Vec::new(), 0, Vec::new());
        for piece in pieces {
            let (taken, part) = decoder.decode(piece, &mut buffer)?;
            payload.extend_from_slice(part);
            total += taken;
        }
        Ok((payload, total, decoder.is_done()))
    }

    const CODED: &[u8] = b"5\r\nhello\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nT: v\r\nU: w\r\n\r\n";

    #[test]
    fn every_split_decodes_alike_and_leaves_what_follows() {
        let mut stream = CODED.to_vec();
        stream.extend_from_slice(b"GET /");
        for split in 0..=stream.len() {
            let (a, b) = stream.split_at(split);
            let got = decode_in(&[a, b]);
            let (payload, taken, done) = got.expect("valid");
            assert_eq!(
                (payload.as_slice(), taken, done),
                (&b"hello0123456789"[..], CODED.len(), true),
                "{split}"
            );
        }
        let bytes: Vec<&[u8]> = CODED.chunks(1).collect();
        assert_eq!(decode_in(&bytes).map(|got| got.0), Ok(b"hello0123456789".to_vec()));
    }

    #[test]
    fn malformed_and_boundless_chunks_are_refused() {
        let long_extension = format!("5;{}\r\n", "x".repeat(300));
        let long_trailers = format!("0\r\n{}", "T: v\r\n".repeat(3000));
        for bad in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+5\r\n",
            "0x5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "5\rhello",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "1000000000000\r\n",
            "5;\0\r\n",
            "0\r\n\n",
            "0\r\nT\nU\r\n",
            ";\r\n",
            &long_extension,
            &long_trailers,
        ] {
            let got = decode_in(&[bad.as_bytes()]);
            assert_eq!(got, Err(BodyError::Chunk), "{bad:?}");
        }
    }

    #[test]
    fn a_close_ends_only_a_close_delimited_body() {
        for (length, expected) in [
            (BodyLength::Length(1), Err(BodyError::Truncated)),
            (BodyLength::Chunked, Err(BodyError::Truncated)),
            (BodyLength::UntilClose, Ok(())),
            (BodyLength::None, Ok(())),
        ] {
            assert_eq!(BodyDecoder::new(length).end(), expected, "{length:?}");
        }
    }

    #[test]
    fn a_length_takes_exactly_its_bytes() {
        let mut decoder = BodyDecoder::new(BodyLength::Length(3));
        let mut buffer = Vec::new();
        assert_eq!(decoder.decode(b"ab", &mut buffer), Ok((2, &b"ab"[..])));
        assert_eq!(decoder.decode(b"cd", &mut buffer), Ok((1, &b"c"[..])));
        assert!(decoder.is_done());
    }
}
