//! Who publishes into a stream, and where that goes: what its media process needs to know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::time::Moment;
use crate::core::whip_offer::VideoCodec;
use crate::host::wake::Wake;

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

/// What of it is published within this program.
#[derive(Debug, Default)]
pub struct Door {
    ingest: Ingest,
    now: Mutex<Option<Publishing>>,
    count: AtomicU64,
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

    /// Somebody does from now on.
    pub fn enter(&self, video: VideoCodec, opus: bool) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.set(Some(Publishing { number, video, opus }));
    }

    /// Nobody does any more.
    pub fn leave(&self) {
        self.set(None);
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

    /// For how long the process has got pictures without a pause.
    pub fn fed_for(&self, now: Moment) -> Option<Duration> {
        let last = Moment(self.fed_last.load(Ordering::Acquire));
        let fed = last != Moment(0) && now.since(last) <= PAUSE;
        fed.then(|| now.since(Moment(self.fed_since.load(Ordering::Relaxed))))
    }

    fn set(&self, publishing: Option<Publishing>) {
        *self.lock() = publishing;
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
        assert_eq!(door.fed_for(Moment(5)), None);
        for at in [1_000, 1_900, 2_800] {
            door.feed(Moment(at));
        }
        assert_eq!(door.fed_for(Moment(3_000)), Some(Duration::from_millis(2_000)));
        assert_eq!(door.fed_for(Moment(3_801)), None, "nothing arrives");
        door.feed(Moment(4_000));
        assert_eq!(door.fed_for(Moment(4_100)), Some(Duration::from_millis(100)));
        door.feed_anew();
        assert_eq!(door.fed_for(Moment(4_100)), None);
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
        door.enter(VideoCodec::Vp8, true);
        let first = door.publishing().unwrap();
        assert!(rings());
        door.leave();
        assert!(rings() && door.publishing().is_none());
        door.enter(VideoCodec::Vp8, true);
        assert_ne!(door.publishing(), Some(first));
    }
}
