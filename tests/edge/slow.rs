//! Many slow clients at once: others are served meanwhile, no thread and no memory is taken per slow one. The same with
//! slowhttptest against the worker, measured: `tests/perf/slow`.

use std::io::Write;
use std::time::{Duration, Instant};

use hydraneckwebrtc::edge::router::Decision;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::{TestEdge, Wire, alone, forward, upstream};

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
