//! The streams that there are: one per session at most. Whoever starts one ends it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread::JoinHandle;

use crate::core::ids::SessionId;
use crate::core::time::Moment;
use crate::host::join;
use crate::media::Media;
use crate::media::stream::{JOIN, SourceSpec, Stream, StreamId, Told};

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

    fn add(&self, stream: Stream) {
        let session = stream.session().clone();
        self.by_session.write().unwrap_or_else(PoisonError::into_inner).insert(session, stream);
    }

    fn remove(&self, stream: &Stream) {
        let mut streams = self.by_session.write().unwrap_or_else(PoisonError::into_inner);
        if streams.get(stream.session()).is_some_and(|other| other.id() == stream.id()) {
            streams.remove(stream.session());
        }
    }
}

/// A running stream. Dropping it ends it: its viewers see their last picture until their session ends too.
pub struct SourceHandle {
    media: Media,
    stream: Stream,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for SourceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceHandle({:?})", self.stream)
    }
}

impl SourceHandle {
    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Now, on the clock of views.
    pub fn now(&self) -> Moment {
        self.media.now()
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        self.media.0.streams.remove(&self.stream);
        self.stream.tell(Told::Stop);
        if let Some(thread) = self.thread.take() {
            join::within(thread, JOIN);
        }
    }
}

impl Media {
    /// Starts a session's stream, which replaces the one it had. The sockets stay open for as long as the handle lives, however
    /// often the process behind them is started.
    pub fn add_source(&self, spec: SourceSpec) -> io::Result<SourceHandle> {
        let id = self.0.streams.next_id();
        let (stream, thread) = Stream::start(id, spec, self.0.clone())?;
        self.0.streams.add(stream.clone());
        Ok(SourceHandle { media: self.clone(), stream, thread: Some(thread) })
    }

    /// A session's stream.
    pub fn stream_of(&self, session: &SessionId) -> Option<Stream> {
        self.0.streams.of(session)
    }
}
