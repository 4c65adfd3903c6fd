//! What a member is sent in one media section of ours: one track of another member after the other.
//!
//! ```text
//!   Shut ──both sides agreed that it sends──▶ Waiting ──sound, or a key frame──▶ Live
//!     ▲                                          ▲                                │
//!     └──────it carries nothing──────────────────┴──────another track, a pause────┘
//! ```

use str0m::Rtc;
use str0m::media::Mid;

use crate::core::rooms::tracks::MediaKind;
use crate::core::time::Moment;
use crate::media::egress::recent::Kept;
use crate::media::egress::track::OutboundTrack;
use crate::media::layer_selector::LayerSelector;
use crate::media::member::track::Track;
use crate::media::outlet::Outlet;
use crate::media::role::Context;
use crate::media::rtp::forwarder::{AUDIO_CLOCK, StreamPacket, VIDEO_CLOCK};
use crate::media::sdp::VideoCodec;
use crate::media::simulcast::layers::Layer;
use crate::media::stream::{Codecs, StreamId};
use crate::media::subscriber;

/// What all in a room send and receive.
pub const CODECS: Codecs = Codecs { video: VideoCodec::Vp8, opus: true };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Shut,
    Waiting,
    Live,
}

/// One section of ours.
#[derive(Debug)]
pub struct Outbound {
    outlet: Outlet,
    phase: Phase,
    /// What it sent last, and when.
    last: Option<(StreamId, Moment)>,
}

impl Default for Outbound {
    /// One that nothing was agreed on.
    fn default() -> Outbound {
        Outbound { outlet: Outlet::new(LayerSelector::new(None)), phase: Phase::Shut, last: None }
    }
}

impl Outbound {
    /// Both sides agreed on the section: there is something to send on.
    pub fn agreed(&mut self, mid: Mid, rtc: &mut Rtc) {
        if self.outlet.track.is_none()
            && let Some(pt) = subscriber::payload_type(rtc, mid, CODECS)
        {
            self.outlet.track = OutboundTrack::new(rtc, mid, pt);
            // A section shows one camera after the other, and a decoder wants their pictures numbered as one's.
            self.outlet.track.iter_mut().for_each(OutboundTrack::number_pictures);
        }
    }

    /// Whether it sends.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Shut
    }

    /// It begins with a track, or anew.
    pub fn open(&mut self, track: &Track) {
        self.phase = Phase::Waiting;
        if track.kind() == MediaKind::Video {
            track.view().want_key_frame(self.outlet.quality.present());
        }
    }

    /// It sends nothing.
    pub fn shut(&mut self) {
        self.phase = Phase::Shut;
    }

    /// The WebRTC state knows it while a description is made.
    pub fn declare(&mut self, rtc: &mut Rtc) {
        self.outlet.track.iter_mut().for_each(|track| track.declare(rtc));
    }

    /// And forgets it again where nothing was sent yet.
    pub fn hush(&mut self, rtc: &mut Rtc) {
        self.outlet.track.iter_mut().for_each(|track| track.hush(rtc));
    }

    /// Whether packets that name this source are its.
    pub fn is(&self, ssrc: u32) -> bool {
        self.outlet.track.as_ref().is_some_and(|track| track.is(ssrc))
    }

    /// More of its track.
    pub fn write(&mut self, track: &Track, batch: &[StreamPacket], context: &mut Context<'_>) {
        if self.phase == Phase::Shut {
            return;
        }
        self.outlet.follow_layers(track.view(), track.kind() == MediaKind::Video, context);
        let first = if self.phase == Phase::Live { Some(0) } else { self.begin(track, batch, context) };
        let Some(rest) = first.and_then(|first| batch.get(first..)).filter(|rest| !rest.is_empty()) else {
            return;
        };
        self.outlet.pass_on(rest.iter(), context);
        self.last = Some((track.id(), context.moment));
    }

    /// The packet with which it begins, if there is one.
    fn begin(&mut self, track: &Track, batch: &[StreamPacket], context: &mut Context<'_>) -> Option<usize> {
        let is_video = track.kind() == MediaKind::Video;
        let layer = if is_video { self.outlet.begin(track.view(), context) } else { Layer::BASE };
        let begins = |packet: &StreamPacket| packet.layer == layer && (!is_video || packet.starts_key_frame);
        let Some(index) = batch.iter().position(begins) else {
            if is_video {
                track.view().want_key_frame(layer);
            }
            return None;
        };
        let (packet, out) = (batch.get(index)?, self.outlet.track.as_mut()?);
        match self.last {
            Some((source, at)) if source != track.id() => {
                let clock = u64::from(if is_video { VIDEO_CLOCK } else { AUDIO_CLOCK });
                let passed = context.moment.since(at).as_millis() as u64 * clock / 1_000;
                out.go_on(packet, u32::try_from(passed).unwrap_or(u32::MAX));
            }
            _ => out.go_over(packet),
        }
        self.phase = Phase::Live;
        Some(index)
    }

    /// Its client lacks a picture.
    pub fn wants_picture(&self, track: &Track) {
        if track.kind() == MediaKind::Video {
            track.view().want_key_frame(self.outlet.quality.present());
        }
    }

    /// Its client lost this packet.
    pub fn resend(&mut self, number: u16, kept: Kept<'_>, context: &mut Context<'_>) {
        self.outlet.track.iter_mut().for_each(|track| track.resend(number, kept, context));
    }

    /// The way there and back takes so long.
    pub fn measured(&mut self, round_trip: std::time::Duration) {
        self.outlet.track.iter_mut().for_each(|track| track.measured(round_trip));
    }
}
