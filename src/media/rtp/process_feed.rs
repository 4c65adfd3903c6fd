//! What of a publisher goes into a media process, and when the publisher is asked for a key frame. The process itself cannot
//! ask: FFmpeg sends no feedback.
//!
//! ```text
//!   Deaf: the process has not opened its ports ──listens──▶ Holding: until a key frame begins ──▶ Flowing
//!                                                 wants one                 lost for good, or ten seconds without: wants one
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Moment;
use crate::media::rtp::payload::{self, Packing};

/// FFmpeg waits this long for a packet that is overtaken (`-max_delay`): what comes later is lost for it.
pub const MOST_DELAY: Duration = Duration::from_millis(100);

/// A publisher sends key frames only when asked. Who joins the process's picture late, or cuts its file, needs them now and then.
pub const LONGEST_GROUP: Duration = Duration::from_secs(10);

/// Numbers that are waited for at once; more at a time are lost.
const MISSING: usize = 256;

/// The state of one process's feed.
#[derive(Clone, Debug)]
pub struct ProcessFeed {
    packing: Packing,
    stage: Stage,
    newest: u16,
    /// Numbers that were skipped, and when.
    missing: VecDeque<(u16, Moment)>,
    /// Something is lost for good since the last key frame.
    broken: bool,
    last_key_frame: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Deaf,
    Holding,
    Flowing,
}

/// What to do with a packet of video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It goes to the process.
    pub pass: bool,
    /// The publisher is to be asked for a key frame.
    pub wants_picture: bool,
}

impl ProcessFeed {
    /// For a process that was just started, and video that is packed like this.
    pub fn new(packing: Packing) -> ProcessFeed {
        ProcessFeed {
            packing,
            stage: Stage::Deaf,
            newest: 0,
            missing: VecDeque::new(),
            broken: false,
            last_key_frame: Moment(0),
        }
    }

    /// The process has opened its ports.
    pub fn listens(&mut self) {
        if self.stage == Stage::Deaf {
            self.stage = Stage::Holding;
        }
    }

    /// Whether its ports are not open yet, as far as we know.
    pub fn is_deaf(&self) -> bool {
        self.stage == Stage::Deaf
    }

    /// Whether pictures go to the process, and so sound does too.
    pub fn flows(&self) -> bool {
        self.stage == Stage::Flowing
    }

    /// What comes next is another layer of the same picture: it begins with a key frame.
    pub fn begin_anew(&mut self) {
        if self.stage == Stage::Flowing {
            self.stage = Stage::Holding;
            self.missing.clear();
        }
    }

    /// Judges a packet of video.
    pub fn video(&mut self, sequence: u16, payload: &[u8], now: Moment) -> Verdict {
        if payload::starts_key_frame(self.packing, payload) && self.stage != Stage::Deaf {
            self.begin(sequence, now);
        }
        match self.stage {
            Stage::Deaf => Verdict { pass: false, wants_picture: false },
            Stage::Holding => Verdict { pass: false, wants_picture: true },
            Stage::Flowing => {
                self.follow(sequence, now);
                let wants_picture = self.broken || now.since(self.last_key_frame) > LONGEST_GROUP;
                Verdict { pass: true, wants_picture }
            }
        }
    }

    /// A key frame refers to nothing before it.
    fn begin(&mut self, sequence: u16, now: Moment) {
        if self.stage == Stage::Holding {
            self.stage = Stage::Flowing;
            self.newest = sequence;
        }
        (self.broken, self.last_key_frame) = (false, now);
        self.missing.retain(|(number, _)| is_ahead(sequence, *number));
    }

    fn follow(&mut self, sequence: u16, now: Moment) {
        if is_ahead(self.newest, sequence) {
            let skipped = sequence.wrapping_sub(self.newest).wrapping_sub(1);
            if usize::from(skipped) > MISSING - self.missing.len() {
                self.broken = true;
                self.missing.clear();
            } else {
                let first = self.newest.wrapping_add(1);
                self.missing.extend((0..skipped).map(|step| (first.wrapping_add(step), now)));
            }
            self.newest = sequence;
        } else {
            self.missing.retain(|(number, _)| *number != sequence);
        }
        while self.missing.front().is_some_and(|(_, since)| now.since(*since) > MOST_DELAY) {
            self.missing.pop_front();
            self.broken = true;
        }
    }
}

/// Whether `sequence` comes after `newest`, the short way round.
fn is_ahead(newest: u16, sequence: u16) -> bool {
    (1..0x8000).contains(&sequence.wrapping_sub(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = &[0x10, 0x50];
    const INTER: &[u8] = &[0x10, 0x51];
    const PASS: Verdict = Verdict { pass: true, wants_picture: false };
    const PASS_AND_ASK: Verdict = Verdict { pass: true, wants_picture: true };

    /// A feed whose first key frame had this number, at moment 0.
    fn flowing(sequence: u16) -> ProcessFeed {
        let mut feed = ProcessFeed::new(Packing::Vp8);
        feed.listens();
        assert_eq!(feed.video(sequence, KEY, Moment(0)), PASS);
        feed
    }

    #[test]
    fn a_process_gets_pictures_from_a_key_frame_on_once_it_listens() {
        let mut feed = ProcessFeed::new(Packing::Vp8);
        let nothing = Verdict { pass: false, wants_picture: false };
        assert_eq!(feed.video(1, KEY, Moment(0)), nothing, "it would be lost");
        assert!(feed.is_deaf() && !feed.flows());
        feed.listens();
        assert_eq!(feed.video(2, INTER, Moment(20)), Verdict { pass: false, wants_picture: true });
        assert!(!feed.flows());
        assert_eq!(feed.video(3, KEY, Moment(40)), PASS);
        assert_eq!(feed.video(4, INTER, Moment(60)), PASS);
        assert!(feed.flows());
    }

    #[test]
    fn what_is_late_but_in_time_is_no_loss_and_what_never_comes_asks_for_a_picture() {
        let mut feed = flowing(65_534);
        assert_eq!(feed.video(1, INTER, Moment(10)), PASS, "65535 and 0 are missing");
        assert_eq!(feed.video(0, INTER, Moment(60)), PASS);
        assert_eq!(feed.video(65_535, INTER, Moment(100)), PASS);
        assert_eq!(feed.video(3, INTER, Moment(200)), PASS, "2 is missing");
        assert_eq!(feed.video(4, INTER, Moment(300)), PASS);
        assert_eq!(feed.video(5, INTER, Moment(301)), PASS_AND_ASK);
        assert_eq!(feed.video(6, INTER, Moment(320)), PASS_AND_ASK, "until one comes");
        assert_eq!(feed.video(7, KEY, Moment(340)), PASS);
        assert_eq!(feed.video(8, INTER, Moment(900)), PASS);
    }

    #[test]
    fn what_is_missing_before_a_key_frame_does_not_matter() {
        let mut feed = flowing(10);
        assert_eq!(feed.video(12, INTER, Moment(10)), PASS);
        assert_eq!(feed.video(13, KEY, Moment(20)), PASS);
        assert_eq!(feed.video(14, INTER, Moment(500)), PASS);
        assert_eq!(feed.video(16, INTER, Moment(510)), PASS);
        assert_eq!(feed.video(17, INTER, Moment(700)), PASS_AND_ASK, "15 does");
    }

    #[test]
    fn a_hole_that_is_too_large_is_a_loss_at_once_and_nothing_is_kept_of_it() {
        let mut feed = flowing(0);
        assert_eq!(feed.video(20_000, INTER, Moment(10)), PASS_AND_ASK);
        assert!(feed.missing.is_empty());
        assert_eq!(feed.video(20_001, KEY, Moment(20)), PASS);
        for number in (0..60_000u32).step_by(2) {
            feed.video((20_002 + number) as u16, INTER, Moment(30));
            assert!(feed.missing.len() <= MISSING);
        }
    }

    #[test]
    fn a_group_that_lasts_too_long_asks_for_a_picture() {
        let mut feed = flowing(0);
        assert_eq!(feed.video(1, INTER, Moment(10_000)), PASS);
        assert_eq!(feed.video(2, INTER, Moment(10_001)), PASS_AND_ASK);
        assert_eq!(feed.video(3, KEY, Moment(10_020)), PASS);
    }
}
