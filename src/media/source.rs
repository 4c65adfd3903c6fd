//! What peers follow: a session's stream, or what one member of a room sends.

use std::fmt;

use crate::media::member::track::{self, Track};
use crate::media::rtp::gop_cache::GopLimits;
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

    /// How much is kept of its present group of pictures, with which joiners begin. Of a member's track that is what came since a picture for
    /// which it may not be asked again yet: later it is asked, and nothing old need be kept.
    pub fn group_limits(&self) -> GopLimits {
        match self {
            Source::Stream(_) => GopLimits::default(),
            Source::Track(_) => track::GROUPS,
        }
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
