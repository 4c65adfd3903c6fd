//! Who reads what a session's engine sends: a seam between supervisors and media.

use std::fmt::Debug;

use crate::engine::ingest::SourceSpec;

/// Takes over the sockets that engines send to.
pub trait Sources: Debug + Send + Sync {
    /// Reads this source until what is returned is dropped. The engine may be restarted meanwhile: the ports stay.
    fn add(&self, spec: SourceSpec) -> std::io::Result<Box<dyn Source>>;
}

/// A source that is being read.
pub trait Source: Debug + Send {}
