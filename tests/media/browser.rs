//! A browser without a page: str0m in full ICE, on a socket of its own, with a microphone.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hydraneckwebrtc::media::transport::tcp_frames::{self, Deframer};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType, Transmit};
use str0m::rtp::{Extension, ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

/// What is in each packet of sound, so that the body can tell them apart: Opus as far as its first byte says (`x`: one frame of 20 ms).
pub fn sound(number: u64) -> Vec<u8> {
    format!("x sound {number}").into_bytes()
}

/// A connection of ICE-TCP that the browser opened.
struct Connection {
    stream: TcpStream,
    deframer: Deframer,
}

/// One browser.
pub struct Browser {
    pub rtc: Rtc,
    pub socket: UdpSocket,
    pub mid: Mid,
    pending: Option<SdpPendingOffer>,
    pub connected: bool,
    pub closed: bool,
    pub ice: IceConnectionState,
    /// Datagrams sent, for those who want to repeat them.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    /// A NAT in front of the other side: what it is offered as, and what it really is.
    pub nat: Option<(IpAddr, IpAddr)>,
    /// Something came from another address behind that NAT than the one that was asked.
    pub answered_from_elsewhere: bool,
    /// The user name fragment of the answer.
    pub remote_ufrag: String,
    answer: String,
    connection: Option<Connection>,
    number: u64,
    sequence: u64,
    timestamp: u32,
}

impl Browser {
    /// A browser at a free port of this address, and its offer.
    pub fn offering(ip: &str) -> (Browser, String) {
        Browser::configured(ip, RtcConfig::new())
    }

    /// The same with something in its configuration.
    pub fn configured(ip: &str, config: RtcConfig) -> (Browser, String) {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        let mut rtc = config
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .clear_extension_map()
            .set_extension(1, Extension::AudioLevel)
            .set_extension(4, Extension::RtpMid)
            .build(Instant::now());
        let local = socket.local_addr().expect("its address");
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        let browser = Browser {
            rtc,
            socket,
            mid,
            pending: Some(pending),
            connected: false,
            closed: false,
            ice: IceConnectionState::New,
            sent: Vec::new(),
            nat: None,
            answered_from_elsewhere: false,
            remote_ufrag: String::new(),
            answer: String::new(),
            connection: None,
            number: 0,
            sequence: 30_000,
            timestamp: 4_000_000_000,
        };
        (browser, offer.to_sdp_string())
    }

    /// Takes the answer.
    pub fn accept(&mut self, answer: &str) {
        let ufrag = answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
        self.remote_ufrag = ufrag.expect("a user name fragment").to_owned();
        self.answer = answer.to_owned();
        let answer = SdpAnswer::from_sdp_string(answer).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        let pending = self.pending.take().expect("an offer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
    }

    /// Takes the answer to a restart that came as a fragment: the last answer with its parameters.
    pub fn accept_restart(&mut self, fragment: &str) {
        let new =
            |name: &str| fragment.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
        let lines: Vec<String> = (self.answer.lines())
            .map(|line| match line {
                line if line.starts_with("a=ice-ufrag:") => new("a=ice-ufrag:"),
                line if line.starts_with("a=ice-pwd:") => new("a=ice-pwd:"),
                line => line.to_owned(),
            })
            .collect();
        self.accept(&format!("{}\r\n", lines.join("\r\n")));
    }

    /// An offer that restarts ICE.
    pub fn restart(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().expect("an offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// Moves to another port: what a change of network does. Its candidates are those of the new one.
    pub fn move_to(&mut self, ip: &str) {
        self.socket = UdpSocket::bind((ip, 0)).expect("a socket");
        let local = self.socket.local_addr().expect("its address");
        self.rtc.add_local_candidate(Candidate::host(local, "udp").expect("a candidate"));
    }

    /// Runs until `done`, at most so long. False: it was not done.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&mut Browser) -> bool) -> bool {
        let end = Instant::now() + limit;
        while !done(self) {
            if Instant::now() >= end {
                return false;
            }
            self.step();
        }
        true
    }

    /// Opens a connection to the passive candidate of an answer.
    pub fn connect_by_tcp(&mut self, answer: &str) {
        let line =
            answer.lines().find(|line| line.contains(" tcptype passive")).expect("a passive candidate");
        let words: Vec<&str> = line.split(' ').collect();
        let to = SocketAddr::new(words[4].parse().expect("an address"), words[5].parse().expect("a port"));
        let stream = TcpStream::connect(to).expect("a connection");
        let local = stream.local_addr().expect("its address");
        let active = Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build();
        self.rtc.add_local_candidate(active.expect("a candidate"));
        self.connection = Some(Connection { stream, deframer: Deframer::default() });
    }

    /// Where its connection leads.
    pub fn connected_to(&self) -> Option<SocketAddr> {
        self.connection.as_ref()?.stream.peer_addr().ok()
    }

    /// Sends what is to be sent, then waits for a datagram or a deadline, at most 5 ms.
    pub fn step(&mut self) {
        let wants = self.drain();
        let pause = wants.saturating_duration_since(Instant::now()).min(Duration::from_millis(5));
        let pause = pause.max(Duration::from_micros(200));
        if !self.take_frames(pause) && !self.take_datagram(pause) {
            self.rtc.handle_input(Input::Timeout(Instant::now())).expect("time passes");
        }
    }

    fn take_datagram(&mut self, pause: Duration) -> bool {
        let pause = if self.connection.is_some() { Duration::from_micros(1) } else { pause };
        self.socket.set_read_timeout(Some(pause)).expect("a time-out");
        let mut buffer = [0u8; 2_000];
        let Ok((length, mut source)) = self.socket.recv_from(&mut buffer) else { return false };
        if let Some((offered, real)) = self.nat {
            self.answered_from_elsewhere |= source.ip() != real;
            source.set_ip(offered);
        }
        let local = self.socket.local_addr().expect("its address");
        self.take(Protocol::Udp, source, local, &buffer[..length]);
        true
    }

    fn take_frames(&mut self, pause: Duration) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        connection.stream.set_read_timeout(Some(pause)).expect("a time-out");
        let (source, local) = (connection.stream.peer_addr(), connection.stream.local_addr());
        let (mut frames, mut buffer) = (Vec::new(), [0u8; 8_000]);
        let Ok(count) = connection.stream.read(&mut buffer) else { return false };
        connection.deframer.feed(&buffer[..count], |frame| frames.push(frame.to_vec())).expect("frames");
        for frame in &frames {
            self.take(
                Protocol::Tcp,
                source.as_ref().copied().expect("both ends"),
                local.as_ref().copied().expect("both"),
                frame,
            );
        }
        !frames.is_empty()
    }

    fn take(&mut self, proto: Protocol, source: SocketAddr, local: SocketAddr, bytes: &[u8]) {
        if let Ok(receive) = Receive::new(proto, source, local, bytes) {
            self.rtc.handle_input(Input::Receive(Instant::now(), receive)).expect("a datagram");
        }
    }

    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().expect("output") {
                Output::Timeout(at) => return at,
                Output::Transmit(out) => self.send(&out),
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::IceConnectionStateChange(state)) => self.ice = state,
                Output::Event(_) => {}
            }
        }
    }

    fn send(&mut self, out: &Transmit) {
        if out.proto == Protocol::Tcp {
            let mut framed = Vec::new();
            tcp_frames::write(&out.contents, &mut framed);
            if let Some(connection) = &mut self.connection {
                let _ = connection.stream.write_all(&framed);
            }
            return;
        }
        let mut to = out.destination;
        if let Some((offered, real)) = self.nat.filter(|(offered, _)| *offered == to.ip()) {
            assert_ne!(offered, real);
            to.set_ip(real);
        }
        let _ = self.socket.send_to(&out.contents, to);
        self.sent.push((to, out.contents.to_vec()));
    }

    /// Says so many packets, 20 ms of timestamp apart, as fast as they go. `skip`: packets that are lost before the first.
    pub fn say(&mut self, packets: u64, skip: u64) {
        self.sequence += skip;
        self.timestamp = self.timestamp.wrapping_add(u32::try_from(skip).expect("a few") * 960);
        for _ in 0..packets {
            self.send_as_sound(sound(self.number));
            self.number += 1;
        }
    }

    /// Sends this as if it were 20 ms of sound.
    pub fn send_as_sound(&mut self, payload: Vec<u8>) {
        let pt = self.rtc.media(self.mid).expect("its media").remote_pts()[0];
        let levels =
            ExtensionValues { audio_level: Some(-30), voice_activity: Some(true), ..Default::default() };
        let packet = RtpWrite::new(pt, self.sequence.into(), self.timestamp, Instant::now(), payload)
            .marker(self.number == 0)
            .ext_vals(levels);
        self.rtc.direct_api().stream_tx_by_mid(self.mid, None).expect("its stream").write_rtp(packet);
        self.rtc.handle_input(Input::Timeout(Instant::now())).expect("time passes");
        self.drain();
        self.sequence += 1;
        self.timestamp = self.timestamp.wrapping_add(960);
    }

    /// Says good-bye.
    pub fn close(&mut self) {
        self.rtc.close().expect("an end");
        self.drain();
    }
}
