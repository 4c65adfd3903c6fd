//! One track of a viewer: what it was sent so far, so that what it is sent next follows.

use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpWrite, Vp8Descriptor, Vp8Patch};

use crate::core::gop_cache::Numbering;
use crate::core::media_feed::StreamPacket;
use crate::core::picture_ids::PictureIds;
use crate::core::rtp_payload;
use crate::media::role::Context;

/// One track of the peer.
#[derive(Debug)]
pub struct Outlet {
    /// Its section of the session description.
    pub mid: Mid,
    pt: Pt,
    numbering: Option<Numbering>,
    last_timestamp: Option<u32>,
    /// Added to the stream's timestamps, so that time never goes back where a layer begins.
    shift: u32,
    /// Only where there are layers of VP8: looking into packets costs time.
    pictures: Option<PictureIds>,
}

impl Outlet {
    /// A track that was sent nothing.
    pub fn new(mid: Mid, pt: Pt) -> Outlet {
        Outlet { mid, pt, numbering: None, last_timestamp: None, shift: 0, pictures: None }
    }

    /// The timestamp of the last packet.
    pub fn last_timestamp(&self) -> Option<u32> {
        self.last_timestamp
    }

    /// From now on its pictures are numbered without a gap.
    pub fn number_pictures(&mut self) {
        self.pictures.get_or_insert_default();
    }

    /// Begins, or goes on, with this packet of the stream: the viewer sees no gap.
    pub fn begin_at(&mut self, sequence: u64) {
        match &mut self.numbering {
            Some(numbering) => numbering.jump_to(sequence),
            None => self.numbering = Some(Numbering::begin(sequence, 1)),
        }
        self.shift = 0;
        self.pictures.iter_mut().for_each(PictureIds::begin_anew);
    }

    /// Goes over to another layer, whose key frame begins with this packet.
    pub fn go_over(&mut self, packet: &StreamPacket) {
        self.begin_at(packet.place.sequence);
        let timestamp = packet.place.timestamp;
        // The same moment may have been shown in the other layer already.
        let seen = self.last_timestamp.filter(|last| (timestamp.wrapping_sub(*last) as i32) <= 0);
        self.shift = seen.map_or(0, |last| last.wrapping_add(1).wrapping_sub(timestamp));
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
        let mut api = context.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, None) else { return };
        for (packet, timestamp) in packets {
            let sequence = packet.place.sequence;
            let numbering = self.numbering.get_or_insert_with(|| Numbering::begin(sequence, 1));
            let Some(number) = numbering.number(sequence) else { continue };
            let timestamp = timestamp.wrapping_add(self.shift);
            let ago = context.moment.since(packet.taken);
            let taken = context.now.checked_sub(ago).unwrap_or(context.now);
            let write = RtpWrite::new(self.pt, number.into(), timestamp, taken, packet.payload.clone());
            let write = write.marker(packet.marker).nackable(true);
            let patch = self.pictures.as_mut().and_then(|pictures| patch(pictures, &packet.payload));
            self.last_timestamp = Some(timestamp);
            stream.write_rtp(patch.into_iter().fold(write, RtpWrite::vp8_patch));
        }
    }
}

/// What to change in a payload's descriptor.
fn patch(pictures: &mut PictureIds, payload: &[u8]) -> Option<Vp8Patch> {
    let numbers = pictures.follow(&rtp_payload::vp8_numbers(payload)?)?;
    let patch = Vp8Descriptor::parse(payload).ok()?.patch();
    let patch = numbers.picture.into_iter().fold(patch, |patch, id| patch.picture_id(id));
    numbers.index.into_iter().fold(patch, |patch, index| patch.tl0_pic_idx(index)).build().ok()
}
