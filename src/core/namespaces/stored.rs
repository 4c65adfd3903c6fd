//! A namespace in the store that several controllers share, beside the one that a controller has itself: which of the two counts.
//!
//! Each change of a namespace makes an edition of it with a higher number ([`NamespaceState::edition`]), so of two the one with the higher
//! number is the later one. As long as all changes go through the store, no controller has a later one than the store. One has after
//! it ran without the lease, before its first start with it, or when the store was set up anew.

use super::state::NamespaceState;

/// What the store has of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Of what it has; known also where that cannot be read.
    pub edition: u64,
    /// What it has; `None`: it cannot be read here.
    pub state: Option<NamespaceState>,
}

/// What becomes of a namespace that is here, in the store, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both say the same.
    Agreed,
    /// What the store has counts here from now on.
    Take,
    /// What is here is the store's to have: whoever leads brings it there.
    Bring,
    /// The store has a later one, which cannot be read here.
    Closed,
}

/// Judges by the editions. Of two that differ and have the same number the store's counts: every other controller goes by it already.
pub fn judge(ours: Option<&NamespaceState>, stored: Option<&Stored>) -> Verdict {
    let (ours, stored) = match (ours, stored) {
        (None, None) => return Verdict::Agreed,
        (Some(_), None) => return Verdict::Bring,
        (None, Some(Stored { state: None, .. })) => return Verdict::Closed,
        (None, Some(_)) => return Verdict::Take,
        (Some(ours), Some(stored)) => (ours, stored),
    };
    let is_later = ours.edition > stored.edition;
    match &stored.state {
        _ if is_later => Verdict::Bring,
        // What is here is what was written there, by a controller with another secret, or with this one's before.
        None if ours.edition == stored.edition => Verdict::Bring,
        None => Verdict::Closed,
        Some(state) if ours.is_same_as(state) => Verdict::Agreed,
        Some(_) => Verdict::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{ENTROPY, RoomLimits, TurnSecret};
    use super::*;

    fn state(edition: u64, ttl: u64) -> NamespaceState {
        let mut state = NamespaceState::new("a".parse().unwrap(), RoomLimits::default());
        state.enable(TurnSecret::from_entropy([1; ENTROPY]), 0);
        (state.edition, state.ttl) = (edition, ttl);
        state
    }

    fn stored(edition: u64, ttl: u64) -> Stored {
        Stored { edition, state: Some(state(edition, ttl)) }
    }

    fn closed(edition: u64) -> Stored {
        Stored { edition, state: None }
    }

    #[test]
    fn the_later_edition_counts_and_the_stores_where_both_are_the_same() {
        let ours = state(5, 600);
        for (there, expected) in [
            (None, Verdict::Bring),
            (Some(stored(4, 600)), Verdict::Bring),
            (Some(stored(5, 600)), Verdict::Agreed),
            (Some(stored(5, 700)), Verdict::Take),
            (Some(stored(6, 600)), Verdict::Take),
        ] {
            assert_eq!(judge(Some(&ours), there.as_ref()), expected, "{there:?}");
        }
        assert_eq!(judge(None, Some(&stored(0, 600))), Verdict::Take);
        assert_eq!(judge(None, None), Verdict::Agreed);
    }

    #[test]
    fn what_cannot_be_read_is_written_over_by_nothing_older() {
        let ours = state(5, 600);
        for (edition, expected) in [(4, Verdict::Bring), (5, Verdict::Bring), (6, Verdict::Closed)] {
            assert_eq!(judge(Some(&ours), Some(&closed(edition))), expected, "{edition}");
        }
        assert_eq!(judge(None, Some(&closed(0))), Verdict::Closed);
    }

    #[test]
    fn what_each_controller_sets_itself_is_no_difference() {
        let limits = RoomLimits { max_peers: 3, ..RoomLimits::default() };
        let ours = NamespaceState { limits, ..state(5, 600) };
        assert_eq!(judge(Some(&ours), Some(&stored(5, 600))), Verdict::Agreed);
    }
}
