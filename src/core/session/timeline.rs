//! What happened to a session and when: for whoever is asked "why did my stream stop?".
//!
//! Bounded: a session that restarts all night keeps its beginning and its end, and says how much is left out between.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::core::ids::WorkerId;
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;

/// Entries that are kept of the beginning, and of the end.
const FIRST: usize = 20;
const LAST: usize = 60;

/// Letters of a reason that are kept.
const MAX_WHY: usize = 200;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Happening {
    /// It changed its state.
    Status {
        /// The new one.
        status: SessionStatus,
        /// Why it is ending or ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<EndReason>,
    },
    /// Its process is started again.
    Restart {
        /// How often that was so by then.
        number: u32,
        /// How the last one ended.
        why: String,
    },
    /// It goes on here, and was at another worker before.
    Moved {
        /// How often that was so by then.
        number: u32,
        /// Where it was.
        from: WorkerId,
    },
    /// The owner's page lost the stream, and said so later.
    Interruption {
        /// How often that was so by then.
        number: u32,
        /// What the page saw: `silent`, `broken`, …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The types of the ICE candidates that the stream went between, the browser's first: `relay-host`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pair: Option<String>,
        /// Round trip in milliseconds, as the page said with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rtt_ms: Option<u32>,
    },
}

/// The same with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// In milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// The most browsers that were connected at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// How many.
    pub connections: u32,
    /// When for the first time, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// A session's timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The first ones, and the last ones.
    entries: VecDeque<Entry>,
    /// How many are left out between them.
    left_out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peak: Option<Peak>,
}

impl Timeline {
    /// Of a session that is asked for now.
    pub fn begun(at_unix_ms: u64) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.note(at_unix_ms, Happening::Status { status: SessionStatus::Requested, reason: None });
        timeline
    }

    /// Something happened.
    pub fn note(&mut self, at_unix_ms: u64, what: Happening) {
        let what = match what {
            Happening::Restart { number, why } => {
                Happening::Restart { number, why: why.chars().take(MAX_WHY).collect() }
            }
            what => what,
        };
        self.entries.push_back(Entry { at_unix_ms, what });
        if self.entries.len() > FIRST + LAST {
            self.entries.remove(FIRST);
            self.left_out += 1;
        }
    }

    /// So many browsers are connected now.
    pub fn connected(&mut self, at_unix_ms: u64, connections: u32) {
        if connections > self.peak.map_or(0, |peak| peak.connections) {
            self.peak = Some(Peak { connections, at_unix_ms });
        }
    }

    /// How often the owner's page lost the stream by now.
    pub fn interruptions(&self) -> u32 {
        let number = |entry: &Entry| match entry.what {
            Happening::Interruption { number, .. } => Some(number),
            _ => None,
        };
        self.entries.iter().rev().find_map(number).unwrap_or(0)
    }

    /// What is kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart(number: u32) -> Happening {
        Happening::Restart { number, why: "signal 9".into() }
    }

    // SPEC 9 timeline: It is bounded: the first 20 entries and the last 60, with a count of those
    // between
    // Also: `what_is_written_is_read_again_and_words_are_bounded`
    #[test]
    fn a_long_timeline_keeps_its_beginning_and_its_end() {
        let mut timeline = Timeline::begun(0);
        (1..=200).for_each(|number| timeline.note(number.into(), restart(number)));
        let times: Vec<u64> = timeline.entries().map(|entry| entry.at_unix_ms).collect();
        assert_eq!(times.len(), FIRST + LAST);
        assert_eq!(
            (times.first(), times[FIRST - 1], times[FIRST], times.last()),
            (Some(&0), 19, 141, Some(&200))
        );
        assert_eq!(timeline.left_out, 201 - 80);
    }

    #[test]
    fn the_peak_is_the_first_of_the_most() {
        let mut timeline = Timeline::default();
        timeline.connected(1, 0);
        assert_eq!(timeline.peak, None);
        for (at, connections) in [(2, 3), (3, 1), (4, 5), (5, 5), (6, 2)] {
            timeline.connected(at, connections);
        }
        assert_eq!(timeline.peak, Some(Peak { connections: 5, at_unix_ms: 4 }));
    }

    #[test]
    fn what_is_written_is_read_again_and_words_are_bounded() {
        let mut timeline = Timeline::default();
        timeline.note(7, Happening::Restart { number: 1, why: "x".repeat(10_000) });
        let interruption =
            Happening::Interruption { number: 1, why: Some("silent".into()), pair: None, rtt_ms: Some(30) };
        timeline.note(8, interruption);
        let text = serde_json::to_string(&timeline).unwrap();
        assert!(text.len() < 600, "{text}");
        assert!(
            text.contains(r#"{"at_unix_ms":8,"event":"interruption","number":1,"why":"silent","rtt_ms":30}"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Timeline>(&text).unwrap(), timeline);
    }
}
