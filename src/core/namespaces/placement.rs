//! Which workers serve a namespace, and which of them holds a room.
//!
//! ```text
//!  workers that hold rooms, heard and not draining
//!     └─ chosen for a namespace: the first N by a hash of both names, and those that hold rooms of it already
//!           └─ a room is pinned to one of them that has its namespace's copy: the one with fewest members of the namespace
//! ```
//!
//! The choice needs no memory, so it is the same after a restart, and a worker that comes or goes moves few namespaces. Pins are
//! soft state: heartbeats bring them back. A worker that is drained, lost or forgotten loses its pins, and the next join is placed
//! anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::access::Namespaces;
use super::state::NamespaceState;
use super::wire::{MAX_COPIES, MAX_TOKENS_COPIED, RoomBrief, RoomsReply, RoomsReport};
use super::{NamespaceName, RoomId};
use crate::core::fleet::wire::Stamp;
use crate::core::ids::WorkerId;
use crate::core::time::Moment;

/// How long a pin without a room stays: whoever was sent there has joined by then, and a beat tells of it.
const RESERVED: Duration = Duration::from_secs(30);

/// Pins at once, of all namespaces; joins beyond are placed without one.
const MAX_PINS: usize = 100_000;

/// How many workers a namespace gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `rooms.sfu_workers`
    pub sfu: usize,
    /// `rooms.turn_workers`
    pub turn: usize,
}

/// A worker that holds rooms.
#[derive(Clone, Debug)]
struct RoomWorker {
    report: RoomsReport,
    heard: Moment,
    /// The place of its last beat in its history.
    begun: Stamp,
    /// It said that it stops, or heard that it is drained.
    leaving: bool,
    /// An operator drains it.
    drained: bool,
    /// Joins sent there since its last beat, by namespace: beats count them later.
    sent: HashMap<NamespaceName, u32>,
}

/// Where a room is.
#[derive(Clone, Debug)]
struct Pin {
    worker: WorkerId,
    /// Somebody was sent there then.
    asked: Moment,
    /// As its worker last told; `None`: it has not told of it yet.
    brief: Option<RoomBrief>,
}

impl Pin {
    /// Its worker says that nobody is there.
    fn is_empty(&self) -> bool {
        self.brief.as_ref().is_some_and(|brief| brief.peers == 0)
    }
}

/// What a worker answered of a room between two beats. A beat that was begun before the answer may come after it and knows less.
#[derive(Clone, Debug)]
struct Told {
    worker: WorkerId,
    /// The last beat begun before the answer.
    at: Stamp,
    exists: bool,
}

/// Why a room has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// No worker holds rooms.
    NoWorker,
    /// One will, but has not been told of the namespace yet.
    NotYet,
}

/// A worker as `webrtc-status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Which.
    pub worker: WorkerId,
    /// Its SFU serves the namespace; its TURN servers relay for it (`None`: not tried yet).
    pub sfu_up: bool,
    /// See `sfu_up`.
    pub turn_up: Option<bool>,
    /// Rooms and members of the namespace there.
    pub rooms: usize,
    /// See `rooms`.
    pub peers: u32,
    /// The UDP ports of its rooms' media, where they are fixed.
    pub media_ports: Option<(u16, u16)>,
}

/// Workers, pins, and the rules above.
#[derive(Debug, Default)]
pub struct Placement {
    workers: BTreeMap<WorkerId, RoomWorker>,
    pins: HashMap<(NamespaceName, RoomId), Pin>,
    /// What the next beats may not know yet.
    told: HashMap<(NamespaceName, RoomId), Told>,
    /// Silence after which a worker is lost.
    patience: Duration,
    /// Until when silence counts: this controller listens, and says so before that.
    judge_until: Moment,
}

impl Placement {
    /// Workers that are silent for longer than `patience` are lost.
    pub fn new(patience: Duration) -> Placement {
        Placement { patience, judge_until: Moment(u64::MAX), ..Placement::default() }
    }

    /// This controller listens, and says so again before `until`. It stood `still` for so long, in which nobody's silence counts
    /// ([`crate::core::fleet::standstill`]).
    pub fn listens(&mut self, still: Duration, until: Moment) {
        self.judge_until = until;
        if still > Duration::ZERO {
            self.workers.values_mut().for_each(|worker| worker.heard = worker.heard + still);
            self.pins.values_mut().for_each(|pin| pin.asked = pin.asked + still);
        }
    }

    /// New settings.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// A worker's beat of this place in its history was accepted; `report`: it holds rooms. `leaving`: it takes no new ones.
    pub fn heard(
        &mut self,
        now: Moment,
        (worker, begun): (&WorkerId, Stamp),
        report: Option<RoomsReport>,
        leaving: bool,
    ) {
        let Some(report) = report else { return self.forget(worker) };
        let report = report.bounded();
        let drained = self.workers.get(worker).is_some_and(|known| known.drained);
        self.told.retain(|_, told| told.worker != *worker || told.at >= begun);
        self.take_rooms(now, (worker, leaving || drained), &report.rooms);
        let known = RoomWorker { report, heard: now, begun, leaving, drained, sent: HashMap::new() };
        self.workers.insert(worker.clone(), known);
    }

    /// Pins follow what a worker lists, but for what it told later. A room that two workers list stays where it was pinned, unless nobody is
    /// there: a room that was left by a drain is still listed, empty, by the worker that its members came from.
    fn take_rooms(&mut self, now: Moment, (worker, leaves): (&WorkerId, bool), rooms: &[RoomBrief]) {
        let told = &self.told;
        let is_told = |key: &(NamespaceName, RoomId), exists: bool| {
            told.get(key).is_some_and(|told| told.worker == *worker && told.exists == exists)
        };
        for (_, pin) in self.pins.iter_mut().filter(|(key, pin)| pin.worker == *worker && !is_told(key, true))
        {
            pin.brief = None;
        }
        for room in rooms {
            let key = (room.ns.clone(), room.id.clone());
            if is_told(&key, false) {
                continue;
            }
            let is_new = !self.pins.contains_key(&key);
            if is_new && self.pins.len() >= MAX_PINS {
                continue;
            }
            let pin = Pin { worker: worker.clone(), asked: now, brief: None };
            let known = self.pins.entry(key).or_insert_with(|| pin.clone());
            if known.worker != *worker && room.peers > 0 && known.is_empty() && !leaves {
                *known = pin;
            }
            if known.worker == *worker {
                known.brief = Some(room.clone());
            }
        }
        let stays = |pin: &Pin| pin.brief.is_some() || now.since(pin.asked) < RESERVED;
        self.pins.retain(|_, pin| pin.worker != *worker || stays(pin));
    }

    /// An operator drains a worker, or undoes it.
    pub fn drain(&mut self, worker: &WorkerId, on: bool) {
        if let Some(known) = self.workers.get_mut(worker) {
            known.drained = on;
            known.leaving &= on;
        }
    }

    /// These workers are drained, and no others: another controller has said so.
    pub fn set_drains(&mut self, drained: &BTreeSet<WorkerId>) {
        for (worker, known) in &mut self.workers {
            known.drained = drained.contains(worker);
        }
    }

    /// A worker is known no more.
    pub fn forget(&mut self, worker: &WorkerId) {
        self.workers.remove(worker);
        self.pins.retain(|_, pin| pin.worker != *worker);
        self.told.retain(|_, told| told.worker != *worker);
    }

    /// A worker was given the copy of this digest between two beats.
    pub fn gave(&mut self, worker: &WorkerId, ns: &NamespaceName, digest: &str) {
        let Some(known) = self.workers.get_mut(worker) else { return };
        let held = &mut known.report.namespaces;
        match held.iter_mut().find(|held| held.name == *ns) {
            Some(held) => held.digest = digest.to_owned(),
            None => held.push(super::wire::HeldNamespace {
                name: ns.clone(),
                digest: digest.to_owned(),
                sfu_up: true,
                turn_up: None,
            }),
        }
    }

    fn is_usable(&self, now: Moment, worker: &RoomWorker) -> bool {
        !worker.leaving && !worker.drained && self.is_there(now, worker)
    }

    fn is_there(&self, now: Moment, worker: &RoomWorker) -> bool {
        now.min(self.judge_until).since(worker.heard) <= self.patience
    }

    /// The first `count` of these by a hash of the namespace's and the worker's name.
    fn first<'a>(
        ns: &NamespaceName,
        count: usize,
        among: impl Iterator<Item = &'a WorkerId>,
    ) -> Vec<&'a WorkerId> {
        let mut ranked: Vec<_> = among.map(|worker| (rank(ns, worker), worker)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(count).map(|(_, worker)| worker).collect()
    }

    /// The workers that hold rooms of a namespace.
    fn sfu_workers(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> Vec<&WorkerId> {
        let usable = self.workers.iter().filter(|(_, worker)| self.is_usable(now, worker));
        let mut chosen = Placement::first(ns, wanted.sfu, usable.map(|(id, _)| id));
        let hold = self.workers.iter().filter(|(_, worker)| {
            self.is_there(now, worker) && worker.report.rooms.iter().any(|room| room.ns == *ns)
        });
        for (id, _) in hold {
            if !chosen.contains(&id) {
                chosen.push(id);
            }
        }
        chosen
    }

    /// The workers whose TURN servers relay for a namespace. Draining one ends no relay, so it counts as long as it is there.
    fn turn_workers(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> Vec<&WorkerId> {
        let there = self.workers.iter().filter(|(_, worker)| self.is_there(now, worker));
        let relaying = there.filter(|(_, worker)| !worker.report.turn_urls.is_empty());
        Placement::first(ns, wanted.turn, relaying.map(|(id, _)| id))
    }

    /// The TURN servers of a namespace.
    pub fn turn_urls(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> Vec<String> {
        let mut urls: Vec<String> = Vec::new();
        for worker in self.turn_workers(now, ns, wanted) {
            for url in self.workers.get(worker).into_iter().flat_map(|worker| &worker.report.turn_urls) {
                if !urls.contains(url) {
                    urls.push(url.clone());
                }
            }
        }
        urls
    }

    /// A namespace as a worker is to have it.
    pub fn copy_of(&self, now: Moment, state: &NamespaceState, wanted: Wanted) -> NamespaceState {
        copy(state, self.turn_urls(now, &state.name, wanted))
    }

    /// Who is to have a copy of a namespace: who holds its rooms, and who relays for it and tries whether that works.
    pub fn holders(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> Vec<WorkerId> {
        let mut holders: Vec<&WorkerId> = self.sfu_workers(now, ns, wanted);
        for worker in self.turn_workers(now, ns, wanted) {
            if !holders.contains(&worker) {
                holders.push(worker);
            }
        }
        holders.into_iter().cloned().collect()
    }

    /// What a worker is to be told after its beat.
    pub fn reply(&self, now: Moment, worker: &WorkerId, known: &Namespaces, wanted: Wanted) -> RoomsReply {
        let Some(here) = self.workers.get(worker) else { return RoomsReply::default() };
        let (mut reply, mut tokens, mut is_full) = (RoomsReply::default(), 0, false);
        // Of what the worker has and is not known here the file was lost: the copies are all that there is of it.
        for state in known.all() {
            let held = here.report.held(&state.name);
            if !self.holders(now, &state.name, wanted).contains(worker) {
                reply.dropped.extend(held.map(|held| held.name.clone()));
                continue;
            }
            let urls = self.turn_urls(now, &state.name, wanted);
            if is_full || held.is_some_and(|held| held.digest == state.digest_of_copy(&urls)) {
                continue;
            }
            tokens += state.tokens.len();
            is_full =
                !reply.copies.is_empty() && (tokens > MAX_TOKENS_COPIED || reply.copies.len() >= MAX_COPIES);
            if !is_full {
                reply.copies.push(copy(state, urls));
            }
        }
        reply
    }

    /// Namespaces whose copies workers have, and nobody here knows.
    pub fn strangers(&self, known: &Namespaces) -> Vec<NamespaceName> {
        let held = self.workers.values().flat_map(|worker| &worker.report.namespaces);
        let mut names: Vec<NamespaceName> =
            held.map(|held| &held.name).filter(|name| known.get(name).is_none()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Forgets the workers that the fleet does not know any more.
    pub fn keep_only(&mut self, is_known: impl Fn(&WorkerId) -> bool) {
        let gone: Vec<WorkerId> = self.workers.keys().filter(|id| !is_known(id)).cloned().collect();
        gone.iter().for_each(|id| self.forget(id));
    }

    /// The worker that a room is pinned to, as long as it can be joined there.
    pub fn pinned(&self, now: Moment, ns: &NamespaceName, room: &RoomId) -> Option<&WorkerId> {
        let pin = self.pins.get(&(ns.clone(), room.clone()))?;
        self.workers.get(&pin.worker).filter(|worker| self.is_usable(now, worker)).map(|_| &pin.worker)
    }

    /// Whether somebody is in this room where it is pinned, or was sent there. A pin to where nobody is may be of a room that went on
    /// elsewhere, at a worker that has not told yet.
    pub fn is_certain(&self, now: Moment, ns: &NamespaceName, room: &RoomId) -> bool {
        let pin = self.pins.get(&(ns.clone(), room.clone()));
        pin.is_some_and(|pin| !pin.is_empty()) && self.pinned(now, ns, room).is_some()
    }

    /// Where whoever joins a room is sent: where it is pinned, else to the worker with fewest members of the namespace, which is
    /// where it is pinned from now on. `state`: the namespace, whose copy that worker must have.
    pub fn place(
        &mut self,
        now: Moment,
        state: &NamespaceState,
        room: &RoomId,
        wanted: Wanted,
    ) -> Result<WorkerId, NoPlace> {
        let ns = &state.name;
        let worker = match self.pinned(now, ns, room) {
            Some(worker) => worker.clone(),
            None => self.choose(now, ns, wanted)?,
        };
        if let Some(known) = self.workers.get_mut(&worker) {
            *known.sent.entry(ns.clone()).or_default() += 1;
        }
        let key = (ns.clone(), room.clone());
        let has_room = self.pins.len() < MAX_PINS;
        match self.pins.get_mut(&key) {
            Some(known) if known.worker == worker => known.asked = now,
            None if !has_room => {}
            _ => {
                self.pins.insert(key, Pin { worker: worker.clone(), asked: now, brief: None });
            }
        }
        Ok(worker)
    }

    fn choose(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> Result<WorkerId, NoPlace> {
        let chosen = self.sfu_workers(now, ns, wanted);
        let usable =
            |id: &&&WorkerId| self.workers.get(**id).is_some_and(|worker| self.is_usable(now, worker));
        let usable: Vec<&WorkerId> = chosen.iter().filter(usable).copied().collect();
        if usable.is_empty() {
            return Err(NoPlace::NoWorker);
        }
        let load = |id: &&WorkerId| {
            let worker = self.workers.get(*id)?;
            worker.report.held(ns)?;
            let sent = worker.sent.get(ns).copied().unwrap_or_default();
            Some((worker.report.peers(ns).saturating_add(sent), (*id).clone()))
        };
        let least = usable.iter().filter_map(load).min();
        least.map(|(_, worker)| worker).ok_or(NoPlace::NotYet)
    }

    /// The rooms of a namespace with their workers, by id: those that exist.
    pub fn rooms(&self, ns: &NamespaceName) -> Vec<(RoomBrief, WorkerId)> {
        let ours = self.pins.iter().filter(|((of, _), _)| of == ns);
        let mut rooms: Vec<(RoomBrief, WorkerId)> =
            ours.filter_map(|(_, pin)| Some((pin.brief.clone()?, pin.worker.clone()))).collect();
        rooms.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        rooms
    }

    /// A worker has made a room between two beats, or closed it. `at`: the last beat begun before it said so; workers of older
    /// versions do not say.
    pub fn told(
        &mut self,
        now: Moment,
        (worker, at): (&WorkerId, Option<Stamp>),
        room: RoomBrief,
        exists: bool,
    ) {
        let key = (room.ns.clone(), room.id.clone());
        if let Some(at) = at {
            // A beat that knew it already has overtaken the answer.
            if self.workers.get(worker).is_some_and(|known| known.begun > at) {
                return;
            }
            if self.told.len() < MAX_PINS {
                self.told.insert(key.clone(), Told { worker: worker.clone(), at, exists });
            }
        }
        if !exists {
            self.pins.remove(&key);
        } else if self.pins.contains_key(&key) || self.pins.len() < MAX_PINS {
            let pin = Pin { worker: worker.clone(), asked: now, brief: None };
            self.pins.entry(key).or_insert(pin).brief.get_or_insert(room);
        }
    }

    /// The workers that hold rooms of a namespace, and those that relay for it.
    pub fn nodes(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> (Vec<NodeView>, Vec<NodeView>) {
        let view = |id: &WorkerId| {
            let worker = self.workers.get(id)?;
            let held = worker.report.held(ns);
            Some(NodeView {
                worker: id.clone(),
                sfu_up: held.is_some_and(|held| held.sfu_up),
                turn_up: held.and_then(|held| held.turn_up),
                rooms: worker.report.rooms.iter().filter(|room| room.ns == *ns).count(),
                peers: worker.report.peers(ns),
                media_ports: worker.report.media_ports,
            })
        };
        let all = |ids: Vec<&WorkerId>| ids.into_iter().filter_map(view).collect();
        (all(self.sfu_workers(now, ns, wanted)), all(self.turn_workers(now, ns, wanted)))
    }

    /// What lacks for a namespace to go on when a worker is lost, in words. Measured against what there is: a fleet of two workers
    /// cannot have three that hold rooms.
    pub fn findings(&self, now: Moment, ns: &NamespaceName, wanted: Wanted) -> Vec<String> {
        let (sfu, turn) = self.nodes(now, ns, wanted);
        let there = || self.workers.values().filter(|worker| self.is_there(now, worker));
        let (workers, relaying) =
            (there().count(), there().filter(|worker| !worker.report.turn_urls.is_empty()).count());
        let up = sfu.iter().filter(|node| node.sfu_up).count();
        let relays = turn.iter().filter(|node| node.turn_up != Some(false)).count();
        let mut findings = Vec::new();
        if workers == 0 {
            findings.push("no worker holds rooms: set rooms.enabled on workers".to_owned());
        } else if up < wanted.sfu.min(workers) {
            findings.push(format!("only {up}/{} SFU nodes active", wanted.sfu.min(workers)));
        }
        if relaying == 0 {
            findings.push("no TURN server: set turn.secret and turn.urls on workers".to_owned());
        } else if relays < wanted.turn.min(relaying) {
            let of = wanted.turn.min(relaying);
            let why = if relays == 0 { "nobody is relayed" } else { "no redundancy" };
            findings.push(format!("{relays}/{of} TURN nodes active ({why})"));
        }
        findings
    }
}

fn copy(state: &NamespaceState, turn_urls: Vec<String>) -> NamespaceState {
    NamespaceState { edition: 0, turn_urls, ..state.clone() }
}

/// FNV-1a over both names, and mixed: where a worker stands for a namespace.
fn rank(ns: &NamespaceName, worker: &WorkerId) -> u64 {
    let bytes = ns.as_str().bytes().chain([0]).chain(worker.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Names that differ in their last character would else stand side by side.
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests;
