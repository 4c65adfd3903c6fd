//! The streams that there are: one per session at most. Whoever starts one ends it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::core::ids::SessionId;
use crate::media::stream::{Stream, StreamId};

/// The streams by session.
#[derive(Debug, Default)]
pub struct Streams {
    by_session: RwLock<HashMap<SessionId, Stream>>,
    next: AtomicU64,
}

impl Streams {
    /// A session's stream.
    pub fn of(&self, session: &SessionId) -> Option<Stream> {
        self.by_session.read().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }

    /// A name that nothing had that peers can follow.
    pub fn next_id(&self) -> StreamId {
        StreamId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn add(&self, stream: Stream) {
        let session = stream.session().clone();
        self.by_session.write().unwrap_or_else(PoisonError::into_inner).insert(session, stream);
    }

    pub(super) fn remove(&self, stream: &Stream) {
        let mut streams = self.by_session.write().unwrap_or_else(PoisonError::into_inner);
        if streams.get(stream.session()).is_some_and(|other| other.id() == stream.id()) {
            streams.remove(stream.session());
        }
    }
}
