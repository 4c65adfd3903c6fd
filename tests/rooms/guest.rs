//! Somebody in a room without a browser: str0m on a socket of its own, behind a page with some manners.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use hydraneckwebrtc::media::rtp::packet;
use serde_json::{Value, json};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::media::{Direction, MediaKind as Kind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tungstenite::{Error, Message, WebSocket};

/// What a page does with an offer that crosses its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// It applies whatever comes; its own is rolled back.
    Naive,
    /// The same, knowingly.
    Polite,
    /// It ignores the other's.
    Impolite,
}

/// What goes to the room.
#[derive(Debug)]
pub enum Word {
    Offer(String),
    Answer(String),
}

/// Something that is sent.
struct Sent {
    kind: MediaKind,
    rids: Vec<&'static str>,
    mid: Option<Mid>,
    number: u64,
    begun: Instant,
    /// A picture that stands for itself is next, of each layer.
    is_wanted: bool,
}

/// What is heard of one track.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub packets: u64,
    /// Numbers that never came.
    pub gaps: u64,
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub last_timestamp: u32,
    /// The largest step of time, in units of the codec's clock.
    pub largest_step: u32,
    pub bytes: usize,
    /// Bytes of the last packet.
    pub last_bytes: usize,
    /// The one with the lowest number was the beginning of a picture that stands for itself (VP8).
    pub begins_with_key: bool,
    /// Beginnings of such pictures.
    pub keys: u64,
    pub mid: String,
}

/// What a guest has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub connected: bool,
    pub over: bool,
    /// By the name of the track, as the last description says.
    pub heard: BTreeMap<String, Heard>,
    /// Sections of the last description.
    pub sections: usize,
    pub offers: usize,
    pub ignored: usize,
    pub answers: usize,
    /// The room's answers, also those to offers that are not its own.
    pub replies: usize,
    /// Pictures that were asked for.
    pub wanted: u64,
    /// The last description of the room.
    pub text: String,
    pub messages: Vec<(String, Vec<u8>)>,
    pub lost: u64,
    pub received: u64,
}

/// A guest.
pub struct Guest {
    pub name: String,
    pub manners: Manners,
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    sent: Vec<Sent>,
    /// Mid, then the stream and track of it.
    names: BTreeMap<String, (String, String)>,
    pub words: VecDeque<Word>,
    pub seen: Seen,
    next: Instant,
    /// Its own and those that were opened to it, the newest last.
    channels: Vec<(String, ChannelId)>,
    level: i8,
    /// Each media datagram with such a number is lost on its way here.
    pub loses_each: Option<u16>,
    lost: Vec<u16>,
    again: bool,
    /// What is for the one port goes to the other.
    pub detour: Option<(u16, u16)>,
    /// It sends no picture that stands for itself because it is asked for one.
    pub is_stubborn: bool,
    /// Its media wait: nothing is sent, nothing is read.
    pub is_held: bool,
    /// So many of the next offers never reach it.
    pub loses_offers: usize,
}

impl Guest {
    pub fn new(name: &str, manners: Manners, at: IpAddr) -> Guest {
        let socket = UdpSocket::bind((at, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("nonblocking");
        let now = Instant::now();
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        let local = socket.local_addr().expect("its address");
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        Guest {
            name: name.to_owned(),
            manners,
            rtc,
            socket,
            local,
            pending: None,
            sent: Vec::new(),
            names: BTreeMap::new(),
            words: VecDeque::new(),
            seen: Seen::default(),
            next: now,
            channels: Vec::new(),
            level: -30,
            loses_each: None,
            lost: Vec::new(),
            again: false,
            detour: None,
            is_stubborn: false,
            is_held: false,
            loses_offers: 0,
        }
    }

    /// Sends a microphone or a camera from now on.
    pub fn publish(&mut self, kind: MediaKind) {
        self.publish_layers(kind, &[]);
    }

    /// The same with layers of these names.
    pub fn publish_layers(&mut self, kind: MediaKind, rids: &[&'static str]) {
        let (rids, begun) = (rids.to_vec(), Instant::now());
        self.sent.push(Sent { kind, rids, mid: None, number: 0, begun, is_wanted: true });
        self.negotiate();
    }

    /// Sends what it sends first of this kind no more.
    pub fn unpublish(&mut self, kind: MediaKind) {
        let Some(index) = self.sent.iter().position(|sent| sent.kind == kind) else { return };
        let mid = self.sent.remove(index).mid.expect("a section");
        let mut api = self.rtc.sdp_api();
        api.set_direction(mid, Direction::Inactive);
        if let Some((offer, pending)) = api.apply() {
            self.pending = Some(pending);
            self.words.push_back(Word::Offer(offer.to_sdp_string()));
        }
    }

    /// Opens a data channel.
    pub fn open_channel(&mut self, label: &str) {
        let mut api = self.rtc.sdp_api();
        let id =
            api.add_channel_with_config(ChannelConfig { label: label.into(), ..ChannelConfig::default() });
        self.channels.push((label.into(), id));
        if let Some((offer, pending)) = api.apply() {
            self.pending = Some(pending);
            self.words.push_back(Word::Offer(offer.to_sdp_string()));
        }
    }

    /// Says something on its newest channel of that label; false: not yet.
    pub fn say(&mut self, label: &str, text: &[u8]) -> bool {
        let count = self.channels_of(label);
        count > 0 && self.say_on(label, count - 1, text)
    }

    /// How many channels of that label it has.
    pub fn channels_of(&self, label: &str) -> usize {
        self.channels.iter().filter(|(other, _)| other == label).count()
    }

    /// Says something on one of its channels of that label; false: not yet.
    pub fn say_on(&mut self, label: &str, number: usize, text: &[u8]) -> bool {
        let mut of_label = self.channels.iter().filter(|(other, _)| other == label);
        let Some(id) = of_label.nth(number).map(|(_, id)| *id) else { return false };
        let written =
            self.rtc.channel(id).is_some_and(|mut channel| channel.write(false, text).unwrap_or(false));
        self.next = Instant::now();
        written
    }

    /// The stream that a track is in, as it was told.
    pub fn stream_of(&self, track: &str) -> Option<&str> {
        self.names.values().find(|(_, name)| name == track).map(|(stream, _)| stream.as_str())
    }

    /// Labels of its channels.
    pub fn labels(&self) -> Vec<String> {
        self.channels.iter().map(|(label, _)| label.clone()).collect()
    }

    /// Restarts ICE within an offer.
    pub fn restart_ice(&mut self) {
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().expect("an offer");
        self.pending = Some(pending);
        self.words.push_back(Word::Offer(offer.to_sdp_string()));
    }

    pub fn is_stable(&self) -> bool {
        self.pending.is_none()
    }

    /// Its ICE name and password.
    pub fn credentials(&mut self) -> (String, String) {
        let credentials = self.rtc.direct_api().local_ice_credentials();
        (credentials.ufrag, credentials.pass)
    }

    /// How loud its voice is, in dBov.
    pub fn speak(&mut self, level: i8) {
        self.level = level;
    }

    /// Sends a picture that stands for itself next.
    pub fn begin_anew(&mut self) {
        self.sent.iter_mut().for_each(|sent| sent.is_wanted = true);
    }

    /// Pictures that stand for themselves and were not sent yet.
    pub fn is_to_begin_anew(&self) -> bool {
        self.sent.iter().any(|sent| sent.kind == MediaKind::Video && sent.is_wanted)
    }

    /// Offers what is not negotiated yet.
    fn negotiate(&mut self) {
        if self.pending.is_some() || self.sent.iter().all(|sent| sent.mid.is_some()) {
            return;
        }
        let mut api = self.rtc.sdp_api();
        for sent in self.sent.iter_mut().filter(|sent| sent.mid.is_none()) {
            let mut layers = Simulcast::new();
            sent.rids.iter().for_each(|rid| layers.add_send_layer(SimulcastLayer::new(rid)));
            let layers = (!sent.rids.is_empty()).then_some(layers);
            let kind = if sent.kind == MediaKind::Audio { Kind::Audio } else { Kind::Video };
            sent.mid = Some(api.add_media(kind, Direction::SendRecv, None, None, layers));
        }
        let (offer, pending) = api.apply().expect("an offer");
        self.pending = Some(pending);
        self.words.push_back(Word::Offer(offer.to_sdp_string()));
    }

    /// The room offers.
    pub fn offered(&mut self, text: &str) {
        if self.loses_offers > 0 {
            self.loses_offers -= 1;
            return;
        }
        if self.pending.is_some() && self.manners == Manners::Impolite {
            self.seen.ignored += 1;
            return;
        }
        self.seen.offers += 1;
        let offer = SdpOffer::from_sdp_string(text).expect("an offer");
        let answer = self.rtc.sdp_api().accept_offer(offer);
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error} of {text}", self.name));
        if self.pending.take().is_some() {
            // What it offered is rolled back.
            let rtc = &self.rtc;
            let is_gone = |mid: &Mid| rtc.media(*mid).is_none();
            self.sent.iter_mut().for_each(|sent| sent.mid = sent.mid.filter(|mid| !is_gone(mid)));
        }
        self.words.push_back(Word::Answer(answer.to_sdp_string()));
        self.described(text);
        self.negotiate();
    }

    /// The room answers.
    pub fn answered(&mut self, text: &str) {
        self.seen.replies += 1;
        let Some(pending) = self.pending.take() else { return };
        self.seen.answers += 1;
        let answer = SdpAnswer::from_sdp_string(text).expect("an answer");
        let applied = self.rtc.sdp_api().accept_answer(pending, answer);
        applied.unwrap_or_else(|error| panic!("{}: {error} of {text}", self.name));
        self.described(text);
        self.negotiate();
    }

    fn described(&mut self, text: &str) {
        self.next = Instant::now();
        self.seen.text = text.to_owned();
        self.seen.sections = text.lines().filter(|line| line.starts_with("m=")).count();
        let mut mid = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("a=mid:") {
                mid = name.to_owned();
            }
            if let Some((stream, track)) =
                line.strip_prefix("a=msid:").and_then(|names| names.split_once(' '))
            {
                self.names.insert(mid.clone(), (stream.to_owned(), track.to_owned()));
            }
        }
    }

    /// Does all that is due, with signalling by a WebSocket that waits for nothing; what came by it is added to `heard`, read already where
    /// it is a description. `Err`: signalling is over.
    pub fn pump_by<S: Read + Write>(
        &mut self,
        socket: &mut WebSocket<S>,
        heard: &mut Vec<Value>,
    ) -> Result<(), Error> {
        while let Some(word) = self.words.pop_front() {
            let (kind, sdp) = match word {
                Word::Offer(sdp) => ("offer", sdp),
                Word::Answer(sdp) => ("answer", sdp),
            };
            socket.send(Message::text(json!({"type": kind, "data": {"sdp": sdp}}).to_string()))?;
        }
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => heard.push(self.told(serde_json::from_str(&text).expect("JSON"))),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        self.pump();
        Ok(())
    }

    fn told(&mut self, message: Value) -> Value {
        let sdp = message["data"]["sdp"].as_str().unwrap_or_default();
        match message["type"].as_str() {
            Some("offer") => self.offered(sdp),
            Some("answer") => self.answered(sdp),
            _ => {}
        }
        message
    }

    /// Does all that is due of its media.
    pub fn pump(&mut self) {
        if self.is_held {
            return;
        }
        let mut room = [0u8; 2048];
        while let Ok((length, source)) = self.socket.recv_from(&mut room) {
            self.seen.received += 1;
            self.receive(source, room.get(..length).unwrap_or_default());
        }
        self.send_media();
        if Instant::now() >= self.next {
            let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
            self.drain();
        }
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        if self.loses(datagram) {
            self.seen.lost += 1;
            return;
        }
        if let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, datagram) {
            let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
            self.drain();
        }
    }

    /// Of a picture, the first time.
    fn loses(&mut self, datagram: &[u8]) -> bool {
        let (Some(each), Some(header)) = (self.loses_each, packet::parse_header(datagram)) else {
            return false;
        };
        let is_picture = header.payload_type == 96;
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        let loses = is_picture && number.is_multiple_of(each) && !self.lost.contains(&number);
        if loses {
            self.lost.push(number);
        }
        loses
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
                    let mut to = out.destination;
                    if let Some((_, other)) = self.detour.filter(|(port, _)| *port == to.port()) {
                        to.set_port(other);
                    }
                    let _ = self.socket.send_to(&out.contents, to);
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
            Event::Connected => self.seen.connected = true,
            Event::KeyframeRequest(request) => {
                self.seen.wanted += 1;
                let of =
                    self.sent.iter_mut().filter(|sent| sent.mid == Some(request.mid) && !self.is_stubborn);
                of.for_each(|sent| sent.is_wanted = true);
            }
            Event::ChannelOpen(id, label) => {
                let is_known = self.channels.iter().any(|(_, known)| *known == id);
                self.channels.extend((!is_known).then_some((label, id)));
            }
            Event::ChannelData(data) => {
                let label =
                    self.channels.iter().find(|(_, id)| *id == data.id).map(|(label, _)| label.clone());
                self.seen.messages.push((label.unwrap_or_default(), data.data));
            }
            Event::RtpPacket(packet) => {
                let Some(stream) =
                    self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid())
                else {
                    return;
                };
                let mid = stream.to_string();
                let track = self.names.get(&mid).map(|(_, track)| track.clone()).unwrap_or_default();
                let heard = self.seen.heard.entry(track).or_default();
                let number = *packet.seq_no;
                let is_key = packet.payload.get(1).is_some_and(|byte| byte & 1 == 0);
                heard.keys += u64::from(is_key);
                if heard.first.is_none_or(|first| number < first) {
                    (heard.first, heard.begins_with_key) = (Some(number), is_key);
                }
                if let Some(last) = heard.last {
                    match number.checked_sub(last + 1) {
                        Some(lost) => heard.gaps += lost,
                        None => heard.gaps = heard.gaps.saturating_sub(1),
                    }
                    let step = packet.header.timestamp.wrapping_sub(heard.last_timestamp);
                    if number > last {
                        heard.largest_step = heard.largest_step.max(step);
                    }
                }
                heard.last = Some(heard.last.map_or(number, |last| last.max(number)));
                (heard.last_timestamp, heard.mid) = (packet.header.timestamp, mid);
                heard.packets += 1;
                heard.bytes += packet.payload.len();
                heard.last_bytes = packet.payload.len();
            }
            _ => {}
        }
    }

    /// A packet of sound each 20 ms, ten pictures a second of one packet for each layer.
    fn send_media(&mut self) {
        let now = Instant::now();
        for index in 0..self.sent.len() {
            while let Some(sent) = self.sent.get(index) {
                let step = Duration::from_millis(if sent.kind == MediaKind::Audio { 20 } else { 100 });
                let due = sent.begun + step * u32::try_from(sent.number).unwrap_or(u32::MAX);
                let Some(mid) = sent.mid.filter(|_| self.seen.connected && due <= now) else { break };
                if !self.rtc.media(mid).is_some_and(|media| media.direction().is_sending()) {
                    break;
                }
                self.send_one(index, mid, now);
            }
        }
        if std::mem::take(&mut self.again) {
            let _ = self.rtc.handle_input(Input::Timeout(now));
            self.drain();
        }
    }

    fn send_one(&mut self, index: usize, mid: Mid, now: Instant) {
        self.again = true;
        let Some(sent) = self.sent.get_mut(index) else { return };
        let (number, kind) = (sent.number, sent.kind);
        sent.number += 1;
        let is_key = std::mem::take(&mut sent.is_wanted);
        let rids: Vec<Option<Rid>> = match sent.rids.is_empty() {
            true => vec![None],
            false => sent.rids.iter().map(|rid| Some(Rid::from(*rid))).collect(),
        };
        let clock = if kind == MediaKind::Audio { 960 } else { 9_000 };
        let timestamp = (number as u32).wrapping_mul(clock);
        let Some(pt) = self.rtc.media(mid).and_then(|media| media.remote_pts().first().copied()) else {
            return;
        };
        for (layer, rid) in rids.into_iter().enumerate() {
            let mut payload = match kind {
                MediaKind::Audio => vec![0xFC; 60],
                // Higher layers are larger.
                MediaKind::Video => vec![7; 300 * (layer + 1)],
            };
            if kind == MediaKind::Video {
                payload[..2].copy_from_slice(&[0x10, if is_key { 0x50 } else { 0x51 }]);
            }
            let values = match kind {
                MediaKind::Audio => {
                    let (level, voice) = (Some(self.level), Some(self.level > -40));
                    ExtensionValues { audio_level: level, voice_activity: voice, ..Default::default() }
                }
                MediaKind::Video => ExtensionValues::default(),
            };
            let mut api = self.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(mid, rid) else { continue };
            let write = RtpWrite::new(pt, (1 + number).into(), timestamp, now, payload);
            stream.write_rtp(write.marker(true).nackable(true).ext_vals(values));
        }
    }
}
