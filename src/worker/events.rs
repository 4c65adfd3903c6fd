//! What a session's page is told as it happens (`GET /session/{id}/_neck/events`): status, drain, end.
//!
//! Said into the handle's feeds by the owners: the session's supervisor and, for drains, the `cleanup` thread. The edge holds
//! the streams.

use std::time::Duration;

use serde_json::json;

use crate::core::session::Status;
use crate::core::session::reason::EndReason;
use crate::edge::event_channel::{EventChannel, Places};
use crate::worker::source_trouble::{SourceTrouble, names_of};

/// Streams of one session: a page each of the people who watch it. Beyond it a page asks for the status now and then. Forty people
/// of one room find a place: an address may have half.
const PER_SESSION: usize = 128;

/// Those among them whose address nobody tells us, together: a person's page on this machine, and a few more tabs.
const UNNAMED_PER_SESSION: usize = 8;

/// Streams in all. Each is a connection, which the edge bounds as well.
const IN_ALL: usize = 4096;

/// Streams of one session's viewers; what they use up is not the owners'. Later ones ask for the status now and then.
const PER_AUDIENCE: usize = 64;

/// Room for the streams of one worker.
pub fn places() -> Places {
    Places::new(IN_ALL, PER_SESSION).with_unnamed(UNNAMED_PER_SESSION)
}

/// Room for the streams of viewers' pages.
pub fn viewers_places() -> Places {
    Places::new(IN_ALL / 2, PER_AUDIENCE)
}

/// Says where the session stands. From `ending` on that is the end: whoever waits for more would wait for nothing.
pub fn tell_status(feed: &EventChannel, status: Status, restarts: u32, troubles: &[SourceTrouble]) {
    match status.reason() {
        // Its page asks for it again, and finds it there.
        Some(EndReason::Moved) => feed.close("moving", "{}"),
        Some(reason) => feed.close("ended", &ended(reason)),
        None => feed.say("status", &standing(status, restarts, troubles)),
    }
}

/// Says that the session may go on for this long; `None`: as long as it likes, again.
pub fn tell_drain(feed: &EventChannel, left: Option<Duration>) {
    feed.say("draining", &draining(left));
}

/// Where a session stands.
pub(super) fn standing(status: Status, restarts: u32, troubles: &[SourceTrouble]) -> String {
    let mut standing = json!({"status": status.name(), "restarts": restarts});
    if !troubles.is_empty() {
        standing["source"] = names_of(troubles).into();
    }
    standing.to_string()
}

/// How long it may go on.
pub(super) fn draining(left: Option<Duration>) -> String {
    json!({"seconds": left.map(|left| left.as_secs())}).to_string()
}

fn ended(reason: EndReason) -> String {
    json!({"reason": reason}).to_string()
}
