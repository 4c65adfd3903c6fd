//! The engine `demo`: a clip in this binary, sent again and again by a thread of ours, `session-ID-clip`.
//!
//! It is sent as FFmpeg would send it: plain RTP with sender reports to a pair of loopback ports ([`super::ingest`]). Time
//! stamps, sequence numbers and picture ids go on where one round ends and the next begins.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::core::ids::SessionId;
use crate::host::{clock, entropy};
use crate::media::rtp::sender::{
    AUDIO_CLOCK, AUDIO_PAYLOAD_TYPE, RtpSender, Start, VIDEO_CLOCK, VIDEO_PAYLOAD_TYPE,
};

/// The file. Made by `make-clip.sh`.
const FILE: &[u8] = include_bytes!("clip.webm");

/// Pictures of one round, and how far they are apart.
const PICTURES: usize = 250;
const PICTURE: Duration = Duration::from_millis(40);

/// Pieces of sound of one round, and how far they are apart.
const SOUNDS: usize = 500;
const SOUND: Duration = Duration::from_millis(20);

/// Between two sender reports; a player needs one of each stream before it can play them together.
const REPORT: Duration = Duration::from_secs(1);

/// Who is this late has been stopped for a while: it goes on from here instead of catching up at once.
const LATE: Duration = Duration::from_millis(500);

/// What both streams have in common (RFC 3550, 6.5.1).
const NAME: &str = "hydraneckwebrtc-demo";

/// Stack in bytes: a packet or two.
const STACK: usize = 128 * 1024;

/// The clip's frames, one round.
#[derive(Debug)]
pub struct Clip {
    pictures: Vec<&'static [u8]>,
    sounds: Vec<&'static [u8]>,
}

/// What was sent so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// Pictures.
    pub frames: AtomicU64,
    /// Bytes of RTP.
    pub bytes: AtomicU64,
}

/// The clip under way.
#[derive(Debug)]
pub struct Playing {
    stop: Option<Sender<()>>,
    over: Arc<AtomicBool>,
    sent: Arc<Sent>,
    thread: JoinHandle<()>,
}

impl Clip {
    /// The built-in clip. `None` only if the file in the source tree is not what the script makes.
    pub fn built_in() -> Option<Clip> {
        let mut pictures = Vec::new();
        let mut sounds = Vec::new();
        for track in webm::parse(FILE)? {
            let frames = track.frames.iter().map(|frame| frame.data);
            match track.codec {
                b"V_VP8" => pictures.extend(frames),
                b"A_OPUS" => sounds.extend(frames),
                _ => return None,
            }
        }
        (pictures.len() == PICTURES && sounds.len() == SOUNDS).then_some(Clip { pictures, sounds })
    }

    /// Starts sending to `port` (the picture) and `port + 1` (the sound) on loopback. `ended` is called when the thread
    /// ends, for whatever reason.
    pub fn play(
        self,
        session: &SessionId,
        port: u16,
        ended: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Playing> {
        let connect = |port: u16| -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, port))?;
            Ok(socket)
        };
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Sent::default()));
        let player = Player {
            picture: Leg::new(connect(port)?, VIDEO_PAYLOAD_TYPE, VIDEO_CLOCK),
            sound: Leg::new(connect(port.saturating_add(1))?, AUDIO_PAYLOAD_TYPE, AUDIO_CLOCK),
            clip: self,
            sent: sent.clone(),
        };
        let notice = Notice { over: over.clone(), ended: Some(Box::new(ended)) };
        let name = format!("session-{}-clip", session.short());
        let thread = std::thread::Builder::new().name(name).stack_size(STACK).spawn(move || {
            let _notice = notice;
            player.run(&stopped);
        })?;
        Ok(Playing { stop: Some(stop), over, sent, thread })
    }
}

impl Playing {
    /// Asks the thread to end; it does so at once.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Whether the thread has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What was sent so far.
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Stops and waits.
    pub fn join(mut self) {
        self.stop();
        if self.thread.join().is_err() {
            log::error!("[worker] ALERT a thread that plays the clip panicked");
        }
    }
}

/// Tells of the thread's end, also when it panicked.
struct Notice {
    over: Arc<AtomicBool>,
    ended: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.ended.take().into_iter().for_each(|ended| ended());
    }
}

struct Player {
    clip: Clip,
    picture: Leg,
    sound: Leg,
    sent: Arc<Sent>,
}

/// One stream on its way to one port.
struct Leg {
    socket: UdpSocket,
    sender: RtpSender,
    clock: u32,
}

impl Leg {
    fn new(socket: UdpSocket, payload_type: u8, clock: u32) -> Leg {
        let start = Start::from_entropy(entropy::bytes());
        Leg { socket, sender: RtpSender::new(start, payload_type), clock }
    }

    fn ticks(&self, at: Duration) -> u64 {
        u64::try_from(at.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(self.clock)) / 1000
    }

    fn report(&self, at: Duration, unix_millis: u64) {
        self.send(&self.sender.report(unix_millis, self.ticks(at), NAME));
    }

    /// A reader that is gone is no reason to stop: the session says when.
    fn send(&self, packet: &[u8]) -> u64 {
        let _ = self.socket.send(packet);
        packet.len() as u64
    }
}

/// What is due next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Picture,
    Sound,
    Report,
}

impl Player {
    /// Sends what is due until the channel closes.
    fn run(mut self, stopped: &Receiver<()>) {
        let mut epoch = Instant::now();
        let (mut pictures, mut sounds, mut reports) = (0u32, 0u32, 0u32);
        loop {
            let next = [
                (PICTURE * pictures, Due::Picture),
                (SOUND * sounds, Due::Sound),
                (REPORT * reports, Due::Report),
            ];
            let Some((at, due)) = next.into_iter().min_by_key(|(at, _)| *at) else { return };
            let lateness = epoch.elapsed().saturating_sub(at);
            if lateness > LATE {
                epoch += lateness;
            }
            let pause = at.saturating_sub(epoch.elapsed());
            if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            match due {
                Due::Picture => self.picture(pictures, at),
                Due::Sound => self.sound(sounds, at),
                Due::Report => self.report(at, epoch),
            }
            match due {
                Due::Picture => pictures += 1,
                Due::Sound => sounds += 1,
                Due::Report => reports += 1,
            }
        }
    }

    fn picture(&mut self, number: u32, at: Duration) {
        let Some(frame) = pick(&self.clip.pictures, number) else { return };
        let packets = self.picture.sender.vp8(frame, self.picture.ticks(at));
        let bytes: u64 = packets.iter().map(|packet| self.picture.send(packet)).sum();
        self.sent.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.sent.frames.fetch_add(1, Ordering::Relaxed);
    }

    fn sound(&mut self, number: u32, at: Duration) {
        let Some(frame) = pick(&self.clip.sounds, number) else { return };
        let packet = self.sound.sender.opus(frame, self.sound.ticks(at));
        self.sent.bytes.fetch_add(self.sound.send(&packet), Ordering::Relaxed);
    }

    /// Both reports speak of the same moment, when the piece of time `at` is due.
    fn report(&self, at: Duration, epoch: Instant) {
        let late = u64::try_from(epoch.elapsed().saturating_sub(at).as_millis()).unwrap_or_default();
        let due = clock::unix_millis().saturating_sub(late);
        self.picture.report(at, due);
        self.sound.report(at, due);
    }
}

/// The piece with this number of an endless row of rounds.
fn pick(round: &[&'static [u8]], number: u32) -> Option<&'static [u8]> {
    let index = usize::try_from(number).ok()?.checked_rem(round.len())?;
    round.get(index).copied()
}

#[cfg(test)]
mod tests;
pub mod webm;
