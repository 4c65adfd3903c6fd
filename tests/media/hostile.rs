//! Datagrams of strangers at the media port while a microphone is live: nothing happens to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::json;
use stand_ins::steady::steady;
use str0m::ice::{StunMessage, TransId};

use crate::browser::{Browser, sound};
use crate::lab::eventually;
use crate::studio::{PATIENCE, Studio};

/// Bytes that look random, the same each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// A studio, a browser that is heard, and where the media port is.
fn live() -> (Studio, Browser, SocketAddr) {
    let studio = Studio::new(json!({}));
    let mut browser = studio.connected("127.0.0.1");
    studio.assert_heard(&mut browser);
    let port = browser.sent.last().expect("something was sent").0;
    (studio, browser, port)
}

/// The microphone still works, and nothing came to the body but what it says.
fn assert_untouched(studio: &Studio, browser: &mut Browser) {
    assert_eq!(studio.listen(Duration::from_millis(50)), None, "something came to the body");
    browser.say(2, 0);
    for number in 3..5 {
        let heard = studio.hear(browser);
        assert_eq!((&heard.payload, u64::from(heard.sequence())), (&sound(number), number));
    }
    assert_eq!(studio.state(), "live");
}

fn wait_for(studio: &Studio, counter: &str, at_least: u64) {
    eventually(&format!("{counter} is at least {at_least}: {}", studio.media()), || {
        (studio.counter(counter) >= at_least).then_some(())
    });
}

// SPEC 7: Garbage, replayed and spoofed datagrams do nothing to a live microphone; counters move,
// the log does not
// Also: `what_the_browser_sent_does_nothing_when_it_comes_again`,
// `a_check_without_the_password_is_nobodys`, `garbage_on_a_connection_ends_that_connection`
#[test]
fn garbage_moves_counters_and_nothing_else() {
    let (studio, mut browser, port) = live();
    let before = studio.worker.log_text().lines().count();
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for number in 0..3_000u64 {
        let mut bytes = noise(number, 1 + usize::try_from(number % 1_300).expect("small"));
        bytes[0] = match number % 5 {
            0 => 128,
            1 => 22,
            2 => 0,
            3 => 64,
            _ => bytes[0],
        };
        stranger.send_to(&bytes, port).expect("sent");
        if number % 100 == 0 {
            browser.step();
        }
    }
    wait_for(&studio, "unknown", 800);
    wait_for(&studio, "bad", 800);
    assert_untouched(&studio, &mut browser);
    let lines = studio.worker.log_text().lines().count() - before;
    println!("{} {lines} lines", studio.media());
    assert!(lines < 20, "{}", studio.worker.log_text());
}

#[test]
fn what_the_browser_sent_does_nothing_when_it_comes_again() {
    let (studio, mut browser, _) = live();
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let sent = browser.sent.clone();
    let media = sent.iter().filter(|(_, bytes)| bytes[0] >= 128 && bytes[1] & 0x7f >= 96).count() as u64;
    assert!(media >= 3);
    for (to, bytes) in &sent {
        browser.socket.send_to(bytes, to).expect("sent");
        stranger.send_to(bytes, to).expect("sent");
    }
    wait_for(&studio, "refused", media);
    assert_untouched(&studio, &mut browser);
}

#[test]
fn garbage_on_a_connection_ends_that_connection() {
    let studio = Studio::new(json!({"tcpmux": "any"}));
    let (mut browser, answer) = studio.answered("127.0.0.1");
    browser.connect_by_tcp(&answer);
    studio.connect(&mut browser);
    studio.assert_heard(&mut browser);
    let to = browser.connected_to().expect("a connection");
    let endless = [&[0xff; 2][..], &[7; 600]].concat();
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[0, 3, 1, 2, 3], &[0, 4, 128, 111, 0, 1], &endless]
    {
        let mut stranger = TcpStream::connect(to).expect("a connection");
        stranger.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stranger.write_all(garbage).expect("sent");
        let closed = steady(|| stranger.read(&mut [0; 10]));
        assert!(
            matches!(closed, Ok(0)) || closed.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    assert_eq!(studio.listen(Duration::from_millis(50)), None, "something came to the body");
    browser.say(1, 0);
    assert_eq!(studio.hear(&mut browser).payload, sound(3));
}

/// A connection from this address of loopback.
fn connection_from(ip: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((ip, 0)).into()).expect("an address");
    socket.connect(&to.into()).expect("a connection");
    socket.into()
}

#[test]
fn connections_of_one_address_do_not_push_out_anothers() {
    let studio = Studio::new(json!({"tcpmux": "any", "threads": 1}));
    let (mut browser, answer) = studio.answered("127.0.0.1");
    browser.connect_by_tcp(&answer);
    let to = browser.connected_to().expect("a connection");
    // More than a thread keeps of nobody's, while the browser has not said anything yet.
    let strangers: Vec<TcpStream> = (0..300).map(|_| connection_from([127, 0, 0, 2], to)).collect();
    eventually(&format!("they are seen: {}", studio.media()), || {
        (studio.counter("tcp_accepted") >= 301).then_some(())
    });
    studio.connect(&mut browser);
    studio.assert_heard(&mut browser);
    println!("{}", studio.media());
    wait_for(&studio, "tcp_refused", 300 - 32);
    drop(strangers);
}

#[test]
fn a_check_without_the_password_is_nobodys() {
    let (studio, mut browser, port) = live();
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let creds = browser.rtc.direct_api().local_ice_credentials();
    for password in [creds.pass.as_str(), "wrong"] {
        for _ in 0..50 {
            let forged = check(&format!("{}:{}", browser.remote_ufrag, creds.ufrag), password);
            stranger.send_to(&forged, port).expect("sent");
            // From the browser's own address too, as one who can forge that.
            browser.socket.send_to(&forged, port).expect("sent");
        }
    }
    wait_for(&studio, "spoofed", 200);
    assert_untouched(&studio, &mut browser);
    stranger.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
    assert!(stranger.recv_from(&mut [0; 100]).is_err(), "a stranger is answered");
}

/// A check with a name and a password.
fn check(name: &str, password: &str) -> Vec<u8> {
    let message = StunMessage::binding_request(name, TransId::new(), true, 7, 1_853_824_767, true);
    let mut bytes = vec![0; 500];
    let hmac = |key: &[u8], parts: &[&[u8]]| -> [u8; 20] {
        str0m::crypto::from_feature_flags().sha1_hmac_provider.sha1_hmac(key, parts)
    };
    let length = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac).expect("a message");
    bytes.truncate(length);
    bytes
}
