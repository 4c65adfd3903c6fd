//! What operators see of a session's stream: in its view and in health replies (SPEC 9).

use crate::api::types::{LayerFigures, StreamFigures, ViewerFigures};
use crate::core::ids::SessionId;
use crate::media::Media;
use crate::media::peer_registry::Known;
use crate::media::role::RoleKind;
use crate::media::sdp::VideoCodec;
use crate::media::view::Standing;

/// The figures of a session's stream; `None` when it has none.
pub fn of(media: &Media, session: &SessionId) -> Option<StreamFigures> {
    figures(media, session, &viewers(media, session))
}

/// The same with every viewer.
pub fn in_detail(media: &Media, session: &SessionId) -> Option<StreamFigures> {
    let viewers = viewers(media, session);
    let watching = viewers.iter().filter_map(watching).collect();
    Some(StreamFigures { watching: Some(watching), ..figures(media, session, &viewers)? })
}

fn viewers(media: &Media, session: &SessionId) -> Vec<Known> {
    let mut viewers = media.of_session(session);
    viewers.retain(|known| known.kind == RoleKind::Viewer);
    viewers
}

fn figures(media: &Media, session: &SessionId, viewers: &[Known]) -> Option<StreamFigures> {
    let stream = media.stream_of(session)?;
    let (view, codecs) = (stream.view(), stream.codecs());
    let rates = view.rates();
    let layers = rates.sent().filter(|_| view.is_layered()).map(|(layer, rate)| LayerFigures {
        layer: layer.place(),
        bitrate_kbps: rate / 1_000,
        viewers: viewers.iter().filter(|known| sees(known, layer.place())).count(),
    });
    let age = view.last_key_frame().map(|at| media.now().since(at).as_millis());
    Some(StreamFigures {
        video: match codecs.video {
            VideoCodec::Vp8 => "vp8",
            VideoCodec::H264 { .. } => "h264",
        },
        audio: codecs.opus.then_some("opus"),
        published: stream.door().slot().is_taken(),
        viewers: view.viewers.load(std::sync::atomic::Ordering::Acquire),
        bitrate_kbps: view.bitrate() / 1_000,
        key_frame_age_ms: age.map(|age| u64::try_from(age).unwrap_or(u64::MAX)),
        layers: layers.collect(),
        watching: None,
    })
}

fn sees(known: &Known, layer: usize) -> bool {
    matches!(known.view.standing(), Standing::Live | Standing::Trouble) && known.view.layer() == layer
}

fn watching(known: &Known) -> Option<ViewerFigures> {
    let status = match known.view.standing() {
        Standing::Connecting => "connecting",
        Standing::Live => "live",
        Standing::Trouble => "trouble",
        Standing::Gone => return None,
    };
    let estimate_kbps = known.view.estimate().map(|estimate| estimate / 1_000);
    let (layer, sending) = (known.view.layer(), known.view.sending().name());
    Some(ViewerFigures { status, layer, estimate_kbps, sending })
}
