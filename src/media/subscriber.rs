//! A viewer: follows a stream, packet by packet as it is, encrypted for this one peer.
//!
//! ```text
//!   Connecting ──connected──▶ Joining: the present group of pictures, paced ──level──▶ Live
//!                               ▲  └── there is none: Waiting for a key frame ──────────▲
//!                               └────── lost something for good (PLI), at most once a second ──┘
//!                                       and only while there is something new
//! ```
//!
//! When a source stops its picture, browsers ask for one as well. To begin anew then would show the same group again and again, so
//! the last picture stands.
//!
//! Of a stream with layers it is sent one at a time ([`LayerSelector`]); it goes over to another with a key frame of that one, while live.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use str0m::format::{Codec, CodecSpec};
use str0m::media::{Media, MediaKind, Mid, Pt};
use str0m::rtp::Extension;
use str0m::{Rtc, RtcConfig};

use crate::config::settings;
use crate::core::time::Moment;
use crate::media::audience::Followers;
use crate::media::egress::recent::Kept;
use crate::media::egress::track::OutboundTrack;
use crate::media::egress::{Feedback, Wish};
use crate::media::groups::{Group, Groups};
use crate::media::layer_selector::LayerSelector;
use crate::media::outlet::{Outlet, Replayed};
use crate::media::role::{Context, OfferRefused, Role, RoleEvent, RoleKind};
use crate::media::rtp::forwarder::{StreamPacket, Track};
use crate::media::rtp::gop_cache::Replay;
use crate::media::sdp::{Offer, PLAIN_PROFILE, Purpose, Supported, VideoCodec};
use crate::media::simulcast::layers::Layer;
use crate::media::source::Source;
use crate::media::stream::{Codecs, Stream, StreamId};

/// A viewer that asks for pictures all the time begins anew this often.
const ANEW: Duration = Duration::from_secs(1);

/// A picture that is asked for this long after the last packet is asked for because nothing came, not because something was lost: what
/// was lost is asked for within a few round trips, and libwebrtc waits three seconds for a frame.
const STOPPED: Duration = Duration::from_millis(2_500);

/// Sender reports of audio this often: with the usual five seconds lip sync takes ten to settle.
const REPORT: Duration = Duration::from_secs(1);

/// Is told when a viewer of its session comes and goes. Must not block.
pub trait Audience: Send + Sync {
    /// A viewer is connected.
    fn viewer_connected(&self);
    /// One that was connected is gone; called exactly once per `viewer_connected`.
    fn viewer_gone(&self);
    /// There is something for the session's owner to know.
    fn warn(&self, _words: &'static str) {}
}

/// Where a viewer stands.
#[derive(Debug)]
enum Phase {
    Connecting,
    Joining(Replay),
    Waiting,
    Live,
}

/// A viewer.
pub struct Subscriber {
    stream: Stream,
    audience: Arc<dyn Audience>,
    phase: Phase,
    video: Outlet,
    audio: Option<OutboundTrack>,
    began_anew: Option<Moment>,
    /// The newest packet of the stream when it last began.
    began_with: Option<u64>,
    wants_anew: bool,
    counted: bool,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Viewer({:?}, {:?})", self.stream, self.phase)
    }
}

impl Subscriber {
    /// A viewer of this stream, whose network is not measured.
    pub fn new(stream: Stream, audience: Arc<dyn Audience>) -> Subscriber {
        Subscriber {
            stream,
            audience,
            phase: Phase::Connecting,
            video: Outlet::new(LayerSelector::new(None)),
            audio: None,
            began_anew: None,
            began_with: None,
            wants_anew: false,
            counted: false,
        }
    }

    /// The same, measured as `webrtc.estimator.*` says.
    pub fn estimating(self, settings: &settings::Estimator) -> Subscriber {
        Subscriber { video: Outlet::new(LayerSelector::new(Some(settings))), ..self }
    }

    /// A section of the answer.
    fn add_track(&mut self, mid: Mid, rtc: &mut Rtc) {
        let Some(kind) = rtc.media(mid).map(Media::kind) else { return };
        let Some(pt) = payload_type(rtc, mid, self.stream.codecs()) else { return };
        let track = OutboundTrack::new(rtc, mid, pt);
        match kind {
            MediaKind::Video => self.video.track = track,
            MediaKind::Audio => self.audio = track,
        }
    }

    fn tracks(&mut self) -> impl Iterator<Item = &mut OutboundTrack> {
        self.video.track.iter_mut().chain(&mut self.audio)
    }

    fn connected(&mut self) {
        self.phase = Phase::Waiting;
        if !self.counted {
            self.counted = true;
            self.stream.view().viewers.fetch_add(1, Ordering::AcqRel);
            self.audience.viewer_connected();
        }
    }

    fn gone(&mut self) {
        if std::mem::take(&mut self.counted) {
            self.stream.view().viewers.fetch_sub(1, Ordering::AcqRel);
            self.audience.viewer_gone();
        }
    }

    /// Begins with the present group of pictures, if there is one.
    fn join(&mut self, groups: &Groups, context: &mut Context<'_>) {
        let layer = self.video.begin(self.stream.view(), context);
        if self.video.track.is_none() {
            self.phase = Phase::Live;
            return;
        }
        let group = groups.of(layer);
        self.began_with = group.and_then(Group::newest).map(|newest| newest.sequence);
        match group.and_then(|group| self.video.begin_with(group, context)) {
            Some(replay) => self.phase = Phase::Joining(replay),
            None if layer == Layer::BASE => {}
            None => self.stream.view().want_key_frame(layer),
        }
    }

    fn replay(&mut self, groups: &Groups, context: &mut Context<'_>) {
        let Phase::Joining(replay) = &mut self.phase else { return };
        match self.video.replay(replay, groups, context) {
            Replayed::Partly => {}
            Replayed::Level => self.phase = Phase::Live,
            Replayed::Lost => self.phase = Phase::Waiting,
        }
    }

    /// Passes packets on as they came.
    fn pass_on(&mut self, batch: &[StreamPacket], context: &mut Context<'_>) {
        let of = |track| batch.iter().filter(move |packet| packet.track == track);
        if matches!(self.phase, Phase::Live) {
            self.video.pass_on(of(Track::Video), context);
        }
        if let Some(audio) = self.audio.as_mut().filter(|_| !matches!(self.phase, Phase::Connecting)) {
            audio.write(context, of(Track::Audio).map(|packet| (packet, packet.place.timestamp)));
        }
    }

    /// Follows the layers of the stream, as far as there are any.
    fn follow_layers(&mut self, context: &mut Context<'_>) {
        if matches!(self.phase, Phase::Connecting) {
            return;
        }
        let is_vp8 = self.stream.codecs().video == VideoCodec::Vp8;
        self.video.follow_layers(self.stream.view(), is_vp8, context);
    }

    /// Whether to begin anew would show this viewer anything but what it has seen.
    fn is_something_new(&self, groups: &Groups, now: Moment) -> bool {
        let newest = groups.of(self.video.quality.present()).and_then(Group::newest);
        newest.is_some_and(|newest| {
            self.began_with != Some(newest.sequence) && now.since(newest.packet.taken) < STOPPED
        })
    }

    fn wants_picture(&mut self, now: Moment) {
        // A publisher whose pictures go through a process cannot help.
        if self.stream.door().ingest().to_viewers() {
            self.stream.view().want_key_frame(self.video.quality.present());
        }
        let recent = self.began_anew.is_some_and(|at| now.since(at) < ANEW);
        if matches!(self.phase, Phase::Live) && !recent {
            self.wants_anew = true;
        }
    }
}

impl Role for Subscriber {
    fn kind(&self) -> RoleKind {
        RoleKind::Viewer
    }

    fn prepare(&self, mut offer: Offer) -> Result<Offer, OfferRefused> {
        let Codecs { video, opus } = self.stream.codecs();
        offer.agree(Purpose::View, &Supported { video: vec![video], opus })?;
        Ok(offer)
    }

    fn configure(&self, config: RtcConfig) -> RtcConfig {
        let codecs = self.stream.codecs();
        let mut config = config
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(codecs.opus, false)
            .clear_extension_map()
            .set_extension(4, Extension::RtpMid)
            .set_rtcp_report_interval_audio(REPORT)
            // What it asks for again is told to us; where str0m sends and measures, that would cost a copy of each packet.
            .enable_raw_packets(self.sending() == Wish::Own);
        enable(&mut config, codecs.video);
        self.video.quality.configure(config)
    }

    fn settle(&mut self, answer: &str, rtc: &mut Rtc) -> Result<(), OfferRefused> {
        let mids = answer.lines().filter_map(|line| line.trim_end().strip_prefix("a=mid:"));
        mids.for_each(|mid| self.add_track(mid.into(), rtc));
        Ok(())
    }

    fn renegotiating(&mut self, rtc: &mut Rtc) {
        self.tracks().for_each(|track| track.declare(rtc));
    }

    fn renegotiated(&mut self, rtc: &mut Rtc) {
        self.tracks().for_each(|track| track.hush(rtc));
    }

    fn sending(&self) -> Wish {
        if self.video.quality.is_measured() { Wish::Measured } else { Wish::Own }
    }

    fn feedback(&mut self, feedback: &Feedback, followers: &Followers, context: &mut Context<'_>) {
        let Some(video) = &mut self.video.track else { return };
        let Some(kept) = followers.kept(self.stream.id()) else { return };
        if let Some(round_trip) = feedback.round_trip {
            video.measured(round_trip);
        }
        for (ssrc, number) in &feedback.lost {
            if video.is(*ssrc) {
                video.resend(*number, kept, context);
            }
        }
    }

    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>) {
        match event {
            RoleEvent::Connected => self.connected(),
            RoleEvent::KeyframeWanted(_) => self.wants_picture(context.moment),
            RoleEvent::Estimate(target) => self.video.quality.estimate(target),
            RoleEvent::Handshake(trouble) => {
                trouble.advice().into_iter().for_each(|words| self.audience.warn(words))
            }
            RoleEvent::Gone(_) => self.gone(),
            _ => {}
        }
    }

    fn follows(&self) -> Vec<Source> {
        vec![Source::Stream(self.stream.clone())]
    }

    fn stream(
        &mut self,
        _: Option<StreamId>,
        followers: &Followers,
        batch: &[StreamPacket],
        context: &mut Context<'_>,
    ) {
        let Some(Kept { groups, .. }) = followers.kept(self.stream.id()) else { return };
        self.follow_layers(context);
        let anew = std::mem::take(&mut self.wants_anew) && self.is_something_new(groups, context.moment);
        if anew {
            self.began_anew = Some(context.moment);
        }
        if anew || matches!(self.phase, Phase::Waiting) {
            self.join(groups, context);
        }
        self.pass_on(batch, context);
        self.replay(groups, context);
    }

    fn fetch(&self) {
        let tracks = self.video.track.iter().chain(&self.audio);
        tracks.for_each(OutboundTrack::fetch);
    }

    fn due(&self) -> Option<Duration> {
        matches!(self.phase, Phase::Joining(_)).then_some(Replay::STEP)
    }
}

/// Puts one video codec into a configuration.
pub fn enable(config: &mut RtcConfig, codec: VideoCodec) {
    let codecs = config.codec_config();
    match codec {
        VideoCodec::Vp8 => codecs.enable_vp8(true),
        VideoCodec::H264 { .. } => {
            let level = u32::from(PLAIN_PROFILE) << 16 | 0xE0 << 8 | 0x1F;
            codecs.add_h264(H264_TYPE.0.into(), Some(H264_TYPE.1.into()), true, level);
        }
    }
}

/// Payload types of H264 and of its repair where an offer leaves us the choice.
const H264_TYPE: (u8, u8) = (125, 107);

/// The payload type under which the client takes a stream's codec.
pub fn payload_type(rtc: &Rtc, mid: Mid, codecs: Codecs) -> Option<Pt> {
    let media = rtc.media(mid)?;
    let fits = |spec: &CodecSpec| match (spec.codec, media.kind()) {
        (Codec::Opus, MediaKind::Audio) => codecs.opus,
        (Codec::Vp8, MediaKind::Video) => codecs.video == VideoCodec::Vp8,
        (Codec::H264, MediaKind::Video) => {
            matches!(codecs.video, VideoCodec::H264 { .. }) && spec.format.packetization_mode == Some(1)
        }
        _ => false,
    };
    let mut params = rtc.codec_config().params().iter();
    params
        .find(|param| media.remote_pts().contains(&param.pt()) && fits(&param.spec()))
        .map(|param| param.pt())
}
