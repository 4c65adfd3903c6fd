//! What the fleet shows of itself: where requests go, workers, sessions, sums.

use std::net::IpAddr;
use std::time::Duration;

use super::ledger::Session;
use super::views::{Counts, Heard, Route, SessionView, WorkerView};
use super::{Fleet, Work, Worker};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::{SessionId, WorkerId};
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;

impl Fleet {
    /// Where requests for a session go.
    pub fn lookup(&self, now: Moment, session_id: &SessionId) -> Route {
        let session = self.ledger.session(session_id);
        if session.is_some_and(|session| self.is_moving(now, session)) {
            return Route::Moving;
        }
        let session = session.map(|session| &session.worker);
        let reserved = || self.ledger.reservation(session_id).map(|reservation| &reservation.worker);
        let found = session.or_else(reserved).and_then(|id| self.workers.get_key_value(id));
        match (found, self.settling_until(now)) {
            (Some((id, worker)), _) if self.health_of(now, worker) == WorkerHealth::Down => {
                Route::Down { worker: id.clone() }
            }
            (Some((id, worker)), _) => Route::Worker { worker: id.clone(), url: worker.url.clone() },
            (None, Some(until)) => Route::Settling { retry_after: until.since(now) },
            (None, None) => Route::Unknown,
        }
    }

    /// All workers, by id.
    pub fn workers(&self, now: Moment) -> Vec<WorkerView> {
        self.workers.iter().map(|(id, worker)| self.worker_view(now, id, worker)).collect()
    }

    /// One worker.
    pub fn worker(&self, now: Moment, id: &WorkerId) -> Option<WorkerView> {
        self.workers.get(id).map(|worker| self.worker_view(now, id, worker))
    }

    /// All sessions, by id, ended ones included as long as their worker remembers them.
    pub fn sessions(&self, now: Moment) -> Vec<SessionView> {
        self.ledger.sessions().map(|session| self.session_view(now, session)).collect()
    }

    /// One session.
    pub fn session(&self, now: Moment, id: &SessionId) -> Option<SessionView> {
        self.ledger.session(id).map(|session| self.session_view(now, session))
    }

    /// The fleet in numbers.
    pub fn counts(&self, now: Moment) -> Counts {
        let mut counts = Counts::default();
        self.workers(now).iter().for_each(|view| counts.add(&Counts::of(view)));
        counts
    }

    /// Whether this worker is in the books.
    pub fn knows(&self, id: &WorkerId) -> bool {
        self.workers.contains_key(id)
    }

    /// Where a worker's last beat came from.
    pub fn source_of(&self, id: &WorkerId) -> Option<IpAddr> {
        self.workers.get(id).map(|worker| worker.source)
    }

    pub(super) fn worker_view(&self, now: Moment, id: &WorkerId, worker: &Worker) -> WorkerView {
        self.count_work(Work { workers: 1, ..Work::default() });
        let (active, reserved) = self.ledger.active_and_reserved(id);
        WorkerView {
            id: id.clone(),
            url: worker.url.clone(),
            source: worker.source,
            key: self.identities.key(id).copied(),
            version: worker.version.clone(),
            health: self.health_of(now, worker),
            heard: Heard {
                viewed: now,
                last: worker.heard,
                interval: worker.interval,
                timeout: self.settings.heartbeat_timeout,
            },
            status: worker.status,
            last_heartbeat_age: now.since(worker.last_beat),
            active,
            reserved,
            max: worker.max,
            wireguard: worker.wireguard,
            draining: worker.drain,
            stopping: worker.stopping,
            unreachable: self.is_unreachable(id),
            drains_for: worker.drains_until.map(|until| until.since(now)),
            trouble: self.trouble_of(id),
            hindrances: worker.hindrances.clone(),
        }
    }

    pub(super) fn session_view(&self, now: Moment, session: &Session) -> SessionView {
        self.count_work(Work { sessions: 1, ..Work::default() });
        let moving = self.is_moving(now, session);
        let down = session.is_live() && self.health(now, &session.worker) == WorkerHealth::Down;
        let since =
            if session.is_live() && !down && !moving { now.since(session.seen) } else { Duration::ZERO };
        let brief = &session.brief;
        SessionView {
            id: brief.id.clone(),
            worker: session.worker.clone(),
            body: brief.body,
            status: match (moving, down) {
                (true, _) => SessionStatus::Moving,
                (false, true) => SessionStatus::Down,
                (false, false) => brief.status,
            },
            reason: brief.reason.filter(|_| !moving),
            experience: brief.experience.clone(),
            district: brief.district.clone(),
            age: Duration::from_millis(brief.age_ms) + since,
            connections: brief.connections,
            ending_as: session.condemned.filter(|_| session.holds_body()),
            view_id: brief.view_id.clone(),
            ended_for: (!session.is_live() && !moving).then(|| {
                let told = brief.started_ms_ago.saturating_sub(brief.age_ms);
                Duration::from_millis(told) + now.since(session.seen)
            }),
            moves: brief.copy,
            facts: brief.facts.clone(),
        }
    }
}
