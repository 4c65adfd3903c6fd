//! The books of the fleet: sessions and reservations, and who holds what. Every change goes through here, so that
//! the indexes by worker and by body cannot drift from the records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ranks::{Offer, Ranks};
use super::wire::{SessionBrief, Stamp};
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;

/// A session that a worker has, or had and still remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// As last heard. While its worker is down this is what was last true.
    pub brief: SessionBrief,
    /// Its worker; another one once it has moved ([`super::moves`]).
    pub worker: WorkerId,
    /// When it started on the controller's clock, in milliseconds; may lie before the clock's zero. The earliest
    /// estimate is kept: a beat on a slow path makes a session look younger, never older.
    pub started: i128,
    /// The point in its worker's history up to which this record is true. Older facts do not change it.
    pub known_at: Stamp,
    /// When the record was last confirmed, for its age.
    pub seen: Moment,
    /// Its worker is told to end it, as this, until it has.
    pub condemned: Option<EndReason>,
    /// Its create waits for the worker's answer, which says how it went.
    pub awaited: bool,
}

impl Session {
    pub(super) fn is_live(&self) -> bool {
        self.brief.status.is_live()
    }

    /// Whether its create is under way.
    pub(super) fn is_starting(&self) -> bool {
        use SessionStatus::{Pairing, Preparing, Requested, Starting};
        self.condemned.is_none() && matches!(self.brief.status, Requested | Preparing | Starting | Pairing)
    }

    /// Whether its worker let it go and no other one has it yet.
    pub(super) fn is_between(&self) -> bool {
        !self.is_live() && self.brief.reason == Some(EndReason::Moved)
    }

    /// Whether its body is taken.
    pub(super) fn holds_body(&self) -> bool {
        self.is_live() || self.is_between()
    }

    /// Whether it claims its body against another session: not while it is on its way out.
    pub(super) fn claims_body(&self) -> bool {
        self.holds_body() && self.condemned.is_none() && self.brief.status != SessionStatus::Ending
    }
}

/// A slot held on another worker for a session that is to go on there, and its body: the session itself may have ended meanwhile,
/// where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// The session's body.
    pub body: BodyAddr,
    /// The worker that has the session, or let it go.
    pub from: WorkerId,
    /// The worker that is to have it.
    pub to: WorkerId,
    /// The number of the copy that begins there.
    pub copy: u32,
    /// When this worker's turn began.
    pub since: Moment,
    /// When it was last heard that the copy is on its way; else as `since`.
    pub heard: Moment,
    /// Workers that had their turn, both included.
    pub tried: BTreeSet<WorkerId>,
    /// No answer will come: heartbeats of `to` tell.
    pub lost: bool,
}

/// A slot and a body held for a create that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub body: BodyAddr,
    pub engine: String,
    pub worker: WorkerId,
    /// When this worker's turn began.
    pub since: Moment,
    /// What its end by time counts from: as `since`, and later by what the controller stood still.
    pub waits_from: Moment,
    /// Workers that had their turn, this one included.
    pub tried: BTreeSet<WorkerId>,
    /// The answer was lost: if the session appears, it is ended.
    pub abandoned: bool,
}

/// What one worker holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub live: BTreeSet<SessionId>,
    pub ended: BTreeSet<SessionId>,
    pub reserved: BTreeSet<SessionId>,
    /// Sessions that move here.
    pub coming: BTreeSet<SessionId>,
}

impl Holdings {
    /// Slots taken: live sessions, reservations and sessions that move here.
    pub(super) fn taken(&self) -> u32 {
        u32::try_from(self.live.len() + self.reserved.len() + self.coming.len()).unwrap_or(u32::MAX)
    }

    fn len(&self) -> usize {
        self.live.len() + self.ended.len() + self.reserved.len() + self.coming.len()
    }
}

/// What was changed since it was last asked: whoever publishes the books looks at nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Workers, their sessions and reservations.
    pub workers: BTreeSet<WorkerId>,
    /// Sessions that appeared or went, and those whose viewers' link changed.
    pub sessions: BTreeSet<SessionId>,
}

/// The books.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    sessions: BTreeMap<SessionId, Session>,
    reservations: BTreeMap<SessionId, Reservation>,
    by_worker: BTreeMap<WorkerId, Holdings>,
    /// Sessions that hold their body, also those that are between two workers.
    live_by_body: BTreeMap<BodyAddr, BTreeSet<SessionId>>,
    moves: BTreeMap<SessionId, Move>,
    moving_by_body: BTreeMap<BodyAddr, BTreeSet<SessionId>>,
    /// Sessions that their worker let go.
    between: BTreeSet<SessionId>,
    reserved_by_body: BTreeMap<BodyAddr, SessionId>,
    ranks: Ranks,
    touched: Touched,
}

impl Ledger {
    /// Sessions, reservations and moves.
    pub(super) fn len(&self) -> usize {
        self.sessions.len() + self.reservations.len() + self.moves.len()
    }

    pub(super) fn session(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    pub(super) fn reservation(&self, id: &SessionId) -> Option<&Reservation> {
        self.reservations.get(id)
    }

    pub(super) fn reservations(&self) -> impl Iterator<Item = (&SessionId, &Reservation)> {
        self.reservations.iter()
    }

    /// The reservation that holds a body.
    pub(super) fn reserved_for(&self, body: BodyAddr) -> Option<&SessionId> {
        self.reserved_by_body.get(&body)
    }

    /// Where a session moves to just now.
    pub(super) fn moving(&self, id: &SessionId) -> Option<&Move> {
        self.moves.get(id)
    }

    pub(super) fn moves(&self) -> impl Iterator<Item = (&SessionId, &Move)> {
        self.moves.iter()
    }

    /// Sessions of a body that move just now.
    pub(super) fn moving_of(&self, body: BodyAddr) -> impl Iterator<Item = &SessionId> {
        self.moving_by_body.get(&body).into_iter().flatten()
    }

    /// How many sessions move away from a worker just now.
    pub(super) fn moves_from(&self, worker: &WorkerId) -> usize {
        self.moves.values().filter(|known| known.from == *worker).count()
    }

    /// Sessions that their worker let go and no other one has.
    pub(super) fn between(&self) -> impl Iterator<Item = &SessionId> {
        self.between.iter()
    }

    /// Sessions that hold a body, on whatever worker.
    pub(super) fn live_of(&self, body: BodyAddr) -> impl Iterator<Item = &Session> {
        self.live_by_body.get(&body).into_iter().flatten().filter_map(|id| self.sessions.get(id))
    }

    /// Everything a worker holds.
    pub(super) fn holdings(&self, worker: &WorkerId) -> Option<&Holdings> {
        self.by_worker.get(worker)
    }

    /// Ids of all sessions of a worker, live and ended.
    pub(super) fn sessions_of(&self, worker: &WorkerId) -> Vec<SessionId> {
        let both = |held: &Holdings| held.live.iter().chain(&held.ended).cloned().collect();
        self.holdings(worker).map(both).unwrap_or_default()
    }

    /// Live sessions of a worker, and the slots held there for others: its slots taken.
    pub(super) fn active_and_reserved(&self, worker: &WorkerId) -> (u32, u32) {
        let count = |set: &BTreeSet<SessionId>| u32::try_from(set.len()).unwrap_or(u32::MAX);
        let reserved = |held: &Holdings| count(&held.reserved).saturating_add(count(&held.coming));
        self.holdings(worker).map_or((0, 0), |held| (count(&held.live), reserved(held)))
    }

    /// Whether a worker has a create since before `moment` of which nothing was heard.
    pub(super) fn reserved_before(&self, worker: &WorkerId, moment: Moment) -> bool {
        let held = self.holdings(worker).into_iter().flat_map(|held| &held.reserved);
        let mut reserved = held.filter_map(|id| self.reservations.get(id));
        reserved.any(|reservation| !reservation.abandoned && reservation.since < moment)
    }

    /// Creates of a worker that began at `since` or later and neither succeeded nor failed yet.
    pub(super) fn starting_since(&self, worker: &WorkerId, since: Moment) -> usize {
        let Some(held) = self.holdings(worker) else { return 0 };
        let reserved = held.reserved.iter().filter_map(|id| self.reservations.get(id));
        let reserved = reserved.filter(|reservation| !reservation.abandoned && reservation.since >= since);
        let live = held.live.iter().filter_map(|id| self.sessions.get(id));
        let live = live.filter(|session| session.is_starting() && session.started >= i128::from(since.0));
        reserved.count() + live.count()
    }

    /// Slots of a worker that are taken.
    pub(super) fn taken(&self, worker: &WorkerId) -> u32 {
        self.holdings(worker).map_or(0, Holdings::taken)
    }

    /// A worker offers this; `None`: there is no such worker any more.
    pub(super) fn set_offer(&mut self, worker: &WorkerId, offer: Option<Offer>) {
        self.ranks.set_offer(worker, offer, self.taken(worker));
    }

    /// What is known of a worker's slots, with how many are taken.
    pub(super) fn offer(&self, worker: &WorkerId) -> Option<(Offer, u32)> {
        self.ranks.of(worker)
    }

    /// Workers with a free slot, in the order in which creates go to them.
    pub(super) fn free_slots(&self, needs_wireguard: bool) -> impl Iterator<Item = &WorkerId> {
        self.ranks.in_order(needs_wireguard)
    }

    /// Slots of this worker were taken or freed.
    fn count_slots(&mut self, worker: &WorkerId) {
        self.ranks.set_taken(worker, self.taken(worker));
    }

    /// What has changed; from now on only what changes after this.
    pub(super) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Something about this worker has changed that is not in the books.
    pub(super) fn touch(&mut self, worker: &WorkerId) {
        if !self.touched.workers.contains(worker) {
            self.touched.workers.insert(worker.clone());
        }
    }

    /// Stores a session. A reservation of the same id is thereby spent: nothing is counted twice.
    pub(super) fn put(&mut self, session: Session) {
        let id = session.brief.id.clone();
        self.unreserve(&id);
        let known = self.sessions.get(&id);
        let leads_as_before = known.is_some_and(|known| {
            known.worker == session.worker
                && known.brief.view_id == session.brief.view_id
                && known.is_between() == session.is_between()
        });
        if !leads_as_before {
            self.touched.sessions.insert(id.clone());
        }
        let left = self.take_out(&id).map(|known| known.worker).filter(|worker| *worker != session.worker);
        self.touch(&session.worker);
        let held = self.by_worker.entry(session.worker.clone()).or_default();
        match session.is_live() {
            true => held.live.insert(id.clone()),
            false => held.ended.insert(id.clone()),
        };
        left.iter().chain([&session.worker]).for_each(|worker| self.count_slots(worker));
        if session.holds_body() {
            self.live_by_body.entry(session.brief.body).or_default().insert(id.clone());
        }
        if session.is_between() {
            self.between.insert(id.clone());
        }
        self.sessions.insert(id, session);
    }

    /// Takes a session out of the books, with the move that it is on.
    pub(super) fn remove(&mut self, id: &SessionId) -> Option<Session> {
        self.end_move(id);
        let session = self.take_out(id)?;
        self.count_slots(&session.worker);
        self.touched.sessions.insert(id.clone());
        Some(session)
    }

    /// Holds a slot for a session on the worker that it moves to, in place of an earlier one.
    pub(super) fn begin_move(&mut self, id: &SessionId, under_way: Move) {
        self.end_move(id);
        self.touch(&under_way.from);
        self.touch(&under_way.to);
        self.touched.sessions.insert(id.clone());
        self.by_worker.entry(under_way.to.clone()).or_default().coming.insert(id.clone());
        self.count_slots(&under_way.to);
        self.moving_by_body.entry(under_way.body).or_default().insert(id.clone());
        self.moves.insert(id.clone(), under_way);
    }

    /// Frees the slot of a move.
    pub(super) fn end_move(&mut self, id: &SessionId) -> Option<Move> {
        let under_way = self.moves.remove(id)?;
        self.touch(&under_way.from);
        self.touch(&under_way.to);
        self.touched.sessions.insert(id.clone());
        if let Some(ids) = self.moving_by_body.get_mut(&under_way.body) {
            ids.remove(id);
            if ids.is_empty() {
                self.moving_by_body.remove(&under_way.body);
            }
        }
        if let Some(held) = self.by_worker.get_mut(&under_way.to) {
            held.coming.remove(id);
            if held.len() == 0 {
                self.by_worker.remove(&under_way.to);
            }
        }
        self.count_slots(&under_way.to);
        Some(under_way)
    }

    /// The copy that a move waits for is listed as living.
    pub(super) fn hear_move(&mut self, id: &SessionId, now: Moment) {
        if let Some(under_way) = self.moves.get_mut(id) {
            under_way.heard = now;
        }
    }

    /// Keeps a move whose answer was lost until the new worker's heartbeats or time tell.
    pub(super) fn lose_move(&mut self, id: &SessionId) {
        if let Some(under_way) = self.moves.get_mut(id) {
            under_way.lost = true;
        }
    }

    /// The controller stood still for so long: what waits for an answer has so much longer.
    pub(super) fn stood_still(&mut self, time: Duration) {
        let reservations = self.reservations.values_mut();
        reservations.for_each(|reservation| reservation.waits_from = reservation.waits_from + time);
        self.moves.values_mut().for_each(|under_way| under_way.heard = under_way.heard + time);
    }

    fn take_out(&mut self, id: &SessionId) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        self.touch(&session.worker);
        self.let_go(&session.worker, id);
        self.between.remove(id);
        if let Some(ids) = self.live_by_body.get_mut(&session.brief.body) {
            ids.remove(id);
            if ids.is_empty() {
                self.live_by_body.remove(&session.brief.body);
            }
        }
        Some(session)
    }

    /// Marks a session as to be ended by its worker. The first reason stands.
    pub(super) fn condemn(&mut self, id: &SessionId, reason: EndReason) -> bool {
        let moves = self.moves.contains_key(id);
        let Some(session) = self.sessions.get_mut(id).filter(|session| session.holds_body() || moves) else {
            return false;
        };
        session.condemned.get_or_insert(reason);
        let worker = session.worker.clone();
        self.touch(&worker);
        true
    }

    /// Writes down the id of a session's link that only watches.
    pub(super) fn note_view(&mut self, id: &SessionId, view_id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.brief.view_id = Some(view_id);
            let worker = session.worker.clone();
            self.touch(&worker);
            self.touched.sessions.insert(id.clone());
        }
    }

    /// Stores a reservation in place of an earlier one of the same id.
    pub(super) fn reserve(&mut self, id: SessionId, reservation: Reservation) {
        self.unreserve(&id);
        self.touch(&reservation.worker);
        self.by_worker.entry(reservation.worker.clone()).or_default().reserved.insert(id.clone());
        self.count_slots(&reservation.worker);
        self.reserved_by_body.insert(reservation.body, id.clone());
        self.reservations.insert(id, reservation);
    }

    /// Frees a reservation.
    pub(super) fn unreserve(&mut self, id: &SessionId) -> Option<Reservation> {
        let reservation = self.reservations.remove(id)?;
        self.touch(&reservation.worker);
        self.let_go(&reservation.worker, id);
        self.count_slots(&reservation.worker);
        if self.reserved_by_body.get(&reservation.body) == Some(id) {
            self.reserved_by_body.remove(&reservation.body);
        }
        Some(reservation)
    }

    /// Keeps a reservation whose answer was lost until its session shows up or it expires.
    pub(super) fn abandon(&mut self, id: &SessionId) {
        if let Some(reservation) = self.reservations.get_mut(id) {
            reservation.abandoned = true;
        }
    }

    fn let_go(&mut self, worker: &WorkerId, id: &SessionId) {
        if let Some(held) = self.by_worker.get_mut(worker) {
            held.live.remove(id);
            held.ended.remove(id);
            held.reserved.remove(id);
            if held.len() == 0 {
                self.by_worker.remove(worker);
            }
        }
    }

    /// Panics when an index disagrees with the records: that is always our bug.
    pub(super) fn check(&self) {
        let mut live = 0;
        for (id, session) in &self.sessions {
            let held = self.holdings(&session.worker);
            let held = held.unwrap_or_else(|| panic!("{} holds {id} and is not indexed", session.worker));
            let body = self.live_by_body.get(&session.brief.body);
            assert_eq!(held.live.contains(id), session.is_live(), "{id} is live or not");
            assert_eq!(held.ended.contains(id), !session.is_live(), "{id} has ended or not");
            assert_eq!(
                body.is_some_and(|ids| ids.contains(id)),
                session.holds_body(),
                "{id} holds its body or not"
            );
            assert_eq!(self.between.contains(id), session.is_between(), "{id} is between two workers or not");
            live += usize::from(session.holds_body());
        }
        for (id, under_way) in &self.moves {
            let held = self.holdings(&under_way.to);
            assert!(held.is_some_and(|held| held.coming.contains(id)), "{id} has a slot where it moves to");
            let fits = |session: &Session| {
                session.worker != under_way.to
                    && session.brief.copy < under_way.copy
                    && session.brief.body == under_way.body
            };
            let session = self.sessions.get(id);
            assert!(session.is_some_and(fits), "{id} moves to be {under_way:?}, and is {session:?}");
        }
        for (id, reservation) in &self.reservations {
            let held = self.holdings(&reservation.worker);
            assert!(held.is_some_and(|held| held.reserved.contains(id)), "{id} is reserved");
            assert_eq!(self.reserved_by_body.get(&reservation.body), Some(id), "{id} holds its body");
            assert!(!self.sessions.contains_key(id), "{id} is a session and a reservation");
        }
        let bodies = self.moving_by_body.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(bodies, self.moves.len(), "bodies of sessions that move");
        // Everything is where it belongs; the sums say that nothing is elsewhere as well.
        let held: usize = self.by_worker.values().map(Holdings::len).sum();
        assert_eq!(held, self.len(), "slots held twice or by nobody");
        assert!(self.between.len() <= self.sessions.len(), "between two workers and not in the books");
        assert_eq!(
            self.live_by_body.values().map(BTreeSet::len).sum::<usize>(),
            live,
            "bodies held by nobody"
        );
        assert_eq!(self.reserved_by_body.len(), self.reservations.len(), "bodies reserved by nobody");
    }
}
