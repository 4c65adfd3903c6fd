//! Who publishes into a stream, and where that goes: what its media process needs to know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::time::Moment;
use crate::host::wake::Wake;
use crate::media::publisher_slot::PublisherSlot;
use crate::media::sdp::VideoCodec;

/// A pause in what a process is fed with: longer than any frame of a live picture lasts.
const PAUSE: Duration = Duration::from_secs(1);

/// Where goes what is published.
#[derive(Clone, Default)]
pub enum Ingest {
    /// To viewers.
    #[default]
    Viewers,
    /// Into the process, whose owner this wakes when a publisher comes or goes.
    Process(Arc<Wake>),
    /// Both.
    Both(Arc<Wake>),
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ingest::Viewers => "Viewers",
            Ingest::Process(_) => "Process",
            Ingest::Both(_) => "Both",
        })
    }
}

impl Ingest {
    /// Whether viewers see it as it is.
    pub fn to_viewers(&self) -> bool {
        !matches!(self, Ingest::Process(_))
    }

    /// Whether a process gets it.
    pub fn to_process(&self) -> bool {
        self.owner().is_some()
    }

    fn owner(&self) -> Option<&Wake> {
        match self {
            Ingest::Viewers => None,
            Ingest::Process(wake) | Ingest::Both(wake) => Some(wake),
        }
    }
}

/// A publisher that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publishing {
    /// Tells it from the one before.
    pub number: u64,
    /// Its pictures.
    pub video: VideoCodec,
    /// Whether it has sound, which is Opus.
    pub opus: bool,
}

/// Pictures that a process got without a pause in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// From the first to the last of them.
    pub lasted: Duration,
    /// Since the last of them.
    pub ago: Duration,
}

impl Fed {
    /// Whether a process without a new frame for `still` was fed for `patience` of that time: it has no excuse.
    pub fn had_enough(&self, still: Duration, patience: Duration) -> bool {
        self.lasted >= patience && still.saturating_sub(self.ago) >= patience
    }
}

/// What of it is published within this program.
#[derive(Debug, Default)]
pub struct Door {
    ingest: Ingest,
    slot: PublisherSlot,
    now: Mutex<Option<Publishing>>,
    /// When the process got pictures after a pause, and last; on the clock of views, 0 before the first.
    fed_since: AtomicU64,
    fed_last: AtomicU64,
}

impl Door {
    /// What is published goes there.
    pub fn new(ingest: Ingest) -> Door {
        Door { ingest, ..Door::default() }
    }

    /// Where it goes.
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Who publishes.
    pub fn publishing(&self) -> Option<Publishing> {
        *self.lock()
    }

    /// Whose the place to publish is.
    pub fn slot(&self) -> &PublisherSlot {
        &self.slot
    }

    /// The publisher of this number does from now on, if the place is still its own.
    pub fn enter(&self, number: u64, video: VideoCodec, opus: bool) {
        let mut now = self.lock();
        if self.slot.is_held_by(number) {
            *now = Some(Publishing { number, video, opus });
            self.ring();
        }
    }

    /// The publisher of this number does no more, if it did.
    pub fn leave(&self, number: u64) {
        let mut now = self.lock();
        if now.take_if(|publishing| publishing.number == number).is_some() {
            self.ring();
        }
    }

    /// The process got a picture. Only the stream's thread calls this.
    pub fn feed(&self, now: Moment) {
        let last = Moment(self.fed_last.load(Ordering::Relaxed));
        if last == Moment(0) || now.since(last) > PAUSE {
            self.fed_since.store(now.0, Ordering::Relaxed);
        }
        self.fed_last.store(now.0.max(1), Ordering::Release);
    }

    /// The process is another one.
    pub fn feed_anew(&self) {
        self.fed_last.store(0, Ordering::Release);
    }

    /// How the process was fed until its last picture; `None` before the first.
    pub fn fed(&self, now: Moment) -> Option<Fed> {
        let last = Moment(self.fed_last.load(Ordering::Acquire));
        let since = Moment(self.fed_since.load(Ordering::Relaxed));
        (last != Moment(0)).then(|| Fed { lasted: last.since(since), ago: now.since(last) })
    }

    fn ring(&self) {
        if let Some(owner) = self.ingest.owner() {
            owner.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Publishing>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_begins_the_time_of_feeding_anew() {
        let door = Door::default();
        let fed = |lasted, ago| {
            Some(Fed { lasted: Duration::from_millis(lasted), ago: Duration::from_millis(ago) })
        };
        assert_eq!(door.fed(Moment(5)), None);
        for at in [1_000, 1_900, 2_800] {
            door.feed(Moment(at));
        }
        assert_eq!(door.fed(Moment(3_000)), fed(1_800, 200));
        assert_eq!(door.fed(Moment(3_801)), fed(1_800, 1_001), "nothing arrives");
        door.feed(Moment(4_000));
        assert_eq!(door.fed(Moment(4_100)), fed(0, 100));
        door.feed_anew();
        assert_eq!(door.fed(Moment(4_100)), None);
    }

    #[test]
    fn only_a_process_that_was_fed_while_it_stood_still_has_no_excuse() {
        let [one, two, ten] = [1, 2, 10].map(Duration::from_secs);
        let fed = |ago| Fed { lasted: ten, ago };
        assert!(fed(Duration::ZERO).had_enough(two, two), "fed all the time");
        assert!(!fed(Duration::ZERO).had_enough(one, two), "it stood still for less");
        assert!(!fed(two).had_enough(two, two), "its publisher stopped when it did");
        assert!(!fed(one).had_enough(two, two), "its publisher stopped soon after");
        assert!(fed(ten).had_enough(ten + two, two), "its publisher stopped long after");
        assert!(!Fed { lasted: one, ago: Duration::ZERO }.had_enough(ten, two), "fed again for a moment");
    }

    #[test]
    fn each_publisher_has_its_number_and_its_coming_and_going_wakes_the_owner() {
        let wake = Arc::new(Wake::new().unwrap());
        let door = Door::new(Ingest::Process(wake.clone()));
        let rings = || {
            let mut fds = [rustix::event::PollFd::new(&*wake, rustix::event::PollFlags::IN)];
            let count = rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap();
            wake.clear();
            count == 1
        };
        let first = door.slot().take().unwrap();
        door.enter(first, VideoCodec::Vp8, true);
        assert_eq!(door.publishing().map(|publishing| publishing.number), Some(first));
        assert!(rings());
        assert_eq!(door.slot().take(), None, "one at a time");
        door.slot().vacate(first);
        door.leave(first);
        assert!(rings() && door.publishing().is_none());
        door.enter(first, VideoCodec::Vp8, true);
        assert!(!rings() && door.publishing().is_none(), "it connected after its place was taken from it");
        let second = door.slot().take().unwrap();
        door.enter(second, VideoCodec::Vp8, true);
        assert!(rings() && second != first);
        door.slot().vacate(first);
        door.leave(first);
        assert!(!rings() && door.slot().is_held_by(second), "its end comes late");
        assert_eq!(door.publishing().map(|publishing| publishing.number), Some(second));
    }
}
