//! What str0m costs by itself: packets that a peer is given, and its datagrams thrown away; no socket, and time as it is told.
//!
//! The design's floors were measured on another machine. This it measured there as well, so it tells how far the two are apart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::process::own_cpu;

/// CPU µs per packet where the floors were measured, with as many packets per drain (`reference/str0m.md`).
pub const THERE: f64 = 0.75;

/// Packets between two drains.
const PER_DRAIN: u64 = 16;

/// So many of them are 400 packets a second.
const STEP: Duration = Duration::from_millis(40);

/// Bytes of a payload.
const PAYLOAD: usize = 1_200;

/// How long it is measured, of the wall's time.
const LASTS: Duration = Duration::from_secs(2);

/// In how many steps two peers on no network have found each other.
const STEPS: usize = 1_000;

/// CPU µs per packet of 1,200 bytes.
pub fn alone() -> f64 {
    let mut pair = Couple::meet();
    let payload: Arc<[u8]> = vec![9; PAYLOAD].into();
    // Its store of sent packets is full then.
    (0..200).for_each(|_| pair.send(&payload));
    let (begun, cpu, sent) = (Instant::now(), own_cpu(), pair.sent);
    while begun.elapsed() < LASTS {
        (0..50).for_each(|_| pair.send(&payload));
    }
    (own_cpu() - cpu) as f64 / (pair.sent - sent) as f64 / 1e3
}

/// A sender and a receiver that hand each other datagrams.
struct Couple {
    sender: Side,
    receiver: Side,
    now: Instant,
    mid: Mid,
    pt: Pt,
    /// Packets of media that came out of the sender.
    sent: u64,
    written: u64,
}

struct Side {
    rtc: Rtc,
    address: SocketAddr,
    connected: bool,
}

impl Couple {
    fn meet() -> Couple {
        let now = Instant::now();
        let (mut sender, mut receiver) = (Side::at(1, now), Side::at(2, now));
        let mut api = sender.rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        let offer = SdpOffer::from_sdp_string(&offer.to_sdp_string()).expect("an offer");
        let answer = receiver.rtc.sdp_api().accept_offer(offer).expect("an answer");
        let answer = SdpAnswer::from_sdp_string(&answer.to_sdp_string()).expect("an answer");
        sender.rtc.sdp_api().accept_answer(pending, answer).expect("an answer that fits");
        let pt = sender.rtc.media(mid).and_then(|media| media.remote_pts().first().copied());
        let pt = pt.expect("a codec that both have");
        let mut couple = Couple { sender, receiver, now, mid, pt, sent: 0, written: 0 };
        for _ in 0..STEPS {
            if couple.sender.connected && couple.receiver.connected {
                return couple;
            }
            couple.now += Duration::from_millis(5);
            let _ = couple.sender.rtc.handle_input(Input::Timeout(couple.now));
            couple.exchange();
        }
        panic!("two peers without a network between them do not connect");
    }

    /// Hands over what there is, in both directions, until there is no more.
    fn exchange(&mut self) {
        let _ = self.receiver.rtc.handle_input(Input::Timeout(self.now));
        loop {
            let back = self.receiver.take(&mut self.sender, self.now).0;
            if !self.drain() && !back {
                return;
            }
        }
    }

    /// Takes what comes out of the sender, and throws its media away. Whether there was anything else.
    fn drain(&mut self) -> bool {
        let (passed, media) = self.sender.take(&mut self.receiver, self.now);
        self.sent += media;
        passed
    }

    fn send(&mut self, payload: &Arc<[u8]>) {
        let mut api = self.sender.rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.mid, None).expect("a stream to send");
        for _ in 0..PER_DRAIN {
            let (number, time) = (self.written, (self.written * 225) as u32);
            let write = RtpWrite::new(self.pt, number.into(), time, self.now, payload.clone());
            stream.write_rtp(write.marker(number % 10 == 9).nackable(true));
            self.written += 1;
        }
        self.now += STEP;
        let _ = self.sender.rtc.handle_input(Input::Timeout(self.now));
        // The other one works for the sender's checks only, and costs next to nothing.
        if self.drain() {
            self.exchange();
        }
    }
}

impl Side {
    fn at(port: u16, now: Instant) -> Side {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a candidate"));
        Side { rtc, address, connected: false }
    }

    /// Takes what comes out; `other` gets all of it but media. Whether it got anything, and how many packets of media there were.
    fn take(&mut self, other: &mut Side, now: Instant) -> (bool, u64) {
        let (mut passed, mut media) = (false, 0);
        loop {
            match self.rtc.poll_output().expect("a peer that works") {
                Output::Timeout(_) => return (passed, media),
                // RTP and RTCP share this range of first bytes (RFC 7983); a sender's reports are one in hundreds.
                Output::Transmit(out) if out.contents.first().is_some_and(|first| first >> 6 == 2) => {
                    media += 1;
                }
                Output::Transmit(out) => {
                    let receive = Receive::new(Protocol::Udp, self.address, other.address, &out.contents);
                    let receive = receive.expect("a datagram");
                    let _ = other.rtc.handle_input(Input::Receive(now, receive));
                    passed = true;
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(_) => {}
            }
        }
    }
}
