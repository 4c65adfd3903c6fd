//! One track that a peer is sent: what it was sent so far, so that what it is sent next follows. Viewers of every kind have these; nothing
//! else in this program writes media to a peer.

use std::hint::black_box;
use std::time::Duration;

use str0m::Rtc;
use str0m::media::{Mid, Pt};
use str0m::rtp::{Extension, RtpWrite, Ssrc, StreamTx, Vp8Descriptor, Vp8Patch};

use crate::core::time::Moment;
use crate::media::codec::picture_ids::PictureIds;
use crate::media::counters::Counters;
use crate::media::egress::recent::Kept;
use crate::media::egress::{Out, Own};
use crate::media::outbox::Outbox;
use crate::media::role::Context;
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::gop_cache::Numbering;
use crate::media::rtp::payload::{self, Vp8Numbers};
use crate::media::rtp::resend::{Budget, Mapping, Sent};
use crate::media::srtp::{FIRST_INDEX, Header, ORIGINAL, Refused, SourceId, TAG};

/// Packets that str0m keeps for resending where it sends: as long as libwebrtc keeps them at least, and at most one second of 10 Mbit/s.
/// Payloads are shared with the stream, but the rest of each is half a kilobyte, for every viewer.
const RESEND_PACKETS: usize = 1024;
const RESEND_AGE: Duration = Duration::from_secs(1);

/// str0m is told this often where a track's time stands: its sender reports, one a second, go on from there. Earlier when it has its turn anyway, which
/// it has for these.
const TELL: Duration = Duration::from_secs(2);
const TELL_EARLY: Duration = Duration::from_millis(500);

/// What str0m is told of is numbered from here on. Its packets are dropped; should one ever get out, its nonce is none of ours. The first has
/// number 0, before all of ours too, because str0m warns of a first one that is far away.
const TOLD_FROM: u64 = 1 << 40;

/// One track of the peer.
#[derive(Debug)]
pub struct OutboundTrack {
    mid: Mid,
    pt: Pt,
    ssrc: Ssrc,
    /// Payload type and SSRC of what is sent again.
    repair: Option<(Pt, Ssrc)>,
    /// str0m knows of it. Before its first packet it does not: it would send reports of a time that there is not.
    is_declared: bool,
    numbering: Option<Numbering>,
    last_timestamp: Option<u32>,
    /// Added to the stream's timestamps, so that time never goes back where a layer begins.
    shift: u32,
    /// The part of it that the present source needs, after another one.
    base: u32,
    /// Only where there are layers of VP8: looking into packets costs time.
    pictures: Option<PictureIds>,
    own: OwnTrack,
}

/// What is needed where we send.
#[derive(Debug)]
struct OwnTrack {
    header: Header,
    source: Option<SourceId>,
    repair: Option<Repair>,
    sent: Sent,
    budget: Budget,
    /// When str0m was told last, and with which shift; how often.
    told: Option<(Moment, u32)>,
    tells: u64,
}

/// What is sent again.
#[derive(Debug)]
struct Repair {
    header: Header,
    source: SourceId,
    next: u64,
}

/// A packet as it is to be written.
struct Outgoing<'p> {
    header: &'p Header,
    source: SourceId,
    index: u64,
    timestamp: u32,
    marker: bool,
    /// Its number when it was sent for the first time.
    original: Option<u16>,
    payload: &'p [u8],
    pictures: Option<Vp8Numbers>,
}

/// Where a packet belongs among those of the track.
struct Placed {
    number: u64,
    timestamp: u32,
    pictures: Option<Vp8Numbers>,
}

impl OutboundTrack {
    /// A track that was sent nothing, of a section that was answered just now. `None`: it sends nothing.
    pub fn new(rtc: &mut Rtc, mid: Mid, pt: Pt) -> Option<OutboundTrack> {
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None)?;
        let (ssrc, repairing) = (stream.ssrc(), stream.rtx());
        api.remove_stream_tx(ssrc);
        let resend = rtc.codec_config().params().iter().find(|param| param.pt() == pt)?.resend();
        if is_reports(pt) {
            return None;
        }
        let id = rtc.media(mid)?.remote_extmap().id_of(Extension::RtpMid);
        let extensions: Vec<(u8, &[u8])> = id.iter().map(|id| (*id, mid.as_bytes())).collect();
        let header = Header::new(*pt, *ssrc, &extensions)?;
        let own = OwnTrack {
            header,
            source: None,
            repair: None,
            sent: Sent::default(),
            budget: Budget::default(),
            told: None,
            tells: 0,
        };
        Some(OutboundTrack {
            mid,
            pt,
            ssrc,
            repair: resend.filter(|pt| !is_reports(*pt)).zip(repairing),
            is_declared: false,
            numbering: None,
            last_timestamp: None,
            shift: 0,
            base: 0,
            pictures: None,
            own,
        })
    }

    /// str0m forgets the track until it is sent something.
    pub fn hush(&mut self, rtc: &mut Rtc) {
        if self.numbering.is_none() {
            rtc.direct_api().remove_stream_tx(self.ssrc);
            self.is_declared = false;
        }
    }

    /// str0m knows the track: there is something to send, or a session description to be made.
    pub fn declare(&mut self, rtc: &mut Rtc) {
        if std::mem::replace(&mut self.is_declared, true) {
            return;
        }
        let repairing = self.repair.map(|(_, ssrc)| ssrc);
        let mut api = rtc.direct_api();
        let stream = api.declare_stream_tx(self.ssrc, repairing, self.mid, None);
        // It keeps what it sends, which is nothing where we send.
        stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, None);
    }

    /// The timestamp of the last packet, on the clock of the present source.
    pub fn last_timestamp(&self) -> Option<u32> {
        self.last_timestamp.map(|last| last.wrapping_sub(self.base))
    }

    /// Whether packets that name this SSRC are of the track.
    pub fn is(&self, ssrc: u32) -> bool {
        *self.ssrc == ssrc
    }

    /// From now on its pictures are numbered without a gap.
    pub fn number_pictures(&mut self) {
        self.pictures.get_or_insert_default();
    }

    /// Begins, or goes on, with this packet of the stream: the viewer sees no gap.
    pub fn begin_at(&mut self, sequence: u64) {
        match &mut self.numbering {
            Some(numbering) => numbering.jump_to(sequence),
            None => self.numbering = Some(Numbering::begin(sequence, FIRST_INDEX)),
        }
        self.shift = self.base;
        self.pictures.iter_mut().for_each(PictureIds::begin_anew);
    }

    /// Goes on with another source, which begins with this packet: time goes on by what `passed` since the last one, in units of the
    /// codec's clock. What was sent of the last one is not sent again.
    pub fn go_on(&mut self, packet: &StreamPacket, passed: u32) {
        self.base = match self.last_timestamp {
            Some(last) => last.wrapping_add(passed.max(1)).wrapping_sub(packet.place.timestamp),
            None => 0,
        };
        self.begin_at(packet.place.sequence);
        self.own.sent.forget();
    }

    /// Goes over to another layer, whose key frame begins with this packet.
    pub fn go_over(&mut self, packet: &StreamPacket) {
        self.begin_at(packet.place.sequence);
        let timestamp = packet.place.timestamp.wrapping_add(self.base);
        // The same moment may have been shown in the other layer already.
        let seen = self.last_timestamp.filter(|last| (timestamp.wrapping_sub(*last) as i32) <= 0);
        let more = seen.map_or(0, |last| last.wrapping_add(1).wrapping_sub(timestamp));
        self.shift = self.base.wrapping_add(more);
    }

    /// Sends packets of the stream with these timestamps.
    pub fn write<'p>(
        &mut self,
        context: &mut Context<'_>,
        packets: impl Iterator<Item = (&'p StreamPacket, u32)>,
    ) {
        let mut packets = packets.peekable();
        if packets.peek().is_none() {
            return;
        }
        if !self.is_declared {
            self.declare(context.rtc);
            context.egress.awaits(*self.ssrc);
        }
        if context.egress.is_own() {
            self.write_ourselves(context, packets);
        } else {
            self.write_by_str0m(context, packets);
        }
    }

    /// Its number, its time and its picture's numbers. `None`: it is from before the viewer came, or went over.
    fn place(&mut self, packet: &StreamPacket, timestamp: u32) -> Option<Placed> {
        let sequence = packet.place.sequence;
        let numbering = self.numbering.get_or_insert_with(|| Numbering::begin(sequence, FIRST_INDEX));
        let number = numbering.number(sequence)?;
        let timestamp = timestamp.wrapping_add(self.shift);
        self.last_timestamp = Some(timestamp);
        let pictures = self.pictures.as_mut();
        let pictures = pictures.and_then(|ids| ids.follow(&payload::vp8_numbers(&packet.payload)?));
        Some(Placed { number, timestamp, pictures })
    }

    fn write_by_str0m<'p>(
        &mut self,
        context: &mut Context<'_>,
        packets: impl Iterator<Item = (&'p StreamPacket, u32)>,
    ) {
        let mut api = context.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, None) else { return };
        for (packet, timestamp) in packets {
            let Some(placed) = self.place(packet, timestamp) else { continue };
            let ago = context.moment.since(packet.taken);
            let taken = context.now.checked_sub(ago).unwrap_or(context.now);
            let (number, payload) = (placed.number.into(), packet.payload.clone());
            let write = RtpWrite::new(self.pt, number, placed.timestamp, taken, payload);
            let write = write.marker(packet.marker).nackable(true);
            let patch = placed.pictures.and_then(|numbers| patch(numbers, &packet.payload));
            stream.write_rtp(patch.into_iter().fold(write, RtpWrite::vp8_patch));
        }
    }

    fn write_ourselves<'p>(
        &mut self,
        context: &mut Context<'_>,
        packets: impl Iterator<Item = (&'p StreamPacket, u32)>,
    ) {
        let is_moved = context.egress.is_moved();
        let Some(mut own) = context.egress.own() else { return };
        let Some(source) = self.own.open(&mut own, self.ssrc, self.repair) else { return };
        let mut newest = None;
        for (packet, timestamp) in packets {
            let Some(Placed { number, timestamp, pictures }) = self.place(packet, timestamp) else {
                continue;
            };
            newest = Some(packet);
            let mapping = Mapping {
                offset: packet.place.sequence.wrapping_sub(number),
                layer: packet.layer,
                timestamp: timestamp.wrapping_sub(packet.place.timestamp),
                pictures: self.pictures.as_ref().map(PictureIds::shift).unwrap_or_default(),
            };
            let outgoing = Outgoing {
                header: &self.own.header,
                source,
                index: number,
                timestamp,
                marker: packet.marker,
                original: None,
                payload: &packet.payload,
                pictures,
            };
            emit(&mut own, &outgoing, context.outbox, context.counters);
            if self.own.repair.is_some() {
                self.own.sent.note(number, mapping, context.moment);
                self.own.budget.earn(packet.payload.len());
            }
        }
        let pause = if context.egress.has_turn() { TELL_EARLY } else { TELL };
        let is_due = is_moved || self.own.is_untold(context.moment, self.shift, pause);
        if let Some(packet) = newest.filter(|_| is_due) {
            self.tell(packet, context);
        }
    }

    /// Tells str0m where the track's time stands, with a packet that goes nowhere but shows the path. The time is the stream's own also where
    /// a replay squeezes it: that ends where the stream is.
    fn tell(&mut self, packet: &StreamPacket, context: &mut Context<'_>) {
        let mut api = context.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, None) else { return };
        let index = if self.own.tells == 0 { 0 } else { TOLD_FROM + self.own.tells };
        let ago = context.moment.since(packet.taken);
        let taken = context.now.checked_sub(ago).unwrap_or(context.now);
        let timestamp = packet.place.timestamp.wrapping_add(self.shift);
        StreamTx::write_rtp(stream, RtpWrite::new(self.pt, index.into(), timestamp, taken, [0]));
        self.own.tells += 1;
        self.own.told = Some((context.moment, self.shift));
        self.own.sent.tidy(context.moment);
        context.egress.touch();
    }

    /// Sends a packet again that the viewer lost, if it is still there.
    pub fn resend(&mut self, number: u16, kept: Kept<'_>, context: &mut Context<'_>) {
        let OwnTrack { repair: Some(repair), sent, budget, .. } = &mut self.own else { return };
        let Some((whole, mapping)) = sent.find(number) else { return };
        let Some(packet) = kept.find(mapping.layer, whole.wrapping_add(mapping.offset)) else { return };
        if !budget.spend(whole, packet.payload.len(), context.moment) {
            return;
        }
        let pictures = self.pictures.is_some().then(|| payload::vp8_numbers(&packet.payload)).flatten();
        let Some(mut own) = context.egress.own() else { return };
        let outgoing = Outgoing {
            header: &repair.header,
            source: repair.source,
            index: repair.next,
            timestamp: packet.place.timestamp.wrapping_add(mapping.timestamp),
            marker: packet.marker,
            original: Some(number),
            payload: &packet.payload,
            pictures: pictures.map(|numbers| mapping.pictures.of(&numbers)),
        };
        emit(&mut own, &outgoing, context.outbox, context.counters);
        repair.next += 1;
        context.counters.resent.one();
    }

    /// Looks at what the next packets will need.
    pub fn fetch(&self) {
        let OwnTrack { header, source, sent, budget, told, .. } = &self.own;
        black_box((self.last_timestamp, self.shift, self.is_declared, source.is_some(), told.is_some()));
        black_box((header.ssrc(), sent.next(), budget.credit()));
        black_box(self.numbering);
    }

    /// The way there and back takes so long.
    pub fn measured(&mut self, round_trip: Duration) {
        self.own.budget.measured(round_trip);
    }
}

impl OwnTrack {
    /// The track's source, opened with its first packet. `None`: somebody else has the right to its SSRC, which cannot be.
    fn open(&mut self, own: &mut Own<'_>, ssrc: Ssrc, repair: Option<(Pt, Ssrc)>) -> Option<SourceId> {
        if self.source.is_none() {
            self.source = own.sealer.open(*ssrc);
            self.repair = repair.and_then(|(pt, ssrc)| {
                let (header, source) = (self.header.repairing(*pt, *ssrc), own.sealer.open(*ssrc)?);
                Some(Repair { header, source, next: u64::from(FIRST_INDEX) })
            });
        }
        self.source
    }

    fn is_untold(&self, now: Moment, shift: u32, pause: Duration) -> bool {
        self.told.is_none_or(|(at, told)| told != shift || now.since(at) >= pause)
    }
}

/// Writes a packet into the peer's train, sealed in place.
fn emit(own: &mut Own<'_>, outgoing: &Outgoing<'_>, outbox: &mut Outbox, counters: &Counters) {
    let Own { sealer, out } = own;
    let Outgoing { header, payload, index, .. } = outgoing;
    let original = if outgoing.original.is_some() { ORIGINAL } else { 0 };
    let length = header.length() + original + payload.len() + TAG;
    let mut write = |room: &mut Vec<u8>| {
        let start = room.len();
        // The header has the lower half; both sides count the upper one.
        header.write(room, *index as u16, outgoing.timestamp, outgoing.marker);
        if let Some(original) = outgoing.original {
            room.extend_from_slice(&original.to_be_bytes());
        }
        let begins = room.len();
        room.extend_from_slice(payload);
        if let (Some(numbers), Some(payload)) = (&outgoing.pictures, room.get_mut(begins..)) {
            payload::write_vp8_numbers(payload, numbers);
        }
        let sealed = sealer.seal(outgoing.source, *index, room, start, header.length());
        if sealed == Err(Refused::Spent) {
            counters.nonces_refused.one();
        }
        sealed.is_ok()
    };
    match out {
        Out::Train(way) => outbox.compose(*way, length, counters, write),
        Out::Frames(frames) => {
            let mut frame = Vec::with_capacity(length);
            if write(&mut frame) {
                frames.push(frame);
            }
        }
        Out::Nowhere => counters.unproved.one(),
    }
}

/// Payload types that cannot be told from reports on one port, so that nobody may use them there (RFC 5761, 4).
fn is_reports(pt: Pt) -> bool {
    (64..=95).contains(&*pt)
}

/// What str0m is to change in a payload's descriptor.
fn patch(numbers: Vp8Numbers, payload: &[u8]) -> Option<Vp8Patch> {
    let patch = Vp8Descriptor::parse(payload).ok()?.patch();
    let patch = numbers.picture.into_iter().fold(patch, |patch, id| patch.picture_id(id));
    numbers.index.into_iter().fold(patch, |patch, index| patch.tl0_pic_idx(index)).build().ok()
}
