//! A datagram on its way to the thread of its peer.

use std::net::SocketAddr;
use std::time::Instant;

/// A datagram that is passed on to the thread of its peer.
#[derive(Debug)]
pub struct ForwardedDatagram {
    /// When it was read.
    pub at: Instant,
    /// From where.
    pub source: SocketAddr,
    /// The address of ours it was sent to.
    pub local: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}
