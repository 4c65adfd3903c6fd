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
//! A worker sends no record of a session that may have moved before a controller has judged its list: see [`Fleet::is_unsure`].

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bodies::{BodyEntry, SessionTag, Spot};
use super::ledger::Session;
use super::moves::has_arrived;
use super::wire::{Heartbeat, SessionBrief};
use super::{Fleet, FleetEvent};
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::time::Moment;

/// Copies that are remembered: a hundred bytes each, here and in the store. More means that thousands of workers died with moving sessions and none
/// came back. Beyond that the oldest are forgotten first.
pub const MOST_LEFT: usize = 1 << 16;

/// How long a copy is remembered by one controller process: a machine that is repaired comes back within a week, or is set up anew.
pub const LEFT_LASTS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A beat that comes so long after a copy was left was begun after that. A worker waits 10 s for the answer to a beat.
const BEAT_TRAVELS: Duration = Duration::from_secs(30);

/// Between two looks for what is too old.
const TIDIED_EVERY: Duration = Duration::from_secs(3_600);

/// Of too many so many more go at once: each by itself would look through all of them.
const FORGOTTEN_AT_ONCE: usize = MOST_LEFT / 16;

type Key = (BodyAddr, SessionTag);

/// A copy at a worker, and all earlier ones there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    copy: u32,
    /// When this controller learned of it.
    since: Moment,
}

/// Copies by session and by worker.
#[derive(Debug, Default)]
struct Copies {
    by_session: BTreeMap<Key, BTreeMap<WorkerId, Left>>,
    by_worker: BTreeMap<WorkerId, BTreeSet<Key>>,
    count: usize,
}

impl Copies {
    fn get(&self, worker: &WorkerId, key: Key) -> Option<Left> {
        self.by_session.get(&key)?.get(worker).copied()
    }

    /// Of two numbers of one session the higher stands. Whether this is news.
    fn put(&mut self, worker: &WorkerId, key: Key, left: Left) -> bool {
        if self.get(worker, key).is_some_and(|known| known.copy >= left.copy) {
            return false;
        }
        let before = self.by_session.entry(key).or_default().insert(worker.clone(), left);
        self.by_worker.entry(worker.clone()).or_default().insert(key);
        self.count += usize::from(before.is_none());
        true
    }

    fn remove(&mut self, worker: &WorkerId, key: Key) -> Option<Left> {
        let copies = self.by_session.get_mut(&key)?;
        let left = copies.remove(worker)?;
        if copies.is_empty() {
            self.by_session.remove(&key);
        }
        if let Some(keys) = self.by_worker.get_mut(worker) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_worker.remove(worker);
            }
        }
        self.count -= 1;
        Some(left)
    }

    /// What a worker does not list, as of a beat that was begun after it was known.
    fn unlisted(&self, now: Moment, worker: &WorkerId, listed: &BTreeMap<Key, u32>) -> Vec<(Key, Left)> {
        let keys = self.by_worker.get(worker).into_iter().flatten();
        let all = keys.filter_map(|key| Some((*key, self.get(worker, *key)?)));
        let is_gone = |(key, left): &(Key, Left)| {
            let there = listed.get(key).is_some_and(|copy| *copy <= left.copy);
            !there && now.reached(left.since + BEAT_TRAVELS)
        };
        all.filter(is_gone).collect()
    }

    fn all(&self) -> impl Iterator<Item = (&WorkerId, Key, Left)> {
        let by_session = self.by_session.iter();
        by_session.flat_map(|(key, copies)| copies.iter().map(|(worker, left)| (worker, *key, *left)))
    }

    /// Those that are too old, and the oldest of too many.
    fn overdue(&self, now: Moment) -> Vec<(WorkerId, Key)> {
        let mut ages: Vec<(Moment, &WorkerId, Key)> =
            self.all().map(|(worker, key, left)| (left.since, worker, key)).collect();
        ages.sort_unstable();
        let too_many = if self.count > MOST_LEFT { self.count - MOST_LEFT + FORGOTTEN_AT_ONCE } else { 0 };
        let old = ages.iter().take_while(|(since, ..)| now.reached(*since + LEFT_LASTS)).count();
        ages.into_iter().take(too_many.max(old)).map(|(_, worker, key)| (worker.clone(), key)).collect()
    }
}

/// What is remembered of copies.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// Another copy is the session.
    left: Copies,
    /// Workers that were to get a session, or to go on without it.
    maybe: Copies,
    /// This controller keeps the store.
    writes: bool,
    /// What is to be written (true) or removed.
    changes: BTreeMap<BodyEntry, bool>,
    /// When it was last looked at what is too old.
    tidied: Moment,
}

impl LeftBehind {
    fn note(&mut self, worker: &WorkerId, (body, session): Key, copy: u32, on: bool) {
        if self.writes {
            self.changes.insert(BodyEntry::left(worker, Spot { body, session, copy }), on);
        }
    }

    /// A worker may have this copy.
    pub(super) fn may_be(&mut self, now: Moment, entry: &BodyEntry) {
        self.maybe.put(entry.worker(), entry.key(), Left { copy: entry.copy(), since: now });
    }

    /// It certainly has not.
    pub(super) fn is_not(&mut self, entry: &BodyEntry) {
        let known = self.maybe.get(entry.worker(), entry.key());
        if known.is_some_and(|known| known.copy == entry.copy()) {
            self.maybe.remove(entry.worker(), entry.key());
        }
    }

    /// What a worker has of this copy and earlier ones is not the session.
    fn leave(&mut self, now: Moment, worker: &WorkerId, key: Key, copy: u32) {
        let before = self.left.get(worker, key);
        if self.left.put(worker, key, Left { copy, since: now }) {
            before.into_iter().for_each(|before| self.note(worker, key, before.copy, false));
            self.note(worker, key, copy, true);
        }
    }

    fn remove(&mut self, worker: &WorkerId, key: Key) {
        if let Some(left) = self.left.remove(worker, key) {
            self.note(worker, key, left.copy, false);
        }
    }

    /// Whether a worker has this copy of a session left.
    fn is_left(&self, worker: &WorkerId, body: BodyAddr, id: &SessionId, copy: u32) -> bool {
        self.left.get(worker, (body, id.into())).is_some_and(|left| copy <= left.copy)
    }

    /// This controller keeps the store from now on, in which this is.
    fn keep(&mut self, now: Moment, stored: &[BodyEntry]) {
        self.writes = true;
        let stored: BTreeSet<&BodyEntry> = stored.iter().collect();
        for entry in &stored {
            self.left.put(entry.worker(), entry.key(), Left { copy: entry.copy(), since: now });
        }
        let entry = |(worker, (body, session), left): (&WorkerId, Key, Left)| {
            BodyEntry::left(worker, Spot { body, session, copy: left.copy })
        };
        let known: BTreeSet<BodyEntry> = self.left.all().map(entry).collect();
        let gone =
            stored.iter().filter(|entry| !known.contains(entry)).map(|entry| ((*entry).clone(), false));
        self.changes = gone.collect();
        self.changes
            .extend(known.into_iter().filter(|entry| !stored.contains(entry)).map(|entry| (entry, true)));
    }

    /// Another controller keeps the store, or nobody.
    pub(super) fn rest(&mut self) {
        self.writes = false;
        self.changes.clear();
    }

    /// The same leadership goes on: what is in the store by now is not known.
    pub(super) fn go_on(&mut self, now: Moment) {
        self.keep(now, &[]);
    }

    /// What changed since this was called last.
    pub(super) fn take_changes(&mut self) -> BTreeMap<BodyEntry, bool> {
        std::mem::take(&mut self.changes)
    }

    /// Whether something is remembered of a worker.
    pub(super) fn knows(&self, worker: &WorkerId) -> bool {
        self.left.by_worker.contains_key(worker)
    }

    /// A worker is forgotten by an operator: who has its name next has none of this.
    pub(super) fn forget(&mut self, worker: &WorkerId) {
        let of = |copies: &Copies| copies.by_worker.get(worker).cloned().unwrap_or_default();
        of(&self.left).into_iter().for_each(|key| self.remove(worker, key));
        for key in of(&self.maybe) {
            self.maybe.remove(worker, key);
        }
    }

    /// A worker lists this, and nothing else.
    fn hear(&mut self, now: Moment, worker: &WorkerId, listed: &[SessionBrief]) {
        if ![&self.left, &self.maybe].iter().any(|copies| copies.by_worker.contains_key(worker)) {
            return;
        }
        let listed =
            listed.iter().map(|brief| ((brief.body, SessionTag::from(&brief.id)), brief.copy)).collect();
        for (key, _) in self.left.unlisted(now, worker, &listed) {
            self.remove(worker, key);
        }
        for (key, _) in self.maybe.unlisted(now, worker, &listed) {
            self.maybe.remove(worker, key);
        }
    }

    /// Lets time pass. How many copies were forgotten that nobody had told of.
    pub(super) fn tick(&mut self, now: Moment) -> usize {
        let is_full = self.left.count.max(self.maybe.count) > MOST_LEFT;
        if !is_full && now.since(self.tidied) < TIDIED_EVERY {
            return 0;
        }
        self.tidied = now;
        for (worker, key) in self.maybe.overdue(now) {
            self.maybe.remove(&worker, key);
        }
        let overdue = self.left.overdue(now);
        overdue.iter().for_each(|(worker, key)| self.remove(worker, *key));
        overdue.len()
    }
}

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
        let all = self.left_behind.left.all();
        all.map(|(worker, (body, session), left)| {
            BodyEntry::left(worker, Spot { body, session, copy: left.copy })
        })
    }

    /// Whether a worker lists a copy that was left behind.
    pub(super) fn is_left(&self, worker: &WorkerId, brief: &SessionBrief) -> bool {
        self.left_behind.is_left(worker, brief.body, &brief.id, brief.copy)
    }

    /// This copy is the session: lower ones are not, wherever they are, and if it has ended, nor are those that may be elsewhere.
    pub(super) fn leave_others(&mut self, now: Moment, worker: &WorkerId, brief: &SessionBrief) {
        let key = (brief.body, SessionTag::from(&brief.id));
        let is_over = has_record(brief)
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
        for brief in listed.iter().filter(|brief| has_record(brief)) {
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
            self.ledger.moving(&brief.id).is_some() || self.unwritten.is_of(brief.body, &brief.id)
        };
        self.settling_until(now).is_some() || listed.iter().any(|brief| has_record(brief) && is_open(brief))
    }

    /// Lets time pass.
    pub(super) fn tick_left(&mut self, now: Moment, news: &mut Vec<FleetEvent>) {
        let forgotten = self.left_behind.tick(now);
        if forgotten > 0 {
            news.push(FleetEvent::LeftForgotten(forgotten));
        }
    }
}

/// Whether its worker sends a record of what it lists so.
fn has_record(brief: &SessionBrief) -> bool {
    let never_was = brief.reason == Some(EndReason::CreateFailed);
    !brief.status.is_live() && brief.reason != Some(EndReason::Moved) && !never_was
}
