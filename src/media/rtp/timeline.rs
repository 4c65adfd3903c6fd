//! One stream for the viewers, whatever feeds it: sequence numbers and timestamps go on when the source is restarted or
//! another one takes over, and the source's clock is put to ours for lip sync.
//!
//! ```text
//!            first packet                      other SSRC, or a jump no network makes
//!   Empty ──────────────────► Following(epoch) ──────────────────────────────────────┐
//!                                    ▲         next epoch: sequence + 1,             │
//!                                    └──────── timestamp + time passed ◄─────────────┘
//! ```

use crate::core::time::Moment;
use crate::media::rtp::packet::SenderReport;

/// A step of sequence numbers that is a new start, not loss: seconds of a fast stream.
const JUMP: i64 = 3_000;

/// A packet's place in the viewers' stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number since the stream began; never wraps. Viewers subtract where they came in, so that theirs begin small.
    pub sequence: u64,
    /// Timestamp, wrapping.
    pub timestamp: u32,
}

/// Continuity of one stream, audio or video.
#[derive(Clone, Debug)]
pub struct TimelineMapper {
    /// Units of the codec's clock in a second.
    clock_rate: u32,
    epoch: Option<Epoch>,
}

/// The time from one start of the source to the next.
#[derive(Clone, Debug)]
struct Epoch {
    ssrc: u32,
    /// The source's sequence number, unwrapped, of its newest packet, and of its first.
    newest: i64,
    first: i64,
    /// Added to the source's numbers.
    sequence_offset: i64,
    /// The source's number of the packet that something was last put before, and of the one before that: what is older than those has
    /// one number less.
    inserted: [Option<i64>; 2],
    timestamp_offset: u32,
    /// Of the newest packet, as viewers see it, and when it came.
    timestamp: u32,
    arrived: Moment,
}

impl TimelineMapper {
    /// For a codec with this clock in hertz.
    pub fn new(clock_rate: u32) -> TimelineMapper {
        TimelineMapper { clock_rate, epoch: None }
    }

    /// Whether this packet would begin a new epoch.
    pub fn is_new(&self, ssrc: u32, sequence: u16) -> bool {
        let same = self.epoch.as_ref().filter(|epoch| epoch.ssrc == ssrc);
        same.is_none_or(|epoch| epoch.step(sequence).abs() > JUMP)
    }

    /// Places a packet that arrived at `now`. `None`: it is older than the source's first one, or of a source that was
    /// taken over from; viewers never see it.
    pub fn place(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now: Moment) -> Option<Place> {
        if self.is_new(ssrc, sequence) {
            return Some(self.begin(ssrc, sequence, timestamp, now));
        }
        let epoch = self.epoch.as_mut()?;
        let number = epoch.newest + epoch.step(sequence);
        if number < epoch.first {
            return None;
        }
        let timestamp = timestamp.wrapping_add(epoch.timestamp_offset);
        if number > epoch.newest {
            (epoch.newest, epoch.timestamp, epoch.arrived) = (number, timestamp, now);
        }
        let offset = epoch.offset(number)?;
        Some(Place { sequence: u64::try_from(number + offset).ok()?, timestamp })
    }

    /// Makes room for a packet of ours before this one of the source. The packet has the place that this one had.
    pub fn insert_before(&mut self, ssrc: u32, sequence: u16) {
        if let Some(epoch) = self.epoch.as_mut().filter(|epoch| epoch.ssrc == ssrc) {
            epoch.inserted = [Some(epoch.newest + epoch.step(sequence)), epoch.inserted[0]];
            epoch.sequence_offset += 1;
        }
    }

    /// A moment of the source's clock as viewers see it; `None` for another source than the present one.
    pub fn translate(&self, ssrc: u32, timestamp: u32) -> Option<u32> {
        let epoch = self.epoch.as_ref().filter(|epoch| epoch.ssrc == ssrc)?;
        Some(timestamp.wrapping_add(epoch.timestamp_offset))
    }

    /// When its newest packet came; `None` before the first.
    pub fn arrived(&self) -> Option<Moment> {
        self.epoch.as_ref().map(|epoch| epoch.arrived)
    }

    fn begin(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now: Moment) -> Place {
        let place = match &self.epoch {
            None => Place { sequence: 0, timestamp },
            Some(last) => {
                let passed = now.since(last.arrived).as_millis() as u64 * u64::from(self.clock_rate) / 1000;
                // At least one unit: two frames never share a timestamp.
                let passed = u32::try_from(passed.max(1)).unwrap_or(u32::MAX);
                let sequence = u64::try_from(last.newest + last.sequence_offset + 1).unwrap_or_default();
                Place { sequence, timestamp: last.timestamp.wrapping_add(passed) }
            }
        };
        let number = i64::from(sequence);
        self.epoch = Some(Epoch {
            ssrc,
            newest: number,
            first: number,
            sequence_offset: i64::try_from(place.sequence).unwrap_or_default() - number,
            inserted: [None; 2],
            timestamp_offset: place.timestamp.wrapping_sub(timestamp),
            timestamp: place.timestamp,
            arrived: now,
        });
        place
    }
}

impl Epoch {
    /// What is added to this number; `None` for one that is too late for its place to be known.
    fn offset(&self, number: i64) -> Option<i64> {
        match self.inserted {
            [_, Some(before)] if number < before => None,
            [Some(last), _] if number < last => Some(self.sequence_offset - 1),
            _ => Some(self.sequence_offset),
        }
    }

    /// From the newest packet to this one, the short way round.
    fn step(&self, sequence: u16) -> i64 {
        let newest = (self.newest & 0xFFFF) as u16;
        i64::from(sequence.wrapping_sub(newest) as i16)
    }
}

/// The source's wall clock put to ours: one for audio and video together, so that they stay in step.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    /// Ours minus theirs, in milliseconds; the smallest seen, which the report that was under way the shortest gave.
    offset: Option<i64>,
}

/// A difference of clocks that is another clock, not a slow report.
const OTHER_CLOCK_MS: i64 = 5_000;

impl WallClock {
    /// Takes note of a report that arrived at `now`, and says when by our clock its moment was.
    pub fn read(&mut self, report: &SenderReport, now: Moment) -> Moment {
        let theirs = ntp_millis(report.ntp);
        let ours = i64::try_from(now.0).unwrap_or(i64::MAX);
        let seen = ours.saturating_sub(theirs);
        let offset = match self.offset {
            Some(best) if seen.saturating_sub(best).abs() < OTHER_CLOCK_MS => best.min(seen),
            _ => seen,
        };
        self.offset = Some(offset);
        Moment(u64::try_from(theirs.saturating_add(offset)).unwrap_or_default())
    }
}

fn ntp_millis(ntp: u64) -> i64 {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xFFFF_FFFF);
    i64::try_from(seconds * 1000 + ((fraction * 1000) >> 32)).unwrap_or(i64::MAX)
}

/// When the frames of one stream were taken, by our clock: from its sender reports, else when they arrived.
#[derive(Clone, Copy, Debug)]
pub struct FrameClock {
    clock_rate: u32,
    /// A timestamp as viewers see it, and when it was.
    anchor: Option<(u32, Moment)>,
}

/// A report that would put a frame this far from its arrival is about something else.
const FARTHEST_MS: i64 = 10_000;

impl FrameClock {
    /// For a codec with this clock in hertz.
    pub fn new(clock_rate: u32) -> FrameClock {
        FrameClock { clock_rate: clock_rate.max(1), anchor: None }
    }

    /// From a report: this timestamp, as viewers see it, was then.
    pub fn set(&mut self, timestamp: u32, at: Moment) {
        self.anchor = Some((timestamp, at));
    }

    /// The source has changed; its reports say nothing of the next one.
    pub fn reset(&mut self) {
        self.anchor = None;
    }

    /// When the frame with this timestamp, which arrived at `now`, was taken. Never later than now.
    pub fn taken(&self, timestamp: u32, now: Moment) -> Moment {
        let Some((anchor, at)) = self.anchor else { return now };
        let units = i64::from(timestamp.wrapping_sub(anchor) as i32);
        let taken = at.0 as i64 + units * 1000 / i64::from(self.clock_rate);
        if (taken - now.0 as i64).abs() > FARTHEST_MS {
            return now;
        }
        Moment(u64::try_from(taken).unwrap_or_default()).min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(
        continuity: &mut TimelineMapper,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        ms: u64,
    ) -> Option<(u64, u32)> {
        continuity.place(ssrc, sequence, timestamp, Moment(ms)).map(|place| (place.sequence, place.timestamp))
    }

    #[test]
    fn numbers_begin_at_nought_and_do_not_wrap() {
        let mut video = TimelineMapper::new(90_000);
        assert_eq!(place(&mut video, 7, 65_534, 50, 0), Some((0, 50)));
        assert_eq!(place(&mut video, 7, 65_535, 50, 0), Some((1, 50)));
        assert_eq!(place(&mut video, 7, 1, 3_050, 33), Some((3, 3_050)));
        assert_eq!(place(&mut video, 7, 0, 3_050, 34), Some((2, 3_050)), "a late one keeps its place");
        let mut expected = 3;
        for sequence in 2..200_000u32 {
            expected += 1;
            assert_eq!(place(&mut video, 7, (sequence % 65_536) as u16, 0, 40).map(|p| p.0), Some(expected));
        }
    }

    #[test]
    fn what_came_before_the_first_is_left_out() {
        let mut video = TimelineMapper::new(90_000);
        place(&mut video, 7, 100, 0, 0);
        assert_eq!(place(&mut video, 7, 99, 0, 1), None);
        assert_eq!(place(&mut video, 7, 101, 0, 2), Some((1, 0)));
    }

    #[test]
    fn a_restart_goes_on_with_the_next_number_and_the_time_that_passed() {
        let mut video = TimelineMapper::new(90_000);
        place(&mut video, 7, 100, 1_000, 0);
        place(&mut video, 7, 101, 4_000, 33);
        assert_eq!(place(&mut video, 8, 9_000, 77_777, 1_033), Some((2, 94_000)), "a second later");
        assert_eq!(place(&mut video, 8, 9_001, 80_777, 1_066), Some((3, 97_000)));
        assert_eq!(video.translate(8, 80_777), Some(97_000));
        assert_eq!(video.translate(7, 4_000), None, "the old source's reports mean nothing");
    }

    #[test]
    fn a_restart_with_the_same_ssrc_is_seen_by_its_jump() {
        let mut video = TimelineMapper::new(90_000);
        place(&mut video, 7, 40_000, 1_000, 0);
        assert_eq!(place(&mut video, 7, 10, 5, 500), Some((1, 46_000)));
    }

    #[test]
    fn a_restart_at_once_still_changes_the_timestamp() {
        let mut audio = TimelineMapper::new(48_000);
        place(&mut audio, 7, 1, 0, 0);
        assert_eq!(place(&mut audio, 8, 1, 0, 0), Some((1, 1)));
    }

    /// Seconds since 1900 of some moment, and a report of it.
    fn report(seconds: f64, timestamp: u32) -> SenderReport {
        SenderReport { ssrc: 7, ntp: ((3_900_000_000.0 + seconds) * 4_294_967_296.0) as u64, timestamp }
    }

    // SPEC 8 whep: Lip sync from sender reports, which may arrive at either port
    // Also: `a_report_finds_its_track_by_its_source`,
    // `audio_and_video_become_one_stream_for_lip_sync`,
    // `sound_and_picture_stay_together_for_an_hour_of_timestamps`, in Chromium by its own
    // statistics `the player shows moving pictures with sound over DTLS-SRTP`
    #[test]
    fn audio_and_video_are_put_on_one_clock() {
        let mut wall = WallClock::default();
        let (mut video, mut audio) = (FrameClock::new(90_000), FrameClock::new(48_000));
        // The source's clock reads x.5 s when ours reads 10 s; audio's report is 40 ms under way.
        video.set(90_000, wall.read(&report(0.5, 0), Moment(10_000)));
        audio.set(48_000, wall.read(&report(0.75, 0), Moment(10_290)));
        assert_eq!(video.taken(90_000, Moment(10_010)), Moment(10_000));
        assert_eq!(audio.taken(48_000, Moment(10_300)), Moment(10_250), "the slow report is not believed");
        assert_eq!(video.taken(180_000, Moment(11_020)), Moment(11_000));
        assert_eq!(video.taken(180_000, Moment(10_900)), Moment(10_900), "never later than now");
    }

    #[test]
    fn without_reports_a_frame_was_taken_when_it_came() {
        let mut clock = FrameClock::new(90_000);
        assert_eq!(clock.taken(5, Moment(77)), Moment(77));
        clock.set(5, Moment(70));
        assert_eq!(
            clock.taken(5 + 90_000 * 60, Moment(90)),
            Moment(90),
            "an hour away is about something else"
        );
        clock.reset();
        assert_eq!(clock.taken(5, Moment(99)), Moment(99));
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let mut wall = WallClock::default();
        wall.read(&report(0.0, 0), Moment(1_000));
        assert_eq!(wall.read(&report(100.0, 0), Moment(2_000)), Moment(2_000));
    }
}
