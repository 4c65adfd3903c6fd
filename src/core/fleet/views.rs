//! What others may read of the fleet.

use std::net::IpAddr;
use std::time::Duration;

use super::identity::PublicKey;
use super::wire::{Hindrance, SessionFacts, Stops, WorkerStatus};
use crate::core::fleet::worker_health::{WorkerHealth, judge};
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;

/// Where requests for a session go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this worker, which also shows why an ended session ended.
    Worker {
        /// Its name.
        worker: WorkerId,
        /// How it is reached.
        url: String,
    },
    /// Its worker is not heard from.
    Down {
        /// Its name.
        worker: WorkerId,
    },
    /// It is on its way to another worker. 503.
    Moving,
    /// Not known yet: the controller has just started. 503.
    Settling {
        /// For `Retry-After`.
        retry_after: Duration,
    },
    /// 404.
    Unknown,
}

/// When a worker was heard. It goes with the view of it, so that whoever reads the view later judges its health by himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When the view was made.
    pub viewed: Moment,
    /// Its last beat, or answer to a call.
    pub last: Moment,
    /// What it promised.
    pub interval: Duration,
    /// `workers.heartbeat_timeout`
    pub timeout: Duration,
}

/// A worker in `GET /api/v1/workers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub id: WorkerId,
    /// How it is reached.
    pub url: String,
    /// Where its last beat came from.
    pub source: IpAddr,
    /// The key that its id belongs to; `None`: it has not proved itself.
    pub key: Option<PublicKey>,
    /// Its version.
    pub version: String,
    /// Whether it is heard from.
    pub health: WorkerHealth,
    /// What that is judged by.
    pub heard: Heard,
    /// What it thinks of itself.
    pub status: WorkerStatus,
    /// Since its last heartbeat.
    pub last_heartbeat_age: Duration,
    /// Live sessions.
    pub active: u32,
    /// Slots held for creates under way.
    pub reserved: u32,
    /// Slots in all.
    pub max: u32,
    /// Whether it has a WireGuard interface.
    pub wireguard: bool,
    /// The operator drains it.
    pub draining: bool,
    /// It is going down by itself.
    pub stopping: bool,
    /// It sends heartbeats and cannot be called.
    pub unreachable: bool,
    /// How long until it ends what is left of its sessions, while it drains.
    pub drains_for: Option<Duration>,
    /// Why it gets no sessions for a while, though it is up.
    pub trouble: Option<String>,
    /// What keeps it from starting sessions, in its own words.
    pub hindrances: Vec<Hindrance>,
}

impl WorkerView {
    /// Its health at `now`, whenever the view was made.
    pub fn health_at(&self, now: Moment) -> WorkerHealth {
        let Heard { last, interval, timeout, .. } = self.heard;
        judge(now, last, interval, timeout)
    }

    /// Since its last heartbeat at `now`, if nothing was heard since the view was made.
    pub fn last_heartbeat_age_at(&self, now: Moment) -> Duration {
        self.last_heartbeat_age.saturating_add(now.since(self.heard.viewed))
    }

    /// The view as it is at `now`, if nothing was heard since it was made.
    pub fn at(&self, now: Moment) -> WorkerView {
        let since = now.since(self.heard.viewed);
        WorkerView {
            health: self.health_at(now),
            last_heartbeat_age: self.last_heartbeat_age_at(now),
            heard: Heard { viewed: now, ..self.heard },
            drains_for: self.drains_for.map(|left| left.saturating_sub(since)),
            ..self.clone()
        }
    }

    /// The word for it in lists: one that cannot be called is neither up nor late.
    pub fn standing(&self) -> &'static str {
        self.standing_in(self.health)
    }

    /// The same in this health.
    pub fn standing_in(&self, health: WorkerHealth) -> &'static str {
        match health {
            WorkerHealth::Up | WorkerHealth::Late if self.unreachable => "unreachable",
            health => health.name(),
        }
    }

    /// Everything that keeps sessions from it.
    pub fn troubles(&self) -> impl Iterator<Item = &str> {
        let hindrances = self
            .hindrances
            .iter()
            .filter(|hindrance| !hindrance.meant)
            .map(|hindrance| hindrance.reason.as_str());
        self.trouble.as_deref().into_iter().chain(hindrances)
    }

    pub(super) fn takes_sessions(&self) -> bool {
        let stopped = self.hindrances.iter().any(|hindrance| hindrance.stops == Stops::Everything);
        self.health == WorkerHealth::Up
            && !self.draining
            && !self.stopping
            && !stopped
            && self.trouble.is_none()
    }
}

/// A session in `GET /api/v1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Its worker.
    pub worker: WorkerId,
    /// Its body.
    pub body: BodyAddr,
    /// Where in its life; `down` while its worker is, `moving` while it is on its way to another one.
    pub status: SessionStatus,
    /// Why it ended.
    pub reason: Option<EndReason>,
    /// What was launched on the body.
    pub experience: Option<String>,
    /// Where the person is.
    pub district: Option<String>,
    /// How long it has lived.
    pub age: Duration,
    /// Open browser connections.
    pub connections: u32,
    /// Why it is about to end by our order.
    pub ending_as: Option<EndReason>,
    /// The id of its link that only watches.
    pub view_id: Option<SessionId>,
    /// For how long it has been over.
    pub ended_for: Option<Duration>,
    /// How often it has moved.
    pub moves: u32,
    /// What operators see of it beside that.
    pub facts: SessionFacts,
}

impl SessionView {
    /// The session as it is `since` later, if nothing was heard since the view was made and its worker is in this health. What is
    /// over does not age, nor does what nobody hears of.
    pub fn later(&self, since: Duration, health: WorkerHealth) -> SessionView {
        let mut view = self.clone();
        match (self.status.is_live(), health) {
            _ if self.status == SessionStatus::Moving => {}
            (true, WorkerHealth::Down) => view.status = SessionStatus::Down,
            (true, _) if self.status != SessionStatus::Down => view.age += since,
            _ => {}
        }
        view.ended_for = self.ended_for.map(|ended| ended + since);
        view
    }
}

/// The fleet in numbers, for health replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Workers heard from in time.
    pub up: usize,
    /// Workers that missed a beat.
    pub late: usize,
    /// Workers not heard from.
    pub down: usize,
    /// Of the workers up or late: no new sessions there.
    pub draining: usize,
    /// Live sessions on workers that are not down.
    pub active: u64,
    /// Live sessions on workers that are down.
    pub lost_sight_of: u64,
    /// Creates under way.
    pub reserved: u64,
    /// Slots of workers that are up, not draining, and able to start sessions.
    pub capacity: u64,
    /// Workers up or late that cannot be called, fail, or say that they cannot start sessions.
    pub troubled: usize,
    /// Workers up or late that have not proved who they are.
    pub unproved: usize,
}

impl Counts {
    /// What one worker adds.
    pub(super) fn of(view: &WorkerView) -> Counts {
        let is = |health| usize::from(view.health == health);
        let heard = view.health != WorkerHealth::Down;
        let of_heard = |yes: bool| usize::from(heard && yes);
        let active = u64::from(view.active);
        Counts {
            up: is(WorkerHealth::Up),
            late: is(WorkerHealth::Late),
            down: is(WorkerHealth::Down),
            draining: of_heard(view.draining || view.stopping),
            active: if heard { active } else { 0 },
            lost_sight_of: if heard { 0 } else { active },
            reserved: u64::from(view.reserved),
            capacity: if view.takes_sessions() { u64::from(view.max) } else { 0 },
            troubled: of_heard(view.troubles().next().is_some()),
            unproved: of_heard(view.key.is_none()),
        }
    }

    pub(super) fn add(&mut self, more: &Counts) {
        self.combine(more, u64::saturating_add, usize::saturating_add);
    }

    pub(super) fn take(&mut self, less: &Counts) {
        self.combine(less, u64::saturating_sub, usize::saturating_sub);
    }

    fn combine(&mut self, other: &Counts, slots: fn(u64, u64) -> u64, workers: fn(usize, usize) -> usize) {
        *self = Counts {
            up: workers(self.up, other.up),
            late: workers(self.late, other.late),
            down: workers(self.down, other.down),
            draining: workers(self.draining, other.draining),
            active: slots(self.active, other.active),
            lost_sight_of: slots(self.lost_sight_of, other.lost_sight_of),
            reserved: slots(self.reserved, other.reserved),
            capacity: slots(self.capacity, other.capacity),
            troubled: workers(self.troubled, other.troubled),
            unproved: workers(self.unproved, other.unproved),
        };
    }
}
