//! What one member of a room sends: sound, or pictures. Its own media thread takes it in and passes it on; others only look at this.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::rooms::tracks::{MediaKind, TrackId};
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

/// Media threads that may have followers: `webrtc.threads` is far lower.
const MOST_THREADS: usize = 64;

impl Track {
    /// A track that begins; whoever follows it will need a picture of each layer.
    pub fn new(id: StreamId, name: TrackId, kind: MediaKind) -> Track {
        let view = StreamView::default();
        if kind == MediaKind::Video {
            view.want_every_key_frame();
        }
        Track(Arc::new(Inner { id, name, kind, view, threads: AtomicU64::new(0) }))
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
