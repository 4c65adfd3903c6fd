//! The limits of the viewers' benchmark: what encrypting and sending cost without anything around them, and the bare loopback's delay.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hydraneckwebrtc::media::udp::Udp;

use crate::generator::{Generator, Pace, Pair};
use crate::process::own_cpu;
use crate::trains::{ROOM, Taker};

/// Payload and head of a packet, and the tag of AES-GCM.
const PAYLOAD: usize = 1_200;
const HEAD: usize = 12;
const TAG: usize = 16;
const DATAGRAM: usize = HEAD + PAYLOAD + TAG;

/// Receivers of the limit, so that no queue runs full.
const SINKS: usize = 40;

/// How long each limit is measured.
const LASTS: Duration = Duration::from_secs(2);

/// CPU µs per packet: of protecting alone, of sending alone, of both; in trains of so many, for receivers that take trains whole or not.
pub fn limits(train: usize, whole: bool) -> [f64; 3] {
    let sinks = Sinks::open(whole);
    let udp = Udp::unbound([127, 0, 0, 1].into()).expect("a socket");
    let provider = str0m::crypto::from_feature_flags();
    let mut cipher = provider.srtp_provider.aead_aes_256_gcm().create_cipher([7; 32], true);
    let payload = [9u8; PAYLOAD];
    let mut room = vec![0u8; DATAGRAM * train];
    let mut number = 0u64;
    let mut protect = |room: &mut [u8]| {
        for datagram in room.chunks_mut(DATAGRAM) {
            let (head, rest) = datagram.split_at_mut(HEAD);
            let mut iv = [0; 12];
            iv[4..].copy_from_slice(&number.to_be_bytes());
            cipher.encrypt(&iv, head, &payload, rest).expect("a cipher");
            number += 1;
        }
    };
    let mut turn = 0;
    let mut send = |room: &[u8]| {
        turn = (turn + 1) % SINKS;
        let _ = udp.send(sinks.addresses[turn], None, room, Some(DATAGRAM));
    };
    [
        measure(train, || protect(&mut room)),
        measure(train, || send(&room)),
        measure(train, || {
            protect(&mut room);
            send(&room);
        }),
    ]
}

fn measure(train: usize, mut one: impl FnMut()) -> f64 {
    let (begun, cpu, mut trains) = (Instant::now(), own_cpu(), 0u64);
    while begun.elapsed() < LASTS {
        (0..50).for_each(|_| one());
        trains += 50;
    }
    (own_cpu() - cpu) as f64 / (trains * train as u64) as f64 / 1e3
}

/// Sockets that a thread reads.
struct Sinks {
    addresses: Vec<SocketAddr>,
    over: Arc<AtomicBool>,
}

impl Sinks {
    fn open(whole: bool) -> Sinks {
        let sockets: Vec<_> = (0..SINKS).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().expect("its address")).collect();
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        sockets.iter().for_each(|socket| socket.set_nonblocking(true).expect("no waiting"));
        let takers: Vec<_> = sockets.iter().map(|socket| Taker::of(socket, whole)).collect();
        std::thread::spawn(move || {
            let mut room = vec![0; ROOM];
            while !stop.load(Ordering::Relaxed) {
                takers.iter().for_each(|taker| taker.take(&mut room, |_, _| ()));
            }
        });
        Sinks { addresses, over }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// The delay from a source's stamp to whoever reads its port, in milliseconds: half of all, and 99 of 100.
pub fn bare_delay(pace: Pace) -> (f64, f64) {
    let (pair, epoch) = (Pair::bind(), Instant::now());
    let generator = Generator::start(pair.ports(), pace, 1, epoch);
    pair.video.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
    let (mut room, mut delays) = ([0; 2_048], Vec::new());
    while epoch.elapsed() < LASTS {
        let Ok(length) = pair.video.recv(&mut room) else { continue };
        let now = epoch.elapsed().as_micros() as u64;
        let stamp = room[..length].get(22..30).and_then(|bytes| bytes.try_into().ok());
        delays.extend(stamp.map(|stamp| now.saturating_sub(u64::from_be_bytes(stamp))));
    }
    drop(generator);
    delays.sort_unstable();
    let at =
        |part: usize| delays.get(delays.len() * part / 100).map_or(f64::NAN, |micros| *micros as f64 / 1e3);
    (at(50), at(99))
}
