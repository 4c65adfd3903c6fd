//! Who reads what a session's engine sends: a seam between supervisors and media.

use std::fmt::Debug;
use std::io;

use crate::engine::ingest::SourceSpec;
use crate::media::codec::ffmpeg_description::Description;
use crate::media::publishing::{Fed, Publishing};
use crate::media::stream_watch::Found;

/// Takes over the sockets that engines send to.
pub trait Sources: Debug + Send + Sync {
    /// Reads this source until what is returned is dropped. The engine may be restarted meanwhile: the ports stay.
    fn add(&self, spec: SourceSpec) -> std::io::Result<Box<dyn Source>>;
}

/// A source that is being read.
pub trait Source: Debug + Send {
    /// Who publishes into it, when that goes into the process.
    fn publishing(&self) -> Option<Publishing>;

    /// What this publisher sends goes to a process, to four ports from this one on, once it listens.
    fn feed(&self, publishing: Publishing, port: u16) -> io::Result<()>;

    /// No process takes it any more.
    fn stop_feeding(&self);

    /// Another process is about to send; what it sends waits until it is described.
    fn begin(&self);

    /// What the process says it sends.
    fn describe(&self, description: Description);

    /// What was found of those who feed it. The wake of its description rings when that changes.
    fn found(&self) -> Found;

    /// How the process was fed until its last picture; `None` before the first.
    fn fed(&self) -> Option<Fed>;
}
