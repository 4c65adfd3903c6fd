//! What a stream's thread finds of those who feed it: whether a picture can be begun, and what keeps viewers from it.
//!
//! Owner: the stream's thread has the [`Watch`]; its session's supervisor reads [`Findings`] and is rung when they change.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::core::time::Moment;
use crate::host::wake::Wake;
use crate::media::codec::ffmpeg_description::Description;
use crate::media::codec::parameter_sets::Sets;
use crate::media::rtp::forwarder::{Feeder, Track};
use crate::media::rtp::playable::{Expected, Playable, State, Trouble};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Which start of the process this is about.
    pub start: u64,
    /// Where the process stands.
    pub process: State,
    /// What it lacks before it can be begun, as far as can be said.
    pub lacks: Option<Trouble>,
    /// What stands in the way of viewers.
    pub troubles: Vec<(Feeder, Trouble)>,
}

/// What was found, for others.
#[derive(Debug, Default)]
pub struct Findings {
    found: Mutex<Found>,
    reader: OnceLock<Arc<Wake>>,
}

impl Findings {
    /// From now on this rings when something changes. The first one stays.
    pub fn ring(&self, reader: Arc<Wake>) {
        let _ = self.reader.set(reader);
    }

    /// What was found.
    pub fn read(&self) -> Found {
        self.lock().clone()
    }

    /// The process is about to be another one, of which nothing is known; the number of its start.
    pub fn begin(&self) -> u64 {
        let mut found = self.lock();
        let start = found.start + 1;
        let publishers = |(feeder, _): &(Feeder, Trouble)| *feeder == Feeder::Publisher;
        let troubles = std::mem::take(&mut found.troubles).into_iter().filter(publishers).collect();
        *found = Found { start, troubles, ..Found::default() };
        start
    }

    /// Publishes what is about the present start.
    fn publish(&self, now: &Found) {
        let mut found = self.lock();
        if found.start == now.start && *found != *now {
            found.clone_from(now);
            drop(found);
            self.reader.get().into_iter().for_each(|wake| wake.ring());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The detectors.
#[derive(Debug)]
pub struct Watch {
    expected: Expected,
    start: u64,
    process: Playable,
    publisher: Option<Playable>,
    /// Whether the publisher's picture goes to viewers as it is.
    is_shown: bool,
    told: Found,
}

impl Watch {
    /// Of a stream whose process is to send this.
    pub fn new(expected: Expected, is_shown: bool) -> Watch {
        let process = Playable::new(expected);
        Watch { expected, start: 0, process, publisher: None, is_shown, told: Found::default() }
    }

    /// Another process.
    pub fn begin(&mut self, start: u64) {
        (self.start, self.process) = (start, Playable::new(self.expected));
    }

    /// What the process says it sends.
    pub fn describe(&mut self, description: &Description) {
        self.process.describe(description);
        self.process.has(&description.sets);
    }

    /// Another publisher, which offered these parameter sets, or none any more.
    pub fn publisher(&mut self, publisher: Option<(Expected, &Sets)>) {
        self.publisher = publisher.map(|(expected, sets)| {
            let mut playable = Playable::new(expected);
            playable.has(sets);
            playable
        });
    }

    /// Takes a packet.
    pub fn packet(&mut self, feeder: Feeder, track: Track, payload: &[u8], now: Moment) {
        match feeder {
            Feeder::Process => self.process.packet(track, payload, now),
            Feeder::Publisher => {
                self.publisher.iter_mut().for_each(|publisher| publisher.packet(track, payload, now));
            }
        }
    }

    /// Tells what changed.
    pub fn tell(&mut self, findings: &Findings, now: Moment) {
        let of_process = self.process.troubles(now).into_iter().map(|trouble| (Feeder::Process, trouble));
        let of_publisher = self.publisher.iter().flat_map(|publisher| publisher.troubles(now));
        // A process decodes them.
        let matters = |trouble: &Trouble| self.is_shown || *trouble != Trouble::BFrames;
        let of_publisher = of_publisher.filter(matters).map(|trouble| (Feeder::Publisher, trouble));
        let process = self.process.state(now);
        let found = Found {
            start: self.start,
            process,
            lacks: self.process.lacks_so_far().filter(|_| process == State::NotYet),
            troubles: of_process.chain(of_publisher).collect(),
        };
        if found != self.told {
            findings.publish(&found);
            self.told = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::payload::Packing;

    const H264: Expected = Expected { video: Some(Packing::H264), opus: false };

    fn picture(watch: &mut Watch, feeder: Feeder) {
        for unit in [&[0x67, 0x42, 0xC0, 0x1E, 0x80][..], &[0x65, 0x88]] {
            watch.packet(feeder, Track::Video, unit, Moment(1));
        }
    }

    #[test]
    fn what_was_found_of_the_process_before_says_nothing_of_the_next() {
        let (mut watch, findings) = (Watch::new(H264, true), Findings::default());
        let first = findings.begin();
        watch.begin(first);
        picture(&mut watch, Feeder::Process);
        watch.tell(&findings, Moment(1));
        assert_eq!(findings.read().process, State::Begun);
        let second = findings.begin();
        assert_eq!(findings.read(), Found { start: second, ..Found::default() });
        // The thread has not heard of it yet.
        watch.packet(Feeder::Process, Track::Video, &[0x41, 0b1010_0000], Moment(2));
        watch.packet(Feeder::Process, Track::Video, &[0x41, 0b1010_0000], Moment(2));
        watch.tell(&findings, Moment(2));
        assert_eq!(findings.read().process, State::NotYet);
        watch.begin(second);
        watch.packet(Feeder::Process, Track::Video, &[0x65, 0x88], Moment(3));
        watch.tell(&findings, Moment(3));
        assert_eq!(findings.read().lacks, Some(Trouble::NoParameterSets));
    }

    #[test]
    fn a_publishers_b_frames_matter_only_where_viewers_see_them() {
        for (is_shown, expected) in [(true, vec![(Feeder::Publisher, Trouble::BFrames)]), (false, vec![])] {
            let (mut watch, findings) = (Watch::new(H264, is_shown), Findings::default());
            let wake = Arc::new(Wake::new().unwrap());
            findings.ring(wake.clone());
            watch.publisher(Some((H264, &Sets::default())));
            picture(&mut watch, Feeder::Publisher);
            for _ in 0..2 {
                watch.packet(Feeder::Publisher, Track::Video, &[0x01, 0b1010_0000, 0], Moment(1));
            }
            watch.tell(&findings, Moment(2));
            assert_eq!(findings.read().troubles, expected);
            watch.publisher(None);
            watch.tell(&findings, Moment(3));
            assert_eq!(findings.read().troubles, [], "they end with it");
        }
    }
}
