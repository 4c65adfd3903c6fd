//! WebM, as far as the built-in clip needs it: the frames of each track with their times.
//!
//! EBML is elements of an id, a length and a value; a file is an `EBML` element and a `Segment`, which holds tracks and
//! clusters of frames. Elements of unknown length, lacing and encryption are refused: the clip has none.

use std::time::Duration;

const ID_EBML: u64 = 0x1A45_DFA3;
const ID_SEGMENT: u64 = 0x1853_8067;
const ID_TRACKS: u64 = 0x1654_AE6B;
const ID_TRACK: u64 = 0xAE;
const ID_TRACK_NUMBER: u64 = 0xD7;
const ID_CODEC: u64 = 0x86;
const ID_CLUSTER: u64 = 0x1F43_B675;
const ID_TIMESTAMP: u64 = 0xE7;
const ID_SIMPLE_BLOCK: u64 = 0xA3;
const ID_BLOCK_GROUP: u64 = 0xA0;
const ID_BLOCK: u64 = 0xA1;

/// The bits of a block's flags that say how frames are laced.
const LACING: u8 = 0b0110;

/// One track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track<'f> {
    /// `V_VP8`, `A_OPUS`, …
    pub codec: &'f [u8],
    /// Its frames, in the order of the file.
    pub frames: Vec<Frame<'f>>,
    number: u64,
}

/// One frame of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'f> {
    /// Since the clip's start, in whole milliseconds, as WebM has it.
    pub at: Duration,
    /// The coded frame.
    pub data: &'f [u8],
}

/// The tracks of a file; `None` when it is not a WebM file of the simple kind.
pub fn parse(file: &[u8]) -> Option<Vec<Track<'_>>> {
    let (id, _, rest) = element(file)?;
    let (segment_id, mut rest, _) = element(rest)?;
    if (id, segment_id) != (ID_EBML, ID_SEGMENT) {
        return None;
    }
    let mut tracks = Vec::new();
    while !rest.is_empty() {
        let (id, value, after) = element(rest)?;
        match id {
            ID_TRACKS => tracks = parse_tracks(value)?,
            ID_CLUSTER => parse_cluster(value, &mut tracks)?,
            _ => {}
        }
        rest = after;
    }
    Some(tracks)
}

fn parse_tracks(mut rest: &[u8]) -> Option<Vec<Track<'_>>> {
    let mut tracks = Vec::new();
    while !rest.is_empty() {
        let (id, value, after) = element(rest)?;
        if id == ID_TRACK {
            let number = number(child(value, ID_TRACK_NUMBER)?);
            tracks.push(Track { codec: child(value, ID_CODEC)?, frames: Vec::new(), number });
        }
        rest = after;
    }
    Some(tracks)
}

fn parse_cluster<'f>(mut rest: &'f [u8], tracks: &mut [Track<'f>]) -> Option<()> {
    let start = number(child(rest, ID_TIMESTAMP)?);
    while !rest.is_empty() {
        let (id, value, after) = element(rest)?;
        let block = match id {
            ID_SIMPLE_BLOCK => Some(value),
            ID_BLOCK_GROUP => Some(child(value, ID_BLOCK)?),
            _ => None,
        };
        if let Some(block) = block {
            parse_block(block, start, tracks)?;
        }
        rest = after;
    }
    Some(())
}

fn parse_block<'f>(block: &'f [u8], cluster: u64, tracks: &mut [Track<'f>]) -> Option<()> {
    let (track, rest) = vint(block, Marker::Cut)?;
    let (head, data) = rest.split_first_chunk::<3>()?;
    let [high, low, flags] = *head;
    if flags & LACING != 0 {
        return None;
    }
    let at = cluster.checked_add_signed(i64::from(i16::from_be_bytes([high, low])))?;
    let track = tracks.iter_mut().find(|known| known.number == track)?;
    track.frames.push(Frame { at: Duration::from_millis(at), data });
    Some(())
}

/// The value of the first element with this id.
fn child(mut rest: &[u8], wanted: u64) -> Option<&[u8]> {
    while !rest.is_empty() {
        let (id, value, after) = element(rest)?;
        if id == wanted {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// Id, value and what comes after.
fn element(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (id, rest) = vint(bytes, Marker::Kept)?;
    let (length, rest) = vint(rest, Marker::Cut)?;
    let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((id, value, after))
}

/// Whether the bit that tells a number's width belongs to the number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marker {
    Kept,
    Cut,
}

/// A number of 1 to 8 bytes: the zeros before the first set bit are how many bytes follow.
fn vint(bytes: &[u8], marker: Marker) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let width = usize::try_from(first.leading_zeros()).ok()? + 1;
    let (raw, rest) = bytes.split_at_checked(width)?;
    let whole = number(raw);
    // Seven bits of each byte are the number's.
    let mask = 1u64.checked_shl(u32::try_from(7 * width).ok()?)? - 1;
    (width <= 8).then_some((if marker == Marker::Kept { whole } else { whole & mask }, rest))
}

/// A big-endian number of at most 8 bytes; of longer ones the end.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element whose length takes one byte.
    fn wrapped(id: u64, value: &[u8]) -> Vec<u8> {
        let raw = id.to_be_bytes();
        let id: Vec<u8> = raw.into_iter().skip_while(|byte| *byte == 0).collect();
        [id, vec![0x80 | u8::try_from(value.len()).unwrap()], value.to_vec()].concat()
    }

    fn file() -> Vec<u8> {
        let track =
            [wrapped(ID_TRACK_NUMBER, &[1]), wrapped(0x83, &[1]), wrapped(ID_CODEC, b"V_VP8")].concat();
        let group = wrapped(ID_BLOCK_GROUP, &wrapped(ID_BLOCK, &[0x81, 0xff, 0xff, 0, 7, 8]));
        let cluster =
            [wrapped(ID_TIMESTAMP, &[0x03, 0xe8]), wrapped(ID_SIMPLE_BLOCK, &[0x81, 0, 40, 0x80, 9]), group]
                .concat();
        let body = [wrapped(ID_TRACKS, &wrapped(ID_TRACK, &track)), wrapped(ID_CLUSTER, &cluster)].concat();
        [wrapped(ID_EBML, &[]), wrapped(ID_SEGMENT, &body)].concat()
    }

    #[test]
    fn frames_have_the_time_of_their_cluster_and_their_own() {
        let file = file();
        let tracks = parse(&file).unwrap();
        let frames: Vec<_> =
            tracks[0].frames.iter().map(|frame| (frame.at.as_millis(), frame.data)).collect();
        assert_eq!((tracks.len(), tracks[0].codec), (1, &b"V_VP8"[..]));
        assert_eq!(frames, [(1040, &[9u8][..]), (999, &[7, 8][..])]);
    }

    #[test]
    fn no_cut_and_no_changed_byte_panics() {
        let whole = file();
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length} bytes");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = parse(&changed);
            }
        }
    }
}
