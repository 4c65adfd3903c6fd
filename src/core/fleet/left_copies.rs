//! The memory of copies that sessions left behind ([`super::left_behind`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::body_entry::{BodyEntry, SessionTag, Spot};
use super::wire::SessionBrief;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::time::Moment;

/// Copies that are remembered: a hundred bytes each, here and in the store. More means that thousands of workers died with moving sessions and none
/// came back. Beyond that the oldest are forgotten first.
pub const MOST_LEFT: usize = 1 << 16;

/// How long a copy is remembered by one controller process: a machine that is repaired comes back within a week, or is set up anew.
pub const LEFT_LASTS: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A beat that comes so long after a copy was left was begun after that. A worker waits 10 s for the answer to a beat.
const BEAT_TRAVELS: Duration = Duration::from_secs(30);

/// Between two looks for what is too old.
pub(super) const TIDIED_EVERY: Duration = Duration::from_secs(3_600);

/// Of too many so many more go at once: each by itself would look through all of them.
pub(super) const FORGOTTEN_AT_ONCE: usize = MOST_LEFT / 16;

pub(super) type Key = (BodyAddr, SessionTag);

/// A copy at a worker, and all earlier ones there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub copy: u32,
    /// When this controller learned of it.
    pub since: Moment,
}

/// Copies by session and by worker.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub by_session: BTreeMap<Key, BTreeMap<WorkerId, Left>>,
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

    pub(super) fn remove(&mut self, worker: &WorkerId, key: Key) -> Option<Left> {
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

    pub(super) fn all(&self) -> impl Iterator<Item = (&WorkerId, Key, Left)> {
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
    pub left: Copies,
    /// Workers that were to get a session, or to go on without it.
    pub maybe: Copies,
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
    pub(super) fn leave(&mut self, now: Moment, worker: &WorkerId, key: Key, copy: u32) {
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
    pub(super) fn is_left(&self, worker: &WorkerId, body: BodyAddr, id: &SessionId, copy: u32) -> bool {
        self.left.get(worker, (body, id.into())).is_some_and(|left| copy <= left.copy)
    }

    /// All copies that are known to be left behind.
    pub(super) fn entries(&self) -> impl Iterator<Item = BodyEntry> + '_ {
        self.left.all().map(|(worker, (body, session), left)| {
            BodyEntry::left(worker, Spot { body, session, copy: left.copy })
        })
    }

    /// This controller keeps the store from now on, in which this is.
    pub(super) fn keep(&mut self, now: Moment, stored: &[BodyEntry]) {
        self.writes = true;
        let stored: BTreeSet<&BodyEntry> = stored.iter().collect();
        for entry in &stored {
            self.left.put(entry.worker(), entry.key(), Left { copy: entry.copy(), since: now });
        }
        let known: BTreeSet<BodyEntry> = self.entries().collect();
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
    pub(super) fn hear(&mut self, now: Moment, worker: &WorkerId, listed: &[SessionBrief]) {
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
