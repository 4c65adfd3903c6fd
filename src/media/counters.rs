//! What media threads count. Plain atomics: every thread adds, health replies read.

use serde::Serialize;

use crate::metrics::counter::{Counter, Histogram};
use crate::metrics::table::LAG_BOUNDS_MS;

/// What is counted, of all threads together.
#[derive(Debug)]
pub struct Counters {
    /// Datagrams (and ICE-TCP frames) received.
    pub datagrams_in: Counter,
    /// Datagrams (and ICE-TCP frames) sent to peers.
    pub datagrams_out: Counter,
    /// Of no peer: an unknown address, an unknown user name.
    pub unknown: Counter,
    /// Not of any protocol that belongs here, or broken within it.
    pub bad: Counter,
    /// Heard by one thread and passed on to the one whose peer it is.
    pub foreign: Counter,
    /// With the name or the address of a peer, but without its keys.
    pub spoofed: Counter,
    /// Media that a peer's session did not take: replayed, not authentic, padding.
    pub refused: Counter,
    /// Not sent: the address has not proved that it reads what we send, and three times its bytes went there already.
    pub unproved: Counter,
    /// Not sent or not passed on, because a queue was full.
    pub dropped: Counter,
    /// Sends that the network refused.
    pub send_errors: Counter,
    /// RTP packets sent to bodies.
    pub to_bodies: Counter,
    /// ICMP "unreachable" and the like in answer to those.
    pub bodies_unreachable: Counter,
    /// Peers that were accepted since the start.
    pub peers_accepted: Counter,
    /// Peers that connected since the start.
    pub peers_connected: Counter,
    /// Viewers whose media we send ourselves, connected since the start.
    pub viewers_own: Counter,
    /// Those whose media str0m sends: their network is measured.
    pub viewers_measured: Counter,
    /// The same: they agreed on a profile that we do not speak.
    pub viewers_other_profile: Counter,
    /// The same: the keys of their handshake were not heard.
    pub viewers_no_keys: Counter,
    /// Packets that we sent again.
    pub resent: Counter,
    /// Packets of str0m's that were not to be sent: one a second and track.
    pub withheld: Counter,
    /// Packets that were not sent because their number was used.
    pub nonces_refused: Counter,
    /// ICE-TCP connections accepted since the start.
    pub tcp_accepted: Counter,
    /// ICE-TCP connections closed because of what they sent, or did not send.
    pub tcp_refused: Counter,
    /// Bytes of `datagrams_in`.
    pub bytes_in: Counter,
    /// Bytes of `datagrams_out`.
    pub bytes_out: Counter,
    /// Sends of UDP: one takes several datagrams.
    pub batches_out: Counter,
    /// Requests of viewers for a whole picture.
    pub key_frame_requests: Counter,
    /// How late the threads are for what their peers wanted to do.
    pub lag: Histogram,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            datagrams_in: Counter::default(),
            datagrams_out: Counter::default(),
            unknown: Counter::default(),
            bad: Counter::default(),
            foreign: Counter::default(),
            spoofed: Counter::default(),
            refused: Counter::default(),
            unproved: Counter::default(),
            dropped: Counter::default(),
            send_errors: Counter::default(),
            to_bodies: Counter::default(),
            bodies_unreachable: Counter::default(),
            peers_accepted: Counter::default(),
            peers_connected: Counter::default(),
            viewers_own: Counter::default(),
            viewers_measured: Counter::default(),
            viewers_other_profile: Counter::default(),
            viewers_no_keys: Counter::default(),
            resent: Counter::default(),
            withheld: Counter::default(),
            nonces_refused: Counter::default(),
            tcp_accepted: Counter::default(),
            tcp_refused: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            batches_out: Counter::default(),
            key_frame_requests: Counter::default(),
            lag: Histogram::new(LAG_BOUNDS_MS),
        }
    }
}

/// The counters at one moment.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of Counters, described there")]
pub struct Snapshot {
    pub threads: usize,
    pub peers: usize,
    pub pending: usize,
    pub datagrams_in: u64,
    pub datagrams_out: u64,
    pub unknown: u64,
    pub bad: u64,
    pub foreign: u64,
    pub spoofed: u64,
    pub refused: u64,
    pub unproved: u64,
    pub dropped: u64,
    pub send_errors: u64,
    pub to_bodies: u64,
    pub bodies_unreachable: u64,
    pub peers_accepted: u64,
    pub peers_connected: u64,
    pub viewers_own: u64,
    pub viewers_measured: u64,
    pub viewers_other_profile: u64,
    pub viewers_no_keys: u64,
    pub resent: u64,
    pub withheld: u64,
    pub nonces_refused: u64,
    pub tcp_accepted: u64,
    pub tcp_refused: u64,
}

impl Counters {
    /// So many datagrams went out at once, with so many bytes.
    pub fn sent(&self, datagrams: usize, bytes: usize) {
        self.datagrams_out.add(datagrams as u64);
        self.bytes_out.add(bytes as u64);
        self.batches_out.one();
    }

    /// A frame of ICE-TCP went out.
    pub fn sent_frame(&self, bytes: usize) {
        self.datagrams_out.one();
        self.bytes_out.add(bytes as u64);
    }

    /// All of them, with what is there now.
    pub fn snapshot(&self, threads: usize, peers: usize, pending: usize) -> Snapshot {
        Snapshot {
            threads,
            peers,
            pending,
            datagrams_in: self.datagrams_in.get(),
            datagrams_out: self.datagrams_out.get(),
            unknown: self.unknown.get(),
            bad: self.bad.get(),
            foreign: self.foreign.get(),
            spoofed: self.spoofed.get(),
            refused: self.refused.get(),
            unproved: self.unproved.get(),
            dropped: self.dropped.get(),
            send_errors: self.send_errors.get(),
            to_bodies: self.to_bodies.get(),
            bodies_unreachable: self.bodies_unreachable.get(),
            peers_accepted: self.peers_accepted.get(),
            peers_connected: self.peers_connected.get(),
            viewers_own: self.viewers_own.get(),
            viewers_measured: self.viewers_measured.get(),
            viewers_other_profile: self.viewers_other_profile.get(),
            viewers_no_keys: self.viewers_no_keys.get(),
            resent: self.resent.get(),
            withheld: self.withheld.get(),
            nonces_refused: self.nonces_refused.get(),
            tcp_accepted: self.tcp_accepted.get(),
            tcp_refused: self.tcp_refused.get(),
        }
    }
}
