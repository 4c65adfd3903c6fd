//! A session's stream: what its process, its clip or a publisher sends, on its way to every media thread that has viewers.
//!
//! ```text
//!   process ─RTP─▶ V, V+1 ─┐                        ┌─batch─▶ media-0 ─▶ its viewers
//!                          ├─▶ stream-ID (Forwarder) ┤
//!   publisher's media-N ───┘                        └─batch─▶ media-1 ─▶ its viewers
//! ```
//!
//! Where an engine's `ingest` says so, a publisher's packets go into the process too, or only there ([`ProcessInput`]).
//!
//! One thread per stream owns it ([`crate::media::stream_thread`]). It copies each payload once; media threads and viewers share it. It tells each media thread
//! once per batch, never once per viewer.

use std::fmt;
use std::net::UdpSocket;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::core::ids::SessionId;
use crate::host::wake::Wake;
use crate::media::codec::ffmpeg_description::Description;
use crate::media::codec::parameter_sets::Sets;
use crate::media::groups::Groups;
pub use crate::media::ids::StreamId;
use crate::media::process_input::ProcessInput;
use crate::media::published::{Published, Reported};
use crate::media::publishing::{Door, Ingest};
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::payload::Packing;
use crate::media::sdp::VideoCodec;
use crate::media::stream_view::StreamView;
use crate::media::stream_watch::Findings;

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codecs {
    /// Its pictures.
    pub video: VideoCodec,
    /// Whether it has sound, which is Opus.
    pub opus: bool,
}

/// Where a stream comes from: an adjacent pair of loopback sockets that a process or a clip sends plain RTP to, payload types 96
/// (video) and 111 (Opus). Without sockets: from a publisher alone.
#[derive(Debug)]
pub struct SourceSpec {
    /// Whose it is.
    pub session: SessionId,
    /// Video's socket.
    pub video: Option<UdpSocket>,
    /// Sound's.
    pub audio: Option<UdpSocket>,
    /// What they carry.
    pub codecs: Codecs,
    /// Where goes what is published.
    pub ingest: Ingest,
}

/// What a media thread hears of a stream that it follows.
pub enum News {
    /// The present groups of pictures, before the first batch: where joiners begin.
    Begin(Box<Groups>),
    /// More of it.
    Batch(Arc<[StreamPacket]>),
}

/// What a stream is told.
#[derive(Debug)]
pub enum Told {
    /// A media thread has viewers from now on, or none any more.
    Follow(usize),
    /// It has none any more.
    Leave(usize),
    /// A publisher's packet.
    Published(Published),
    /// A publisher's sender report.
    Reported(Reported),
    /// A publisher offered these parameter sets.
    Offered(u64, Sets),
    /// The process is about to be another one, of this number: what it sends waits until it is described.
    Begin(u64),
    /// What the process says it sends.
    Described(Box<Description>),
    /// A process takes what is published from now on, or none does any more.
    Feed(Option<Box<ProcessInput>>),
    /// The end.
    Stop,
}

/// The way to a stream: cheap to clone.
#[derive(Clone)]
pub struct Stream(Arc<Inner>);

struct Inner {
    id: StreamId,
    session: SessionId,
    codecs: Codecs,
    door: Door,
    view: StreamView,
    findings: Findings,
    sender: Sender<Told>,
    wake: Arc<Wake>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} of session {})", self.0.id.0, self.0.session)
    }
}

impl Stream {
    /// The way to a stream's thread, which keeps the other end of the channel and is woken by `wake`.
    pub(super) fn new(
        id: StreamId,
        (session, codecs, ingest): (SessionId, Codecs, Ingest),
        (sender, wake): (Sender<Told>, Wake),
    ) -> Stream {
        Stream(Arc::new(Inner {
            id,
            session,
            codecs,
            door: Door::new(ingest),
            view: StreamView::default(),
            findings: Findings::default(),
            sender,
            wake: Arc::new(wake),
        }))
    }

    /// What wakes its thread.
    pub(super) fn wake(&self) -> &Wake {
        &self.0.wake
    }

    /// Its name.
    pub fn id(&self) -> StreamId {
        self.0.id
    }

    /// Whose it is.
    pub fn session(&self) -> &SessionId {
        &self.0.session
    }

    /// What it carries.
    pub fn codecs(&self) -> Codecs {
        self.0.codecs
    }

    /// What is published of it.
    pub fn view(&self) -> &StreamView {
        &self.0.view
    }

    /// What its thread finds of those who feed it.
    pub fn findings(&self) -> &Findings {
        &self.0.findings
    }

    /// Who publishes into it.
    pub fn door(&self) -> &Door {
        &self.0.door
    }

    /// Makes its thread look who publishes.
    pub fn ring(&self) {
        self.0.wake.ring();
    }

    /// Tells its thread. One that stands still or is over hears nothing: what is lost then is media, or of no matter. False:
    /// it was not heard.
    pub fn tell(&self, told: Told) -> bool {
        let heard = self.0.sender.try_send(told).is_ok();
        if heard {
            self.0.wake.ring();
        }
        heard
    }
}

/// How a codec is packed.
pub fn packing(codec: VideoCodec) -> Packing {
    match codec {
        VideoCodec::Vp8 => Packing::Vp8,
        VideoCodec::H264 { .. } => Packing::H264,
    }
}
