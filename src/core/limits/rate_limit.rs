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

/// Seconds worth of requests that may come at once: a page is many requests, and then none for a while.
const BURST_SECONDS: u32 = 10;

impl Rate {
    /// This many requests a second, and ten seconds' worth of them at once; `None` for 0. The time between two is rounded
    /// down to whole milliseconds; more than 1000 a second are 1000.
    pub fn of_requests(per_second: u32) -> Option<Rate> {
        let every = Duration::from_millis(u64::from(1000_u32.checked_div(per_second)?.max(1)));
        Some(Rate { burst: per_second.saturating_mul(BURST_SECONDS), every })
    }
}

/// One token bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Moment,
}

impl Bucket {
    /// Takes one token, or says how long until there is one.
    pub fn take(&mut self, now: Moment, rate: Rate) -> Result<(), Duration> {
        let spent = self.full_at.max(now) + rate.every;
        let limit = now + rate.every.saturating_mul(rate.burst);
        if spent > limit {
            return Err(spent.since(limit));
        }
        self.full_at = spent;
        Ok(())
    }
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
        let mut bucket = Bucket { full_at: self.full_at.get(key).copied().unwrap_or(now) };
        bucket.take(now, self.rate)?;
        self.forget(key);
        self.make_room(now);
        if self.capacity > 0 {
            self.full_at.insert(key.clone(), bucket.full_at);
            self.by_fullness.insert((bucket.full_at, key.clone()));
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

/// One rate that many share. Whoever asked for more than half of it lately waits when it is used up; the others have a reserve of a
/// quarter, so that one of them does not take it from all.
#[derive(Clone, Debug)]
pub struct SharedRate<K> {
    all: Bucket,
    reserve: Bucket,
    each: BTreeMap<K, Moment>,
}

/// Those that share a rate and are remembered; beyond it who asked least is forgotten, which is lenient to him only.
const SHARERS: usize = 64;

impl<K> Default for SharedRate<K> {
    fn default() -> SharedRate<K> {
        SharedRate { all: Bucket::default(), reserve: Bucket::default(), each: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> SharedRate<K> {
    /// Takes one token for `key` (`None`: of nobody in particular, who has no claim to the reserve), or says how long until there is
    /// one.
    pub fn take(&mut self, now: Moment, rate: Rate, key: Option<&K>) -> Result<(), Duration> {
        let modest = key.is_some_and(|key| self.charge(now, rate, key));
        let taken = self.all.take(now, rate);
        if taken.is_err() && modest {
            let quarter = Rate { burst: rate.burst.div_ceil(4), every: rate.every.saturating_mul(4) };
            return self.reserve.take(now, quarter);
        }
        taken
    }

    /// Notes a request of `key`, also one that is refused. Whether it asks for less than half of the rate.
    fn charge(&mut self, now: Moment, rate: Rate, key: &K) -> bool {
        self.each.retain(|_, full_at| !now.reached(*full_at));
        let half = Rate { burst: rate.burst.div_ceil(2), every: rate.every.saturating_mul(2) };
        let mut bucket = Bucket { full_at: self.each.get(key).copied().unwrap_or(now) };
        let modest = bucket.take(now, half).is_ok();
        if self.each.len() >= SHARERS && !self.each.contains_key(key) {
            let least = self.each.iter().min_by_key(|(_, full_at)| **full_at).map(|(key, _)| key.clone());
            least.map(|key| self.each.remove(&key));
        }
        self.each.insert(key.clone(), bucket.full_at);
        modest
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
    fn a_rate_per_second_gives_that_many_and_ten_seconds_worth_at_once() {
        assert_eq!(Rate::of_requests(0), None);
        assert_eq!(Rate::of_requests(500), Some(Rate { burst: 5000, every: Duration::from_millis(2) }));
        assert_eq!(Rate::of_requests(9999).map(|rate| rate.every), Some(Duration::from_millis(1)));
        let (rate, mut bucket) = (Rate::of_requests(100).unwrap(), Bucket::default());
        let mut served =
            |from: u64, to: u64| (from..to).filter(|ms| bucket.take(Moment(*ms), rate).is_ok()).count();
        assert_eq!(served(5_000, 6_000), 1000, "the burst, one each millisecond");
        assert_eq!(served(6_000, 26_000), 2000 + 99, "then the rate, and what came back during the burst");
    }

    #[test]
    fn one_of_many_does_not_take_a_shared_rate_from_all() {
        let (rate, mut shared) = (Rate::of_requests(20).unwrap(), SharedRate::default());
        let greedy = |shared: &mut SharedRate<u32>, ms| {
            (0..1_000).filter(|_| shared.take(Moment(ms), rate, Some(&1)).is_ok()).count()
        };
        assert_eq!(greedy(&mut shared, 0), 200, "alone it has all");
        for second in 1..=60 {
            greedy(&mut shared, second * 1_000);
            assert_eq!(shared.take(Moment(second * 1_000), rate, Some(&2)), Ok(()), "second {second}");
        }
        let nobody = shared.take(Moment(60_000), rate, None);
        assert_eq!(nobody, Err(Duration::from_millis(50)), "who cannot be told from others has no reserve");
    }

    #[test]
    fn those_that_share_a_rate_are_remembered_in_bounded_memory() {
        let (rate, mut shared) = (Rate::of_requests(20).unwrap(), SharedRate::default());
        assert!((0..10_000).any(|key| shared.take(Moment(0), rate, Some(&key)).is_err()));
        assert!(shared.each.len() <= SHARERS);
        assert_eq!(shared.take(Moment(3_600_000), rate, Some(&1)), Ok(()));
        assert_eq!(shared.each.len(), 1);
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
