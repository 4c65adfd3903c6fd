//! How fast one address may send requests. Loopback is exempt, so the loop is turned by hand and told other addresses.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;

use hydraneckwebrtc::config::settings::Network;
use hydraneckwebrtc::edge::EdgeConfig;
use hydraneckwebrtc::edge::reply::Reply;
use hydraneckwebrtc::edge::router::{Decision, Request, Router};
use hydraneckwebrtc::edge::test_loop::LoopByHand;

use crate::support::{Message, Wire, hello, settings};

/// More than ten seconds' worth at one a second, and more than come back while the test runs.
const REQUESTS: usize = 50;

struct Hello;

impl Router for Hello {
    fn route(&self, _: &Request<'_>) -> Decision {
        hello()
    }
}

fn one_a_second(trusted_proxies: Vec<Network>) -> LoopByHand {
    let mut settings = settings();
    settings.rate_limit_per_address = 1;
    let config = EdgeConfig {
        settings,
        tls: Default::default(),
        trusted_proxies,
        pulse: None,
        counters: Default::default(),
    };
    LoopByHand::new(config, Arc::new(Hello)).expect("a loop")
}

/// A client of this address asks many times on one connection; the statuses, and the last reply's Retry-After.
fn ask(edge: &mut LoopByHand, peer: [u8; 4]) -> (Vec<u16>, Option<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let far = listener.accept().expect("accepted").0;
    far.set_nonblocking(true).expect("a live socket");
    edge.adopt(far.into(), IpAddr::from(peer));
    let mut wire = Wire::new(near);
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(REQUESTS));
    assert!(edge.settle().expect("epoll works"), "it comes to rest");
    let replies: Vec<_> = (0..REQUESTS).map(|_| wire.reply()).collect();
    let wait = replies.last().and_then(|reply| reply.field("Retry-After").map(str::to_owned));
    (replies.iter().map(|reply| reply.status()).collect(), wait)
}

// SPEC 6: Requests per address and per session are limited: 429 and when to come back; trusted
// proxies and loopback are exempt from the first
// Also: `loopback_and_trusted_proxies_may_ask_as_fast_as_they_like`,
// `all_of_an_ipv6_network_is_one_address_and_zero_is_no_limit`,
// `a_session_that_is_asked_too_fast_answers_429_and_when_to_come_back`,
// `a_rate_per_second_gives_that_many_and_ten_seconds_worth_at_once`
#[test]
fn an_address_that_asks_too_fast_gets_429_and_a_time_to_come_back() {
    let mut edge = one_a_second(Vec::new());
    let (statuses, wait) = ask(&mut edge, [192, 0, 2, 1]);
    assert!(statuses[..10].iter().all(|status| *status == 200), "ten seconds' worth: {statuses:?}");
    assert_eq!((statuses.last(), wait.as_deref()), (Some(&429), Some("1")), "{statuses:?}");
    let (others, _) = ask(&mut edge, [192, 0, 2, 2]);
    assert_eq!(others[..10], [200; 10], "another address is not held up");
    let (again, _) = ask(&mut edge, [192, 0, 2, 1]);
    assert_eq!(again.last(), Some(&429), "a new connection of the same address does not help: {again:?}");
}

#[test]
fn loopback_and_trusted_proxies_may_ask_as_fast_as_they_like() {
    let mut edge = one_a_second(vec![Network { address: [192, 0, 2, 0].into(), prefix: 24 }]);
    for peer in [[127, 0, 0, 1], [192, 0, 2, 9]] {
        assert_eq!(ask(&mut edge, peer).0, [200; REQUESTS], "{peer:?}");
    }
}

/// Believes this proof, and says who asked.
struct Behind;

impl Router for Behind {
    fn route(&self, request: &Request<'_>) -> Decision {
        Decision::Reply(Reply::html(200, format!("{} {:?}", request.peer, request.network)))
    }

    fn is_proof(&self, proof: &str) -> bool {
        proof == "good"
    }
}

fn behind() -> LoopByHand {
    let mut settings = settings();
    (settings.max_connections, settings.max_connections_per_address) = (1_000, 8);
    settings.rate_limit_per_address = 1;
    let config = EdgeConfig {
        settings,
        tls: Default::default(),
        trusted_proxies: Vec::new(),
        pulse: None,
        counters: Default::default(),
    };
    LoopByHand::new(config, Arc::new(Behind)).expect("a loop")
}

/// A connection from there that asks once with these fields, and stays open.
fn ask_once(edge: &mut LoopByHand, peer: [u8; 4], fields: &str) -> (Wire, Message) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let far = listener.accept().expect("accepted").0;
    far.set_nonblocking(true).expect("a live socket");
    edge.adopt(far.into(), IpAddr::from(peer));
    let mut wire = Wire::new(near);
    wire.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert!(edge.settle().expect("epoll works"), "it comes to rest");
    let reply = wire.reply();
    (wire, reply)
}

// SPEC shares: A worker knows its controller by a proof of the shared token: its clients' addresses
// are the keys, its connections count for no address
// Also: `connections_of_our_controller_count_for_no_address`,
// `a_proof_is_an_hmac_over_label_and_worker`, `a_proof_is_for_one_worker_and_one_token`,
// `a_field_is_read_as_it_was_written_and_nothing_else_is`, `a_proof_prints_masked`,
// `a_client_that_was_named_already_is_not_named_twice`
#[test]
fn a_proved_controllers_connections_count_for_its_clients_and_not_for_itself() {
    let (mut edge, mut open) = (behind(), Vec::new());
    for number in 0..300u16 {
        let client = format!("10.0.{}.{}", number / 100, number % 100);
        let fields = format!("Neck-Forwarded: for={client};proof=good\r\nX-Forwarded-For: {client}\r\n");
        let (wire, reply) = ask_once(&mut edge, [192, 0, 2, 1], &fields);
        assert_eq!((reply.status(), reply.text()), (200, format!("{client} Some({client})")), "{number}");
        open.push(wire);
    }
    let one = "Neck-Forwarded: for=10.9.9.9;proof=good\r\n";
    let statuses: Vec<u16> = (0..20).map(|_| ask_once(&mut edge, [192, 0, 2, 1], one).1.status()).collect();
    assert_eq!(statuses[..10], [200; 10]);
    assert_eq!(statuses.last(), Some(&429), "the client behind it has its own rate: {statuses:?}");
}

#[test]
fn a_forged_proof_leaves_the_connection_to_its_own_address() {
    let (mut edge, mut open) = (behind(), Vec::new());
    let mut statuses = Vec::new();
    for number in 0..12 {
        let fields =
            format!("Neck-Forwarded: for=10.0.0.{number};proof=bad\r\nX-Forwarded-For: 10.0.0.{number}\r\n");
        let (wire, reply) = ask_once(&mut edge, [192, 0, 2, 1], &fields);
        if reply.status() == 200 {
            assert_eq!(reply.text(), "192.0.2.1 Some(192.0.2.1)");
        } else {
            assert!(reply.text().contains("edge.max_connections_per_address"), "{}", reply.text());
        }
        statuses.push(reply.status());
        open.push(wire);
    }
    assert_eq!(statuses, [[200; 8].as_slice(), &[429; 4]].concat());
}
