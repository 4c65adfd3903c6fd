//! What a publisher sends, on its way to its stream.

use std::sync::Arc;

use crate::media::rtp::forwarder::Track;
use crate::media::rtp::packet::SenderReport;
use crate::media::simulcast::layers::Layer;

/// A packet of a publisher, as its peer received it.
#[derive(Debug)]
pub struct Published {
    /// The number of the publisher.
    pub by: u64,
    /// Sound or pictures.
    pub track: Track,
    /// Which layer of the pictures.
    pub layer: Layer,
    /// Header fields.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload.
    pub payload: Arc<[u8]>,
}

/// A publisher's sender report.
#[derive(Debug)]
pub struct Reported {
    /// The number of the publisher.
    pub by: u64,
    /// What it is about.
    pub track: Track,
    /// What it says.
    pub report: SenderReport,
}
