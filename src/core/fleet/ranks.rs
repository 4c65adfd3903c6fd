//! Workers with a free slot, in the order in which creates go to them, kept as slots are taken and freed: a create looks at those
//! in front, and not at the whole fleet.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::fleet::routing::Rank;
use crate::core::ids::WorkerId;

/// What a worker has to give, as its heartbeats and its answers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Slots in all.
    pub max: u32,
    /// Whether it has a WireGuard interface.
    pub wireguard: bool,
    /// A call to it was answered.
    pub called: bool,
}

/// The order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    /// What each worker offers, and how many of its slots are taken.
    known: BTreeMap<WorkerId, (Offer, u32)>,
    with_wireguard: BTreeSet<Rank<WorkerId>>,
    without_wireguard: BTreeSet<Rank<WorkerId>>,
}

impl Ranks {
    /// A worker offers this; `None`: there is no such worker any more.
    pub(super) fn set_offer(&mut self, id: &WorkerId, offer: Option<Offer>, taken: u32) {
        self.put(id, offer.map(|offer| (offer, taken)));
    }

    /// So many of a worker's slots are taken. What nobody offers has no rank.
    pub(super) fn set_taken(&mut self, id: &WorkerId, taken: u32) {
        if let Some((offer, _)) = self.known.get(id) {
            self.put(id, Some((*offer, taken)));
        }
    }

    /// What is written down of a worker.
    pub(super) fn of(&self, id: &WorkerId) -> Option<(Offer, u32)> {
        self.known.get(id).copied()
    }

    /// Those with a free slot, the best first: those with WireGuard before all others, where that is needed.
    pub(super) fn in_order(&self, needs_wireguard: bool) -> impl Iterator<Item = &WorkerId> {
        let mut with = self.with_wireguard.iter().peekable();
        let mut without = self.without_wireguard.iter().peekable();
        std::iter::from_fn(move || match (with.peek(), without.peek()) {
            (Some(with), Some(other)) if !needs_wireguard && other < with => without.next(),
            (Some(_), _) => with.next(),
            (None, _) => without.next(),
        })
        .map(|rank| &rank.id)
    }

    fn put(&mut self, id: &WorkerId, new: Option<(Offer, u32)>) {
        let old = self.of(id);
        if old == new {
            return;
        }
        if let Some((offer, taken)) = old {
            self.side(offer).remove(&rank_of(id, offer, taken));
        }
        match new {
            Some((offer, taken)) => {
                self.known.insert(id.clone(), (offer, taken));
                if taken < offer.max {
                    self.side(offer).insert(rank_of(id, offer, taken));
                }
            }
            None => {
                self.known.remove(id);
            }
        }
    }

    fn side(&mut self, offer: Offer) -> &mut BTreeSet<Rank<WorkerId>> {
        match offer.wireguard {
            true => &mut self.with_wireguard,
            false => &mut self.without_wireguard,
        }
    }
}

fn rank_of(id: &WorkerId, offer: Offer, taken: u32) -> Rank<WorkerId> {
    Rank::new(offer.called, taken, offer.max, id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::routing::tests::up;
    use crate::core::fleet::routing::{Candidate, choose};

    const OFFER: Offer = Offer { max: 2, wireguard: true, called: true };

    fn ids() -> [WorkerId; 3] {
        ["a", "b", "c"].map(|name| name.parse().unwrap())
    }

    fn order(ranks: &Ranks, needs_wireguard: bool) -> String {
        ranks.in_order(needs_wireguard).map(WorkerId::as_str).collect()
    }

    #[test]
    fn a_worker_moves_as_its_slots_are_taken_and_leaves_when_it_is_full_or_gone() {
        let (mut ranks, [a, b, c]) = (Ranks::default(), ids());
        ranks.set_taken(&a, 1);
        assert_eq!((order(&ranks, false).as_str(), ranks.of(&a)), ("", None), "nobody offers it");
        [&a, &b, &c].iter().for_each(|id| ranks.set_offer(id, Some(OFFER), 0));
        assert_eq!(order(&ranks, false), "abc");
        ranks.set_taken(&a, 1);
        assert_eq!(order(&ranks, false), "bca");
        ranks.set_taken(&b, 2);
        assert_eq!(order(&ranks, false), "ca", "it is full");
        ranks.set_offer(&b, Some(Offer { max: 9, ..OFFER }), 2);
        assert_eq!(order(&ranks, false), "cba");
        ranks.set_offer(&c, None, 0);
        ranks.set_taken(&c, 0);
        assert_eq!(order(&ranks, false), "ba", "it is gone");
    }

    fn every_kind() -> Vec<(Offer, u32)> {
        let flags = [(true, true), (true, false), (false, true), (false, false)];
        let offers = flags
            .into_iter()
            .flat_map(|(wireguard, called)| [0, 1, 2, 3].map(move |max| Offer { max, wireguard, called }));
        offers.flat_map(|offer| (0..4).map(move |taken| (offer, taken))).collect()
    }

    #[test]
    fn the_first_is_who_would_be_chosen_with_a_look_at_every_worker() {
        let (mut ranks, ids, kinds) = (Ranks::default(), ids(), every_kind());
        for (a, b) in kinds.iter().flat_map(|a| kinds.iter().map(move |b| (a, b))) {
            for c in kinds.iter().step_by(3) {
                let all = [(&ids[0], a), (&ids[1], b), (&ids[2], c)];
                all.iter().for_each(|(id, (offer, taken))| ranks.set_offer(id, Some(*offer), *taken));
                let candidates = all.map(|(id, (offer, taken))| candidate(id, *offer, *taken));
                for needs_wireguard in [false, true] {
                    let chosen = choose(candidates.clone(), needs_wireguard).ok();
                    assert_eq!(ranks.in_order(needs_wireguard).next(), chosen, "{all:?}");
                }
            }
        }
    }

    fn candidate(id: &WorkerId, offer: Offer, taken: u32) -> Candidate<'_> {
        Candidate { wireguard: offer.wireguard, called: offer.called, ..up(id, taken, offer.max) }
    }
}
