//! What a microphone costs on one media thread, beside a plain UDP forwarder and the bare loopback, in the same run:
//! `tests/perf/mic`, or `cargo bench --bench mic -- [--quick]`.
//!
//! ```text
//!  sender (this process, str0m per microphone) ──SRTP──▶ neck (own process, one media thread) ──RTP──▶ ear (this process)
//!                                              ──RTP───▶ plain forwarder (own process)       ──RTP──▶ ear
//!                                              ──RTP──────────────────────────────────────────────▶ ear
//! ```
//!
//! Each microphone says 50 packets of 100 bytes a second, spread evenly. Every packet carries the time it was sent; it has arrived when
//! the kernel says so, because an ear that each packet wakes would take the core from the forwarder. CPU is that of the
//! forwarding process as the scheduler counts it.
#![allow(dead_code)]

#[path = "../media/browser.rs"]
mod browser;
mod figures;
#[path = "mic_contestants.rs"]
mod mic_contestants;

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use figures::{Figure, ratio};
use mic_contestants::{Contestant, Kind, Mics};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

/// From one packet of a microphone to its next.
const FRAME: Duration = Duration::from_millis(20);

/// Above this the sender sleeps, below it spins: a timer is late by about as much.
const SPIN: Duration = Duration::from_micros(100);

/// The far end reads so often, so many packets at once of so much room: the kernel coalesces at most 64 KiB.
const NAP: Duration = Duration::from_millis(1);
const BATCH: usize = 32;
const PACKET: usize = 64 << 10;

/// Shares of all packets that latencies are given for.
const P50: f64 = 0.50;
const P99: f64 = 0.99;

/// How long and how often. While the others have their rounds the microphones are silent and answer nobody, so the three rounds must
/// last less than a silent peer is kept.
struct Plan {
    rounds: usize,
    seconds: u64,
    mics: &'static [usize],
}

const FULL: Plan = Plan { rounds: 9, seconds: 5, mics: &[1, 100, 1_000] };
const QUICK: Plan = Plan { rounds: 2, seconds: 3, mics: &[1, 100, 1_000] };

/// What one contestant did in one round.
#[derive(Clone, Copy, Debug)]
struct Measured {
    p50: f64,
    p99: f64,
    cpu_per_packet: f64,
    cpu_share: f64,
    lost: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(kind) =
        arguments.iter().position(|word| word == "--serve").and_then(|at| arguments.get(at + 1))
    {
        return mic_contestants::serve(kind, arguments.last().expect("the ear's address"));
    }
    // Cargo says --bench; `cargo test --all-targets` does not, and must not start this.
    if !arguments.iter().any(|word| word == "--bench") {
        return println!("run tests/perf/mic");
    }
    let plan = if arguments.iter().any(|word| word == "--quick") { QUICK } else { FULL };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average {}", load.trim());
    println!(
        "{:>5} {:<8} {:>22} {:>22} {:>20} {:>8} {:>7}",
        "mics", "", "p50 µs", "p99 µs", "CPU µs/packet", "core %", "lost %"
    );
    for mics in plan.mics {
        measure(*mics, &plan);
    }
}

fn measure(count: usize, plan: &Plan) {
    let ear = Ear::open();
    let mut contestants: Vec<Contestant> = [Kind::Direct, Kind::Plain, Kind::Neck]
        .map(|kind| Contestant::start(kind, count, ear.address))
        .into();
    let mut results: Vec<Vec<Measured>> = vec![Vec::new(); contestants.len()];
    for _ in 0..plan.rounds {
        for (contestant, results) in contestants.iter_mut().zip(&mut results) {
            results.push(round(contestant, &ear, Duration::from_secs(plan.seconds)));
        }
    }
    for (contestant, results) in contestants.iter().zip(&results) {
        row(count, contestant.kind.name(), results);
    }
    if let [direct, plain, neck] = results.as_slice() {
        verdict(count, direct, plain, neck);
    }
}

fn round(contestant: &mut Contestant, ear: &Ear, time: Duration) -> Measured {
    // A moment to find its pace, then the round proper.
    say(&mut contestant.mics, FRAME * 10);
    ear.settle();
    let (cpu, begun) = (contestant.cpu(), Instant::now());
    let sent = say(&mut contestant.mics, time);
    let (cpu, elapsed) = (contestant.cpu().saturating_sub(cpu), begun.elapsed());
    let mut latencies = ear.settle();
    latencies.sort_unstable();
    let at = |share: f64| {
        let index = (latencies.len().saturating_sub(1) as f64 * share) as usize;
        latencies.get(index).map_or(f64::NAN, |nanos| *nanos as f64 / 1_000.0)
    };
    Measured {
        p50: at(P50),
        p99: at(P99),
        cpu_per_packet: cpu.as_secs_f64() * 1e6 / sent as f64,
        cpu_share: cpu.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        lost: (1.0 - latencies.len() as f64 / sent as f64) * 100.0,
    }
}

/// Lets every microphone talk for a time, evenly spread. Returns the packets.
fn say(mics: &mut Mics, time: Duration) -> u64 {
    let gap = FRAME / u32::try_from(mics.count()).expect("few");
    let (begun, mut sent) = (Instant::now(), 0u64);
    while begun.elapsed() < time {
        pace(begun + gap.mul_f64(sent as f64));
        mics.say_next();
        sent += 1;
    }
    sent
}

fn pace(until: Instant) {
    let pause = until.saturating_duration_since(Instant::now());
    if pause > SPIN {
        std::thread::sleep(pause - SPIN);
    }
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// The far end: notes how long each packet took until the kernel had it. It is a host of its own in practice; here it must not be woken
/// by each packet, or it takes the core from the forwarder that woke it.
struct Ear {
    address: SocketAddr,
    latencies: crossbeam_channel::Receiver<u64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    fn open() -> Ear {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 8 << 20);
        let address = socket.local_addr().expect("its address");
        let (sender, latencies) = crossbeam_channel::unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        let listen = move || {
            let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("arrival times");
            let mut room = vec![0; BATCH * PACKET];
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(NAP);
                while hear(&socket, &state, &mut room, |latency| {
                    let _ = sender.send(latency);
                }) {}
            }
        };
        let thread = std::thread::Builder::new().name("ear".into()).spawn(listen).expect("a thread");
        Ear { address, latencies, stop, thread: Some(thread) }
    }

    /// What was heard so far, once nothing more comes.
    fn settle(&self) -> Vec<u64> {
        let mut heard = Vec::new();
        while let Ok(latency) = self.latencies.recv_timeout(Duration::from_millis(200)) {
            heard.push(latency);
        }
        heard
    }
}

/// Reads some packets and says how long each was under way. False: there are none.
fn hear(socket: &UdpSocket, state: &UdpSocketState, room: &mut [u8], mut each: impl FnMut(u64)) -> bool {
    let mut metas = [RecvMeta::default(); BATCH];
    let mut rooms = room.chunks_mut(PACKET);
    let mut slices: [IoSliceMut<'_>; BATCH] =
        std::array::from_fn(|_| IoSliceMut::new(rooms.next().expect("room for each")));
    let Ok(count) = state.recv(UdpSockRef::from(socket), &mut slices, &mut metas) else { return false };
    for (packet, meta) in room.chunks(PACKET).zip(&metas[..count]) {
        let arrived = meta.timestamp.expect("the kernel's time").as_nanos() as u64;
        for packet in packet[..meta.len].chunks(meta.stride.max(1)) {
            if let Some(sent) = packet.get(13..21) {
                each(arrived.saturating_sub(u64::from_be_bytes(sent.try_into().expect("eight bytes"))));
            }
        }
    }
    true
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn column(results: &[Measured], pick: fn(&Measured) -> f64) -> Vec<f64> {
    results.iter().map(pick).collect()
}

fn row(count: usize, name: &str, results: &[Measured]) {
    let show = |pick: fn(&Measured) -> f64, digits: usize| Figure::of(&column(results, pick)).show(digits);
    let median = |pick: fn(&Measured) -> f64| Figure::of(&column(results, pick)).median;
    println!(
        "{count:>5} {name:<8} {:>22} {:>22} {:>20} {:>8.1} {:>7.2}",
        show(|one| one.p50, 1),
        show(|one| one.p99, 1),
        show(|one| one.cpu_per_packet, 2),
        median(|one| one.cpu_share),
        median(|one| one.lost),
    );
}

fn verdict(count: usize, direct: &[Measured], plain: &[Measured], neck: &[Measured]) {
    let added = |of: &[Measured], pick: fn(&Measured) -> f64| {
        let pairs = of.iter().zip(direct).map(|(one, direct)| pick(one) - pick(direct));
        Figure::of(&pairs.collect::<Vec<_>>())
    };
    println!(
        "{count:>5} added over the bare loopback: p50 {} µs, p99 {} µs (plain forwarder: {}, {})",
        added(neck, |one| one.p50).show(1),
        added(neck, |one| one.p99).show(1),
        added(plain, |one| one.p50).show(1),
        added(plain, |one| one.p99).show(1),
    );
    let cpu = ratio(&column(neck, |one| one.cpu_per_packet), &column(plain, |one| one.cpu_per_packet));
    let p50 = ratio(&column(neck, |one| one.p50), &column(plain, |one| one.p50));
    let per_mic = Figure::of(&column(neck, |one| one.cpu_share)).median / count as f64;
    println!(
        "{count:>5} neck ÷ plain forwarder: CPU {}, p50 {}; CPU per microphone {per_mic:.4} % of a core",
        cpu.show(2),
        p50.show(2)
    );
}
