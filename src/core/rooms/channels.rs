//! Data channels of a room: a message on a channel goes to every other member, on its channel of the same label. What one member may
//! make the others receive is bounded here; what one receiver is behind is bounded where it is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::limits::rate_limit::{Bucket, Rate};
use crate::core::time::Moment;

/// Longest message, in bytes: what every browser takes in one piece.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// Labels that one member may speak on.
pub const MAX_LABELS: usize = 8;

/// Labels of one room: each is a channel to every member.
pub const MAX_ROOM_LABELS: usize = 16;

/// Longest label, in bytes.
pub const MAX_LABEL: usize = 128;

/// Messages of one member: a second's worth at once, then one each 10 ms.
const MESSAGES: Rate = Rate { burst: 100, every: Duration::from_millis(10) };

/// Bytes of one member per second, and at once.
const BYTES_PER_SECOND: u64 = 256 * 1024;

/// What a member is told whose channel has too long a label.
pub const LABEL_TOO_LONG: &str = "the label of a data channel has at most 128 bytes";

/// What a member is told whose channel or message is one label too many.
pub const TOO_MANY_LABELS: &str = "too many labels: a member has at most 8 data channels, a room 16";

/// A member that is over a bound is told so at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the others.
    Relay,
    /// It goes nowhere; the words are for its sender, unless it was told a moment ago.
    Drop(Option<&'static str>),
}

/// The labels of one room.
#[derive(Clone, Debug, Default)]
pub struct Labels(BTreeSet<String>);

impl Labels {
    /// Whether a channel of this label is there or may be made.
    fn admit(&mut self, label: &str) -> bool {
        if self.0.contains(label) {
            return true;
        }
        let room = self.0.len() < MAX_ROOM_LABELS;
        if room {
            self.0.insert(label.to_owned());
        }
        room
    }
}

/// How fast one member sends, and how much at once.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    messages: Bucket,
    bytes: u64,
    counted_at: Moment,
}

impl Pace {
    /// Why a message of this many bytes is too much, in words for its sender.
    pub fn refusal(&mut self, now: Moment, size: usize) -> Option<&'static str> {
        // Whatever is refused counts, so that asking does not pay.
        if self.messages.take(now, MESSAGES).is_err() {
            return Some("at most 100 data messages a second");
        }
        if size > MAX_MESSAGE {
            return Some("a data message has at most 16 KiB");
        }
        (!self.fits(now, size)).then_some("at most 256 KiB of data messages a second")
    }

    fn fits(&mut self, now: Moment, size: usize) -> bool {
        let passed = u64::try_from(now.since(self.counted_at).as_millis()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_sub(passed.saturating_mul(BYTES_PER_SECOND) / 1000);
        self.counted_at = now;
        let bytes = self.bytes.saturating_add(size as u64);
        let fits = bytes <= BYTES_PER_SECOND;
        if fits {
            self.bytes = bytes;
        }
        fits
    }
}

/// What one member has sent lately.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pace: Pace,
    labels: BTreeSet<String>,
    told_at: Option<Moment>,
}

impl Sent {
    /// Judges a message of this member.
    pub fn judge(&mut self, now: Moment, room: &mut Labels, label: &str, size: usize) -> Verdict {
        match self.refusal(now, room, label, size) {
            None => Verdict::Relay,
            Some(words) => {
                let told = self.told_at.is_some_and(|at| now.since(at) < TELL_EVERY);
                if !told {
                    self.told_at = Some(now);
                }
                Verdict::Drop((!told).then_some(words))
            }
        }
    }

    fn refusal(&mut self, now: Moment, room: &mut Labels, label: &str, size: usize) -> Option<&'static str> {
        if let Some(words) = self.pace.refusal(now, size) {
            return Some(words);
        }
        if label.len() > MAX_LABEL {
            return Some(LABEL_TOO_LONG);
        }
        let known = self.labels.contains(label);
        if !known && (self.labels.len() >= MAX_LABELS || !room.admit(label)) {
            return Some(TOO_MANY_LABELS);
        }
        if !known {
            self.labels.insert(label.to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_bytes_of_a_member_are_bounded_and_come_back() {
        let (mut sent, mut room) = (Sent::default(), Labels::default());
        let mut relayed = |ms: u64, count: usize, size: usize| {
            let judged = |_: &usize| sent.judge(Moment(ms), &mut room, "chat", size) == Verdict::Relay;
            (0..count).filter(judged).count()
        };
        assert_eq!(relayed(10_000, 150, 10), 100);
        assert_eq!(relayed(11_000, 150, 10), 100, "all are back after a second");
        assert_eq!(relayed(13_000, 20, MAX_MESSAGE), 16, "256 KiB");
        assert_eq!(relayed(13_500, 20, MAX_MESSAGE), 8, "half of them in half a second");
        assert_eq!(relayed(16_000, 1, MAX_MESSAGE + 1), 0);
    }

    #[test]
    fn who_is_over_a_bound_is_told_once_a_second() {
        let (mut sent, mut room) = (Sent::default(), Labels::default());
        let mut judge = |ms| sent.judge(Moment(ms), &mut room, "chat", MAX_MESSAGE + 1);
        assert!(matches!(judge(0), Verdict::Drop(Some(_))));
        assert_eq!([judge(0), judge(999)], [Verdict::Drop(None); 2]);
        assert!(matches!(judge(1_000), Verdict::Drop(Some(_))));
    }

    #[test]
    fn labels_are_bounded_for_a_member_and_for_the_room() {
        let mut room = Labels::default();
        let speak = |sent: &mut Sent, room: &mut Labels, label: &str| {
            sent.judge(Moment(0), room, label, 1) == Verdict::Relay
        };
        let mut many = Sent::default();
        let taken = (0..20).filter(|n| speak(&mut many, &mut room, &format!("a{n}"))).count();
        assert_eq!(taken, MAX_LABELS);
        assert!(speak(&mut many, &mut room, "a0"), "one that is there goes on");
        let mut other = Sent::default();
        assert!(speak(&mut other, &mut room, "b"), "who takes all of his own leaves some to others");
        (0..20).for_each(|n| {
            speak(&mut Sent::default(), &mut room, &format!("c{n}"));
        });
        assert!(!speak(&mut Sent::default(), &mut room, "one more"));
        assert!(speak(&mut Sent::default(), &mut room, "b"));
        assert!(!speak(&mut Sent::default(), &mut Labels::default(), &"x".repeat(129)));
    }
}
