//! Places in a shared pool, so that nobody takes them all.
//!
//! Each place is taken in the names of one or more keys, for example the session and the address of a request. A key may hold
//! its share and no more. The last places of the pool are a reserve for keys that hold few: who comes new still finds one while
//! others are at their limit.
//!
//! ```text
//!  |<-------------------- capacity --------------------->|
//!  |  anybody, each key up to its share   |   reserve     |   keys that hold fewer than FEW
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// A key that holds fewer places than this may use the reserve. A browser opens six connections to one host.
pub const FEW: usize = 8;

/// The sizes of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// All places.
    pub capacity: usize,
    /// So many of them are kept for keys that hold few.
    pub reserve: usize,
}

impl Sizes {
    /// A pool of which an eighth is the reserve.
    pub fn of(capacity: usize) -> Sizes {
        Sizes { capacity, reserve: capacity / 8 }
    }
}

/// A name that a place is taken in, and how many that name may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share<K> {
    /// The name.
    pub key: K,
    /// The most places it may hold.
    pub most: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The share of this number, in the order they were named, is used up.
    Share(usize),
    /// The whole pool is, or all of it but the reserve.
    Full,
}

/// The pool: who holds how many places.
#[derive(Clone, Debug)]
pub struct FairShare<K> {
    sizes: Sizes,
    held: usize,
    by_key: BTreeMap<K, usize>,
}

impl<K: Ord + Clone> FairShare<K> {
    /// An empty pool.
    pub fn new(sizes: Sizes) -> FairShare<K> {
        FairShare { sizes, held: 0, by_key: BTreeMap::new() }
    }

    /// Takes a place in all these names. It is given back with the same names.
    pub fn take(&mut self, shares: &[Share<K>]) -> Result<(), Refused> {
        self.ask(shares)?;
        self.enter(shares.iter().map(|share| &share.key));
        Ok(())
    }

    /// Counts a place in these names without asking: of one who has it already, or has a right to it.
    pub fn enter<'a>(&mut self, keys: impl IntoIterator<Item = &'a K>)
    where
        K: 'a,
    {
        self.held += 1;
        for key in keys {
            *self.by_key.entry(key.clone()).or_default() += 1;
        }
    }

    /// Whether a place could be taken.
    pub fn ask(&self, shares: &[Share<K>]) -> Result<(), Refused> {
        self.judge(shares, self.held, |key| self.held_by(key))
    }

    /// The same if a place that was taken in the names `leaving` were given back before.
    pub fn ask_without(&self, leaving: &[K], shares: &[Share<K>]) -> Result<(), Refused> {
        let held_by = |key: &K| self.held_by(key).saturating_sub(usize::from(leaving.contains(key)));
        self.judge(shares, self.held.saturating_sub(1), held_by)
    }

    fn judge(&self, shares: &[Share<K>], held: usize, held_by: impl Fn(&K) -> usize) -> Result<(), Refused> {
        if let Some(over) = shares.iter().position(|share| held_by(&share.key) >= share.most) {
            return Err(Refused::Share(over));
        }
        let newcomer = shares.iter().all(|share| held_by(&share.key) < FEW);
        let kept = if newcomer { 0 } else { self.sizes.reserve };
        if held + kept < self.sizes.capacity { Ok(()) } else { Err(Refused::Full) }
    }

    /// Gives a place back that was taken in these names.
    pub fn give_back<'a>(&mut self, keys: impl IntoIterator<Item = &'a K>)
    where
        K: 'a,
    {
        self.held = self.held.saturating_sub(1);
        for key in keys {
            let left = self.held_by(key).saturating_sub(1);
            match self.by_key.get_mut(key) {
                Some(count) if left > 0 => *count = left,
                _ => drop(self.by_key.remove(key)),
            }
        }
    }

    /// Places taken.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Places taken in this name.
    pub fn held_by(&self, key: &K) -> usize {
        self.by_key.get(key).copied().unwrap_or(0)
    }

    /// Names that hold a place.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }
}

/// The network that shares and rates of one address are for: one IPv6 host has a whole /64.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(key: u32, most: usize) -> Share<u32> {
        Share { key, most }
    }

    // SPEC shares: One pure type: shares per key, a reserve for keys that hold few; no crowd keeps
    // out whoever holds nothing
    // Also: `the_share_that_was_met_is_named`, `the_reserve_is_for_keys_that_hold_few`,
    // `a_small_pool_serves_everybody_in_turn`,
    // `whoever_holds_nothing_gets_a_place_in_a_thousand_seeded_crowds`,
    // `an_ipv6_network_is_one_address_and_a_mapped_one_is_its_ipv4`
    #[test]
    fn a_key_takes_its_share_and_no_more() {
        let mut pool = FairShare::new(Sizes::of(64));
        let taken = (0..100).filter(|_| pool.take(&[share(1, 10)]).is_ok()).count();
        assert_eq!((taken, pool.take(&[share(1, 10)])), (10, Err(Refused::Share(0))));
        assert_eq!(pool.take(&[share(2, 10)]), Ok(()));
        pool.give_back(&[1]);
        assert_eq!(pool.take(&[share(1, 10)]), Ok(()));
    }

    #[test]
    fn the_share_that_was_met_is_named() {
        let mut pool = FairShare::new(Sizes::of(64));
        let (session, address) = (share(1, 10), share(2, 3));
        (0..3).for_each(|_| pool.take(&[session.clone(), address.clone()]).unwrap());
        assert_eq!(pool.take(&[session.clone(), address]), Err(Refused::Share(1)));
        (0..7).for_each(|_| pool.take(&[session.clone(), share(3, 10)]).unwrap());
        assert_eq!(pool.take(&[session, share(3, 10)]), Err(Refused::Share(0)));
    }

    #[test]
    fn the_reserve_is_for_keys_that_hold_few() {
        let mut pool = FairShare::new(Sizes { capacity: 40, reserve: 8 });
        let greedy = (0..40).filter(|_| pool.take(&[share(1, 40)]).is_ok()).count();
        assert_eq!((greedy, pool.take(&[share(1, 40)])), (32, Err(Refused::Full)));
        assert!((2..10).all(|key| pool.take(&[share(key, 40)]).is_ok()), "eight others");
        assert_eq!((pool.take(&[share(10, 40)]), pool.held()), (Err(Refused::Full), 40));
        pool.give_back(&[1]);
        assert_eq!(pool.take(&[share(1, 40)]), Err(Refused::Full), "it holds more than few");
        assert_eq!(pool.take(&[share(10, 40)]), Ok(()));
    }

    #[test]
    fn a_small_pool_serves_everybody_in_turn() {
        let mut pool = FairShare::new(Sizes::of(2));
        assert!(pool.take(&[share(1, 2)]).is_ok() && pool.take(&[share(2, 2)]).is_ok());
        assert_eq!(pool.take(&[share(3, 2)]), Err(Refused::Full));
    }

    /// Some keys take whenever they can, others now and then: the counts never part from the places, and who comes now and
    /// then is never refused.
    #[test]
    fn whoever_holds_nothing_gets_a_place_in_a_thousand_seeded_crowds() {
        for seed in 1..=1_000u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let capacity = 16 + usize::try_from(next(200)).unwrap();
            let mut pool = FairShare::new(Sizes::of(capacity));
            let (most, greedy) = (capacity / 4, 1 + u32::try_from(next(3)).unwrap());
            let mut places: Vec<u32> = Vec::new();
            for _ in 0..500 {
                match next(4) {
                    0 if !places.is_empty() => {
                        let at = usize::try_from(next(places.len() as u64)).unwrap();
                        pool.give_back(&[places.swap_remove(at)]);
                    }
                    _ => {
                        let key = u32::try_from(next(u64::from(greedy))).unwrap();
                        if pool.take(&[share(key, most)]).is_ok() {
                            places.push(key);
                        }
                    }
                }
                let honest = share(1_000, most);
                assert_eq!(pool.take(std::slice::from_ref(&honest)), Ok(()), "seed {seed}");
                pool.give_back(&[honest.key]);
                assert_eq!(pool.held(), places.len(), "seed {seed}");
                assert!(pool.held() <= capacity && pool.keys() <= greedy as usize, "seed {seed}");
                for key in 0..greedy {
                    let held = places.iter().filter(|place| **place == key).count();
                    assert_eq!(pool.held_by(&key), held, "seed {seed}");
                    assert!(held <= most, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_its_ipv4() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1:2:3:4"), of("2001:db8::5:6:7:8"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
