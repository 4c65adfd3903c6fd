//! A session's page follows what happens to it.

use crate::core::time::Moment;
use crate::edge::event_channel::{self, Follow};
use crate::worker::events::{draining, standing};
use crate::worker::registry::Visit;

/// How soon a browser whose stream broke asks again, in milliseconds.
const RETRY_MS: u32 = 1000;

/// The stream of a session that has not ended: it begins with how things stand.
pub fn follow(visit: &Visit, drain_until: Option<Moment>, now: Moment) -> Follow {
    visit.feed().follow(|| {
        let status = visit.handle.read(|view| standing(view.status, view.restarts, &view.troubles));
        let mut greeting = format!("retry: {RETRY_MS}\n\n{}", event_channel::event("status", &status));
        if let Some(until) = drain_until {
            greeting.push_str(&event_channel::event("draining", &draining(Some(until.since(now)))));
        }
        greeting
    })
}
