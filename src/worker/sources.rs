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

/// Keeps the sockets open and reads nothing: the kernel drops what does not fit, and the engine does not notice.
#[derive(Debug)]
pub struct KeptSockets;

#[derive(Debug)]
struct Kept {
    _spec: SourceSpec,
}

impl Source for Kept {}

impl Sources for KeptSockets {
    fn add(&self, spec: SourceSpec) -> std::io::Result<Box<dyn Source>> {
        Ok(Box::new(Kept { _spec: spec }))
    }
}
