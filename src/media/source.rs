//! What peers follow: a session's stream, or what one member of a room sends.

use std::fmt;

use crate::media::member::track::Track;
use crate::media::stream::{Stream, StreamId, Told};
use crate::media::stream_view::StreamView;

/// One of them; cheap to clone.
#[derive(Clone)]
pub enum Source {
    /// A session's stream.
    Stream(Stream),
    /// A member's sound or picture.
    Track(Track),
}

impl Source {
    /// Its name within this process.
    pub fn id(&self) -> StreamId {
        match self {
            Source::Stream(stream) => stream.id(),
            Source::Track(track) => track.id(),
        }
    }

    /// What is published of it.
    pub fn view(&self) -> &StreamView {
        match self {
            Source::Stream(stream) => stream.view(),
            Source::Track(track) => track.view(),
        }
    }

    /// Whether joiners begin with its present group of pictures. Who sends a track can be asked for a picture at any time, so that nothing of it
    /// need be kept.
    pub fn keeps_groups(&self) -> bool {
        matches!(self, Source::Stream(_))
    }

    /// This media thread has followers from now on.
    pub fn followed_by(&self, thread: usize) {
        match self {
            Source::Stream(stream) => {
                stream.tell(Told::Follow(thread));
            }
            Source::Track(track) => track.followed_by(thread),
        }
    }

    /// It has none any more.
    pub fn left_by(&self, thread: usize) {
        match self {
            Source::Stream(stream) => {
                stream.tell(Told::Leave(thread));
            }
            Source::Track(track) => track.left_by(thread),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stream(stream) => stream.fmt(f),
            Source::Track(track) => track.fmt(f),
        }
    }
}
