//! The limits of the viewers' benchmark: what encrypting and sending cost without anything around them, and the bare loopback's delay.
//!
//! There are two. The *rush* sends one train behind the other, with one key, to a few sockets that somebody looks at all the time: nothing of
//! it ever leaves the processor's caches, and no send wakes anybody. The *pace* sends what a media thread sends, when it sends it: the trains
//! of a picture at once, then nothing until the next picture; a key for each receiver, and receivers in a process of their own that sleeps
//! until something comes. What is between the two is the price of sending a stream at all; what is between the pace and us is ours.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hydraneckwebrtc::media::udp::Udp;
use serde_json::json;
use str0m::crypto::AeadAes256GcmCipher;

use crate::far_end::{Bell, words};
use crate::generator::{Generator, Pace, Pair};
use crate::process::{Helper, own_cpu};
use crate::trains::{ROOM, Taker};

/// Payload and head of a packet, and the tag of AES-GCM.
const PAYLOAD: usize = 1_200;
const HEAD: usize = 12;
const TAG: usize = 16;
const DATAGRAM: usize = HEAD + PAYLOAD + TAG;

/// Payload of a sound, and how many milliseconds it lasts, as the generator has them.
const SOUND: usize = 80;
const SOUND_EVERY: u64 = 20;

/// Receivers of the limit, so that no queue runs full.
const SINKS: usize = 40;

/// Room of each receiver's socket of the limit at a stream's pace: as much as the viewers have.
const QUEUE: usize = 4 << 20;

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
    let mut protect_all = |room: &mut [u8]| {
        for datagram in room.chunks_mut(DATAGRAM) {
            protect(&mut *cipher, datagram, &payload, number);
            number += 1;
        }
    };
    let mut turn = 0;
    let mut send = |room: &[u8]| {
        turn = (turn + 1) % SINKS;
        let _ = udp.send(sinks.addresses[turn], None, room, Some(DATAGRAM));
    };
    [
        measure(train, || protect_all(&mut room)),
        measure(train, || send(&room)),
        measure(train, || {
            protect_all(&mut room);
            send(&room);
        }),
    ]
}

fn protect(cipher: &mut dyn AeadAes256GcmCipher, datagram: &mut [u8], payload: &[u8], number: u64) {
    let (head, rest) = datagram.split_at_mut(HEAD);
    let mut iv = [0; 12];
    iv[4..].copy_from_slice(&number.to_be_bytes());
    cipher.encrypt(&iv, head, payload, rest).expect("a cipher");
}

fn measure(train: usize, mut one: impl FnMut()) -> f64 {
    let (begun, cpu, mut trains) = (Instant::now(), own_cpu(), 0u64);
    while begun.elapsed() < LASTS {
        (0..50).for_each(|_| one());
        trains += 50;
    }
    (own_cpu() - cpu) as f64 / (trains * train as u64) as f64 / 1e3
}

/// The limit at a stream's pace, for so many receivers.
pub struct Paced {
    /// Ends when dropped.
    _sinks: Helper,
    addresses: Vec<SocketAddr>,
    ciphers: Vec<Box<dyn AeadAes256GcmCipher>>,
    udp: Udp,
}

impl Paced {
    pub fn open(receivers: usize, whole: bool) -> Paced {
        let mut sinks = Helper::ourselves(&["--sink", &receivers.to_string(), &whole.to_string()]);
        let addresses = serde_json::from_str(&sinks.hear()).expect("addresses");
        let provider = str0m::crypto::from_feature_flags();
        let cipher = |_| provider.srtp_provider.aead_aes_256_gcm().create_cipher([7; 32], true);
        let udp = Udp::unbound([127, 0, 0, 1].into()).expect("a socket");
        Paced { _sinks: sinks, addresses, ciphers: (0..receivers).map(cipher).collect(), udp }
    }

    /// CPU µs per packet of a thread that does nothing else, for so long.
    pub fn measure(&mut self, pace: Pace, lasts: Duration) -> f64 {
        let Paced { addresses, ciphers, udp, .. } = self;
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_paced(addresses, ciphers, udp, pace, lasts));
            sender.join().expect("the sender")
        })
    }
}

fn send_paced(
    addresses: &[SocketAddr],
    ciphers: &mut [Box<dyn AeadAes256GcmCipher>],
    udp: &Udp,
    pace: Pace,
    lasts: Duration,
) -> f64 {
    let datagram = HEAD + pace.bytes + TAG;
    let picture = datagram * pace.packets as usize;
    let (payload, mut room) = (vec![9u8; pace.bytes], vec![0u8; picture + HEAD + SOUND + TAG]);
    let (mut number, mut sounds, begun, cpu) = (0u64, 0u64, Instant::now(), own_cpu());
    for due in (0..).map(|frame| Duration::from_secs(1) * frame / pace.frames).take_while(|due| *due < lasts)
    {
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        // Sound comes right behind a picture, and ends its train: it is shorter. What is more of it goes by itself.
        let heard = due.as_millis() as u64 / SOUND_EVERY + 1 - sounds;
        sounds += heard;
        for (address, cipher) in addresses.iter().zip(&mut *ciphers) {
            for place in 0..u64::from(pace.packets) + heard {
                let from = (place as usize * datagram).min(picture);
                let to = room.len().min(from + datagram);
                protect(&mut **cipher, &mut room[from..to], &payload[..to - from - HEAD - TAG], number);
                number += 1;
                if from == picture && place > u64::from(pace.packets) {
                    let _ = udp.send(*address, None, &room[from..to], None);
                }
                if place == u64::from(pace.packets) - u64::from(heard == 0) {
                    let _ = udp.send(*address, None, &room[..to], Some(datagram));
                }
            }
        }
    }
    (own_cpu() - cpu) as f64 / number as f64 / 1e3
}

/// The receivers of [`Paced`], in a process of their own.
pub fn sink(arguments: &[String]) {
    let count: usize = arguments.first().and_then(|text| text.parse().ok()).expect("a number");
    let whole = arguments.get(1).is_some_and(|word| word == "true");
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket")).collect();
    let bell = Bell::new(false);
    for (number, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true).expect("no waiting");
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, QUEUE);
        bell.add(socket, number);
    }
    let takers: Vec<_> = sockets.iter().map(|socket| Taker::of(socket, whole)).collect();
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().expect("its address")).collect();
    println!("{}", json!(addresses));
    let (heard, mut room) = (words(Some), vec![0; ROOM]);
    while heard.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
        bell.wait()
            .filter_map(|number| takers.get(number))
            .for_each(|taker| taker.take(&mut room, |_, _| ()));
    }
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
