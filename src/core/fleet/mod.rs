//! The controller's knowledge of its workers and their sessions: one owner, all of it soft.
//!
//! What it is for: choosing a worker for each create and reserving the slot, finding the worker of a session, and
//! being whole again two heartbeats after a restart. Who owns it: the controller's one fleet thread; others ask by
//! message or read what it publishes. What it never does: read a clock, talk to a worker, forget a slot.
//!
//! A session in the controller's books:
//!
//! ```text
//!           reserve            confirm, or a beat lists it            a beat or `ended` says so
//!  (none) ──────────> reserved ───────────────────────────> live ─────────────────────────────> ended
//!    ^                 │   ^ │                                │ ^                                 │
//!    │  release, expiry│   └─┘ try_next                condemn│ │ (it stays condemned             │
//!    │<────────────────┘                                      v │  while it is listed as live)    │
//!    │                                                    condemned ──────────────────────────> ended
//!    │                                                                                            │
//!    └──── a later beat does not list it, its worker restarted, or was down for FORGET_AFTER <────┘
//! ```
//! A session that is live may go on at another worker: see [`moves`].
//!
//! A beat that lists an unknown session adopts it straight as live (or ended): that is how a restarted controller
//! learns of them. The session of an *abandoned* reservation (answer lost) is adopted and condemned.
//!
//! Facts of one worker are ordered by [`Stamp`]: beats and answers may overtake each other on the network, and an
//! older one never undoes a newer one.

pub mod bodies;
mod body_entry;
mod changes;
pub mod disputes;
mod experience;
pub mod failures;
pub mod fence;
pub mod identity;
mod intake;
mod invariants;
mod ledger;
pub mod left_behind;
mod left_copies;
pub mod listing;
mod move_order;
pub mod moves;
pub mod parcel;
mod placed;
mod placement;
mod ranks;
pub mod routing;
mod shown;
pub mod standstill;
mod takeover;
mod tally;
#[cfg(test)]
mod tests;
pub mod turns;
mod views;
pub mod wire;
pub mod worker_health;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::settings::{MovePolicy, Network, Settings};
use crate::core::fleet::worker_health::{WorkerHealth, judge};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::time::Moment;

use self::bodies::{Bodies, Unwritten};
use self::failures::{BackOff, Failures};
use self::identity::Identities;
pub use self::intake::BeatOutcome;
use self::ledger::Ledger;
use self::left_copies::LeftBehind;
use self::move_order::{MoveCounts, MoveHistory};
pub use self::placed::{CreateSpec, Placed, Refused};
use self::ranks::Offer;
pub use self::tally::{Changes, Way, Whereabouts, Work};
use self::tally::{Meter, Tally};
pub use self::views::{Counts, Heard, Route, SessionView, WorkerView};
use self::wire::{Hindrance, SessionBrief, Stamp, WorkerStatus};

/// How long a worker that is down stays listed with its sessions, for the operator to see what was lost.
pub const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// What a reservation outlives `sessions.create_timeout` by: the create's own deadline fires first, this is the net
/// below it.
pub const RESERVATION_MARGIN: Duration = Duration::from_secs(15);

/// Beats after a restart for which an unknown session is "not known yet" instead of "unknown".
pub const SETTLING_BEATS: u32 = 2;

/// Beats a worker must have a chance to send within `workers.heartbeat_timeout`.
const BEATS_PER_TIMEOUT: u32 = 3;

/// Shortest interval a worker is believed: below, ordinary jitter would make it late all the time.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// What the fleet needs of the settings.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// `workers.max`: beyond, heartbeats are refused. Bounds memory against a loop that makes up ids.
    pub max_workers: usize,
    /// `workers.heartbeat_interval`
    pub heartbeat_interval: Duration,
    /// `workers.heartbeat_timeout`
    pub heartbeat_timeout: Duration,
    /// `sessions.create_timeout`
    pub create_timeout: Duration,
    /// `bodies.wireguard_networks`
    pub wireguard_networks: Vec<Network>,
    /// `workers.backoff` and `workers.backoff_max`
    pub back_off: BackOff,
    /// `sessions.move`
    pub moves: MovePolicy,
    /// `sessions.move_limit`: moves of one session in an hour.
    pub move_limit: u32,
    /// `drain.timeout`: sessions that are watched move once half of it is over.
    pub drain_timeout: Duration,
}

impl From<&Settings> for FleetSettings {
    fn from(settings: &Settings) -> FleetSettings {
        FleetSettings {
            max_workers: settings.workers.max,
            heartbeat_interval: settings.workers.heartbeat_interval,
            heartbeat_timeout: settings.workers.heartbeat_timeout,
            create_timeout: settings.sessions.create_timeout,
            wireguard_networks: settings.bodies.wireguard_networks.clone(),
            back_off: BackOff { first: settings.workers.backoff, longest: settings.workers.backoff_max },
            moves: settings.sessions.moves,
            move_limit: settings.sessions.move_limit,
            drain_timeout: settings.drain_timeout,
        }
    }
}

/// A worker as last heard.
#[derive(Clone, Debug)]
struct Worker {
    url: String,
    /// Where its last beat came from.
    source: IpAddr,
    version: String,
    stamp: Stamp,
    max: u32,
    wireguard: bool,
    status: WorkerStatus,
    interval: Duration,
    last_beat: Moment,
    /// Its last beat, or answer to a call.
    heard: Moment,
    /// Whether its address is known to be right.
    called: Called,
    /// When it was asked for a call last, or answered one.
    call_at: Moment,
    /// It is called without a create, too.
    calls_first: bool,
    /// Its last list of sessions, where it leaves out those that have not changed.
    list: Option<List>,
    /// When this process of it was first heard at this address.
    since: Moment,
    /// What keeps it from starting sessions.
    hindrances: Vec<Hindrance>,
    /// When it ends what is left of its sessions, while it drains.
    drains_until: Option<Moment>,
    /// Which bodies it may dial, where it says so.
    allowed_bodies: Option<Vec<Network>>,
    /// The operator's wish.
    drain: bool,
    /// The worker's own.
    stopping: bool,
    /// Its version of the wire.
    wire: u32,
    /// Whether its sessions move when it drains, where the operator said so.
    move_out: Option<bool>,
    /// Last health told by [`Fleet::tick`] or a beat, so that each change is told once.
    told: WorkerHealth,
}

impl Worker {
    fn offer(&self) -> Offer {
        Offer { max: self.max, wireguard: self.wireguard, called: self.called == Called::Answered }
    }
}

/// A list of sessions, to stand for those that a worker leaves out.
#[derive(Clone, Debug)]
struct List {
    /// The beat that brought it, and when.
    stamp: Stamp,
    taken: Moment,
    sessions: Vec<SessionBrief>,
}

/// Whether a worker was called at its present address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// Not yet.
    Never,
    /// A call was asked for then.
    Asked(Moment),
    /// It answered.
    Answered,
}

/// Something an operator may want to read in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetEvent {
    /// First heartbeat of a worker.
    WorkerJoined(WorkerId),
    /// From now on the id belongs to the key that signed.
    WorkerProved(WorkerId),
    /// A new process of a known worker; this many live sessions of the old one are gone.
    WorkerRestarted(WorkerId, usize),
    /// A worker's health changed from the first to the second.
    WorkerHealth(WorkerId, WorkerHealth, WorkerHealth),
    /// A worker that is going down as it said is no longer heard of.
    WorkerLeft(WorkerId),
    /// A worker fails, for this reason, and is left alone for this long.
    WorkerPaused(WorkerId, Duration, String),
    /// A worker that failed works again.
    WorkerTrusted(WorkerId),
    /// A worker says that this keeps it from starting sessions.
    WorkerHindered(WorkerId, String),
    /// Nothing keeps a worker from starting sessions any more.
    WorkerUnhindered(WorkerId),
    /// A worker was down for [`FORGET_AFTER`]; it and its sessions are no longer listed.
    WorkerForgotten(WorkerId),
    /// A live session was taken over from a heartbeat without a create of ours.
    SessionAdopted(SessionId, WorkerId),
    /// A live session is gone without having been listed as ended.
    SessionLost(SessionId, WorkerId),
    /// Two sessions hold one body: the first is told to end as `replaced`, the second stays.
    SessionReplaced(SessionId, SessionId),
    /// A create neither succeeded nor failed in time; its slot is free again.
    ReservationExpired(SessionId, WorkerId),
    /// A session of the first worker goes on at the second.
    SessionMoved(SessionId, WorkerId, WorkerId),
    /// The worker that a session was to move to never answered.
    MoveExpired(SessionId, WorkerId),
    /// A session that its worker let go ends, because no other one took it.
    MoveGivenUp(SessionId),
    /// A worker with so many sessions, as an earlier leader knew, told nothing since this controller leads: they hold no bodies any more.
    BodiesFreed(WorkerId, usize),
    /// So many copies of sessions that moved are forgotten although their workers were not heard since: there are too many, or it was too long ago.
    LeftForgotten(usize),
}

impl fmt::Display for FleetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FleetEvent::WorkerJoined(id) => write!(f, "worker {id} joined"),
            FleetEvent::WorkerProved(id) => {
                write!(f, "worker {id} has proved itself; its id belongs to its key")
            }
            FleetEvent::WorkerRestarted(id, lost) => write!(f, "worker {id} restarted, {lost} sessions lost"),
            FleetEvent::WorkerHealth(id, from, to) => write!(f, "worker {id} is {to}, was {from}"),
            FleetEvent::WorkerLeft(id) => write!(f, "worker {id} has stopped, as it said"),
            FleetEvent::WorkerPaused(id, pause, why) => {
                write!(f, "worker {id} gets no sessions for {} ms: {why}", pause.as_millis())
            }
            FleetEvent::WorkerTrusted(id) => write!(f, "worker {id} works again"),
            FleetEvent::WorkerHindered(id, why) => write!(f, "worker {id} cannot start sessions: {why}"),
            FleetEvent::WorkerUnhindered(id) => write!(f, "worker {id} can start sessions again"),
            FleetEvent::WorkerForgotten(id) => write!(f, "worker {id} was down too long and is forgotten"),
            FleetEvent::SessionAdopted(id, worker) => write!(f, "session {id} on worker {worker} taken over"),
            FleetEvent::SessionLost(id, worker) => write!(f, "session {id} on worker {worker} is gone"),
            FleetEvent::SessionReplaced(old, new) => write!(f, "session {old} gives way to {new}: same body"),
            FleetEvent::ReservationExpired(id, worker) => {
                write!(
                    f,
                    "create of session {id} on worker {worker} was never answered; its slot is free again"
                )
            }
            FleetEvent::SessionMoved(id, from, to) => {
                write!(f, "session {id} has moved from worker {from} to worker {to}")
            }
            FleetEvent::MoveExpired(id, to) => {
                write!(
                    f,
                    "the move of session {id} to worker {to} was never answered; its slot is free again"
                )
            }
            FleetEvent::MoveGivenUp(id) => {
                write!(f, "session {id} had to move and no worker took it: it ends as drained")
            }
            FleetEvent::BodiesFreed(id, count) => write!(
                f,
                "worker {id}, which had {count} sessions when another controller led, is not heard of: it counts as down, and their bodies \
                 are free"
            ),
            FleetEvent::LeftForgotten(count) => write!(
                f,
                "{count} sessions that moved away from workers that are not heard of are forgotten: if those come back, these sessions \
                 get a second record"
            ),
        }
    }
}

/// A takeover under way.
#[derive(Clone, Debug)]
struct Takeover {
    number: u64,
    until: Moment,
    /// Workers that have not told the number yet.
    waiting: BTreeSet<WorkerId>,
}

/// The controller's soft state. Every method that depends on time takes `now`.
#[derive(Debug)]
pub struct Fleet {
    settings: FleetSettings,
    started: Moment,
    /// When it was last said to run ([`Fleet::runs`]).
    ran: Moment,
    workers: BTreeMap<WorkerId, Worker>,
    identities: Identities,
    ledger: Ledger,
    failures: BTreeMap<WorkerId, Failures>,
    /// Workers to be drained, where several controllers read it at one place.
    drains: Option<BTreeSet<WorkerId>>,
    /// This controller begins to lead.
    takeover: Option<Takeover>,
    bodies: Bodies,
    unwritten: Unwritten,
    left_behind: LeftBehind,
    moves: BTreeMap<SessionId, MoveHistory>,
    move_counts: MoveCounts,
    tally: Tally,
    work: Meter,
}

/// Why a worker is not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForgotten {
    /// Nobody has this id.
    Unknown,
    /// It is heard of; from there.
    Lives(IpAddr),
}

impl Fleet {
    /// An empty fleet of a controller that starts at `now`.
    pub fn new(now: Moment, settings: FleetSettings) -> Fleet {
        Fleet::with_identities(now, settings, Identities::default())
    }

    /// The same, with what is known of workers' keys.
    pub fn with_identities(now: Moment, settings: FleetSettings, identities: Identities) -> Fleet {
        Fleet {
            settings,
            started: now,
            ran: now,
            workers: BTreeMap::new(),
            identities,
            ledger: Ledger::default(),
            failures: BTreeMap::new(),
            drains: None,
            takeover: None,
            bodies: Bodies::default(),
            unwritten: Unwritten::default(),
            left_behind: LeftBehind::default(),
            moves: BTreeMap::new(),
            move_counts: MoveCounts::default(),
            tally: Tally::default(),
            work: Meter::default(),
        }
    }

    /// The keys of workers.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Takes a worker, its sessions and its key out of the books: the next key under its id is taken. Not while it is
    /// heard of: its next beat would take the id back, or another's would take its sessions.
    pub fn forget(&mut self, now: Moment, id: &WorkerId) -> Result<(), NotForgotten> {
        match self.workers.get(id) {
            Some(worker) if !worker.stopping && self.health_of(now, worker) != WorkerHealth::Down => {
                return Err(NotForgotten::Lives(worker.source));
            }
            None if self.identities.key(id).is_none()
                && !self.bodies.knows(id)
                && !self.left_behind.knows(id) =>
            {
                return Err(NotForgotten::Unknown);
            }
            _ => {}
        }
        self.drop_worker(id);
        self.bodies.forget(id);
        self.left_behind.forget(id);
        self.identities.forget(id);
        self.check_invariants();
        Ok(())
    }

    /// Reservations end by themselves.
    fn drop_worker(&mut self, id: &WorkerId) {
        for session in self.ledger.sessions_of(id) {
            self.ledger.remove(&session);
        }
        self.drop_moves_to(id);
        self.workers.remove(id);
        self.note_offer(id);
        self.failures.remove(id);
        self.ledger.touch(id);
    }

    /// What a worker has to give may have changed.
    fn note_offer(&mut self, id: &WorkerId) {
        self.ledger.set_offer(id, self.workers.get(id).map(Worker::offer));
    }

    /// Replaces the settings (SIGHUP).
    pub fn reconfigure(&mut self, settings: FleetSettings) {
        self.settings = settings;
        // Views carry the time-out by which they are judged.
        self.workers.keys().for_each(|id| self.ledger.touch(id));
    }

    /// Sets or clears the operator's drain of a worker. False: no such worker.
    pub fn drain(&mut self, worker: &WorkerId, on: bool) -> bool {
        self.ledger.touch(worker);
        if let Some(drains) = &mut self.drains {
            if on {
                drains.insert(worker.clone())
            } else {
                drains.remove(worker)
            };
        }
        let Some(worker) = self.workers.get_mut(worker) else { return false };
        (worker.drain, worker.move_out) = (on, worker.move_out.filter(|_| on));
        true
    }

    /// Sets the operators' drains of all workers, also of those that come later.
    pub fn set_drains(&mut self, drains: BTreeSet<WorkerId>) {
        for (id, worker) in &mut self.workers {
            let on = drains.contains(id);
            if worker.drain != on {
                worker.drain = on;
                self.ledger.touch(id);
            }
        }
        self.drains = Some(drains);
    }

    /// Lets time pass: expired reservations are freed, workers that were down too long forgotten. To be called about
    /// once a second; being late is harmless.
    pub fn tick(&mut self, now: Moment) -> Vec<FleetEvent> {
        let mut news = Vec::new();
        self.expire_reservations(now, &mut news);
        self.tick_moves(now, &mut news);
        self.tidy_takeover(now);
        self.tick_bodies(now, &mut news);
        self.tick_left(now, &mut news);
        self.forget_workers(now, &mut news);
        self.count_work(Work { workers: self.workers.len() as u64, ..Work::default() });
        let changed: Vec<WorkerId> = (self.workers.iter())
            .filter(|(_, worker)| worker.told != self.health_of(now, worker))
            .map(|(id, _)| id.clone())
            .collect();
        for id in changed {
            self.tell_health(now, &id, &mut news);
        }
        self.check_invariants();
        news
    }

    /// Until when a controller that has just started, or begins to lead, does not know what exists; `None` once it does.
    pub fn settling_until(&self, now: Moment) -> Option<Moment> {
        let until = self.started + self.settings.heartbeat_interval.saturating_mul(SETTLING_BEATS);
        let started = (!now.reached(until)).then_some(until);
        started.max(self.taking_over_until(now)).max(self.awaiting_bodies_until(now))
    }

    fn health(&self, now: Moment, id: &WorkerId) -> WorkerHealth {
        self.workers.get(id).map_or(WorkerHealth::Down, |worker| self.health_of(now, worker))
    }

    fn health_of(&self, now: Moment, worker: &Worker) -> WorkerHealth {
        judge(now, worker.heard, worker.interval, self.settings.heartbeat_timeout)
    }

    fn tell_health(&mut self, now: Moment, id: &WorkerId, news: &mut Vec<FleetEvent>) {
        let health = self.health(now, id);
        if let Some(worker) = self.workers.get_mut(id)
            && worker.told != health
        {
            match (health, worker.stopping) {
                // It goes, as it said.
                (WorkerHealth::Late, true) => {}
                (WorkerHealth::Down, true) => news.push(FleetEvent::WorkerLeft(id.clone())),
                _ => news.push(FleetEvent::WorkerHealth(id.clone(), worker.told, health)),
            }
            worker.told = health;
            self.ledger.touch(id);
        }
    }

    fn expire_reservations(&mut self, now: Moment, news: &mut Vec<FleetEvent>) {
        let life = self.settings.create_timeout.saturating_add(RESERVATION_MARGIN);
        let expired: Vec<SessionId> = (self.ledger.reservations())
            .filter(|(_, reservation)| now.reached(reservation.waits_from + life))
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            if let Some(reservation) = self.ledger.unreserve(&id) {
                news.push(FleetEvent::ReservationExpired(id, reservation.worker));
            }
        }
    }

    fn forget_workers(&mut self, now: Moment, news: &mut Vec<FleetEvent>) {
        let silence = self.settings.heartbeat_timeout.saturating_add(FORGET_AFTER);
        let forgotten: Vec<WorkerId> = (self.workers.iter())
            .filter(|(_, worker)| now.reached(worker.last_beat + silence))
            .map(|(id, _)| id.clone())
            .collect();
        for id in forgotten {
            self.drop_worker(&id);
            self.bodies.forget_told(&id);
            news.push(FleetEvent::WorkerForgotten(id));
        }
    }
}
