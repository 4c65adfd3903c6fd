//! Every metric: its name, where it is, what it is of, and what it says. `docs/metrics.md` is made of this.
//!
//! Names follow Prometheus' rules: base units, `_total` for what only grows, ratios from 0 to 1. A label has few values, which are
//! known when this is compiled; `worker` alone has as many as a fleet has workers, up to a bound of the controller's.

use crate::core::session::reason::EndReason;

/// Which role writes a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Both.
    Both,
    /// The controller.
    Controller,
    /// The worker.
    Worker,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from zero at each start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something was at most so much.
    Histogram,
}

impl Kind {
    /// The word in a `# TYPE` line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a metric is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Just a number.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The word in a `# UNIT` line, with which the name ends.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Unit::None => None,
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Who writes it.
    pub on: On,
    /// What it is.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! table {
    ($($id:ident $name:literal $on:ident $kind:ident $unit:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                on: On::$on,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// Every metric, in the order in which it is documented.
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

table! {
    BUILD_INFO "hydraneckwebrtc_build_info" Both Gauge None ["version", "role"]
        "Always 1; the labels say what runs.";
    READY "hydraneckwebrtc_ready" Both Gauge None []
        "Whether new sessions may come here, as /readyz answers.";
    PROBLEMS "hydraneckwebrtc_problems" Both Gauge None []
        "Problems that GET /api/v1/health tells in words; above 0 its status is degraded.";
    WRONG_TOKENS "hydraneckwebrtc_wrong_tokens_total" Both Counter None []
        "Requests with a token that is good for nothing.";
    PANICS "hydraneckwebrtc_panics_contained_total" Both Counter None []
        "Bugs that cost one request, connection or peer; each is in the log as ALERT.";
    LOG_DROPPED "hydraneckwebrtc_log_lines_dropped_total" Both Counter None []
        "Lines that are lost because nobody read the log.";
    LOG_HELD_BACK "hydraneckwebrtc_log_lines_held_back_total" Both Counter None []
        "Lines of libraries that were not shown because there were too many.";

    WORKERS "hydraneckwebrtc_workers" Controller Gauge None ["state"]
        "Workers by whether they are heard from: up, late, down.";
    WORKERS_DRAINING "hydraneckwebrtc_workers_draining" Controller Gauge None []
        "Workers that are heard from and get no new sessions because they drain or stop.";
    WORKERS_TROUBLED "hydraneckwebrtc_workers_troubled" Controller Gauge None []
        "Workers that are heard from and cannot be called, fail, or say that they cannot start sessions.";
    WORKERS_UNPROVED "hydraneckwebrtc_workers_unproved" Controller Gauge None []
        "Workers that are heard from and do not prove who they are.";
    FLEET_CAPACITY "hydraneckwebrtc_fleet_capacity" Controller Gauge None []
        "Sessions that the workers which take new ones may have in all.";
    FLEET_SESSIONS "hydraneckwebrtc_fleet_sessions" Controller Gauge None ["state"]
        "Sessions of the fleet: active, starting (creates under way), on_down_workers.";
    MOVES "hydraneckwebrtc_moves_total" Controller Counter None ["result"]
        "Moves of sessions to another worker: moved, failed (attempts at one worker), given_up (the session ended), limited (by sessions.move_limit).";
    FLEET_SETTLING "hydraneckwebrtc_fleet_settling" Controller Gauge None []
        "Whether the controller has just started and does not know yet which sessions there are.";
    LEASE_LEADS "hydraneckwebrtc_lease_leads" Controller Gauge None []
        "Whether this controller leads. Only with lease.etcd, as what follows.";
    LEASE_NUMBER "hydraneckwebrtc_lease_number" Controller Gauge None []
        "The number of the lease while this controller leads, else 0.";
    LEASE_LEFT "hydraneckwebrtc_lease_left_seconds" Controller Gauge Seconds []
        "How long this controller still leads if etcd does not answer any more.";
    LEASE_QUERIES "hydraneckwebrtc_lease_queries_total" Controller Counter None ["result"]
        "Questions to etcd: answered, failed.";
    DISPATCH_WAITING "hydraneckwebrtc_dispatch_jobs_waiting" Controller Gauge None []
        "Calls to workers that wait for one of workers.dispatch_threads.";
    WORKER_SESSIONS "hydraneckwebrtc_worker_sessions" Controller Gauge None ["worker"]
        "Sessions of a worker, creates under way included. The first 200 workers that have proved who they are.";
    WORKER_SESSIONS_MAX "hydraneckwebrtc_worker_sessions_max" Controller Gauge None ["worker"]
        "Sessions that a worker may have. The first 200 workers that have proved who they are.";
    WORKER_HEARTBEAT_AGE "hydraneckwebrtc_worker_heartbeat_age_seconds" Controller Gauge Seconds ["worker"]
        "Since a worker was last heard from. The first 200 workers that have proved who they are.";

    CREATES "hydraneckwebrtc_session_creates_total" Both Counter None ["status"]
        "Answers to POST /api/v1/sessions by HTTP status; what is refused for want of a token is not among them.";
    CREATE_DURATION "hydraneckwebrtc_session_create_duration_seconds" Both Histogram Seconds []
        "From the request for a session to the answer that it is ready (201).";

    SESSIONS "hydraneckwebrtc_sessions" Worker Gauge None ["state"]
        "Sessions that have not ended, by their state.";
    SESSIONS_MAX "hydraneckwebrtc_sessions_max" Worker Gauge None []
        "sessions.max: sessions that there may be at once.";
    SESSIONS_CREATED "hydraneckwebrtc_sessions_created_total" Worker Counter None ["engine"]
        "Sessions that were begun; ffmpeg stands for every process of the configuration.";
    SESSIONS_ENDED "hydraneckwebrtc_sessions_ended_total" Worker Counter None ["reason"]
        "Sessions that ended, by reason.";
    SESSION_RESTARTS "hydraneckwebrtc_session_restarts_total" Worker Counter None []
        "Times a session's process was started again.";
    PAIRING_DURATION "hydraneckwebrtc_session_pairing_duration_seconds" Worker Histogram Seconds []
        "Pairing with a body, without the wait for its turn.";
    INTERRUPTIONS "hydraneckwebrtc_session_interruptions_total" Worker Counter None []
        "Times a page lost its stream and got it back, as it says.";
    PATHS "hydraneckwebrtc_session_paths_total" Worker Counter None ["candidate"]
        "Ended sessions by the ICE candidate type of their stream's path, as the page said last; none without a connection.";
    RATINGS "hydraneckwebrtc_session_ratings_total" Worker Counter None ["stars"]
        "Sessions that were rated, by the stars first given.";
    DRAINING "hydraneckwebrtc_draining" Worker Gauge None []
        "Whether this worker takes no new sessions because it drains, stops, or has just started.";
    HINDRANCES "hydraneckwebrtc_hindrances" Worker Gauge None []
        "Things that keep this worker from starting sessions, without those that are meant.";
    WIREGUARD_UP "hydraneckwebrtc_wireguard_up" Worker Gauge None []
        "Whether there is a WireGuard interface.";
    WIREGUARD_NEEDED "hydraneckwebrtc_wireguard_needed" Worker Gauge None []
        "Whether bodies.wireguard_networks names any network.";
    DISK_FREE "hydraneckwebrtc_disk_free_bytes" Worker Gauge Bytes ["directory"]
        "What we may still write to the file system of server.state_dir (state) and sessions.data_dir (data).";
    DISK_FULL "hydraneckwebrtc_disk_full" Worker Gauge None ["directory"]
        "Whether that file system counts as full: less than 16 MiB or 256 files are left.";
    HEARTBEATS "hydraneckwebrtc_heartbeats_total" Worker Counter None ["result"]
        "Heartbeats to the controller: accepted, refused by it, or away: it was not reached or did not understand.";

    EDGE_CONNECTIONS "hydraneckwebrtc_edge_connections" Both Gauge None []
        "Open connections of clients.";
    EDGE_CONNECTIONS_MAX "hydraneckwebrtc_edge_connections_max" Both Gauge None []
        "Connections of clients that there may be: edge.max_connections, or what descriptors allow.";
    EDGE_ACCEPTED "hydraneckwebrtc_edge_connections_accepted_total" Both Counter None []
        "Connections of clients that were accepted.";
    EDGE_REQUESTS "hydraneckwebrtc_edge_requests_total" Both Counter None ["route", "status"]
        "Replies to requests by what was asked (api, metrics, session, rooms, page, malformed) and class of the status.";
    EDGE_RECEIVED "hydraneckwebrtc_edge_received_bytes_total" Both Counter Bytes []
        "Bytes from clients, without TLS and what is below.";
    EDGE_SENT "hydraneckwebrtc_edge_sent_bytes_total" Both Counter Bytes []
        "Bytes to clients, without TLS and what is below.";
    EDGE_TUNNELS "hydraneckwebrtc_edge_tunnels" Both Gauge None []
        "Open WebSockets and other upgraded connections.";
    EDGE_EVENT_STREAMS "hydraneckwebrtc_edge_event_streams" Both Gauge None []
        "Open event streams of pages.";
    EDGE_LIMITS "hydraneckwebrtc_limits_hit_total" Both Counter None ["limit"]
        "Requests and connections that were refused because a limit was met, by its name, as the reply has it.";
    EDGE_UPSTREAMS "hydraneckwebrtc_edge_upstream_failures_total" Both Counter None ["failure"]
        "Requests whose upstream (a worker, a session's process) was unreachable, or whose reply was broken.";
    EDGE_HANDSHAKES "hydraneckwebrtc_edge_tls_handshakes_total" Both Counter None ["result"]
        "TLS handshakes with clients that came to an end: done or failed.";

    MEDIA_PEERS "hydraneckwebrtc_media_peers" Worker Gauge None ["role"]
        "WebRTC peers, those that are not connected yet included: viewer, publisher, mic.";
    MEDIA_PEERS_MAX "hydraneckwebrtc_media_peers_max" Worker Gauge None []
        "WebRTC peers that there may be: webrtc.max_peers, and no more than webrtc.epr has ports.";
    MEDIA_PENDING "hydraneckwebrtc_media_peers_pending" Worker Gauge None []
        "Peers that nothing was heard of yet.";
    MEDIA_ACCEPTED "hydraneckwebrtc_media_peers_accepted_total" Worker Counter None []
        "Offers that were answered.";
    MEDIA_CONNECTED "hydraneckwebrtc_media_peers_connected_total" Worker Counter None []
        "Peers that connected.";
    MEDIA_PACKETS "hydraneckwebrtc_media_packets_total" Worker Counter None ["direction"]
        "Datagrams and ICE-TCP frames with browsers: in, out.";
    MEDIA_BYTES "hydraneckwebrtc_media_bytes_total" Worker Counter Bytes ["direction"]
        "Bytes of these, without UDP, TCP and IP.";
    MEDIA_BATCHES "hydraneckwebrtc_media_send_batches_total" Worker Counter None []
        "Sends of UDP: one takes several datagrams where they go the same way.";
    MEDIA_DROPPED "hydraneckwebrtc_media_dropped_packets_total" Worker Counter None ["why"]
        "Packets that went no further: unknown (of no peer), bad, spoofed, refused (by the peer's session), unproved (the address \
         did not prove that it reads), queue (one was full), send (the network refused), nonce (its number was used).";
    MEDIA_FOREIGN "hydraneckwebrtc_media_passed_packets_total" Worker Counter None []
        "Datagrams that one media thread heard for another.";
    MEDIA_LAG "hydraneckwebrtc_media_loop_lag_seconds" Worker Histogram Seconds []
        "How late media threads are for what they wanted to do.";
    MEDIA_PICTURES "hydraneckwebrtc_media_key_frame_requests_total" Worker Counter None []
        "Requests of viewers for a whole picture (PLI, FIR).";
    MEDIA_VIEWERS "hydraneckwebrtc_media_viewers_total" Worker Counter None ["sending"]
        "Viewers that connected, by who encrypts and sends their media: own (the worker), or its WebRTC library because they are measured, \
         agreed on an other_profile, or there are no_keys.";
    MEDIA_RESENT "hydraneckwebrtc_media_resent_packets_total" Worker Counter None []
        "Packets that the worker sent again to viewers of its own sending.";
    MEDIA_TCP "hydraneckwebrtc_media_tcp_connections_total" Worker Counter None ["result"]
        "ICE-TCP connections: accepted, and of these refused because of what they sent or did not send.";
    MIC_PACKETS "hydraneckwebrtc_mic_packets_total" Worker Counter None []
        "Packets of microphones that were sent to bodies.";
    MIC_UNREACHABLE "hydraneckwebrtc_mic_bodies_unreachable_total" Worker Counter None []
        "Answers of the network that a body takes no microphone.";
    ROOMS "hydraneckwebrtc_rooms" Worker Gauge None []
        "Rooms that are here, empty ones included.";
    ROOM_MEMBERS "hydraneckwebrtc_room_members" Worker Gauge None []
        "Members of all rooms here.";
    ROOM_CONNECTIONS "hydraneckwebrtc_room_connections" Worker Gauge None []
        "Signalling connections of rooms, with those that have joined none yet.";
    ROOM_MEMBERS_DETACHED "hydraneckwebrtc_room_members_detached" Worker Gauge None []
        "Members of rooms whose signalling is broken; their media goes on.";

    OUTBOX_ITEMS "hydraneckwebrtc_outbox_items" Both Gauge None []
        "Records, ratings and events that wait to be delivered, those that are not due included.";
    OUTBOX_BYTES "hydraneckwebrtc_outbox_bytes" Both Gauge Bytes []
        "What they take of the disk.";
    OUTBOX_OVERDUE "hydraneckwebrtc_outbox_overdue_seconds" Both Gauge Seconds []
        "For how long the oldest of them has been due.";
    OUTBOX_DEAD "hydraneckwebrtc_outbox_dead_items" Both Gauge None []
        "Dead letters: what could not be delivered and waits for an operator in outbox/dead.";
    OUTBOX_REFUSED "hydraneckwebrtc_outbox_refused_total" Both Counter None []
        "Items that were not taken because the outbox or the disk was full.";
    OUTBOX_DELIVERIES "hydraneckwebrtc_outbox_deliveries_total" Both Counter None ["receiver", "result"]
        "Attempts by receiver (nps, experience_library, webhooks): delivered, failed (and tried again), refused (a dead letter).";
    RECORDS_OWED "hydraneckwebrtc_records_owed" Worker Gauge None []
        "Sessions whose record or file waits in memory for a disk with room.";

    CERTIFICATE_GOOD "hydraneckwebrtc_certificate_good" Both Gauge None ["source"]
        "Whether a certificate is served that is good now, from server.domain (domain) or server.tls (files). None of these without HTTPS.";
    CERTIFICATE_NOT_BEFORE "hydraneckwebrtc_certificate_not_before_timestamp_seconds" Both Gauge Seconds ["source"]
        "From when on the certificate that is served is good, in seconds since 1970.";
    CERTIFICATE_NOT_AFTER "hydraneckwebrtc_certificate_not_after_timestamp_seconds" Both Gauge Seconds ["source"]
        "Until when the certificate that is served is good, in seconds since 1970.";
    CERTIFICATE_FAILED_TRIES "hydraneckwebrtc_certificate_failed_tries" Both Gauge None []
        "Tries to get the certificate of server.domain that failed since one succeeded, over restarts.";
    CERTIFICATE_NEXT_TRY "hydraneckwebrtc_certificate_next_try_timestamp_seconds" Both Gauge Seconds []
        "When the certificate of server.domain is got or renewed next, in seconds since 1970.";
    CERTIFICATE_TRIES "hydraneckwebrtc_certificate_tries_total" Both Counter None ["result"]
        "Tries to get the certificate of server.domain since the start: issued, failed.";
    UPDATE_AVAILABLE "hydraneckwebrtc_update_available" Both Gauge None []
        "Whether there is a version newer than this one, signed for the channel of update.channel.";

    PROCESS_CPU "process_cpu_seconds_total" Both Counter Seconds []
        "Processor time of this process, of user and system.";
    PROCESS_MEMORY "process_resident_memory_bytes" Both Gauge Bytes []
        "Resident memory of this process.";
    PROCESS_VIRTUAL "process_virtual_memory_bytes" Both Gauge Bytes []
        "Virtual memory of this process.";
    PROCESS_FDS "process_open_fds" Both Gauge None []
        "Open file descriptors of this process.";
    PROCESS_FDS_MAX "process_max_fds" Both Gauge None []
        "File descriptors that this process may have.";
    PROCESS_THREADS "process_threads" Both Gauge None []
        "Threads of this process.";
    PROCESS_START "process_start_time_seconds" Both Gauge Seconds []
        "When this role started, in seconds since 1970.";
}

/// Values of `status` for answers to a create.
pub const CREATE_STATUSES: &[&str] =
    &["201", "202", "400", "403", "409", "500", "502", "503", "504", "other"];

/// Upper bounds of how long a create takes, in milliseconds: `sessions.create_timeout` is 45 s by default.
pub const CREATE_BOUNDS_MS: &[u64] = &[250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 45_000, 90_000];

/// The same of a pairing: most of a second as a rule.
pub const PAIRING_BOUNDS_MS: &[u64] = &[100, 250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 45_000];

/// The same of the lag of a media thread: beyond 50 ms people hear it.
pub const LAG_BOUNDS_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 250, 500, 1_000];

/// Values of `reason`: the codes of every reason.
pub const END_REASONS: &[&str; EndReason::ALL.len()] = &{
    let mut codes = [""; EndReason::ALL.len()];
    let mut at = 0;
    while at < codes.len() {
        codes[at] = EndReason::ALL[at].code();
        at += 1;
    }
    codes
};

/// Values of `limit`: the stable names of limits that replies have.
pub const LIMITS: &[&str] = &[
    "edge.max_connections",
    "edge.max_connections_per_address",
    "edge.rate_limit_per_address",
    "edge.rate_limit_per_session",
    "requests_under_way_per_session",
    "requests_per_session_and_address",
    "tunnels_and_event_streams",
    "sockets_per_session",
    "event_streams",
    "event_streams_per_session",
    "operator_pages",
    "event_streams_per_address",
    "webrtc.max_peers",
    "webrtc.max_viewers",
    "peers_per_address",
    "unfinished_peers",
    "unfinished_peers_per_session",
    "unfinished_peers_per_address",
    "other",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_unit_and_kind_as_prometheus_wants_it() {
        let mut seen = BTreeSet::new();
        for metric in METRICS {
            let Metric { name, kind, unit, help, .. } = metric;
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("hydraneckwebrtc_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let base = name.strip_suffix("_total");
            assert_eq!(*kind == Kind::Counter, base.is_some(), "{name}");
            let base = base.unwrap_or(name);
            for (word, is) in [("seconds", Unit::Seconds), ("bytes", Unit::Bytes)] {
                assert_eq!(base.ends_with(&format!("_{word}")), *unit == is, "{name}");
            }
            assert!(help.ends_with('.') && help.len() > 20 && !help.contains('\n'), "{name}: {help}");
        }
    }

    #[test]
    fn reasons_are_those_that_there_are() {
        assert_eq!(END_REASONS.to_vec(), EndReason::ALL.map(EndReason::code));
    }
}
