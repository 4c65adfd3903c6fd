//! Token buckets by key, in bounded memory. Whoever owns a limiter owns its clock; nothing here waits.
//!
//! A bucket is one number: when it will be full again. A full bucket is the same as none, so forgetting it costs
//! nothing; when the table is full of others, the fullest is forgotten, which can only be too lenient to that key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::time::Moment;

/// How much is allowed: `burst` at once, then one each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Size of the bucket.
    pub burst: u32,
    /// Time for one token to come back; whole milliseconds.
    pub every: Duration,
}

/// Token buckets of one rate, one per key.
#[derive(Clone, Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    capacity: usize,
    full_at: BTreeMap<K, Moment>,
    by_fullness: BTreeSet<(Moment, K)>,
}

impl<K: Ord + Clone> RateLimiter<K> {
    /// A limiter that remembers at most `capacity` keys.
    pub fn new(rate: Rate, capacity: usize) -> RateLimiter<K> {
        RateLimiter { rate, capacity, full_at: BTreeMap::new(), by_fullness: BTreeSet::new() }
    }

    /// Takes one token, or says how long until there is one.
    pub fn take(&mut self, now: Moment, key: &K) -> Result<(), Duration> {
        let full_at = self.full_at.get(key).copied().unwrap_or(now).max(now);
        let spent = full_at + self.rate.every;
        let limit = now + self.rate.every.saturating_mul(self.rate.burst);
        if spent > limit {
            return Err(spent.since(limit));
        }
        self.forget(key);
        self.make_room(now);
        if self.capacity > 0 {
            self.full_at.insert(key.clone(), spent);
            self.by_fullness.insert((spent, key.clone()));
        }
        Ok(())
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.full_at.is_empty()
    }

    fn forget(&mut self, key: &K) {
        if let Some(full_at) = self.full_at.remove(key) {
            self.by_fullness.remove(&(full_at, key.clone()));
        }
    }

    /// Drops what is full by now, and the fullest when that is not enough.
    fn make_room(&mut self, now: Moment) {
        while let Some((full_at, key)) = self.by_fullness.first().cloned() {
            if !now.reached(full_at) && self.full_at.len() < self.capacity {
                return;
            }
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(1) };

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let mut limiter = RateLimiter::new(RATE, 10);
        let mut take = |ms| limiter.take(Moment(ms), &"a");
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(Duration::from_secs(1)));
        assert_eq!(take(400), Err(Duration::from_millis(600)));
        assert_eq!(take(1_000), Ok(()));
        assert_eq!(take(1_000), Err(Duration::from_secs(1)));
        assert_eq!(
            [take(60_000), take(60_000), take(60_000)],
            [Ok(()); 3],
            "no more than a burst is saved up"
        );
        assert!(take(60_000).is_err());
    }

    #[test]
    fn keys_do_not_share_tokens() {
        let mut limiter = RateLimiter::new(Rate { burst: 1, ..RATE }, 10);
        assert!(limiter.take(Moment(0), &1).is_ok());
        assert!(limiter.take(Moment(0), &1).is_err());
        assert!(limiter.take(Moment(0), &2).is_ok());
    }

    #[test]
    fn a_flood_of_keys_stays_bounded_and_does_not_free_the_worst() {
        let mut limiter = RateLimiter::new(RATE, 100);
        for _ in 0..3 {
            limiter.take(Moment(0), &0).unwrap();
        }
        for key in 1..10_000 {
            limiter.take(Moment(1), &key).unwrap();
            assert!(limiter.len() <= 100);
        }
        assert!(limiter.take(Moment(2), &0).is_err(), "the emptiest bucket was forgotten");
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let mut limiter = RateLimiter::new(RATE, 100);
        for key in 0..50 {
            limiter.take(Moment(0), &key).unwrap();
        }
        limiter.take(Moment(1_000), &99).unwrap();
        assert_eq!(limiter.len(), 1);
    }
}
