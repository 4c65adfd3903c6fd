//! What the edge knows of WebSocket frames: Pongs into silence, and messages that are judged.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydraneckwebrtc::edge::router::{Decision, Forward, Screening};
use hydraneckwebrtc::edge::signalling::From;
use hydraneckwebrtc::edge::websocket::{MAX_TEXT, PONG, Verdict};

use crate::support::{PATIENCE, TestEdge, Tunnels, Wire, forward, upstream};

const OFFER: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\
                     Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// An upstream that switches to `protocol` and then sends what the test tells it to.
fn told(protocol: &'static str) -> (SocketAddr, Sender<Vec<u8>>) {
    let (tell, told) = mpsc::channel::<Vec<u8>>();
    let told = Mutex::new(told);
    let to = upstream(move |mut wire, _| {
        wire.head();
        wire.send(SWITCH.replace("websocket", protocol));
        let told = told.lock().expect("no panic");
        while let Ok(bytes) = told.recv_timeout(PATIENCE) {
            wire.send(bytes);
        }
    });
    (to, tell)
}

fn silent_edge(to: SocketAddr) -> TestEdge {
    let tunnels = Arc::new(Tunnels::default());
    TestEdge::with(
        |config| config.settings.websocket_pong = Duration::from_millis(50),
        move |_| Decision::Forward(Forward { tunnels: Some(tunnels.clone()), ..forward(to) }),
    )
}

fn open(edge: &TestEdge) -> Wire {
    let mut wire = edge.connect();
    wire.send(OFFER);
    let head = wire.head().expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    wire
}

/// Waits for several Pongs on a WebSocket of its own: so long was every other one silent, too.
fn several_silences() {
    let (to, tell) = told("websocket");
    let edge = silent_edge(to);
    let mut wire = open(&edge);
    for _ in 0..4 {
        assert_eq!(wire.exactly(2).as_deref(), Some(&PONG[..]));
    }
    drop(tell);
}

// SPEC edge: A browser on a silent WebSocket gets a Pong after `edge.websocket_pong`, between
// frames only; other upgrades get nothing of ours
// Also: `fragments_may_have_a_pong_between_them`, `other_upgrades_hear_nothing_of_ours`,
// `a_follower_knows_where_frames_end`, `a_screen_knows_where_what_it_passed_on_ends`
#[test]
fn a_silent_websocket_hears_pongs_between_frames_only() {
    let (to, tell) = told("websocket");
    let edge = silent_edge(to);
    let mut wire = open(&edge);
    assert_eq!(wire.exactly(2).as_deref(), Some(&PONG[..]), "before the first frame");
    // A fragment, half a frame, its other half.
    tell.send([&[0x01, 2, b'a', b'b'][..], &[0x80, 4, b'c', b'd'][..]].concat()).expect("it listens");
    let mut came = Vec::new();
    while !came.ends_with(b"cd") {
        came.extend(wire.exactly(1).expect("bytes"));
    }
    several_silences();
    tell.send(b"ef".to_vec()).expect("it listens");
    assert_eq!(wire.exactly(2).as_deref(), Some(&b"ef"[..]), "nothing stands inside the frame");
    assert_eq!(wire.exactly(2).as_deref(), Some(&PONG[..]), "after it");
    // Nothing follows a Close.
    tell.send(vec![0x88, 0]).expect("it listens");
    while !came.ends_with(&[0x88, 0]) {
        came.extend(wire.exactly(1).expect("bytes"));
    }
    several_silences();
    drop(tell);
    assert!(wire.is_closed(), "nothing but the end comes");
}

#[test]
fn fragments_may_have_a_pong_between_them() {
    let (to, tell) = told("websocket");
    let edge = silent_edge(to);
    let mut wire = open(&edge);
    tell.send(vec![0x01, 1, b'a']).expect("it listens");
    let mut came = Vec::new();
    while !came.ends_with(b"a") {
        came.extend(wire.exactly(1).expect("bytes"));
    }
    assert_eq!(wire.exactly(2).as_deref(), Some(&PONG[..]));
    drop(tell);
}

#[test]
fn other_upgrades_hear_nothing_of_ours() {
    let (to, tell) = told("something-else");
    let edge = silent_edge(to);
    let mut wire = open(&edge);
    several_silences();
    tell.send(b"raw".to_vec()).expect("it listens");
    assert_eq!(wire.exactly(3).as_deref(), Some(&b"raw"[..]));
    drop(tell);
}

/// Makes texts loud, drops "drop", refuses "refuse".
struct Loud(Mutex<Sender<String>>);

impl Screening for Loud {
    fn takes_bodies(&self) -> bool {
        true
    }

    fn message(&self, text: &str, _: From) -> Verdict {
        match text {
            "drop" => Verdict::Dropped,
            "refuse" => Verdict::Refused("no"),
            other => Verdict::Becomes(other.to_uppercase()),
        }
    }

    fn body(&self, text: &str, from: From) -> Verdict {
        self.message(text, from)
    }

    fn ice_links(&self) -> Vec<String> {
        vec!["<turn:ours>; rel=\"ice-server\"".into()]
    }

    fn refused(&self, what: &dyn Display) {
        let _ = self.0.lock().expect("no panic").send(what.to_string());
    }
}

fn screened_edge(to: SocketAddr) -> (TestEdge, Receiver<String>) {
    let (refused, refusals) = mpsc::channel();
    let (screen, tunnels) = (Arc::new(Loud(Mutex::new(refused))), Arc::new(Tunnels::default()));
    let confined = hydraneckwebrtc::edge::http1::head::confine::Confinement {
        path: "/".into(),
        ancestors: "'self'".into(),
    };
    let edge = TestEdge::new(move |_| {
        Decision::Forward(Forward {
            tunnels: Some(tunnels.clone()),
            screen: Some(screen.clone()),
            confined: Some(confined.clone()),
            ..forward(to)
        })
    });
    (edge, refusals)
}

/// A client's frame with the mask 0, which changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => vec![first, 0x80 | short as u8],
        Ok(length) => [&[first, 0x80 | 126][..], &length.to_be_bytes()].concat(),
        Err(_) => [&[first, 0x80 | 127][..], &(payload.len() as u64).to_be_bytes()].concat(),
    };
    [&head[..], &[0; 4], payload].concat()
}

#[test]
fn screened_texts_are_judged_both_ways_and_media_passes() {
    let (sender, receiver) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        let offer = wire.head().expect("an offer");
        assert!(!offer.to_ascii_lowercase().contains("sec-websocket-extensions"), "{offer}");
        // The first message comes with the head.
        wire.send([SWITCH.as_bytes(), &[0x81, 3, b'o', b'n', b'e']].concat());
        wire.send([0x81, 4, b'd', b'r', b'o', b'p', 0x82, 3, 1, 2, 3]);
        let _ = sender.send(wire.exactly(masked(0x81, b"HI").len()));
    });
    let (edge, _) = screened_edge(to);
    let mut wire = edge.connect();
    wire.send([OFFER.as_bytes(), &masked(0x81, b"drop"), &masked(0x81, b"hi")].concat());
    assert!(wire.head().expect("a head").starts_with("HTTP/1.1 101 "));
    assert_eq!(wire.exactly(5).as_deref(), Some(&b"\x81\x03ONE"[..]));
    assert_eq!(wire.exactly(5).as_deref(), Some(&[0x82, 3, 1, 2, 3][..]));
    let up = receiver.recv_timeout(PATIENCE).expect("the upstream's view");
    assert_eq!(up, Some(masked(0x81, b"HI")));
}

#[test]
fn what_may_not_pass_ends_a_screened_socket() {
    for (bytes, status) in [
        (masked(0x81, b"refuse"), 1008u16),
        (masked(0x81, &vec![b'a'; MAX_TEXT + 1]), 1009),
        (masked(0xC1, b"deflated"), 1002),
    ] {
        let to = upstream(|mut wire, _| {
            wire.head();
            wire.send(SWITCH);
            assert!(wire.is_closed(), "nothing of it arrives");
        });
        let (edge, refusals) = screened_edge(to);
        let mut wire = open(&edge);
        // The rest of a long one may meet a closed socket.
        let _ = wire.stream.write_all(&bytes);
        let close = [&[0x88, 2][..], &status.to_be_bytes()].concat();
        assert_eq!(wire.exactly(4), Some(close), "{status}");
        assert!(refusals.recv_timeout(PATIENCE).is_ok(), "operators hear of it");
    }
}

#[test]
fn an_extension_that_nobody_asked_for_is_no_tunnel() {
    let to = upstream(|mut wire, _| {
        wire.head();
        wire.send(SWITCH.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
    });
    let (edge, _) = screened_edge(to);
    let mut wire = edge.connect();
    wire.send(OFFER);
    assert_eq!(wire.reply().status(), 502);
}

#[test]
fn screened_bodies_are_judged_both_ways_with_their_links() {
    let (sender, receiver) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        while let Some(request) = wire.request() {
            // The head of one that is refused later may come; without its body it is no request.
            if !request.complete {
                return;
            }
            let _ = sender.send(request.text());
            wire.send(
                "HTTP/1.1 201 Created\r\nContent-Length: 6\r\nLink: <turn:theirs>; rel=\"ice-server\"; credential=\"SECRET\"\r\n\
                 Link: <next>; rel=next\r\n\r\nanswer",
            );
        }
    });
    let (edge, refusals) = screened_edge(to);
    let mut wire = edge.connect();
    let post = |body: &str, more: &str| {
        format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len())
    };
    wire.send(post("offer", ""));
    let reply = wire.reply();
    assert_eq!((reply.status(), reply.text().as_str()), (201, "ANSWER"), "{reply:?}");
    let head = format!("{reply:?}");
    assert!(head.contains("turn:ours") && head.contains("next") && !head.contains("SECRET"), "{head}");
    assert_eq!(receiver.recv_timeout(PATIENCE).as_deref(), Ok("OFFER"));
    wire.send(post("refuse", ""));
    assert_eq!(wire.reply().status(), 403);
    assert_eq!(refusals.recv_timeout(PATIENCE).as_deref(), Ok("no"));
    let mut wire = edge.connect();
    wire.send(post("offer", "Content-Encoding: gzip\r\n"));
    assert_eq!(wire.reply().status(), 415, "what cannot be read cannot be judged");
    let mut wire = edge.connect();
    wire.send(post(&"a".repeat(MAX_TEXT + 1), ""));
    assert_eq!(wire.reply().status(), 413);
    assert!(receiver.try_recv().is_err(), "nothing of these arrives");
}
