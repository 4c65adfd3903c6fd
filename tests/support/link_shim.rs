//! A network link with delay, for tests in network namespaces: `link-shim NAME_A NAME_B DELAY_MS`.
//!
//! It makes two TUN devices and carries whole IP packets from one to the other, each delayed by DELAY_MS, in order. The
//! caller moves the devices into its namespaces and gives them addresses. Prints `ready` and runs until its stdin closes.
//!
//! There is no `tc netem` on the kernels the tests run on; this also delays TCP, which a UDP proxy could not.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Largest IP packet.
const PACKET: usize = 65_536;

/// `ioctl(2)` request that names a TUN device (linux/if_tun.h).
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// Whole IP packets, no packet information.
const FLAGS: i16 = 0x0001 | 0x1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [a, b, delay] = arguments.as_slice() else { panic!("usage: link-shim NAME_A NAME_B DELAY_MS") };
    let delay = Duration::from_millis(delay.parse().expect("milliseconds"));
    let (a, b) = (tun(a), tun(b));
    carry(&a, &b, delay);
    carry(&b, &a, delay);
    println!("ready");
    std::io::stdout().flush().expect("stdout");
    // Until whoever started us goes away.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
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

/// Packets out of `from` come out of `to` after `delay`.
fn carry(from: &File, to: &File, delay: Duration) {
    let (mut from, to) = (from.try_clone().expect("a file"), to.try_clone().expect("a file"));
    let (sender, receiver): (Sender<(Instant, Vec<u8>)>, _) = channel();
    thread::spawn(move || deliver(to, &receiver));
    thread::spawn(move || {
        let mut packet = vec![0u8; PACKET];
        // A device that is down, or gone with its namespace, is an error: look again.
        loop {
            match from.read(&mut packet) {
                Ok(length) => {
                    if sender.send((Instant::now() + delay, packet[..length].to_vec())).is_err() {
                        return;
                    }
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    });
}

fn deliver(mut to: File, packets: &Receiver<(Instant, Vec<u8>)>) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let pause = waiting
            .front()
            .map_or(Duration::from_secs(1), |(due, _)| due.saturating_duration_since(Instant::now()));
        match packets.recv_timeout(pause) {
            Ok(packet) => waiting.push_back(packet),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, packet)) = waiting.pop_front() {
                // A device that is down takes nothing: the packet is lost, as on a real link.
                let _ = to.write_all(&packet);
            }
        }
    }
}
