//! What one member of a room sends: sound, or pictures. Its own media thread takes it in and passes it on; others only look at this.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::rooms::tracks::{MediaKind, TrackId};
use crate::core::time::Moment;
use crate::media::pictures::PICTURES;
use crate::media::rtp::gop_cache::GopLimits;
use crate::media::simulcast::layers::Layer;
use crate::media::stream::StreamId;
use crate::media::stream_view::StreamView;

/// The way to a track; cheap to clone.
#[derive(Clone)]
pub struct Track(Arc<Inner>);

struct Inner {
    id: StreamId,
    name: TrackId,
    kind: MediaKind,
    view: StreamView,
    /// The media threads that have followers, one bit each.
    threads: AtomicU64,
}

/// Who joins begins with a group of pictures that began this long ago at most: by half as long as who sends them may not be asked again, so that
/// the next one is under way when this one serves no more.
pub const BEGIN_WITHIN: Duration = Duration::from_millis(750);

/// What is kept of a track's pictures for that: as long as such a beginning takes to be sent. The payloads are those that are kept for sending
/// again, within the same bounds.
pub const GROUPS: GopLimits = GopLimits { packets: 8_192, bytes: 4 << 20, age: Duration::from_secs(1) };

/// Media threads that may have followers: `webrtc.threads` is far lower.
const MOST_THREADS: usize = 64;

impl Track {
    /// A track that begins.
    pub fn new(id: StreamId, name: TrackId, kind: MediaKind) -> Track {
        let (view, threads) = (StreamView::default(), AtomicU64::new(0));
        Track(Arc::new(Inner { id, name, kind, view, threads }))
    }

    /// Its name within this process.
    pub fn id(&self) -> StreamId {
        self.0.id
    }

    /// Its name in the room.
    pub fn name(&self) -> &TrackId {
        &self.0.name
    }

    /// Sound or pictures.
    pub fn kind(&self) -> MediaKind {
        self.0.kind
    }

    /// What is published of it.
    pub fn view(&self) -> &StreamView {
        &self.0.view
    }

    /// Somebody will follow it, and lack a picture until then.
    pub fn will_be_followed(&self, now: Moment) {
        self.lacks_picture(self.view().rates().best().unwrap_or(Layer::BASE), now);
    }

    /// Somebody lacks a picture of this layer: one is asked for, unless there was one a moment ago, with which to begin.
    pub fn lacks_picture(&self, layer: Layer, now: Moment) {
        let is_fresh = |at: Moment| now.since(at) <= PICTURES;
        if self.kind() == MediaKind::Video && !self.view().last_key_frame().is_some_and(is_fresh) {
            self.view().want_key_frame(layer);
        }
    }

    /// A media thread has followers.
    pub fn followed_by(&self, thread: usize) {
        self.0.threads.fetch_or(bit(thread), Ordering::AcqRel);
    }

    /// It has none any more.
    pub fn left_by(&self, thread: usize) {
        self.0.threads.fetch_and(!bit(thread), Ordering::AcqRel);
    }

    /// The media threads with followers.
    pub fn followers(&self) -> impl Iterator<Item = usize> + use<> {
        let threads = self.0.threads.load(Ordering::Acquire);
        (0..MOST_THREADS).filter(move |thread| threads & bit(*thread) != 0)
    }

    /// Whether anybody follows it.
    pub fn is_followed(&self) -> bool {
        self.0.threads.load(Ordering::Relaxed) != 0
    }
}

fn bit(thread: usize) -> u64 {
    1u64.checked_shl(u32::try_from(thread).unwrap_or(u32::MAX)).unwrap_or_default()
}

impl PartialEq for Track {
    fn eq(&self, other: &Track) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Track {}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Track({} of kind {})", self.0.id.0, self.0.kind.name())
    }
}
