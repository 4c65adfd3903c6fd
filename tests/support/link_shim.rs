//! A network link with delay, loss and reordering, for tests in network namespaces: `link-shim NAME_A NAME_B DELAY_MS`.
//!
//! It makes two TUN devices and carries whole IP packets from one to the other, each delayed by DELAY_MS, in order. The
//! caller moves the devices into its namespaces and gives them addresses. Prints `ready` and runs until its stdin closes.
//! Lines on stdin change the link: `loss PERCENT`, `reorder PERCENT` (so many packets take 40 ms longer and are overtaken).
//!
//! There is no `tc netem` on the kernels the tests run on; this also delays TCP, which a UDP proxy could not.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Largest IP packet.
const PACKET: usize = 65_536;

/// `ioctl(2)` request that names a TUN device (linux/if_tun.h).
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// Whole IP packets, no packet information.
const FLAGS: i16 = 0x0001 | 0x1000;

/// How much longer a packet takes that is overtaken: two packets of 20 ms.
const OVERTAKEN: Duration = Duration::from_millis(40);

/// Of each direction, in percent.
static LOSS: AtomicU32 = AtomicU32::new(0);
static REORDER: AtomicU32 = AtomicU32::new(0);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [a, b, delay] = arguments.as_slice() else { panic!("usage: link-shim NAME_A NAME_B DELAY_MS") };
    let delay = Duration::from_millis(delay.parse().expect("milliseconds"));
    let (a, b) = (tun(a), tun(b));
    carry(&a, &b, delay, 1);
    carry(&b, &a, delay, 2);
    println!("ready");
    std::io::stdout().flush().expect("stdout");
    // Until whoever started us goes away.
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        change(&line);
    }
}

fn change(line: &str) {
    let (what, percent) = line.split_once(' ').expect("`loss PERCENT` or `reorder PERCENT`");
    let percent = percent.parse().expect("percent");
    match what {
        "loss" => LOSS.store(percent, Ordering::Relaxed),
        "reorder" => REORDER.store(percent, Ordering::Relaxed),
        _ => panic!("no such change: {what}"),
    }
}

fn tun(name: &str) -> File {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    // struct ifreq: 16 bytes of name, then the flags.
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[16..18].copy_from_slice(&FLAGS.to_ne_bytes());
    // SAFETY: the request is as large as struct ifreq and lives during the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(result, 0, "TUNSETIFF {name}: {}", std::io::Error::last_os_error());
    file
}

/// Numbers that look random, the same ones at each run.
struct Chance(u64);

impl Chance {
    /// True for so many of a hundred calls.
    fn hits(&mut self, percent: &AtomicU32) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100 < u64::from(percent.load(Ordering::Relaxed))
    }
}

/// Packets out of `from` come out of `to` after `delay`.
fn carry(from: &File, to: &File, delay: Duration, seed: u64) {
    let (mut from, to) = (from.try_clone().expect("a file"), to.try_clone().expect("a file"));
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, _) = channel();
    thread::spawn(move || deliver(to, &receiver));
    thread::spawn(move || {
        let (mut packet, mut chance) = (vec![0u8; PACKET], Chance(seed));
        // A device that is down, or gone with its namespace, is an error: look again.
        loop {
            match from.read(&mut packet) {
                Ok(length) => {
                    if chance.hits(&LOSS) {
                        continue;
                    }
                    let extra = if chance.hits(&REORDER) { OVERTAKEN } else { Duration::ZERO };
                    if sender.send((Instant::now() + delay + extra, packet[..length].to_vec())).is_err() {
                        return;
                    }
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    });
}

fn deliver(mut to: File, packets: &Receiver<(Instant, Vec<u8>)>) {
    let mut waiting: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
    let mut count = 0;
    loop {
        let pause = waiting
            .first_key_value()
            .map_or(Duration::from_secs(1), |((due, _), _)| due.saturating_duration_since(Instant::now()));
        match packets.recv_timeout(pause) {
            Ok((due, packet)) => {
                count += 1;
                waiting.insert((due, count), packet);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.first_key_value().is_some_and(|((due, _), _)| *due <= Instant::now()) {
            if let Some((_, packet)) = waiting.pop_first() {
                // A device that is down takes nothing: the packet is lost, as on a real link.
                let _ = to.write_all(&packet);
            }
        }
    }
}
