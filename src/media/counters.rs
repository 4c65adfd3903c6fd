//! What media threads count. Plain atomics: every thread adds, health replies read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// As it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted, of all threads together.
#[derive(Debug, Default)]
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
