//! Slow and abandoned connections against a worker's edge: `tests/perf/slow`.
//!
//! slowhttptest keeps 1,000 connections slow in each of its three ways while a well-behaved client asks for health and for
//! the status of a session, on a kept and on new connections: its p99 must stay under three times the quiet one of the seconds
//! before, in the median of the rounds, because the machine itself is not the same from minute to minute. Then 5,000
//! connections from many addresses are opened and abandoned: health must answer within 100 ms throughout. Everything is on
//! loopback, which no cap per address protects.
#![allow(dead_code)]

mod figures;
#[path = "../behaviour/http.rs"]
mod http;
#[path = "../behaviour/lab.rs"]
mod lab;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use figures::Figure;
use lab::{Lab, Role};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use serde_json::json;
use stand_ins::steady::steady;

/// Slow connections of each way.
const SLOW: &str = "1000";
/// New ones in a second.
const PER_SECOND: &str = "500";
/// Rounds of each way: a quiet span, then one under attack.
const ROUNDS: usize = 5;
/// How long each is measured; an attack after the seconds in which its connections are made.
const SPAN: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(4);
/// What an attack lasts in all, in seconds: longer than both.
const ATTACK: &str = "20";
/// How much slower others may become: the bound on p99.
const WORSE: f64 = 3.0;
/// Connections that are opened and abandoned.
const ABANDONED: usize = 5000;
/// Source addresses they come from.
const SOURCES: usize = 250;
/// Health must answer within this meanwhile.
const HEALTHY: Duration = Duration::from_millis(100);
/// Between two requests of the well-behaved client.
const PAUSE: Duration = Duration::from_millis(2);
/// A reply larger than what sockets buffer, for slow readers.
const LARGE: usize = 4 << 20;

fn main() {
    // `cargo test --all-targets` must not start this.
    if !std::env::args().any(|word| word == "--bench") {
        return println!("run tests/perf/slow");
    }
    let mut lab = Lab::new();
    let body = lab.body(1);
    fs::write(lab.install.dir.join("static/large.bin"), vec![b'x'; LARGE]).expect("a file");
    let worker = lab.lone_worker(|config| {
        // A benchmark asks faster than people do.
        config["edge"] = json!({"rate_limit_per_session": 0, "requests_per_connection": 1_000_000_000});
        // Nobody opens the session's page.
        config["sessions"]["connect_timeout"] = json!("2h");
    });
    let session = worker.create(&body);
    println!("load average before: {}", read("/proc/loadavg").trim());
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>22} {:>8} {:>9}",
        "", "requests", "p50 us", "p99 us", "max us", "p99/quiet", "threads", "MiB"
    );
    let mut broken = Vec::new();
    let page = format!("{}/session/{session}/large.bin", worker.url);
    let health = format!("{}/api/v1/health", worker.url);
    let create = format!("{}/api/v1/sessions", worker.url);
    for (name, arguments) in [
        ("1,000 slow heads", vec!["-H", "-i", "5", "-u", &health]),
        ("1,000 slow bodies (control API)", vec!["-B", "-i", "5", "-s", "8192", "-u", &create]),
        ("1,000 slow bodies (session)", vec!["-B", "-i", "5", "-s", "8192", "-u", &page]),
        ("1,000 slow readers", vec!["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-u", &page]),
    ] {
        // A word on the command line chooses.
        if std::env::args().skip(1).any(|word| !word.starts_with("--") && !name.contains(&word)) {
            continue;
        }
        let rounds: Vec<(Seen, Seen)> = (0..ROUNDS).map(|_| round(&worker, &session, &arguments)).collect();
        broken.extend(judge(name, rounds));
    }
    let worst = abandon(&worker);
    println!("{ABANDONED} opened and abandoned: health answered within {worst:?} throughout");
    if worst > HEALTHY {
        broken.push(format!("{ABANDONED} abandoned connections: health took {worst:?}"));
    }
    println!("afterwards: {} threads, {} MiB", status(&worker, "Threads:"), status(&worker, "VmRSS:") / 1024);
    println!("load average at the end: {}", read("/proc/loadavg").trim());
    if !broken.is_empty() {
        println!("BROKEN: {}", broken.join("; "));
        drop((worker, lab));
        std::process::exit(1);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A number in the worker's status.
fn status(worker: &Role, field: &str) -> u64 {
    let text = read(&format!("/proc/{}/status", worker.pid()));
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn attack(arguments: &[&str]) -> Child {
    Command::new("slowhttptest")
        .args(["-c", SLOW, "-r", PER_SECOND, "-l", ATTACK, "-p", "5"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("slowhttptest is missing: apt-get install slowhttptest")
}

fn end(attack: &mut Child) {
    let _ = attack.kill();
    let _ = attack.wait();
}

/// What the well-behaved client saw.
struct Seen {
    micros: Vec<f64>,
    threads: u64,
    mib: u64,
}

impl Seen {
    fn at(&self, share: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        self.micros.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    fn p99(&self) -> f64 {
        self.at(0.99)
    }

    fn join(mut self, other: Seen) -> Seen {
        self.micros.extend(other.micros);
        self.micros.sort_by(f64::total_cmp);
        Seen { micros: self.micros, threads: self.threads.max(other.threads), mib: self.mib.max(other.mib) }
    }

    fn print(&self, name: &str, ratio: &str) {
        println!(
            "{name:<34} {:>9} {:>9.0} {:>9.0} {:>9.0} {ratio:>22} {:>8} {:>9}",
            self.micros.len(),
            self.at(0.5),
            self.p99(),
            self.at(1.0),
            self.threads,
            self.mib
        );
    }
}

/// A quiet span, and one under attack.
fn round(worker: &Role, session: &str, arguments: &[&str]) -> (Seen, Seen) {
    let quiet = measure(worker, session, SPAN);
    let mut attack = attack(arguments);
    std::thread::sleep(WARM_UP);
    let under = measure(worker, session, SPAN);
    end(&mut attack);
    (quiet, under)
}

/// Prints the rounds of one way; what was worse than it may be.
fn judge(name: &str, rounds: Vec<(Seen, Seen)>) -> Vec<String> {
    let ratios: Vec<f64> = rounds.iter().map(|(quiet, under)| under.p99() / quiet.p99()).collect();
    let ratio = Figure::of(&ratios);
    let all = rounds.into_iter().reduce(|(quiet, under), next| (quiet.join(next.0), under.join(next.1)));
    let Some((quiet, under)) = all else { return Vec::new() };
    quiet.print("quiet", "");
    under.print(name, &ratio.show(2));
    let slower =
        (ratio.median > WORSE).then(|| format!("{name}: p99 is {:.1} times the quiet one", ratio.median));
    let more = (under.threads > quiet.threads)
        .then(|| format!("{name}: {} threads instead of {}", under.threads, quiet.threads));
    slower.into_iter().chain(more).collect()
}

/// One request after the other: health and the status of a session in turn, every fourth on a new connection.
fn measure(worker: &Role, session: &str, span: Duration) -> Seen {
    let paths = ["/api/v1/health".to_owned(), format!("/session/{session}/_neck/status")];
    let mut kept = connected(worker);
    let mut seen = Seen { micros: Vec::new(), threads: 0, mib: 0 };
    let begun = Instant::now();
    while begun.elapsed() < span {
        let number = seen.micros.len();
        let asked = Instant::now();
        let path = &paths[number % 2];
        if number % 4 == 3 {
            ask(&mut connected(worker), worker, path);
        } else {
            ask(&mut kept, worker, path);
        }
        seen.micros.push(asked.elapsed().as_secs_f64() * 1e6);
        if number.is_multiple_of(100) {
            seen.threads = seen.threads.max(status(worker, "Threads:"));
            seen.mib = seen.mib.max(status(worker, "VmRSS:") / 1024);
        }
        std::thread::sleep(PAUSE);
    }
    seen.micros.sort_by(f64::total_cmp);
    seen
}

fn address(worker: &Role) -> SocketAddr {
    worker.url.trim_start_matches("http://").parse().expect("an address")
}

fn connected(worker: &Role) -> TcpStream {
    let stream = TcpStream::connect(address(worker)).expect("connected");
    stream.set_nodelay(true).expect("a live socket");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a live socket");
    stream
}

/// One request; reads its whole reply.
fn ask(stream: &mut TcpStream, worker: &Role, path: &str) {
    let host = address(worker);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("sent");
    let (mut got, mut part) = (Vec::new(), [0; 64 * 1024]);
    loop {
        let n = steady(|| stream.read(&mut part)).expect("a reply");
        assert!(n > 0, "the connection was closed: {}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&got);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let length =
            fields.filter(|(name, _)| name.eq_ignore_ascii_case("Content-Length")).map(|(_, v)| v).next();
        let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
        if got.len() >= head.len() + 4 + length {
            return;
        }
    }
}

/// Opens connections from many addresses and leaves them; the slowest answer of health meanwhile.
fn abandon(worker: &Role) -> Duration {
    let (mut left, mut worst) = (Vec::new(), Duration::ZERO);
    let mut kept = connected(worker);
    while left.len() < ABANDONED {
        for _ in 0..100 {
            left.push(open(left.len(), address(worker)));
        }
        worst = worst.max(health(worker, &mut kept));
    }
    // They lie there; then all of them go at once.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        worst = worst.max(health(worker, &mut kept));
    }
    drop(left);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        worst = worst.max(health(worker, &mut kept));
    }
    worst
}

/// How long health takes, on a kept and on a new connection.
fn health(worker: &Role, kept: &mut TcpStream) -> Duration {
    let asked = Instant::now();
    ask(kept, worker, "/api/v1/health");
    let one = asked.elapsed();
    let asked = Instant::now();
    ask(&mut connected(worker), worker, "/api/v1/health");
    let other = asked.elapsed();
    std::thread::sleep(PAUSE);
    one.max(other)
}

fn open(number: usize, to: SocketAddr) -> TcpStream {
    let fd =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    let source = Ipv4Addr::new(127, 0, 3, (number % SOURCES) as u8 + 1);
    bind(&fd, &SocketAddr::from((source, 0))).expect("an address");
    connect(&fd, &to).unwrap_or_else(|error| panic!("connection {number}: {error}"));
    let mut stream = TcpStream::from(fd);
    // Some say nothing, some begin a request.
    if number.is_multiple_of(2) {
        stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: ").expect("sent");
    }
    stream
}
