//! Upgraded connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use hydraneckwebrtc::edge::router::{Decision, Forward};
use stand_ins::steady::steady;

use crate::support::{PATIENCE, TestEdge, Tunnels, Wire, forward, upstream};

const OFFER: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn tunnel_edge(
    to: SocketAddr,
    tunnels: &Arc<Tunnels>,
    change: impl FnOnce(&mut hydraneckwebrtc::edge::EdgeConfig),
) -> TestEdge {
    let tunnels = tunnels.clone();
    TestEdge::with(change, move |_| {
        Decision::Forward(Forward { tunnels: Some(tunnels.clone()), ..forward(to) })
    })
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31).wrapping_add(seed) % 251) as u8).collect()
}

fn until_closed(tunnels: &Tunnels) -> (usize, usize) {
    let end = std::time::Instant::now() + PATIENCE;
    while tunnels.closed.load(Ordering::SeqCst) < tunnels.opened.load(Ordering::SeqCst)
        && std::time::Instant::now() < end
    {
        std::thread::yield_now();
    }
    (tunnels.opened.load(Ordering::SeqCst), tunnels.closed.load(Ordering::SeqCst))
}

/// Sends and receives at the same time; then half-closes and reads to the end.
fn exchange(wire: &mut Wire, send: &[u8], expect: usize) -> Vec<u8> {
    let mut writer = wire.stream.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(send).expect("sent");
            writer.shutdown(Shutdown::Write).expect("half closed");
        });
        let got = wire.rest();
        assert_eq!(got.len(), expect);
        got
    })
}

// SPEC 6: WebSocket and any other upgrade is a raw full-duplex tunnel with half-close
// Also: `a_reset_on_one_side_ends_the_other`, `a_refused_or_uninvited_upgrade_is_no_tunnel`,
// `a_silent_half_closed_tunnel_is_ended`,
// `a_tunnel_whose_upstream_died_is_not_counted_until_its_client_notices`,
// `a_silent_stream_is_not_cut`
#[test]
fn ten_megabytes_pass_both_ways_at_once_and_each_half_closes() {
    const LEN: usize = 10 << 20;
    let (sender, receiver) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        let offer = wire.head().expect("an offer");
        assert!(
            offer.contains("Upgrade: websocket\r\n") && offer.contains("Sec-WebSocket-Key: k\r\n"),
            "{offer}"
        );
        // Bytes right behind the head belong to the tunnel.
        wire.send([SWITCH.as_bytes(), b"early"].concat());
        let got = exchange(&mut wire, &pattern(LEN, 7), LEN + 4);
        let _ = sender.send(got);
    });
    let tunnels = Arc::new(Tunnels::default());
    let edge = tunnel_edge(to, &tunnels, |_| {});
    let mut wire = edge.connect();
    wire.send([OFFER.as_bytes(), b"soon"].concat());
    let head = wire.head().expect("a head");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: websocket"), "{head}");
    assert_eq!(wire.exactly(5).as_deref(), Some(&b"early"[..]));
    let down = exchange(&mut wire, &pattern(LEN, 3), LEN);
    assert!(down == pattern(LEN, 7), "what came down is what was sent");
    let up = receiver.recv_timeout(PATIENCE).expect("the upstream's view");
    assert!(up[..4] == *b"soon" && up[4..] == pattern(LEN, 3), "what came up is what was sent");
    assert_eq!(until_closed(&tunnels), (1, 1));
}

#[test]
fn a_silent_half_closed_tunnel_is_ended() {
    let to = upstream(|mut wire, _| {
        wire.head();
        wire.send(SWITCH);
        wire.stream.shutdown(Shutdown::Write).expect("half closed");
        wire.is_closed();
    });
    let tunnels = Arc::new(Tunnels::default());
    let edge =
        tunnel_edge(to, &tunnels, |config| config.settings.tunnel_fin_timeout = Duration::from_millis(100));
    let mut wire = edge.connect();
    wire.send(OFFER);
    wire.head();
    assert!(wire.is_closed(), "the half close arrives");
    assert_eq!(until_closed(&tunnels), (1, 1));
}

#[test]
fn a_tunnel_whose_upstream_died_is_not_counted_until_its_client_notices() {
    let to = upstream(|mut wire, _| {
        wire.head();
        wire.send(SWITCH);
    });
    let tunnels = Arc::new(Tunnels::default());
    let edge = tunnel_edge(to, &tunnels, |_| {});
    let mut wire = edge.connect();
    wire.send(OFFER);
    wire.head();
    assert!(wire.is_closed(), "the end arrives");
    // The client leaves its side open, for up to tunnel_fin_timeout.
    assert_eq!(until_closed(&tunnels), (1, 1));
}

#[test]
fn a_reset_on_one_side_ends_the_other() {
    let (sender, receiver) = mpsc::channel();
    let to = upstream(move |mut wire, _| {
        wire.head();
        wire.send(SWITCH);
        let _ = sender.send(steady(|| wire.stream.read(&mut [0; 1])).map_err(|error| error.kind()));
    });
    let tunnels = Arc::new(Tunnels::default());
    let edge = tunnel_edge(to, &tunnels, |_| {});
    let mut wire = edge.connect();
    wire.send(OFFER);
    wire.head();
    rustix::net::sockopt::set_socket_linger(&wire.stream, Some(Duration::ZERO)).expect("linger");
    drop(wire);
    let seen = receiver.recv_timeout(PATIENCE).expect("an end");
    assert_eq!(seen, Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(until_closed(&tunnels), (1, 1));
}

#[test]
fn stopping_the_edge_closes_tunnels_and_says_so() {
    let to = upstream(|mut wire, _| {
        wire.head();
        wire.send(SWITCH);
        wire.is_closed();
    });
    let tunnels = Arc::new(Tunnels::default());
    let edge = tunnel_edge(to, &tunnels, |_| {});
    let mut wire = edge.connect();
    wire.send(OFFER);
    wire.head();
    drop(edge);
    assert_eq!((tunnels.opened.load(Ordering::SeqCst), tunnels.closed.load(Ordering::SeqCst)), (1, 1));
    assert!(wire.is_closed());
}

#[test]
fn a_refused_or_uninvited_upgrade_is_no_tunnel() {
    let refusing = upstream(|mut wire, _| {
        while wire.request().is_some() {
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let pushy = upstream(|mut wire, _| {
        wire.request();
        wire.send(SWITCH);
    });
    let tunnels = Arc::new(Tunnels::default());
    let edge = tunnel_edge(refusing, &tunnels, |_| {});
    let mut wire = edge.connect();
    wire.send(OFFER);
    let reply = wire.reply();
    assert_eq!((reply.status(), reply.text().as_str()), (403, "no"));
    assert_eq!(wire.get("/").status(), 403, "the connection is kept");
    let edge = TestEdge::to(pushy);
    let mut wire = edge.connect();
    wire.send(OFFER);
    assert_eq!(wire.reply().status(), 502, "an offer that was not passed on cannot be taken");
    assert_eq!(tunnels.opened.load(Ordering::SeqCst), 0);
}
