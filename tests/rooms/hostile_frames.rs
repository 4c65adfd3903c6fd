//! Ten thousand messages that nobody should send, bytes that are no messages, and datagrams of strangers: each message gets the error
//! that it deserves, memory stays, and two people in a room beside it talk on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket};

use crate::alone::alone;
use crate::guest::{Guest, Manners, Word};
use crate::hall::LOOPBACK;
use crate::hostile::resident;
use crate::signalled::{Person, Place, until};
use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use stand_ins::steady::Steady;

/// Messages in all.
const MESSAGES: usize = 10_000;

/// Messages of one connection: with its `join` still fewer than the 40 that may come at once.
const EACH: usize = 36;

/// Datagrams beside each connection.
const DATAGRAMS: usize = 16;

/// What memory may grow by.
const GROWTH: usize = 48 << 20;

/// Random numbers by seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.roll(most)).map(|_| self.roll(256) as u8).collect()
    }

    fn text(&mut self, most: usize) -> String {
        (0..1 + self.roll(most)).map(|_| char::from(b' ' + self.roll(95) as u8)).collect()
    }
}

fn message(kind: &str, data: &Value) -> Message {
    Message::text(json!({"type": kind, "data": data}).to_string())
}

/// A description that was good before some of its bytes were changed, lines left out or said twice; never one that is read.
fn spoiled(dice: &mut Dice, offer: &str) -> String {
    let mut lines: Vec<String> = offer.lines().map(str::to_owned).collect();
    for _ in 0..1 + dice.roll(4) {
        let at = dice.roll(lines.len());
        match dice.roll(3) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            _ => lines[at] = dice.text(40),
        }
    }
    // Without a version it is no description, whatever else became of it.
    lines.retain(|line| !line.starts_with("v="));
    lines.join("\r\n")
}

/// A message of a member, and the code of the error that it gets.
fn of_a_member(dice: &mut Dice, offer: &str) -> (Message, &'static str) {
    let wrong = [json!(1), json!(null), json!([]), json!({}), json!(true)];
    let value = wrong[dice.roll(wrong.len())].clone();
    match dice.roll(15) {
        0 => (Message::text(format!("{{{}", dice.text(200))), "invalid_message"),
        1 => (Message::text(value.to_string()), "invalid_message"),
        2 => (Message::text("[".repeat(1 + dice.roll(5_000))), "invalid_message"),
        3 => (Message::binary(dice.bytes(300)), "invalid_message"),
        4 => (Message::text(json!({"type": value}).to_string()), "invalid_message"),
        5 => (Message::text(json!({"type": "leave", "data": dice.text(9)}).to_string()), "invalid_message"),
        6 => (message(&format!("x{}", dice.text(30)), &json!({})), "unknown_message"),
        7 => (message("join", &json!({"roomId": "h", "userId": dice.text(20)})), "invalid_state"),
        8 => (message("join", &json!({"x": "y".repeat(4_096 + dice.roll(4_096))})), "invalid_join"),
        9 => (message("join", &json!({"roomId": {"a": value}})), "invalid_join"),
        10 => (message("offer", &json!({"sdp": value})), "invalid_offer"),
        11 => (message("offer", &json!({"sdp": spoiled(dice, offer)})), "invalid_offer"),
        12 => (message("answer", &json!({"sdp": [value]})), "invalid_answer"),
        13 => (message("answer", &json!({"sdp": spoiled(dice, offer)})), "invalid_answer"),
        _ => (message("ice-candidate", &json!({"candidate": "c".repeat(1_025)})), "invalid_candidate"),
    }
}

/// The first message of who has not joined, and the code of the error with which that ends.
fn first(dice: &mut Dice) -> (Message, &'static str) {
    match dice.roll(6) {
        0 => (message("answer", &json!({"sdp": "v=0"})), "invalid_state"),
        1 => (message("join", &json!({"roomId": "another"})), "room_mismatch"),
        2 => (message("join", &json!({"roomId": "a b"})), "invalid_join"),
        3 => (message("join", &json!({"userId": "u".repeat(129)})), "invalid_join"),
        4 => (Message::binary(dice.bytes(50)), "invalid_message"),
        _ => (Message::text("x".repeat(513 * 1024)), "invalid_message"),
    }
}

/// Somebody hostile.
struct Hostile(WebSocket<Steady<UnixStream>>);

impl Hostile {
    fn connect(place: &Place, number: usize) -> Hostile {
        let uri = format!("ws://example.com/v1/webrtc/signal?room=h{}", number % 8);
        let mut request = uri.into_client_request().expect("a request");
        let client = format!("2001:db8::{:x}:{:x}", number >> 16, number & 0xFFFF);
        for (field, value) in [("Sec-WebSocket-Protocol", "Bearer, a-token"), ("Neck-Client", &client)] {
            request.headers_mut().insert(field, value.parse().expect("a value"));
        }
        let (socket, _) = tungstenite::client(request, Steady(place.connect())).expect("an upgrade");
        Hostile(socket)
    }

    /// What it is told until this many errors came, or its end; the codes of the errors.
    fn errors(&mut self, most: usize) -> (Vec<String>, bool) {
        let mut codes = Vec::new();
        while codes.len() < most {
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["type"] == "error" {
                        codes.push(message["data"]["code"].as_str().expect("a code").to_owned());
                    }
                }
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_)) => return (codes, true),
                Err(error) => panic!("{error}"),
            }
        }
        (codes, false)
    }
}

/// Codes and how often each came.
type Codes = BTreeMap<String, usize>;

fn counted<'c>(codes: impl IntoIterator<Item = &'c str>) -> Codes {
    codes.into_iter().fold(Codes::new(), |mut all, code| {
        *all.entry(code.to_owned()).or_default() += 1;
        all
    })
}

/// A member that says nothing that it should. What it was told.
fn hostile_member(place: &Place, number: usize, dice: &mut Dice, offer: &str) -> Codes {
    let mut hostile = Hostile::connect(place, number);
    hostile.0.send(message("join", &json!({"userId": "h"}))).expect("sent");
    // One good answer that nobody asked for is an error, a second one the end: there is none here.
    let (messages, expected): (Vec<_>, Vec<_>) = (0..EACH).map(|_| of_a_member(dice, offer)).unzip();
    for message in messages {
        hostile.0.send(message).expect("sent");
    }
    let (codes, ended) = hostile.errors(EACH);
    let told = counted(codes.iter().map(String::as_str));
    assert_eq!(told, counted(expected), "member {number}");
    assert!(!ended, "errors alone end nothing");
    told
}

/// Somebody whose first message is wrong: an error, and the end.
fn hostile_beginner(place: &Place, number: usize, dice: &mut Dice) -> Codes {
    let mut hostile = Hostile::connect(place, number);
    let (message, expected) = first(dice);
    let _ = hostile.0.send(message);
    let (codes, _) = hostile.errors(2);
    assert_eq!(codes, [expected], "beginner {number}");
    counted([expected])
}

/// Bytes that are no WebSocket's, from a client that was granted one or was not.
fn hostile_bytes(place: &Place, number: usize, dice: &mut Dice) {
    let bytes = match dice.roll(4) {
        0 => dice.bytes(2_000),
        // A frame without a mask, one with reserved bits, and one whose length is beyond everything.
        1 => vec![0x81, 5, b'h', b'e', b'l', b'l', b'o'],
        2 => [&[0xF1, 0x80, 1, 2, 3, 4][..], &dice.bytes(40)].concat(),
        _ => vec![0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 0],
    };
    if dice.roll(2) == 0 {
        let _ = place.connect().write_all(&bytes);
        return;
    }
    let mut hostile = Hostile::connect(place, number);
    let _ = hostile.0.get_mut().write_all(&bytes);
    if dice.roll(2) == 0 {
        let _ = hostile.0.get_mut().shutdown(std::net::Shutdown::Write);
        assert!(hostile.errors(2).1, "it ends");
    }
}

/// What looks like STUN, DTLS, RTP, or nothing.
fn datagrams(place: &Place, strangers: &[UdpSocket], dice: &mut Dice) {
    let port = place.media.room_ports()[0];
    for _ in 0..DATAGRAMS {
        let mut datagram = dice.bytes(1_200);
        let first = [0, 1, 20, 22, 23, 64, 128, 129, 200, 255][dice.roll(10)];
        datagram.insert(0, first);
        if first < 2 {
            let length = (datagram.len() as u16).to_be_bytes();
            let head = [first, 1, length[0], length[1], 0x21, 0x12, 0xA4, 0x42];
            datagram.splice(..1, head);
        }
        let _ = strangers[dice.roll(strangers.len())].send_to(&datagram, ("127.0.0.1", port));
    }
}

/// A description of a real client.
fn real_offer() -> String {
    let mut guest = Guest::new("offers", Manners::Naive, LOOPBACK);
    guest.publish(MediaKind::Audio);
    guest.publish(MediaKind::Video);
    match guest.words.pop_front() {
        Some(Word::Offer(offer)) => offer,
        other => panic!("{other:?}"),
    }
}

fn packets(people: &[Person]) -> Vec<u64> {
    let of = |person: &Person| person.guest.seen.heard.values().map(|heard| heard.packets).sum();
    people.iter().map(of).collect()
}

#[test]
fn ten_thousand_hostile_messages_cost_a_neighbours_room_nothing() {
    alone("hostile_frames::ten_thousand_hostile_messages_cost_a_neighbours_room_nothing", ten_thousand);
}

fn ten_thousand() {
    let place = Place::open(|settings| settings.webrtc.threads = 1);
    let mut people = vec![place.guest("anna"), place.guest("bert")];
    until("two talk", &mut people, |people| people.iter().all(|one| one.hears(2)));
    let (mut dice, offer) = (Dice(21), real_offer());
    let strangers: Vec<UdpSocket> =
        (0..4).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    let (begun, mut told, mut sent, mut before) = (Instant::now(), Codes::new(), 0, None);
    let (mut last, mut pause) = (packets(&people), Duration::ZERO);
    let mut moved = Instant::now();
    for number in 0.. {
        if sent >= MESSAGES {
            break;
        }
        let codes = match number % 4 {
            3 => hostile_beginner(&place, number, &mut dice),
            _ => hostile_member(&place, number, &mut dice, &offer),
        };
        sent += codes.values().sum::<usize>();
        codes.into_iter().for_each(|(code, count)| *told.entry(code).or_default() += count);
        hostile_bytes(&place, number + 100_000, &mut dice);
        datagrams(&place, &strangers, &mut dice);
        people.iter_mut().for_each(Person::pump);
        let heard = packets(&people);
        if heard.iter().zip(&last).all(|(now, before)| now > before) {
            pause = pause.max(moved.elapsed());
            (last, moved) = (heard, Instant::now());
        }
        // What is made once is there by now.
        if number == 40 {
            before = Some(resident());
        }
    }
    let grown = resident().saturating_sub(before.unwrap_or_default());
    println!(
        "{sent} in {:?}: {told:?}; {} KiB more, longest pause of the others {pause:?}",
        begun.elapsed(),
        grown / 1024
    );
    let heard = packets(&people);
    until("the others talk on", &mut people, |people| {
        packets(people).iter().zip(&heard).all(|(now, before)| *now > before + 30)
    });
    for person in &people {
        let wrong = ["error", "peer-left", "track-removed", "kicked"];
        let wrong: Vec<_> = wrong.iter().flat_map(|kind| person.heard(kind)).collect();
        assert!(wrong.is_empty() && !person.guest.seen.over, "{}: {wrong:?}", person.guest.name);
    }
    assert!(grown < GROWTH, "{grown} bytes");
    assert_eq!(told.len(), 8, "every kind of error: {told:?}");
    until("nobody of them is left", &mut people, |_| {
        place.counts().members == 2 && place.media.snapshot().peers == 2
    });
}

#[test]
fn who_says_too_much_is_told_so_and_ended() {
    let place = Place::open(|settings| settings.webrtc.threads = 1);
    let mut hostile = Hostile::connect(&place, 2);
    for message in std::iter::once(message("join", &json!({})))
        .chain((0..60).map(|_| message("audio-state", &json!({"enabled": true}))))
    {
        let _ = hostile.0.send(message);
    }
    let (codes, ended) = hostile.errors(2);
    assert!(ended && codes == ["rate_limited"], "{codes:?}, {ended}");
}
