//! A viewer: follows a stream, packet by packet as it is, encrypted for this one peer.
//!
//! ```text
//!   Connecting ──connected──▶ Joining: the present group of pictures, paced ──level──▶ Live
//!                               ▲  └── there is none: Waiting for a key frame ──────────▲
//!                               └────── lost something for good (PLI), at most once a second ──┘
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use str0m::format::{Codec, CodecSpec};
use str0m::media::{MediaAdded, MediaKind, Mid, Pt};
use str0m::rtp::{Extension, RtpWrite};
use str0m::{Rtc, RtcConfig};

use crate::core::gop_cache::{GopCache, Numbering, Replay};
use crate::core::media_feed::{StreamPacket, Track};
use crate::core::sdp_offer::Offer;
use crate::core::time::Moment;
use crate::core::whip_offer::VideoCodec;
use crate::media::role::{Context, OfferRefused, Role, RoleEvent, RoleKind};
use crate::media::stream::{Codecs, Stream};

/// A viewer that asks for pictures all the time begins anew this often.
const ANEW: Duration = Duration::from_secs(1);

/// Packets kept for resending: two seconds of 3 Mbit/s. Payloads are shared with the stream, so one costs 200 bytes.
const RESEND_PACKETS: usize = 1024;
const RESEND_AGE: Duration = Duration::from_secs(2);

/// Sender reports of audio this often: with the usual five seconds lip sync takes ten to settle.
const REPORT: Duration = Duration::from_secs(1);

/// Is told when a viewer of its session comes and goes. Must not block.
pub trait Audience: Send + Sync {
    /// A viewer is connected.
    fn viewer_connected(&self);
    /// One that was connected is gone; called exactly once per `viewer_connected`.
    fn viewer_gone(&self);
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
pub struct Viewer {
    stream: Stream,
    audience: Arc<dyn Audience>,
    phase: Phase,
    video: Option<Outlet>,
    audio: Option<Outlet>,
    began_anew: Option<Moment>,
    wants_anew: bool,
    counted: bool,
}

/// One track of the peer.
#[derive(Debug)]
struct Outlet {
    mid: Mid,
    pt: Pt,
    numbering: Option<Numbering>,
    last_timestamp: Option<u32>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Viewer({:?}, {:?})", self.stream, self.phase)
    }
}

impl Viewer {
    /// A viewer of this stream.
    pub fn new(stream: Stream, audience: Arc<dyn Audience>) -> Viewer {
        Viewer {
            stream,
            audience,
            phase: Phase::Connecting,
            video: None,
            audio: None,
            began_anew: None,
            wants_anew: false,
            counted: false,
        }
    }

    fn media(&mut self, media: &MediaAdded, rtc: &Rtc) {
        let codecs = self.stream.codecs();
        let Some(pt) = payload_type(rtc, media.mid, codecs) else { return };
        let outlet = Some(Outlet { mid: media.mid, pt, numbering: None, last_timestamp: None });
        match media.kind {
            MediaKind::Video => self.video = outlet,
            MediaKind::Audio => self.audio = outlet,
        }
    }

    fn connected(&mut self, context: &mut Context<'_>) {
        self.phase = Phase::Waiting;
        for outlet in [&self.video, &self.audio].into_iter().flatten() {
            let mut api = context.rtc.direct_api();
            if let Some(stream) = api.stream_tx_by_mid(outlet.mid, None) {
                stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, None);
            }
        }
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
    fn join(&mut self, cache: &GopCache<StreamPacket>, now: Moment) {
        let Some(video) = &mut self.video else {
            self.phase = Phase::Live;
            return;
        };
        let Some(replay) = Replay::begin(cache, now, video.last_timestamp) else { return };
        video.begin_at(replay.next());
        self.phase = Phase::Joining(replay);
    }

    fn replay(&mut self, cache: &GopCache<StreamPacket>, context: &mut Context<'_>) {
        let (Phase::Joining(replay), Some(video)) = (&mut self.phase, &mut self.video) else { return };
        if let Some(first) = replay.catch_up(cache) {
            video.begin_at(first);
        }
        let due = replay.due(cache, context.moment);
        video.write(context, due.iter().map(|out| (&out.cached.packet, out.timestamp)));
        if replay.is_level(cache) {
            // A group that grew too large is gone; what follows refers to what this viewer has not seen.
            self.phase = if cache.is_empty() { Phase::Waiting } else { Phase::Live };
        }
    }

    /// Passes packets on as they came.
    fn pass_on(&mut self, batch: &[StreamPacket], context: &mut Context<'_>) {
        let of = |track| {
            let packets = batch.iter().filter(move |packet| packet.track == track);
            packets.map(|packet| (packet, packet.place.timestamp))
        };
        let (hears, sees) = (!matches!(self.phase, Phase::Connecting), matches!(self.phase, Phase::Live));
        if let Some(video) = self.video.as_mut().filter(|_| sees) {
            video.write(context, of(Track::Video));
        }
        if let Some(audio) = self.audio.as_mut().filter(|_| hears) {
            audio.write(context, of(Track::Audio));
        }
    }

    fn wants_picture(&mut self, now: Moment) {
        self.stream.view().key_frame_wanted.store(true, Ordering::Release);
        let recent = self.began_anew.is_some_and(|at| now.since(at) < ANEW);
        if matches!(self.phase, Phase::Live) && !recent {
            self.wants_anew = true;
        }
    }
}

impl Outlet {
    fn begin_at(&mut self, sequence: u64) {
        match &mut self.numbering {
            Some(numbering) => numbering.jump_to(sequence),
            None => self.numbering = Some(Numbering::begin(sequence, 1)),
        }
    }

    /// Sends packets with these timestamps.
    fn write<'p>(
        &mut self,
        context: &mut Context<'_>,
        packets: impl Iterator<Item = (&'p StreamPacket, u32)>,
    ) {
        let mut packets = packets.peekable();
        if packets.peek().is_none() {
            return;
        }
        let mut api = context.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, None) else { return };
        for (packet, timestamp) in packets {
            let sequence = packet.place.sequence;
            let numbering = self.numbering.get_or_insert_with(|| Numbering::begin(sequence, 1));
            let Some(number) = numbering.number(sequence) else { continue };
            let ago = context.moment.since(packet.taken);
            let taken = context.now.checked_sub(ago).unwrap_or(context.now);
            let write = RtpWrite::new(self.pt, number.into(), timestamp, taken, packet.payload.clone());
            self.last_timestamp = Some(timestamp);
            stream.write_rtp(write.marker(packet.marker).nackable(true));
        }
    }
}

impl Role for Viewer {
    fn kind(&self) -> RoleKind {
        RoleKind::Viewer
    }

    fn prepare(&self, offer: Offer) -> Result<Offer, OfferRefused> {
        Ok(offer)
    }

    fn configure(&self, config: RtcConfig) -> RtcConfig {
        let codecs = self.stream.codecs();
        let mut config = config
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(codecs.opus, false)
            // Without transport-wide numbers browsers send a quarter of the feedback; nothing here would read it.
            .clear_extension_map()
            .set_extension(4, Extension::RtpMid)
            .set_rtcp_report_interval_audio(REPORT);
        enable(&mut config, codecs.video);
        config
    }

    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>) {
        match event {
            RoleEvent::Media(media) => self.media(&media, context.rtc),
            RoleEvent::Connected => self.connected(context),
            RoleEvent::KeyframeWanted(_) => self.wants_picture(context.moment),
            RoleEvent::Gone(_) => self.gone(),
            _ => {}
        }
    }

    fn follows(&self) -> Option<&Stream> {
        Some(&self.stream)
    }

    fn stream(&mut self, cache: &GopCache<StreamPacket>, batch: &[StreamPacket], context: &mut Context<'_>) {
        let anew = std::mem::take(&mut self.wants_anew);
        if anew {
            self.began_anew = Some(context.moment);
        }
        if anew || matches!(self.phase, Phase::Waiting) {
            self.join(cache, context.moment);
        }
        self.pass_on(batch, context);
        self.replay(cache, context);
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
        VideoCodec::H264 { profile } => {
            for (pt, rtx, constraints) in H264_TYPES {
                let level = u32::from(profile) << 16 | constraints << 8 | 0x1F;
                codecs.add_h264(pt.into(), Some(rtx.into()), true, level);
            }
        }
    }
}

/// Payload types of H264 in our answers where the offer leaves us the choice, and the profile's constraint bits: baseline and
/// constrained baseline are the same to a sender without B-frames and slice groups.
const H264_TYPES: [(u8, u8, u32); 2] = [(125, 107, 0xE0), (127, 121, 0x00)];

/// The payload type under which the client takes a stream's codec.
fn payload_type(rtc: &Rtc, mid: Mid, codecs: Codecs) -> Option<Pt> {
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
