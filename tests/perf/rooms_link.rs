//! One peer connection of a member: str0m on a socket. It sends a made-up VP8 picture and Opus voice in real time, and looks at what comes.
//!
//! The picture's payload is two bytes that look like VP8, the voice's one that looks like Opus; then stand the sending time in microseconds
//! and nothing else.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hydraneckwebrtc::media::rtp::packet;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::trains::Taker;

/// Pictures: 25 a second, of five packets of 1,000 bytes: 1 Mbit/s.
const PICTURES: Duration = Duration::from_millis(40);
const PICTURE: usize = 5;
const PICTURE_BYTES: usize = 1_000;

/// A voice: 40 kbit/s.
const VOICES: Duration = Duration::from_millis(20);
const VOICE_BYTES: usize = 100;

/// Who is later than this with what it sends leaves it out: it had no core, or somebody waited for signalling.
const LATE: Duration = Duration::from_millis(200);

/// How loud who speaks is, and who does not, in dBov.
const LOUD: i8 = -15;
const QUIET: i8 = -90;

/// Room of a socket: what waits because this process has no core at the moment is not lost.
const ROOM: usize = 4 << 20;

/// What it sends besides being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    Voice { is_loud: bool },
    Picture,
}

/// Something that is sent.
struct Sending {
    what: Sends,
    mid: Option<Mid>,
    number: u64,
    begun: Option<Instant>,
    /// Pictures or packets of sound since then.
    step: u32,
    /// The next picture stands for itself.
    is_wanted: bool,
}

/// What came.
#[derive(Debug, Default)]
pub struct Came {
    pub packets: u64,
    pub lost: u64,
    /// From the stamp to here, in microseconds.
    pub delays: Vec<u32>,
    pub is_connected: bool,
    pub is_over: bool,
    /// The last number of each source.
    sources: HashMap<u32, u64>,
    /// Numbers of those that are counted by their heads.
    counted: HashMap<u32, u16>,
}

/// A connection.
pub struct Link {
    rtc: Rtc,
    socket: UdpSocket,
    taker: Taker,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    sends: Vec<Sending>,
    next: Instant,
    /// Time zero of stamps.
    epoch: Instant,
    /// Packets are counted by their heads, not decrypted.
    pub counts_only: bool,
    pub came: Came,
}

impl Link {
    /// From this address. `epoch`: time zero of stamps.
    pub fn at(address: IpAddr, epoch: Instant) -> Link {
        let socket = UdpSocket::bind((address, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("nonblocking");
        // Without the right to it, the usual room stays.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, ROOM);
        let now = Instant::now();
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        let local = socket.local_addr().expect("its address");
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        Link {
            rtc,
            taker: Taker::of(&socket, true),
            socket,
            local,
            pending: None,
            sends: Vec::new(),
            next: now,
            epoch,
            counts_only: false,
            came: Came::default(),
        }
    }

    /// What to wait for.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Will send this, once it is negotiated.
    pub fn add(&mut self, what: Sends) {
        self.sends.push(Sending { what, mid: None, number: 0, begun: None, step: 0, is_wanted: true });
    }

    /// An offer of what is not negotiated yet, if there is any.
    pub fn offer(&mut self, direction: Direction) -> Option<String> {
        if self.pending.is_some() || self.sends.iter().all(|sending| sending.mid.is_some()) {
            return None;
        }
        let mut api = self.rtc.sdp_api();
        for sending in self.sends.iter_mut().filter(|sending| sending.mid.is_none()) {
            let kind = match sending.what {
                Sends::Voice { .. } => MediaKind::Audio,
                Sends::Picture => MediaKind::Video,
            };
            sending.mid = Some(api.add_media(kind, direction, None, None, None));
        }
        let (offer, pending) = api.apply().expect("an offer");
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// The other side's offer; our answer. An offer of ours that was under way is rolled back.
    pub fn answer_to(&mut self, offer: &str) -> String {
        let read = SdpOffer::from_sdp_string(offer).expect("an offer");
        let answer = self.rtc.sdp_api().accept_offer(read);
        let answer = answer.unwrap_or_else(|error| panic!("{error} of {offer}"));
        if self.pending.take().is_some() {
            let rtc = &self.rtc;
            let stays = |mid: &Mid| rtc.media(*mid).is_some();
            self.sends.iter_mut().for_each(|sending| sending.mid = sending.mid.filter(stays));
        }
        self.next = Instant::now();
        answer.to_sdp_string()
    }

    /// The answer to our offer; one that was rolled back has none.
    pub fn answered(&mut self, sdp: &str) {
        let Some(pending) = self.pending.take() else { return };
        let answer = SdpAnswer::from_sdp_string(sdp).expect("an answer");
        let taken = self.rtc.sdp_api().accept_answer(pending, answer);
        taken.unwrap_or_else(|error| panic!("{error} of {sdp}"));
        self.next = Instant::now();
    }

    /// Sources from which something came since it was made.
    pub fn sources(&self) -> usize {
        self.came.sources.len()
    }

    /// Forgets the figures of the round before.
    pub fn begin(&mut self) {
        self.came.delays.clear();
        (self.came.packets, self.came.lost) = (0, 0);
    }

    /// Begins to send anew, with a picture that stands for itself.
    pub fn rest(&mut self) {
        self.sends.iter_mut().for_each(|sending| (sending.begun, sending.is_wanted) = (None, true));
    }

    /// Takes what is there.
    pub fn take(&mut self, room: &mut [u8]) {
        while let Some(train) = self.taker.train(room) {
            let datagrams = room[..train.length].chunks(train.segment.max(1));
            datagrams.for_each(|datagram| self.receive(train.source, datagram));
        }
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        if self.counts_only && packet::parse(datagram).is_some() {
            return self.came.count(datagram);
        }
        if let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, datagram) {
            let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
            // It holds one packet at a time.
            self.drain();
        }
    }

    /// Sends what is due and lets time pass. `offset`: how much later than others it begins.
    pub fn pass(&mut self, sends: bool, offset: Duration) {
        let now = Instant::now();
        let sent = sends && self.came.is_connected && self.send(now, offset);
        if sent || now >= self.next {
            let _ = self.rtc.handle_input(Input::Timeout(now));
            self.drain();
        }
    }

    fn send(&mut self, now: Instant, offset: Duration) -> bool {
        let mut sent = false;
        for at in 0..self.sends.len() {
            while let Some(mid) = self.due(at, now, offset) {
                self.send_one(at, mid, now);
                sent = true;
            }
        }
        sent
    }

    /// The section of what is to be sent now.
    fn due(&mut self, at: usize, now: Instant, offset: Duration) -> Option<Mid> {
        let sending = self.sends.get_mut(at)?;
        let mid = sending.mid?;
        let every = if sending.what == Sends::Picture { PICTURES } else { VOICES };
        let begun = *sending.begun.get_or_insert_with(|| {
            sending.step = 0;
            now + offset
        });
        let due = begun + every * sending.step;
        if due > now {
            return None;
        }
        if now - due > LATE {
            (sending.begun, sending.step) = (Some(now), 0);
        }
        self.rtc.media(mid).filter(|media| media.direction().is_sending()).map(|_| mid)
    }

    fn send_one(&mut self, at: usize, mid: Mid, now: Instant) {
        let Some(pt) = self.rtc.media(mid).and_then(|media| media.remote_pts().first().copied()) else {
            return;
        };
        let Some(sending) = self.sends.get_mut(at) else { return };
        let stamp = (self.epoch.elapsed().as_micros() as u64).to_be_bytes();
        let is_key = sending.what == Sends::Picture && std::mem::take(&mut sending.is_wanted);
        let (count, bytes, clock) = match sending.what {
            Sends::Picture => (PICTURE, PICTURE_BYTES, 3_600),
            Sends::Voice { .. } => (1, VOICE_BYTES, 960),
        };
        let timestamp = (sending.number / count as u64).wrapping_mul(clock) as u32;
        sending.step += 1;
        for packet in 0..count {
            let mut payload = match sending.what {
                Sends::Picture => vec![if packet == 0 { 0x10 } else { 0 }, if is_key { 0x50 } else { 0x51 }],
                Sends::Voice { .. } => vec![0xFC, 0],
            };
            payload.extend(stamp);
            payload.resize(bytes, 0);
            let values = match sending.what {
                Sends::Voice { is_loud } => ExtensionValues {
                    audio_level: Some(if is_loud { LOUD } else { QUIET }),
                    voice_activity: Some(is_loud),
                    ..Default::default()
                },
                Sends::Picture => ExtensionValues::default(),
            };
            let mut api = self.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(mid, None) else { return };
            let write = RtpWrite::new(pt, (1 + sending.number).into(), timestamp, now, payload);
            let write = write.marker(packet + 1 == count && sending.what == Sends::Picture);
            stream.write_rtp(write.nackable(sending.what == Sends::Picture).ext_vals(values));
            sending.number += 1;
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.came.is_over |= !self.rtc.is_alive();
                    self.next = at;
                    return;
                }
                Ok(Output::Transmit(out)) => {
                    let _ = self.socket.send_to(&out.contents, out.destination);
                }
                Ok(Output::Event(event)) => self.event(event),
                Err(error) => panic!("a member of the benchmark: {error}"),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.came.is_connected = true,
            Event::RtpPacket(packet) => self.came.take(&packet, self.epoch),
            Event::KeyframeRequest(request) => {
                let of = self.sends.iter_mut().filter(|sending| sending.mid == Some(request.mid));
                of.for_each(|sending| sending.is_wanted = true);
            }
            _ => {}
        }
    }
}

impl Came {
    fn take(&mut self, packet: &RtpPacket, epoch: Instant) {
        self.packets += 1;
        let number = *packet.seq_no;
        let last = self.sources.entry(*packet.header.ssrc).or_insert(number.saturating_sub(1));
        match number.checked_sub(*last + 1) {
            Some(lost) => self.lost += lost,
            // One that was missing came after all.
            None => self.lost = self.lost.saturating_sub(1),
        }
        *last = number.max(*last);
        if let Some(stamp) = packet.payload.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            let under_way = (epoch.elapsed().as_micros() as u64).saturating_sub(u64::from_be_bytes(stamp));
            self.delays.push(u32::try_from(under_way).unwrap_or(u32::MAX));
        }
    }

    /// By the head, which is not encrypted (RFC 3711, 3.1).
    fn count(&mut self, datagram: &[u8]) {
        let Some(packet) = packet::parse(datagram) else { return };
        self.packets += 1;
        let step = self.counted.get(&packet.ssrc).map_or(1, |last| packet.sequence.wrapping_sub(*last));
        if step == 0 || step > u16::MAX / 2 {
            self.lost = self.lost.saturating_sub(1);
        } else {
            self.lost += u64::from(step - 1);
            self.counted.insert(packet.ssrc, packet.sequence);
        }
    }
}
