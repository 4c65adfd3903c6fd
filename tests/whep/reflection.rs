//! Nobody can turn a stream on somebody else: what goes to an address that does not read it is at most three times what came from there,
//! and whoever reads goes on reading.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use hydraneckwebrtc::core::turn::stun_binding;
use hydraneckwebrtc::media::sdp::VideoCodec;
use hydraneckwebrtc::media::transport::datagram;
use stand_ins::steady::steady;

use crate::client::{Client, until};
use crate::generator::Pace;
use crate::spoofer::{Keys, Victim};
use crate::studio::Studio;

const PATIENCE: Duration = Duration::from_secs(20);

/// Connections whose time is measured.
const CONNECTIONS: usize = 20;

fn studio(lite: bool) -> Studio {
    Studio::with(VideoCodec::Vp8, |settings| settings.webrtc.ice_lite = lite)
}

fn keys(client: &mut Client) -> Keys {
    let ufrag = client.credentials().0;
    Keys::of(client.answered(), ufrag)
}

/// Attacks for three seconds, with a break of one.
fn attack(keys: &Keys, victim: &mut Victim, clients: &mut [Client]) {
    let begun = Instant::now();
    until("the attack is over", clients, PATIENCE, |_| {
        let attacks = begun.elapsed() < Duration::from_secs(3);
        if attacks {
            keys.attack(victim, &[]);
        }
        victim.count();
        !attacks && begun.elapsed() > Duration::from_secs(4)
    });
}

// SPEC consent: A nomination from a new address takes nothing from the old one until the new one
// has proved itself; a changed address does so by itself
// Also: `a_viewer_whose_address_changes_has_pictures_again`,
// `sound_comes_back_after_an_ice_restart_from_another_address`,
// `what_is_held_is_the_latest_of_its_address`
#[test]
fn a_victim_gets_no_picture_and_the_viewer_keeps_its_own() {
    for lite in [true, false] {
        let studio = studio(lite);
        let _process = studio.play(Pace::default(), 1);
        let (mut client, _) = studio.viewer();
        let keys = keys(&mut client);
        let mut clients = [client];
        let mut victim = Victim::new(41);
        // It names the victim before it has come itself, and goes on when it sees pictures.
        keys.attack(&mut victim, &[]);
        until("pictures", &mut clients, PATIENCE, |clients| {
            keys.attack(&mut victim, &[]);
            clients[0].seen.frames > 5
        });
        let before = (clients[0].seen.frames, clients[0].seen.bytes);
        attack(&keys, &mut victim, &mut clients);
        victim.judge(&format!("viewer, ICE-lite {lite}"));
        let seen = &clients[0].seen;
        println!(
            "meanwhile {} frames, {} bytes to the viewer",
            seen.frames - before.0,
            seen.bytes - before.1
        );
        assert!(seen.frames - before.0 > 60, "{seen:?}");
        assert_eq!(seen.gaps, 0, "{seen:?}");
    }
}

#[test]
fn a_victim_gets_little_of_a_publisher_and_its_pictures_are_taken() {
    for lite in [true, false] {
        let studio = studio(lite);
        let (mut publisher, _) = studio.publisher().expect("the place");
        let keys = keys(&mut publisher);
        let mut clients = [publisher];
        until("connected", &mut clients, PATIENCE, |clients| clients[0].seen.connected.is_some());
        let mut victim = Victim::new(42);
        let packets = |studio: &Studio| studio.media.snapshot().datagrams_in;
        let before = packets(&studio);
        attack(&keys, &mut victim, &mut clients);
        victim.judge(&format!("publisher, ICE-lite {lite}"));
        assert!(packets(&studio) > before && !clients[0].seen.over, "{:?}", studio.media.snapshot());
    }
}

#[test]
fn a_publisher_that_makes_us_begin_dtls_connects_and_turns_little_on_others() {
    for lite in [true, false] {
        let studio = studio(lite);
        let passive = |text: &str| text.replace("a=setup:actpass", "a=setup:passive");
        let (mut publisher, _) = studio.publisher_over(&[], passive).expect("the place");
        assert!(publisher.answered().contains("a=setup:active"), "{}", publisher.answered());
        let keys = keys(&mut publisher);
        let mut clients = [publisher];
        // Before it has come itself, and while its handshake goes on.
        let mut victim = Victim::new(43);
        keys.attack(&mut victim, &[]);
        until("connected", &mut clients, PATIENCE, |clients| {
            keys.attack(&mut victim, &[]);
            clients[0].seen.connected.is_some()
        });
        attack(&keys, &mut victim, &mut clients);
        victim.judge(&format!("publisher that is the server of DTLS, ICE-lite {lite}"));
        assert!(!clients[0].seen.over, "{:?}", studio.media.snapshot());
    }
}

// SPEC consent: A check from an address that proves itself only then is answered once
#[test]
fn a_check_is_answered_once_though_its_address_proves_itself_only_then() {
    for lite in [true, false] {
        let studio = studio(lite);
        let (mut client, _) = studio.viewer();
        let (keys, pwd) = (keys(&mut client), client.credentials().1);
        let [first, second] = [keys.check(false), keys.check(false)];
        let number = |check: &[u8]| datagram::request_transaction(check).expect("its number");
        let socket = UdpSocket::bind(("127.0.66.60", 0)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket.send_to(&first, keys.server).expect("sent");
        let mut answered = Vec::new();
        while !answered.contains(&number(&second)) {
            let mut room = [0; 2_048];
            let length =
                steady(|| socket.recv(&mut room)).unwrap_or_else(|error| panic!("{error}: {answered:?}"));
            if datagram::is_stun_success(&room[..length]) {
                answered.push(room[8..20].try_into().expect("twelve bytes"));
            } else if let Some(asked) = datagram::request_transaction(&room[..length]) {
                let proof = stun_binding::answer(asked, keys.server, &pwd);
                socket.send_to(&proof, keys.server).expect("sent");
                // What comes in this order on one socket is taken in this order.
                socket.send_to(&second, keys.server).expect("sent");
            }
        }
        let times = answered.iter().filter(|transaction| **transaction == number(&first)).count();
        assert_eq!(times, 1, "ICE-lite {lite}: {answered:?}");
    }
}

#[test]
fn a_viewer_whose_address_changes_has_pictures_again() {
    for lite in [true, false] {
        let studio = studio(lite);
        let _process = studio.play(Pace::default(), 1);
        let mut clients = [studio.viewer().0];
        until("pictures", &mut clients, PATIENCE, |clients| clients[0].seen.frames > 5);
        clients[0].rebind(IpAddr::from([127, 0, 66, 50]));
        let (begun, before) = (Instant::now(), clients[0].seen.frames);
        until("pictures again", &mut clients, 2 * PATIENCE, |clients| clients[0].seen.frames > before);
        println!("another address, ICE-lite {lite}: pictures again after {:?}", begun.elapsed());
    }
}

#[test]
fn a_viewer_sees_a_picture_as_fast_as_its_checks_allow() {
    for lite in [true, false] {
        let studio = studio(lite);
        let _process = studio.play(Pace::default(), 1);
        let mut took = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut clients = [studio.viewer().0];
            let begun = Instant::now();
            until("connected", &mut clients, PATIENCE, |clients| clients[0].seen.connected.is_some());
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let [fast, middle, slow] = [0, CONNECTIONS / 2, CONNECTIONS - 1].map(|at| took[at]);
        println!(
            "from the answer to connected, ICE-lite {lite}: {fast:?}, {middle:?}, {slow:?} (least, median, most)"
        );
        assert!(took[CONNECTIONS / 2] < PATIENCE / 10, "{took:?}");
    }
}
