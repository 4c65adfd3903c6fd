//! The present group of pictures of a stream, of each of its layers: where joiners begin.

use crate::core::time::Moment;
use crate::media::rtp::forwarder::{StreamPacket, Track};
use crate::media::rtp::gop_cache::{GopCache, GopLimits};
use crate::media::simulcast::layers::{Layer, MAX_LAYERS};

/// One layer's group.
pub type Group = GopCache<StreamPacket>;

/// The groups. A source without layers has one.
#[derive(Clone, Debug)]
pub struct Groups {
    limits: GopLimits,
    base: Group,
    higher: [Option<Box<Group>>; MAX_LAYERS - 1],
}

impl Default for Groups {
    fn default() -> Groups {
        Groups::new(GopLimits::default())
    }
}

impl Groups {
    /// Groups of which each is within these limits.
    pub fn new(limits: GopLimits) -> Groups {
        Groups { limits, base: GopCache::new(limits), higher: Default::default() }
    }

    /// Takes a packet, which came at `now`; sound is not kept.
    pub fn remember(&mut self, packet: &StreamPacket, now: Moment) {
        if packet.track != Track::Video {
            return;
        }
        let group = match packet.layer.place().checked_sub(1) {
            None => &mut self.base,
            Some(index) => {
                let Some(group) = self.higher.get_mut(index) else { return };
                group.get_or_insert_with(|| Box::new(GopCache::new(self.limits)))
            }
        };
        let (place, bytes) = (packet.place, packet.payload.len());
        group.push(place.sequence, place.timestamp, bytes, packet.starts_key_frame, now, packet.clone());
    }

    /// A layer's group, which may be empty; `None` when there is no such layer.
    pub fn of(&self, layer: Layer) -> Option<&Group> {
        match layer.place().checked_sub(1) {
            None => Some(&self.base),
            Some(index) => self.higher.get(index)?.as_deref(),
        }
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> impl Iterator<Item = StreamPacket> {
        let higher = self.higher.iter_mut().flatten();
        self.base.take().chain(higher.flat_map(|group| group.take()))
    }

    /// Forgets all but the base: the layers are gone.
    pub fn flatten(&mut self) {
        self.higher = Default::default();
    }
}
