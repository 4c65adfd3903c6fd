//! What a media process, a clip or a publisher sends, made into the one stream that viewers follow.
//!
//! ```text
//!   process ──RTP──┐
//!                  ├─▶ Forwarder: who feeds now · where a picture begins · numbers and time go on ──▶ StreamPacket
//!   publisher ─────┘        (what a publisher sends goes before what the process sends, sound and pictures each)
//! ```
//!
//! A source that is new (restarted, or another) begins for viewers with a key frame: what comes before has nothing to refer to
//! and would show as smear. Until then they see the last picture.

use std::sync::Arc;

use crate::core::time::Moment;
use crate::media::codec::parameter_sets::{ParameterSets, Sets};
use crate::media::rtp::packet::{RtpPacket, SenderReport};
use crate::media::rtp::payload::{self, Packing};
use crate::media::rtp::timeline::{FrameClock, Place, TimelineMapper, WallClock};
use crate::media::simulcast::layers::{Layer, MAX_LAYERS};

/// Clock of every video codec in hertz.
pub const VIDEO_CLOCK: u32 = 90_000;

/// Clock of Opus in hertz (RFC 7587).
pub const AUDIO_CLOCK: u32 = 48_000;

/// Sound or pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// Pictures.
    Video = 0,
    /// Sound.
    Audio = 1,
}

/// Tracks, and feeders: the length of tables of them.
const TRACKS: usize = 2;
const FEEDERS: usize = 2;

/// Who feeds a track of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feeder {
    /// The session's own process or clip.
    Process = 0,
    /// Somebody who publishes by WHIP.
    Publisher = 1,
}

/// One packet of the stream as viewers follow it. The payload is shared by all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPacket {
    /// Sound or pictures.
    pub track: Track,
    /// The layer of the pictures it belongs to; of sound the base.
    pub layer: Layer,
    /// Its place in the stream: layers have numbers of their own, and one time.
    pub place: Place,
    /// The last packet of its frame.
    pub marker: bool,
    /// Whether decoding can begin here.
    pub starts_key_frame: bool,
    /// When its frame was taken, by our clock; never later than it arrived.
    pub taken: Moment,
    /// The payload.
    pub payload: Arc<[u8]>,
}

/// The state of one stream.
#[derive(Clone, Debug)]
pub struct Forwarder {
    packing: Packing,
    /// A leg per layer. Those of a publisher that is gone stay: whoever publishes next goes on with them.
    video: [Option<Leg>; MAX_LAYERS],
    audio: Leg,
    /// Of each feeder: its tracks have one clock, so that sound and picture stay together.
    walls: [WallClock; FEEDERS],
    /// Of each track.
    feeders: [Feeder; TRACKS],
    /// Of each feeder.
    described: [Sets; FEEDERS],
    sets: Option<StreamPacket>,
}

#[derive(Clone, Debug)]
struct Leg {
    continuity: TimelineMapper,
    clock: FrameClock,
    sets: ParameterSets,
}

impl Leg {
    fn new(clock_rate: u32) -> Leg {
        Leg {
            continuity: TimelineMapper::new(clock_rate),
            clock: FrameClock::new(clock_rate),
            sets: ParameterSets::default(),
        }
    }
}

impl Forwarder {
    /// A stream whose video is packed like this, fed by the process.
    pub fn new(packing: Packing) -> Forwarder {
        let (video, audio) = (Default::default(), Leg::new(AUDIO_CLOCK));
        Forwarder {
            packing,
            video,
            audio,
            walls: Default::default(),
            feeders: [Feeder::Process; TRACKS],
            described: Default::default(),
            sets: None,
        }
    }

    /// Somebody else feeds this track from now on. Packets of others are dropped.
    pub fn hand_to(&mut self, feeder: Feeder, track: Track) {
        if self.feeder(track) == feeder {
            return;
        }
        if !self.feeders.contains(&feeder) {
            // It may be another process, or another publisher.
            self.walls[feeder as usize] = WallClock::default();
        }
        self.feeders[track as usize] = feeder;
    }

    /// The process feeds everything again.
    pub fn give_back(&mut self) {
        [Track::Video, Track::Audio].into_iter().for_each(|track| self.hand_to(Feeder::Process, track));
    }

    /// Who feeds this track.
    pub fn feeder(&self, track: Track) -> Feeder {
        self.feeders[track as usize]
    }

    /// The parameter sets of a feeder's description: its key frames get them where they lack their own.
    pub fn describe(&mut self, feeder: Feeder, sets: Sets) {
        self.described[feeder as usize] = sets;
    }

    /// The parameter sets of a feeder's description.
    pub fn described(&self, feeder: Feeder) -> &Sets {
        &self.described[feeder as usize]
    }

    /// Takes a packet that arrived at `now`. `None`: viewers never see it. [`Forwarder::take_sets`] may go before it.
    pub fn packet(
        &mut self,
        feeder: Feeder,
        (track, layer): (Track, Layer),
        packet: &RtpPacket<'_>,
        now: Moment,
        payload: impl FnOnce() -> Arc<[u8]>,
    ) -> Option<StreamPacket> {
        self.sets = None;
        if feeder != self.feeder(track) || packet.payload.is_empty() {
            return None;
        }
        let packing = self.packing;
        let starts_key_frame = track == Track::Video && payload::starts_key_frame(packing, packet.payload);
        let leg = match track {
            Track::Video => self.video_leg(layer)?,
            Track::Audio => &mut self.audio,
        };
        if leg.continuity.is_new(packet.ssrc, packet.sequence) {
            if track == Track::Video && !starts_key_frame {
                return None;
            }
            leg.clock.reset();
            leg.sets = ParameterSets::default();
        }
        let place = leg.continuity.place(packet.ssrc, packet.sequence, packet.timestamp, now)?;
        let lacks_sets = track == Track::Video
            && packing == Packing::H264
            && leg.sets.lack(packet.timestamp, packet.payload);
        let learned = lacks_sets.then(|| leg.sets.learned().packet()).flatten();
        let taken = leg.clock.taken(place.timestamp, now);
        let stream_packet = |place, marker, payload| StreamPacket {
            track,
            layer,
            place,
            marker,
            starts_key_frame,
            taken,
            payload,
        };
        let described = || self.described[feeder as usize].packet().filter(|_| lacks_sets);
        let Some(sets) = learned.or_else(described) else {
            return Some(stream_packet(place, packet.marker, payload()));
        };
        self.video_leg(layer)?.continuity.insert_before(packet.ssrc, packet.sequence);
        self.sets = Some(stream_packet(place, false, sets));
        let after = Place { sequence: place.sequence + 1, ..place };
        Some(stream_packet(after, packet.marker, payload()))
    }

    /// The parameter sets that go before the packet that was taken last, which lacks them.
    pub fn take_sets(&mut self) -> Option<StreamPacket> {
        self.sets.take()
    }

    /// Takes a sender report, of whichever track it is: a process may send it to either port.
    pub fn report(&mut self, feeder: Feeder, report: &SenderReport, now: Moment) {
        let taken = self.walls[feeder as usize].read(report, now);
        self.report_of(feeder, report, taken);
    }

    /// The same of a report whose moment was `taken`, by our clock: where several streams have one wall clock, whoever owns it has read that.
    pub fn report_of(&mut self, feeder: Feeder, report: &SenderReport, taken: Moment) {
        let pictures = self.video.iter_mut().flatten().map(|leg| (leg, Track::Video));
        for (leg, track) in pictures.chain([(&mut self.audio, Track::Audio)]) {
            if self.feeders[track as usize] != feeder {
                continue;
            }
            if let Some(timestamp) = leg.continuity.translate(report.ssrc, report.timestamp) {
                leg.clock.set(timestamp, taken);
            }
        }
    }

    /// The leg of a layer. A new one takes up the time of the others, so that a viewer may go over to it: browsers begin the
    /// clock of each layer anywhere.
    fn video_leg(&mut self, layer: Layer) -> Option<&mut Leg> {
        let fresh = || Leg::new(VIDEO_CLOCK);
        let other = self.video.iter().flatten().max_by_key(|leg| leg.continuity.arrived()).cloned();
        Some(self.video.get_mut(layer.place())?.get_or_insert_with(|| other.unwrap_or_else(fresh)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = &[0x10, 0x50];
    const INTER: &[u8] = &[0x10, 0x51];
    const PICTURES: (Track, Layer) = (Track::Video, Layer::BASE);
    const SOUND: (Track, Layer) = (Track::Audio, Layer::BASE);

    fn rtp(ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) -> RtpPacket<'_> {
        RtpPacket { payload_type: 96, marker: true, sequence, timestamp, ssrc, payload }
    }

    fn take(feed: &mut Forwarder, feeder: Feeder, packet: &RtpPacket<'_>, ms: u64) -> Option<(u64, u32)> {
        let taken = feed.packet(feeder, PICTURES, packet, Moment(ms), || packet.payload.into());
        taken.map(|packet| (packet.place.sequence, packet.place.timestamp))
    }

    #[test]
    fn a_stream_begins_with_a_key_frame() {
        let mut feed = Forwarder::new(Packing::Vp8);
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 1, 0, INTER), 0), None);
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 2, 3_000, KEY), 33), Some((0, 3_000)));
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 3, 6_000, INTER), 66), Some((1, 6_000)));
    }

    #[test]
    fn a_restart_has_no_gap_though_its_first_packets_are_held_back() {
        let mut feed = Forwarder::new(Packing::Vp8);
        take(&mut feed, Feeder::Process, &rtp(7, 1, 0, KEY), 0);
        for sequence in 500..510 {
            assert_eq!(take(&mut feed, Feeder::Process, &rtp(8, sequence, 9, INTER), 1_000), None);
        }
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(8, 510, 9, KEY), 1_000), Some((1, 90_000)));
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 2, 0, INTER), 1_001), None, "the old process");
    }

    #[test]
    fn a_publisher_goes_before_the_process_while_it_is_there() {
        let mut feed = Forwarder::new(Packing::Vp8);
        take(&mut feed, Feeder::Process, &rtp(7, 1, 0, KEY), 0);
        feed.hand_to(Feeder::Publisher, Track::Video);
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 2, 3_000, KEY), 33), None);
        assert_eq!(take(&mut feed, Feeder::Publisher, &rtp(9, 700, 5, KEY), 100), Some((1, 9_000)));
        feed.give_back();
        assert_eq!(
            take(&mut feed, Feeder::Process, &rtp(7, 40, 50, INTER), 200),
            None,
            "waits for a picture"
        );
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 41, 99, KEY), 300), Some((2, 27_000)));
    }

    #[test]
    fn layers_have_numbers_of_their_own_and_one_time() {
        let mut feed = Forwarder::new(Packing::Vp8);
        feed.hand_to(Feeder::Publisher, Track::Video);
        let mut take = |layer: usize, packet: RtpPacket<'_>, ms: u64| {
            let which = (Track::Video, Layer::new(layer).unwrap());
            let payload = packet.payload.into();
            let taken = feed.packet(Feeder::Publisher, which, &packet, Moment(ms), || payload);
            taken.map(|packet| (packet.layer.place(), packet.place.sequence, packet.place.timestamp))
        };
        assert_eq!(take(0, rtp(7, 1, 9_000, KEY), 0), Some((0, 0, 9_000)));
        assert_eq!(take(2, rtp(9, 500, 77, INTER), 5), None, "a layer begins with a key frame too");
        assert_eq!(take(2, rtp(9, 501, 77, KEY), 10), Some((2, 1, 9_900)), "ten milliseconds later");
        assert_eq!(take(0, rtp(7, 2, 12_000, INTER), 33), Some((0, 1, 12_000)));
        assert_eq!(take(2, rtp(9, 502, 3_077, INTER), 43), Some((2, 2, 12_900)));
        assert_eq!(take(0, rtp(7, 3, 15_000, INTER), 66), Some((0, 2, 15_000)));
    }

    #[test]
    fn a_report_finds_its_track_by_its_source() {
        let mut feed = Forwarder::new(Packing::Vp8);
        take(&mut feed, Feeder::Process, &rtp(7, 1, 90_000, KEY), 1_000);
        let sound = rtp(8, 1, 48_000, &[1]);
        feed.packet(Feeder::Process, SOUND, &sound, Moment(1_000), || sound.payload.into());
        let ntp = (3_900_000_000u64) << 32;
        feed.report(Feeder::Process, &SenderReport { ssrc: 7, ntp, timestamp: 90_000 }, Moment(1_000));
        feed.report(Feeder::Process, &SenderReport { ssrc: 8, ntp, timestamp: 47_520 }, Moment(1_000));
        let picture = rtp(7, 2, 99_000, INTER);
        let video = feed.packet(Feeder::Process, PICTURES, &picture, Moment(1_150), || KEY.into());
        let video = video.unwrap();
        let sound = rtp(8, 2, 52_800, &[1]);
        let audio = feed.packet(Feeder::Process, SOUND, &sound, Moment(1_150), || KEY.into());
        let audio = audio.unwrap();
        assert_eq!((video.taken, audio.taken), (Moment(1_100), Moment(1_110)));
    }

    #[test]
    fn a_publisher_of_sound_alone_leaves_the_picture_to_the_process() {
        let mut feed = Forwarder::new(Packing::Vp8);
        take(&mut feed, Feeder::Process, &rtp(7, 1, 0, KEY), 0);
        feed.hand_to(Feeder::Publisher, Track::Audio);
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 2, 3_000, INTER), 33), Some((1, 3_000)));
        let mut sound = |feeder, packet: RtpPacket<'_>| {
            feed.packet(feeder, SOUND, &packet, Moment(40), || packet.payload.into()).is_some()
        };
        assert!(sound(Feeder::Publisher, rtp(9, 1, 0, &[1])));
        assert!(!sound(Feeder::Process, rtp(8, 1, 0, &[1])), "one voice at a time");
        feed.give_back();
        assert_eq!(
            (feed.feeder(Track::Video), feed.feeder(Track::Audio)),
            (Feeder::Process, Feeder::Process)
        );
    }

    #[test]
    fn a_key_frame_without_parameter_sets_gets_them_and_numbers_go_on() {
        let mut feed = Forwarder::new(Packing::H264);
        let mut sets = Sets::default();
        [&[0x67, 0x42, 0xC0, 0x1E, 0x80][..], &[0x68, 0x80]].into_iter().for_each(|set| sets.add(set));
        feed.describe(Feeder::Process, sets);
        let mut numbers = |ssrc, sequence, timestamp, payload: &[u8]| {
            let packet = rtp(ssrc, sequence, timestamp, payload);
            let taken =
                feed.packet(Feeder::Process, PICTURES, &packet, Moment(u64::from(timestamp) / 90), || {
                    payload.into()
                });
            let seen = feed.take_sets().into_iter().chain(taken).map(|packet| {
                assert_eq!((packet.place.timestamp, packet.marker), (timestamp, packet.payload[0] != 0x78));
                (packet.place.sequence, packet.payload[0] & 0x1F)
            });
            seen.collect::<Vec<_>>()
        };
        assert_eq!(numbers(7, 10, 0, &[0x65, 1]), [(0, 24), (1, 5)]);
        assert_eq!(numbers(7, 11, 3_000, &[0x41, 1]), [(2, 1)]);
        assert_eq!(numbers(7, 13, 6_000, &[0x7C, 0x85, 1]), [(4, 24), (5, 28)], "12 is missing");
        assert_eq!(numbers(7, 12, 3_000, &[0x41, 2]), [(3, 1)], "it comes late");
        assert_eq!(numbers(7, 14, 6_000, &[0x7C, 0x45, 1]), [(6, 28)]);
        assert_eq!(numbers(7, 15, 9_000, &[0x65, 1]), [(7, 24), (8, 5)]);
        assert_eq!(numbers(7, 12, 3_000, &[0x41, 2]), [], "from before the key frame before");
        assert_eq!(numbers(7, 16, 12_000, &[0x67, 0x42, 0xC0, 0x1E, 0x80]), [(9, 7)], "one that has its own");
    }

    #[test]
    fn an_empty_packet_is_no_packet() {
        let mut feed = Forwarder::new(Packing::H264);
        assert_eq!(take(&mut feed, Feeder::Process, &rtp(7, 1, 0, &[]), 0), None);
    }
}
