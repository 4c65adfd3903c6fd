//! A browser without a page: str0m in full ICE, on a socket of its own, with a microphone.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};

/// What is in each packet of sound, so that the body can tell them apart.
pub fn sound(number: u64) -> Vec<u8> {
    format!("sound {number}").into_bytes()
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
    number: u64,
    sequence: u64,
    timestamp: u32,
}

impl Browser {
    /// A browser at a free port of this address, and its offer.
    pub fn offering(ip: &str) -> (Browser, String) {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        let mut rtc = RtcConfig::new()
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
            number: 0,
            sequence: 30_000,
            timestamp: 4_000_000_000,
        };
        (browser, offer.to_sdp_string())
    }

    /// Takes the answer.
    pub fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap_or_else(|error| panic!("{error}:\n{answer}"));
        let pending = self.pending.take().expect("an offer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
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

    /// Sends what is to be sent, then waits for a datagram or a deadline, at most 5 ms.
    pub fn step(&mut self) {
        let wants = self.drain();
        let pause = wants.saturating_duration_since(Instant::now()).min(Duration::from_millis(5));
        self.socket.set_read_timeout(Some(pause.max(Duration::from_micros(200)))).expect("a time-out");
        let mut buffer = [0u8; 2_000];
        match self.socket.recv_from(&mut buffer) {
            Ok((length, source)) => self.take(source, &buffer[..length]),
            Err(_) => self.rtc.handle_input(Input::Timeout(Instant::now())).expect("time passes"),
        }
    }

    fn take(&mut self, source: SocketAddr, bytes: &[u8]) {
        let destination = self.socket.local_addr().expect("its address");
        if let Ok(receive) = Receive::new(Protocol::Udp, source, destination, bytes) {
            self.rtc.handle_input(Input::Receive(Instant::now(), receive)).expect("a datagram");
        }
    }

    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().expect("output") {
                Output::Timeout(at) => return at,
                Output::Transmit(out) => {
                    let _ = self.socket.send_to(&out.contents, out.destination);
                    self.sent.push((out.destination, out.contents.to_vec()));
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::IceConnectionStateChange(state)) => self.ice = state,
                Output::Event(_) => {}
            }
        }
    }

    /// Says so many packets, 20 ms of timestamp apart, as fast as they go. `skip`: packets that are lost before the first.
    pub fn say(&mut self, packets: u64, skip: u64) {
        self.sequence += skip;
        self.timestamp = self.timestamp.wrapping_add(u32::try_from(skip).expect("a few") * 960);
        for _ in 0..packets {
            let pt = self.rtc.media(self.mid).expect("its media").remote_pts()[0];
            let levels =
                ExtensionValues { audio_level: Some(-30), voice_activity: Some(true), ..Default::default() };
            let payload = sound(self.number);
            let packet = RtpWrite::new(pt, self.sequence.into(), self.timestamp, Instant::now(), payload)
                .marker(self.number == 0)
                .ext_vals(levels);
            self.rtc.direct_api().stream_tx_by_mid(self.mid, None).expect("its stream").write_rtp(packet);
            self.rtc.handle_input(Input::Timeout(Instant::now())).expect("time passes");
            self.drain();
            self.number += 1;
            self.sequence += 1;
            self.timestamp = self.timestamp.wrapping_add(960);
        }
    }

    /// Says good-bye.
    pub fn close(&mut self) {
        self.rtc.close().expect("an end");
        self.drain();
    }
}
