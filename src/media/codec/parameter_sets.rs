//! Parameter sets of H264 put before each key frame that lacks them. An encoder may send them once, or in its description only
//! (`sprop-parameter-sets`); a viewer who joins has neither, and a browser shows nothing without them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::media::codec::nal_units::{self, AGGREGATE, IDR, PICTURE_SET, SEQUENCE_SET};

/// Sets kept, and bytes of one: an encoder has two or three, of some twenty bytes.
const MOST: usize = 8;
const LARGEST: usize = 256;

/// Largest packet made of them; what does not fit is not sent.
const LARGEST_PACKET: usize = 1_200;

/// Sets, each with its type and header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets(Vec<Box<[u8]>>);

impl Sets {
    /// Takes a set; one of the same number is replaced.
    pub fn add(&mut self, unit: &[u8]) {
        let Some((kind, number)) = name(unit).filter(|_| unit.len() <= LARGEST) else { return };
        self.0.retain(|other| name(other) != Some((kind, number)));
        if self.0.len() < MOST {
            self.0.push(unit.into());
        }
    }

    /// Takes the value of `sprop-parameter-sets` (RFC 6184, 8.1).
    pub fn add_base64(&mut self, list: &str) {
        for set in list.split(',') {
            STANDARD.decode(set.trim()).into_iter().for_each(|unit| self.add(&unit));
        }
    }

    /// Whether a picture can be decoded with these.
    pub fn suffice(&self) -> bool {
        [SEQUENCE_SET, PICTURE_SET].iter().all(|kind| self.0.iter().any(|set| kind_of(set) == Some(*kind)))
    }

    /// One packet with all of them; `None` when they do not suffice, or do not fit.
    pub fn packet(&self) -> Option<Arc<[u8]>> {
        if !self.suffice() {
            return None;
        }
        let mut packet = vec![0x60 | AGGREGATE];
        for kind in [SEQUENCE_SET, PICTURE_SET] {
            for set in self.0.iter().filter(|set| kind_of(set) == Some(kind)) {
                packet.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
                packet.extend_from_slice(set);
            }
        }
        (packet.len() <= LARGEST_PACKET).then(|| packet.into())
    }
}

fn kind_of(unit: &[u8]) -> Option<u8> {
    unit.first().map(|first| first & 0x1F)
}

fn name(unit: &[u8]) -> Option<(u8, u32)> {
    let (first, body) = unit.split_first()?;
    Some((first & 0x1F, nal_units::set_number(first & 0x1F, body)?))
}

/// The sets of one source, as they come.
#[derive(Clone, Debug, Default)]
pub struct ParameterSets {
    learned: Sets,
    /// The picture under way, and which sets it has.
    timestamp: Option<u32>,
    has: [bool; 2],
}

impl ParameterSets {
    /// Takes a packet. Whether it begins a key frame that lacks its sets.
    pub fn lack(&mut self, timestamp: u32, payload: &[u8]) -> bool {
        if self.timestamp != Some(timestamp) {
            (self.timestamp, self.has) = (Some(timestamp), [false; 2]);
        }
        let mut lack = false;
        for unit in nal_units::begun(payload) {
            match unit.kind {
                SEQUENCE_SET | PICTURE_SET => {
                    self.has[usize::from(unit.kind == PICTURE_SET)] = true;
                    unit.whole.into_iter().for_each(|whole| self.learned.add(whole));
                }
                IDR if self.has != [true; 2] => {
                    self.has = [true; 2];
                    lack = true;
                }
                _ => {}
            }
        }
        lack
    }

    /// Those that came with its pictures.
    pub fn learned(&self) -> &Sets {
        &self.learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x1E, 0x80];
    const PPS: &[u8] = &[0x68, 0x80];
    const IDR_START: &[u8] = &[0x7C, 0x85, 0x88];
    const IDR_REST: &[u8] = &[0x7C, 0x45, 0x88];
    const BOTH: &[u8] = &[0x78, 0, 5, 0x67, 0x42, 0xC0, 0x1E, 0x80, 0, 2, 0x68, 0x80];

    fn described() -> Sets {
        let mut sets = Sets::default();
        [SPS, PPS].into_iter().for_each(|set| sets.add(set));
        sets
    }

    #[test]
    fn a_key_frame_without_sets_lacks_them_once() {
        let mut sets = ParameterSets::default();
        assert!(!sets.lack(1, &[0x06, 5]), "something else of the picture");
        assert!(sets.lack(1, IDR_START) && !sets.lack(1, IDR_REST));
        assert!(!sets.lack(1, IDR_START), "another slice of it");
        assert!(!sets.lack(2, &[0x41, 0x9A]) && sets.lack(3, IDR_START));
        assert_eq!(described().packet().as_deref(), Some(BOTH));
        assert_eq!(sets.learned().packet(), None);
    }

    #[test]
    fn what_has_its_sets_is_left_alone_and_sets_that_came_once_are_sent_again() {
        let mut sets = ParameterSets::default();
        assert!(!sets.lack(1, BOTH) && !sets.lack(1, IDR_START));
        assert!(sets.lack(2, IDR_START), "they came with the first only");
        assert_eq!(sets.learned().packet().as_deref(), Some(BOTH));
        assert!(!sets.lack(3, &[0x68, 0xC0]) && sets.lack(3, IDR_START));
        assert!(sets.learned().packet().unwrap().ends_with(&[0x68, 0xC0]), "the newest of that number");
    }

    #[test]
    fn a_flood_of_sets_is_not_kept() {
        let mut sets = Sets::default();
        for number in 0..100u8 {
            sets.add(&[0x68, 0x01, number]);
            sets.add(&vec![0x67; 10_000]);
        }
        assert!(sets.0.len() <= MOST && !sets.suffice());
        sets.add(&[]);
    }
}
