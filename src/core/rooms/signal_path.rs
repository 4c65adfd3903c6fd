//! The way of signalling to one member, which may break and come back while its media go on: what was said and may not have arrived is
//! kept, and so is what is to be said meanwhile.
//!
//! ```text
//!             the connection breaks                        30 s without media, its media are lost, it overflowed and came back
//!  Attached ─────────────────────────▶ Detached ──────────────────────────────────────────────────────────────────────────────▶ gone
//!     ▲  ▲                                │
//!     │  └── a resume on a new connection ┤ what was not heard is said again, then what waited
//!     └───── a resume on a new one while the old one's end is not known yet: the same
//! ```
//!
//! Both sides count the messages of a connection, and each tells the other how many came by the one that broke. A member that leaves, by a
//! message or a Close frame, is gone at once and no matter of this.

use std::collections::VecDeque;
use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Serialize, Serializer};

use super::frame::{ServerMessage, Text};
use super::ids::ConnectionId;
use crate::core::time::Moment;

/// What is kept for one member, in bytes: two of the longest offers of ours, or a busy room's news of half an hour.
pub const MAX_KEPT: usize = 512 * 1024;

/// How long a member without media stays whose signalling is broken: nothing else tells that it lives. A controller is back within seconds and
/// knows its workers after a few more; pages try every 8 s at least.
pub const AWAY_WITHOUT_MEDIA: Duration = Duration::from_secs(30);

/// Opens a member's place again, once: whoever has it speaks and hears for that member.
#[derive(Clone, Eq)]
pub struct ResumeToken(Arc<str>);

impl ResumeToken {
    /// Makes one of fresh entropy.
    pub fn from_entropy(entropy: [u8; 16]) -> ResumeToken {
        ResumeToken(format!("{:032x}", u128::from_be_bytes(entropy)).into())
    }

    /// What somebody presents as one.
    pub fn presented(text: &str) -> ResumeToken {
        ResumeToken(text.into())
    }
}

impl PartialEq for ResumeToken {
    /// Takes a time that depends on the lengths only.
    fn eq(&self, other: &ResumeToken) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for ResumeToken {
    /// Only for the member whose it is.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Attached(ConnectionId),
    Detached {
        since: Moment,
        /// Messages of the member that came by the connection that broke.
        taken: u64,
    },
}

/// What is said once the member is back.
#[derive(Debug)]
struct Waiting {
    /// A later message of this type says all that this one does.
    replaced_by: Option<Discriminant<ServerMessage>>,
    text: Text,
}

/// The way to one member.
#[derive(Debug)]
pub struct SignalPath {
    way: Way,
    token: ResumeToken,
    /// Messages that went out by the present connection, or by that which broke.
    said: u64,
    /// The last of them: nobody knows whether they have arrived.
    unsure: VecDeque<Text>,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    has_overflowed: bool,
}

impl SignalPath {
    /// By this connection, by which `said` messages went out before.
    pub fn new(connection: ConnectionId, said: u64, token: ResumeToken) -> SignalPath {
        SignalPath {
            way: Way::Attached(connection),
            token,
            said,
            unsure: VecDeque::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            has_overflowed: false,
        }
    }

    /// Its connection, unless that is broken.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self.way {
            Way::Attached(connection) => Some(connection),
            Way::Detached { .. } => None,
        }
    }

    /// Since when there is none.
    pub fn detached_since(&self) -> Option<Moment> {
        match self.way {
            Way::Attached(_) => None,
            Way::Detached { since, .. } => Some(since),
        }
    }

    /// Whether this opens it.
    pub fn is_opened_by(&self, token: &ResumeToken) -> bool {
        self.token == *token
    }

    /// Something is said: the connection to send it by, now. `None`: it waits.
    pub fn say(&mut self, message: &ServerMessage, text: &Text) -> Option<ConnectionId> {
        match self.way {
            Way::Attached(connection) => {
                self.keep(text.clone());
                Some(connection)
            }
            Way::Detached { .. } => {
                self.wait(message, text);
                None
            }
        }
    }

    /// Notes what goes out.
    pub fn keep(&mut self, text: Text) {
        self.said += 1;
        self.bytes += text.len();
        self.unsure.push_back(text);
        while self.bytes > MAX_KEPT && self.forget_first() {}
    }

    fn forget_first(&mut self) -> bool {
        let first = self.unsure.pop_front();
        self.bytes -= first.as_ref().map_or(0, Text::len);
        first.is_some()
    }

    fn wait(&mut self, message: &ServerMessage, text: &Text) {
        if self.has_overflowed {
            return;
        }
        let replaced_by = message.is_a_state().then(|| discriminant(message));
        if replaced_by.is_some() {
            let before = self.waiting.iter().position(|one| one.replaced_by == replaced_by);
            let before = before.and_then(|index| self.waiting.remove(index));
            self.bytes -= before.map_or(0, |before| before.text.len());
        }
        self.bytes += text.len();
        self.waiting.push_back(Waiting { replaced_by, text: text.clone() });
        if self.bytes > MAX_KEPT {
            self.has_overflowed = true;
            (self.bytes, self.unsure, self.waiting) = (0, VecDeque::new(), VecDeque::new());
        }
    }

    /// So many messages of the present connection have arrived.
    pub fn arrived(&mut self, count: u64) {
        while self.connection().is_some() && self.first_kept() < count.min(self.said) {
            self.forget_first();
        }
    }

    /// Messages of the connection before the first that is kept.
    fn first_kept(&self) -> u64 {
        self.said.saturating_sub(self.unsure.len() as u64)
    }

    /// The connection is broken, by which `taken` messages came.
    pub fn detach(&mut self, now: Moment, taken: u64) {
        self.way = Way::Detached { since: now, taken };
    }

    /// A new connection, by somebody whom the token let in and who got `heard` messages by the one before. What is to be said again, and how
    /// many of the member's messages came by that. `None`: what it missed is not kept any more, and nothing helps.
    pub fn resume(
        &mut self,
        connection: ConnectionId,
        fresh: ResumeToken,
        heard: u64,
    ) -> Option<(Vec<Text>, u64)> {
        let Way::Detached { taken, .. } = self.way else { return None };
        let known = heard.checked_sub(self.first_kept()).and_then(|known| usize::try_from(known).ok())?;
        if self.has_overflowed || known > self.unsure.len() {
            return None;
        }
        let missed = self.unsure.drain(..).skip(known);
        let missed = missed.chain(self.waiting.drain(..).map(|waiting| waiting.text)).collect();
        (self.way, self.token, self.said, self.bytes) = (Way::Attached(connection), fresh, 0, 0);
        Some((missed, taken))
    }

    /// What holds after each input.
    #[cfg(any(test, debug_assertions))]
    pub fn check_invariants(&self) {
        let waiting = self.waiting.iter().map(|waiting| &waiting.text);
        let bytes: usize = self.unsure.iter().chain(waiting).map(Text::len).sum();
        debug_assert_eq!(bytes, self.bytes);
        debug_assert!(self.bytes <= MAX_KEPT);
        debug_assert!(self.waiting.is_empty() || self.connection().is_none());
        debug_assert!(!self.has_overflowed || self.connection().is_none());
        debug_assert!(self.unsure.len() as u64 <= self.said);
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Code, Rejected};
    use super::*;

    const FIRST: ConnectionId = ConnectionId(1);
    const SECOND: ConnectionId = ConnectionId(2);

    fn token(number: u8) -> ResumeToken {
        ResumeToken::from_entropy([number; 16])
    }

    fn say(path: &mut SignalPath, words: &str) -> Option<ConnectionId> {
        let message = ServerMessage::from(Rejected::new(Code::InvalidMessage, words));
        path.say(&message, &message.text())
    }

    fn words(texts: &[Text]) -> Vec<String> {
        let words = |text: &Text| {
            let message: serde_json::Value = serde_json::from_str(text.as_str()).unwrap();
            message["data"]["message"].as_str().unwrap_or_default().to_owned()
        };
        texts.iter().map(words).collect()
    }

    /// A path by which `said` messages went out, called by their numbers.
    fn path(said: u64) -> SignalPath {
        let mut path = SignalPath::new(FIRST, 0, token(1));
        (1..=said).for_each(|number| assert_eq!(say(&mut path, &number.to_string()), Some(FIRST)));
        path
    }

    #[test]
    fn what_was_not_heard_is_said_again_then_what_waited() {
        let mut path = path(4);
        path.arrived(1);
        path.detach(Moment(5), 7);
        assert_eq!((path.connection(), path.detached_since()), (None, Some(Moment(5))));
        assert_eq!(say(&mut path, "waits"), None);
        let (missed, taken) = path.resume(SECOND, token(2), 2).unwrap();
        assert_eq!((words(&missed), taken), (vec!["3".into(), "4".into(), "waits".into()], 7));
        assert_eq!(path.connection(), Some(SECOND));
        path.check_invariants();
    }

    #[test]
    fn each_connection_counts_from_its_own_beginning() {
        let mut path = path(4);
        path.detach(Moment(5), 1);
        let (missed, _) = path.resume(SECOND, token(2), 3).unwrap();
        missed.into_iter().for_each(|text| path.keep(text));
        assert_eq!(say(&mut path, "5"), Some(SECOND));
        path.detach(Moment(6), 2);
        let (missed, taken) = path.resume(ConnectionId(3), token(3), 0).unwrap();
        assert_eq!((words(&missed), taken), (vec!["4".into(), "5".into()], 2));
    }

    #[test]
    fn a_count_that_cannot_be_is_no_resume() {
        for (arrived, heard) in [(0, 5), (3, 2), (0, u64::MAX)] {
            let mut path = path(4);
            path.arrived(arrived);
            path.detach(Moment(5), 1);
            assert!(path.resume(SECOND, token(2), heard).is_none(), "{arrived} {heard}");
        }
        assert!(path(4).resume(SECOND, token(2), 4).is_none(), "nothing broke");
    }

    #[test]
    fn what_is_kept_is_bounded_and_too_much_is_no_resume() {
        let long = "x".repeat(100_000);
        let mut path = path(1);
        for _ in 0..20 {
            say(&mut path, &long);
            path.check_invariants();
        }
        path.detach(Moment(5), 1);
        (0..3).for_each(|_| assert_eq!(say(&mut path, "short"), None));
        let (missed, _) = path.resume(SECOND, token(2), 20).unwrap();
        assert_eq!(missed.len(), 4, "the last long one, and what waited");
        path.detach(Moment(6), 1);
        for _ in 0..20 {
            say(&mut path, &long);
            path.check_invariants();
        }
        assert_eq!(path.bytes, 0, "nobody can use it any more");
        assert!(path.resume(ConnectionId(3), token(3), 0).is_none());
    }

    #[test]
    fn of_a_state_the_last_one_waits() {
        let mut path = path(0);
        path.detach(Moment(5), 1);
        for _ in 0..100_000 {
            let message = ServerMessage::ActiveSpeakers { speakers: Vec::new() };
            path.say(&message, &message.text());
        }
        say(&mut path, "other");
        assert_eq!(path.resume(SECOND, token(2), 0).unwrap().0.len(), 2);
    }

    #[test]
    fn a_token_opens_once_and_is_not_shown() {
        let mut path = path(1);
        assert!(path.is_opened_by(&ResumeToken::presented("01010101010101010101010101010101")));
        for wrong in ["", "0101", "01010101010101010101010101010102"] {
            assert!(!path.is_opened_by(&ResumeToken::presented(wrong)), "{wrong}");
        }
        path.detach(Moment(5), 1);
        path.resume(SECOND, token(2), 1).unwrap();
        assert!(!path.is_opened_by(&token(1)) && path.is_opened_by(&token(2)));
        assert!(!format!("{path:?}").contains("0202"), "{path:?}");
    }
}
