//! What one peer's datagrams may cost its media thread.
//!
//! A media thread has other people's peers too. Libraries that read what a peer sends have inputs that cost them thousands of times what they
//! cost the sender, and nobody knows them all. So what they take is measured, and a peer that takes half a second of a second goes.
//! The thread's own time is asked of the kernel only for a peer that seems to take as much by the clock: on a busy machine that may be
//! the time of others.

use std::time::Duration;

use crate::core::time::Moment;

/// In which a peer's time is added up.
const WINDOW: Duration = Duration::from_secs(1);

/// What it may take of that. A publisher of 50 Mbit/s takes some 30 ms, a handshake 10.
const MOST: Duration = Duration::from_millis(500);

/// One peer's account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Burden {
    since: Moment,
    by_clock: Duration,
    of_thread: Duration,
    is_suspect: bool,
}

impl Burden {
    /// Whether the thread's own time is to be measured.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// Adds what a datagram took, by the clock and, where that was measured, of the thread's own time. `true`: it is too much.
    pub fn add(&mut self, now: Moment, by_clock: Duration, of_thread: Option<Duration>) -> bool {
        if now.since(self.since) >= WINDOW {
            *self = Burden { since: now, is_suspect: self.by_clock > MOST, ..Burden::default() };
        }
        self.by_clock += by_clock;
        self.of_thread += of_thread.unwrap_or_default();
        self.is_suspect |= self.by_clock > MOST;
        self.of_thread > MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_takes_half_of_the_threads_own_time_goes() {
        let mut burden = Burden::default();
        assert!(
            (0..40).all(|at| !burden.add(Moment(at * 20), 20 * MS, None)),
            "by the clock alone nobody goes"
        );
        assert!(burden.is_suspect());
        let went = (40..100).find(|at| burden.add(Moment(at * 20), 20 * MS, Some(19 * MS)));
        // From the next second on, 27 times 19 ms.
        assert_eq!(went, Some(50 + 26));
    }

    #[test]
    fn a_busy_machine_is_nobodys_fault() {
        let mut burden = Burden::default();
        for at in 0..1_000 {
            let own = burden.is_suspect().then_some(MS);
            assert!(!burden.add(Moment(at * 50), 49 * MS, own), "{at}");
        }
        assert!((0..10_000).all(|at| !burden.add(Moment(100_000 + at), MS / 100, None)));
        assert!(!burden.is_suspect());
    }
}
