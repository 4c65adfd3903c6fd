//! How fast one address may send requests. Loopback is exempt, so the loop is turned by hand and told other addresses.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;

use hydraneckwebrtc::config::settings::Network;
use hydraneckwebrtc::edge::EdgeConfig;
use hydraneckwebrtc::edge::by_hand::LoopByHand;
use hydraneckwebrtc::edge::router::{Decision, Request, Router};

use crate::support::{Wire, hello, settings};

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
    let config = EdgeConfig { settings, tls: Default::default(), trusted_proxies, pulse: None };
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
