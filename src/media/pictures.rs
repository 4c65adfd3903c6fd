//! Asking who sends pictures for one that stands for itself: once for all who lack it, and not too often.

use std::time::Duration;

use str0m::Rtc;
use str0m::media::{KeyframeRequestKind, Mid, Rid};
use str0m::rtp::Ssrc;

use crate::core::time::Moment;
use crate::media::simulcast::layers::{Layer, MAX_LAYERS};
use crate::media::stream_view::StreamView;

/// Pictures of a layer are asked for this often at most, however many lack one: each costs the sender a burst. A wish that comes earlier waits.
pub const PICTURES: Duration = Duration::from_millis(500);

/// What one sender of pictures was asked for.
#[derive(Debug, Default)]
pub struct Pictures {
    /// The names of its layers in the offer's order; none when it sends one picture.
    pub rids: Vec<Rid>,
    asked: [Option<Moment>; MAX_LAYERS],
    /// The source of each layer's last packet.
    sources: [Option<u32>; MAX_LAYERS],
}

impl Pictures {
    /// Of a sender whose layers have these names.
    pub fn of(rids: Vec<Rid>) -> Pictures {
        Pictures { rids, ..Pictures::default() }
    }

    /// The layer of a name; `None`: it was not offered.
    pub fn layer_of(&self, rid: Option<Rid>) -> Option<Layer> {
        match rid {
            None => Some(Layer::BASE),
            // One picture may have a name, too.
            Some(_) if self.rids.is_empty() => Some(Layer::BASE),
            Some(rid) => Layer::new(self.rids.iter().position(|other| *other == rid)?),
        }
    }

    /// Another source of a layer begins with pictures that refer to what nobody has: one that stands for itself is asked for at once.
    pub fn note_source(&mut self, layer: Layer, ssrc: u32, view: &StreamView) {
        let Some(source) = self.sources.get_mut(layer.place()) else { return };
        if source.replace(ssrc).is_some_and(|before| before != ssrc) {
            view.want_key_frame(layer);
            self.asked.iter_mut().skip(layer.place()).take(1).for_each(|asked| *asked = None);
        }
    }

    /// Asks for what is lacking, of section `mid`.
    pub fn ask(&mut self, mid: Option<Mid>, view: &StreamView, now: Moment, rtc: &mut Rtc) {
        if view.lacks_key_frames() {
            Layer::all().for_each(|layer| self.ask_for(layer, mid, view, now, rtc));
        }
    }

    fn ask_for(&mut self, layer: Layer, mid: Option<Mid>, view: &StreamView, now: Moment, rtc: &mut Rtc) {
        if !view.lacks_key_frame(layer) {
            return;
        }
        let rid = self.rids.get(layer.place()).copied();
        if rid.is_none() && (layer != Layer::BASE || !self.rids.is_empty()) {
            // Nobody has such a layer.
            return view.key_frame_is_asked_for(layer);
        }
        let Some(asked) = self.asked.get_mut(layer.place()) else { return };
        if asked.is_some_and(|at| now.since(at) < PICTURES) {
            return;
        }
        // Of its last source, where it has sent: right after a change there are two of its name.
        let source = self.sources.get(layer.place()).copied().flatten().map(Ssrc::from);
        let mut api = rtc.direct_api();
        let stream = match source {
            Some(ssrc) => api.stream_rx(&ssrc),
            None => mid.and_then(|mid| api.stream_rx_by_mid(mid, rid)),
        };
        if let Some(stream) = stream {
            stream.request_keyframe(KeyframeRequestKind::Pli);
            *asked = Some(now);
            view.key_frame_is_asked_for(layer);
        }
    }
}
