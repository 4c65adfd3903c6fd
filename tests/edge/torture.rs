//! Clients and upstreams that misbehave at random, many at once; the seed is printed on failure.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydraneckwebrtc::edge::router::{Decision, Forward, Injection};

use crate::support::{
    TestEdge, Tunnels, Wire, alone, count_descriptors, forward, settled_descriptors, upstream,
};

/// xorshift64: good enough to choose.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn reset(wire: &Wire) {
    let _ = rustix::net::sockopt::set_socket_linger(&wire.stream, Some(Duration::ZERO));
}

/// Serves requests; the path says how.
fn capricious(mut wire: Wire, number: usize) {
    let mut dice = Dice(number as u64 * 7919 + 1);
    while let Some(head) = wire.head() {
        let send_body = |wire: &mut Wire, framing: &str, body: &[u8]| {
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{framing}\r\n\r\n"));
            wire.send(body);
        };
        match dice.roll(9) {
            0 => send_body(&mut wire, "Content-Length: 100000", &[b'x'; 100_000]),
            1 => send_body(&mut wire, "Content-Length: 100000", &[b'x'; 5000]),
            2 => send_body(&mut wire, "Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
            3 => send_body(&mut wire, "Transfer-Encoding: chunked", b"3\r\nabcXX"),
            4 => return send_body(&mut wire, "X: y", b"until close"),
            5 => return reset(&wire),
            // Often enough that no run is without a tunnel.
            6..=8 if head.contains("Upgrade: ") => {
                wire.send("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n");
                while let Some(byte) = wire.byte() {
                    wire.send([byte]);
                }
                return;
            }
            6 => wire.send("garbage\r\n\r\n"),
            _ => send_body(&mut wire, "Content-Length: 3", b"abc"),
        }
    }
}

fn misbehave(edge: &TestEdge, dice: &mut Dice) {
    let mut wire = edge.connect();
    for _ in 0..=dice.roll(3) {
        let request: &[u8] = match dice.roll(7) {
            0 => b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
            1 => b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
            2 => {
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET"
            }
            3 => b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\nhello",
            4 => b"GET / HTTP/1.0\r\n\r\n",
            5 => b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n",
            _ => b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
        };
        let cut = if dice.roll(4) == 0 { dice.roll(request.len() as u64) as usize } else { request.len() };
        let _ = wire.stream.write_all(&request[..cut]);
        match dice.roll(4) {
            0 => return reset(&wire),
            1 => {
                let _ = wire.stream.shutdown(Shutdown::Write);
            }
            _ => {}
        }
        wire.stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a live socket");
        let mut part = [0; 20_000];
        let _ = std::io::Read::read(&mut wire.stream, &mut part);
    }
}

#[test]
fn misbehaviour_leaves_nothing_behind_and_others_are_served() {
    if !alone("torture::misbehaviour_leaves_nothing_behind_and_others_are_served") {
        return;
    }
    let to = upstream(capricious);
    let steady = crate::support::echo();
    let before = count_descriptors();
    let tunnels = Arc::new(Tunnels::default());
    let watch = tunnels.clone();
    let edge = TestEdge::with(
        |config| config.settings.tunnel_fin_timeout = Duration::from_millis(50),
        move |request| {
            let upstream = if request.path == "/steady" { steady } else { to };
            let inject = Some(Injection { tag: "<script>".into(), version: "1".into() });
            Decision::Forward(Forward { inject, tunnels: Some(watch.clone()), ..forward(upstream) })
        },
    );
    std::thread::scope(|scope| {
        for seed in 1..=4u64 {
            let edge = &edge;
            scope.spawn(move || {
                let mut dice = Dice(seed * 0x9E37_79B9);
                for round in 0..150 {
                    misbehave(edge, &mut dice);
                    let reply = edge.connect().get("/steady");
                    assert_eq!(reply.status(), 200, "seed {seed}, round {round}: {reply:?}");
                }
            });
        }
    });
    drop(edge);
    let (opened, closed) = (tunnels.opened.load(Ordering::SeqCst), tunnels.closed.load(Ordering::SeqCst));
    assert!(opened > 0 && opened == closed, "{opened} tunnels opened, {closed} closed");
    assert_eq!(settled_descriptors(before), before);
}
