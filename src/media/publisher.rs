//! A publisher: what it sends becomes its session's stream for as long as it is there (WHIP).

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use str0m::media::{MediaAdded, MediaKind, Mid, SenderFeedback};
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::{Rtc, RtcConfig};

use crate::media::media_gate::MediaGate;
use crate::media::pictures::Pictures;
use crate::media::published::{Published, Reported};
use crate::media::role::{Context, OfferRefused, Role, RoleEvent, RoleKind};
use crate::media::rtp::forwarder::Track;
use crate::media::rtp::packet::SenderReport;
use crate::media::sdp::{Agreed, Offer, Purpose, Supported};
use crate::media::simulcast::layers::{Layer, MAX_LAYERS};
use crate::media::stream::{Stream, Told};
use crate::media::subscriber::{self, Audience};

/// One publisher.
pub struct Publisher {
    stream: Stream,
    place: Place,
    agreed: Agreed,
    session: Arc<dyn Audience>,
    /// Whether the session lives for as long as it publishes.
    counts: bool,
    connected: bool,
    video: Option<Mid>,
    audio: Option<Mid>,
    pictures: Pictures,
    /// Of pictures and of sound.
    gates: (MediaGate, MediaGate),
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({:?}, {:?})", self.stream, self.agreed)
    }
}

/// The one place of a stream for a publisher: taken as long as this lives, unless it is taken from it before.
#[derive(Debug)]
pub struct Place {
    stream: Stream,
    number: u64,
}

impl Place {
    /// Whether somebody has it.
    pub fn is_taken(stream: &Stream) -> bool {
        stream.door().slot().is_taken()
    }

    /// Takes it; `None` when somebody else has it.
    pub fn take(stream: &Stream) -> Option<Place> {
        let number = stream.door().slot().take()?;
        // Viewers have nothing to refer to in what it sends before its first key frame.
        stream.view().want_every_key_frame();
        Some(Place { stream: stream.clone(), number })
    }

    /// One that [`Place::settle`] makes the place, for a publisher whose offer is not answered yet.
    pub fn prepare(stream: &Stream) -> Place {
        Place { stream: stream.clone(), number: stream.door().slot().next() }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The place is that of this number from now on; whoever had it has it no more.
    pub fn settle(stream: &Stream, number: u64, before: Option<u64>) {
        before.into_iter().for_each(|before| Place::vacate(stream, before));
        stream.door().slot().settle(number);
        stream.view().want_every_key_frame();
    }

    /// The publisher of this number has the place no more, if it did.
    pub fn vacate(stream: &Stream, number: u64) {
        // First, so that its packets that are under way come to nothing.
        stream.door().slot().vacate(number);
        stream.door().leave(number);
        stream.ring();
    }

    fn is_held(&self) -> bool {
        self.stream.door().slot().is_held_by(self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        Place::vacate(&self.stream, self.number);
    }
}

impl Publisher {
    /// A publisher for the stream whose place it has. Where a process takes what it sends, its session counts it as somebody
    /// who is there: a recording needs no viewer.
    pub fn new(place: Place, agreed: Agreed, session: Arc<dyn Audience>) -> Publisher {
        let stream = place.stream.clone();
        let counts = stream.door().ingest().to_process();
        Publisher {
            stream,
            place,
            agreed,
            session,
            counts,
            connected: false,
            video: None,
            audio: None,
            gates: (MediaGate::of(Track::Video), MediaGate::of(Track::Audio)),
            pictures: Pictures::default(),
        }
    }

    fn connected(&mut self) {
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        if let Some(video) = self.agreed.video {
            self.stream.door().enter(self.place.number, video, self.agreed.opus);
        }
        if self.counts {
            self.session.viewer_connected();
        }
    }

    fn gone(&mut self) {
        if std::mem::take(&mut self.connected) && self.counts {
            self.session.viewer_gone();
        }
    }

    fn media(&mut self, media: &MediaAdded) {
        match media.kind {
            MediaKind::Video => {
                self.video = Some(media.mid);
                let layers = media.simulcast.iter().flat_map(|simulcast| &simulcast.recv);
                self.pictures.rids = layers.map(|layer| layer.rid).take(MAX_LAYERS).collect();
            }
            MediaKind::Audio => self.audio = Some(media.mid),
        }
    }

    fn packet(&mut self, packet: &RtpPacket, context: &mut Context<'_>) {
        context.view.note_packet(context.moment, None);
        let Some((track, layer)) = self.place_of(packet.header.ssrc, context.rtc) else { return };
        let gate = if track == Track::Video { &mut self.gates.0 } else { &mut self.gates.1 };
        if !gate.pass(context.moment, &packet.payload) {
            return context.counters.bad.one();
        }
        let header = &packet.header;
        if track == Track::Video {
            self.pictures.note_source(layer, *header.ssrc, self.stream.view());
        }
        self.stream.tell(Told::Published(Published {
            by: self.place.number,
            track,
            layer,
            marker: header.marker,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            ssrc: *header.ssrc,
            payload: packet.payload.clone(),
        }));
        if self.stream.view().lacks_key_frames() && self.place.is_held() {
            self.pictures.ask(self.video, self.stream.view(), context.moment, context.rtc);
        }
    }

    fn report(&self, report: &SenderFeedback) {
        let track = match Some(report.mid) {
            mid if mid == self.video => Track::Video,
            mid if mid == self.audio => Track::Audio,
            _ => return,
        };
        self.stream.tell(Told::Reported(Reported {
            by: self.place.number,
            track,
            report: sender_report(report),
        }));
    }

    fn place_of(&self, ssrc: Ssrc, rtc: &mut Rtc) -> Option<(Track, Layer)> {
        let mut api = rtc.direct_api();
        let stream = api.stream_rx(&ssrc)?;
        match stream.mid() {
            mid if Some(mid) == self.video => {
                // Some publishers offer no stream for resending; they resend all the same when asked.
                stream.suppress_nack(false);
                Some((Track::Video, self.pictures.layer_of(stream.rid())?))
            }
            mid if Some(mid) == self.audio => Some((Track::Audio, Layer::BASE)),
            _ => None,
        }
    }
}

impl Role for Publisher {
    fn kind(&self) -> RoleKind {
        RoleKind::Publisher
    }

    fn prepare(&self, mut offer: Offer) -> Result<Offer, OfferRefused> {
        let Agreed { video, opus } = self.agreed;
        offer.agree(Purpose::Publish, &Supported { video: video.into_iter().collect(), opus })?;
        Ok(offer)
    }

    /// Publishers have a token (FFmpeg's WHIP is the server of DTLS).
    fn may_be_served(&self) -> bool {
        true
    }

    fn configure(&self, config: RtcConfig) -> RtcConfig {
        // The usual header extensions stay: browsers send more than a trickle only with feedback on their numbers.
        let mut config = config.set_rtp_mode(true).clear_codecs().enable_opus(self.agreed.opus, false);
        self.agreed.video.into_iter().for_each(|video| subscriber::enable(&mut config, video));
        config
    }

    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>) {
        match event {
            RoleEvent::Media(media) => self.media(&media),
            RoleEvent::Packet(packet) => self.packet(&packet, context),
            RoleEvent::SenderReport(report) => self.report(&report),
            RoleEvent::Connected => self.connected(),
            RoleEvent::Handshake(trouble) => {
                trouble.advice().into_iter().for_each(|words| self.session.warn(words))
            }
            RoleEvent::Gone(_) => self.gone(),
            _ => {}
        }
    }
}

/// From 1900, where NTP begins, to 1970, in seconds.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// A sender report of str0m's as the wire has it.
pub fn sender_report(report: &SenderFeedback) -> SenderReport {
    let info = &report.sender_info;
    let since = info.ntp_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    let ntp = (since.as_secs() + NTP_TO_UNIX) << 32 | fraction;
    // Timestamps wrap.
    SenderReport { ssrc: *info.ssrc, ntp, timestamp: info.rtp_time.numer() as u32 }
}
