//! RTP to bodies: one socket per thread and family for all of them. Fire and forget: what the network answers is counted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::media::counters::Counters;
use crate::media::rtp::rewrite::HEADER;
use crate::media::udp::{Pair, Udp};

/// Largest datagram to a body: an Opus packet has at most 1,275 bytes per frame (RFC 6716, 3.2.1); what is larger is no sound.
const LARGEST: usize = 4_000;

/// The sockets of one thread.
#[derive(Debug)]
pub struct MicSink {
    pub(crate) sockets: Pair,
    counters: Arc<Counters>,
    scratch: Vec<u8>,
}

impl MicSink {
    /// Opens the sockets. A host without IPv6 has none for it.
    pub fn open(counters: Arc<Counters>) -> io::Result<MicSink> {
        let v4 = Udp::unbound(Ipv4Addr::UNSPECIFIED.into())?;
        let v6 = Udp::unbound(Ipv6Addr::UNSPECIFIED.into()).ok();
        let sockets = Pair { v4: Some(Arc::new(v4)), v6: v6.map(Arc::new) };
        sockets.each().try_for_each(|udp| udp.report_errors())?;
        Ok(MicSink { sockets, counters, scratch: Vec::with_capacity(LARGEST) })
    }

    /// Sends one RTP packet.
    pub fn send(&mut self, to: SocketAddr, header: &[u8; HEADER], payload: &[u8]) {
        let counters = &self.counters;
        let Some(socket) = self.sockets.of(to.ip()).filter(|_| payload.len() <= LARGEST) else {
            return counters.send_errors.one();
        };
        self.scratch.clear();
        self.scratch.extend(header);
        self.scratch.extend(payload);
        let mut sent = socket.send(to, None, &self.scratch, None);
        if sent.is_err() {
            // The answer to an earlier packet, perhaps of another body, was waiting and took this one's place.
            counters.bodies_unreachable.add(socket.take_errors());
            sent = socket.send(to, None, &self.scratch, None);
        }
        match sent {
            Ok(()) => counters.to_bodies.one(),
            Err(_) => counters.send_errors.one(),
        }
    }

    /// Counts what the network reported.
    pub fn take_errors(&self) {
        let reported = self.sockets.each().map(|udp| udp.take_errors()).sum();
        self.counters.bodies_unreachable.add(reported);
    }
}
