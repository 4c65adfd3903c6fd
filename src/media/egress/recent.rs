//! What a stream sent lately, for those who lost it: one per stream and media thread, shared by all its viewers there.

use crate::core::time::Moment;
use crate::media::groups::Groups;
use crate::media::rtp::forwarder::{StreamPacket, Track};
use crate::media::rtp::resend::{ResendCache, ResendLimits};
use crate::media::simulcast::layers::{Layer, MAX_LAYERS};

/// The last second of each layer. Sound is not kept: nobody asks for it again.
#[derive(Debug, Default)]
pub struct Recent([Option<Box<ResendCache<StreamPacket>>>; MAX_LAYERS]);

impl Recent {
    /// Takes a packet.
    pub fn remember(&mut self, packet: &StreamPacket, now: Moment) {
        if packet.track != Track::Video {
            return;
        }
        let Some(cache) = self.0.get_mut(packet.layer.place()) else { return };
        let cache = cache.get_or_insert_with(|| Box::new(ResendCache::new(ResendLimits::default())));
        cache.push(packet.place.sequence, packet.payload.len(), now, packet.clone());
    }

    /// Forgets all but the base: the layers are gone.
    pub fn flatten(&mut self) {
        self.0.iter_mut().skip(1).for_each(|cache| *cache = None);
    }
}

/// All that a stream has for its viewers: the present groups of pictures, and what was sent before them a moment ago.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'k> {
    /// Where joiners begin.
    pub groups: &'k Groups,
    /// What was sent lately.
    pub recent: &'k Recent,
}

impl<'k> Kept<'k> {
    /// The packet of a layer with this number, while it is there.
    pub fn find(&self, layer: Layer, sequence: u64) -> Option<&'k StreamPacket> {
        let recent = self.recent.0.get(layer.place()).and_then(Option::as_deref);
        let recent = recent.and_then(|cache| cache.get(sequence));
        // A replay sends what is older.
        recent.or_else(|| self.groups.of(layer)?.get(sequence))
    }
}
