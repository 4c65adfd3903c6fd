//! A running stream, and who starts it.

use std::thread::JoinHandle;
use std::{fmt, io};

use crate::core::ids::SessionId;
use crate::core::time::Moment;
use crate::host::join;
use crate::media::Media;
use crate::media::stream::{SourceSpec, Stream, Told};
use crate::media::stream_thread::{self, JOIN};

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
        let (stream, thread) = stream_thread::start(id, spec, self.0.clone())?;
        self.0.streams.add(stream.clone());
        Ok(SourceHandle { media: self.clone(), stream, thread: Some(thread) })
    }

    /// A session's stream.
    pub fn stream_of(&self, session: &SessionId) -> Option<Stream> {
        self.0.streams.of(session)
    }
}
