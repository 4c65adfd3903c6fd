//! Deadlines and caps, with short settings.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use hydraneckwebrtc::edge::router::Decision;

use crate::support::{TestEdge, Wire, forward, hello, silent, upstream};

const SHORT: Duration = Duration::from_millis(150);

/// Where whoever has to speak in time must: far longer than a busy machine keeps a thread waiting.
const HALTING: Duration = Duration::from_secs(1);

// SPEC 6: Each deadline and cap holds
// Also: `silence_after_connecting_is_closed_without_a_word`, `an_idle_connection_is_closed`,
// `a_body_that_stops_gets_408`, `an_upstream_that_cannot_be_connected_to_in_time_is_504`,
// `an_upstream_that_does_not_reply_in_time_is_504`, `a_client_that_takes_nothing_is_dropped`,
// `too_large_bodies_are_413_in_both_framings`,
// `after_a_body_that_is_too_large_in_its_last_part_the_connection_ends`,
// `connections_over_the_cap_get_503_and_places_are_given_back`,
// `a_connection_serves_a_bounded_number_of_requests`, `a_handshake_that_takes_too_long_is_cut`,
// `an_idle_upstream_connection_is_closed_in_time`, `a_silent_half_closed_tunnel_is_ended`
#[test]
fn a_slow_head_gets_408_however_it_drips() {
    let edge = TestEdge::with(|config| config.settings.header_timeout = SHORT, |_| hello());
    let mut wire = edge.connect();
    let started = std::time::Instant::now();
    for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
        wire.send([*byte]);
        std::thread::sleep(Duration::from_millis(10));
        if started.elapsed() > 2 * SHORT {
            break;
        }
    }
    assert_eq!(wire.reply().status(), 408);
}

#[test]
fn silence_after_connecting_is_closed_without_a_word() {
    let edge = TestEdge::with(|config| config.settings.header_timeout = SHORT, |_| hello());
    assert!(edge.connect().is_closed());
}

#[test]
fn an_idle_connection_is_closed() {
    let edge = TestEdge::with(|config| config.settings.keepalive_timeout = SHORT, |_| hello());
    let mut wire = edge.connect();
    assert_eq!(wire.get("/").text(), "hello");
    assert!(wire.is_closed());
}

#[test]
fn a_body_that_stops_gets_408() {
    let to = upstream(|mut wire, _| {
        wire.head();
        wire.rest();
    });
    let edge = TestEdge::with(
        |config| config.settings.body_idle_timeout = SHORT,
        move |_| Decision::Forward(forward(to)),
    );
    let mut wire = edge.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(wire.reply().status(), 408);
}

#[test]
fn an_upstream_that_does_not_reply_in_time_is_504() {
    let to = upstream(|mut wire, _| {
        wire.request();
        wire.rest();
    });
    let edge = TestEdge::with(
        |config| config.settings.upstream_head_timeout = SHORT,
        move |_| Decision::Forward(forward(to)),
    );
    let mut wire = edge.connect();
    assert_eq!(wire.get("/").status(), 504);
}

#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let to = upstream(move |mut wire, _| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let part = vec![b'x'; 1 << 16];
        while std::io::Write::write_all(&mut wire.stream, &part).is_ok() {}
        let _ = sender.send(());
    });
    let edge = TestEdge::with(
        |config| config.settings.send_idle_timeout = SHORT,
        move |_| Decision::Forward(forward(to)),
    );
    let mut wire = edge.connect();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(receiver.recv_timeout(crate::support::PATIENCE), Ok(()), "the upstream is freed");
}

#[test]
fn a_silent_stream_is_not_cut() {
    let to = upstream(|mut wire, _| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        std::thread::sleep(2 * HALTING);
        wire.send("1\r\nb\r\n0\r\n\r\n");
    });
    let edge = TestEdge::with(
        |config| {
            let settings = &mut config.settings;
            settings.header_timeout = HALTING;
            settings.keepalive_timeout = HALTING;
            settings.body_idle_timeout = HALTING;
            settings.send_idle_timeout = HALTING;
            settings.upstream_head_timeout = HALTING;
        },
        move |_| Decision::Forward(forward(to)),
    );
    let reply = edge.connect().get("/");
    assert!(reply.complete && reply.body == b"ab", "{reply:?}");
}

#[test]
fn a_connection_serves_a_bounded_number_of_requests() {
    let edge = TestEdge::with(|config| config.settings.requests_per_connection = 2, |_| hello());
    let mut wire = edge.connect();
    assert_eq!(wire.get("/").field("Connection"), None);
    assert_eq!(wire.get("/").field("Connection"), Some("close"));
    assert!(wire.is_closed());
}

/// An edge for one connection and the reserve of 16 for loopback; what asks for `/held` has a request under way until it closes.
fn full_of(held: usize) -> (TestEdge, Vec<Wire>, Receiver<()>) {
    let (address, hears) = silent();
    let edge = TestEdge::with(
        |config| config.settings.max_connections = 1,
        move |request| if request.path == "/held" { Decision::Forward(forward(address)) } else { hello() },
    );
    let mut wires: Vec<_> = (0..held).map(|_| edge.connect()).collect();
    for wire in &mut wires {
        wire.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        hears.recv_timeout(crate::support::PATIENCE).expect("the request is under way");
    }
    (edge, wires, hears)
}

#[test]
fn connections_over_the_cap_get_503_and_places_are_given_back() {
    let (edge, wires, _) = full_of(17);
    let mut over = edge.connect();
    let reply = over.reply();
    assert_eq!((reply.status(), reply.field("Retry-After")), (503, Some("1")), "{reply:?}");
    assert!(over.is_closed());
    drop(wires);
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while edge.connect().get("/").status() != 200 {
        assert!(std::time::Instant::now() < end, "places are given back");
    }
}

// SPEC 6: When the cap is met a connection without a request under way gives its place to a new
// one; who has one under way is never cut for it; tunnels and event streams leave a quarter of the
// edge to others
// Also: `who_needs_a_seat_least_gives_it_up_first_and_who_is_busy_never`,
// `of_those_alike_one_of_the_network_that_holds_most_goes`, `nobody_is_pushed_out_in_vain`,
// `a_stranger_on_trial_with_a_request_takes_the_place_of_one_without`,
// `whoever_leaves_takes_no_place_from_others`, `what_lasts_leaves_a_quarter_to_what_is_over_soon`
#[test]
fn when_the_cap_is_met_who_has_no_request_under_way_gives_way() {
    let (edge, held, hears) = full_of(14);
    let mut idle = edge.connect();
    assert_eq!(idle.get("/").status(), 200);
    let mut half = edge.connect();
    assert_eq!(half.get("/").status(), 200);
    half.send("GET / HTTP/1.1\r\nHost:");
    let mut slow = edge.connect();
    slow.send("POST /held HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    assert!(slow.head().is_some_and(|head| head.starts_with("HTTP/1.1 100 ")), "it is asked for its body");
    let mut new: Vec<Wire> = Vec::new();
    for _ in 0..3 {
        let mut wire = edge.connect();
        wire.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        hears.recv_timeout(crate::support::PATIENCE).expect("the new request is under way");
        new.push(wire);
    }
    // In which order they go depends on the millisecond each began in (`edge::seats` has the rule and its tests).
    for gives_way in [&mut idle, &mut half, &mut slow] {
        let last_words = gives_way.reply();
        assert!(gives_way.is_closed(), "{last_words:?}");
    }
    let mut over = edge.connect();
    assert_eq!(over.reply().status(), 503, "all others have requests under way");
    drop((held, new));
}

#[test]
fn an_upstream_that_cannot_be_connected_to_in_time_is_504() {
    // A full backlog that nobody takes from: further connections are not answered.
    let (family, kind) = (rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM);
    let fd =
        rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None).expect("a socket");
    rustix::net::bind(&fd, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    rustix::net::listen(&fd, 0).expect("listening");
    let listener = TcpListener::from(fd);
    let to = listener.local_addr().expect("an address");
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&to, SHORT) {
        filling.push(stream);
    }
    let edge = TestEdge::with(
        |config| config.settings.upstream_connect_timeout = SHORT,
        move |_| Decision::Forward(forward(to)),
    );
    assert_eq!(edge.connect().get("/").status(), 504, "{} wait to be accepted", filling.len());
}
