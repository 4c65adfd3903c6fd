//! The client against answers that are made here.

use super::*;
use crate::core::turn::stun_message::{head, sealed, unsealed};

const ID: Transaction = [7; 12];

fn credentials() -> Credentials {
    Credentials { username: "user".into(), password: "pass".into() }
}

/// The key of RFC 8489, 9.2.2's example: user "user", realm "realm", password "pass".
const KEY: [u8; 16] =
    [0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb, 0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb];

fn challenge(method: u16, code: (u8, u8), nonce: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    put(&mut attributes, ERROR_CODE, &[&[0, 0, code.0, code.1][..], b"why"].concat());
    put(&mut attributes, REALM, b"realm");
    put(&mut attributes, NONCE, nonce);
    unsealed(method | ERROR, ID, &attributes)
}

fn granted(method: u16, key: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    let relayed = hidden_address("203.0.113.7:50000".parse().expect("an address"), ID);
    put(&mut attributes, XOR_RELAYED_ADDRESS, &relayed);
    sealed(method | SUCCESS, ID, &attributes, key)
}

fn challenged() -> Client {
    let mut client = Client::new(credentials());
    assert_eq!(client.heard(ID, Ask::Allocate, &challenge(ALLOCATE, (4, 1), b"n1")), Some(Heard::Again));
    client
}

#[test]
fn the_long_term_key_is_that_of_rfc_8489() {
    assert_eq!(long_term_key(&credentials(), b"realm"), KEY);
}

#[test]
fn an_allocation_is_asked_for_bare_and_then_signed() {
    let bare = Client::new(credentials()).request(ID, Ask::Allocate);
    assert_eq!(parts(&bare).map(|(kind, id, _)| (kind, id)), Some((ALLOCATE, ID)));
    assert!(attribute(&bare, USERNAME).is_none() && attribute(&bare, REQUESTED_TRANSPORT).is_some());
    let mut client = challenged();
    let signed = client.request(ID, Ask::Allocate);
    let value = |name| attribute(&signed, name).map(|(_, value)| value);
    assert_eq!(
        (value(USERNAME), value(REALM), value(NONCE)),
        (Some(&b"user"[..]), Some(&b"realm"[..]), Some(&b"n1"[..]))
    );
    assert_eq!(stun_message::has_integrity(&signed, &KEY), Some(true));
    let relayed = Some("203.0.113.7:50000".parse().expect("an address"));
    let heard = client.heard(ID, Ask::Allocate, &granted(ALLOCATE, &KEY));
    assert_eq!(heard, Some(Heard::Granted { relayed, mapped: None }));
    assert!(client.was_challenged());
}

// SPEC turn: Whatever a TURN server says, the client takes it without a panic, takes no success
// without the password's proof, and asks nobody again for ever (fuzz target `turn_client`)
// Also: `a_server_that_always_has_a_new_nonce_is_given_up`,
// `a_stream_is_cut_into_its_messages_however_it_comes`, `a_servers_words_are_shown_as_text_only`,
// `every_input_of_the_corpus_is_taken_without_a_finding`
#[test]
fn a_success_without_the_proof_is_no_answer() {
    let mut client = challenged();
    assert_eq!(client.heard(ID, Ask::Allocate, &granted(ALLOCATE, b"another key")), None);
    assert_eq!(client.heard([8; 12], Ask::Allocate, &granted(ALLOCATE, &KEY)), None, "another request's");
    assert_eq!(client.heard(ID, Ask::Release, &granted(ALLOCATE, &KEY)), None, "another method's");
    assert_eq!(client.heard(ID, Ask::Allocate, &head(ALLOCATE | SUCCESS, ID, 0)), None);
}

#[test]
fn a_refusal_of_signed_requests_is_told_and_a_stale_nonce_is_not() {
    let mut client = challenged();
    assert_eq!(client.heard(ID, Ask::Allocate, &challenge(ALLOCATE, (4, 38), b"n2")), Some(Heard::Again));
    let signed = client.request(ID, Ask::Permit([192, 0, 2, 1].into()));
    assert_eq!(attribute(&signed, NONCE).map(|(_, value)| value), Some(&b"n2"[..]));
    for (code, number) in [((4, 1), 401), ((4, 86), 486), ((5, 8), 508)] {
        match client.heard(ID, Ask::Allocate, &challenge(ALLOCATE, code, b"n3")) {
            Some(Heard::Refused(refusal)) => assert_eq!(refusal, Refusal::new(number, b"why")),
            other => panic!("{number}: {other:?}"),
        }
    }
}

#[test]
fn a_server_that_always_has_a_new_nonce_is_given_up() {
    let mut client = Client::new(credentials());
    let stale = challenge(ALLOCATE, (4, 38), b"n");
    let heard: Vec<_> = (0..5).filter_map(|_| client.heard(ID, Ask::Allocate, &stale)).collect();
    let again = heard.iter().filter(|heard| **heard == Heard::Again).count();
    assert_eq!((heard.len(), again), (5, usize::from(MAX_AGAIN)), "{heard:?}");
}

#[test]
fn packets_go_out_and_come_in_with_their_peer() {
    let peer = "203.0.113.7:50001".parse().expect("an address");
    let mut sent = send(ID, peer, b"ping");
    assert_eq!(data(&sent), None, "what goes out is not what comes in");
    sent[1] = DATA_INDICATION as u8;
    assert_eq!(data(&sent), Some((peer, &b"ping"[..])));
    for cut in 0..sent.len() {
        assert_eq!(data(&sent[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn a_stream_is_cut_into_its_messages_however_it_comes() {
    let messages = [granted(ALLOCATE, &KEY), challenge(REFRESH, (4, 1), b"nonce")];
    let stream = messages.concat();
    for step in 1..stream.len() {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in stream.chunks(step) {
            frames.feed(piece);
            while let Some(message) = frames.take_whole().expect("messages") {
                found.push(message);
            }
        }
        assert_eq!(found, messages, "by {step} bytes");
    }
    for strange in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x46aaaa", b"\x40\x00"] {
        let mut frames = Frames::default();
        frames.feed(strange);
        assert_eq!(frames.take_whole(), Err(BrokenStream), "{strange:?}");
    }
}
