//! Many slow clients at once: others are served meanwhile, no thread and no memory is taken per slow one, in the kernel
//! little. The same with slowhttptest against the worker, measured: `tests/perf/slow`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hydraneckwebrtc::edge::router::Decision;
use rustix::process::{Resource, getrlimit, setrlimit};
use stand_ins::steady::steady;

use crate::support::{PATIENCE, TestEdge, Wire, alone, forward, upstream};

/// Slow clients of each of the three kinds.
const EACH: usize = 100;
/// Requests of a good client meanwhile.
const SERVED: usize = 1000;
/// None of them takes so long, on a busy machine either: a service that is held up would wait for a deadline of 10 s.
const BOUND: Duration = Duration::from_secs(5);
/// A reply so large that no socket buffers hold it.
const LARGE: usize = 1 << 30;

fn edge_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a list").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("edge-")).count()
}

/// Resident memory in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") / 1024
}

/// Reads bodies, sends what no one reads, or says hello, as the path wants.
fn serve(mut wire: Wire) {
    while let Some(head) = wire.head() {
        match head.split(' ').nth(1) {
            Some("/large") => {
                wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
                let _ = wire.stream.set_write_timeout(None);
                while wire.stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
                return;
            }
            Some("/body") => return drop(wire.exactly(1 << 20)),
            _ => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        }
    }
}

// SPEC 6: Slow clients take nothing from the others: no thread and no unbounded memory each, nor in
// the sockets on both sides
// Also: `the_kernel_holds_little_for_a_reader_that_stops`
#[test]
fn three_hundred_slow_clients_take_nothing_from_the_others() {
    if !alone("slow::three_hundred_slow_clients_take_nothing_from_the_others") {
        return;
    }
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as many descriptors as there may be");
    let to = upstream(|wire, _| serve(wire));
    let edge = TestEdge::with(
        |config| config.settings.requests_per_connection = u32::MAX,
        move |_| Decision::Forward(forward(to)),
    );
    let mut good = edge.connect();
    assert_eq!(good.get("/").text(), "hello");
    let (threads, memory) = (edge_threads(), resident());
    let open = |begin: &'static str| (0..EACH).map(move |_| begin);
    let begins = open("GET / HTTP/1.1\r\nHost: a\r\nX: ")
        .chain(open("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"))
        .chain(open("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut slow: Vec<Wire> = begins
        .map(|begin| {
            let mut wire = edge.connect();
            wire.send(begin);
            wire
        })
        .collect();
    let (mut worst, mut served) = (Duration::ZERO, 0);
    while served < SERVED {
        let asked = Instant::now();
        assert_eq!(good.get("/").text(), "hello", "after {served} requests");
        worst = worst.max(asked.elapsed());
        served += 1;
        // A byte of a head or a body from one of them; those that read say nothing more.
        if let Some(wire) = slow.get_mut(served % (2 * EACH)) {
            wire.send("x");
        }
        if served.is_multiple_of(100) {
            assert_eq!(edge.connect().get("/").text(), "hello", "a new connection is served as well");
        }
    }
    println!(
        "{served} requests served meanwhile, the slowest in {worst:?}; {} MiB, {threads} threads",
        resident()
    );
    assert!(worst < BOUND, "the slowest request took {worst:?}");
    assert_eq!(edge_threads(), threads);
    let grown = resident().saturating_sub(memory);
    assert!(grown < 100, "{grown} MiB for {} slow clients", slow.len());
}

/// What the kernel may hold of one slow reader's reply in the edge's socket to the client: `UNSENT` of src/edge/socket.rs and
/// a packet of loopback or two. Without a bound it is up to 4 MiB.
const UNSENT: u64 = 384 * 1024;
/// And in the edge's socket to the upstream: twice `LOCAL_RECEIVE` and a packet or two, where `net.core.rmem_max` grants that.
/// Without a bound it is up to 6 MiB.
const UNREAD: u64 = (2 << 20) + 128 * 1024;
/// The reader is fast before it stops, so that buffers that would grow have grown.
const FAST: usize = 64 << 20;

/// How /proc/net/tcp writes the state of a connection that stands.
const ESTABLISHED: &str = "01";

/// How much the kernel holds in the sockets of this host that `which(local port, remote port)` picks: to be sent, and to
/// be read.
fn queues(which: impl Fn(u16, u16) -> bool) -> Option<(u64, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
    let port = |address: &str| u16::from_str_radix(address.split(':').nth(1)?, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, ESTABLISHED, queues, ..] = columns[..] else { return None };
        let (sending, reading) = queues.split_once(':')?;
        let bytes = |text| u64::from_str_radix(text, 16).ok();
        which(port(local)?, port(remote)?).then_some((bytes(sending)?, bytes(reading)?))
    })
}

/// Waits until this value, looked at again and again, has been the same for a quarter of a second.
fn settled<T: PartialEq + std::fmt::Debug>(mut look: impl FnMut() -> T) -> T {
    let (mut value, begun) = (look(), Instant::now());
    let mut since = begun;
    while since.elapsed() < Duration::from_millis(250) {
        assert!(begun.elapsed() < PATIENCE, "it never settled: {value:?}");
        std::thread::yield_now();
        let now = look();
        if now != value {
            (value, since) = (now, Instant::now());
        }
    }
    value
}

/// Whether a program on this host may ask for as large a receive buffer as the edge's.
fn may_be_bounded() -> bool {
    let most = fs::read_to_string("/proc/sys/net/core/rmem_max").expect("a limit");
    most.trim().parse::<u64>().expect("a number") >= 1 << 20
}

fn read_on(stream: &mut TcpStream, bytes: usize) {
    let (mut part, mut got) = (vec![0; 256 * 1024], 0);
    while got < bytes {
        let n = steady(|| stream.read(&mut part)).expect("more of the reply");
        assert!(n > 0, "the reply ended after {got} bytes");
        got += n;
    }
}

#[test]
fn the_kernel_holds_little_for_a_reader_that_stops() {
    let to = upstream(|wire, _| serve(wire));
    let edge = TestEdge::to(to);
    let front = edge.edge().local_addr().port();
    let mut wire = edge.connect();
    let client = wire.stream.local_addr().expect("an address").port();
    wire.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    for attempt in ["at first", "after it went on"] {
        read_on(&mut wire.stream, FAST);
        let unsent = || queues(|local, remote| (local, remote) == (front, client)).expect("the edge's end").0;
        let unread = || queues(|_, remote| remote == to.port()).expect("the edge's end").1;
        let (unsent, unread) = settled(|| (unsent(), unread()));
        println!("{attempt}: {unsent} bytes unsent, {unread} unread");
        assert!(unsent > 0, "nothing waits: the reader has not stopped");
        assert!(unsent <= UNSENT, "{attempt}: {unsent} bytes unsent");
        assert!(unread <= UNREAD || !may_be_bounded(), "{attempt}: {unread} bytes unread");
    }
}
