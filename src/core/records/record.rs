//! The record of a session, as it is sent once when the session is over (SPEC 9), and what only its page knows of it.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::core::bad_json;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::records::attendance::Beat;
use crate::core::records::rating::{Given, Rating};
use crate::core::session::reason::EndReason;

/// How long a record waits at least for the last facts of its page, which come while that page closes.
pub const FACTS_GRACE: Duration = Duration::from_secs(10);

/// Longest name of a candidate type: `prflx` has five.
const MAX_CANDIDATE_TYPE: usize = 16;

/// One session, for those who count and compare. Times are in milliseconds; `*_unix_ms` since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which.
    pub session_id: SessionId,
    /// Where it ran.
    pub worker_id: WorkerId,
    /// Streamed from.
    pub body_ip: BodyAddr,
    /// What was streamed; `None`: the body's desktop.
    pub experience: Option<String>,
    /// As the create request said, else `server.district`.
    pub district: String,
    /// What fed the page.
    pub engine: String,
    /// When it was asked for.
    pub started_unix_ms: u64,
    /// When nothing of it was left.
    pub ended_unix_ms: u64,
    /// Between the two, by a clock that is never set.
    pub duration_ms: u64,
    /// Why it ended.
    pub reason: EndReason,
    /// How often a browser connected.
    pub connects: u32,
    /// How often the page lost its stream and got it back, as it says.
    pub disconnects: u32,
    /// ICE candidate type of the stream's path, as the page says: `relay` for TURN.
    pub relay_type: Option<String>,
    /// Bytes of media that the page received, as it says.
    pub bytes: u64,
    /// Round trip, as the page says.
    pub rtt_ms: Option<u32>,
    /// Restarts of the stream process.
    pub restarts: u32,
    /// How often it went on at another worker; `worker_id` is the last one.
    #[serde(default)]
    pub moves: u32,
    /// Whole seconds for which a microphone sent.
    pub mic_seconds: u64,
    /// What the person thought.
    pub rating: Option<Rating>,
}

/// What only the page knows; its last word counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// `host`, `srflx`, `prflx` or `relay`; `none` without a connection.
    pub candidate_type: String,
    /// Times the stream was lost.
    pub disconnects: u32,
    /// Media received.
    pub bytes_received: u64,
    /// Round trip in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u32>,
    /// What the page saw when it lost the stream last. Not for the record: for the session's timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
    /// Whether media arrives just now. Not for the record: it says that a browser is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<Beat>,
}

/// How a page lost its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// In one word: `silent`, `broken`, `refused`, `shaky`, `offline`, `restarting`.
    pub why: String,
    /// The candidate types of the path, the browser's first: `relay-host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
}

impl Lost {
    fn is_sound(&self) -> bool {
        let word = |text: &str| {
            (1..=MAX_CANDIDATE_TYPE).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_lowercase())
        };
        word(&self.why)
            && self
                .pair
                .iter()
                .all(|pair| pair.split_once('-').is_some_and(|(own, other)| word(own) && word(other)))
    }
}

/// What is wrong with facts, for a 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFacts(pub String);

impl fmt::Display for BadFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Facts {
    /// Reads a request's body.
    pub fn parse(body: &[u8]) -> Result<Facts, BadFacts> {
        let facts: Facts = bad_json::object(body).map_err(|error| BadFacts(bad_json::in_words(&error)))?;
        let word = facts.candidate_type.bytes().all(|byte| byte.is_ascii_lowercase());
        if !word || facts.candidate_type.len() > MAX_CANDIDATE_TYPE {
            return Err(BadFacts("candidate_type: is no type of ICE candidate".into()));
        }
        if facts.lost.as_ref().is_some_and(|lost| !lost.is_sound()) {
            return Err(BadFacts("lost: why is one word, pair two with a hyphen".into()));
        }
        if facts.beat.as_ref().is_some_and(|beat| !beat.is_sound()) {
            return Err(BadFacts("beat.page: is no name of a page".into()));
        }
        Ok(facts)
    }

    /// The candidate type, if there was a connection.
    pub fn relay_type(&self) -> Option<String> {
        Some(self.candidate_type.clone()).filter(|word| !word.is_empty() && word != "none")
    }
}

impl Record {
    /// When it may be sent, in milliseconds since 1970: once nothing of it can change any more. That is after the ended
    /// window; or, when there is a rating, as soon as that is final and the page has said its last word. A session that never
    /// became ready had no page.
    pub fn due_ms(&self, given: Option<&Given>, ended_window: Duration) -> u64 {
        let after = |pause: Duration| {
            self.ended_unix_ms.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
        };
        match given {
            _ if self.reason == EndReason::CreateFailed => self.ended_unix_ms,
            Some(given) => given.final_ms().max(after(FACTS_GRACE)).min(after(ended_window)),
            None => after(ended_window),
        }
    }
}

/// What is sent of a rating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatingNote {
    /// Which session.
    pub session_id: SessionId,
    /// What was streamed; `None`: the body's desktop.
    pub experience: Option<String>,
    /// Where the person is.
    pub district: String,
    /// 1 to 5.
    pub stars: u8,
    /// The person's words.
    pub comment: Option<String>,
    /// When it was first given, in milliseconds since 1970.
    pub rated_unix_ms: u64,
}

/// A stable name of something about a session, for `Idempotency-Key` and file names: it does not tell the session's id.
pub fn key(kind: &str, session: &SessionId) -> String {
    let text = format!("hydraneckwebrtc {kind} {}", session.expose());
    // Keys of items that wait must stay what they are: this is no place where SHA-1 protects anything.
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(reason: EndReason) -> Record {
        Record {
            session_id: SessionId::from_entropy([7; 16]),
            worker_id: WorkerId::unnamed(),
            body_ip: "10.0.0.7".parse().unwrap(),
            experience: None,
            district: String::new(),
            engine: "moonlight".into(),
            started_unix_ms: 0,
            ended_unix_ms: 1_000_000,
            duration_ms: 1_000_000,
            reason,
            connects: 1,
            disconnects: 0,
            relay_type: None,
            bytes: 0,
            rtt_ms: None,
            restarts: 0,
            moves: 0,
            mic_seconds: 0,
            rating: None,
        }
    }

    #[test]
    fn a_record_waits_until_nothing_of_it_can_change() {
        const WINDOW: Duration = Duration::from_secs(900);
        let given = |first_ms: u64| Given { rating: Rating { stars: 3, comment: None }, first_ms };
        let quit = record(EndReason::Quit);
        assert_eq!(quit.due_ms(None, WINDOW), 1_900_000, "unrated: the window");
        assert_eq!(quit.due_ms(Some(&given(1_005_000)), WINDOW), 1_065_000, "the rating is final then");
        assert_eq!(
            quit.due_ms(Some(&given(5)), WINDOW),
            1_010_000,
            "rated long before: the page's last word"
        );
        assert_eq!(quit.due_ms(Some(&given(1_890_000)), WINDOW), 1_900_000, "never after the window");
        assert_eq!(record(EndReason::CreateFailed).due_ms(None, WINDOW), 1_000_000, "it had no page");
    }

    #[test]
    fn facts_are_bounded_words_and_numbers() {
        let facts =
            Facts::parse(br#"{"candidate_type":"relay","disconnects":2,"bytes_received":9}"#).unwrap();
        assert_eq!(
            (facts.relay_type().as_deref(), facts.disconnects, facts.rtt_ms),
            (Some("relay"), 2, None)
        );
        let none =
            Facts::parse(br#"{"candidate_type":"none","disconnects":0,"bytes_received":0,"rtt_ms":7}"#);
        assert_eq!(none.unwrap().relay_type(), None);
        for bad in [
            r#"{"candidate_type":"relay"}"#,
            r#"{"candidate_type":"Relay!","disconnects":0,"bytes_received":0}"#,
            r#"{"candidate_type":"abcdefghijklmnopq","disconnects":0,"bytes_received":0}"#,
            r#"{"candidate_type":"relay","disconnects":-1,"bytes_received":0}"#,
            r#"{"candidate_type":"relay","disconnects":0,"bytes_received":0,"x":1}"#,
            r#"{"candidate_type":"relay","disconnects":0,"bytes_received":0,"lost":{"why":"it was so"}}"#,
            r#"{"candidate_type":"relay","disconnects":0,"bytes_received":0,"lost":{"why":"silent","pair":"192.0.2.1"}}"#,
            r#"{"candidate_type":"relay","disconnects":0,"bytes_received":0,"beat":{"page":"a b","media":true,"socket":true}}"#,
        ] {
            assert!(Facts::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_stable_differs_by_kind_and_does_not_tell_the_id() {
        let id = SessionId::from_entropy([7; 16]);
        assert_eq!(key("record", &id), key("record", &id));
        assert_ne!(key("record", &id), key("rating", &id));
        assert!(!key("record", &id).contains(id.expose()) && key("record", &id).len() == 47);
        assert_eq!(
            key("record", &id),
            "record-c737b4626a17e29acfa40adc93da281aa04c35ff",
            "as earlier versions made it"
        );
    }
}
