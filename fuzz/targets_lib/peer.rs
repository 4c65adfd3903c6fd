//! Real peers of every role, from the offer to their end: ICE, DTLS, RTP and RTCP whose bytes are changed on their way, and what a
//! page asks for meanwhile. The far end is a real client.
//!
//! Sockets are on loopback, time is made up, SRTP has no secrets: see [`clear_srtp`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use hydraneckwebrtc::core::ids::SessionId;
use hydraneckwebrtc::isolation;
use hydraneckwebrtc::media::local_candidates::Transport;
use hydraneckwebrtc::media::offer::{Wanted, answer};
use hydraneckwebrtc::media::outbox::Via;
use hydraneckwebrtc::media::peer::{Peer, Verdict};
use hydraneckwebrtc::media::role::Gone;
use hydraneckwebrtc::media::rtp::forwarder::{StreamPacket, Track};
use hydraneckwebrtc::media::rtp::timeline::Place;
use hydraneckwebrtc::media::sdp::{IceParameters, Offer, is_candidate, is_password, is_user_fragment};
use hydraneckwebrtc::media::simulcast::layers::Layer;
use hydraneckwebrtc::media::sockets::{Datagram, Remote};
use hydraneckwebrtc::media::stream::News;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

mod clear_srtp;
mod stage;

use stage::{Kind, STEP, Stage};

/// Rounds that a connection takes at most, and that an input may ask for.
const CONNECT: usize = 24;
const MOST_ROUNDS: usize = 160;

/// Bytes of a datagram.
const MTU: usize = 1400;

thread_local! {
    static STAGES: [RefCell<Option<Stage>>; 2] = const { [RefCell::new(None), RefCell::new(None)] };
}

/// What is left of an input.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes([self.byte()?, self.byte()?])))
    }

    /// So many bytes as the next one says; fewer when there are no more.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes)
    }
}

/// One byte for role and ICE, one for changes of the offer, then what happens.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let Some(choice) = script.byte() else { return };
    on_stage(choice & 8 == 0, |stage| {
        let scene = Scene::begin(stage, Kind::of(choice), &mut script);
        let _ = scene.map(|scene| scene.play(&mut script));
    });
}

/// Works with ICE-lite or without; a panic is a finding, also where the product would contain it.
fn on_stage(lite: bool, work: impl FnOnce(&mut Stage)) {
    static CLEAR: Once = Once::new();
    CLEAR.call_once(clear_srtp::install);
    let before = isolation::contained();
    STAGES.with(|stages| {
        let mut stage = stages[usize::from(lite)].borrow_mut();
        let stage = stage.get_or_insert_with(|| Stage::new(lite));
        stage.clear();
        work(stage);
    });
    assert_eq!(isolation::contained(), before, "a panic was contained, but should not be");
}

/// Offers this to every role: it is refused, or answered section by section by a peer that lives on for a moment and ends.
pub fn offer_to_all(text: &str) {
    for choice in 0..16 {
        on_stage(choice & 8 == 0, |stage| {
            let scene = Scene::offered(stage, Kind::of(choice), text);
            let _ = scene.map(|scene| scene.play(&mut Script(&[1, 1, 11, 2, 0, 0, 8, 40, 0])));
        });
    }
}

/// A peer and the client at its other end.
struct Scene<'s> {
    stage: &'s mut Stage,
    kind: Kind,
    peer: Option<Box<Peer>>,
    client: Rtc,
    mids: Vec<Mid>,
    now: Instant,
    rounds: usize,
    /// Changes of the next datagrams of the client: place and what is added there.
    changes: VecDeque<(usize, u8)>,
    sent: Vec<Vec<u8>>,
    sequence: u64,
    number: u64,
    reports: u32,
}

fn client(stage: &Stage, kind: Kind, now: Instant) -> Option<(Rtc, String, SdpPendingOffer, Vec<Mid>)> {
    let mut rtc = RtcConfig::new().set_rtp_mode(true).set_dtls_cert(stage.certificate.clone()).build(now);
    rtc.add_local_candidate(Candidate::host(stage.client_address, "udp").ok()?);
    let direction = match kind {
        Kind::Viewer(_) | Kind::Measured => Direction::RecvOnly,
        _ => Direction::SendOnly,
    };
    let mut layers = Simulcast::new();
    ["q", "h", "f"].iter().for_each(|rid| layers.add_send_layer(SimulcastLayer::new(rid)));
    let mut api = rtc.sdp_api();
    let mut mids = vec![api.add_media(MediaKind::Audio, direction, None, None, None)];
    match kind {
        Kind::Mic => {}
        Kind::MicWithData => drop(api.add_channel("data".into())),
        kind => {
            let layers = (kind == Kind::Layers).then_some(layers);
            mids.push(api.add_media(MediaKind::Video, direction, None, None, layers));
        }
    }
    let (offer, pending) = api.apply()?;
    Some((rtc, offer.to_sdp_string(), pending, mids))
}

/// Overwrites, inserts and removes bytes of a text.
fn changed(text: String, script: &mut Script<'_>) -> Option<String> {
    let mut bytes = text.into_bytes();
    for _ in 0..script.byte()? % 4 {
        let (at, gone) = (script.number()? % bytes.len().max(1), usize::from(script.byte()?));
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, script.bytes()?.iter().copied());
    }
    String::from_utf8(bytes).ok()
}

impl<'s> Scene<'s> {
    fn begin(stage: &'s mut Stage, kind: Kind, script: &mut Script<'_>) -> Option<Scene<'s>> {
        let now = Instant::now();
        let (client, text, pending, mids) = client(stage, kind, now)?;
        let text = changed(text, script)?;
        Scene::answered(stage, kind, &text, (client, Some(pending), mids), now)
    }

    /// A scene of an offer of somebody else.
    fn offered(stage: &'s mut Stage, kind: Kind, text: &str) -> Option<Scene<'s>> {
        let now = Instant::now();
        let client = RtcConfig::new().set_dtls_cert(stage.certificate.clone()).build(now);
        Scene::answered(stage, kind, text, (client, None, Vec::new()), now)
    }

    fn answered(
        stage: &'s mut Stage,
        kind: Kind,
        text: &str,
        (mut client, pending, mids): (Rtc, Option<SdpPendingOffer>, Vec<Mid>),
        now: Instant,
    ) -> Option<Scene<'s>> {
        let offer = Offer::read(text).ok()?;
        let session = SessionId::from_entropy([9; 16]);
        let offered = offer.sections().len();
        let wanted = Wanted { session, role: stage.role(kind)?, offer };
        let (seed, text) = answer(wanted, &stage.shared, now).ok()?;
        let answered = text.lines().filter(|line| line.starts_with("m=")).count();
        assert_eq!(offered, answered, "a section of the offer has none in the answer:\n{text}");
        let peer = Box::new(Peer::adopt(Box::new(seed), &mut stage.io).expect("no port of its own"));
        if let (Ok(answer), Some(pending)) = (SdpAnswer::from_sdp_string(&text), pending) {
            // A client whose offer was changed may not take it; its checks come all the same.
            let _ = client.sdp_api().accept_answer(pending, answer);
        }
        Some(Scene {
            stage,
            kind,
            peer: Some(peer),
            client,
            mids,
            now,
            rounds: 0,
            changes: VecDeque::new(),
            sent: Vec::new(),
            sequence: 1,
            number: 1,
            reports: 1,
        })
    }

    fn play(mut self, script: &mut Script<'_>) {
        while self.peer.is_some() && self.rounds < MOST_ROUNDS {
            if self.act(script).is_none() {
                break;
            }
        }
        self.rounds(2);
        self.end(Gone::Closed);
    }

    /// One thing that happens; `None` when there are no more.
    fn act(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 12 {
            0 => self.rounds(CONNECT),
            1 => self.rounds(usize::from(script.byte()? % 8)),
            2 => self.arrive(script.bytes()?),
            3 => self.changes.push_back((script.number()?, script.byte()?)),
            4 => self.again(script.number()?),
            5 => self.say(script)?,
            6 => self.rtp(script.bytes()?),
            7 => self.rtcp(script.bytes()?),
            8 => {
                self.now += Duration::from_millis(script.number()? as u64);
                self.rounds(1);
            }
            9 => self.show(script)?,
            10 => self.trickle(script.bytes()?),
            _ => self.restart(script.bytes()?),
        }
        Some(())
    }

    fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.rounds += 1;
            self.now += STEP;
            let _ = self.client.handle_input(Input::Timeout(self.now));
            for datagram in self.drain_client() {
                self.arrive(&datagram);
            }
            let now = self.now;
            while self.stage.io.deadlines.pop_due(now).is_some() {}
            self.with_peer(|peer, stage| peer.tick(now, &mut stage.io));
            self.hear();
        }
    }

    fn drain_client(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Ok(output) = self.client.poll_output() {
            match output {
                Output::Timeout(_) => break,
                Output::Transmit(transmit) => out.push(transmit.contents.to_vec()),
                Output::Event(_) => {}
            }
        }
        for datagram in &mut out {
            if self.sent.len() < 64 {
                self.sent.push(datagram.clone());
            }
            if let Some((at, add)) = self.changes.pop_front() {
                let at = at % datagram.len().max(1);
                datagram.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(add));
                if add == 0 {
                    datagram.truncate(at);
                }
            }
        }
        out
    }

    /// What the peer has sent reaches the client.
    fn hear(&mut self) {
        self.stage.io.flush();
        let mut room = [0; 2048];
        while let Ok(length) = self.stage.client.recv(&mut room) {
            let (from, to) = (self.stage.server_address, self.stage.client_address);
            if let Ok(receive) = Receive::new(Protocol::Udp, from, to, &room[..length]) {
                let _ = self.client.handle_input(Input::Receive(self.now, receive));
            }
        }
    }

    /// A datagram reaches the peer.
    fn arrive(&mut self, bytes: &[u8]) {
        let remote = Remote { transport: Transport::Udp, address: self.stage.client_address };
        let (at, local) = (self.now, self.stage.server_address);
        let bytes = bytes.get(..MTU).unwrap_or(bytes);
        let arrival = Datagram { at, remote, via: Via::Mux, local, bytes, heard_elsewhere: false };
        self.with_peer(|peer, stage| peer.receive(&arrival, &mut stage.io));
    }

    fn again(&mut self, which: usize) {
        let which = which % self.sent.len().max(1);
        if let Some(datagram) = self.sent.get(which).cloned() {
            self.arrive(&datagram);
        }
    }

    /// The client says something: a packet that is well formed, with any numbers.
    fn say(&mut self, script: &mut Script<'_>) -> Option<()> {
        let which = usize::from(script.byte()?);
        let (step, time, payload) = (script.number()?, script.number()?, script.bytes()?);
        let mid = *self.mids.get(which % self.mids.len().max(1))?;
        self.sequence += step as u64;
        let pt = self.client.media(mid).and_then(|media| media.remote_pts().first().copied());
        let rid =
            (self.kind == Kind::Layers && which & 1 == 1).then(|| ["q", "h", "f"][which / 2 % 3].into());
        let mut api = self.client.direct_api();
        if let (Some(pt), Some(stream)) = (pt, api.stream_tx_by_mid(mid, rid)) {
            let time = (time as u32) << 8;
            stream.write_rtp(RtpWrite::new(pt, self.sequence.into(), time, self.now, payload.to_vec()));
        }
        Some(())
    }

    /// RTP as somebody writes it who has the keys.
    fn rtp(&mut self, bytes: &[u8]) {
        self.arrive(&[bytes, &[0; clear_srtp::TAG]].concat());
    }

    /// RTCP likewise: the tag, then the index with the flag of encryption (RFC 7714, 9.2).
    fn rtcp(&mut self, bytes: &[u8]) {
        self.reports += 1;
        let index = (self.reports | 1 << 31).to_be_bytes();
        self.arrive(&[bytes, &[0; clear_srtp::TAG], &index].concat());
    }

    /// The stream goes on for a viewer.
    fn show(&mut self, script: &mut Script<'_>) -> Option<()> {
        let (flags, payload): (u8, Arc<[u8]>) = (script.byte()?, script.bytes()?.into());
        let Some(stream) = self.stage.stream(self.kind).cloned() else { return Some(()) };
        let layer = Layer::new(usize::from(flags >> 6)).unwrap_or(Layer::BASE);
        let place = Place { sequence: self.number, timestamp: self.number as u32 * 3000 };
        let track = if flags & 4 == 0 { Track::Video } else { Track::Audio };
        let packet = StreamPacket {
            track,
            layer: if flags & 4 == 0 { layer } else { Layer::BASE },
            place,
            marker: flags & 2 == 0,
            starts_key_frame: flags & 1 == 0,
            taken: self.stage.shared.moment(self.now),
            payload,
        };
        self.number += 1 + u64::from(flags >> 3 & 3);
        let batch: Arc<[StreamPacket]> = vec![packet].into();
        let (now, moment) = (self.now, self.stage.shared.moment(self.now));
        let source = stream.id();
        self.stage.io.followers.note(source, &mut News::Batch(batch.clone()), moment);
        self.with_peer(|peer, stage| peer.stream(Some(source), &batch, now, &mut stage.io));
        Some(())
    }

    fn trickle(&mut self, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let _ = is_candidate(text);
        let Ok(candidate) = Candidate::from_sdp_string(text) else { return };
        let now = self.now;
        self.with_peer(|peer, stage| peer.trickle(vec![candidate], now, &mut stage.io));
    }

    /// ICE begins anew with these parameters, where they pass as such.
    fn restart(&mut self, bytes: &[u8]) {
        let text: String = bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        let ice = IceParameters {
            ufrag: format!("new{text}"),
            pwd: format!("{text:p<22}"),
            candidates: Vec::new(),
        };
        if !is_user_fragment(&ice.ufrag) || !is_password(&ice.pwd) {
            return;
        }
        let now = self.now;
        self.with_peer(|peer, stage| {
            let _ = peer.restart(&ice, now, &stage.io);
            peer.turn(now, &mut stage.io)
        });
    }

    fn with_peer(&mut self, work: impl FnOnce(&mut Peer, &mut Stage) -> Verdict) {
        let verdict = self.peer.as_mut().map(|peer| work(peer, self.stage));
        if let Some(Err(why)) = verdict {
            self.end(why);
        }
    }

    /// Its end, as its thread does it.
    fn end(&mut self, why: Gone) {
        let Some(mut peer) = self.peer.take() else { return };
        peer.say_good_bye(why, self.now, &mut self.stage.io);
        drop(peer.leave(&mut self.stage.io));
        assert!(self.stage.io.paths.is_empty(), "an address is left");
    }
}
