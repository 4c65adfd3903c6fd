//! The transport-wide numbers of a peer's packets (draft-holmer-rmcat-transport-wide-cc-extensions-01), as far as str0m can count them.
//!
//! str0m 0.25 makes 64 bits of their 16, from the highest number so far. A number from before the first becomes one below zero, which is
//! 2⁶⁴ less a few; the next report then lists all numbers in between, until there is no memory left. Two packets do that, 0 and
//! 40,000. So none that could be from below zero reaches it.
//!
//! ```text
//!  nothing yet ── a number below 2¹⁵ ─────▶ lower half ── an authentic one from 2¹⁵ on ─▶ beyond: any number
//!       │                                     (and what is less than 2¹⁵ after an authentic one)     ▲
//!       └──────── one from 2¹⁵ on ────────▶ upper half ── an authentic one ──────────────────────────┘
//! ```
//!
//! Numbers are read before a packet is authenticated, and only packets with media are told of afterwards. So str0m's highest number is one
//! of those that were let through, and not below any that was authentic.

/// Half of the numbers: one that is so much further on is taken for one from before.
const HALF: u16 = 1 << 15;

/// What is known of one peer's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArrivalNumbers {
    /// Of what was let through first.
    is_upper: Option<bool>,
    /// The highest authentic one of the lower half.
    highest: Option<u16>,
    is_beyond: bool,
}

impl ArrivalNumbers {
    /// Whether any number is fine from now on.
    pub fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    /// Whether str0m may see a packet with this number, which nobody has authenticated yet.
    pub fn admits(&mut self, number: u16) -> bool {
        let is_upper = number >= HALF;
        let half = *self.is_upper.get_or_insert(is_upper);
        let reach = self.highest.map_or(0, |highest| highest.saturating_add(HALF - 1));
        self.is_beyond || half == is_upper || !half && number <= reach
    }

    /// str0m has authenticated a packet with this number.
    pub fn prove(&mut self, number: u16) {
        if number >= HALF {
            self.is_beyond = true;
        } else {
            self.highest = self.highest.max(Some(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How str0m counts: `None` is below zero.
    fn extend(highest: Option<u64>, number: u16) -> Option<u64> {
        let Some(highest) = highest else { return Some(number.into()) };
        let ahead = number.wrapping_sub(highest as u16);
        if ahead < HALF {
            Some(highest + u64::from(ahead))
        } else {
            highest.checked_sub(u64::from(ahead.wrapping_neg()))
        }
    }

    #[test]
    fn a_sender_begins_anywhere_and_all_it_sends_is_seen() {
        for first in [0, 1, 5, 32_000, HALF - 1, HALF, 40_000, 65_535] {
            let mut numbers = ArrivalNumbers::default();
            for step in 0..200_000_u32 {
                let number = (u32::from(first) + step) as u16;
                assert!(numbers.admits(number), "{step} after {first}");
                numbers.prove(number);
            }
        }
    }

    #[test]
    fn what_is_from_before_the_first_is_not_seen() {
        let mut numbers = ArrivalNumbers::default();
        assert!(numbers.admits(0) && !numbers.admits(40_000) && !numbers.admits(HALF));
        numbers.prove(0);
        assert!(numbers.admits(HALF - 1) && !numbers.admits(HALF), "as far as forward goes");
        numbers.prove(9);
        assert!(numbers.admits(HALF + 8) && !numbers.admits(HALF + 9));
    }

    // SPEC 8 whep: A user fragment that no check has room for is refused; a transport-wide number
    // that str0m would count below zero never reaches it, and honest senders lose nothing by that
    // Also: the table of offers, `a_sender_begins_anywhere_and_all_it_sends_is_seen`,
    // `each_number_of_a_packet_is_read`
    #[test]
    fn nothing_of_any_sender_goes_below_zero() {
        for seed in 1..=2_000_u64 {
            let (mut state, mut numbers, mut highest) = (seed, ArrivalNumbers::default(), None);
            for _ in 0..200 {
                // xorshift64
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let near = highest.unwrap_or(0) as u16;
                let number = match state % 4 {
                    0 => (state >> 16) as u16,
                    1 => near.wrapping_add(HALF).wrapping_add((state >> 16) as u16 % 5).wrapping_sub(2),
                    2 => (state >> 16) as u16 % 3,
                    _ => near.wrapping_add((state >> 16) as u16 % 500).wrapping_sub(250),
                };
                let (is_authentic, is_told) = (state >> 40 & 3 != 0, state >> 42 & 1 != 0);
                if !numbers.admits(number) || !is_authentic {
                    continue;
                }
                let extended = extend(highest, number);
                assert!(extended.is_some(), "seed {seed}: {number} after {highest:?}, {numbers:?}");
                highest = highest.max(extended);
                if is_told {
                    numbers.prove(number);
                }
            }
        }
    }
}
