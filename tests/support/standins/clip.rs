//! The clip that the stand-in plays, cut so that it never ends.
//!
//! WebM is EBML: elements of an id, a length and a value. `tests/support/make-clip.sh` makes a file whose clusters
//! each begin with a key frame. What comes before the first cluster is what a `SourceBuffer` needs once; each
//! cluster is then sent on its own, with its time rewritten so that the next round goes on where the last one ended.

use std::time::Duration;

/// The file. Made by `tests/support/make-clip.sh`.
const FILE: &[u8] = include_bytes!("clip.webm");

/// How long one round lasts: the duration given to FFmpeg.
const ROUND: Duration = Duration::from_secs(6);

const ID_EBML: u64 = 0x1A45_DFA3;
const ID_SEGMENT: u64 = 0x1853_8067;
const ID_CLUSTER: u64 = 0x1F43_B675;
const ID_TIMESTAMP: u64 = 0xE7;

/// The clip: a head and an endless row of clusters.
pub struct Clip {
    head: &'static [u8],
    clusters: Vec<Cluster>,
}

struct Cluster {
    at: Duration,
    blocks: &'static [u8],
}

/// One piece to send and when it is due, counted from the start of the stream.
pub struct Piece {
    /// When it is due.
    pub due: Duration,
    /// A whole WebM cluster.
    pub bytes: Vec<u8>,
}

impl Clip {
    /// The built-in clip. `None` only if the file in the source tree is not what the script makes.
    pub fn built_in() -> Option<Clip> {
        Clip::parse(FILE)
    }

    fn parse(file: &'static [u8]) -> Option<Clip> {
        let (id, _, after_ebml) = element(file)?;
        if id != ID_EBML {
            return None;
        }
        let (id, mut rest, _) = element(after_ebml)?;
        if id != ID_SEGMENT {
            return None;
        }
        let mut head = None;
        let mut clusters = Vec::new();
        while !rest.is_empty() {
            let (id, value, after) = element(rest)?;
            if id == ID_CLUSTER {
                head.get_or_insert_with(|| file.len() - rest.len());
                clusters.push(Cluster::parse(value)?);
            }
            rest = after;
        }
        Some(Clip { head: file.get(..head?)?, clusters })
    }

    /// What the browser needs first: the EBML head, the segment's start and the tracks.
    pub fn head(&self) -> &[u8] {
        self.head
    }

    /// Every cluster, round after round, without end.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        (0u32..).flat_map(|round| {
            self.clusters.iter().map(move |cluster| {
                let due = ROUND * round + cluster.at;
                Piece { due, bytes: cluster.at_time(due) }
            })
        })
    }
}

impl Cluster {
    fn parse(value: &'static [u8]) -> Option<Cluster> {
        let (id, time, blocks) = element(value)?;
        let millis = time.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        (id == ID_TIMESTAMP).then_some(Cluster { at: Duration::from_millis(millis), blocks })
    }

    /// This cluster as a whole element at another time. Times and lengths are written eight bytes wide.
    fn at_time(&self, at: Duration) -> Vec<u8> {
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let length = (self.blocks.len() + 10) as u64 | 1 << 56;
        let mut bytes = Vec::with_capacity(self.blocks.len() + 22);
        bytes.extend_from_slice(&(ID_CLUSTER as u32).to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[ID_TIMESTAMP as u8, 0x88]);
        bytes.extend_from_slice(&millis.to_be_bytes());
        bytes.extend_from_slice(self.blocks);
        bytes
    }
}

/// Takes one element off: its id, its value and what follows. An unknown length reaches to the end.
fn element(bytes: &'static [u8]) -> Option<(u64, &'static [u8], &'static [u8])> {
    let (id, bytes) = number(bytes, false)?;
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let (length, bytes) = number(bytes, true)?;
    if length == (1 << (7 * width)) - 1 {
        return Some((id, bytes, &[]));
    }
    let length = usize::try_from(length).ok()?;
    Some((id, bytes.get(..length)?, bytes.get(length..)?))
}

/// An EBML number: the count of leading zero bits says how many bytes follow the first. Ids keep the marker bit.
fn number(bytes: &'static [u8], strip_marker: bool) -> Option<(u64, &'static [u8])> {
    let zeros = bytes.first()?.leading_zeros() as usize;
    let (digits, rest) = bytes.split_at_checked(zeros + 1).filter(|_| zeros < 8)?;
    let value = digits.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let marker = if strip_marker { 1u64 << (7 * digits.len()) } else { 0 };
    Some((value & !marker, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_goes_on_where_its_last_round_ended() {
        let clip = Clip::built_in().expect("the clip is readable");
        let dues: Vec<Duration> =
            clip.pieces().take(3 * clip.clusters.len()).map(|piece| piece.due).collect();
        assert!(dues.is_sorted_by(|a, b| a < b), "{dues:?}");
        let longest = dues.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_millis(600), "{longest:?} without a piece");
    }

    #[test]
    fn every_piece_is_one_whole_cluster() {
        let clip = Clip::built_in().expect("the clip is readable");
        for piece in clip.pieces().take(2 * clip.clusters.len()) {
            let leaked: &'static [u8] = piece.bytes.leak();
            let (id, value, rest) = element(leaked).expect("an element");
            assert_eq!((id, rest.len()), (ID_CLUSTER, 0));
            assert_eq!(Cluster::parse(value).expect("a cluster").at, piece.due);
        }
    }

    #[test]
    fn the_head_holds_no_picture() {
        let clip = Clip::built_in().expect("the clip is readable");
        assert!(clip.head().len() < 1000, "{} bytes", clip.head().len());
    }
}
