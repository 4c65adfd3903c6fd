//! What a member sends in one media section: made into a track that others follow.

use std::time::Duration;

use str0m::Rtc;
use str0m::media::{Mid, Rid};
use str0m::rtp::RtpPacket;

use crate::core::rooms::tracks::MediaKind;
use crate::core::time::Moment;
use crate::media::groups::Groups;
use crate::media::media_gate::MediaGate;
use crate::media::member::track::{GROUPS, Track};
use crate::media::pictures::Pictures;
use crate::media::role::Context;
use crate::media::rtp::forwarder::{Feeder, Forwarder, StreamPacket, Track as Medium};
use crate::media::rtp::packet::{self, SenderReport};
use crate::media::rtp::payload::Packing;
use crate::media::rtp::timeline::WallClock;
use crate::media::simulcast::layers::{Layer, Meter};

/// How often a member's loudness is told: ten times a second is what an active speaker is chosen by.
const LEVELS: Duration = Duration::from_millis(100);

/// The quietest that the header extension can say (RFC 6464).
const SILENT: u8 = 127;

/// One of a member's tracks.
#[derive(Debug)]
pub struct Inbound {
    /// Its section.
    pub mid: Mid,
    /// What others follow.
    pub track: Track,
    gate: MediaGate,
    feed: Forwarder,
    meter: Meter,
    pictures: Pictures,
    /// What nobody followed when it came.
    early: Groups,
    has_early: bool,
    loudest: Option<u8>,
    told: Option<Moment>,
}

impl Inbound {
    /// A track that begins, whose layers have these names.
    pub fn new(mid: Mid, track: Track, rids: Vec<Rid>) -> Inbound {
        let mut feed = Forwarder::new(Packing::Vp8);
        feed.hand_to(Feeder::Publisher, medium(track.kind()));
        let (meter, pictures, early) = (Meter::default(), Pictures::of(rids), Groups::new(GROUPS));
        let gate = MediaGate::of(medium(track.kind()));
        Inbound {
            mid,
            track,
            gate,
            feed,
            meter,
            pictures,
            early,
            has_early: false,
            loudest: None,
            told: None,
        }
    }

    /// Takes a packet in, unless it is nothing that sound or a picture is sent in.
    pub fn packet(&mut self, packet: &RtpPacket, context: &mut Context<'_>) {
        if !self.gate.pass(context.moment, &packet.payload) {
            return context.counters.bad.one();
        }
        let Some(layer) = self.layer_of(packet, context.rtc) else { return };
        let (header, now) = (&packet.header, context.moment);
        let plain = packet::RtpPacket {
            payload_type: *header.payload_type,
            marker: header.marker,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            ssrc: *header.ssrc,
            payload: &packet.payload,
        };
        let which = (medium(self.track.kind()), layer);
        let taken = self.feed.packet(Feeder::Publisher, which, &plain, now, || packet.payload.clone());
        let is_video = self.track.kind() == MediaKind::Video;
        if taken.is_none() && is_video {
            // A source begins with a picture that stands for itself.
            self.track.view().want_key_frame(layer);
        }
        if let Some(packet) = taken {
            let (view, bytes) = (self.track.view(), packet.payload.len());
            view.note_packet(bytes);
            self.meter.note(is_video.then_some(layer), bytes, now);
            if packet.starts_key_frame {
                view.note_key_frame(layer, packet.taken);
                // Whoever lacked one has it with this.
                view.key_frame_is_asked_for(layer);
            }
            self.pass_on(packet, context);
        }
        if let Some((rates, sound)) = self.meter.read(now) {
            self.track.view().set_rates(&rates, sound);
        }
        self.pictures.ask(Some(self.mid), self.track.view(), now, context.rtc);
    }

    /// Passes a packet on. As long as nobody follows, the present group is kept: who follows next begins with it.
    fn pass_on(&mut self, packet: StreamPacket, context: &mut Context<'_>) {
        if !self.track.is_followed() {
            self.early.remember(&packet, context.moment);
            self.has_early = true;
            return;
        }
        if std::mem::take(&mut self.has_early) {
            self.early.take().for_each(|packet| context.news.push(&self.track, packet, context.now));
        }
        context.news.push(&self.track, packet, context.now);
    }

    fn layer_of(&mut self, packet: &RtpPacket, rtc: &mut Rtc) -> Option<Layer> {
        if self.track.kind() == MediaKind::Audio {
            return Some(Layer::BASE);
        }
        let mut api = rtc.direct_api();
        let stream = api.stream_rx(&packet.header.ssrc)?;
        // Some clients offer no stream for resending; they resend all the same when asked.
        stream.suppress_nack(false);
        let layer = self.pictures.layer_of(stream.rid())?;
        self.pictures.note_source(layer, *packet.header.ssrc, self.track.view());
        Some(layer)
    }

    /// Takes the loudness that a packet of sound tells; says it when it is time, the loudest since the last time: 0 is the loudest, 127
    /// silence (RFC 6464's −dBov).
    pub fn loudness(&mut self, packet: &RtpPacket, now: Moment) -> Option<u8> {
        let level = packet.header.ext_vals.audio_level?.unsigned_abs();
        self.loudest = Some(level.min(self.loudest.unwrap_or(SILENT)));
        if self.told.is_some_and(|told| now.since(told) < LEVELS) {
            return None;
        }
        self.told = Some(now);
        self.loudest.take()
    }

    /// Takes a sender report; all tracks of a member have one wall clock.
    pub fn report(&mut self, report: &SenderReport, wall: &mut WallClock, now: Moment) {
        let taken = wall.read(report, now);
        self.feed.report_of(Feeder::Publisher, report, taken);
    }
}

fn medium(kind: MediaKind) -> Medium {
    match kind {
        MediaKind::Audio => Medium::Audio,
        MediaKind::Video => Medium::Video,
    }
}
