//! Upstreams that die, say nothing, or say something else than they should: the client gets the right status, or an end that
//! it cannot take for the reply's; nothing hangs, nothing is left open.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydraneckwebrtc::edge::router::{Decision, Forward};

use crate::support::{
    Message, TestEdge, Tunnels, Wire, alone, count_descriptors, forward, over_tls, settled_descriptors,
    upstream,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OFFER: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const LENGTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin";
const CHUNKS: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n";

/// What a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A complete reply of ours with this status.
    Status(u16),
    /// No more than this of a body, and then an end that is not the reply's.
    Part(&'static str),
    /// A complete reply of the upstream's.
    Whole(&'static str),
    /// An upgrade, these bytes, the end.
    Tunnel(&'static str),
}

/// One way to fail: the request, what the upstream does once it has read its head, and what the client sees.
type Failure = (&'static str, &'static str, fn(&mut Wire), Seen);

fn failures() -> Vec<Failure> {
    use Seen::{Part, Status, Tunnel, Whole};
    vec![
        ("closes without a word", GET, |_| {}, Status(502)),
        ("resets", GET, reset, Status(502)),
        ("never answers", GET, |wire| drop(wire.rest()), Status(504)),
        ("answers garbage", GET, |wire| wire.send("\0\u{1}garbage\r\n\r\n"), Status(502)),
        ("closes within the head", GET, |wire| wire.send("HTTP/1.1 200 OK\r\nContent-Len"), Status(502)),
        ("never ends its head", GET, endless_head, Status(502)),
        (
            "says two lengths",
            GET,
            |wire| wire.send(head("Content-Length: 1\r\nContent-Length: 2", "ab")),
            Status(502),
        ),
        ("sends interim replies without end", GET, interim_replies, Status(502)),
        ("closes within a body", GET, |wire| wire.send(sized(10, "half")), Part("half")),
        (
            "resets within a body",
            GET,
            |wire| {
                wire.send(sized(10, "half"));
                reset(wire)
            },
            Part("half"),
        ),
        ("closes within a chunk", GET, |wire| wire.send(chunked("4\r\nhalf\r\n5\r\nx")), Part("halfx")),
        ("closes before the last chunk", GET, |wire| wire.send(chunked("4\r\nhalf\r\n")), Part("half")),
        ("sends a chunk without a size", GET, |wire| wire.send(chunked("4\r\nhalf\r\nzz\r\n")), Part("half")),
        ("sends more than it said", GET, |wire| wire.send(sized(5, "wholemore")), Whole("whole")),
        ("answers twice", GET, |wire| wire.send(sized(5, "first") + &sized(6, "second")), Whole("first")),
        (
            "goes on after the last chunk",
            GET,
            |wire| wire.send(chunked("5\r\nwhole\r\n0\r\n\r\nmore")),
            Whole("whole"),
        ),
        ("sends a body with 204", GET, |wire| wire.send("HTTP/1.1 204 No\r\n\r\nbody"), Whole("")),
        ("closes within a request of known length", LENGTH, |wire| drop(wire.exactly(5)), Status(502)),
        ("closes within a request in chunks", CHUNKS, |wire| drop(wire.exactly(5)), Status(502)),
        ("resets within a request", LENGTH, reset, Status(502)),
        ("closes within the head of a tunnel", OFFER, |wire| wire.send("HTTP/1.1 101 S\r\nUp"), Status(502)),
        ("closes a tunnel", OFFER, |wire| wire.send([SWITCH, "bytes"].concat()), Tunnel("bytes")),
        (
            "resets a tunnel",
            OFFER,
            |wire| {
                wire.send([SWITCH, "bytes"].concat());
                reset(wire)
            },
            Tunnel("bytes"),
        ),
    ]
}

fn head(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")
}

fn sized(length: usize, body: &str) -> String {
    head(&format!("Content-Length: {length}"), body)
}

fn chunked(body: &str) -> String {
    head("Transfer-Encoding: chunked", body)
}

/// Closing sends RST from now on.
fn reset(wire: &mut Wire) {
    let _ = rustix::net::sockopt::set_socket_linger(&wire.stream, Some(Duration::ZERO));
}

fn endless_head(wire: &mut Wire) {
    wire.send("HTTP/1.1 200 OK\r\n");
    let field = format!("X: {}\r\n", "y".repeat(1000));
    wire.send(field.repeat(100));
    wire.rest();
}

fn interim_replies(wire: &mut Wire) {
    wire.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20));
    wire.rest();
}

/// The final reply; interim ones are not looked at.
fn final_reply(wire: &mut Wire) -> Message {
    loop {
        let reply = wire.reply();
        if !matches!(reply.status(), 102..=199) {
            return reply;
        }
    }
}

/// Complains when the client sees something else.
fn check(name: &str, wire: &mut Wire, request: &str, wanted: Seen) {
    wire.send(request);
    match wanted {
        Seen::Status(status) => {
            let reply = final_reply(wire);
            assert_eq!((reply.status(), reply.complete), (status, true), "{name}: {reply:?}");
            assert_eq!(reply.field("Cache-Control"), Some("no-store"), "{name}: {reply:?}");
        }
        Seen::Whole(body) => {
            let reply = wire.reply();
            assert_eq!((reply.text().as_str(), reply.complete), (body, true), "{name}: {reply:?}");
        }
        Seen::Part(body) => {
            let reply = wire.reply();
            assert!(!reply.complete && body.starts_with(&reply.text()), "{name}: {reply:?}");
            assert!(wire.is_closed(), "{name}: closed after {reply:?}");
        }
        Seen::Tunnel(bytes) => {
            let reply = wire.reply();
            assert_eq!(reply.status(), 101, "{name}: {reply:?}");
            let rest = wire.rest();
            assert!(bytes.as_bytes().starts_with(&rest), "{name}: {rest:?}");
        }
    }
}

fn edge_for(to: SocketAddr, wanted: Seen, tunnels: &Arc<Tunnels>) -> TestEdge {
    let tunnels = tunnels.clone();
    TestEdge::with(
        |config| {
            config.settings.threads = 1;
            if wanted == Seen::Status(504) {
                config.settings.upstream_head_timeout = Duration::from_millis(200);
            }
        },
        move |_| Decision::Forward(Forward { tunnels: Some(tunnels.clone()), ..forward(to) }),
    )
}

/// Every failure several times, on one client connection where that goes on.
fn all_failures() {
    let tunnels = Arc::new(Tunnels::default());
    let upstreams: Vec<_> = failures()
        .into_iter()
        .map(|(name, request, script, wanted)| {
            let to = upstream(move |mut wire, _| {
                if wire.head().is_some() {
                    script(&mut wire);
                }
            });
            (name, request, wanted, to)
        })
        .collect();
    let before = count_descriptors();
    for (name, request, wanted, to) in upstreams {
        let edge = edge_for(to, wanted, &tunnels);
        let mut kept = edge.connect();
        for round in 0..3 {
            let goes_on = request == GET && matches!(wanted, Seen::Status(_) | Seen::Whole(_));
            let name = format!("{name}, round {round}");
            if goes_on {
                check(&name, &mut kept, request, wanted);
            } else {
                check(&name, &mut edge.connect(), request, wanted);
            }
        }
    }
    let (opened, closed) = (tunnels.opened.load(Ordering::SeqCst), tunnels.closed.load(Ordering::SeqCst));
    assert_eq!((opened, closed), (6, 6), "tunnels opened and closed");
    if !over_tls() {
        assert_eq!(settled_descriptors(before), before, "descriptors");
    }
}

// SPEC 6: An upstream that dies, says nothing or something else than it should: the right status,
// or an end that is none; nothing hangs, nothing stays open
// Also: `a_killed_upstream_in_the_middle_of_anything_leaves_no_client_waiting`
#[test]
fn each_failure_of_an_upstream_has_its_status_or_an_end_that_is_none() {
    if alone("failing_upstreams::each_failure_of_an_upstream_has_its_status_or_an_end_that_is_none") {
        all_failures();
    }
}

/// An upstream that can be killed: this test, in a process of its own.
struct Process {
    child: Child,
    /// It ends when this is closed.
    _leash: ChildStdin,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
}

const ROLE: &str = "EDGE_TEST_UPSTREAM";

impl Process {
    fn start(test: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program again");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        let _leash = child.stdin.take().expect("piped");
        let mut process = Process { child, _leash, said, address: ([127, 0, 0, 1], 0).into() };
        process.address = process.wait_for("address ").parse().expect("an address");
        process
    }

    /// The rest of the next line with this word.
    fn wait_for(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).expect("a line") > 0, "it ended before it said {word:?}");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers one request per connection, more or less, and then waits; ends with its parent.
fn serve_until_killed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("address {}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut wire = Wire::new(stream);
                let head = wire.head().unwrap_or_default();
                let path = head.split(' ').nth(1).unwrap_or_default();
                match path {
                    "/whole" => wire.send(sized(5, "whole")),
                    "/body" => wire.send(sized(1_000_000, "half")),
                    "/chunks" => wire.send(chunked("4\r\nhalf\r\n")),
                    "/head" => wire.send("HTTP/1.1 200 OK\r\nContent-Len"),
                    "/tunnel" => wire.send(SWITCH),
                    _ => {}
                }
                println!("begun {path}");
                let _ = wire.stream.set_read_timeout(None);
                let _ = wire.stream.read(&mut [0; 1]);
                std::thread::park();
            });
        }
    });
    let _ = std::io::stdin().read(&mut [0; 1]);
}

fn request(kind: &str, path: &str) -> String {
    kind.replacen(" / ", &format!(" {path} "), 1)
}

#[test]
fn a_killed_upstream_in_the_middle_of_anything_leaves_no_client_waiting() {
    const NAME: &str =
        "failing_upstreams::a_killed_upstream_in_the_middle_of_anything_leaves_no_client_waiting";
    if std::env::var_os(ROLE).is_some() {
        return serve_until_killed();
    }
    if !alone(NAME) {
        return;
    }
    let mut process = Process::start(NAME);
    let before = count_descriptors();
    let tunnels = Arc::new(Tunnels::default());
    let edge = edge_for(process.address, Seen::Status(502), &tunnels);
    let mut open = |kind: &str, path: &str| {
        let mut wire = edge.connect();
        wire.send(request(kind, path));
        process.wait_for(&format!("begun {path}"));
        wire
    };
    let (mut body, mut chunks, mut tunnel) =
        (open(GET, "/body"), open(GET, "/chunks"), open(OFFER, "/tunnel"));
    let waiting = [open(GET, "/head"), open(GET, "/nothing"), open(LENGTH, "/upload"), open(OFFER, "/offer")];
    let mut kept = open(GET, "/whole");
    assert_eq!(kept.reply().text(), "whole");
    // The edge is in the middle of these: their beginning has arrived.
    for (wire, status) in [(&mut body, " 200 "), (&mut chunks, " 200 "), (&mut tunnel, " 101 ")] {
        let head = wire.head().expect("a head");
        assert!(head.contains(status), "{head}");
    }
    assert_eq!(body.exactly(4).as_deref(), Some(&b"half"[..]));
    assert_eq!(chunks.chunk().as_deref(), Some(&b"half"[..]));
    process.kill();
    for (name, wire) in [("body", &mut body), ("chunks", &mut chunks), ("tunnel", &mut tunnel)] {
        let rest = wire.rest();
        assert!(rest.is_empty(), "{name}: {rest:?} after the kill");
    }
    for mut wire in waiting {
        let reply = wire.reply();
        assert_eq!((reply.status(), reply.complete), (502, true), "{reply:?}");
    }
    check("a kept connection", &mut kept, GET, Seen::Status(502));
    drop((body, chunks, tunnel, kept, edge));
    assert_eq!((tunnels.opened.load(Ordering::SeqCst), tunnels.closed.load(Ordering::SeqCst)), (1, 1));
    if !over_tls() {
        assert_eq!(settled_descriptors(before), before, "descriptors");
    }
}
