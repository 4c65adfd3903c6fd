//! What a leader knew that asked a worker for a session: what it could not know is no fault of its own.

use std::collections::BTreeSet;

/// Of workers by their number.
#[derive(Clone, Debug, Default)]
pub struct Knew {
    /// Workers that it could not speak for: they are down to it, or have not told its number.
    pub blind: BTreeSet<usize>,
    /// Those of them that it has given the time to tell.
    pub lost: BTreeSet<usize>,
    /// The store did not take the entry of the table of bodies.
    pub unlisted: bool,
}

impl Knew {
    /// `had_time`: it has led for as long as a worker may be silent.
    pub fn new(blind: BTreeSet<usize>, had_time: bool, unlisted: bool) -> Knew {
        let lost = if had_time { blind.clone() } else { BTreeSet::new() };
        Knew { blind, lost, unlisted }
    }
}
