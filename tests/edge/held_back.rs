//! While more is at hand, the edge lets only whole packets leave; what that holds back leaves as soon as it has to wait.

use std::io::Write;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use hydraneckwebrtc::edge::router::Decision;

use crate::slow::queues;
use crate::support::{PATIENCE, TestEdge, Wire, forward, hello, over_tls, until, upstream};

/// What the edge reads at once: SCRATCH of src/edge/context.rs.
const READ: usize = 128 * 1024;
/// The kernel lets go by itself what was held back, after 200 ms. One of some attempts is faster than that on a busy machine, too.
const AT_ONCE: Duration = Duration::from_millis(100);
const ATTEMPTS: usize = 5;

/// As much of a reply as the edge reads at once; the rest of it never comes.
fn part() -> Vec<u8> {
    let mut part = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * READ).into_bytes();
    part.resize(READ, b'x');
    part
}

/// Says that it was asked, and sends the part when it is told to.
fn serve(mut wire: Wire, asked: &Sender<()>, go: &Receiver<()>) {
    if wire.head().is_some() && asked.send(()).is_ok() && go.recv_timeout(PATIENCE).is_ok() {
        wire.stream.write_all(&part()).expect("sent");
        // The edge closes first.
        let _ = wire.rest();
    }
}

#[test]
fn what_was_read_leaves_at_once_though_the_rest_does_not_come() {
    // The test's own TLS reads ahead.
    if over_tls() {
        return;
    }
    let (go, may_send) = bounded(1);
    let (stuck, is_stuck) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let (asked, was_asked) = bounded(1);
    let to = upstream(move |wire, _| serve(wire, &asked, &may_send));
    let edge = TestEdge::with(
        |config| config.settings.threads = 1,
        move |request| {
            if request.path == "/stuck" {
                // Holds up the only loop until a whole read waits for it.
                stuck.send(()).expect("a listener");
                released.recv_timeout(PATIENCE).expect("a release");
                return hello();
            }
            Decision::Forward(forward(to))
        },
    );
    let mut fastest = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let (mut reader, mut other) = (edge.connect(), edge.connect());
        reader.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        was_asked.recv_timeout(PATIENCE).expect("the upstream has the request");
        other.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
        is_stuck.recv_timeout(PATIENCE).expect("the loop stands");
        go.send(()).expect("the upstream");
        until("all of the part waits for the edge", || {
            queues(|_, remote| remote == to.port()).is_some_and(|(_, unread)| unread == READ as u64)
        });
        let begun = Instant::now();
        release.send(()).expect("the loop");
        let head = reader.head().expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body = part().iter().filter(|byte| **byte == b'x').count();
        reader.exactly(body).expect("the part");
        fastest = fastest.min(begun.elapsed());
        assert_eq!(other.reply().text(), "hello");
        drop(reader);
        until("the edge let go of the upstream", || queues(|_, remote| remote == to.port()).is_none());
    }
    println!("the fastest part came in {fastest:?}");
    assert!(fastest < AT_ONCE, "the fastest of {ATTEMPTS} took {fastest:?}");
}
