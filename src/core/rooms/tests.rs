//! Rooms under random members, by seed: everybody's view settles on who is there and what they send, nobody is told anything twice, and
//! what the media side is told adds up. Connections break and come back at any moment, with what was under way lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::frame::{Code, Credentials, Text};
use super::ids::{ConnectionId, MemberId, PeerId};

use super::registry::{
    Action, Closing, Frame, JOIN_WITHIN, MediaEvent, MediaOrder, Refusal, RoomRegistry, Visitor,
};
use super::room::TROUBLE;
use super::signal_path::{AWAY_WITHOUT_MEDIA, ResumeToken};
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
    /// Messages of its present connection: those that came, and its own.
    heard: u64,
    said: Vec<String>,
    token: String,
    /// What it says and is told is lost, which nobody knows yet.
    is_cut: bool,
    is_away: bool,
    /// Of its messages the worker got so many by the connection before.
    taken: Option<usize>,
    /// The media side has let it go.
    is_gone: bool,
}

impl View {
    fn hear(&mut self, text: &Text) {
        let message: Value = serde_json::from_str(text.as_str()).unwrap();
        self.heard += 1;
        let (kind, data) = (message["type"].as_str().unwrap(), &message["data"]);
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        assert!(self.peer.is_some() || matches!(kind, "welcome" | "error" | "server-draining"), "{message}");
        match kind {
            "welcome" => {
                assert_eq!(self.peer.replace(text("peerId")), None, "welcomed twice");
                let all = data["participants"].as_array().unwrap().iter();
                self.participants = all.map(|one| one["peerId"].as_str().unwrap().to_owned()).collect();
                assert!(self.participants.contains(&text("peerId")), "the joiner itself: {message}");
                self.token = text("resumeToken");
            }
            "resumed" => {
                self.token = text("resumeToken");
                self.taken = Some(usize::try_from(data["heard"].as_u64().unwrap()).unwrap());
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
            MediaOrder::Leave => {
                self.followed.clear();
                assert!(!std::mem::replace(&mut self.is_gone, true), "let go twice");
            }
            MediaOrder::Away(is_away) => {
                assert_ne!(std::mem::replace(&mut self.is_away, *is_away), *is_away);
            }
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
    /// By the connection by which each joined.
    views: BTreeMap<ConnectionId, View>,
    /// Connections that came later, and whose they are.
    later: BTreeMap<ConnectionId, ConnectionId>,
    limits: RoomLimits,
    ttl: Duration,
    /// What the media side says to the next members.
    entered: Result<(), String>,
    orders: Vec<(MemberId, MediaOrder)>,
}

impl World {
    fn new() -> World {
        World {
            registry: RoomRegistry::default(),
            now: Moment(1_000_000),
            views: BTreeMap::new(),
            later: BTreeMap::new(),
            limits: RoomLimits::default(),
            ttl: Duration::from_secs(600),
            entered: Ok(()),
            orders: Vec::new(),
        }
    }

    fn open(&mut self, id: u64, room: Option<&str>, subject: Option<&str>) {
        self.views.insert(ConnectionId(id), View::default());
        self.connect(id, id, room, subject);
    }

    /// Opens one more connection of a client.
    fn connect(&mut self, id: u64, connection: u64, room: Option<&str>, subject: Option<&str>) {
        let membership = Membership {
            namespace: "a".parse().unwrap(),
            role: RoomRole::Member,
            subject: subject.map(str::to_owned),
            limits: self.limits,
        };
        let room = room.map(|room| RoomId::parse(room).unwrap());
        let resume_token = ResumeToken::from_entropy(u128::from(connection).to_be_bytes());
        let address = Some([192, 0, 2, 1].into());
        let visitor = Visitor { membership, room, peer: peer(connection), resume_token, address };
        self.later.insert(ConnectionId(connection), ConnectionId(id));
        self.registry.opened(self.now, ConnectionId(connection), visitor);
    }

    /// The connection that a client has now, or had last.
    fn connection(&self, id: u64) -> ConnectionId {
        let own = self.later.iter().filter(|(_, of)| **of == ConnectionId(id));
        own.map(|(connection, _)| *connection).max().unwrap()
    }

    /// What a client says and is told is lost from now on.
    fn cut(&mut self, id: u64) {
        self.views.get_mut(&ConnectionId(id)).unwrap().is_cut = true;
    }

    /// The worker learns of it.
    fn break_off(&mut self, id: u64) {
        self.cut(id);
        self.registry.broken(self.now, self.connection(id));
        self.settle();
    }

    /// The client connects again, as its room's page does, and says again what did not come.
    fn come_back(&mut self, id: u64, room: &str, subject: Option<&str>) {
        let connection = 1_000_000 + self.later.len() as u64;
        self.connect(id, connection, Some(room), subject);
        let view = self.views.get_mut(&ConnectionId(id)).unwrap();
        let said = std::mem::take(&mut view.said);
        let heard = std::mem::take(&mut view.heard);
        view.is_cut = false;
        let data = json!({"peerId": view.peer, "resumeToken": view.token, "heard": heard});
        self.say(id, json!({"type": "resume", "data": data}));
        let Some(taken) = self.views.get_mut(&ConnectionId(id)).unwrap().taken.take() else { return };
        said[taken..].iter().for_each(|text| self.text(id, text));
    }

    fn say(&mut self, id: u64, message: Value) {
        self.text(id, &message.to_string());
    }

    fn text(&mut self, id: u64, text: &str) {
        let connection = self.connection(id);
        let view = self.views.get_mut(&ConnectionId(id)).unwrap();
        view.said.push(text.to_owned());
        if !view.is_cut {
            self.registry.frame(self.now, connection, Frame::Text(text));
        }
        self.settle();
    }

    fn media(&mut self, id: u64, event: MediaEvent) {
        self.registry.media(self.now, MemberId(id), event);
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
            Action::Say { to, text } => {
                for id in to {
                    let view = self.views.get_mut(&self.later[&id]).unwrap();
                    assert_eq!(view.closed, None, "{id:?} is closed and told {text:?}");
                    if !view.is_cut {
                        view.hear(&text);
                    }
                }
            }
            Action::Enter { connection, .. } => {
                let entered = self.entered.clone().map(|()| Some(self.credentials()));
                self.registry.entered(self.now, connection, entered);
            }
            Action::Media { member: MemberId(id), order } => {
                self.views.get_mut(&ConnectionId(id)).unwrap().obey(&order);
                self.orders.push((MemberId(id), order));
            }
            Action::Refresh(id) => {
                let fresh = self.credentials();
                self.registry.credentials(self.now, id, Some(fresh));
            }
            Action::Close(id, closing) => {
                let client = self.later[&id];
                // One that was cut off is no loss to a client that has another.
                if self.connection(client.0) == id {
                    assert_eq!(self.views.get_mut(&client).unwrap().closed.replace(closing), None, "{id:?}");
                }
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
    /// Whom the token names.
    subjects: BTreeMap<u64, String>,
    /// Whose connection is cut, known to the worker or not.
    cut: BTreeSet<u64>,
    returned: usize,
}

impl Shadow {
    fn come_back(&mut self, world: &mut World, id: u64) {
        if self.cut.remove(&id) {
            world.come_back(id, self.members[&id].0, self.subjects.get(&id).map(String::as_str));
            let view = world.view(id);
            assert!(!view.is_away && view.closed.is_none() && !view.errors().contains(&"resume_failed"));
            self.returned += 1;
        }
    }

    /// Whose media were lost for long, or who was away for long without any, is gone by the room's own decision.
    fn forget_the_gone(&mut self, world: &World) {
        self.members.retain(|id, _| !world.view(*id).is_gone);
        self.cut.retain(|id| self.members.contains_key(id));
    }
}

const ROOMS: [&str; 3] = ["one", "two", "three"];

fn step(world: &mut World, shadow: &mut Shadow, random: &mut Random, next: &mut u64) {
    let alive: Vec<u64> = shadow.members.keys().copied().collect();
    let one = alive.get(usize::try_from(random.below(alive.len().max(1) as u64)).unwrap()).copied();
    match (random.below(16), one) {
        (0..=2, _) | (_, None) => {
            let room = ROOMS[usize::try_from(random.below(3)).unwrap()];
            *next += 1;
            if random.below(2) == 0 {
                world.join(*next, room);
            } else {
                let subject = format!("anna {next}");
                world.open(*next, Some(room), Some(&subject));
                shadow.subjects.insert(*next, subject);
                world.say(*next, json!({"type": "offer", "data": {"sdp": "v=0"}}));
            }
            shadow.members.insert(*next, (room, BTreeSet::new()));
        }
        (3, Some(id)) => {
            shadow.come_back(world, id);
            shadow.members.remove(&id);
            world.say(id, json!({"type": "leave"}));
        }
        (4, Some(id)) => {
            shadow.come_back(world, id);
            shadow.members.remove(&id);
            world.registry.closed(world.now, world.connection(id));
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
        (11, Some(id)) => {
            shadow.cut.insert(id);
            world.cut(id);
        }
        (12, Some(id)) if shadow.cut.insert(id) => world.break_off(id),
        (12 | 13, Some(id)) => shadow.come_back(world, id),
        (14, Some(id)) => {
            world.say(id, json!({"type": "video-state", "data": {"enabled": random.below(2) == 0}}));
        }
        (_, Some(_)) => world.pass(Duration::from_millis(random.below(3_000))),
    }
}

fn settled(world: &World, shadow: &Shadow, seed: u64) {
    for (id, (room, own)) in shadow.members.iter().filter(|(id, _)| !shadow.cut.contains(id)) {
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

// SPEC 10: Everybody's view settles whatever the order, and whatever connection breaks and returns;
// no member is lost, nobody joins twice: 60 seeds of random members
#[test]
fn everybodys_view_settles_whatever_the_order() {
    for seed in 0..60 {
        let (mut world, mut shadow) = (World::new(), Shadow::default());
        world.limits.max_videos = 5;
        let (mut random, mut next) = (Random(seed), 0);
        for _ in 0..300 {
            step(&mut world, &mut shadow, &mut random, &mut next);
            // Which voices are sent on is decided at the next look.
            world.registry.tick(world.now);
            world.settle();
            shadow.forget_the_gone(&world);
            settled(&world, &shadow, seed);
        }
        for id in shadow.cut.clone() {
            shadow.come_back(&mut world, id);
        }
        settled(&world, &shadow, seed);
        assert!(next > 30, "seed {seed}: {next} joined");
        assert!(shadow.returned > 10, "seed {seed}: {} came back", shadow.returned);
    }
}

/// Two who see each other's cameras.
fn two_with_cameras() -> World {
    let mut world = World::new();
    for id in [1, 2] {
        world.join(id, "a");
        world.media(id, MediaEvent::Connected);
        world.track(id, MediaKind::Video, 1);
    }
    world
}

// SPEC 10: A member whose connection breaks, which is one without a Close frame of its page, keeps
// its place while its media is reached, 30 s without media; what it has not heard is kept, at most
// 512 KiB, and said again; who missed more joins anew
// Also: `a_page_that_goes_says_so_and_another_end_is_none_of_its_own`,
// `a_member_whose_connection_breaks_takes_its_place_back_and_hears_what_it_missed`,
// `who_is_away_goes_after_its_time_without_media`,
// `who_missed_too_much_joins_anew_and_its_place_is_free`,
// `what_is_kept_is_bounded_and_too_much_is_no_resume`,
// `what_was_not_heard_is_said_again_then_what_waited`,
// `each_connection_counts_from_its_own_beginning`, `a_count_that_cannot_be_is_no_resume`,
// `of_a_state_the_last_one_waits`, `a_pong_tells_how_many_messages_have_arrived`
#[test]
fn a_broken_connection_costs_no_place_and_nothing_that_was_said() {
    let mut world = two_with_cameras();
    world.join(3, "a");
    world.cut(1);
    world.say(3, json!({"type": "leave"}));
    world.say(1, json!({"type": "video-state", "data": {"enabled": false}}));
    world.break_off(1);
    assert_eq!(world.orders.last(), Some(&(MemberId(1), MediaOrder::Away(true))));
    world.join(4, "a");
    world.media(1, MediaEvent::Answer("v=0".into()));
    world.pass(20 * AWAY_WITHOUT_MEDIA);
    let before = world.view(1).types().len();
    assert_eq!((world.registry.detached(), world.registry.connections()), (1, 2));
    world.come_back(1, "a", None);
    let told = ["resumed", "peer-left", "peer-joined", "answer", "refresh-credentials"];
    assert_eq!(world.view(1).types()[before..], told);
    assert_eq!(
        world.view(1).messages[before]["data"]["heard"],
        1,
        "its join came, and what it said then not"
    );
    assert_eq!(world.orders.last(), Some(&(MemberId(1), MediaOrder::Away(false))));
    assert_eq!(world.view(2).types().last(), Some(&"participant-state"), "it said it again");
    assert!(!world.view(2).types().contains(&"track-removed"), "{:?}", world.view(2).types());
    let gone: Vec<_> = world.view(2).messages.iter().filter(|one| one["type"] == "peer-left").collect();
    assert_eq!(gone.len(), 1, "of who left: {gone:?}");
    world.say(1, json!({"type": "leave"}));
    assert_eq!(world.view(2).types().last(), Some(&"track-removed"));
}

#[test]
fn who_comes_back_before_the_break_is_known_takes_its_place_over() {
    let mut world = two_with_cameras();
    world.cut(1);
    world.track(2, MediaKind::Audio, 2);
    let before = world.view(1).types().len();
    world.come_back(1, "a", None);
    assert_eq!(world.view(1).types()[before..], ["resumed", "track-added"]);
    assert_eq!((world.registry.connections(), world.registry.detached()), (2, 0));
    world.registry.broken(world.now, ConnectionId(1));
    world.settle();
    assert_eq!(world.registry.detached(), 0, "that of before is no matter any more");
}

// SPEC 10: A resume token is good once, for its member only, in its room and for its token's
// person, and is never shown; who comes back before the break is known takes its place over; who
// joins anew replaces the place that it left, which counts in a full room
// Also: `a_token_opens_once_and_is_not_shown`, `no_log_shows_what_takes_a_place_back`,
// `who_comes_back_before_the_break_is_known_takes_its_place_over`,
// `who_joins_anew_replaces_the_place_that_it_left`
#[test]
fn a_resume_token_is_good_once_for_its_member_only() {
    let mut world = two_with_cameras();
    let token = |world: &World, id| world.view(id).token.clone();
    let (first, second) = (token(&world, 1), token(&world, 2));
    world.break_off(1);
    world.break_off(2);
    let peers = [1, 2].map(|id| world.view(id).peer.clone().unwrap());
    let attempts = [
        ("a", None, &peers[0], second.as_str()),
        ("a", None, &peers[0], ""),
        ("a", None, &peers[0], &first[1..]),
        ("b", None, &peers[0], &first),
        ("a", Some("somebody"), &peers[0], &first),
        ("a", None, &"nobody".to_owned(), &first),
    ];
    for (number, (room, subject, peer, token)) in (10..).zip(attempts) {
        world.open(number, Some(room), subject);
        let data = json!({"peerId": peer, "resumeToken": token, "heard": 0});
        world.say(number, json!({"type": "resume", "data": data}));
        let seen = world.view(number);
        assert_eq!((seen.errors(), seen.closed), (vec!["resume_failed"], Some(Closing::Policy)), "{number}");
    }
    assert_eq!(world.registry.detached(), 2, "nobody lost anything by that");
    world.come_back(1, "a", None);
    assert_eq!(world.view(1).closed, None);
    assert_ne!(token(&world, 1), first);
    world.break_off(1);
    world.views.get_mut(&ConnectionId(1)).unwrap().token = first;
    world.come_back(1, "a", None);
    assert_eq!(world.view(1).errors(), ["resume_failed"], "once");
}

#[test]
fn who_missed_too_much_joins_anew_and_its_place_is_free() {
    let mut world = two_with_cameras();
    world.break_off(1);
    for _ in 0..10 {
        world.media(1, MediaEvent::Answer("x".repeat(100_000)));
    }
    assert_eq!(world.view(2).participants.len(), 2, "until it asks, it stays");
    world.come_back(1, "a", None);
    assert_eq!(
        (world.view(1).errors(), world.view(1).closed),
        (vec!["resume_failed"], Some(Closing::Policy))
    );
    assert_eq!((world.view(2).participants.len(), world.registry.detached()), (1, 0));
}

#[test]
fn who_is_away_goes_after_its_time_without_media() {
    let mut world = World::new();
    (1..=3).for_each(|id| world.join(id, "a"));
    world.media(2, MediaEvent::Connected);
    [1, 2].iter().for_each(|id| world.break_off(*id));
    world.pass(AWAY_WITHOUT_MEDIA - Duration::from_millis(100));
    assert_eq!(world.view(3).participants.len(), 3);
    world.pass(Duration::from_millis(200));
    assert_eq!((world.view(1).is_gone, world.view(2).is_gone), (true, false));
    assert_eq!(world.view(3).types().last(), Some(&"peer-left"));
    world.media(2, MediaEvent::Trouble);
    world.pass(TROUBLE + Duration::from_millis(100));
    assert!(world.view(2).is_gone);
    world.come_back(2, "a", None);
    assert_eq!(world.view(2).errors(), ["resume_failed"]);
}

#[test]
fn who_joins_anew_replaces_the_place_that_it_left() {
    let mut world = World::new();
    world.limits.max_peers = 3;
    for id in [1, 2, 3] {
        world.join(id, "a");
        world.media(id, MediaEvent::Connected);
    }
    [1, 2].iter().for_each(|id| world.break_off(*id));
    let join = |world: &mut World, id: u64, user: Option<&str>| {
        world.open(id, Some("a"), None);
        world.say(id, json!({"type": "join", "data": {"userId": user}}));
    };
    join(&mut world, 4, None);
    assert_eq!(
        world.view(4).errors(),
        ["room_full"],
        "who is away has a place, and who has no name left none"
    );
    join(&mut world, 5, Some("u1"));
    let told = world.view(3).types();
    assert_eq!(told[told.len() - 2..], ["peer-left", "peer-joined"]);
    assert_eq!((world.view(1).is_gone, world.view(5).closed), (true, None));
    join(&mut world, 6, Some("u3"));
    assert_eq!(world.view(6).errors(), ["room_full"], "who is there has left nothing");
    world.come_back(2, "a", None);
    assert_eq!(world.view(2).closed, None);
}

// SPEC 10: Drains, ends of rooms and lost media reach those who are away, and end them
// Also: `who_is_away_goes_after_its_time_without_media`
#[test]
fn a_drain_and_an_end_of_the_room_reach_those_who_are_away() {
    let mut world = two_with_cameras();
    world.break_off(1);
    world.registry.drain(world.now, "server shutting down", Duration::from_secs(5));
    world.settle();
    world.come_back(1, "a", None);
    assert_eq!(world.view(1).types().last(), Some(&"server-draining"));
    world.break_off(1);
    world.pass(Duration::from_millis(5_100));
    assert!(world.view(1).is_gone && world.view(2).is_gone && world.registry.detached() == 0);
    world.registry.resume_after_drain();
    world.join(3, "a");
    world.break_off(3);
    assert!(world.registry.close_room(&("a".parse().unwrap(), RoomId::parse("a").unwrap())));
    world.settle();
    assert!(world.view(3).is_gone && world.registry.is_idle());
}

// SPEC 10: A join is answered by `welcome` (the joiner included), `turn-credentials`, `track-added`
// of what is there; others hear `peer-joined` in both shapes; `peer-left` comes before
// `track-removed`
// Also: `two_clients_meet_and_hear_what_the_other_sends`
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
    let follows = [audio, video].map(|track| (MemberId(2), MediaOrder::Follow(track)));
    assert_eq!(world.orders, follows);
    assert_eq!(world.view(2).messages[0]["data"]["participants"].as_array().unwrap().len(), 2);
    world.say(1, json!({"type": "leave"}));
    let after = ["peer-left", "track-removed", "track-removed"];
    assert_eq!(world.view(2).types()[5..], after);
    assert_eq!((world.view(1).closed, world.view(2).closed), (Some(Closing::Left), None));
}

// SPEC 10: An offer joins where the address names the room; whom the token names is who it is
// Also: `whom_the_token_names_is_who_it_is`
#[test]
fn an_offer_joins_where_the_address_names_the_room() {
    let mut world = World::new();
    world.open(1, Some("a"), None);
    world.say(1, json!({"type": "offer", "data": {"sdp": "v=0"}}));
    let participant = &world.view(1).messages[0]["data"]["participants"][0];
    assert_eq!(participant["userId"], "anon-00000000000000000000000000000001");
    assert_eq!(world.orders, [(MemberId(1), MediaOrder::Offer("v=0".into()))], "after the join");
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

// SPEC 10: A wrong first message, or none within 10 s, ends the connection with its code; a member
// that errs is told and stays
// Also: `who_does_not_join_within_ten_seconds_is_closed`, `a_member_that_errs_is_told_and_stays`
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
fn the_end_of_candidates_is_no_error_and_nothing_to_tell() {
    let mut world = World::new();
    world.join(1, "a");
    world.orders.clear();
    let text = "candidate:1 1 udp 1 192.0.2.1 9 typ relay";
    for data in [json!({"candidate": ""}), json!({"candidate": null}), json!({"candidate": text})] {
        world.say(1, json!({"type": "ice-candidate", "data": data}));
    }
    assert_eq!(world.orders, [(MemberId(1), MediaOrder::Candidate(text.into()))]);
    assert!(world.view(1).errors().is_empty() && world.view(1).closed.is_none());
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

// SPEC 10: Limits: members of a room, joins of an identity, messages and data of a member, what
// waits for one
// Also: `joins_of_one_identity_are_bounded`, `a_flood_of_messages_ends_the_connection`,
// `messages_and_bytes_of_a_member_are_bounded_and_come_back`,
// `labels_are_bounded_for_a_member_and_for_the_room`, `who_is_over_a_bound_is_told_once_a_second`,
// `data_goes_to_every_other_member_and_is_bounded`, `what_waits_for_one_client_is_bounded`
#[test]
fn a_full_room_and_a_media_side_without_a_place_refuse_the_join() {
    let mut world = World::new();
    assert_eq!(world.limits.max_peers, 100, "unless somebody says otherwise");
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
    (1..=2).for_each(|id| world.join(id, "a"));
    let candidate = json!({"type": "ice-candidate", "data": {"candidate": "candidate:1"}});
    (0..39).for_each(|_| world.say(1, candidate.clone()));
    assert_eq!(world.view(1).closed, None, "a join and 39 candidates");
    world.pass(Duration::from_secs(1));
    (0..10).for_each(|_| world.say(1, candidate.clone()));
    assert_eq!(world.view(1).closed, None, "ten a second");
    world.say(1, candidate.clone());
    assert_eq!((world.view(1).errors(), world.view(1).closed), (vec!["rate_limited"], Some(Closing::Policy)));
    assert_eq!(world.view(2).types().last(), Some(&"peer-left"), "and the others hear that it is gone");
    let connection = world.connection(2);
    (0..41).for_each(|_| world.registry.frame(world.now, connection, Frame::Control));
    world.settle();
    assert_eq!(world.view(2).closed, Some(Closing::Policy), "control frames count like messages");
}

// SPEC 10: Fresh credentials come at 80 % of their life; lost media have 15 s; an empty room goes
// after `rooms.empty_timeout`
// Also: `lost_media_have_fifteen_seconds_to_come_back`,
// `an_empty_room_goes_after_its_time_and_one_that_was_made_waits_as_long`
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
    world.media(3, MediaEvent::OutOfStep("in different states".into()));
    assert!(world.view(3).types().ends_with(&["server-draining", "error"]), "documented clients join anew");
    assert_eq!((world.view(3).errors(), world.view(3).closed.is_some()), (vec!["invalid_answer"], true));
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

// SPEC 10: A drain is told with `reason` and `timeoutMs` (at most 30 s), refuses upgrades with 503
// and ends what is left; a closed room ends its members and nobody else's
// Also: `a_drain_is_told_refuses_others_and_ends`,
// `closing_a_room_ends_its_members_and_nobody_elses`,
// `rooms_are_made_listed_and_closed_from_outside`
// SPEC 10 contract: `server-draining` with `reason` and `timeoutMs`, upgrades 503, the end at its
// time
// Also: `a_drain_is_told_refuses_others_and_ends`, `the_rooms_of_a_drained_worker_go_on_elsewhere`
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
    world.registry.resume_after_drain();
    assert_eq!(world.registry.rooms().len(), 0, "what goes on elsewhere is not kept here");
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
