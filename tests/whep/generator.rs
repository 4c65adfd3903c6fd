//! What a process would send: RTP of made-up VP8 and Opus into a loopback pair, in real time.
//!
//! Payload of video: two bytes that look like VP8, then the packet's number and its sending time in microseconds.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Frames per second.
    pub frames: u32,
    /// Packets per frame.
    pub packets: u32,
    /// Bytes of payload of each.
    pub bytes: usize,
    /// Frames from one key frame to the next.
    pub group: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { frames: 30, packets: 4, bytes: 1_000, group: 60 }
    }
}

/// The ports of one stream.
pub struct Pair {
    pub video: UdpSocket,
    pub audio: UdpSocket,
}

impl Pair {
    /// An adjacent pair on loopback.
    pub fn bind() -> Pair {
        for _ in 0..50 {
            let video = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let port = video.local_addr().expect("its address").port();
            if let Some(Ok(audio)) = port.checked_add(1).map(|next| UdpSocket::bind(("127.0.0.1", next))) {
                return Pair { video, audio };
            }
        }
        panic!("no adjacent pair of ports is free");
    }

    pub fn ports(&self) -> (SocketAddr, SocketAddr) {
        (self.video.local_addr().expect("an address"), self.audio.local_addr().expect("an address"))
    }
}

/// A sender at work; it stops when dropped.
pub struct Generator {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Generator {
    /// Begins to send as a process of this SSRC.
    pub fn start(to: (SocketAddr, SocketAddr), pace: Pace, ssrc: u32, epoch: Instant) -> Generator {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || run(to, pace, ssrc, epoch, &stop)
        });
        Generator { stop, thread: Some(thread) }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.take().map(JoinHandle::join);
    }
}

fn run(to: (SocketAddr, SocketAddr), pace: Pace, ssrc: u32, epoch: Instant, stop: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let begun = Instant::now();
    let (mut sequence, mut sounds, mut number) = (ssrc as u16, 0u32, 0u64);
    for frame in 0.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let due = Duration::from_secs(1) * frame / pace.frames;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let timestamp = (u64::from(frame) * 90_000 / u64::from(pace.frames)) as u32;
        for packet in 0..pace.packets {
            let key = frame % pace.group == 0;
            let mut payload = vec![if packet == 0 { 0x10 } else { 0x00 }, if key { 0x50 } else { 0x51 }];
            payload.extend(number.to_be_bytes());
            payload.extend((epoch.elapsed().as_micros() as u64).to_be_bytes());
            payload.resize(pace.bytes, 0);
            let marker = packet + 1 == pace.packets;
            send(&socket, to.0, header(96, marker, sequence, timestamp, ssrc), &payload);
            (sequence, number) = (sequence.wrapping_add(1), number + 1);
        }
        while u64::from(sounds) * 20 <= begun.elapsed().as_millis() as u64 {
            let head = header(111, false, sounds as u16, sounds * 960, ssrc ^ 1);
            send(&socket, to.1, head, &[0xFC; 80]);
            sounds += 1;
        }
    }
}

fn header(kind: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut head = vec![0x80, kind | if marker { 0x80 } else { 0 }];
    head.extend(sequence.to_be_bytes());
    head.extend(timestamp.to_be_bytes());
    head.extend(ssrc.to_be_bytes());
    head
}

fn send(socket: &UdpSocket, to: SocketAddr, mut head: Vec<u8>, payload: &[u8]) {
    head.extend_from_slice(payload);
    // Nobody listening is a test's business.
    let _ = socket.send_to(&head, to);
}
