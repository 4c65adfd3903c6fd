//! The whole way of a member: its WebSocket to the worker's thread of rooms, its media to the media threads.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hydraneckwebrtc::config::live::Live;
use hydraneckwebrtc::config::settings::{Listen, ListenAddress, Network, Role, Settings};
use hydraneckwebrtc::core::namespaces::RoomRole;
use hydraneckwebrtc::core::namespaces::state::{
    ENTROPY, NamespaceState, RoomLimits, TokenHash, TokenRecord, TurnSecret,
};
use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use hydraneckwebrtc::host::clock::Clock;
use hydraneckwebrtc::host::entropy;
use hydraneckwebrtc::host::private_dir::PrivateDir;
use hydraneckwebrtc::host::pulse::Pulses;
use hydraneckwebrtc::media::config::MediaConfig;
use hydraneckwebrtc::media::{Media, MediaThreads};
use hydraneckwebrtc::worker::namespaces::access::RoomAccess;
use hydraneckwebrtc::worker::rooms::{RoomCounts, Rooms, RoomsService};
use serde_json::{Value, json};
use stand_ins::steady::Steady;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::guest::{Guest, Manners};
use crate::hall::LOOPBACK;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker, as far as rooms go.
pub struct Place {
    state: PrivateDir,
    service: Option<RoomsService>,
    pub media: Media,
    threads: Option<MediaThreads>,
}

impl Place {
    pub fn open(change: impl FnOnce(&mut Settings)) -> Place {
        let path = std::env::temp_dir().join(format!("neck-signalled-{:016x}", entropy::number()));
        let state = PrivateDir::open(&path).expect("a directory");
        let mut settings = Settings::defaults(Role::Worker);
        settings.server.listen = Listen::Plain(ListenAddress { host: Some(LOOPBACK), port: 0 });
        (settings.webrtc.udpmux, settings.webrtc.threads) = (Some(0), 2);
        (settings.rooms.enabled, settings.rooms.media_port) = (true, 0);
        change(&mut settings);
        let pulses = Pulses::new();
        let (media, threads) = Media::start(MediaConfig::new(&settings), &pulses).expect("media threads");
        let access = RoomAccess::open(&state, Arc::new(Live::new(settings)), Arc::default());
        access.take(vec![namespace()], &[]);
        let run = (Clock::start(), &pulses);
        let service = RoomsService::start(&state, access, Box::new(media.clone()), run).expect("a thread");
        Place { state, service: Some(service), media, threads: Some(threads) }
    }

    /// Somebody with a microphone and a camera, by the documented snippet: the first message is an offer.
    pub fn guest(&self, name: &str) -> Person {
        let uri = "ws://example.com/v1/webrtc/signal?room=r";
        let mut request = uri.into_client_request().expect("a request");
        for (field, value) in [("Sec-WebSocket-Protocol", "Bearer, a-token"), ("Neck-Client", "192.0.2.1")] {
            request.headers_mut().insert(field, value.parse().expect("a value"));
        }
        let (socket, _) = tungstenite::client(request, Steady(self.connect())).expect("an upgrade");
        socket.get_ref().set_nonblocking(true).expect("nonblocking");
        let mut guest = Guest::new(name, Manners::Naive, LOOPBACK);
        guest.publish(MediaKind::Audio);
        guest.publish(MediaKind::Video);
        Person { guest, socket, messages: Vec::new() }
    }

    /// A connection to signalling, which waits for what it reads.
    pub fn connect(&self) -> UnixStream {
        let path = self.rooms().socket_path().to_owned();
        let stream = UnixStream::connect(path).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }

    /// How much is here.
    pub fn counts(&self) -> RoomCounts {
        self.rooms().counts()
    }

    fn rooms(&self) -> Rooms {
        self.service.as_ref().expect("a thread").rooms()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.service.take().into_iter().for_each(RoomsService::stop);
        self.threads.take().into_iter().for_each(|threads| threads.stop(Duration::from_secs(5)));
        let _ = std::fs::remove_dir_all(self.state.path());
    }
}

pub struct Person {
    pub guest: Guest,
    socket: WebSocket<Steady<UnixStream>>,
    messages: Vec<Value>,
}

impl Person {
    fn say(&mut self, kind: &str, data: &Value) {
        let message = Message::text(json!({"type": kind, "data": data}).to_string());
        self.socket.send(message).expect("sent");
    }

    pub fn pump(&mut self) {
        if let Err(error) = self.guest.pump_by(&mut self.socket, &mut self.messages) {
            panic!("{}: {error}; heard {:?}", self.guest.name, self.messages);
        }
    }

    pub fn heard(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.messages.iter().filter(move |message| message["type"] == kind).map(|message| &message["data"])
    }

    /// Whether media of every track that it was told of arrives.
    pub fn hears(&self, tracks: usize) -> bool {
        let names: Vec<&str> =
            self.heard("track-added").filter_map(|data| data["trackId"].as_str()).collect();
        let heard = |name: &&str| self.guest.seen.heard.get(*name).is_some_and(|heard| heard.packets > 10);
        names.len() == tracks && names.iter().all(heard)
    }
}

pub fn until(what: &str, people: &mut [Person], mut done: impl FnMut(&[Person]) -> bool) {
    let begun = Instant::now();
    while !done(people) {
        people.iter_mut().for_each(Person::pump);
        let seen = || people.iter().map(|person| (&person.messages, &person.guest.seen)).collect::<Vec<_>>();
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {:#?}", seen());
        std::thread::yield_now();
    }
    println!("{what}: after {:?}", begun.elapsed());
}

fn namespace() -> NamespaceState {
    let mut state = NamespaceState::new("a".parse().expect("a name"), RoomLimits::default());
    state.enable(TurnSecret::from_entropy(entropy::bytes::<ENTROPY>()), 0);
    state.turn_urls = vec!["turn:192.0.2.1:3478".into()];
    let record = TokenRecord {
        id: "t".into(),
        hash: TokenHash::of("a-token"),
        role: RoomRole::Member,
        subject: None,
        created_at: 0,
        expires_at: None,
    };
    state.add_token(record, 0).expect("room for a token");
    state
}

// SPEC 10: By the documented messages, the first an offer, people meet, hear who speaks, leave; who
// comes without a relay gets `not_relayed`
// Also: `who_signals_and_comes_without_a_relay_is_told_so`
// SPEC 10 contract: Order: `welcome` (the joiner included), `turn-credentials`, `track-added` of
// what is there, one offer, pictures
// Also: `a_join_is_answered_in_the_documented_order`,
// `who_joins_hears_one_offer_and_begins_with_pictures_that_stand_for_themselves`
#[test]
fn people_meet_by_the_documented_messages() {
    let place = Place::open(|_| {});
    let mut people = vec![place.guest("first"), place.guest("second"), place.guest("third")];
    until("three hear and see each other", &mut people, |people| people.iter().all(|one| one.hears(4)));
    let kinds: Vec<&str> = people[0].messages.iter().filter_map(|message| message["type"].as_str()).collect();
    assert_eq!(kinds[..2], ["welcome", "turn-credentials"], "{kinds:?}");
    let loud = |person: &Person| person.heard("active-speakers").count() > 0;
    until("who speaks is told", &mut people, |people| people.iter().all(loud));
    people[2].say("leave", &json!({}));
    let mut gone = people.split_off(2);
    let left = |person: &Person| {
        person.heard("peer-left").count() == 1 && person.heard("track-removed").count() == 2
    };
    until("one leaves", &mut people, |people| people.iter().all(left));
    gone.clear();
    until("its media are gone", &mut people, |_| {
        (place.media.rooms(), place.media.snapshot().peers) == (1, 2)
    });
}

#[test]
fn who_signals_and_comes_without_a_relay_is_told_so() {
    let relay = Network { address: [192, 0, 2, 7].into(), prefix: 32 };
    let place = Place::open(|settings| settings.rooms.relays = vec![relay]);
    let mut people = vec![place.guest("direct")];
    until("it is told", &mut people, |people| {
        people[0].heard("error").any(|data| data["code"] == "not_relayed")
    });
    assert!(!people[0].guest.seen.connected && people[0].guest.seen.received == 0);
}
