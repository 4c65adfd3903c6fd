//! The table of bodies: which worker may have a session of which body, kept where the next leader reads it.
//!
//! A controller hears of sessions from their workers. One that begins to lead and cannot hear a worker would know nothing of what the leader before
//! it had there, and start a second session of the same body elsewhere, or move a session under a number that is used. So a leader writes an entry
//! *before* a create or a move goes to a worker, and whoever leads next reads them all before its first create.
//!
//! ```text
//!          reserve, place_move                  its worker's heartbeat does not list it
//!  (none) ────────────────────▶ an entry ────────────────────────────────────────────────▶ (none)
//!                                  │  ▲     release: certainly never begun
//!        another controller leads  │  │ its worker's heartbeat lists it
//!                                  ▼  │
//!                               untold: the body is taken ── the time in which a worker goes down ──▶ the body is free
//! ```
//! An entry is *untold* from the moment a controller leads until its worker has told that it knows of this leadership: such a heartbeat lists all
//! that was begun for earlier ones (`super::takeover`). A worker that stays silent for as long as a worker may, from the beginning of the
//! leadership on, counts as down, and a worker that is down holds no body. Its entries stay until it is heard, or forgotten.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use super::body_entry::{BodyEntry, SessionTag};
use super::body_entry::{Spot, spot};
use super::ledger::Holdings;
use super::move_order::MoveOrder;
use super::placed::Placed;
use super::wire::{Heartbeat, SessionBrief};
use super::{FORGET_AFTER, Fleet, FleetEvent};
use crate::core::fleet::ledger::Ledger;
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::reason::EndReason;
use crate::core::time::Moment;

impl BodyEntry {
    /// Of a create.
    pub fn of_create(placed: &Placed) -> BodyEntry {
        BodyEntry::at(&placed.worker, spot(placed.body, &placed.session_id, 0))
    }

    /// Of a move, at the worker that it leads to.
    pub fn of_move(order: &MoveOrder) -> BodyEntry {
        BodyEntry::at(&order.to, spot(order.body, &order.session_id, order.copy))
    }
}

/// Who may have a session of a body, as far as a new leader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The worker that has not told yet.
    pub worker: WorkerId,
    /// The session that it was asked for.
    pub session: SessionTag,
    /// Until when it holds the body without telling.
    pub until: Moment,
}

/// What of the table is not in the store yet.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// To be taken and written.
    new: BTreeMap<BodyEntry, bool>,
    /// What was not said to be written, by session.
    waiting: BTreeMap<(BodyAddr, SessionTag), BTreeMap<BodyEntry, bool>>,
}

impl Unwritten {
    /// Whether the store lacks something about a session.
    pub(super) fn lacks(&self, body: BodyAddr, session: &SessionId) -> bool {
        self.waiting.contains_key(&(body, session.into()))
    }
}

/// The table of a controller that leads, or led; `None` without a lease, and before the first leadership.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    table: Option<Table>,
    /// What was read for a leadership that has not begun yet here.
    early: Option<(u64, Vec<BodyEntry>)>,
}

#[derive(Debug)]
struct Table {
    /// The leadership that it was read for.
    number: u64,
    /// When that began.
    since: Moment,
    /// False: it is not read yet.
    is_read: bool,
    /// False: another controller leads, or may.
    leads: bool,
    /// What workers told of this leadership before the table was read.
    early: BTreeMap<WorkerId, BTreeSet<Spot>>,
    /// All entries.
    entries: BTreeMap<WorkerId, BTreeSet<Spot>>,
    /// Workers with entries of earlier leaderships, which have told nothing since.
    untold: BTreeSet<WorkerId>,
    /// What they may have, as long as it holds bodies.
    taken: BTreeMap<BodyAddr, BTreeSet<(WorkerId, SessionTag)>>,
    /// The highest numbers of copies that earlier leaders used.
    copies: BTreeMap<(BodyAddr, SessionTag), u32>,
    /// What is to be written (true) or removed.
    changes: BTreeMap<BodyEntry, bool>,
}

impl Table {
    fn awaited(number: u64, since: Moment) -> Table {
        Table {
            number,
            since,
            is_read: false,
            leads: true,
            early: BTreeMap::new(),
            entries: BTreeMap::new(),
            untold: BTreeSet::new(),
            taken: BTreeMap::new(),
            copies: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    fn fill(&mut self, entries: Vec<BodyEntry>) {
        self.is_read = true;
        for BodyEntry { worker, spot, .. } in entries {
            self.taken.entry(spot.body).or_default().insert((worker.clone(), spot.session));
            if spot.copy > 0 {
                let highest = self.copies.entry((spot.body, spot.session)).or_default();
                *highest = spot.copy.max(*highest);
            }
            self.untold.insert(worker.clone());
            self.entries.entry(worker).or_default().insert(spot);
        }
        for (worker, told) in std::mem::take(&mut self.early) {
            self.set(&worker, told, true);
        }
    }

    /// What this worker has now, and what is on its way to it.
    fn set(&mut self, worker: &WorkerId, now_there: BTreeSet<Spot>, tells: bool) {
        if tells {
            self.trust(worker);
        }
        let is_told = !self.untold.contains(worker);
        let known = self.entries.remove(worker).unwrap_or_default();
        for new in now_there.difference(&known) {
            self.changes.insert(BodyEntry::at(worker, *new), true);
        }
        let gone = known.difference(&now_there).filter(|_| is_told);
        for gone in gone {
            self.changes.insert(BodyEntry::at(worker, *gone), false);
        }
        let left: BTreeSet<Spot> =
            if is_told { now_there } else { known.union(&now_there).copied().collect() };
        if !left.is_empty() {
            self.entries.insert(worker.clone(), left);
        }
    }

    /// What this worker tells is all that it has.
    fn trust(&mut self, worker: &WorkerId) {
        if !self.untold.remove(worker) {
            return;
        }
        for spot in self.entries.get(worker).into_iter().flatten() {
            if let Some(holders) = self.taken.get_mut(&spot.body) {
                holders.remove(&(worker.clone(), spot.session));
                if holders.is_empty() {
                    self.taken.remove(&spot.body);
                }
            }
        }
    }

    /// The entries of a worker mean nothing any more.
    fn forget(&mut self, worker: &WorkerId) {
        self.set(worker, BTreeSet::new(), true);
    }

    fn remove(&mut self, entry: BodyEntry) {
        if let Some(known) = self.entries.get_mut(&entry.worker)
            && known.remove(&entry.spot)
        {
            if known.is_empty() {
                self.entries.remove(&entry.worker);
            }
            self.changes.insert(entry, false);
        }
    }
}

impl Bodies {
    /// This controller begins to lead, or goes on with the number that it had.
    pub(super) fn lead(&mut self, now: Moment, number: u64) {
        let early = self.early.take().filter(|(known, _)| *known == number);
        match &mut self.table {
            // Nobody has led in between.
            Some(table) if table.number == number => table.leads = true,
            _ => self.table = Some(Table::awaited(number, now)),
        }
        if let Some((number, entries)) = early {
            self.read(number, entries);
        }
    }

    /// This controller leads no more; nobody needs its table, unless it leads again with the same number.
    pub(super) fn rest(&mut self) {
        if let Some(table) = &mut self.table {
            table.leads = false;
        }
    }

    /// This controller stood still for so long: nobody could tell it anything.
    pub(super) fn stood_still(&mut self, time: Duration) {
        if let Some(table) = &mut self.table {
            table.since = table.since + time;
        }
    }

    /// These were all entries when this leadership began.
    fn read(&mut self, number: u64, entries: Vec<BodyEntry>) {
        match &mut self.table {
            Some(table) if table.number == number && !table.is_read => table.fill(entries),
            Some(table) if table.number == number => {}
            _ => self.early = Some((number, entries)),
        }
    }

    /// The table of this controller while it leads.
    fn of_leader(&mut self) -> Option<&mut Table> {
        self.table.as_mut().filter(|table| table.leads && table.is_read)
    }

    /// Whether a leader waits for the table, and since when.
    pub(super) fn awaited(&self) -> Option<Moment> {
        self.table.as_ref().filter(|table| table.leads && !table.is_read).map(|table| table.since)
    }

    /// An entry that is written before its worker is asked.
    pub(super) fn announce(&mut self, entry: BodyEntry) {
        if let Some(table) = self.of_leader() {
            table.changes.remove(&entry);
            table.entries.entry(entry.worker).or_default().insert(entry.spot);
        }
    }

    /// What an entry stands for certainly never began.
    pub(super) fn never_began(&mut self, entry: BodyEntry) {
        if let Some(table) = self.of_leader() {
            table.remove(entry);
        }
    }

    /// A worker is forgotten by an operator.
    pub(super) fn forget(&mut self, worker: &WorkerId) {
        if let Some(table) = &mut self.table {
            table.early.remove(worker);
        }
        if let Some(table) = self.of_leader() {
            table.forget(worker);
        }
    }

    /// A worker is forgotten because it was down for long; one that has told nothing yet gets as long, from the beginning of the leadership on.
    pub(super) fn forget_told(&mut self, worker: &WorkerId) {
        if let Some(table) = self.of_leader()
            && !table.untold.contains(worker)
        {
            table.forget(worker);
        }
    }

    /// Whether there are entries of a worker.
    pub(super) fn knows(&self, worker: &WorkerId) -> bool {
        self.table.as_ref().is_some_and(|table| table.leads && table.entries.contains_key(worker))
    }

    /// Whether the table is known and does not have this: a session that lives, or waits for its next worker, has an entry.
    pub(super) fn denies(&self, entry: &BodyEntry) -> bool {
        let table = self.table.as_ref().filter(|table| table.leads && table.is_read);
        table.is_some_and(|table| {
            !table.entries.get(&entry.worker).is_some_and(|spots| spots.contains(&entry.spot))
        })
    }

    /// The highest number of a copy that earlier leaders used for a session.
    pub(super) fn highest_copy(&self, body: BodyAddr, session: &SessionId) -> u32 {
        let table = self.table.as_ref();
        let known = table.and_then(|table| table.copies.get(&(body, SessionTag::from(session))));
        known.copied().unwrap_or_default()
    }

    /// Workers with an entry of a session, and the highest copy of each.
    pub(super) fn holders(
        &self,
        (body, session): (BodyAddr, SessionTag),
    ) -> impl Iterator<Item = (&WorkerId, u32)> {
        let of = move |copy| Spot { body, session, copy };
        let entries = self.table.iter().filter(|table| table.leads).flat_map(|table| &table.entries);
        entries.filter_map(move |(worker, spots)| {
            Some((worker, spots.range(of(0)..=of(u32::MAX)).next_back()?.copy))
        })
    }

    /// Who may have a session of a body and has not told since the leadership began; but not this session at this worker.
    pub(super) fn untold(
        &self,
        body: BodyAddr,
        patience: Duration,
        but: Option<(&WorkerId, &SessionId)>,
    ) -> Option<Untold> {
        let table = self.table.as_ref().filter(|table| table.leads)?;
        let but = but.map(|(worker, session)| (worker, SessionTag::from(session)));
        let is_other = |(worker, session): &&(WorkerId, SessionTag)| but != Some((worker, *session));
        let (worker, session) = table.taken.get(&body)?.iter().find(is_other)?;
        Some(Untold { worker: worker.clone(), session: *session, until: table.since + patience })
    }
}

impl Fleet {
    /// The table as it was when this controller began to lead with this number. Before it is known no create is taken.
    pub fn set_bodies(&mut self, now: Moment, number: u64, entries: Vec<BodyEntry>) {
        let (left, bodies): (Vec<BodyEntry>, Vec<BodyEntry>) =
            entries.into_iter().partition(|entry| entry.is_left);
        self.bodies.read(number, bodies);
        self.set_left_behind(now, &left);
        self.leave_all_others(now);
    }

    /// Whether a leader waits for the table of bodies.
    pub fn awaits_bodies(&self) -> bool {
        self.bodies.awaited().is_some()
    }

    /// What is to be written into the table (true), and what is to be removed: [`Fleet::bodies_written`] is to say when that is done. What a create
    /// or a move is about is written before its worker is asked, by whoever asks, and is not among it.
    pub fn take_body_changes(&mut self) -> Vec<(BodyEntry, bool)> {
        self.collect_changes();
        std::mem::take(&mut self.unwritten.new).into_iter().collect()
    }

    /// This is in the store as it was taken.
    pub fn bodies_written(&mut self, changes: &[(BodyEntry, bool)]) {
        for (entry, on) in changes {
            if let Some(waiting) = self.unwritten.waiting.get_mut(&entry.key()) {
                // It may have changed again since.
                waiting.retain(|known, wish| known != entry || wish != on);
                if waiting.is_empty() {
                    self.unwritten.waiting.remove(&entry.key());
                }
            }
        }
    }

    pub(super) fn collect_changes(&mut self) {
        let table = self.bodies.of_leader();
        let mut changes = table.map(|table| std::mem::take(&mut table.changes)).unwrap_or_default();
        changes.extend(self.left_behind.take_changes());
        for (entry, on) in changes {
            self.unwritten.waiting.entry(entry.key()).or_default().insert(entry.clone(), on);
            self.unwritten.new.insert(entry, on);
        }
    }

    /// Until when a leader waits that does not know the table yet: always a while more.
    pub(super) fn awaiting_bodies_until(&self, now: Moment) -> Option<Moment> {
        let since = self.bodies.awaited()?;
        let step = self.settings.heartbeat_interval.max(Duration::from_millis(1));
        let passed = now.since(since).as_millis() / step.as_millis().max(1);
        Some(since + step.saturating_mul(u32::try_from(passed + 1).unwrap_or(u32::MAX)))
    }

    /// Who may have a session of this body, unknown to us.
    pub(super) fn untold_holder(
        &self,
        body: BodyAddr,
        but: Option<(&WorkerId, &SessionId)>,
    ) -> Option<Untold> {
        self.bodies.untold(body, self.settings.heartbeat_timeout, but)
    }

    /// A heartbeat was taken, and this was its list.
    pub(super) fn note_bodies(&mut self, beat: &Heartbeat, listed: &[SessionBrief]) {
        let Some(table) = self.bodies.table.as_mut().filter(|table| table.leads) else { return };
        let worker = &beat.worker_id;
        let ledger = &self.ledger;
        // What ended here while it moves keeps its entry: the next leader has to find out that its record here is none.
        let is_undecided = |brief: &SessionBrief| brief.has_record() && ledger.moving(&brief.id).is_some();
        let there = listed.iter().filter(|brief| may_play(brief) || is_undecided(brief));
        let mut spots: BTreeSet<Spot> = there.map(|brief| spot(brief.body, &brief.id, brief.copy)).collect();
        if let Some(held) = self.ledger.holdings(worker) {
            spots.extend(under_way(&self.ledger, held));
        }
        let tells = beat.clock_ms.is_none() || beat.lease >= table.number;
        if table.is_read {
            table.set(worker, spots, tells);
        } else if tells {
            table.early.insert(worker.clone(), spots);
        }
    }

    /// Lets time pass for entries of workers that tell nothing.
    pub(super) fn tick_bodies(&mut self, now: Moment, news: &mut Vec<FleetEvent>) {
        let patience = self.settings.heartbeat_timeout;
        let Some(table) = self.bodies.of_leader() else { return };
        if !table.taken.is_empty() && now.reached(table.since + patience) {
            let mut freed: BTreeMap<WorkerId, usize> = BTreeMap::new();
            for (worker, _) in std::mem::take(&mut table.taken).into_values().flatten() {
                *freed.entry(worker).or_default() += 1;
            }
            news.extend(freed.into_iter().map(|(worker, count)| FleetEvent::BodiesFreed(worker, count)));
        }
        if table.untold.is_empty() || !now.reached(table.since + patience.saturating_add(FORGET_AFTER)) {
            return;
        }
        let silent: Vec<WorkerId> =
            table.untold.iter().filter(|id| !self.workers.contains_key(*id)).cloned().collect();
        silent.iter().for_each(|worker| table.forget(worker));
    }
}

/// What the books know that the worker's last list may not have.
fn under_way<'a>(ledger: &'a Ledger, held: &'a Holdings) -> impl Iterator<Item = Spot> + 'a {
    let live = held.live.iter().filter_map(|id| ledger.session(id));
    let live = live.map(|session| spot(session.brief.body, &session.brief.id, session.brief.copy));
    let reserved = held.reserved.iter();
    let reserved = reserved.filter_map(|id| Some(spot(ledger.reservation(id)?.body, id, 0)));
    let coming = held.coming.iter().filter_map(|id| Some((id, ledger.moving(id)?)));
    live.chain(reserved).chain(coming.map(|(id, known)| spot(known.body, id, known.copy)))
}

/// Whether a worker that lists this may play it, or waits for what becomes of it.
fn may_play(brief: &SessionBrief) -> bool {
    brief.status.is_live() || brief.reason == Some(EndReason::Moved)
}
