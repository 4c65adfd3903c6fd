//! The way of a source's packets to one peer: of one that has layers one at a time, and over to another with a key frame of that one. Viewers of a
//! stream and members of a room have these.

use crate::media::egress::track::OutboundTrack;
use crate::media::groups::{Group, Groups};
use crate::media::layer_selector::LayerSelector;
use crate::media::role::Context;
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::gop_cache::Replay;
use crate::media::simulcast::layers::Layer;
use crate::media::stream_view::StreamView;

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// There is more.
    Partly,
    /// From now on the peer gets packets as they come.
    Level,
    /// Its group is gone; what follows refers to what the peer has not seen.
    Lost,
}

/// One of them. Without a track there is nothing to send it on.
#[derive(Debug)]
pub struct Outlet {
    /// What is sent so far.
    pub track: Option<OutboundTrack>,
    /// Which layer.
    pub quality: LayerSelector,
}

impl Outlet {
    /// Without a track yet.
    pub fn new(quality: LayerSelector) -> Outlet {
        Outlet { track: None, quality }
    }

    /// Passes packets of the source on as they came, as far as they are of the peer's layer.
    pub fn pass_on<'p>(
        &mut self,
        packets: impl Iterator<Item = &'p StreamPacket> + Clone,
        context: &mut Context<'_>,
    ) {
        let present = self.quality.present();
        if packets.clone().all(|packet| packet.layer == present) {
            let placed = packets.map(|packet| (packet, packet.place.timestamp));
            return self.track.iter_mut().for_each(|track| track.write(context, placed.clone()));
        }
        packets.for_each(|packet| self.pass_layer(packet, context));
    }

    /// Passes on a packet of one of several layers, if it is the peer's.
    fn pass_layer(&mut self, packet: &StreamPacket, context: &mut Context<'_>) {
        if self.sees(packet, context) {
            let placed = (packet, packet.place.timestamp);
            self.track.iter_mut().for_each(|track| track.write(context, std::iter::once(placed)));
        }
    }

    /// Whether a packet is of the layer that the peer sees. With a key frame of the layer that it is to see, that is the one.
    fn sees(&mut self, packet: &StreamPacket, context: &Context<'_>) -> bool {
        if packet.layer == self.quality.present() {
            return true;
        }
        if !packet.starts_key_frame || self.quality.wanted() != Some(packet.layer) {
            return false;
        }
        self.quality.arrive(context);
        self.track.iter_mut().for_each(|track| track.go_over(packet));
        true
    }

    /// Follows the layers of the source, as far as there are any.
    pub fn follow_layers(&mut self, view: &StreamView, is_vp8: bool, context: &mut Context<'_>) {
        self.quality.update(view, context);
        if view.is_layered() && is_vp8 {
            self.track.iter_mut().for_each(OutboundTrack::number_pictures);
        }
    }

    /// The layer with which the peer begins, or begins anew.
    pub fn begin(&mut self, view: &StreamView, context: &Context<'_>) -> Layer {
        self.quality.begin(view, context)
    }

    /// Begins with a group of pictures; `None`: there is nothing of it.
    pub fn begin_with(&mut self, group: &Group, context: &Context<'_>) -> Option<Replay> {
        let track = self.track.as_mut()?;
        let replay = Replay::begin(group, context.moment, track.last_timestamp())?;
        track.begin_at(replay.next());
        Some(replay)
    }

    /// Sends what is due of the group that the peer began with.
    pub fn replay(&mut self, replay: &mut Replay, groups: &Groups, context: &mut Context<'_>) -> Replayed {
        let (Some(group), Some(track)) = (groups.of(self.quality.present()), &mut self.track) else {
            return Replayed::Lost;
        };
        if let Some(first) = replay.catch_up(group) {
            track.begin_at(first);
        }
        let due = replay.due(group, context.moment);
        track.write(context, due.iter().map(|out| (&out.cached.packet, out.timestamp)));
        match replay.is_level(group) {
            false => Replayed::Partly,
            true if group.is_empty() => Replayed::Lost,
            true => Replayed::Level,
        }
    }
}
