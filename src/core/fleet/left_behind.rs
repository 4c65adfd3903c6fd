//! Copies that sessions left behind: what a worker that comes back after a long time has to be told.
//!
//! A session that goes on at another worker leaves a copy where it was. While both workers list it, the books say which one is the session
//! ([`super::moves`]). But the new worker forgets the session some time after its end, and the old one may be dead or cut off for longer than that.
//! It would come back with a session that nobody else has, and send a second record of it. So the controller remembers each copy that was left behind,
//! until its worker was heard and does not list it any more.
//!
//! ```text
//!           a move begins                   another copy is the session            its worker's heartbeat does not list it
//!  (none) ────────────────▶ may be there ─────────────────────────────▶ left ──────────────────────────────────────────▶ (none)
//!                              │   never began, or not listed                 a worker that lists it is told that it has moved
//!                              └──────────────▶ (none)
//! ```
//! What is left is kept where the next leader finds it: with a lease in the table of bodies ([`super::bodies`]), else in a file of the controller.
//! A worker sends no record of a session that may have moved before a controller has judged its list: see `is_unsure`.

#[cfg(test)]
mod tests;

use super::body_entry::{BodyEntry, SessionTag};
use super::ledger::Session;
use super::moves::has_arrived;
use super::wire::{Heartbeat, SessionBrief};
use super::{Fleet, FleetEvent};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::time::Moment;

impl Fleet {
    /// What the store has of copies that were left behind, where this controller alone keeps it: from now on it is told of changes
    /// ([`Fleet::take_body_changes`]). With a lease [`Fleet::set_bodies`] does this.
    pub fn set_left_behind(&mut self, now: Moment, stored: &[BodyEntry]) {
        self.left_behind.keep(now, stored);
        let forsaken: Vec<SessionId> = (self.ledger.sessions())
            .filter(|session| self.is_left(&session.worker, &session.brief))
            .map(|session| session.brief.id.clone())
            .collect();
        forsaken.iter().for_each(|id| {
            self.ledger.remove(id);
        });
        self.check_invariants();
    }

    /// All copies that are known to be left behind.
    pub fn left_behind(&self) -> impl Iterator<Item = BodyEntry> + '_ {
        self.left_behind.entries()
    }

    /// Whether a worker lists a copy that was left behind.
    pub(super) fn is_left(&self, worker: &WorkerId, brief: &SessionBrief) -> bool {
        self.left_behind.is_left(worker, brief.body, &brief.id, brief.copy)
    }

    /// This copy is the session: lower ones are not, wherever they are, and if it has ended, nor are those that may be elsewhere.
    pub(super) fn leave_others(&mut self, now: Moment, worker: &WorkerId, brief: &SessionBrief) {
        let key = (brief.body, SessionTag::from(&brief.id));
        let is_over = brief.has_record()
            && self.settling_until(now).is_none()
            && self.ledger.moving(&brief.id).is_none();
        let maybe = self.left_behind.maybe.by_session.get(&key).into_iter().flatten();
        let maybe = maybe.map(|(other, left)| (other.clone(), left.copy));
        let listed = self.bodies.holders(key).map(|(other, copy)| (other.clone(), copy));
        let others: Vec<(WorkerId, u32)> = maybe
            .chain(listed)
            .filter(|(other, copy)| other != worker && (is_over || *copy < brief.copy))
            .collect();
        for (other, copy) in others {
            self.left_behind.leave(now, &other, key, copy);
            self.left_behind.maybe.remove(&other, key);
        }
    }

    /// The table of bodies is known now: the same for all sessions that have moved.
    pub(super) fn leave_all_others(&mut self, now: Moment) {
        let moved = |session: &&Session| session.brief.copy > 0 && has_arrived(&session.brief);
        let moved = self.ledger.sessions().filter(moved);
        let moved: Vec<(WorkerId, SessionBrief)> =
            moved.map(|session| (session.worker.clone(), session.brief.clone())).collect();
        moved.iter().for_each(|(worker, brief)| self.leave_others(now, worker, brief));
    }

    /// A session has left this worker, where it was this copy.
    pub(super) fn leave_here(&mut self, now: Moment, session: &Session) {
        let SessionBrief { body, id, copy, .. } = &session.brief;
        self.left_behind.leave(now, &session.worker, (*body, id.into()), *copy);
    }

    /// A heartbeat was taken, and this was its list: what ended there for good has its record there.
    pub(super) fn note_left(&mut self, now: Moment, beat: &Heartbeat, listed: &[SessionBrief]) {
        self.left_behind.hear(now, &beat.worker_id, listed);
        for brief in listed.iter().filter(|brief| brief.has_record()) {
            let key = (brief.body, SessionTag::from(&brief.id));
            let is_elsewhere = self.left_behind.maybe.by_session.contains_key(&key)
                || self.bodies.highest_copy(brief.body, &brief.id) > 0;
            let session = self.ledger.session(&brief.id);
            let is_session =
                session.is_some_and(|known| known.worker == beat.worker_id && !known.holds_body());
            if is_elsewhere && is_session {
                self.leave_others(now, &beat.worker_id, brief);
            }
        }
    }

    /// Whether it is open what becomes of a session that this worker lists as ended: it is not to send its record yet.
    pub(super) fn is_unsure(&self, now: Moment, listed: &[SessionBrief]) -> bool {
        // The next leader has to know of it, too.
        let is_open = |brief: &SessionBrief| {
            self.ledger.moving(&brief.id).is_some() || self.unwritten.lacks(brief.body, &brief.id)
        };
        self.settling_until(now).is_some() || listed.iter().any(|brief| brief.has_record() && is_open(brief))
    }

    /// Lets time pass.
    pub(super) fn tick_left(&mut self, now: Moment, news: &mut Vec<FleetEvent>) {
        let forgotten = self.left_behind.tick(now);
        if forgotten > 0 {
            news.push(FleetEvent::LeftForgotten(forgotten));
        }
    }
}
