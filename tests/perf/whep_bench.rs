//! What a viewer costs: one stream to 1, 10, 100 and 400 viewers, `cargo bench --bench whep`. Prints packets per second and core,
//! CPU per packet and viewer, added latency, memory per viewer; and beside it what the kernel takes for the sending alone.
//!
//! The viewers are str0m in a process of its own, so that their cost is not counted. `WHEP_VIEWERS` and `WHEP_SECONDS` change the rounds.

#[path = "../whep/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../whep/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "../whep/studio.rs"]
#[allow(dead_code)]
mod studio;

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hydraneckwebrtc::media::offer::Wanted;
use hydraneckwebrtc::media::udp::Udp;
use hydraneckwebrtc::media::viewer::Viewer;
use rustix::event::epoll;
use serde_json::json;

use client::{Client, Wants};
use generator::Pace;
use studio::Studio;

/// 400 packets of 1,200 bytes a second: 3.8 Mbit/s, as in the measurement of the design.
const PACE: Pace = Pace { frames: 40, packets: 10, bytes: 1_200, group: 80 };

fn main() {
    if std::env::args().nth(1).as_deref() == Some("viewers") {
        return viewers();
    }
    let rounds = std::env::var("WHEP_VIEWERS").unwrap_or_else(|_| "1,10,100,400".into());
    let seconds = std::env::var("WHEP_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    println!(
        "viewers  packets/s  packets/s/core  us/packet  CPU/viewer  latency p50  p99      KiB/viewer  lost"
    );
    for round in rounds.split(',').filter_map(|text| text.parse().ok()) {
        measure(round, Duration::from_secs(seconds));
    }
    send_alone();
}

/// Nanoseconds on a CPU of our threads whose names begin with one of these.
fn cpu(names: &[&str]) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("our threads").flatten();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    tasks
        .filter(|task| names.iter().any(|name| read(task.path().join("comm")).starts_with(name)))
        .filter_map(|task| read(task.path().join("schedstat")).split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// KiB of memory of ours.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("our status");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("the memory");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

fn measure(count: usize, time: Duration) {
    let mut studio = Studio::open(1);
    studio.epoch = Instant::now();
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros();
    let before = memory();
    let mut crowd = Command::new(std::env::current_exe().expect("our name"))
        .args(["viewers", &count.to_string(), &epoch.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("viewers");
    let (mut to, mut from) =
        (crowd.stdin.take().expect("a pipe"), BufReader::new(crowd.stdout.take().expect("a pipe")).lines());
    let _process = studio.play(PACE, 7);
    for _ in 0..count {
        let line = from.next().expect("an offer").expect("a line");
        let sdp: String = serde_json::from_str(&line).expect("an offer");
        let stream = studio.media.stream_of(&studio.session).expect("a stream");
        let role = Box::new(Viewer::new(stream, studio.audience.clone()));
        let wanted = Wanted { session: studio.session.clone(), role, sdp: &sdp };
        let accepted = studio.media.offer(wanted).expect("an answer");
        writeln!(to, "{}", json!(accepted.answer)).expect("a viewer");
    }
    assert_eq!(from.next().expect("a line").expect("a line"), "watching");
    std::thread::sleep(Duration::from_secs(3));
    writeln!(to, "begin").expect("viewers");
    let threads = ["media-", "stream-"];
    let (sent, spent, begun) = (studio.media.snapshot().datagrams_out, cpu(&threads), Instant::now());
    std::thread::sleep(time);
    let (sent, spent, took) =
        (studio.media.snapshot().datagrams_out - sent, cpu(&threads) - spent, begun.elapsed());
    let held = memory().saturating_sub(before) / count as u64;
    writeln!(to, "end").expect("viewers");
    let report: serde_json::Value =
        serde_json::from_str(&from.next().expect("a report").expect("a line")).expect("a report");
    let _ = crowd.wait();
    let rate = sent as f64 / took.as_secs_f64();
    let each = spent as f64 / sent as f64 / 1000.0;
    println!(
        "{count:7}  {rate:9.0}  {:14.0}  {each:9.2}  {:9.3}%  {:8} us  {:6} us  {held:10}  {}",
        1e6 / each,
        spent as f64 / took.as_nanos() as f64 / count as f64 * 100.0,
        report["p50"],
        report["p99"],
        report["lost"],
    );
}

/// The viewers' process: offers out and answers in, one a line; then what they saw.
fn viewers() {
    let number =
        |at: usize| std::env::args().nth(at).and_then(|text| text.parse::<u64>().ok()).expect("a number");
    let (count, epoch) = (number(2), UNIX_EPOCH + Duration::from_micros(number(3)));
    let since = SystemTime::now().duration_since(epoch).expect("a clock");
    let epoch = Instant::now() - since;
    let (words, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| words.send(line))
    });
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut clients: Vec<Client> = Vec::new();
    let mut connected = false;
    for index in 0..count {
        let (mut client, sdp) = Client::offer(Wants::Watch);
        client.epoch = Some(epoch);
        println!("{}", json!(sdp));
        let line = heard.recv().expect("an answer");
        client.answer(&serde_json::from_str::<String>(&line).expect("an answer"));
        let data = epoll::EventData::new_u64(index);
        epoll::add(&ready, client.socket(), data, epoll::EventFlags::IN).expect("epoll");
        clients.push(client);
        step(&ready, &mut clients);
    }
    loop {
        step(&ready, &mut clients);
        if !connected && clients.iter().all(|client| client.seen.frames > 0) {
            connected = true;
            println!("watching");
        }
        match heard.try_recv().as_deref() {
            Ok("begin") => clients.iter_mut().for_each(|client| {
                client.seen.delays.0.clear();
                client.seen.gaps = 0;
            }),
            Ok("end") => break,
            _ => {}
        }
    }
    let mut delays: Vec<u32> =
        clients.iter().flat_map(|client| client.seen.delays.0.iter().copied()).collect();
    delays.sort_unstable();
    let at = |part: usize| delays.get(delays.len() * part / 100).copied().unwrap_or_default();
    let lost: u64 = clients.iter().map(|client| client.seen.gaps).sum();
    println!("{}", json!({"p50": at(50), "p99": at(99), "lost": lost}));
}

fn step(ready: &impl std::os::fd::AsFd, clients: &mut [Client]) {
    let mut events = Vec::with_capacity(512);
    let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let _ = epoll::wait(ready, rustix::buffer::spare_capacity(&mut events), Some(&pause));
    for event in &events {
        if let Some(client) = clients.get_mut(event.data.u64() as usize) {
            client.pump();
        }
    }
    let now = Instant::now();
    clients.iter_mut().filter(|client| client.next <= now).for_each(Client::pump);
}

/// The limit: the kernel's part alone, trains of ten packets on loopback into a socket that nobody reads.
fn send_alone() {
    let sink = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = sink.local_addr().expect("its address");
    let udp = Udp::unbound([127, 0, 0, 1].into()).expect("a socket");
    let (train, begun, mut sent) = (vec![0u8; 12_280], Instant::now(), 0u64);
    while begun.elapsed() < Duration::from_secs(2) {
        for _ in 0..100 {
            let _ = udp.send(to, None, &train, Some(1_228));
            sent += 10;
        }
    }
    let each = begun.elapsed().as_nanos() as f64 / sent as f64 / 1000.0;
    println!("sending alone, trains of ten: {each:.2} us/packet");
}
