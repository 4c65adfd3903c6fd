//! Copies of namespaces that the controller brings, and what the worker tells of those that it has.

use std::collections::HashSet;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::config::settings::Settings;
use crate::core::bad_json;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::state::NamespaceState;
use crate::core::namespaces::wire::{
    HeldNamespace, MAX_COPIES, MAX_NAMESPACES_LISTED, MAX_ROOMS_LISTED, RoomBrief, RoomsReply, RoomsReport,
};
use crate::worker::health::Health;
use crate::worker::rooms::RoomReport;

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
    let dropped = without_rooms(parcel.dropped, rooms.iter().map(|room| &room.namespace));
    let of_copies = parcel.copies.iter().filter(|copy| !copy.enabled);
    let ended: Vec<NamespaceName> = of_copies.map(|copy| copy.name.clone()).collect();
    health.room_access.take(parcel.copies, &dropped);
    for room in rooms.into_iter().filter(|room| ended.contains(&room.namespace)) {
        health.rooms.close(&room.namespace, &room.room_id);
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
    rooms.sort_by_key(|room| std::cmp::Reverse(room.participants));
    Some(RoomsReport {
        turn_urls: settings.turn.as_ref().map(|turn| turn.urls.clone()).unwrap_or_default(),
        media_ports: media_ports(&settings),
        namespaces: held(health).take(MAX_NAMESPACES_LISTED).collect(),
        rooms: rooms.into_iter().take(MAX_ROOMS_LISTED).map(brief).collect(),
    })
}

/// The copies that are here, and how their rooms and relays are.
pub fn held(health: &Health) -> impl Iterator<Item = HeldNamespace> + use<> {
    let (serves, relays) = (health.flags.takes_sessions(), health.relays.clone());
    health.room_access.all().into_iter().map(move |copy| HeldNamespace {
        digest: copy.digest(),
        sfu_up: copy.enabled && serves,
        turn_up: relays.of(&copy.name),
        name: copy.name,
    })
}

/// The namespaces that are enabled here, for health.
pub fn in_health(health: &Health) -> Vec<Value> {
    let rooms = health.rooms.list();
    let enabled = health.room_access.all().into_iter().filter(|copy: &NamespaceState| copy.enabled);
    let names: Vec<NamespaceName> = enabled.map(|copy| copy.name).collect();
    let shown = held(health).filter(|held| names.contains(&held.name));
    shown
        .map(|held| {
            let ours = || rooms.iter().filter(|room| room.namespace == held.name);
            json!({
                "name": held.name,
                "sfu_up": held.sfu_up,
                "turn_up": held.turn_up,
                "rooms": ours().count(),
                "peers": ours().map(|room| room.participants).sum::<usize>(),
            })
        })
        .collect()
}

fn brief(room: RoomReport) -> RoomBrief {
    RoomBrief {
        ns: room.namespace,
        id: room.room_id,
        peers: u32::try_from(room.participants).unwrap_or(u32::MAX),
        created_at: room.created_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
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
