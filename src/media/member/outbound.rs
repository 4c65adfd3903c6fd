//! What a member is sent in one media section of ours: one track of another member after the other.
//!
//! ```text
//!   Shut ──both sides agreed that it sends──▶ Waiting ──sound─────────────────────────────▶ Live
//!     ▲                                          │ ▲                                      ▲ │
//!     │                                          │ │   a key frame of a moment ago        │ │
//!     │                                          └─│──▶ Joining ──what came since is sent─┘ │
//!     └──────it carries nothing────────────────────┴──────another track, a pause────────────┘
//! ```
//!
//! Who sends pictures is asked for a key frame at most twice a second, by one word for all who lack one. Who comes in between begins with the
//! last one, so that nobody waits for the next.

use str0m::Rtc;
use str0m::media::Mid;

use crate::core::rooms::tracks::MediaKind;
use crate::core::time::Moment;
use crate::media::audience::Followers;
use crate::media::egress::recent::Kept;
use crate::media::egress::track::OutboundTrack;
use crate::media::groups::Group;
use crate::media::layer_selector::LayerSelector;
use crate::media::member::track::{BEGIN_WITHIN, Track};
use crate::media::outlet::{Outlet, Replayed};
use crate::media::role::Context;
use crate::media::rtp::forwarder::{AUDIO_CLOCK, StreamPacket, VIDEO_CLOCK};
use crate::media::rtp::gop_cache::Replay;
use crate::media::sdp::VideoCodec;
use crate::media::stream::{Codecs, StreamId};
use crate::media::subscriber;

/// What all in a room send and receive.
pub const CODECS: Codecs = Codecs { video: VideoCodec::Vp8, opus: true };

#[derive(Debug)]
enum Phase {
    Shut,
    Waiting,
    Joining(Replay),
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
        !matches!(self.phase, Phase::Shut)
    }

    /// Whether it sends pictures of a moment ago, and wants to go on with that.
    pub fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining(_))
    }

    /// It begins with a track, or anew.
    pub fn open(&mut self) {
        self.phase = Phase::Waiting;
    }

    /// It may send from `now` on: a picture is asked for, unless there was one a moment ago, with which it may begin.
    pub fn may_begin(&self, track: &Track, now: Moment) {
        if matches!(self.phase, Phase::Waiting) {
            track.lacks_picture(self.outlet.quality.present(), now);
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

    /// More of its track; nothing: its pause is over.
    pub fn write(
        &mut self,
        track: &Track,
        followers: &Followers,
        batch: &[StreamPacket],
        context: &mut Context<'_>,
    ) {
        if matches!(self.phase, Phase::Shut) {
            return;
        }
        let is_video = track.kind() == MediaKind::Video;
        self.outlet.follow_layers(track.view(), is_video, context);
        if matches!(self.phase, Phase::Waiting) {
            self.begin(track, followers, batch, context);
        }
        match &mut self.phase {
            Phase::Shut | Phase::Waiting => return,
            Phase::Live => self.outlet.pass_on(batch.iter(), context),
            Phase::Joining(replay) => {
                let kept = followers.kept(track.id());
                let replayed = kept.map(|kept| self.outlet.replay(replay, kept.groups, context));
                match replayed.unwrap_or(Replayed::Lost) {
                    Replayed::Partly => {}
                    Replayed::Level => self.phase = Phase::Live,
                    Replayed::Lost => self.phase = Phase::Waiting,
                }
            }
        }
        self.last = Some((track.id(), context.moment));
    }

    fn begin(
        &mut self,
        track: &Track,
        followers: &Followers,
        batch: &[StreamPacket],
        context: &mut Context<'_>,
    ) {
        let Some(first) = batch.first() else { return };
        if track.kind() == MediaKind::Audio {
            self.go_on(track, first, context.moment);
            self.phase = Phase::Live;
            return;
        }
        let layer = self.outlet.begin(track.view(), context);
        let is_fresh = |group: &&Group| group.age(context.moment).is_some_and(|age| age <= BEGIN_WITHIN);
        let group = followers.kept(track.id()).and_then(|kept| kept.groups.of(layer)).filter(is_fresh);
        let Some((group, newest)) = group.and_then(|group| Some((group, group.newest()?))) else {
            return track.view().want_key_frame(layer);
        };
        self.go_on(track, &newest.packet, context.moment);
        if let Some(replay) = self.outlet.begin_with(group, context) {
            self.phase = Phase::Joining(replay);
        }
    }

    /// What follows is the track's, which is at this packet now.
    fn go_on(&mut self, track: &Track, packet: &StreamPacket, now: Moment) {
        let Some(out) = &mut self.outlet.track else { return };
        match self.last {
            Some((source, at)) if source != track.id() => {
                let clock =
                    u64::from(if track.kind() == MediaKind::Video { VIDEO_CLOCK } else { AUDIO_CLOCK });
                let passed = now.since(at).as_millis() as u64 * clock / 1_000;
                out.go_on(packet, u32::try_from(passed).unwrap_or(u32::MAX));
            }
            _ => out.go_over(packet),
        }
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
