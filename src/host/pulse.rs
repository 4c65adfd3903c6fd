//! Progress of owner threads. Each registers a [`Pulse`] with the longest silence it may have, and beats it on every
//! round of its loop. `main` feeds the watchdog only while [`Pulses::stalled`] is empty.
//!
//! A thread that returned is as bad as one that hangs: nobody does its work. So one that is there for as long as the
//! process counts as stalled from its end on, until [`Pulses::let_end`] says that threads may end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Every pulse of the process. Clones share it.
#[derive(Clone, Debug)]
pub struct Pulses {
    start: Instant,
    entries: Arc<Mutex<Vec<Arc<Entry>>>>,
    may_end: Arc<AtomicBool>,
}

/// One thread's pulse; dropped with the thread.
#[derive(Debug)]
pub struct Pulse {
    registry: Pulses,
    entry: Arc<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    longest_silence: Duration,
    /// It may end while the process goes on.
    passing: bool,
    ended: AtomicBool,
    /// Milliseconds since the registry's start.
    last: AtomicU64,
}

impl Default for Pulses {
    fn default() -> Pulses {
        Pulses { start: Instant::now(), entries: Arc::default(), may_end: Arc::default() }
    }
}

impl Pulses {
    /// An empty registry.
    pub fn new() -> Pulses {
        Pulses::default()
    }

    /// Registers a thread that is there for as long as the process; its first beat is now.
    pub fn register(&self, name: impl Into<String>, longest_silence: Duration) -> Pulse {
        self.add(name.into(), longest_silence, false)
    }

    /// Registers a thread that ends when its work is done.
    pub fn register_passing(&self, name: impl Into<String>, longest_silence: Duration) -> Pulse {
        self.add(name.into(), longest_silence, true)
    }

    /// The process stops: from now on every thread may end.
    pub fn let_end(&self) {
        self.may_end.store(true, Ordering::Release);
    }

    fn add(&self, name: String, longest_silence: Duration, passing: bool) -> Pulse {
        let last = AtomicU64::new(self.millis(Instant::now()));
        let entry = Arc::new(Entry { name, longest_silence, passing, ended: AtomicBool::default(), last });
        self.lock().push(Arc::clone(&entry));
        Pulse { registry: self.clone(), entry }
    }

    /// The names of the threads that have been silent for too long at `now`, or have ended.
    pub fn stalled(&self, now: Instant) -> Vec<String> {
        let now = self.millis(now);
        let silent = |entry: &&Arc<Entry>| {
            let silence = now.saturating_sub(entry.last.load(Ordering::Relaxed));
            Duration::from_millis(silence) > entry.longest_silence || entry.ended.load(Ordering::Acquire)
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
        let regular = self.entry.passing || self.registry.may_end.load(Ordering::Acquire);
        if regular && !std::thread::panicking() {
            self.registry.lock().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        } else {
            self.entry.ended.store(true, Ordering::Release);
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
    fn a_thread_that_returned_is_missed_at_once_unless_its_work_was_done_or_the_process_stops() {
        let pulses = Pulses::new();
        drop(pulses.register_passing("stream-1", SECOND));
        assert_eq!(pulses.stalled(Instant::now() + 2 * SECOND), Vec::<String>::new());
        drop(pulses.register("api-0", 60 * SECOND));
        assert_eq!(pulses.stalled(Instant::now()), ["api-0"]);
        let last = pulses.register("outbox", 60 * SECOND);
        pulses.let_end();
        drop(last);
        assert_eq!(pulses.stalled(Instant::now()), ["api-0"]);
    }

    #[test]
    fn a_thread_that_panicked_is_missed_whatever_it_was() {
        let pulses = Pulses::new();
        let pulse = pulses.register_passing("panicked", SECOND);
        let died = std::thread::spawn(move || {
            let _pulse = pulse;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(died.join().is_err());
        assert_eq!(pulses.stalled(Instant::now()), ["panicked"]);
    }
}
