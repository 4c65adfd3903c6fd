//! Moves: a session goes on at another worker under its id, because its worker drains or is not heard of.
//!
//! A session may be there in copies, one per worker, numbered from 0 where it was created. The copy with the highest number that
//! was ever ready is the session. A lower one that is still listed is told that the session has moved, and ends without touching
//! what runs on the body. So no order of messages, no restart of a controller and no worker that was cut off brings an old copy
//! back.
//!
//! ```text
//!                start_move                    its worker lets it go             arrived
//!  live at `from` ────────> live, with a Move ─────────────────────> between ───────────────> live at `to`
//!        ^                    │  (a slot on both, the body once)      │  ^  │                  (copy + 1)
//!        └──── end_move ──────┘                            next_move ─┘  │  └─ nobody for MOVE_PATIENCE: condemned; the
//!                                                     end_move, a pause ─┘     worker that let it go ends it as `drained`
//!
//!  live at a worker that is down ── start_move, its page asks ──> the same, without being let go
//! ```
//! A copy on its way counts as having been there once it is ready, or once somebody ended it (`EndReason::is_wanted`): then the session is
//! over, with its record at that worker. All else that happens to it before it is ready means that it did not arrive.
//!
//! *Between* is a state of the books that needs no memory: a worker lists a session that it let go as ended, `moved`, until it is
//! told what became of it. A controller that has just started, or begins to lead, finds it there and goes on.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use super::bodies::BodyEntry;
use super::experience::WEB_SERVER_ENGINE;
use super::identity::MOVES;
use super::ledger::{Move, Session};
pub use super::move_order::{MoveCounts, MoveOrder};
use super::placed::Refused;
use super::wire::{EndOrder, Heartbeat, SessionBrief, Stamp};
use super::{Fleet, FleetEvent, RESERVATION_MARGIN};
use crate::config::settings::MovePolicy;
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::{SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;

/// Moves away from one worker at once. Each person waits for one start of a session, and not for those of fourteen others.
pub const MOVES_AT_ONCE: usize = 3;

/// How long a session that was let go looks for a worker before it ends. Its page waits as long.
pub const MOVE_PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks for a worker.
pub const MOVE_PAUSE: Duration = Duration::from_secs(2);

/// In which `sessions.move_limit` counts.
const LIMIT_SPAN: Duration = Duration::from_secs(3_600);

/// What keeps a session where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMoved {
    /// It is not there, or about to end.
    Gone,
    /// It moves already.
    UnderWay,
    /// Its worker neither drains nor is down, or the session is not ready yet.
    NotNeeded,
    /// Its creator, its worker or `sessions.move` says that it stays.
    NotMovable,
    /// `sessions.move_limit`
    TooOften,
    /// No worker can take it now.
    NoWorker,
    /// The controller does not know yet what exists.
    Settling,
}

/// How a listed copy stands to what the books know.
enum Listed {
    /// It is the session.
    Session,
    /// It is the one that a move waits for.
    Arriving,
    /// It is the next copy, which another controller began.
    Next,
    /// It is an old one: its worker is told so.
    Old(EndReason),
    /// It means nothing.
    Nothing,
}

impl Fleet {
    /// Sessions that are to move now: those between two workers, and those of workers that drain.
    pub fn moves_due(&self, now: Moment) -> Vec<SessionId> {
        if self.settling_until(now).is_some() {
            return Vec::new();
        }
        let rests = |id: &SessionId| {
            let until = self.moves.get(id).and_then(|history| history.retry_at);
            until.is_some_and(|until| !now.reached(until))
        };
        let is_free = |id: &&SessionId| {
            self.ledger.moving(id).is_none()
                && self.ledger.session(id).is_some_and(|session| session.condemned.is_none())
                && !rests(id)
        };
        let mut due: Vec<SessionId> = self.ledger.between().filter(is_free).cloned().collect();
        for (id, worker) in &self.workers {
            let wanted = worker.move_out.unwrap_or(true) && (worker.drain || worker.stopping);
            // One that is not heard of may be streaming: there a page has to ask.
            let is_heard = self.health_of(now, worker) != WorkerHealth::Down;
            if !wanted || !is_heard || self.settings.moves == MovePolicy::Never {
                continue;
            }
            let Some(held) = self.ledger.holdings(id) else { continue };
            let room = MOVES_AT_ONCE.saturating_sub(self.ledger.moves_from(id));
            let is_late =
                worker.drains_until.is_some_and(|until| until.since(now) <= self.settings.drain_timeout / 2);
            let is_due = |id: &&SessionId| {
                self.ledger.session(id).is_some_and(|session| {
                    let is_seen = session.brief.status == SessionStatus::Streaming;
                    self.may_leave(session) && (is_late || !is_seen)
                })
            };
            due.extend(held.live.iter().filter(is_free).filter(is_due).take(room).cloned());
        }
        due
    }

    /// Reserves a slot for a session on another worker.
    pub fn start_move(&mut self, now: Moment, id: &SessionId) -> Result<MoveOrder, NotMoved> {
        let is_first_try = !self.ledger.session(id).is_some_and(Session::is_between);
        let started = self.try_start(now, id);
        let history = self.moves.entry(id.clone()).or_default();
        match &started {
            Ok(_) => {
                history.retry_at = None;
                history.begun.extend(is_first_try.then_some(now));
            }
            Err(NotMoved::TooOften) if !history.limited => {
                history.limited = true;
                self.move_counts.limited += 1;
            }
            Err(_) => {}
        }
        if started.is_err() {
            history.retry_at = Some(now + MOVE_PAUSE);
        }
        self.check_invariants();
        started
    }

    fn try_start(&mut self, now: Moment, id: &SessionId) -> Result<MoveOrder, NotMoved> {
        if self.settling_until(now).is_some() {
            return Err(NotMoved::Settling);
        }
        let session = self.ledger.session(id).filter(|session| session.condemned.is_none());
        let session = session.ok_or(NotMoved::Gone)?;
        if self.ledger.moving(id).is_some() {
            return Err(NotMoved::UnderWay);
        }
        if self.bodies.denies(&BodyEntry::of_session(&session.worker, &session.brief)) {
            // It ended while another controller led, and its worker has not been heard here since.
            return Err(NotMoved::Gone);
        }
        if !session.is_between() {
            self.has_reason(now, session)?;
            self.is_within_limit(now, id)?;
        }
        self.place_move(now, id, BTreeSet::new())
    }

    fn has_reason(&self, now: Moment, session: &Session) -> Result<(), NotMoved> {
        if !session.is_live() {
            return Err(NotMoved::Gone);
        }
        let Some(worker) = self.workers.get(&session.worker) else { return Err(NotMoved::Gone) };
        let is_down = self.health_of(now, worker) == WorkerHealth::Down;
        let drains = worker.drain || worker.stopping;
        match (is_down, self.settings.moves) {
            (_, MovePolicy::Never) => Err(NotMoved::NotMovable),
            (true, MovePolicy::Drain) if !drains => Err(NotMoved::NotMovable),
            (false, _) if !drains => Err(NotMoved::NotNeeded),
            _ if !session.brief.movable => Err(NotMoved::NotMovable),
            _ if !session.brief.status.is_ready() => Err(NotMoved::NotNeeded),
            _ => Ok(()),
        }
    }

    fn may_leave(&self, session: &Session) -> bool {
        session.brief.movable && session.brief.status.is_ready() && session.condemned.is_none()
    }

    fn is_within_limit(&self, now: Moment, id: &SessionId) -> Result<(), NotMoved> {
        let begun = self.moves.get(id).map_or(&[][..], |history| history.begun.as_slice());
        let lately = begun.iter().filter(|at| now.since(**at) < LIMIT_SPAN).count();
        if lately < self.settings.move_limit as usize { Ok(()) } else { Err(NotMoved::TooOften) }
    }

    /// Chooses a worker and holds a slot there, beside the one that the session has.
    fn place_move(
        &mut self,
        now: Moment,
        id: &SessionId,
        mut tried: BTreeSet<WorkerId>,
    ) -> Result<MoveOrder, NotMoved> {
        let session = self.ledger.session(id).ok_or(NotMoved::Gone)?;
        let (body, from) = (session.brief.body, session.worker.clone());
        let rivals = |other: &Session| {
            other.brief.id != *id && other.is_live() && self.health(now, &other.worker) != WorkerHealth::Down
        };
        // The body went to another session while nobody knew of this one.
        let another_moves = self.ledger.moving_of(body).any(|other| other != id);
        if another_moves || self.ledger.reserved_for(body).is_some() || self.ledger.live_of(body).any(rivals)
        {
            return Err(NotMoved::NotMovable);
        }
        // Nor where a worker that nobody hears may have it, but for what this session is moved away from.
        if self.untold_holder(body, Some((&from, id))).is_some() {
            return Err(NotMoved::Settling);
        }
        tried.insert(from.clone());
        let unfit = self.workers.iter().filter(|(_, worker)| worker.wire < MOVES).map(|(id, _)| id.clone());
        let barred: BTreeSet<WorkerId> = tried.iter().cloned().chain(unfit).collect();
        let engine = session.brief.facts.engine.clone().unwrap_or_else(|| WEB_SERVER_ENGINE.to_owned());
        let chosen = self.choose_worker(now, (body, &engine), &barred);
        let to = chosen.map_err(|refused: Refused| match refused {
            Refused::Settling { .. } => NotMoved::Settling,
            _ => NotMoved::NoWorker,
        })?;
        let session = self.ledger.session(id).ok_or(NotMoved::Gone)?;
        let highest = self.moves.get(id).map_or(0, |history| history.highest);
        let used = self.bodies.highest_copy(body, id);
        let copy = session.brief.copy.max(highest).max(used).saturating_add(1);
        let leave = session.is_live() && self.health(now, &from) != WorkerHealth::Down;
        let lived = Duration::from_millis(u64::try_from(i128::from(now.0) - session.started).unwrap_or(0));
        tried.insert(to.clone());
        let order = MoveOrder { session_id: id.clone(), body, from, to, copy, begun: now, leave, lived };
        let (from, to) = (order.from.clone(), order.to.clone());
        let under_way = Move { body, from, to, copy, since: now, heard: now, tried, lost: false };
        let leaves = BodyEntry::of_session(&session.worker, &session.brief);
        self.left_behind.may_be(now, &leaves);
        self.left_behind.may_be(now, &BodyEntry::of_move(&order));
        self.ledger.begin_move(id, under_way);
        self.bodies.announce(BodyEntry::of_move(&order));
        Ok(order)
    }

    /// The worker of a move has certainly not taken the session: the next one, once the session was let go. Where there is none, the
    /// move is over.
    pub fn next_move(&mut self, now: Moment, order: &MoveOrder) -> Result<MoveOrder, NotMoved> {
        if !self.is_of(order) {
            return Err(NotMoved::Gone);
        }
        let Some(failed) = self.ledger.end_move(&order.session_id) else { return Err(NotMoved::Gone) };
        self.move_counts.failed += 1;
        self.left_behind.is_not(&BodyEntry::of_move(order));
        self.bodies.never_began(BodyEntry::of_move(order));
        let is_back =
            |session: &Session| session.is_live() && self.health(now, &session.worker) != WorkerHealth::Down;
        let session = self.ledger.session(&order.session_id);
        let stays = session.is_none_or(|session| session.condemned.is_some() || is_back(session));
        let next = match stays {
            true => Err(NotMoved::Gone),
            false => self.place_move(now, &order.session_id, failed.tried),
        };
        if next.is_err() {
            self.moves.entry(order.session_id.clone()).or_default().retry_at = Some(now + MOVE_PAUSE);
        }
        self.check_invariants();
        next.map(|next| MoveOrder { leave: false, ..next })
    }

    /// The old worker answered that it let the session go, as of `stamp`. Says whether the new one may begin.
    pub fn let_go(&mut self, now: Moment, order: &MoveOrder, stamp: Stamp) -> bool {
        if !self.is_of(order) {
            return false;
        }
        self.ended(now, &order.session_id, EndReason::Moved, stamp);
        let session = self.ledger.session(&order.session_id);
        let may_begin = self.is_of(order)
            && session.is_some_and(|session| session.is_between() && session.condemned.is_none());
        if !may_begin {
            self.end_move(now, order);
        }
        may_begin
    }

    /// A move comes to nothing: its session is where it was, or between.
    pub fn end_move(&mut self, now: Moment, order: &MoveOrder) {
        if self.is_of(order) && self.ledger.end_move(&order.session_id).is_some() {
            self.left_behind.is_not(&BodyEntry::of_move(order));
            self.bodies.never_began(BodyEntry::of_move(order));
            self.moves.entry(order.session_id.clone()).or_default().retry_at = Some(now + MOVE_PAUSE);
        }
        self.check_invariants();
    }

    /// The answer of the new worker is lost: its heartbeats say what became of the session, or time does.
    pub fn lose_move(&mut self, order: &MoveOrder) {
        if self.is_of(order) {
            self.burn(&order.session_id, order.copy);
            self.ledger.lose_move(&order.session_id);
        }
        self.check_invariants();
    }

    fn is_of(&self, order: &MoveOrder) -> bool {
        let known = self.ledger.moving(&order.session_id);
        known
            .is_some_and(|known| (known.copy, &known.to, known.since) == (order.copy, &order.to, order.begun))
    }

    /// This number of a copy is used up.
    fn burn(&mut self, id: &SessionId, copy: u32) {
        let history = self.moves.entry(id.clone()).or_default();
        history.highest = history.highest.max(copy);
    }

    /// The new worker answered that it has the session, as of `stamp`. Says whether the session stands there.
    pub fn arrived(&mut self, now: Moment, order: &MoveOrder, stamp: Stamp) -> (bool, Vec<FleetEvent>) {
        let id = &order.session_id;
        let mut news = Vec::new();
        if self.is_of(order) {
            let is_older = self.workers.get(&order.to).is_none_or(|worker| worker.stamp > stamp);
            if is_older {
                // A later beat was taken, and it did not say that the session is ready: it came and went.
                self.end_move(now, order);
                return (false, news);
            }
            let Some(known) = self.ledger.session(id) else { return (false, news) };
            let age_ms = millis(order.lived + now.since(order.begun));
            let brief = SessionBrief {
                status: SessionStatus::Ready,
                reason: None,
                copy: order.copy,
                connections: 0,
                age_ms,
                ..known.brief.clone()
            };
            self.settle_at(now, (&order.to, stamp), &brief, &mut news);
            news.extend(self.works(&order.to));
        }
        let body = order.body;
        self.settle_body(now, body, &mut news);
        self.check_invariants();
        let stands = |session: &Session| session.worker == order.to && session.is_live();
        (self.ledger.session(id).is_some_and(stands), news)
    }

    /// The session is at this worker from now on.
    fn settle_at(
        &mut self,
        now: Moment,
        (worker, stamp): (&WorkerId, Stamp),
        brief: &SessionBrief,
        news: &mut Vec<FleetEvent>,
    ) {
        let before = self.ledger.session(&brief.id).cloned();
        if let Some(before) = &before
            && before.worker != *worker
            && before.brief.copy < brief.copy
        {
            self.leave_here(now, before);
        }
        self.leave_others(now, worker, brief);
        let before = before.as_ref();
        let from = before.map(|session| session.worker.clone());
        let started = i128::from(now.0) - i128::from(brief.started_ms_ago);
        let session = Session {
            brief: brief.clone(),
            worker: worker.clone(),
            started: before.map_or(started, |before| before.started.min(started)),
            known_at: stamp,
            seen: now,
            // Nobody took it, as far as was known; somebody has.
            condemned: before.and_then(|before| before.condemned).filter(|why| *why != EndReason::Drained),
            awaited: false,
        };
        self.burn(&brief.id, brief.copy);
        self.ledger.end_move(&brief.id);
        self.ledger.put(session);
        if let Some(from) = from.filter(|from| from != worker && brief.status.is_live()) {
            self.move_counts.moved += 1;
            news.push(FleetEvent::SessionMoved(brief.id.clone(), from, worker.clone()));
        }
    }

    /// Takes over a list. Returns what its worker is to do with copies that are not the session.
    pub(super) fn note_sessions(
        &mut self,
        now: Moment,
        beat: &Heartbeat,
        listed: &[SessionBrief],
        news: &mut Vec<FleetEvent>,
    ) -> Vec<EndOrder> {
        let mut orders = Vec::new();
        for brief in listed {
            match self.how_listed(beat, brief) {
                Listed::Session => self.note_session(now, beat, brief, news),
                Listed::Arriving => self.note_arrival(now, beat, brief, news),
                Listed::Next => self.note_next(now, beat, brief, news),
                Listed::Old(reason) => {
                    // A worker of an older version has no copies, and knows no such word.
                    let reason = if beat.wire < MOVES { EndReason::Replaced } else { reason };
                    let copy = (reason == EndReason::Moved).then_some(brief.copy);
                    orders.push(EndOrder { session_id: brief.id.clone(), reason, copy });
                }
                Listed::Nothing => {}
            }
        }
        orders
    }

    fn how_listed(&self, beat: &Heartbeat, brief: &SessionBrief) -> Listed {
        let worker = &beat.worker_id;
        let is_awaited = |known: &Move| known.to == *worker && known.copy == brief.copy;
        if self.ledger.moving(&brief.id).is_some_and(is_awaited) {
            return Listed::Arriving;
        }
        if self.is_left(worker, brief) {
            return Listed::Old(EndReason::Moved);
        }
        let Some(known) = self.ledger.session(&brief.id) else {
            let reserved = self.ledger.reservation(&brief.id);
            return match reserved {
                Some(reserved) if reserved.worker != *worker && brief.status.is_live() => {
                    Listed::Old(EndReason::Replaced)
                }
                Some(reserved) if reserved.worker != *worker => Listed::Nothing,
                _ if never_arrived(brief) => Listed::Nothing,
                _ => Listed::Session,
            };
        };
        if known.worker == *worker {
            return Listed::Session;
        }
        match brief.copy.cmp(&known.brief.copy) {
            std::cmp::Ordering::Greater if never_arrived(brief) => Listed::Nothing,
            std::cmp::Ordering::Greater => Listed::Next,
            // What has not arrived yet may still fail: until then the one before is the session.
            std::cmp::Ordering::Less if known.brief.copy > 0 && has_not_arrived(known) => Listed::Session,
            std::cmp::Ordering::Less => Listed::Old(EndReason::Moved),
            // The next worker gets the same number, once the one before has certainly failed: it is known of late.
            std::cmp::Ordering::Equal if known.brief.copy > 0 && has_not_arrived(known) => {
                let was_there = brief.status.is_ready() || !brief.status.is_live();
                if was_there && !never_arrived(brief) { Listed::Next } else { Listed::Nothing }
            }
            std::cmp::Ordering::Equal if !brief.status.is_live() => Listed::Nothing,
            std::cmp::Ordering::Equal if brief.copy > 0 => Listed::Old(EndReason::Moved),
            std::cmp::Ordering::Equal => Listed::Old(EndReason::Replaced),
        }
    }

    /// The copy that a move waits for.
    fn note_arrival(
        &mut self,
        now: Moment,
        beat: &Heartbeat,
        brief: &SessionBrief,
        news: &mut Vec<FleetEvent>,
    ) {
        let is_lost = self.ledger.moving(&brief.id).is_some_and(|known| known.lost);
        match brief.status {
            status if status.is_ready() => self.settle_at(now, (&beat.worker_id, beat.stamp()), brief, news),
            // It was there, and is over, or has moved on.
            SessionStatus::Ended if !never_arrived(brief) => {
                self.settle_at(now, (&beat.worker_id, beat.stamp()), brief, news);
            }
            SessionStatus::Ended if is_lost => {
                self.ledger.end_move(&brief.id);
                self.move_counts.failed += 1;
            }
            SessionStatus::Ended => {}
            // Its answer says more.
            _ => self.ledger.hear_move(&brief.id, now),
        }
    }

    /// A copy of a higher number than the books have.
    fn note_next(&mut self, now: Moment, beat: &Heartbeat, brief: &SessionBrief, news: &mut Vec<FleetEvent>) {
        self.burn(&brief.id, brief.copy);
        if brief.status.is_ready() || !brief.status.is_live() {
            return self.settle_at(now, (&beat.worker_id, beat.stamp()), brief, news);
        }
        let known = self.ledger.moving(&brief.id).map(|known| known.copy);
        if known.is_some_and(|known| known >= brief.copy) {
            return;
        }
        self.adopt_move(now, &brief.id, (&beat.worker_id, brief.copy));
    }

    /// A move that another controller began, or one whose number we did not know.
    fn adopt_move(&mut self, now: Moment, id: &SessionId, (to, copy): (&WorkerId, u32)) {
        let Some(session) = self.ledger.session(id) else { return };
        let (body, from, to) = (session.brief.body, session.worker.clone(), to.clone());
        let tried = [from.clone(), to.clone()].into();
        let under_way = Move { body, from, to, copy, since: now, heard: now, tried, lost: true };
        self.ledger.begin_move(id, under_way);
    }

    /// A worker lists a later copy of a session that was its own: a move that leads to an earlier one is over.
    pub(super) fn supersede(&mut self, beat: &Heartbeat, brief: &SessionBrief) {
        let known = self.ledger.session(&brief.id);
        let is_later =
            known.is_some_and(|known| known.worker == beat.worker_id && known.brief.copy < brief.copy);
        if !is_later {
            return;
        }
        self.burn(&brief.id, brief.copy);
        if self.ledger.moving(&brief.id).is_some_and(|under_way| under_way.copy <= brief.copy) {
            self.ledger.end_move(&brief.id);
        }
    }

    /// Before a copy of a lower number becomes the session again: the one that has not arrived is on its way.
    pub(super) fn step_back(&mut self, now: Moment, beat: &Heartbeat, brief: &SessionBrief) {
        let Some(known) = self.ledger.session(&brief.id) else { return };
        if known.worker == beat.worker_id || known.brief.copy <= brief.copy {
            return;
        }
        let (to, copy, lives) = (known.worker.clone(), known.brief.copy, known.is_live());
        let session = Session {
            brief: brief.clone(),
            worker: beat.worker_id.clone(),
            known_at: beat.stamp(),
            seen: now,
            awaited: false,
            ..known.clone()
        };
        self.burn(&brief.id, copy);
        self.ledger.put(session);
        if lives {
            self.adopt_move(now, &brief.id, (&to, copy));
        }
    }

    /// Lets time pass for moves.
    pub(super) fn tick_moves(&mut self, now: Moment, news: &mut Vec<FleetEvent>) {
        let life = self.settings.create_timeout.saturating_add(RESERVATION_MARGIN);
        let expired: Vec<(SessionId, WorkerId)> = (self.ledger.moves())
            .filter(|(_, known)| now.reached(known.heard + life))
            .map(|(id, known)| (id.clone(), known.to.clone()))
            .collect();
        for (id, to) in expired {
            if let Some(known) = self.ledger.end_move(&id) {
                self.burn(&id, known.copy);
                self.move_counts.failed += 1;
            }
            news.push(FleetEvent::MoveExpired(id, to));
        }
        let hopeless: Vec<SessionId> = (self.ledger.between())
            .filter(|id| self.ledger.moving(id).is_none())
            .filter(|id| self.ledger.session(id).is_some_and(|session| is_hopeless(now, session)))
            .cloned()
            .collect();
        for id in hopeless {
            if self.ledger.condemn(&id, EndReason::Drained) {
                self.move_counts.given_up += 1;
                news.push(FleetEvent::MoveGivenUp(id));
            }
        }
        let ledger = &self.ledger;
        self.moves.retain(|id, _| ledger.session(id).is_some());
    }

    /// A new process of a worker: what was lost on the way to the old one did not arrive.
    pub(super) fn forget_lost_moves(&mut self, worker: &WorkerId) {
        self.end_moves(|known| known.lost && known.to == *worker);
    }

    /// A worker is taken out of the books.
    pub(super) fn drop_moves_to(&mut self, worker: &WorkerId) {
        self.end_moves(|known| known.to == *worker);
    }

    fn end_moves(&mut self, which: impl Fn(&Move) -> bool) {
        let moves = self.ledger.moves().filter(|(_, known)| which(known));
        let ids: Vec<SessionId> = moves.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.ledger.end_move(&id);
            self.move_counts.failed += 1;
        }
    }

    /// Whether the sessions of a worker move when it drains; `None`: as `sessions.move` says.
    pub fn set_move_out(&mut self, worker: &WorkerId, moves: Option<bool>) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.move_out = moves;
        }
    }

    /// What became of moves.
    pub fn move_counts(&self) -> MoveCounts {
        self.move_counts
    }

    /// Moves under way, with where they lead.
    pub fn moves(&self) -> impl Iterator<Item = (&SessionId, &WorkerId)> {
        self.ledger.moves().map(|(id, known)| (id, &known.to))
    }

    /// Whether a session is on its way from one worker to another, so that nobody can serve it.
    pub(super) fn is_moving(&self, now: Moment, session: &Session) -> bool {
        let under_way = || self.ledger.moving(&session.brief.id).is_some();
        let is_down = || self.health(now, &session.worker) == WorkerHealth::Down;
        session.is_between() || (under_way() && (!session.is_live() || is_down()))
    }
}

/// Whether a listed copy is one that did not come to be: its worker has let go of all of it.
fn never_arrived(brief: &SessionBrief) -> bool {
    brief.copy > 0 && brief.reason == Some(EndReason::CreateFailed)
}

/// Whether what the books have for the session is a copy that is not ready, or never was.
fn has_not_arrived(session: &Session) -> bool {
    use SessionStatus::{Pairing, Preparing, Requested, Starting};
    matches!(session.brief.status, Requested | Preparing | Starting | Pairing)
        || never_arrived(&session.brief)
}

/// Whether a listed copy is, or was, a session.
pub(super) fn has_arrived(brief: &SessionBrief) -> bool {
    let was_there = !brief.status.is_live() && brief.reason != Some(EndReason::CreateFailed);
    brief.status.is_ready() || was_there
}

fn is_hopeless(now: Moment, session: &Session) -> bool {
    let told = session.brief.started_ms_ago.saturating_sub(session.brief.age_ms);
    let since = Duration::from_millis(told) + now.since(session.seen);
    session.condemned.is_none() && since >= MOVE_PATIENCE
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
