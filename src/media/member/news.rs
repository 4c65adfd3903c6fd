//! What members of one media thread sent in a round, until it is told to those who follow it.

use std::time::{Duration, Instant};

use crate::media::member::track::Track;
use crate::media::rtp::forwarder::StreamPacket;

/// Packets by track, in the order of their arrival.
#[derive(Debug, Default)]
pub struct RoomNews {
    batches: Vec<(Track, Vec<StreamPacket>)>,
    since: Option<Instant>,
}

impl RoomNews {
    /// A packet came.
    pub fn push(&mut self, track: &Track, packet: StreamPacket, now: Instant) {
        self.since.get_or_insert(now);
        // What came last is what goes on, as a rule.
        match self.batches.iter_mut().rev().find(|(other, _)| other == track) {
            Some((_, batch)) => batch.push(packet),
            None => self.batches.push((track.clone(), vec![packet])),
        }
    }

    /// When it is to be told: as long after the first packet as is to be gathered.
    pub fn due(&self, gather: Duration) -> Option<Instant> {
        self.since.map(|since| since + gather)
    }

    /// What there is.
    pub fn take(&mut self) -> Vec<(Track, Vec<StreamPacket>)> {
        self.since = None;
        std::mem::take(&mut self.batches)
    }
}
