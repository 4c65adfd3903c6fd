//! The far end of a benchmark, viewers or members, is in a process of its own so that its cost is not counted. What both kinds have in
//! common: words that it is told while it works, waiting for many sockets, and the report of a round.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use serde_json::Value;

/// How long it rests between two looks, where packets are counted only.
const NAP: Duration = Duration::from_millis(1);

/// Where packets are counted only, one of so many decrypts them all the same: what arrives is what it should be, and tells the delay.
pub const SAMPLE: usize = 16;

/// What was seen in one round.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Packets that arrived.
    pub packets: f64,
    /// Of all packets that can be told to be lost, in per cent.
    pub lost: f64,
    /// From the sender's stamp to here, in milliseconds.
    pub p50: f64,
    pub p99: f64,
    /// CPU of the far end's process.
    pub cpu: Duration,
    /// The largest datagram, where that is looked at: tells the cipher by the length of its tag.
    pub largest: f64,
}

impl Report {
    /// As the far end prints it: `packets`, `lost` and `kept` (packets that would have been missed), delays in microseconds, CPU in
    /// nanoseconds.
    pub fn read(report: &Value) -> Report {
        let number = |name: &str| report[name].as_f64().expect("a number");
        Report {
            packets: number("packets"),
            lost: number("lost") / (number("lost") + number("kept")).max(1.0) * 100.0,
            p50: number("p50") / 1e3,
            p99: number("p99") / 1e3,
            cpu: Duration::from_nanos(number("cpu") as u64),
            largest: report["largest"].as_f64().unwrap_or(f64::NAN),
        }
    }
}

/// The value that so many per cent of all are not greater than; they are in order.
pub fn percentile(sorted: &[u32], part: usize) -> u32 {
    sorted.get(sorted.len() * part / 100).copied().unwrap_or_default()
}

/// Lines of the standard input as `read` has them; the end of them is that of whoever started this process.
pub fn words(read: impl Fn(String) -> Option<String> + Send + 'static) -> Receiver<String> {
    let (words, heard) = channel();
    std::thread::spawn(move || {
        let mut lines = std::io::stdin().lines().map_while(Result::ok).map_while(read);
        lines.try_for_each(|line| words.send(line))
    });
    heard
}

/// Sockets that somebody waits for.
pub struct Bell {
    ready: OwnedFd,
    /// Whether it looks at them from time to time, instead of being woken by each.
    pub naps: bool,
}

impl Bell {
    pub fn new(naps: bool) -> Bell {
        Bell { ready: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"), naps }
    }

    /// Waits for this one, too, and calls it by a number.
    pub fn add(&self, socket: impl AsFd, number: usize) {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.ready, socket, data, epoll::EventFlags::IN).expect("epoll");
    }

    /// Numbers of those where something has come, after a millisecond at most.
    pub fn wait(&self) -> impl Iterator<Item = usize> + use<> {
        let mut events = Vec::with_capacity(512);
        if self.naps {
            std::thread::sleep(NAP);
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: if self.naps { 0 } else { 1_000_000 } };
        let _ = epoll::wait(&self.ready, rustix::buffer::spare_capacity(&mut events), Some(&pause));
        events.into_iter().map(|event: epoll::Event| event.data.u64() as usize)
    }
}
