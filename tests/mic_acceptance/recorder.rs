//! What arrives at the body's microphone port: every packet kept, every header checked.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Timestamp units of a 20 ms frame at 48 kHz: what browsers and aiortc send.
const FRAME: u32 = 960;

/// One packet.
#[derive(Clone, Debug)]
pub struct Packet {
    pub at: Instant,
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7]])
    }

    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11]])
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[12..]
    }
}

/// Listens as a body does.
pub struct Recorder {
    packets: Arc<Mutex<Vec<Packet>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    pub fn start(socket: UdpSocket) -> Recorder {
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let (packets, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, until) = (packets.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !until.load(Ordering::Acquire) {
                if let Ok((length, _)) = socket.recv_from(&mut buffer) {
                    let packet = Packet { at: Instant::now(), bytes: buffer[..length].to_vec() };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
                }
            }
        });
        Recorder { packets, over, thread: Some(thread) }
    }

    /// Everything since the last call.
    pub fn take(&self) -> Vec<Packet> {
        std::mem::take(&mut *self.packets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn count(&self) -> usize {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What must hold of the order of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first of a microphone, nothing lost, nothing late.
    Whole,
    /// Gaps and late ones are fine; distances between numbers and times are not.
    Gaps,
}

/// Checks every packet of one microphone; what was seen, in words.
pub fn check(packets: &[Packet], order: Order) -> String {
    assert!(!packets.is_empty(), "nothing arrived");
    let (mut gaps, mut late) = (0, 0);
    let ssrc = packets[0].ssrc();
    for packet in packets {
        let head = &packet.bytes[..packet.bytes.len().min(16)];
        assert!(packet.bytes.len() > 12, "no payload: {head:02x?}");
        assert_eq!(packet.bytes[0], 0x80, "version 2, no padding, no extension, no CSRC: {head:02x?}");
        assert_eq!(packet.bytes[1], 111, "payload type 111, marker 0: {head:02x?}");
        assert_eq!(packet.ssrc(), ssrc, "one SSRC: {head:02x?}");
    }
    for pair in packets.windows(2) {
        let step = pair[1].sequence().wrapping_sub(pair[0].sequence());
        let time = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
        let signed = i32::from(step.cast_signed());
        let expected = FRAME.wrapping_mul(signed.cast_unsigned());
        assert_eq!(time, expected, "a frame is 20 ms: sequence +{signed}, time +{}", time.cast_signed());
        gaps += usize::from(signed > 1);
        late += usize::from(signed <= 0);
    }
    if order == Order::Whole {
        assert_eq!((packets[0].sequence(), packets[0].timestamp()), (0, 0), "from 0");
        assert_eq!((gaps, late), (0, 0), "gaps, late ones");
    }
    format!("{} packets, SSRC {ssrc:08x}, {gaps} gaps, {late} late", packets.len())
}
