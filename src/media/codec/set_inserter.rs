//! Parameter sets put into a stream of H264 that lacks them, on its way to a reader that counts sequence numbers: the packets behind
//! what was put in have higher numbers than their sender gave them.
//!
//! The stream that viewers see does the same in [`crate::media::rtp::forwarder`], where numbers are unwrapped anyway.

use std::sync::Arc;

use crate::media::codec::parameter_sets::{ParameterSets, Sets};

/// One stream of H264 on its way to a reader.
#[derive(Clone, Debug, Default)]
pub struct SetInserter {
    sets: ParameterSets,
    described: Sets,
    /// Packets put in so far, wrapping.
    put_in: u16,
    /// The sender's numbers of the packets that something was last put before, the newest first: what is older has a lower number. A packet
    /// that is overtaken by two key frames is of no use any more.
    before: [Option<u16>; 2],
}

/// A packet of the sender, as the reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The sets that go before it, and their number.
    pub sets: Option<(u16, Arc<[u8]>)>,
    /// Its number.
    pub number: u16,
}

impl SetInserter {
    /// The sets of the sender's description; those that come with its pictures win.
    pub fn describe(&mut self, sets: Sets) {
        self.described = sets;
    }

    /// Another sender or another layer: it counts by itself, and may have other sets.
    pub fn begin_anew(&mut self) {
        (self.sets, self.before) = (ParameterSets::default(), [None; 2]);
    }

    /// Places a packet. `None`: it is too old to have a place.
    pub fn place(&mut self, sequence: u16, timestamp: u32, payload: &[u8]) -> Option<Placed> {
        if self.is_overtaken(sequence) {
            return None;
        }
        let lacking = self.sets.lack(timestamp, payload);
        let packet = || self.sets.learned().packet().or_else(|| self.described.packet());
        let sets = lacking.then(packet).flatten().map(|sets| (self.number(sequence), sets));
        if sets.is_some() {
            self.put_in = self.put_in.wrapping_add(1);
            self.before = [Some(sequence), self.before[0]];
        }
        Some(Placed { sets, number: self.number(sequence) })
    }

    fn is_overtaken(&self, sequence: u16) -> bool {
        self.before[1].is_some_and(|before| is_older(sequence, before))
    }

    fn number(&self, sequence: u16) -> u16 {
        let behind = self.before.iter().flatten().filter(|before| is_older(sequence, **before)).count();
        sequence.wrapping_add(self.put_in).wrapping_sub(behind as u16)
    }
}

/// Whether `sequence` comes before `other`, the short way round.
fn is_older(sequence: u16, other: u16) -> bool {
    (1..0x8000).contains(&other.wrapping_sub(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: &str = "Z2QAC6zZQo35MBEAAAMAAQAAAwAyDxQplg==,aOvjyyLA";
    const IDR: &[u8] = &[0x65, 0x88];
    const INTER: &[u8] = &[0x41, 0x9A];

    fn described() -> SetInserter {
        let (mut inserter, mut sets) = (SetInserter::default(), Sets::default());
        sets.add_base64(SETS);
        inserter.describe(sets);
        inserter
    }

    /// What the reader gets: the numbers, and whether it is sets.
    fn read(inserter: &mut SetInserter, packets: &[(u16, &[u8])]) -> Vec<(u16, bool)> {
        let mut got = Vec::new();
        for (sequence, payload) in packets {
            let Some(placed) = inserter.place(*sequence, u32::from(*sequence), payload) else { continue };
            got.extend(placed.sets.map(|(number, _)| (number, true)));
            got.push((placed.number, false));
        }
        got
    }

    #[test]
    fn each_key_frame_without_sets_gets_those_of_the_description() {
        let got = read(&mut described(), &[(65_534, IDR), (65_535, INTER), (0, IDR), (1, INTER)]);
        let numbers = [(65_534, true), (65_535, false), (0, false), (1, true), (2, false), (3, false)];
        assert_eq!(got, numbers, "in a row, with the sets where they belong");
    }

    #[test]
    fn what_was_overtaken_keeps_the_number_that_was_left_for_it() {
        let mut inserter = described();
        let got = read(&mut inserter, &[(10, IDR), (12, IDR), (11, INTER), (13, INTER)]);
        assert_eq!(got, [(10, true), (11, false), (13, true), (14, false), (12, false), (15, false)]);
        assert_eq!(inserter.place(9, 9, INTER), None, "its number is that of the first sets' neighbour");
    }

    #[test]
    fn a_stream_with_its_own_sets_and_one_without_any_are_left_alone() {
        let own: Vec<u8> = {
            let mut sets = Sets::default();
            sets.add_base64(SETS);
            sets.packet().unwrap().to_vec()
        };
        let mut inserter = described();
        assert!(inserter.place(1, 7, &own).is_some_and(|placed| placed.sets.is_none()));
        assert_eq!(inserter.place(2, 7, IDR), Some(Placed { sets: None, number: 2 }));
        assert_eq!(read(&mut SetInserter::default(), &[(1, IDR), (2, INTER)]), [(1, false), (2, false)]);
    }

    #[test]
    fn another_layer_counts_by_itself_behind_what_was_put_in() {
        let mut inserter = described();
        read(&mut inserter, &[(100, IDR), (101, INTER)]);
        inserter.begin_anew();
        assert_eq!(read(&mut inserter, &[(5, IDR), (6, INTER)]), [(6, true), (7, false), (8, false)]);
    }
}
