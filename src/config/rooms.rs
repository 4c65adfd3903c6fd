//! What must hold among the keys of rooms, and what is allowed but unwise.

use crate::config::contradiction::{Contradiction, unless};
use crate::config::settings::{CHILD_UDP_PORTS, Role, Settings};

/// What contradicts itself, on a worker that holds rooms.
pub fn contradictions(settings: &Settings) -> Vec<Option<Contradiction>> {
    let (rooms, webrtc) = (&settings.rooms, &settings.webrtc);
    if !rooms.enabled || rooms.media_port == 0 {
        return Vec::new();
    }
    let first = usize::from(rooms.media_port);
    let last = first + webrtc.threads - 1;
    let apart = |low: u16, high: u16| usize::from(high) < first || last < usize::from(low);
    let (low, high) = settings.sessions.child_udp_range;
    vec![
        unless(
            last <= usize::from(u16::MAX),
            "rooms.media_port",
            "webrtc.threads",
            format!(
                "leaves fewer ports than webrtc.threads ({}), each of which has one; choose a lower port",
                webrtc.threads
            ),
        ),
        unless(
            webrtc.udpmux.is_none_or(|port| port == 0 || apart(port, port)),
            "rooms.media_port",
            "webrtc.udpmux",
            format!("takes the ports {first}-{last}, and webrtc.udpmux is one of them; move one of them"),
        ),
        unless(
            webrtc.epr.is_none_or(|(low, high)| apart(low, high)),
            "rooms.media_port",
            "webrtc.epr",
            format!("takes the ports {first}-{last}, which overlap webrtc.epr; move one of them"),
        ),
        unless(
            apart(low, high),
            "rooms.media_port",
            "sessions.child_udp_range",
            format!(
                "takes the ports {first}-{last}, which overlap sessions.child_udp_range ({low}-{high}, {CHILD_UDP_PORTS} for each \
                 session); move one of them"
            ),
        ),
    ]
}

/// What is allowed but unwise.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let rooms = &settings.rooms;
    let mut list = Vec::new();
    if settings.role == Role::Controller || !rooms.enabled {
        return list;
    }
    if rooms.relays.is_empty() && !settings.webrtc.everywhere {
        list.push(
            "rooms.relays is empty, so members' media is taken from anywhere and relays are not enforced; list the addresses of the \
             TURN servers"
                .to_owned(),
        );
    }
    if settings.turn.is_none() {
        list.push(
            "rooms are enabled here, but turn.secret and turn.urls are not set: members get the TURN servers of other workers only, \
             and none where the fleet has none"
                .to_owned(),
        );
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(change: impl Fn(&mut Settings)) -> Settings {
        let mut settings = Settings::defaults(Role::Worker);
        settings.rooms.enabled = true;
        settings.webrtc.threads = 4;
        change(&mut settings);
        settings
    }

    fn keys(settings: &Settings) -> Vec<&'static str> {
        contradictions(settings).into_iter().flatten().map(|found| found.other).collect()
    }

    // SPEC 10: `rooms.media_port` keeps apart from other ports; rooms without relays are a warning
    // Also: `rooms_that_anybody_reaches_are_a_warning`
    #[test]
    fn the_ports_of_rooms_keep_apart_from_others() {
        assert!(keys(&worker(|_| ())).is_empty());
        for (port, expected) in [
            (58_996, None),
            (58_997, Some("webrtc.udpmux")),
            (59_000, Some("webrtc.udpmux")),
            (49_151, Some("sessions.child_udp_range")),
            (65_532, None),
            (65_533, Some("webrtc.threads")),
            (0, None),
        ] {
            let found = keys(&worker(|settings| settings.rooms.media_port = port));
            assert_eq!(found.first().copied(), expected, "{port}");
        }
        let epr = |settings: &mut Settings| settings.webrtc.epr = Some((59_103, 59_200));
        assert_eq!(keys(&worker(epr)), ["webrtc.epr"]);
        let mut off = worker(epr);
        off.rooms.enabled = false;
        assert!(keys(&off).is_empty(), "nobody takes these ports");
    }

    #[test]
    fn rooms_that_anybody_reaches_are_a_warning() {
        let found = warnings(&worker(|_| ()));
        assert!(found[0].starts_with("rooms.relays is empty"), "{found:?}");
        assert!(found[1].contains("turn.secret"), "{found:?}");
        assert!(warnings(&Settings::defaults(Role::Worker)).is_empty());
        assert!(warnings(&Settings::defaults(Role::Controller)).is_empty());
    }
}
