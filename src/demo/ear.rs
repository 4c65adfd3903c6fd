//! The simulated body's ear: it takes the microphone's RTP as hydrabody does and says in the log what it hears.
//!
//! It does not decode Opus, so it knows no loudness. What it says is what can be seen from outside: packets, the time that
//! their sound lasts (RFC 6716, 3.1), what was lost, and bits per second.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::uninterrupted::receive;

/// How often it looks whether it is to stop, or whether the microphone fell silent.
const PAUSE: Duration = Duration::from_millis(200);

/// Between two lines about a microphone that goes on.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Without a packet for so long the microphone is off.
const SILENCE: Duration = Duration::from_secs(2);

/// RTP's fixed header.
const HEADER: usize = 12;

/// What was heard so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// RTP packets of Opus.
    pub packets: u64,
    /// Packets that are missing between those that came.
    pub lost: u64,
    /// How long the sound lasts.
    pub sound: Duration,
    /// Bytes of Opus.
    pub bytes: u64,
    /// Datagrams that were nothing of the kind.
    pub strange: u64,
}

/// The ear and its thread, `demo-ear`.
pub struct Ear {
    port: u16,
    heard: Arc<Mutex<Heard>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// Listens on this address, at a port of the kernel's choice.
    pub fn start(ip: IpAddr) -> io::Result<Ear> {
        let socket = UdpSocket::bind((ip, 0))?;
        let port = socket.local_addr()?.port();
        let (heard, stopping) = (Arc::new(Mutex::new(Heard::default())), Arc::new(AtomicBool::new(false)));
        let (shared, flag) = (heard.clone(), stopping.clone());
        let work = move || listen(&socket, &flag, &shared);
        let thread = std::thread::Builder::new().name("demo-ear".into()).spawn(work)?;
        Ok(Ear { port, heard, stopping, thread: Some(thread) })
    }

    /// For `bodies.mic_port`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What was heard so far.
    pub fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("[demo] the thread of the simulated body's ear panicked");
        }
    }
}

/// One microphone from its first packet to its silence.
struct Voice {
    last_packet: Instant,
    last_line: Instant,
    at_last_line: Heard,
    expected: u16,
}

fn listen(socket: &UdpSocket, stopping: &AtomicBool, shared: &Mutex<Heard>) {
    let mut buffer = [0u8; 2048];
    let mut voice: Option<Voice> = None;
    while !stopping.load(Ordering::Acquire) {
        let received = receive(socket, &mut buffer, Instant::now() + PAUSE);
        let now = Instant::now();
        let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(length) = received {
            match Packet::parse(buffer.get(..length).unwrap_or_default()) {
                Some(packet) => voice = Some(packet.add_to(&mut heard, voice.take(), now)),
                None => heard.strange += 1,
            }
        }
        voice = voice.and_then(|voice| voice.go_on(&heard, now));
    }
}

impl Voice {
    /// Says how it goes, when it is time to; `None` when the microphone is off.
    fn go_on(mut self, heard: &Heard, now: Instant) -> Option<Voice> {
        if now.duration_since(self.last_packet) >= SILENCE {
            log::info!(
                "[demo] the body hears the microphone no more; {:.1} s of sound in all",
                heard.sound.as_secs_f64()
            );
            return None;
        }
        let since = now.duration_since(self.last_line);
        if since >= REPORT_EVERY {
            let before = self.at_last_line;
            let per_second = |amount: u64| amount as f64 / since.as_secs_f64();
            log::info!(
                "[demo] the body hears the microphone: {:.0} packets/s, {:.1} s of sound in {:.1} s, {:.0} kbit/s, {} lost",
                per_second(heard.packets.saturating_sub(before.packets)),
                heard.sound.saturating_sub(before.sound).as_secs_f64(),
                since.as_secs_f64(),
                per_second(heard.bytes.saturating_sub(before.bytes)) * 8.0 / 1000.0,
                heard.lost.saturating_sub(before.lost)
            );
            (self.last_line, self.at_last_line) = (now, *heard);
        }
        Some(self)
    }
}

/// What counts of an RTP packet.
struct Packet {
    sequence: u16,
    payload: usize,
    sound: Duration,
}

impl Packet {
    /// Plain RTP with Opus, as a body takes it: version 2, no padding, extension or sources, payload type 111.
    fn parse(datagram: &[u8]) -> Option<Packet> {
        let (head, payload) = datagram.split_first_chunk::<HEADER>()?;
        let [first, second, high, low, ..] = *head;
        (first == 0x80 && second == 111 && !payload.is_empty()).then(|| Packet {
            sequence: u16::from_be_bytes([high, low]),
            payload: payload.len(),
            sound: duration(payload),
        })
    }

    fn add_to(self, heard: &mut Heard, voice: Option<Voice>, now: Instant) -> Voice {
        // What overtook another is no loss: distances beyond half the range count as the past.
        let gap = voice.as_ref().map_or(0, |voice| self.sequence.wrapping_sub(voice.expected));
        let ahead = gap < 0x8000;
        heard.lost += if ahead { u64::from(gap) } else { 0 };
        heard.packets += 1;
        heard.bytes += self.payload as u64;
        heard.sound += self.sound;
        let next = self.sequence.wrapping_add(1);
        match voice {
            Some(voice) if ahead => Voice { last_packet: now, expected: next, ..voice },
            Some(voice) => Voice { last_packet: now, ..voice },
            None => {
                log::info!("[demo] the body hears a microphone");
                Voice { last_packet: now, last_line: now, at_last_line: *heard, expected: next }
            }
        }
    }
}

/// How long an Opus packet's sound lasts, by its first bytes (RFC 6716, 3.1 and 3.2).
fn duration(payload: &[u8]) -> Duration {
    let first = payload.first().copied().unwrap_or_default();
    // In units of 2.5 ms, by the configuration number.
    let frame = match first >> 3 {
        config @ 0..=11 => [4, 8, 16, 24][usize::from(config % 4)],
        config @ 12..=15 => [4, 8][usize::from(config % 2)],
        config => [1, 2, 4, 8][usize::from(config % 4)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(payload.get(1).copied().unwrap_or_default() & 0x3f),
    };
    // 120 ms is the most there may be.
    Duration::from_micros(2500) * (frame * frames).min(48)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms of CELT, one frame.
    const TOC: u8 = 31 << 3;

    fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        [&[0x80, 111, high, low, 0, 0, 0, 0, 1, 2, 3, 4], payload].concat()
    }

    #[test]
    fn packets_and_their_sound_are_counted_and_strange_ones_apart() {
        let ear = Ear::start([127, 0, 0, 1].into()).expect("a port");
        let mouth = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let say = |bytes: &[u8]| mouth.send_to(bytes, ("127.0.0.1", ear.port())).expect("sent");
        for sequence in [0xfffe, 0xffff, 1, 2] {
            say(&packet(sequence, &[TOC, 1, 2, 3]));
        }
        say(b"what?");
        say(&[0x90; 40]);
        let begun = Instant::now();
        let all = |heard: &Heard| heard.packets + heard.strange == 6;
        while !all(&ear.heard()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", ear.heard());
            std::thread::yield_now();
        }
        let expected = Heard { packets: 4, lost: 1, sound: Duration::from_millis(80), bytes: 16, strange: 2 };
        assert_eq!(ear.heard(), expected);
    }

    #[test]
    fn opus_says_how_long_it_lasts() {
        for (bytes, millis) in [
            (&[TOC][..], 20),
            (&[TOC | 1], 40),
            (&[3 << 3], 60),
            (&[12 << 3], 10),
            (&[(28 << 3) | 3, 3], 7),
            (&[(3 << 3) | 3, 0x3f], 120),
            (&[], 10),
        ] {
            assert_eq!(duration(bytes).as_millis(), millis, "{bytes:?}");
        }
    }
}
