//! The decoder of bodies: any split gives the same as none; the decoder undoes the encoder; a slow reference agrees.

use hydraneckwebrtc::edge::http1::body::{BodyDecoder, BodyError, LAST_CHUNK, write_chunk_size};
use hydraneckwebrtc::edge::http1::head::BodyLength;

use super::reference::{self, Chunked};
use super::splits;

/// Inputs up to this size are also fed byte by byte.
const BYTEWISE: usize = 4096;

/// Payload, bytes taken, whether the end was seen.
type Decoded = Result<(Vec<u8>, usize, bool), BodyError>;

fn decode(framing: BodyLength, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = BodyDecoder::new(framing);
    let (mut payload, mut total, mut buffer) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        let (taken, part) = decoder.decode(piece, &mut buffer)?;
        assert!(taken <= piece.len(), "took {taken} of {}", piece.len());
        assert!(taken == piece.len() || decoder.is_done(), "left bytes before the end");
        payload.extend_from_slice(part);
        total += taken;
    }
    Ok((payload, total, decoder.is_done()))
}

fn agrees_with_reference(body: &[u8], decoded: &Decoded) {
    let expected = match reference::chunked(body) {
        Chunked::Bad => Err(BodyError::Chunk),
        Chunked::Partial(payload) => Ok((payload, body.len(), false)),
        Chunked::Whole(payload, taken) => Ok((payload, taken, true)),
    };
    assert_eq!(decoded, &expected, "decoder and reference differ");
}

fn round_trip(body: &[u8], cuts: &[usize]) {
    let mut coded = Vec::new();
    for piece in splits::pieces(body, cuts).into_iter().filter(|piece| !piece.is_empty()) {
        write_chunk_size(&mut coded, piece.len());
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(LAST_CHUNK);
    let length = coded.len();
    coded.extend_from_slice(b"GET / HTTP/1.1");
    let expected = Ok((body.to_vec(), length, true));
    assert_eq!(decode(BodyLength::Chunked, &[&coded]), expected, "decode(encode(x)) is not x");
}

/// Judges one input: a mode, cuts, and a body.
pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let (cuts, body) = splits::take(rest);
    let framing = match mode % 4 {
        0 | 1 => BodyLength::Chunked,
        2 => BodyLength::Length(u64::from(mode) * 5),
        _ => BodyLength::UntilClose,
    };
    let whole = decode(framing, &[body]);
    assert_eq!(decode(framing, &splits::pieces(body, &cuts)), whole, "cut at {cuts:?}");
    if body.len() <= BYTEWISE {
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(framing, &bytes), whole, "byte by byte");
    }
    if framing == BodyLength::Chunked {
        agrees_with_reference(body, &whole);
    }
    round_trip(body, &cuts);
}
