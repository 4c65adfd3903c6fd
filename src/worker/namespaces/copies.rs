//! Copies of namespaces that the controller brings, and what the worker tells of those that it has.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::config::settings::Settings;
use crate::core::bad_json;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::state::NamespaceState;
use crate::core::namespaces::wire::{
    HeldNamespace, MAX_COPIES, MAX_NAMESPACES_LISTED, MAX_ROOMS_LISTED, RoomsReply, RoomsReport,
};
use crate::worker::health::Health;

/// `POST /api/v1/namespaces/copies`.
pub fn take(health: &Health, call: &Call) -> Answer {
    if !health.room_access.is_enabled() {
        return Answer::error(404, "rooms are not enabled", "set rooms.enabled of this worker to true");
    }
    match bad_json::object::<RoomsReply>(&call.body) {
        Ok(parcel) if parcel.copies.len() > MAX_COPIES || parcel.dropped.len() > MAX_NAMESPACES_LISTED => {
            Answer::error(400, "bad request", format!("at most {MAX_COPIES} copies at once"))
        }
        Ok(parcel) => {
            apply(health, parcel);
            Answer::empty()
        }
        Err(error) => Answer::error(400, "bad request", bad_json::in_words(&error)),
    }
}

/// Goes by what the controller says from now on. Rooms of a namespace that is not enabled any more end. A copy that others are to have
/// instead is kept until the last room of its namespace is gone from here: its members still get credentials by it, and the controller, which
/// may not have heard of the room yet, asks again with its next reply.
pub fn apply(health: &Health, parcel: RoomsReply) {
    if parcel.is_empty() || !health.room_access.is_enabled() {
        return;
    }
    let rooms = health.rooms.list();
    let dropped = without_rooms(parcel.dropped, rooms.iter().map(|room| &room.ns));
    let of_copies = parcel.copies.iter().filter(|copy| !copy.enabled);
    let ended: Vec<NamespaceName> = of_copies.map(|copy| copy.name.clone()).collect();
    health.room_access.take(parcel.copies, &dropped);
    for room in rooms.into_iter().filter(|room| ended.contains(&room.ns)) {
        health.rooms.close(&room.ns, &room.id);
    }
}

/// Those of these namespaces that have no room here.
fn without_rooms<'r>(
    names: Vec<NamespaceName>,
    with_rooms: impl Iterator<Item = &'r NamespaceName>,
) -> Vec<NamespaceName> {
    let with_rooms: HashSet<&NamespaceName> = with_rooms.collect();
    names.into_iter().filter(|name| !with_rooms.contains(name)).collect()
}

/// What a heartbeat tells of rooms; `None`: none are held here.
pub fn report(health: &Health) -> Option<RoomsReport> {
    let settings = health.live.get();
    if !settings.rooms.enabled {
        return None;
    }
    let mut rooms = health.rooms.list();
    // The largest, where there are more than a beat may list.
    rooms.sort_by_key(|room| std::cmp::Reverse(room.peers));
    rooms.truncate(MAX_ROOMS_LISTED);
    Some(RoomsReport {
        turn_urls: settings.turn.as_ref().map(|turn| turn.urls.clone()).unwrap_or_default(),
        media_ports: media_ports(&settings),
        namespaces: held(health),
        rooms,
    })
}

/// The copies that are here, and how their rooms and relays are.
fn held(health: &Health) -> Vec<HeldNamespace> {
    let serves = health.flags.takes_sessions();
    let held = |copy: &NamespaceState| HeldNamespace {
        name: copy.name.clone(),
        digest: copy.digest(),
        sfu_up: copy.enabled && serves,
        turn_up: health.relays.of(&copy.name),
    };
    health.room_access.each(MAX_NAMESPACES_LISTED, held)
}

/// The namespaces that are enabled here, for health.
pub fn in_health(health: &Health) -> Vec<Value> {
    let (rooms, serves) = (health.rooms.list(), health.flags.takes_sessions());
    let shown = |(name, _): (NamespaceName, Option<u64>)| {
        let ours = || rooms.iter().filter(|room| room.ns == name);
        json!({
            "name": name,
            "sfu_up": serves,
            "turn_up": health.relays.of(&name),
            "rooms": ours().count(),
            "peers": ours().map(|room| room.peers).sum::<u32>(),
        })
    };
    health.room_access.enabled().into_iter().map(shown).collect()
}

/// Each media thread has a port of its own.
fn media_ports(settings: &Settings) -> Option<(u16, u16)> {
    let first = Some(settings.rooms.media_port).filter(|port| *port != 0)?;
    let more = u16::try_from(settings.webrtc.threads.saturating_sub(1)).ok()?;
    Some((first, first.saturating_add(more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_has_rooms_here_keeps_its_copy() {
        let [full, empty]: [NamespaceName; 2] = ["full", "empty"].map(|name| name.parse().unwrap());
        let dropped = vec![full.clone(), empty.clone()];
        assert_eq!(without_rooms(dropped.clone(), [&full, &full].into_iter()), [empty]);
        assert_eq!(without_rooms(dropped.clone(), std::iter::empty()), dropped);
    }
}
