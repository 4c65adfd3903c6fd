//! SSRCs that a member's client named in its descriptions. The WebRTC state keeps each, and forgets none by itself, while a description may
//! name others than the one before: what is kept of a member has the bound of one description.

use std::collections::{HashSet, VecDeque};

/// Those that are kept, the one that was not named for longest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    kept: VecDeque<u32>,
}

impl Sources {
    /// A description names these; those that are to be forgotten, because more than `most` would be kept. What it names is never among
    /// them, and one that a client may come back to goes last: its packets are numbered on.
    pub fn named(&mut self, present: &HashSet<u32>, most: usize) -> Vec<u32> {
        self.kept.retain(|ssrc| !present.contains(ssrc));
        let over = (self.kept.len() + present.len()).saturating_sub(most).min(self.kept.len());
        let forgotten = self.kept.drain(..over).collect();
        self.kept.extend(present);
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_sources_that_a_member_names_the_last_ones_are_kept() {
        let mut sources = Sources::default();
        let mut named = |present: &[u32]| {
            let mut forgotten = sources.named(&present.iter().copied().collect(), 4);
            forgotten.sort_unstable();
            forgotten
        };
        assert_eq!([named(&[1, 2]), named(&[3]), named(&[1, 4])], [const { Vec::<u32>::new() }; 3]);
        assert_eq!(named(&[5]), [2], "one was named again");
        assert_eq!(named(&[6, 7, 8, 9]), [1, 3, 4, 5]);
        assert!(named(&[]).is_empty());
        assert!(named(&[9]).is_empty());
        assert_eq!(named(&[1, 9]).len(), 1, "one of the three others");
    }
}
