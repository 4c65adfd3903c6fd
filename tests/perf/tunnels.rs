//! WebSocket tunnels: added round trip (on one core, and on any), fifty streams, one tunnel as fast as it goes, memory of idle ones.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, getrlimit};
use stand_ins::steady::steady;

use crate::children::Program;
use crate::contestants::{Contestant, Upstreams, gather};
use crate::figures::Figure;

/// Bytes of a message that goes round.
const MESSAGE: usize = 125;
/// Messages that go round one after the other before it is the next one's turn.
const IN_A_ROW: usize = 50;
/// Streams at once, of 20 Mbit/s each.
const STREAMS: usize = 50;
/// Source addresses that idle tunnels are spread over.
const SOURCES: usize = 200;

/// Opens a tunnel to what `path` names, from one of many addresses.
fn open(to: SocketAddr, path: &str, number: usize) -> TcpStream {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let source = Ipv4Addr::new(127, 0, 1, (number % SOURCES) as u8 + 1);
    bind(&fd, &SocketAddr::from((source, 0))).expect("an address");
    connect(&fd, &to).unwrap_or_else(|error| panic!("tunnel {number} to {to}: {error}"));
    let mut stream = TcpStream::from(fd);
    stream.set_nodelay(true).expect("a live socket");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a live socket");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("tunnel {number} to {to}: {error}"));
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// Median time of a round trip to each address, in microseconds. They take turns after a few milliseconds, over and over: a machine that
/// is slow for a while is so for all of them, and `run` is what all of them together have.
fn round_trips(addresses: &[SocketAddr], run: Duration) -> Vec<f64> {
    let mut streams: Vec<TcpStream> = addresses.iter().map(|to| open(*to, "/ws/echo", 0)).collect();
    let mut times = vec![Vec::new(); streams.len()];
    let end = Instant::now() + run;
    while Instant::now() < end {
        for (stream, times) in streams.iter_mut().zip(&mut times) {
            times.extend((0..IN_A_ROW).map(|_| go_round(stream)));
        }
    }
    times.iter().map(|times| Figure::of(times).median).collect()
}

/// How long a message is under way, there and back, in microseconds.
fn go_round(stream: &mut TcpStream) -> f64 {
    // One frame of a server's, as it comes back.
    let mut message = [7; MESSAGE];
    message[..2].copy_from_slice(&[0x82, MESSAGE as u8 - 2]);
    let begun = Instant::now();
    stream.write_all(&message).expect("sent");
    stream.read_exact(&mut message).expect("echoed");
    begun.elapsed().as_secs_f64() * 1e6
}

/// MB/s of one tunnel, from upstream to client.
fn throughput(to: SocketAddr, run: Duration) -> f64 {
    let mut stream = open(to, "/ws/flood", 0);
    let mut part = vec![0; 256 * 1024];
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < run {
        bytes += steady(|| stream.read(&mut part)).expect("bytes");
    }
    bytes as f64 / begun.elapsed().as_secs_f64() / 1e6
}

fn cpu(programs: &[Program]) -> Duration {
    programs.iter().map(Program::cpu).sum()
}

/// Per cent of a core per Gbit/s with fifty streams, and the Gbit/s that came through.
fn streams(contestant: &Contestant, path: &str, run: Duration) -> (f64, f64) {
    let tunnels: Vec<TcpStream> =
        (0..STREAMS).map(|number| open(contestant.address(), path, number)).collect();
    let (begun, before) = (Instant::now(), cpu(&contestant.programs));
    let readers: Vec<_> = tunnels
        .into_iter()
        .map(|mut stream| {
            std::thread::spawn(move || {
                let (mut part, mut bytes) = (vec![0; 64 * 1024], 0);
                while begun.elapsed() < run {
                    bytes += steady(|| stream.read(&mut part)).expect("bytes");
                }
                bytes
            })
        })
        .collect();
    let bytes: usize = readers.into_iter().map(|reader| reader.join().expect("read")).sum();
    let (seconds, used) = (begun.elapsed().as_secs_f64(), (cpu(&contestant.programs) - before).as_secs_f64());
    let gigabits = bytes as f64 * 8.0 / 1e9 / seconds;
    (used / seconds * 100.0 / gigabits, gigabits)
}

#[derive(Default)]
struct Row {
    round_trip: Vec<f64>,
    added: Vec<f64>,
    added_anywhere: Vec<f64>,
    load: Vec<f64>,
    gigabits: Vec<f64>,
    speed: Vec<f64>,
    /// `load`, where each message is judged, as those of sessions are.
    screened: Vec<f64>,
}

/// Measures and prints everything about tunnels. Round trips are measured with everything that takes part on one core, which is what
/// the proxies themselves take, and on any: there most of it is how long another core takes to wake up, which on a virtual machine is
/// its host's affair and changes all the time.
pub fn measure(contestants: &[Contestant], upstreams: &Upstreams, rounds: usize, run: Duration) {
    let mut rows: Vec<Row> = contestants.iter().map(|_| Row::default()).collect();
    let proxies = contestants.iter().map(Contestant::address);
    let addresses: Vec<SocketAddr> = std::iter::once(upstreams.tunnels.address).chain(proxies).collect();
    let mut direct = Vec::new();
    for round in 0..rounds {
        let run_of_all = run * addresses.len() as u32 / 2;
        gather(contestants, upstreams, true);
        let times = round_trips(&addresses, run_of_all);
        gather(contestants, upstreams, false);
        let anywhere = round_trips(&addresses, run_of_all);
        direct.push(times[0]);
        for (at, row) in rows.iter_mut().enumerate() {
            row.round_trip.push(times[at + 1]);
            row.added.push(times[at + 1] - times[0]);
            row.added_anywhere.push(anywhere[at + 1] - anywhere[0]);
        }
        for offset in 0..contestants.len() {
            let at = (round + offset) % contestants.len();
            let (contestant, row) = (&contestants[at], &mut rows[at]);
            let (load, gigabits) = streams(contestant, "/ws/paced", run);
            if contestant.is_ours() {
                row.screened.push(streams(contestant, "/ws/screened/paced", run).0);
            }
            row.load.push(load);
            row.gigabits.push(gigabits);
            row.speed.push(throughput(contestant.address(), run));
        }
    }
    print(contestants, &rows, Figure::of(&direct));
}

fn print(contestants: &[Contestant], rows: &[Row], direct: Figure) {
    println!("\nTunnels (round trip on one core without a proxy: {} us)", direct.show(1));
    println!(
        "{:<18} {:>20} {:>18} {:>20} {:>24} {:>8} {:>22}",
        "", "round trip us", "added", "added, any core", "50x20M: %core/Gbit/s", "Gbit/s", "one tunnel MB/s"
    );
    for (contestant, row) in contestants.iter().zip(rows) {
        println!(
            "{:<18} {:>20} {:>18} {:>20} {:>24} {:>8.2} {:>22}",
            contestant.name,
            Figure::of(&row.round_trip).show(1),
            Figure::of(&row.added).show(1),
            Figure::of(&row.added_anywhere).show(0),
            Figure::of(&row.load).show(1),
            Figure::of(&row.gigabits).median,
            Figure::of(&row.speed).show(0),
        );
    }
    for (contestant, row) in contestants.iter().zip(rows).filter(|(_, row)| !row.screened.is_empty()) {
        let load = Figure::of(&row.screened).show(1);
        println!("{:<18} with every message judged: 50x20M: {load} %core/Gbit/s", contestant.name);
    }
}

/// As many as a proxy may have with two descriptors for each and some hundred more.
fn most_tunnels() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(400) / 2).unwrap_or(usize::MAX)
}

/// Measures and prints the memory of idle tunnels; on fresh programs, since memory is not given back.
pub fn measure_idle(contestants: &[Contestant], counts: &[usize]) {
    println!("\nIdle tunnels: resident KiB each, threads");
    for contestant in contestants {
        print!("{:<18}", contestant.name);
        let resident = || contestant.programs.iter().map(Program::resident).sum::<u64>();
        let (before, mut tunnels) = (resident(), Vec::new());
        for count in counts.iter().map(|count| most_tunnels().min(*count)) {
            while tunnels.len() < count {
                tunnels.push(open(contestant.address(), "/ws/idle", tunnels.len()));
            }
            let each = resident().saturating_sub(before) as f64 / count as f64 / 1024.0;
            let threads: usize = contestant.programs.iter().map(Program::threads).sum();
            print!(" {count:>8}: {each:>6.2} KiB, {threads} threads");
        }
        println!();
    }
}
