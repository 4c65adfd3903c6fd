//! How the process's file descriptors are shared out: what no connection may take from the rest.
//!
//! ```text
//!  limit = ours ─ the process itself, loops, media threads, farewells
//!        + sessions ─ pipes, pidfd, ports of stream processes; at most a third of what is left
//!        + peers ─ sockets of their own, where each has a port (webrtc.epr); at most a quarter
//!        + ICE-TCP ─ media connections of browsers without UDP; at most an eighth
//!        + connections ─ two each: the client's, and one to an upstream
//! ```
//!
//! Calls to workers that a controller makes at once, and connections to the control API, are reserved with the process itself, the latter four each: both ends, and tiny_http's copy of its own,
//! and one that lingers. An event stream takes none beside its connection.

use crate::config::settings::{Role, Settings};

/// The process itself: log, locks, directories, timers, calls to other services (measured: 29 of an idle worker, its loops, media threads and the way to the API's socket included), and some
/// to spare, so that a file can be opened at any time.
const PROCESS: u64 = 64;

/// Connections beyond the cap: 16 of loopback and 16 of operators, two each; 32 on trial, and 32 refused and 32 served ones whose
/// farewell is on its way (the sizes of `edge::admission`, which a test there compares).
pub const BESIDE_THE_CAP: u64 = 2 * (16 + 16) + 32 + 32 + 32;

/// A connection to the control API.
const EACH_API: u64 = 4;

/// Where descriptors are few, one in this many may be such a connection's; never fewer than [`LEAST_API`].
const API_PART: u64 = 32;
const LEAST_API: u64 = 4;

/// Calls to workers, one descriptor each: where those are few, one in this many is for creates. A quarter of that is for other
/// calls.
const CREATES_PART: u64 = 8;
const CALLS_PART: u64 = 4;

/// An event loop: epoll and eventfd.
const EACH_LOOP: u64 = 2;

/// A media thread: epoll, eventfd, sockets of both families for UDP and TCP.
const EACH_MEDIA_THREAD: u64 = 8;

/// A session of any engine: pidfd, pipes, eventfd, log, ports, the watch of its body, and calls while it starts.
const EACH_SESSION: u64 = 12;

/// A peer's own port, in both families.
const EACH_OWN_PORT: u64 = 2;

/// ICE-TCP connections of one media thread.
const ICE_TCP_EACH: u64 = 1_024;

/// Connections beyond which only memory is at stake: what 65,536 descriptors allow.
const MOST_CONNECTIONS: u64 = 32_768;

/// Who may have how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Descriptors in all.
    pub limit: u64,
    /// Reserved for the process itself.
    pub process: u64,
    /// Reserved for sessions.
    pub sessions: u64,
    /// Reserved for the sockets of peers with a port of their own.
    pub peers: u64,
    /// ICE-TCP connections of each media thread.
    pub ice_tcp_each: usize,
    /// Connections of the edge.
    pub connections: usize,
    /// Connections to the control API at once.
    pub api_connections: usize,
    /// Creates that a controller has under way at once.
    pub creates_at_once: usize,
    /// Other calls to workers under way at once.
    pub calls_at_once: usize,
    /// Every session and peer can have what it needs.
    pub enough: bool,
}

impl Plan {
    /// For a role with these settings.
    pub fn of(limit: u64, settings: &Settings) -> Plan {
        let wanted = settings.edge.api_connections;
        let fits = usize::try_from((limit / API_PART).max(LEAST_API)).unwrap_or(wanted);
        let api_connections = wanted.min(fits);
        let base = PROCESS + BESIDE_THE_CAP + api_connections as u64 * EACH_API;
        let loops = settings.edge.threads as u64 * EACH_LOOP;
        let plan = match settings.role {
            Role::Controller => {
                let creates = (settings.workers.dispatch_threads as u64).min(limit / CREATES_PART).max(1);
                let calls = (creates / CALLS_PART).max(1);
                let at_once = |count| usize::try_from(count).unwrap_or(usize::MAX);
                let plan = Plan::with(limit, base + loops + creates + calls, 0, 0, 0);
                Plan { creates_at_once: at_once(creates), calls_at_once: at_once(calls), ..plan }
            }
            Role::Worker => {
                let threads = settings.webrtc.threads as u64;
                let process = base + loops + threads * EACH_MEDIA_THREAD;
                let sessions = settings.sessions.max as u64 * EACH_SESSION;
                let threads = settings.webrtc.tcpmux.map_or(0, |_| threads);
                let own_ports =
                    settings.webrtc.epr.map_or(0, |(first, last)| u64::from(last.saturating_sub(first)) + 1);
                let peers = own_ports.min(settings.webrtc.max_peers as u64) * EACH_OWN_PORT;
                Plan::with(limit, process, sessions, peers, threads)
            }
        };
        Plan { api_connections, ..plan }
    }

    /// For an edge alone with this many loops.
    pub fn of_an_edge(limit: u64, loops: usize) -> Plan {
        Plan::with(limit, PROCESS + BESIDE_THE_CAP + loops as u64 * EACH_LOOP, 0, 0, 0)
    }

    fn with(limit: u64, process: u64, sessions: u64, peers: u64, ice_tcp_threads: u64) -> Plan {
        let left = limit.saturating_sub(process);
        let for_sessions = sessions.min(left / 3);
        let left = left - for_sessions;
        let for_peers = peers.min(left / 4);
        let left = left - for_peers;
        let ice_tcp_each =
            left.checked_div(8 * ice_tcp_threads).map_or(0, |each| each.clamp(1, ICE_TCP_EACH));
        let left = left.saturating_sub(ice_tcp_each * ice_tcp_threads);
        Plan {
            limit,
            process,
            sessions: for_sessions,
            peers: for_peers,
            ice_tcp_each: usize::try_from(ice_tcp_each).unwrap_or(usize::MAX),
            connections: usize::try_from((left / 2).clamp(1, MOST_CONNECTIONS)).unwrap_or(1),
            api_connections: 0,
            creates_at_once: 0,
            calls_at_once: 0,
            enough: for_sessions == sessions && for_peers == peers && limit > process,
        }
    }

    /// Connections, given `edge.max_connections` (0: as many as there may be).
    pub fn connections(&self, wanted: usize) -> usize {
        if wanted == 0 { self.connections } else { wanted.min(self.connections) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(role: Role, limit: u64) -> Plan {
        let mut settings = Settings::defaults(role);
        settings.edge.threads = 8;
        settings.webrtc.threads = 4;
        settings.webrtc.tcpmux = Some(0);
        Plan::of(limit, &settings)
    }

    #[test]
    fn everything_together_fits_into_the_limit() {
        for role in [Role::Worker, Role::Controller] {
            for limit in [0, 64, 256, 512, 1_024, 4_096, 65_536, 1 << 30] {
                let plan = plan(role, limit);
                println!("{role:?} {plan:?}");
                let ice_tcp = if role == Role::Worker { 4 * plan.ice_tcp_each as u64 } else { 0 };
                let all = plan.process + plan.sessions + plan.peers + ice_tcp + 2 * plan.connections as u64;
                assert!(all <= limit.max(plan.process + 8), "{role:?}: {all} of {plan:?}");
                assert!((1..=32_768).contains(&plan.connections), "{role:?}: {plan:?}");
            }
        }
    }

    #[test]
    fn a_usual_limit_is_enough_and_a_tiny_one_says_so() {
        assert!(plan(Role::Worker, 1_024).enough && plan(Role::Controller, 1_024).enough);
        assert!(!plan(Role::Worker, 256).enough);
        assert_eq!(plan(Role::Worker, 65_536).connections, (65_536 - 400 - 180 - 4_096) / 2);
    }

    #[test]
    fn calls_to_workers_leave_descriptors_to_connections() {
        let few = plan(Role::Controller, 1_024);
        assert_eq!((few.creates_at_once, few.calls_at_once), (128, 32), "an eighth, and a quarter of that");
        assert!(few.connections > 200, "{few:?}");
        let many = plan(Role::Controller, 65_536);
        assert_eq!((many.creates_at_once, many.calls_at_once), (1_024, 256));
        let none = plan(Role::Controller, 0);
        assert!(none.creates_at_once == 1 && none.calls_at_once == 1, "{none:?}");
    }

    #[test]
    fn a_wish_for_more_connections_than_there_are_descriptors_is_cut() {
        let plan = plan(Role::Worker, 1_024);
        assert_eq!(plan.connections(0), plan.connections);
        assert_eq!(plan.connections(10), 10);
        assert_eq!(plan.connections(1 << 20), plan.connections);
    }
}
