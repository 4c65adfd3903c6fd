//! A WebRTC client without a browser: str0m on a socket of its own, as a viewer or a publisher.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use hydraneckwebrtc::media::rtp::packet;
use hydraneckwebrtc::media::rtp::payload::{self, Packing};
use hydraneckwebrtc::media::transport::datagram;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// What a client has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connected since.
    pub connected: Option<Instant>,
    /// The first whole key frame of VP8.
    pub first_picture: Option<Instant>,
    /// Packets of video, and of them those with a marker: frames.
    pub video: u64,
    /// Frames.
    pub frames: u64,
    /// Packets of sound.
    pub audio: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Length of the largest datagram.
    pub largest: usize,
    /// Numbers that never came, of video.
    pub gaps: u64,
    /// The last video packet: number, timestamp, when.
    pub last: Option<(u64, u32, Instant)>,
    /// The last payload's number, as the generator wrote it.
    pub last_stamp: u64,
    /// Time under way of each packet that carries its sending time, in microseconds.
    pub delays: Delays,
    /// Requests for pictures that the other side made.
    pub wanted: u64,
    /// And of which layers, until somebody takes them.
    pub wanted_layers: Vec<Rid>,
    /// Packets of video, when they are to be kept: number, timestamp, the payload's first bytes.
    pub kept: Option<Vec<(u64, u32, [u8; 6])>>,
    /// Names of senders of video seen.
    pub ssrcs: Vec<u32>,
    /// Sender reports.
    pub reports: Vec<Report>,
    /// The last packet of sound: number and timestamp.
    pub last_sound: Option<(u64, u32)>,
    /// Packets of media that were lost on purpose.
    pub lost: u64,
    /// The session is over.
    pub over: bool,
}

/// A sender report.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub is_video: bool,
    /// Where the track's time stands, at which wall clock.
    pub timestamp: u32,
    pub at: SystemTime,
    /// How many packets of the track had come.
    pub packets: u64,
}

/// Microseconds; shown as a count.
#[derive(Default)]
pub struct Delays(pub Vec<u32>);

impl std::fmt::Debug for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} delays", self.0.len())
    }
}

/// A client.
pub struct Client {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    pub video: Mid,
    pub audio: Mid,
    pub seen: Seen,
    pub next: Instant,
    in_key_frame: bool,
    answered: String,
    /// Each media datagram with a number that is divided by this is lost on its way, the first time.
    pub loses_each: Option<u16>,
    /// So many of a hundred datagrams of media and of what is sent again are lost.
    pub loses_percent: u64,
    /// The last number drawn (xorshift; never 0).
    drawn: u64,
    /// Time zero of the generator's stamps.
    pub epoch: Option<Instant>,
}

/// Whether a client watches or sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Watch,
    Send,
}

impl Client {
    /// A client and its offer.
    pub fn offer(wants: Wants) -> (Client, String) {
        Client::offer_layers(wants, &[])
    }

    /// The same with layers of these names.
    pub fn offer_layers(wants: Wants, rids: &[&str]) -> (Client, String) {
        Client::offer_at(Ipv4Addr::LOCALHOST.into(), wants, rids)
    }

    /// The same, from this address.
    pub fn offer_at(address: IpAddr, wants: Wants, rids: &[&str]) -> (Client, String) {
        let mut layers = Simulcast::new();
        rids.iter().for_each(|rid| layers.add_send_layer(SimulcastLayer::new(rid)));
        let layers = (!rids.is_empty()).then_some(layers);
        let mut client = Client::at(address);
        let direction = match wants {
            Wants::Watch => Direction::RecvOnly,
            Wants::Send => Direction::SendOnly,
        };
        let mut api = client.rtc.sdp_api();
        client.audio = api.add_media(MediaKind::Audio, direction, None, None, None);
        client.video = api.add_media(MediaKind::Video, direction, None, None, layers);
        let (offer, pending) = api.apply().expect("an offer");
        client.pending = Some(pending);
        (client, offer.to_sdp_string())
    }

    /// A client that was offered something, and its answer.
    pub fn answering(address: IpAddr, offer: &str) -> (Client, String) {
        let mut client = Client::at(address);
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        let answer = client.rtc.sdp_api().accept_offer(offer).expect("an offer that can be answered");
        client.drain();
        (client, answer.to_sdp_string())
    }

    fn at(address: IpAddr) -> Client {
        let socket = UdpSocket::bind((address, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("nonblocking");
        let now = Instant::now();
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        let local = socket.local_addr().expect("its address");
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        Client {
            rtc,
            socket,
            local,
            pending: None,
            video: Mid::new(),
            audio: Mid::new(),
            seen: Seen::default(),
            next: now,
            in_key_frame: false,
            answered: String::new(),
            loses_each: None,
            loses_percent: 0,
            drawn: 0x9E37_79B9_7F4A_7C15,
            epoch: None,
        }
    }

    /// Takes the answer.
    pub fn answer(&mut self, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).expect("an answer");
        let pending = self.pending.take().expect("an offer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        self.next = Instant::now();
        self.answered = sdp.to_owned();
    }

    /// Its socket, to wait for.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The answer that it took.
    pub fn answered(&self) -> &str {
        &self.answered
    }

    /// A NAT on its way gives it another address; it knows nothing of that.
    pub fn rebind(&mut self, ip: IpAddr) {
        self.socket = UdpSocket::bind((ip, 0)).expect("a socket");
        self.socket.set_nonblocking(true).expect("nonblocking");
    }

    /// Our ICE user fragment and password.
    pub fn credentials(&mut self) -> (String, String) {
        let credentials = self.rtc.direct_api().local_ice_credentials();
        (credentials.ufrag, credentials.pass)
    }

    /// Our candidate as a line of a fragment.
    pub fn candidate(&self) -> String {
        format!("a=candidate:1 1 udp 2130706431 {} {} typ host\r\n", self.local.ip(), self.local.port())
    }

    /// Begins an ICE restart: new credentials, to be told by a fragment. They hold once the other side has answered.
    pub fn restart_ice(&mut self) -> (String, String) {
        let mut api = self.rtc.sdp_api();
        let credentials = api.ice_restart(true);
        self.pending = api.apply().map(|(_, pending)| pending);
        (credentials.ufrag, credentials.pass)
    }

    /// The other side's fragment.
    pub fn restarted(&mut self, text: &str) {
        let part =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        let (ufrag, pwd) = (part("a=ice-ufrag:"), part("a=ice-pwd:"));
        let lines = self.answered.lines().map(|line| match line {
            line if line.starts_with("a=ice-ufrag:") => format!("a=ice-ufrag:{ufrag}\r\n"),
            line if line.starts_with("a=ice-pwd:") => format!("a=ice-pwd:{pwd}\r\n"),
            line => format!("{line}\r\n"),
        });
        let answer: String = lines.collect();
        self.answer(&answer);
    }

    /// Does all that is due, without waiting.
    pub fn pump(&mut self) {
        let mut room = [0u8; 2048];
        while let Ok((length, source)) = self.socket.recv_from(&mut room) {
            self.receive(source, &room[..length]);
        }
        self.let_time_pass();
    }

    /// Takes a datagram.
    pub fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        self.seen.largest = self.seen.largest.max(datagram.len());
        if self.loses(datagram) {
            self.seen.lost += 1;
            return;
        }
        if let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, datagram) {
            let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
            self.drain();
        }
    }

    /// Whether this one gets lost: each so manieth of media, which by its SSRC what is sent again is not, or some of both.
    fn loses(&mut self, datagram: &[u8]) -> bool {
        let is_media = datagram::kind(datagram) == Some(datagram::Kind::Rtp);
        if is_media && self.draw() % 100 < self.loses_percent {
            return true;
        }
        let (Some(each), Some(header)) = (self.loses_each, packet::parse_header(datagram)) else {
            return false;
        };
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        self.seen.ssrcs.contains(&header.ssrc) && number.is_multiple_of(each)
    }

    /// The same numbers in every run.
    fn draw(&mut self) -> u64 {
        self.drawn ^= self.drawn << 13;
        self.drawn ^= self.drawn >> 7;
        self.drawn ^= self.drawn << 17;
        self.drawn
    }

    /// Does what is due by now.
    pub fn let_time_pass(&mut self) {
        let now = Instant::now();
        if now >= self.next {
            let _ = self.rtc.handle_input(Input::Timeout(now));
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.seen.over |= !self.rtc.is_alive();
                    self.next = at;
                    return;
                }
                Ok(Output::Transmit(out)) => {
                    let _ = self.socket.send_to(&out.contents, out.destination);
                }
                Ok(Output::Event(event)) => self.event(event),
                Err(_) => {
                    self.seen.over = true;
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.seen.connected = Some(Instant::now()),
            Event::RtpPacket(packet) => self.packet(&packet),
            Event::KeyframeRequest(request) => {
                self.seen.wanted += 1;
                self.seen.wanted_layers.extend(request.rid);
            }
            Event::SenderFeedback(report) => {
                let info = report.sender_info;
                let is_video = report.mid == self.video;
                self.seen.reports.push(Report {
                    is_video,
                    timestamp: info.rtp_time.numer() as u32,
                    at: info.ntp_time,
                    packets: if is_video { self.seen.video } else { self.seen.audio },
                });
            }
            Event::MediaAdded(media) if media.kind == MediaKind::Video => self.video = media.mid,
            _ => {}
        }
    }

    fn packet(&mut self, packet: &RtpPacket) {
        let now = Instant::now();
        self.seen.bytes += packet.payload.len() as u64;
        if !self.seen.ssrcs.contains(&packet.header.ssrc) {
            let stream = self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid());
            if stream != Some(self.video) {
                self.seen.audio += 1;
                self.seen.last_sound = Some((*packet.seq_no, packet.header.timestamp));
                return;
            }
            self.seen.ssrcs.push(*packet.header.ssrc);
        }
        let number = *packet.seq_no;
        if let (Some(kept), Some(first)) = (&mut self.seen.kept, packet.payload.first_chunk()) {
            kept.push((number, packet.header.timestamp, *first));
        }
        if let Some((last, ..)) = self.seen.last {
            match number.checked_sub(last + 1) {
                Some(lost) => self.seen.gaps += lost,
                // One that was missing came after all.
                None => self.seen.gaps = self.seen.gaps.saturating_sub(1),
            }
        }
        self.seen.video += 1;
        self.seen.frames += u64::from(packet.header.marker);
        if self.seen.last.is_none_or(|(last, ..)| number > last) {
            self.seen.last = Some((number, packet.header.timestamp, now));
        }
        if payload::starts_key_frame(Packing::Vp8, &packet.payload) {
            self.in_key_frame = true;
        }
        if packet.header.marker && std::mem::take(&mut self.in_key_frame) {
            self.seen.first_picture.get_or_insert(now);
        }
        if let Some(stamp) = packet.payload.get(2..18) {
            let (number, micros) = stamp.split_at(8);
            self.seen.last_stamp = u64::from_be_bytes(number.try_into().expect("eight"));
            let sent = u64::from_be_bytes(micros.try_into().expect("eight"));
            if let Some(epoch) = self.epoch {
                let delay = (now - epoch).as_micros() as u64;
                self.seen.delays.0.push(u32::try_from(delay.saturating_sub(sent)).unwrap_or(u32::MAX));
            }
        }
    }

    /// Goes on under another source, as encoders do that were started anew.
    pub fn change_source(&mut self, mid: Mid, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        let before = api.stream_tx_by_mid(mid, None).map(|stream| stream.ssrc()).expect("a source");
        assert!(api.remove_stream_tx(before), "the source before");
        api.declare_stream_tx(ssrc.into(), None, mid, None);
    }

    /// Asks for a picture.
    pub fn want_picture(&mut self) {
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_rx_by_mid(self.video, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.next = Instant::now();
    }

    /// Sends a packet as a publisher.
    pub fn write(&mut self, mid: Mid, number: u64, timestamp: u32, marker: bool, payload: Vec<u8>) {
        self.write_layer((mid, None), number, timestamp, marker, payload);
    }

    /// Sends a packet of a layer.
    pub fn write_layer(
        &mut self,
        (mid, rid): (Mid, Option<Rid>),
        number: u64,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
    ) {
        let now = Instant::now();
        let Some(media) = self.rtc.media(mid) else { return };
        let Some(pt) = media.remote_pts().first().copied() else { return };
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_tx_by_mid(mid, rid) {
            let write = RtpWrite::new(pt, number.into(), timestamp, now, payload);
            stream.write_rtp(write.marker(marker).nackable(true));
        }
        let _ = self.rtc.handle_input(Input::Timeout(now));
        self.drain();
    }
}

/// Pumps clients until `done` holds; panics with what they saw when that takes too long.
pub fn until(
    what: &str,
    clients: &mut [Client],
    patience: Duration,
    mut done: impl FnMut(&mut [Client]) -> bool,
) {
    let begun = Instant::now();
    loop {
        clients.iter_mut().for_each(Client::pump);
        if done(clients) {
            return;
        }
        let seen: Vec<_> = clients.iter().map(|client| &client.seen).collect();
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}; seen {seen:#?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
