//! Progress of owner threads. Each registers a [`Pulse`] with the longest silence it may have, and beats it on every
//! round of its loop. `main` feeds the watchdog only while [`Pulses::stalled`] is empty.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Every pulse of the process. Clones share it.
#[derive(Clone, Debug)]
pub struct Pulses {
    start: Instant,
    entries: Arc<Mutex<Vec<Arc<Entry>>>>,
}

/// One thread's pulse. Dropping it takes it off the list, unless its thread panics: a thread that died is stalled.
#[derive(Debug)]
pub struct Pulse {
    registry: Pulses,
    entry: Arc<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    longest_silence: Duration,
    /// Milliseconds since the registry's start.
    last: AtomicU64,
}

impl Default for Pulses {
    fn default() -> Pulses {
        Pulses { start: Instant::now(), entries: Arc::default() }
    }
}

impl Pulses {
    /// An empty registry.
    pub fn new() -> Pulses {
        Pulses::default()
    }

    /// Registers a thread; its first beat is now.
    pub fn register(&self, name: impl Into<String>, longest_silence: Duration) -> Pulse {
        let last = AtomicU64::new(self.millis(Instant::now()));
        let entry = Arc::new(Entry { name: name.into(), longest_silence, last });
        self.lock().push(Arc::clone(&entry));
        Pulse { registry: self.clone(), entry }
    }

    /// The names of the threads that have been silent for too long at `now`.
    pub fn stalled(&self, now: Instant) -> Vec<String> {
        let now = self.millis(now);
        let silent = |entry: &&Arc<Entry>| {
            let silence = now.saturating_sub(entry.last.load(Ordering::Relaxed));
            Duration::from_millis(silence) > entry.longest_silence
        };
        self.lock().iter().filter(silent).map(|entry| entry.name.clone()).collect()
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// The thread made progress.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// The thread made progress at `now`, for threads that have just asked the clock.
    pub fn beat_at(&self, now: Instant) {
        self.entry.last.store(self.registry.millis(now), Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.registry.lock().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_thread_is_named_until_it_beats_again() {
        let pulses = Pulses::new();
        let (slow, _fast) = (pulses.register("edge-0", 5 * SECOND), pulses.register("cleanup", 60 * SECOND));
        let later = Instant::now() + 10 * SECOND;
        assert_eq!(pulses.stalled(Instant::now()), Vec::<String>::new());
        assert_eq!(pulses.stalled(later), ["edge-0"]);
        slow.beat_at(later);
        assert_eq!(pulses.stalled(later), Vec::<String>::new());
    }

    #[test]
    fn a_thread_that_ended_is_not_missed_but_one_that_panicked_is() {
        let pulses = Pulses::new();
        drop(pulses.register("ended", SECOND));
        let pulse = pulses.register("panicked", SECOND);
        let died = std::thread::spawn(move || {
            let _pulse = pulse;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(died.join().is_err());
        assert_eq!(pulses.stalled(Instant::now() + 2 * SECOND), ["panicked"]);
    }
}
