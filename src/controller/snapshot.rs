//! What the fleet thread publishes for everybody who only looks: the edge's router and the API.
//!
//! A worker has a place, and each of its heartbeats puts a new share there: its view and its sessions. Routes lead from a session to
//! the place, and change only when a session appears or goes. So a heartbeat costs what its own worker has. Health is judged by
//! whoever looks: a share says when its worker was heard.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::config::settings::Settings;
use crate::controller::lease::HeardTime;
use crate::core::fleet::disputes::Dispute;
use crate::core::fleet::moves::MoveCounts;
use crate::core::fleet::wire::{CallToken, Generation};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::fleet::{Changes, Counts, SessionView, Way, Whereabouts, WorkerView};
use crate::core::ids::{BodyAddr, SessionId, WorkerId};
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;
use crate::edge::forwarding_proof::ForwardingProof;
use crate::edge::proof_memo::ProofMemo;
use crate::edge::router::Upstream;

/// Parts of a table of links, each with a lock of its own: growing one of them keeps few requests waiting.
const PARTS: usize = 16;

/// Where a session is.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its worker.
    pub worker: WorkerId,
    /// How that worker is reached; `None` while it is down.
    pub reach: Option<Arc<Reach>>,
    /// It is on its way to another one.
    pub moving: bool,
}

/// How a worker is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// For the API: `http[s]://HOST:PORT`.
    pub url: String,
    /// The one address that was judged, for the edge and for our calls.
    pub upstream: Upstream,
    /// The token that was made for this worker; `None`: it has not proved who it is.
    pub call_token: Option<CallToken>,
    /// Made of the token, for what the edge forwards.
    pub proof: Arc<ProofMemo>,
    /// The process that reported it, and since when it knows, or is about to know, the token: with the answer to its first beat.
    pub generation: Generation,
    /// See `generation`.
    pub since: Instant,
    /// What its clock said with the last beat; `None`: it does not tell.
    pub time: Option<HeardTime>,
}

impl Reach {
    /// What this worker is called with. One of an older version knows no token of its own: it gets what it sends itself.
    pub fn token<'a>(&'a self, settings: &'a Settings) -> &'a str {
        match &self.call_token {
            Some(token) => token.expose(),
            None => settings.workers.secrets().next().unwrap_or(&settings.server.admin_token).expose(),
        }
    }

    /// What proves to this worker that a request comes by us.
    pub fn proof_to(&self, worker: &WorkerId, settings: &Settings) -> Option<ForwardingProof> {
        self.proof.of(std::iter::once(self.token(settings)), worker).first().cloned()
    }

    /// `HOST:PORT` of its URL.
    fn authority(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest)
    }
}

/// A worker and its sessions as last heard.
#[derive(Clone, Debug)]
pub struct WorkerShare {
    worker: WorkerView,
    /// By id.
    sessions: Vec<SessionView>,
    reach: Option<Arc<Reach>>,
}

impl WorkerShare {
    /// Its id.
    pub fn id(&self) -> &WorkerId {
        &self.worker.id
    }

    /// The worker as it was when this was published. Only [`WorkerShare::worker`] judges what time changes; it copies all of it.
    pub fn view(&self) -> &WorkerView {
        &self.worker
    }

    /// Whether it is heard from at `now`.
    pub fn health(&self, now: Moment) -> WorkerHealth {
        self.worker.health_at(now)
    }

    /// The worker at `now`.
    pub fn worker(&self, now: Moment) -> WorkerView {
        self.worker.at(now)
    }

    /// Its sessions at `now`, ended ones included as long as it remembers them, by id.
    pub fn sessions(&self, now: Moment) -> impl Iterator<Item = SessionView> + '_ {
        let (since, health) = (now.since(self.worker.heard.viewed), self.health(now));
        self.sessions.iter().map(move |session| session.later(since, health))
    }

    /// Those that `takes` says yes to, given the status at `now`: what is left out is not copied.
    pub fn ids(
        &self,
        now: Moment,
        takes: impl Fn(SessionStatus, BodyAddr) -> bool,
    ) -> impl Iterator<Item = &SessionId> {
        let is_down = self.health(now) == WorkerHealth::Down;
        let status = move |session: &SessionView| match session.status {
            SessionStatus::Moving => SessionStatus::Moving,
            live if live.is_live() && is_down => SessionStatus::Down,
            status => status,
        };
        self.sessions
            .iter()
            .filter(move |session| takes(status(session), session.body))
            .map(|session| &session.id)
    }

    /// One of them.
    pub fn session(&self, now: Moment, id: &SessionId) -> Option<SessionView> {
        let at = self.sessions.binary_search_by(|session| session.id.cmp(id)).ok()?;
        let (since, health) = (now.since(self.worker.heard.viewed), self.health(now));
        Some(self.sessions.get(at)?.later(since, health))
    }

    /// How it is reached, while it is not down.
    pub fn reach(&self, now: Moment) -> Option<&Arc<Reach>> {
        self.reach.as_ref().filter(|_| self.health(now) != WorkerHealth::Down)
    }

    fn target(&self, now: Moment, whereabouts: Whereabouts) -> Target {
        let reach = self.reach(now).cloned();
        let moving = match whereabouts {
            Whereabouts::Here => false,
            Whereabouts::Leaving => reach.is_none(),
            Whereabouts::Between => true,
        };
        Target { worker: self.id().clone(), reach, moving }
    }
}

/// The fleet at one moment: shares of its workers, by id, and what concerns them all.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was asked for, as [`Published::judged_at`] says.
    pub taken: Moment,
    /// Numbers for health.
    pub counts: Counts,
    shares: Vec<Arc<WorkerShare>>,
    common: Arc<Common>,
}

/// What is no worker's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// Who was turned away, and why.
    pub disputes: Vec<Dispute>,
    /// What is wrong with the file of the workers' keys.
    pub keys_trouble: Option<String>,
    /// Until when unknown sessions are "not known yet".
    pub settling_until: Option<Moment>,
}

impl std::ops::Deref for Snapshot {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Common {
    /// How long an unknown session is still "not known yet".
    pub fn settling(&self, now: Moment) -> Option<Duration> {
        self.settling_until.filter(|until| !now.reached(*until)).map(|until| until.since(now))
    }
}

impl Snapshot {
    /// What was published of each worker, by id.
    pub fn shares(&self) -> &[Arc<WorkerShare>] {
        &self.shares
    }

    /// Workers by id.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.shares.iter().map(|share| share.worker(self.taken))
    }

    /// Sessions, ended ones included as long as their worker remembers them: worker after worker, each one's by id.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + '_ {
        self.shares.iter().flat_map(|share| share.sessions(self.taken))
    }
}

/// Where the share of one worker is found, from its first heartbeat until it is forgotten.
#[derive(Debug)]
struct Place(RwLock<Arc<WorkerShare>>);

impl Place {
    fn share(&self) -> Arc<WorkerShare> {
        read(&self.0).clone()
    }
}

/// A route.
#[derive(Clone, Debug)]
struct Lead {
    place: Arc<Place>,
    view_id: Option<SessionId>,
    whereabouts: Whereabouts,
}

/// Links to what they lead to.
#[derive(Debug)]
struct Links<T>([RwLock<HashMap<SessionId, T>>; PARTS]);

impl<T> Default for Links<T> {
    fn default() -> Links<T> {
        Links(std::array::from_fn(|_| RwLock::default()))
    }
}

impl<T: Clone> Links<T> {
    fn part(&self, id: &SessionId) -> &RwLock<HashMap<SessionId, T>> {
        // An id is random in every digit.
        let last = id.expose().bytes().last().unwrap_or_default();
        &self.0[usize::from(last) % PARTS]
    }

    fn get(&self, id: &SessionId) -> Option<T> {
        read(self.part(id)).get(id).cloned()
    }

    fn set(&self, id: SessionId, to: T) {
        write(self.part(&id)).insert(id, to);
    }

    fn remove(&self, id: &SessionId) -> Option<T> {
        write(self.part(id)).remove(id)
    }
}

/// What was published last. Only the fleet thread writes.
#[derive(Debug, Default)]
pub struct Published {
    places: RwLock<BTreeMap<WorkerId, Arc<Place>>>,
    routes: Links<Lead>,
    /// The session of a link that only watches.
    views: Links<SessionId>,
    by_authority: RwLock<HashMap<String, WorkerId>>,
    counts: RwLock<Counts>,
    moves: RwLock<MoveCounts>,
    common: RwLock<Arc<Common>>,
    /// Until when silence counts, in milliseconds of the fleet thread's clock.
    judge_until: AtomicU64,
}

impl Published {
    /// The fleet thread runs, and looks again before this.
    pub fn judge_until(&self, until: Moment) {
        self.judge_until.store(until.0, Ordering::Relaxed);
    }

    /// The time by which workers are judged at `now`: where this process has stood still, readers may be awake before the fleet thread,
    /// which says what silence counts.
    pub fn judged_at(&self, now: Moment) -> Moment {
        now.min(Moment(self.judge_until.load(Ordering::Relaxed)))
    }

    /// The fleet as it is at `now`: one pointer per worker. What concerns one session or worker is asked for below, and cheaper.
    pub fn get(&self, now: Moment) -> Snapshot {
        let shares = read(&self.places).values().map(|place| place.share()).collect();
        Snapshot { taken: self.judged_at(now), counts: self.counts(), shares, common: self.common() }
    }

    /// Numbers for health.
    pub fn counts(&self) -> Counts {
        *read(&self.counts)
    }

    /// What became of moves.
    pub fn moves(&self) -> MoveCounts {
        *read(&self.moves)
    }

    /// What is no worker's own.
    pub fn common(&self) -> Arc<Common> {
        read(&self.common).clone()
    }

    /// Where requests go that came by this link, the owner's or the viewers'. A session's own id goes before what a worker
    /// calls the link of another one.
    pub fn route_of_link(&self, now: Moment, id: &SessionId) -> Option<Target> {
        self.route(now, id).or_else(|| self.route(now, &self.views.get(id)?))
    }

    /// Where requests for a session go.
    pub fn route(&self, now: Moment, id: &SessionId) -> Option<Target> {
        let now = self.judged_at(now);
        self.routes.get(id).map(|lead| lead.place.share().target(now, lead.whereabouts))
    }

    /// The session of this id.
    pub fn session(&self, now: Moment, id: &SessionId) -> Option<SessionView> {
        self.routes.get(id)?.place.share().session(self.judged_at(now), id)
    }

    /// What was published of this worker.
    pub fn share(&self, id: &WorkerId) -> Option<Arc<WorkerShare>> {
        read(&self.places).get(id).map(|place| place.share())
    }

    /// How a worker is reached, be it heard of or not.
    pub fn reach(&self, id: &WorkerId) -> Option<Arc<Reach>> {
        self.share(id)?.reach.clone()
    }

    /// The judged address of the worker whose URL has this host and port.
    pub fn upstream_of(&self, authority: &str) -> Option<Upstream> {
        let named = read(&self.by_authority).get(authority).cloned();
        let is_it = |reach: &Arc<Reach>| reach.authority() == authority;
        let found = named.and_then(|worker| self.reach(&worker)).filter(is_it);
        // Of two workers that say the same, the name went with one that has moved.
        let any = || read(&self.places).values().filter_map(|place| place.share().reach.clone()).find(is_it);
        found.or_else(any).map(|reach| reach.upstream.clone())
    }

    /// Publishes what has changed. `reach` says how a worker is reached.
    pub fn apply(&self, changes: Changes, reach: impl Fn(&WorkerId) -> Option<Arc<Reach>>) {
        for (worker, sessions) in changes.workers {
            let reach = reach(&worker.id);
            self.set_share(WorkerShare { worker, sessions, reach });
        }
        for (id, way) in changes.routes {
            self.set_route(id, way);
        }
        for id in changes.gone {
            if let Some(place) = write(&self.places).remove(&id) {
                self.unname(&place.share());
            }
        }
        *write(&self.counts) = changes.counts;
        *write(&self.moves) = changes.moves;
    }

    /// Publishes what is no worker's own.
    pub fn set_common(&self, common: Common) {
        *write(&self.common) = Arc::new(common);
    }

    fn set_share(&self, share: WorkerShare) {
        let share = Arc::new(share);
        let known = read(&self.places).get(share.id()).cloned();
        let before = match known {
            Some(place) => Some(std::mem::replace(&mut *write(&place.0), share.clone())),
            None => {
                let place = Arc::new(Place(RwLock::new(share.clone())));
                write(&self.places).insert(share.id().clone(), place);
                None
            }
        };
        let name = |share: &WorkerShare| share.reach.as_ref().map(|reach| reach.authority().to_owned());
        let (old, new) = (before.as_deref().and_then(name), name(&share));
        if old != new {
            before.iter().for_each(|before| self.unname(before));
            new.into_iter().for_each(|name| {
                write(&self.by_authority).insert(name, share.id().clone());
            });
        }
    }

    fn unname(&self, share: &WorkerShare) {
        let Some(reach) = &share.reach else { return };
        let mut named = write(&self.by_authority);
        if named.get(reach.authority()) == Some(share.id()) {
            named.remove(reach.authority());
        }
    }

    fn set_route(&self, id: SessionId, way: Option<Way>) {
        let before = self.routes.get(&id).and_then(|lead| lead.view_id);
        let lead = way.and_then(|Way { worker, view_id, whereabouts }| {
            Some(Lead { place: read(&self.places).get(&worker)?.clone(), view_id, whereabouts })
        });
        let view_id = lead.as_ref().and_then(|lead| lead.view_id.clone());
        if let Some(gone) = before.filter(|before| Some(before) != view_id.as_ref())
            && self.views.get(&gone).as_ref() == Some(&id)
        {
            self.views.remove(&gone);
        }
        // The link of a session that is there is not given to another one.
        if let Some(view_id) = view_id
            && self.views.get(&view_id).is_none_or(|other| self.routes.get(&other).is_none())
        {
            self.views.set(view_id, id.clone());
        }
        match lead {
            Some(lead) => self.routes.set(id, lead),
            None => {
                self.routes.remove(&id);
            }
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests;
