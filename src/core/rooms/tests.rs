//! Rooms under random members, by seed: everybody's view settles on who is there and what they send, nobody is told anything twice, and
//! what the media side is told adds up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::frame::{Code, Credentials, ServerMessage};
use super::ids::{ConnectionId, PeerId};

use super::registry::{
    Action, Closing, Frame, JOIN_WITHIN, MediaEvent, MediaOrder, Refusal, RoomRegistry, Visitor,
};
use super::room::TROUBLE;
use super::tracks::{DataMessage, MediaKind, TrackId};
use crate::core::namespaces::access::Membership;
use crate::core::namespaces::state::RoomLimits;
use crate::core::namespaces::{RoomId, RoomRole};
use crate::core::rooms::frame::MAX_JOIN;
use crate::core::time::Moment;

/// What one client believes, by what it was told.
#[derive(Debug, Default)]
struct View {
    peer: Option<String>,
    participants: BTreeSet<String>,
    tracks: BTreeSet<String>,
    followed: BTreeSet<TrackId>,
    paused: BTreeSet<TrackId>,
    messages: Vec<Value>,
    data: Vec<String>,
    closed: Option<Closing>,
}

impl View {
    fn hear(&mut self, message: &ServerMessage) {
        let message: Value = serde_json::from_str(&message.to_json()).unwrap();
        let (kind, data) = (message["type"].as_str().unwrap(), &message["data"]);
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        assert!(self.peer.is_some() || matches!(kind, "welcome" | "error" | "server-draining"), "{message}");
        match kind {
            "welcome" => {
                assert_eq!(self.peer.replace(text("peerId")), None, "welcomed twice");
                let all = data["participants"].as_array().unwrap().iter();
                self.participants = all.map(|one| one["peerId"].as_str().unwrap().to_owned()).collect();
                assert!(self.participants.contains(&text("peerId")), "the joiner itself: {message}");
            }
            "peer-joined" => {
                assert_eq!(data["participant"]["peerId"], data["peerId"]);
                assert!(self.participants.insert(text("peerId")), "joined twice: {message}");
            }
            "peer-left" => assert!(self.participants.remove(&text("peerId")), "left twice: {message}"),
            "track-added" => {
                assert!(self.participants.contains(&text("peerId")), "a track of nobody: {message}");
                assert!(self.tracks.insert(text("trackId")), "added twice: {message}");
            }
            "track-removed" => assert!(self.tracks.remove(&text("trackId")), "removed twice: {message}"),
            _ => {}
        }
        self.messages.push(message);
    }

    fn obey(&mut self, order: &MediaOrder) {
        match order {
            MediaOrder::Follow(track) => assert!(self.followed.insert(track.clone()), "twice: {track}"),
            MediaOrder::Unfollow(track) => {
                assert!(self.followed.remove(track), "not followed: {track}");
                self.paused.remove(track);
            }
            MediaOrder::Pause(track, paused) => {
                assert!(self.followed.contains(track), "paused, but not followed: {track}");
                let changed =
                    if *paused { self.paused.insert(track.clone()) } else { self.paused.remove(track) };
                assert!(changed, "{track} was {paused} already");
            }
            MediaOrder::Data { label, .. } => self.data.push(label.to_string()),
            MediaOrder::Leave => self.followed.clear(),
            MediaOrder::Offer(_) | MediaOrder::Answer(_) | MediaOrder::Candidate(_) => {}
        }
    }

    fn types(&self) -> Vec<&str> {
        self.messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
    }

    fn errors(&self) -> Vec<&str> {
        let errors = self.messages.iter().filter(|message| message["type"] == "error");
        errors.map(|message| message["data"]["code"].as_str().unwrap()).collect()
    }
}

fn peer(id: u64) -> PeerId {
    PeerId::from_entropy(u128::from(id).to_be_bytes())
}

fn text(text: &str) -> DataMessage {
    DataMessage { is_binary: false, bytes: text.as_bytes().into() }
}

struct World {
    registry: RoomRegistry,
    now: Moment,
    views: BTreeMap<ConnectionId, View>,
    limits: RoomLimits,
    ttl: Duration,
    /// What the media side says to the next members.
    entered: Result<(), String>,
    orders: Vec<(ConnectionId, MediaOrder)>,
}

impl World {
    fn new() -> World {
        World {
            registry: RoomRegistry::default(),
            now: Moment(1_000_000),
            views: BTreeMap::new(),
            limits: RoomLimits::default(),
            ttl: Duration::from_secs(600),
            entered: Ok(()),
            orders: Vec::new(),
        }
    }

    fn open(&mut self, id: u64, room: Option<&str>, subject: Option<&str>) {
        let membership = Membership {
            namespace: "a".parse().unwrap(),
            role: RoomRole::Member,
            subject: subject.map(str::to_owned),
            limits: self.limits,
        };
        let room = room.map(|room| RoomId::parse(room).unwrap());
        let visitor = Visitor { membership, room, peer: peer(id) };
        self.views.insert(ConnectionId(id), View::default());
        self.registry.opened(self.now, ConnectionId(id), visitor);
    }

    fn say(&mut self, id: u64, message: Value) {
        self.text(id, &message.to_string());
    }

    fn text(&mut self, id: u64, text: &str) {
        self.registry.frame(self.now, ConnectionId(id), Frame::Text(text));
        self.settle();
    }

    fn media(&mut self, id: u64, event: MediaEvent) {
        self.registry.media(self.now, ConnectionId(id), event);
        self.settle();
    }

    fn join(&mut self, id: u64, room: &str) {
        self.open(id, Some(room), None);
        self.say(id, json!({"type": "join", "data": {"roomId": room, "userId": format!("u{id}")}}));
    }

    fn track(&mut self, id: u64, kind: MediaKind, n: u32) -> TrackId {
        let track = TrackId::new(kind, &id.to_string(), n);
        self.media(id, MediaEvent::TrackStarted(track.clone(), kind));
        track
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now = self.now + Duration::from_millis(100);
            self.registry.tick(self.now);
            self.settle();
        }
    }

    fn credentials(&self) -> Credentials {
        Credentials { ttl: self.ttl, fields: json!({"ttl": self.ttl.as_secs()}) }
    }

    fn settle(&mut self) {
        loop {
            let actions = self.registry.take_actions();
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Say { to, message } => {
                for id in to {
                    let view = self.views.get_mut(&id).unwrap();
                    assert_eq!(view.closed, None, "{id:?} is closed and told {message:?}");
                    view.hear(&message);
                }
            }
            Action::Enter { connection, .. } => {
                let entered = self.entered.clone().map(|()| Some(self.credentials()));
                self.registry.entered(self.now, connection, entered);
            }
            Action::Media { connection, order } => {
                self.views.get_mut(&connection).unwrap().obey(&order);
                self.orders.push((connection, order));
            }
            Action::Refresh(id) => {
                let fresh = self.credentials();
                self.registry.credentials(self.now, id, Some(fresh));
            }
            Action::Close(id, closing) => {
                assert_eq!(self.views.get_mut(&id).unwrap().closed.replace(closing), None, "{id:?}");
            }
        }
    }

    fn view(&self, id: u64) -> &View {
        &self.views[&ConnectionId(id)]
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What is true, apart from the registry.
#[derive(Default)]
struct Shadow {
    members: BTreeMap<u64, (&'static str, BTreeSet<TrackId>)>,
}

const ROOMS: [&str; 3] = ["one", "two", "three"];

fn step(world: &mut World, shadow: &mut Shadow, random: &mut Random, next: &mut u64) {
    let alive: Vec<u64> = shadow.members.keys().copied().collect();
    let one = alive.get(usize::try_from(random.below(alive.len().max(1) as u64)).unwrap()).copied();
    match (random.below(12), one) {
        (0..=2, _) | (_, None) => {
            let room = ROOMS[usize::try_from(random.below(3)).unwrap()];
            *next += 1;
            if random.below(2) == 0 {
                world.join(*next, room);
            } else {
                world.open(*next, Some(room), Some("anna"));
                world.say(*next, json!({"type": "offer", "data": {"sdp": "v=0"}}));
            }
            shadow.members.insert(*next, (room, BTreeSet::new()));
        }
        (3, Some(id)) => {
            shadow.members.remove(&id);
            world.say(id, json!({"type": "leave"}));
        }
        (4, Some(id)) => {
            shadow.members.remove(&id);
            world.registry.closed(world.now, ConnectionId(id));
            world.views.get_mut(&ConnectionId(id)).unwrap().closed = Some(Closing::Left);
            world.settle();
        }
        (5..=7, Some(id)) => {
            let (kind, n) =
                (if random.below(2) == 0 { MediaKind::Audio } else { MediaKind::Video }, 1 + random.below(3));
            let track = world.track(id, kind, u32::try_from(n).unwrap());
            shadow.members.get_mut(&id).unwrap().1.insert(track);
        }
        (8, Some(id)) => {
            let tracks = &mut shadow.members.get_mut(&id).unwrap().1;
            if let Some(track) = tracks.pop_first() {
                world.media(id, MediaEvent::TrackEnded(track));
            }
        }
        (9, Some(id)) => {
            let loud: Vec<(u64, TrackId)> = shadow
                .members
                .iter()
                .flat_map(|(id, (_, tracks))| {
                    let audio = tracks.iter().filter(|track| track.as_str().starts_with("audio"));
                    audio.map(|track| (*id, track.clone())).collect::<Vec<_>>()
                })
                .collect();
            for (owner, track) in loud {
                let level = u8::try_from(random.below(60)).unwrap();
                world.media(owner, MediaEvent::Level(track, level));
            }
            world.media(id, if random.below(2) == 0 { MediaEvent::Trouble } else { MediaEvent::Connected });
        }
        (10, Some(id)) => {
            let data = text("hello");
            world.media(id, MediaEvent::Data { label: "chat".into(), data });
            world.say(id, json!({"type": "join", "data": {}}));
        }
        (_, Some(_)) => {
            world.pass(Duration::from_millis(random.below(3_000)));
            // Whose media were lost for long is gone by the room's own decision.
            shadow.members.retain(|id, _| world.view(*id).closed.is_none());
        }
    }
}

fn settled(world: &World, shadow: &Shadow, seed: u64) {
    for (id, (room, own)) in &shadow.members {
        let view = world.view(*id);
        let there = shadow.members.iter().filter(|(_, (other, _))| other == room);
        let names: BTreeSet<String> = there.clone().map(|(id, _)| peer(*id).to_string()).collect();
        assert_eq!(view.participants, names, "seed {seed}: member {id} of {room}");
        let tracks: BTreeSet<String> = there
            .filter(|(other, _)| *other != id)
            .flat_map(|(_, (_, tracks))| tracks.iter().map(TrackId::to_string))
            .collect();
        assert_eq!(view.tracks, tracks, "seed {seed}: member {id} of {room}, own {own:?}");
        let followed: BTreeSet<String> = view.followed.iter().map(TrackId::to_string).collect();
        assert_eq!(followed, tracks, "seed {seed}: member {id} of {room}");
        let heard = view.followed.difference(&view.paused);
        let (sounds, pictures): (Vec<_>, Vec<_>) =
            heard.partition(|track| track.as_str().starts_with("audio"));
        let large = names.len() >= super::speakers::LARGE_ROOM;
        assert!(!large || sounds.len() <= super::speakers::VOICES, "seed {seed}: {sounds:?}");
        assert!(pictures.len() <= world.limits.max_videos, "seed {seed}: {pictures:?}");
    }
    let counted: usize = world.registry.rooms().map(|(_, room)| room.members().len()).sum();
    assert_eq!(counted, shadow.members.len(), "seed {seed}: no member is lost");
}

#[test]
fn everybodys_view_settles_whatever_the_order() {
    for seed in 0..60 {
        let (mut world, mut shadow) = (World::new(), Shadow::default());
        world.limits.max_videos = 5;
        let (mut random, mut next) = (Random(seed), 0);
        for _ in 0..250 {
            step(&mut world, &mut shadow, &mut random, &mut next);
            // Which voices are sent on is decided at the next look.
            world.registry.tick(world.now);
            world.settle();
            settled(&world, &shadow, seed);
        }
        assert!(next > 30, "seed {seed}: {next} joined");
    }
}

#[test]
fn a_join_is_answered_in_the_documented_order() {
    let mut world = World::new();
    world.join(1, "a");
    let (audio, video) = (world.track(1, MediaKind::Audio, 1), world.track(1, MediaKind::Video, 2));
    world.say(1, json!({"type": "video-state", "data": {"enabled": true}}));
    world.orders.clear();
    world.join(2, "a");
    let expected = ["welcome", "turn-credentials", "track-added", "track-added", "participant-state"];
    assert_eq!(world.view(2).types(), expected);
    assert_eq!(world.view(1).types(), ["welcome", "turn-credentials", "peer-joined"]);
    let follows = [audio, video].map(|track| (ConnectionId(2), MediaOrder::Follow(track)));
    assert_eq!(world.orders, follows);
    assert_eq!(world.view(2).messages[0]["data"]["participants"].as_array().unwrap().len(), 2);
    world.say(1, json!({"type": "leave"}));
    let after = ["peer-left", "track-removed", "track-removed"];
    assert_eq!(world.view(2).types()[5..], after);
    assert_eq!((world.view(1).closed, world.view(2).closed), (Some(Closing::Left), None));
}

#[test]
fn an_offer_joins_where_the_address_names_the_room() {
    let mut world = World::new();
    world.open(1, Some("a"), None);
    world.say(1, json!({"type": "offer", "data": {"sdp": "v=0"}}));
    let participant = &world.view(1).messages[0]["data"]["participants"][0];
    assert_eq!(participant["userId"], "anon-00000000000000000000000000000001");
    assert_eq!(world.orders, [(ConnectionId(1), MediaOrder::Offer("v=0".into()))], "after the join");
    world.open(2, None, None);
    world.say(2, json!({"type": "offer", "data": {"sdp": "v=0"}}));
    assert_eq!(
        (world.view(2).errors(), world.view(2).closed),
        (vec!["invalid_state"], Some(Closing::Policy))
    );
}

#[test]
fn whom_the_token_names_is_who_it_is() {
    let mut world = World::new();
    world.open(1, None, Some("anna"));
    world.say(1, json!({"type": "join", "data": {"roomId": "a", "userId": "otto"}}));
    assert_eq!(world.view(1).messages[0]["data"]["participants"][0]["userId"], "anna");
    world.join(2, "a");
    assert_eq!(world.view(2).messages[0]["data"]["participants"][1]["userId"], "u2");
}

#[test]
fn a_first_message_that_is_no_join_ends_the_connection_with_its_code() {
    let long = "x".repeat(MAX_JOIN);
    for (room, text, code) in [
        (None, "no json".to_owned(), Code::InvalidMessage),
        (None, json!({"type": "join"}).to_string(), Code::InvalidJoin),
        (None, json!({"type": "join", "data": {"roomId": "a b"}}).to_string(), Code::InvalidJoin),
        (None, json!({"type": "join", "data": {"roomId": "a", "x": long}}).to_string(), Code::InvalidJoin),
        (Some("a"), json!({"type": "join", "data": {"roomId": "b"}}).to_string(), Code::RoomMismatch),
        (Some("a"), json!({"type": "answer", "data": {"sdp": "v=0"}}).to_string(), Code::InvalidState),
        (Some("a"), json!({"type": "ice-candidate", "data": {}}).to_string(), Code::InvalidState),
        (Some("a"), json!({"type": "offer", "data": {}}).to_string(), Code::InvalidOffer),
        (Some("a"), json!({"type": "hello"}).to_string(), Code::UnknownMessage),
    ] {
        let mut world = World::new();
        world.open(1, room, None);
        world.text(1, &text);
        let code = serde_json::to_value(code).unwrap();
        assert_eq!(world.view(1).errors(), [code.as_str().unwrap()], "{text:.80}");
        assert_eq!(world.view(1).closed, Some(Closing::Policy), "{text:.80}");
        assert_eq!(world.registry.connections(), 0);
    }
}

#[test]
fn a_member_that_errs_is_told_and_stays() {
    let mut world = World::new();
    world.join(1, "a");
    for (text, code) in [
        ("no json", "invalid_message"),
        (r#"{"type":"hello"}"#, "unknown_message"),
        (r#"{"type":"offer"}"#, "invalid_offer"),
        (r#"{"type":"answer"}"#, "invalid_answer"),
        (r#"{"type":"ice-candidate","data":{"candidate":5}}"#, "invalid_candidate"),
        (r#"{"type":"join","data":{"roomId":"a"}}"#, "invalid_state"),
    ] {
        world.text(1, text);
        assert_eq!(world.view(1).errors().last(), Some(&code), "{text}");
    }
    world.registry.frame(world.now, ConnectionId(1), Frame::Binary);
    world.settle();
    assert_eq!((world.view(1).errors().len(), world.view(1).closed), (7, None));
    world.registry.frame(world.now, ConnectionId(1), Frame::TooLong);
    world.settle();
    assert_eq!(world.view(1).closed, Some(Closing::TooLong));
}

#[test]
fn who_does_not_join_within_ten_seconds_is_closed() {
    let mut world = World::new();
    world.open(1, Some("a"), None);
    world.pass(JOIN_WITHIN - Duration::from_millis(100));
    assert_eq!(world.view(1).closed, None);
    world.pass(Duration::from_millis(200));
    assert_eq!(
        (world.view(1).errors(), world.view(1).closed),
        (vec!["invalid_message"], Some(Closing::Policy))
    );
}

#[test]
fn a_full_room_and_a_media_side_without_a_place_refuse_the_join() {
    let mut world = World::new();
    world.limits.max_peers = 2;
    (1..=3).for_each(|id| world.join(id, "a"));
    assert_eq!((world.view(3).errors(), world.view(3).closed), (vec!["room_full"], Some(Closing::Policy)));
    assert!(!world.view(1).types().contains(&"peer-left"));
    world.say(1, json!({"type": "leave"}));
    world.join(4, "a");
    assert_eq!(world.view(4).closed, None);
    world.entered = Err("no place".into());
    world.join(5, "b");
    assert_eq!(world.view(5).errors(), ["join_failed"]);
    assert!(world.registry.rooms().all(|(key, _)| key.1.as_str() != "b"), "no room is left of it");
}

#[test]
fn joins_of_one_identity_are_bounded() {
    let mut world = World::new();
    let mut granted = |identity: &str, now| {
        (0..30).filter(|_| world.registry.may_open(Moment(now), identity).is_ok()).count()
    };
    assert_eq!(granted("a/anna", 1_000), 20);
    assert_eq!(granted("a/otto", 1_000), 20, "others are not held up");
    assert_eq!(granted("a/anna", 11_000), 10, "one a second comes back");
    let refused = world.registry.may_open(Moment(11_000), "a/anna");
    assert_eq!(refused, Err(Refusal::TooFast(Duration::from_secs(1))));
}

#[test]
fn a_flood_of_messages_ends_the_connection() {
    let mut world = World::new();
    world.join(1, "a");
    world.join(2, "a");
    let candidate = json!({"type": "ice-candidate", "data": {"candidate": "candidate:1"}});
    for _ in 0..39 {
        world.say(1, candidate.clone());
    }
    assert_eq!(world.view(1).closed, None, "a join and 39 candidates");
    world.pass(Duration::from_secs(1));
    (0..10).for_each(|_| world.say(1, candidate.clone()));
    assert_eq!(world.view(1).closed, None, "ten a second");
    world.say(1, candidate.clone());
    assert_eq!((world.view(1).errors(), world.view(1).closed), (vec!["rate_limited"], Some(Closing::Policy)));
    assert_eq!(world.view(2).types().last(), Some(&"peer-left"), "and the others hear that it is gone");
}

#[test]
fn fresh_credentials_come_at_four_fifths_of_their_life() {
    let mut world = World::new();
    world.ttl = Duration::from_secs(10);
    world.join(1, "a");
    world.pass(Duration::from_millis(7_900));
    assert_eq!(world.view(1).types(), ["welcome", "turn-credentials"]);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.view(1).types().last(), Some(&"refresh-credentials"));
    world.pass(Duration::from_secs(24));
    assert_eq!(world.view(1).types().iter().filter(|kind| **kind == "refresh-credentials").count(), 4);
}

#[test]
fn lost_media_have_fifteen_seconds_to_come_back() {
    let mut world = World::new();
    (1..=3).for_each(|id| world.join(id, "a"));
    world.media(1, MediaEvent::Trouble);
    world.media(2, MediaEvent::Trouble);
    world.pass(TROUBLE - Duration::from_millis(100));
    world.media(1, MediaEvent::Trouble);
    world.media(2, MediaEvent::Connected);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.view(1).errors(), ["media_lost"], "counted from the first trouble");
    assert_eq!((world.view(1).closed, world.view(2).closed), (Some(Closing::GoingAway), None));
    assert_eq!(world.view(3).types().last(), Some(&"peer-left"));
    world.media(2, MediaEvent::Gone("its peer connection failed".into()));
    assert_eq!(world.view(2).errors(), ["media_lost"]);
}

#[test]
fn an_empty_room_goes_after_its_time_and_one_that_was_made_waits_as_long() {
    let mut world = World::new();
    let key = |room: &str| ("a".parse().unwrap(), RoomId::parse(room).unwrap());
    let rooms = |world: &World| world.registry.rooms().len();
    assert_eq!(world.registry.create(world.now, key("made"), world.limits), Ok(true));
    assert_eq!(world.registry.create(world.now, key("made"), world.limits), Ok(false));
    world.join(1, "b");
    world.pass(Duration::from_millis(59_900));
    assert_eq!(rooms(&world), 2);
    world.pass(Duration::from_millis(200));
    assert_eq!(rooms(&world), 1);
    world.say(1, json!({"type": "leave"}));
    world.pass(Duration::from_secs(30));
    world.join(2, "b");
    world.pass(Duration::from_secs(60));
    assert_eq!(rooms(&world), 1, "somebody came back");
    world.say(2, json!({"type": "leave"}));
    world.pass(Duration::from_secs(61));
    assert!(world.registry.is_idle());
}

#[test]
fn closing_a_room_ends_its_members_and_nobody_elses() {
    let mut world = World::new();
    world.join(1, "a");
    world.join(2, "b");
    world.track(1, MediaKind::Audio, 1);
    let key = |room: &str| ("a".parse().unwrap(), RoomId::parse(room).unwrap());
    assert!(world.registry.close_room(&key("a")));
    world.settle();
    assert_eq!(
        (world.view(1).types().last(), world.view(1).closed),
        (Some(&"kicked"), Some(Closing::GoingAway))
    );
    assert_eq!(world.view(2).closed, None);
    assert!(!world.registry.close_room(&key("a")));
    world.join(3, "a");
    assert_eq!(world.view(3).participants.len(), 1, "the next join makes it anew");
}

#[test]
fn draining_is_told_to_all_and_ends_at_its_time() {
    let mut world = World::new();
    world.join(1, "a");
    world.open(2, Some("a"), None);
    world.registry.drain(world.now, "server shutting down", Duration::from_secs(5));
    world.registry.drain(world.now, "server shutting down", Duration::from_secs(5));
    world.settle();
    let told = json!({"reason": "server shutting down", "timeoutMs": 5000});
    assert_eq!(world.view(1).messages.last().unwrap()["data"], told);
    assert_eq!(world.view(1).types().iter().filter(|kind| **kind == "server-draining").count(), 1);
    assert_eq!(world.registry.may_open(world.now, "a"), Err(Refusal::Draining));
    world.say(2, json!({"type": "join", "data": {}}));
    assert_eq!(world.view(2).errors(), ["join_failed"]);
    world.pass(Duration::from_millis(5_100));
    assert_eq!(world.view(1).closed, Some(Closing::GoingAway));
    world.registry.resume();
    assert_eq!(world.registry.may_open(world.now, "a"), Ok(()));
}

#[test]
fn data_goes_to_every_other_member_and_is_bounded() {
    let mut world = World::new();
    (1..=3).for_each(|id| world.join(id, "a"));
    world.join(4, "b");
    let send = |world: &mut World, size: usize| {
        let data = DataMessage { is_binary: true, bytes: vec![0; size].into() };
        world.media(1, MediaEvent::Data { label: "chat".into(), data });
    };
    send(&mut world, 10);
    let heard = |world: &World| (1..=4).map(|id| world.view(id).data.len()).collect::<Vec<_>>();
    assert_eq!(heard(&world), [0, 1, 1, 0]);
    (0..200).for_each(|_| send(&mut world, 10));
    assert_eq!(heard(&world), [0, 100, 100, 0]);
    assert_eq!(world.view(1).errors(), ["rate_limited"], "told once");
    world.limits.data_channels = false;
    world.join(5, "c");
    world.join(6, "c");
    let data = text("x");
    world.media(5, MediaEvent::Data { label: "chat".into(), data });
    assert!(world.view(6).data.is_empty());
}

#[test]
fn a_large_room_hears_eight_and_sees_those_who_spoke_last() {
    let mut world = World::new();
    world.limits.max_videos = 3;
    let tracks: Vec<(TrackId, TrackId)> = (1..=20)
        .map(|id| {
            world.join(id, "a");
            (world.track(id, MediaKind::Audio, 1), world.track(id, MediaKind::Video, 2))
        })
        .collect();
    for _ in 0..20 {
        for id in [18, 19, 20] {
            world.media(id, MediaEvent::Level(tracks[usize::try_from(id).unwrap() - 1].0.clone(), 20));
        }
        world.pass(Duration::from_millis(100));
    }
    let sent = |id: u64| world.view(id).followed.difference(&world.view(id).paused).collect::<Vec<_>>();
    for id in 1..=20 {
        let (sounds, pictures): (Vec<_>, Vec<_>) =
            sent(id).into_iter().partition(|track| track.as_str().starts_with("audio"));
        // One that is chosen itself is not sent to itself.
        assert!(matches!(sounds.len(), 7 | 8), "{id}: {sounds:?}");
        assert!((18..=20).filter(|other| *other != id).all(|other| {
            let (audio, video) = &tracks[usize::try_from(other).unwrap() - 1];
            sounds.contains(&audio) && pictures.contains(&video)
        }));
        assert_eq!(pictures.len(), 3, "{id}: {pictures:?}");
    }
    let speakers = &world.view(1).messages.iter().rfind(|message| message["type"] == "active-speakers");
    assert_eq!(speakers.unwrap()["data"]["speakers"].as_array().unwrap().len(), 3);
}
