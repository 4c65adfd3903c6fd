//! What heartbeats of all simulations have in common.

use hydraneckwebrtc::core::fleet::wire::{Generation, Heartbeat, SessionBrief, WorkerStatus};
use hydraneckwebrtc::core::ids::{BodyAddr, SessionId, WorkerId};
use hydraneckwebrtc::core::session::status::SessionStatus;

/// A heartbeat of a sound worker without slots and sessions, of wire 0.
pub fn plain_beat(worker_id: WorkerId, generation: Generation, seq: u64, interval_ms: u64) -> Heartbeat {
    Heartbeat {
        worker_id,
        generation,
        seq,
        url: None,
        port: 47_990,
        tls: false,
        version: "1.0.0".into(),
        max: 0,
        wireguard: true,
        draining: false,
        stopping: false,
        status: WorkerStatus::Ok,
        interval_ms,
        clock_ms: None,
        lease: 0,
        wire: 0,
        challenge: None,
        hindrances: Vec::new(),
        allowed_bodies: None,
        drain_left_ms: None,
        sessions: Vec::new(),
        unchanged_since: None,
        rooms: None,
    }
}

/// A ready session of this age, that nobody has connected to.
pub fn plain_brief(id: SessionId, body: BodyAddr, age_ms: u64) -> SessionBrief {
    SessionBrief {
        id,
        body,
        status: SessionStatus::Ready,
        reason: None,
        started_ms_ago: age_ms,
        connections: 0,
        experience: None,
        district: None,
        age_ms,
        view_id: None,
        fault: None,
        copy: 0,
        movable: false,
        facts: Default::default(),
    }
}
