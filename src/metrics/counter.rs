//! What owners count with. All of it is atomics: whoever counts waits for nobody, and whoever reads sees each number whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// As it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of something there are. Each is there as long as its [`Present`].
#[derive(Debug, Default)]
pub struct Level(Arc<AtomicU64>);

/// One of those that a [`Level`] counts.
#[derive(Debug)]
pub struct Present(Arc<AtomicU64>);

impl Level {
    /// One more, until what this returns is dropped.
    pub fn enter(&self) -> Present {
        self.0.fetch_add(1, Ordering::Relaxed);
        Present(self.0.clone())
    }

    /// How many there are now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters of a closed list of words.
#[derive(Debug)]
pub struct Tally {
    words: &'static [&'static str],
    counts: Box<[Counter]>,
}

impl Tally {
    /// Zero for each of these words.
    pub fn new(words: &'static [&'static str]) -> Tally {
        Tally { words, counts: words.iter().map(|_| Counter::default()).collect() }
    }

    /// One more of this word. One that is not in the list counts for the last, which is the one for all others.
    pub fn note(&self, word: &str) {
        let known = self.words.iter().zip(&self.counts).find(|(known, _)| **known == word);
        if let Some(count) = known.map(|(_, count)| count).or(self.counts.last()) {
            count.one();
        }
    }

    /// Each word with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.words.iter().copied().zip(self.counts.iter().map(Counter::get))
    }
}

/// How long something took: how often at most so long.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in milliseconds, rising.
    bounds_ms: &'static [u64],
    /// One for each bound, and one for what took longer.
    counts: Box<[Counter]>,
    sum_us: Counter,
}

impl Histogram {
    /// With these upper bounds in milliseconds, which rise.
    pub fn new(bounds_ms: &'static [u64]) -> Histogram {
        let counts = (0..=bounds_ms.len()).map(|_| Counter::default()).collect();
        Histogram { bounds_ms, counts, sum_us: Counter::default() }
    }

    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        let place = self.bounds_ms.partition_point(|bound| u128::from(*bound) * 1_000_000 < took.as_nanos());
        if let Some(count) = self.counts.get(place) {
            count.one();
        }
        self.sum_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// How often at most so many seconds; without a bound: how often in all.
    pub fn cumulated(&self) -> Vec<(Option<f64>, u64)> {
        let bounds = self.bounds_ms.iter().map(|bound| Some(Duration::from_millis(*bound).as_secs_f64()));
        let mut sum = 0;
        let counts = self.counts.iter().map(|count| {
            sum += count.get();
            sum
        });
        bounds.chain([None]).zip(counts).collect()
    }

    /// All together, in seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_micros(self.sum_us.get()).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_falls_when_what_it_counts_is_gone() {
        let level = Level::default();
        let (first, second) = (level.enter(), level.enter());
        assert_eq!(level.get(), 2);
        drop(first);
        assert_eq!(level.get(), 1);
        drop(second);
        assert_eq!(level.get(), 0);
    }

    #[test]
    fn words_that_are_not_in_the_list_count_for_the_last() {
        let tally = Tally::new(&["a", "b", "other"]);
        ["b", "b", "c", "a\n"].iter().for_each(|word| tally.note(word));
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("a", 0), ("b", 2), ("other", 2)]);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound_included() {
        let histogram = Histogram::new(&[250, 1_000]);
        for ms in [0, 250, 251, 1_000, 1_001, 5_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        assert_eq!(histogram.cumulated(), [(Some(0.25), 2), (Some(1.0), 4), (None, 6)]);
        assert!((histogram.sum() - 7.502).abs() < 1e-9, "{}", histogram.sum());
    }
}
