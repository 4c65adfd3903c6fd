//! Signalling over its private socket, with a media side that does what the test says.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::media::{MemberPlace, RoomMedia, RoomMember};
use super::{RoomRefused, Rooms, RoomsService};
use crate::config::live::Live;
use crate::config::settings::{Role, Settings};
use crate::core::namespaces::state::{
    ENTROPY, NamespaceState, RoomLimits, TokenHash, TokenRecord, TurnSecret,
};
use crate::core::namespaces::{RoomId, RoomRole};
use crate::core::rooms::registry::{MediaEvent, MediaOrder};
use crate::core::rooms::tracks::{DataMessage, MediaKind, TrackId};
use crate::host::clock::Clock;
use crate::host::entropy;
use crate::host::private_dir::PrivateDir;
use crate::host::pulse::Pulses;
use crate::media::member::Events;
use crate::worker::namespaces::access::RoomAccess;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

type Said = Arc<Mutex<Vec<(String, MediaOrder)>>>;

/// Members by name: what they were told, and the way to tell something of them.
#[derive(Clone, Default)]
struct Double {
    said: Said,
    sinks: Arc<Mutex<BTreeMap<String, Events>>>,
}

struct DoubleMember {
    peer: String,
    said: Said,
}

impl RoomMedia for Double {
    fn join(&self, place: MemberPlace, events: Events) -> Result<Box<dyn RoomMember>, String> {
        let peer = place.peer.as_str().to_owned();
        self.sinks.lock().unwrap().insert(peer.clone(), events);
        Ok(Box::new(DoubleMember { peer, said: self.said.clone() }))
    }
}

impl RoomMember for DoubleMember {
    fn order(&mut self, order: MediaOrder) {
        self.said.lock().unwrap().push((self.peer.clone(), order));
    }
}

impl Double {
    fn tell(&self, peer: &str, event: MediaEvent) {
        let sink = self.sinks.lock().unwrap()[peer].clone();
        sink(event);
    }

    fn wait_for(&self, what: impl Fn(&[(String, MediaOrder)]) -> bool) {
        let since = Instant::now();
        while !what(&self.said.lock().unwrap()) {
            assert!(since.elapsed() < PATIENCE, "{:?}", self.said.lock().unwrap());
            std::thread::yield_now();
        }
    }
}

struct Place {
    state: PrivateDir,
    service: Option<RoomsService>,
    rooms: Rooms,
    media: Double,
}

impl Place {
    fn new() -> Place {
        let path = std::env::temp_dir().join(format!("neck-signal-{:016x}", entropy::number()));
        let state = PrivateDir::open(&path).unwrap();
        let mut settings = Settings::defaults(Role::Worker);
        settings.rooms.enabled = true;
        let access = RoomAccess::open(&state, Arc::new(Live::new(settings)), Arc::default());
        access.take(vec![namespace("a"), namespace("b")], &[]);
        let media = Double::default();
        let run = (Clock::start(), &Pulses::new());
        let service = RoomsService::start(&state, access, Box::new(media.clone()), run).unwrap();
        Place { state, rooms: service.rooms(), service: Some(service), media }
    }

    fn connect(&self, target: &str, protocols: Option<&str>) -> Result<Client, u16> {
        let uri = format!("ws://ns-a.example.com{target}");
        let mut request = uri.into_client_request().unwrap();
        let protocol = protocols.map(|protocols| protocols.parse().unwrap());
        protocol.map(|protocol| request.headers_mut().insert("Sec-WebSocket-Protocol", protocol));
        let client = format!("192.0.2.{}", entropy::number() % 250);
        request.headers_mut().insert("Neck-Client", client.parse().unwrap());
        let stream = UnixStream::connect(self.rooms.socket_path()).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, reply)) => {
                // Only now: a stop of this process ends a read that has a time-out, and a handshake cannot go on.
                socket.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
                let protocol = reply.headers().get("Sec-WebSocket-Protocol").cloned();
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                Ok(Client { socket, protocol, heard: Vec::new() })
            }
            Err(HandshakeError::Failure(Error::Http(reply))) => Err(reply.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    fn join(&self, room: &str, user: &str) -> (Client, String) {
        let mut client =
            self.connect(&format!("/v1/webrtc/signal?room={room}"), Some("Bearer, a-token")).unwrap();
        client.say(&json!({"type": "join", "data": {"roomId": room, "userId": user}}));
        let peer = client.until("welcome")["peerId"].as_str().unwrap().to_owned();
        (client, peer)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
        let _ = std::fs::remove_dir_all(self.state.path());
    }
}

struct Client {
    socket: WebSocket<UnixStream>,
    protocol: Option<String>,
    heard: Vec<Value>,
}

impl Client {
    fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message; an error is how the connection ended.
    fn next(&mut self) -> Result<Value, String> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    self.heard.push(message.clone());
                    return Ok(message);
                }
                Ok(Message::Close(frame)) => {
                    return Err(frame.map(|frame| u16::from(frame.code).to_string()).unwrap_or_default());
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// The data of the next message of this type.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().unwrap_or_else(|end| panic!("ended ({end}) before {kind}"));
            if message["type"] == kind {
                return message["data"].clone();
            }
        }
    }
}

fn namespace(name: &str) -> NamespaceState {
    let mut state = NamespaceState::new(name.parse().unwrap(), RoomLimits::default());
    state.enable(TurnSecret::from_entropy(entropy::bytes::<ENTROPY>()), 0);
    state.turn_urls = vec!["turn:192.0.2.1:3478".into()];
    let record = TokenRecord {
        id: "t".into(),
        hash: TokenHash::of(&format!("{name}-token")),
        role: RoomRole::Member,
        subject: None,
        created_at: 0,
        expires_at: None,
    };
    state.add_token(record, 0).unwrap();
    state
}

// SPEC 10: Signalling opens for a browser: the token in a field, behind the subprotocol `Bearer`,
// or in `jwt`; exactly `Bearer` is agreed on, the token is never sent back; 400, 401, 403, 404,
// 405, 426, 429, 431, 503
// Also: `a_token_is_taken_from_the_field_then_the_subprotocol_then_the_query`,
// `the_token_is_found_and_bearer_alone_is_agreed_on`,
// `bearer_is_agreed_on_as_it_is_spelled_and_nothing_else`,
// `the_room_of_the_address_is_decoded_and_judged`, `what_is_no_upgrade_is_refused`,
// `the_key_is_answered_and_the_token_is_not_shown`, `the_edge_says_whose_request_it_is`
#[test]
fn a_browsers_socket_opens_with_bearer_and_without_the_token() {
    let place = Place::new();
    let path = "/v1/webrtc/signal?room=r";
    let client = place.connect(path, Some("Bearer, a-token")).unwrap();
    assert_eq!(client.protocol.as_deref(), Some("Bearer"));
    let query = place.connect(&format!("{path}&jwt=a-token"), None).unwrap();
    assert_eq!(query.protocol, None);
    for (target, protocols, status) in [
        (path, None, 401),
        (path, Some("Bearer, wrong"), 401),
        (path, Some("Bearer, b-token"), 403),
        ("/v1/webrtc/signal?room=a%20b", Some("Bearer, a-token"), 400),
        ("/v1/webrtc/else", Some("Bearer, a-token"), 404),
    ] {
        assert_eq!(place.connect(target, protocols).map(|_| ()), Err(status), "{target} {protocols:?}");
    }
}

#[test]
fn two_clients_meet_and_hear_what_the_other_sends() {
    let place = Place::new();
    let (mut anna, anna_id) = place.join("r", "anna");
    assert_eq!(anna.until("turn-credentials")["urls"], json!(["turn:192.0.2.1:3478"]));
    let track = TrackId::new(MediaKind::Audio, &anna_id, 1);
    place.media.tell(&anna_id, MediaEvent::TrackStarted(track.clone(), MediaKind::Audio));
    let (mut otto, otto_id) = place.join("r", "otto");
    assert_eq!(anna.until("peer-joined")["userId"], "otto");
    let added = otto.until("track-added");
    assert_eq!((&added["trackId"], &added["streamId"]), (&json!(track.as_str()), &json!(anna_id)));
    otto.say(&json!({"type": "offer", "data": {"sdp": "v=0"}}));
    place.media.wait_for(|said| said.contains(&(otto_id.clone(), MediaOrder::Offer("v=0".into()))));
    place.media.tell(&otto_id, MediaEvent::Placed { track: track.clone(), mid: "2".into() });
    place.media.tell(&otto_id, MediaEvent::Answer("v=0".into()));
    assert_eq!(otto.until("track-placed")["mid"], "2");
    assert_eq!(otto.until("answer"), json!({"sdp": "v=0"}));
    let data = DataMessage { is_binary: false, bytes: b"hello".as_slice().into() };
    let sent = MediaEvent::Data { label: "chat".into(), data: data.clone() };
    place.media.tell(&anna_id, sent);
    let order = MediaOrder::Data { label: "chat".into(), data };
    place.media.wait_for(|said| said.contains(&(otto_id.clone(), order.clone())));
    let list = place.rooms.list();
    assert_eq!((list.len(), list[0].id.as_str(), list[0].peers), (1, "r", 2));
    anna.say(&json!({"type": "leave"}));
    assert_eq!(otto.until("peer-left")["peerId"], anna_id.as_str());
    assert_eq!(otto.until("track-removed")["trackId"], track.as_str());
    assert_eq!(anna.next(), Err("1000".into()));
    place.media.wait_for(|said| said.contains(&(anna_id.clone(), MediaOrder::Leave)));
    // As a page that goes.
    otto.socket.close(None).unwrap();
    place.media.wait_for(|said| said.contains(&(otto_id.clone(), MediaOrder::Leave)));
}

#[test]
fn a_member_whose_connection_breaks_takes_its_place_back_and_hears_what_it_missed() {
    let place = Place::new();
    let (mut anna, anna_id) = place.join("r", "anna");
    let token = anna.heard[0]["data"]["resumeToken"].as_str().unwrap().to_owned();
    let (mut otto, otto_id) = place.join("r", "otto");
    assert_eq!(anna.until("peer-joined")["userId"], "otto");
    drop(anna);
    place.media.wait_for(|said| said.contains(&(anna_id.clone(), MediaOrder::Away(true))));
    assert_eq!(place.rooms.list()[0].peers, 2, "it is a member still");
    let (_third, _) = place.join("r", "third");
    place.media.tell(&anna_id, MediaEvent::Answer("v=0".into()));
    otto.say(&json!({"type": "audio-state", "data": {"enabled": true}}));
    let resume = json!({"peerId": anna_id, "resumeToken": token, "heard": 2});
    let come_back = || {
        let path = "/v1/webrtc/signal?room=r";
        let mut again = place.connect(path, Some("Bearer, a-token")).unwrap();
        again.say(&json!({"type": "resume", "data": resume}));
        again
    };
    let mut again = come_back();
    let resumed = again.until("resumed");
    assert_eq!(resumed["heard"], 1, "its join: {resumed}");
    assert_eq!(again.until("peer-joined")["userId"], "otto", "it said that it had not heard it");
    assert_eq!(again.until("peer-joined")["userId"], "third");
    assert_eq!(again.until("answer"), json!({"sdp": "v=0"}));
    assert_eq!(again.until("participant-state")["peerId"], otto_id.as_str());
    place.media.wait_for(|said| said.contains(&(anna_id.clone(), MediaOrder::Away(false))));
    assert_eq!(come_back().until("error")["code"], "resume_failed", "a token is good once");
    again.say(&json!({"type": "leave"}));
    assert_eq!(otto.until("peer-left")["peerId"], anna_id.as_str());
    let heard: Vec<&str> = otto.heard.iter().filter_map(|message| message["type"].as_str()).collect();
    assert_eq!(heard.iter().filter(|kind| **kind == "peer-left").count(), 1, "once, at its leave: {heard:?}");
    assert_eq!(place.rooms.counts().detached, 0);
}

// SPEC 10: The list of rooms is made anew when somebody comes or goes or a room begins or ends, not
// for what members send
#[test]
fn what_changes_no_room_is_not_published() {
    let place = Place::new();
    let (_anna, anna_id) = place.join("r", "anna");
    let (mut otto, _) = place.join("r", "otto");
    let mut track = |number| {
        let track = TrackId::new(MediaKind::Audio, &anna_id, number);
        place.media.tell(&anna_id, MediaEvent::TrackStarted(track.clone(), MediaKind::Audio));
        place.media.tell(&anna_id, MediaEvent::Level(track, 10));
        otto.until("track-added");
    };
    track(1);
    let (before, since) = (place.rooms.shared.rooms(), Instant::now());
    // Rounds for events, and some that only look at the times.
    let mut number = 1;
    while since.elapsed() < Duration::from_millis(300) || number < 10 {
        number += 1;
        track(number);
    }
    assert!(Arc::ptr_eq(&before, &place.rooms.shared.rooms()), "after {number} tracks");
    assert_eq!((place.rooms.counts().members, place.rooms.counts().connections), (2, 2));
}

#[test]
fn rooms_are_made_listed_and_closed_from_outside() {
    let place = Place::new();
    let (a, r) = ("a".parse().unwrap(), RoomId::parse("made").unwrap());
    assert_eq!(place.rooms.create("a".parse().unwrap(), r.clone(), RoomLimits::default()), Ok(true));
    assert_eq!(place.rooms.create("a".parse().unwrap(), r.clone(), RoomLimits::default()), Ok(false));
    assert_eq!(place.rooms.list().len(), 1);
    let (mut anna, _) = place.join("made", "anna");
    assert!(place.rooms.close(&a, &r));
    assert!(!place.rooms.close(&a, &r));
    assert_eq!(anna.until("kicked")["code"], "removed");
    assert_eq!(anna.next(), Err("1001".into()));
    assert_eq!(place.rooms.counts().rooms, 0);
}

#[test]
fn a_drain_is_told_refuses_others_and_ends() {
    let place = Place::new();
    let (mut anna, _) = place.join("r", "anna");
    place.rooms.drain("server shutting down", Duration::from_millis(300));
    let told = json!({"reason": "server shutting down", "timeoutMs": 300});
    assert_eq!(anna.until("server-draining"), told);
    let again = place.connect("/v1/webrtc/signal?room=r", Some("Bearer, a-token"));
    assert_eq!(again.map(|_| ()), Err(503));
    let made = place.rooms.create("a".parse().unwrap(), RoomId::parse("x").unwrap(), RoomLimits::default());
    assert_eq!(made, Err(RoomRefused::Draining));
    assert_eq!(anna.next(), Err("1001".into()));
    place.rooms.resume();
    place.join("r", "anna");
}

// SPEC 10: Hostile frames get their error and disturb nobody: 10,000 of them, bytes that are no
// frames, and strangers' datagrams cost a neighbours' room nothing and memory nothing (fuzz target
// `room_frames`)
// Also: `ten_thousand_hostile_messages_cost_a_neighbours_room_nothing`,
// `who_says_too_much_is_told_so_and_ended`, `every_input_of_the_corpus_is_taken_without_a_finding`
#[test]
fn hostile_frames_get_their_error_and_disturb_nobody() {
    let place = Place::new();
    let (mut anna, _) = place.join("r", "anna");
    let open = || place.connect("/v1/webrtc/signal?room=r", Some("Bearer, a-token")).unwrap();
    // A message beyond the bound, a broken one, one of bytes, text that is none.
    let mut big = open();
    let _ = big.socket.send(Message::text("x".repeat(600 * 1024)));
    assert_eq!(big.until("error")["code"], "invalid_message");
    assert_eq!(big.next(), Err("1009".into()));
    let (mut otto, _) = place.join("r", "otto");
    otto.socket.send(Message::binary(vec![0xFF; 100])).unwrap();
    assert_eq!(otto.until("error")["code"], "invalid_message");
    otto.say(&json!({"type": "offer"}));
    assert_eq!(otto.until("error")["code"], "invalid_offer");
    // A frame with a bit that nobody agreed on (RFC 6455, 5.2).
    use std::io::Write as _;
    otto.socket.get_mut().write_all(&[0xF1, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(otto.next(), Err("1002".into()));
    assert_eq!(anna.until("peer-left")["userId"], "otto");
    anna.say(&json!({"type": "video-state", "data": {}}));
    assert_eq!(anna.until("error")["code"], "invalid_message", "and still there");
}
