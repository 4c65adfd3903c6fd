//! From a create request to a worker, and what became of it. The flow of one create:
//!
//! ```text
//! reserve ─> Placed ── the worker has it ───────────────────────────────> confirm(stamp)
//!    │         │ ────── the worker began and failed ────────────────────> ended(CreateFailed, stamp)
//!    │         │ ────── the answer was lost, or took too long ──────────> abandon
//!    │         │ ────── we gave up before sending ──────────────────────> release
//!    │         ├─────── 503, or not reached before it began ─> try_next ─────────> Placed | Refused
//!    │         └─────── failed by its own fault: ended, and reserve with a new id
//!    └─> Refused
//! ```
//! Whether another worker may try is judged in [`super::turns`].

use std::collections::BTreeSet;

use super::bodies::BodyEntry;
use super::ledger::{Reservation, Session};
use super::placed::{CreateSpec, Placed, Refused};
use super::wire::{SessionBrief, Stamp};
use super::{Fleet, FleetEvent};
use crate::core::fleet::routing::{Bar, Candidate, choose, needs_wireguard};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;

impl Fleet {
    /// Chooses a worker for a create and holds a slot on it and the body.
    pub fn reserve(&mut self, now: Moment, spec: &CreateSpec) -> Result<Placed, Refused> {
        if let Some(until) = self.settling_until(now) {
            return Err(Refused::Settling { retry_after: until.since(now) });
        }
        let id = &spec.session_id;
        if self.ledger.session(id).is_some() || self.ledger.reservation(id).is_some() {
            return Err(Refused::IdInUse);
        }
        self.body_is_free(now, spec)?;
        self.place(now, id, (spec.body, &spec.engine), spec.tried.clone())
    }

    /// The next worker for a create that the present one refused, or that never reached it. Each worker has one turn
    /// per create; when none is left the reservation is free.
    ///
    /// Must not be called once the worker may have begun: that would launch twice.
    pub fn try_next(&mut self, now: Moment, session_id: &SessionId) -> Result<Placed, Refused> {
        let reservation = self.ledger.unreserve(session_id).ok_or(Refused::Gone)?;
        self.never_began(session_id, &reservation);
        let wanted = (reservation.body, reservation.engine.as_str());
        let placed = self.place(now, session_id, wanted, reservation.tried);
        self.check_invariants();
        placed
    }

    /// The worker answered that it has the session in this `status`, as of `stamp`. Says whether the session stands: false when it is
    /// known to have ended since, or its worker to have restarted.
    pub fn confirm(
        &mut self,
        now: Moment,
        placed: &Placed,
        status: SessionStatus,
        stamp: Stamp,
    ) -> (bool, Vec<FleetEvent>) {
        self.learn(now, placed, status, None, stamp);
        let mut news = if status.is_ready() { self.works(&placed.worker) } else { Vec::new() };
        self.settle_body(now, placed.body, &mut news);
        self.check_invariants();
        (self.ledger.session(&placed.session_id).is_some_and(Session::is_live), news)
    }

    /// A worker answered that the session is over, as of `stamp`: a create failed there, or a DELETE was done.
    /// Unknown ids are ignored.
    pub fn ended(&mut self, now: Moment, session_id: &SessionId, reason: EndReason, stamp: Stamp) {
        let known = match (self.ledger.session(session_id), self.ledger.reservation(session_id)) {
            (Some(session), _) => Some((session.brief.body, session.worker.clone())),
            (None, Some(reservation)) => Some((reservation.body, reservation.worker.clone())),
            (None, None) => None,
        };
        if let Some((body, worker)) = known {
            let (session_id, url) = (session_id.clone(), String::new());
            let placed = Placed { session_id, body, worker, url, begun: now };
            self.learn(now, &placed, SessionStatus::Ended, Some(reason), stamp);
        }
        self.check_invariants();
    }

    /// Its worker made this link that only watches: known before the worker's next beat says so, because whoever is told of
    /// the link opens it.
    pub fn note_view(&mut self, session_id: &SessionId, view_id: SessionId) {
        self.ledger.note_view(session_id, view_id);
    }

    /// The create was given up before anything was sent.
    pub fn release(&mut self, session_id: &SessionId) {
        if let Some(reservation) = self.ledger.unreserve(session_id) {
            self.never_began(session_id, &reservation);
        }
        self.check_invariants();
    }

    fn never_began(&mut self, session_id: &SessionId, reservation: &Reservation) {
        let Reservation { body, worker, since, .. } = reservation;
        let placed = Placed {
            session_id: session_id.clone(),
            body: *body,
            worker: worker.clone(),
            url: String::new(),
            begun: *since,
        };
        self.bodies.never_began(BodyEntry::of_create(&placed));
    }

    /// The create's answer is lost or will not be waited for. Slot and body stay held until the session shows up in a
    /// heartbeat (then it is ended as `create_failed`) or the reservation expires.
    pub fn abandon(&mut self, session_id: &SessionId) {
        self.ledger.abandon(session_id);
        self.ledger.condemn(session_id, EndReason::CreateFailed);
        self.check_invariants();
    }

    /// Orders a session's end through its worker's next heartbeat, for when the worker cannot be reached now. False:
    /// no such live session.
    pub fn condemn(&mut self, session_id: &SessionId, reason: EndReason) -> bool {
        self.ledger.condemn(session_id, reason)
    }

    fn body_is_free(&self, now: Moment, spec: &CreateSpec) -> Result<(), Refused> {
        if let Some(id) = self.ledger.reserved_for(spec.body) {
            return Err(Refused::AlreadyHasSession(id.clone()));
        }
        // A session on a worker that is down does not hold its body, unless it moves: nobody could free it.
        let holder = (self.ledger.live_of(spec.body))
            .filter(|session| {
                self.is_moving(now, session) || self.health(now, &session.worker) != WorkerHealth::Down
            })
            .max_by_key(|session| (session.claims_body(), session.started));
        match holder {
            // One that ended where it was may be ready any moment where it moves to.
            None => match self.ledger.moving_of(spec.body).next() {
                None => self.is_told(now, spec.body),
                Some(id) => Err(Refused::AlreadyHasSession(id.clone())),
            },
            Some(holder) if spec.replace => Err(Refused::MustEnd {
                session_id: holder.brief.id.clone(),
                worker: holder.worker.clone(),
                url: self.workers.get(&holder.worker).map(|worker| worker.url.clone()).unwrap_or_default(),
            }),
            Some(holder) => Err(Refused::AlreadyHasSession(holder.brief.id.clone())),
        }
    }

    /// Not where a worker may have a session of the body, and nobody can say.
    fn is_told(&self, now: Moment, body: BodyAddr) -> Result<(), Refused> {
        let untold = self.untold_holder(body, None);
        untold.map_or(Ok(()), |untold| {
            let left = untold.until.since(now);
            Err(Refused::Untold(untold, left))
        })
    }

    fn place(
        &mut self,
        now: Moment,
        id: &SessionId,
        (body, engine): (BodyAddr, &str),
        mut tried: BTreeSet<WorkerId>,
    ) -> Result<Placed, Refused> {
        let worker = self.choose_worker(now, (body, engine), &tried)?;
        let url = self.workers.get(&worker).map(|worker| worker.url.clone()).unwrap_or_default();
        tried.insert(worker.clone());
        let engine = engine.to_owned();
        let reservation = Reservation {
            body,
            engine,
            worker: worker.clone(),
            since: now,
            waits_from: now,
            tried,
            abandoned: false,
        };
        self.ledger.reserve(id.clone(), reservation);
        let placed = Placed { session_id: id.clone(), body, worker, url, begun: now };
        self.bodies.announce(BodyEntry::of_create(&placed));
        self.check_invariants();
        Ok(placed)
    }

    pub(super) fn choose_worker(
        &self,
        now: Moment,
        wanted: (BodyAddr, &str),
        tried: &BTreeSet<WorkerId>,
    ) -> Result<WorkerId, Refused> {
        let needs_wireguard = needs_wireguard(wanted.0, &self.settings.wireguard_networks);
        let judged = |id: &WorkerId| self.candidate(now, id, wanted, tried);
        let is_free = |id: &&WorkerId| judged(id).is_some_and(|candidate| candidate.is_free());
        if let Some(id) = self.ledger.free_slots(needs_wireguard).find(is_free) {
            return Ok(id.clone());
        }
        // Every worker is looked at for the reasons of the refusal.
        let all: Vec<Candidate<'_>> = self.workers.keys().filter_map(judged).collect();
        let hope = all.iter().filter_map(|candidate| self.hope_of(now, candidate)).min();
        let chosen = choose(all, needs_wireguard).cloned();
        chosen.map_err(|why| Refused::NoWorker {
            why: Box::new(why),
            retry_after: self.settings.heartbeat_interval,
            hope,
        })
    }

    fn candidate<'a>(
        &'a self,
        now: Moment,
        id: &WorkerId,
        wanted: (BodyAddr, &str),
        tried: &BTreeSet<WorkerId>,
    ) -> Option<Candidate<'a>> {
        let (id, worker) = self.workers.get_key_value(id)?;
        let barred = match tried.contains(id) {
            true => Some(Bar::Tried),
            false => self.bar(now, (id, worker), wanted),
        };
        let offer = worker.offer();
        Some(Candidate {
            id,
            health: self.health_of(now, worker),
            draining: worker.drain || worker.stopping,
            barred,
            taken: self.ledger.taken(id),
            max: offer.max,
            wireguard: offer.wireguard,
            called: offer.called,
        })
    }

    /// From when on a worker may take this create that it cannot have now: when its next beat comes, when its pause is over, or
    /// when the one create of its probation is answered.
    fn hope_of(&self, now: Moment, candidate: &Candidate<'_>) -> Option<Moment> {
        let has_room = !candidate.draining && candidate.taken < candidate.max;
        let may_change = match candidate.barred {
            None => candidate.health == WorkerHealth::Late,
            Some(Bar::Unreachable(_) | Bar::Failing(_)) => true,
            Some(Bar::Unfit(_) | Bar::BodyNotAllowed | Bar::Tried) => false,
        };
        let worker = self.workers.get(candidate.id).filter(|_| has_room && may_change)?;
        self.may_take_at(now, candidate.id, worker)
    }

    /// Writes down a fact about a session that came in an answer, unless its worker has told something newer.
    fn learn(
        &mut self,
        now: Moment,
        placed: &Placed,
        status: SessionStatus,
        reason: Option<EndReason>,
        stamp: Stamp,
    ) {
        let id = &placed.session_id;
        let known = self.ledger.session(id);
        let reservation = self.ledger.reservation(id);
        if reservation.is_some_and(|reservation| reservation.worker != placed.worker) {
            return; // a late answer of a worker whose turn is over; its own beat will show it as a stray
        }
        let abandoned = reservation.is_some_and(|reservation| reservation.abandoned);
        let Some(worker) = self.workers.get(&placed.worker) else { return };
        if known.is_some_and(|known| known.worker != placed.worker || known.known_at > stamp) {
            return;
        }
        if known.is_none() && worker.stamp > stamp {
            // A later beat does not list it: it came and went. What was held for it is free.
            self.ledger.unreserve(id);
            return;
        }
        let session = match known {
            Some(known) if status.is_live() => Session { known_at: stamp, ..known.clone() },
            known => Session {
                brief: fresh_brief(placed, status, reason, known.map(|known| &known.brief)),
                worker: placed.worker.clone(),
                started: known.map_or(i128::from(now.0), |known| known.started),
                known_at: stamp,
                seen: now,
                condemned: match known {
                    Some(known) => known.condemned,
                    None => abandoned.then_some(EndReason::CreateFailed),
                },
                awaited: false,
            },
        };
        self.ledger.put(Session { awaited: false, ..session });
    }
}

fn fresh_brief(
    placed: &Placed,
    status: SessionStatus,
    reason: Option<EndReason>,
    known: Option<&SessionBrief>,
) -> SessionBrief {
    match known {
        Some(known) => SessionBrief { status, reason, connections: 0, ..known.clone() },
        None => SessionBrief {
            id: placed.session_id.clone(),
            body: placed.body,
            status,
            reason,
            started_ms_ago: 0,
            connections: 0,
            experience: None,
            district: None,
            age_ms: 0,
            view_id: None,
            fault: None,
            copy: 0,
            movable: false,
            facts: Default::default(),
        },
    }
}
