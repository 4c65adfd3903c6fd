//! What everybody may look up of namespaces and of the workers that serve them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use crate::config::live::Live;
use crate::config::secret::is_one_of;
use crate::config::settings::Settings;
use crate::core::fleet::wire::{Heartbeat, Stamp};
use crate::core::ids::WorkerId;
use crate::core::namespaces::access::{Denied, Membership, Namespaces};
use crate::core::namespaces::placement::{NoPlace, NodeView, Placement, Wanted};
use crate::core::namespaces::relays::TurnCredentials;
use crate::core::namespaces::state::{NamespaceState, RoomLimits};
use crate::core::namespaces::wire::{RoomBrief, RoomsReply, RoomsReport};
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::time::Moment;
use crate::host::clock::{Clock, unix_seconds};
use crate::host::namespace_files::{Found, NamespaceFiles};
use crate::host::private_dir::PrivateDir;

/// Where namespaces are, below the controller's state directory.
const DIRECTORY: &str = "namespaces";

/// Namespaces, the workers that serve them, and where their rooms are. Cheap to clone; asking takes a short lock and no disk.
#[derive(Clone)]
pub struct NamespaceRegistry(Arc<Shared>);

struct Shared {
    live: Arc<Live>,
    clock: Clock,
    /// Where both locks are taken, this one is first.
    known: RwLock<Namespaces>,
    /// Those that were put there and whose files nobody has looked after yet.
    put: Mutex<BTreeSet<NamespaceName>>,
    placement: Mutex<Placement>,
    /// Namespaces whose file cannot be read, and why; until they are enabled anew.
    unreadable: RwLock<BTreeMap<NamespaceName, String>>,
    troubles: RwLock<Troubles>,
}

/// What is wrong with where namespaces are kept, in words.
#[derive(Default)]
struct Troubles {
    /// Those whose newest edition is not in its file yet.
    files: Vec<String>,
    /// What controllers that share a lease have in etcd.
    store: Vec<String>,
}

/// A namespace and who serves it.
pub struct NamespaceView<'a> {
    /// What is kept of it.
    pub state: &'a NamespaceState,
    /// The workers that hold its rooms.
    pub sfu: Vec<NodeView>,
    /// The workers whose TURN servers relay for it.
    pub turn: Vec<NodeView>,
    /// The TURN servers that its members are told.
    pub turn_urls: Vec<String>,
    /// What lacks, in words.
    pub findings: Vec<String>,
}

impl NamespaceRegistry {
    /// With the namespaces of an earlier run; their files, where they can be kept at all. Nothing here keeps a controller from
    /// starting.
    pub fn open(
        state: &PrivateDir,
        live: Arc<Live>,
        clock: Clock,
    ) -> (NamespaceRegistry, Result<NamespaceFiles, String>) {
        let (files, Found { states, unreadable }) = match NamespaceFiles::open(state, DIRECTORY) {
            Ok((files, found)) => (Ok(files), found),
            Err(error) => {
                log::error!("[room] ALERT namespaces cannot be kept: {error}");
                (Err(error.to_string()), Found::default())
            }
        };
        for (name, why) in &unreadable {
            log::error!("[room] ALERT {}", lost(name, why));
        }
        let patience = live.get().workers.heartbeat_timeout;
        let registry = NamespaceRegistry(Arc::new(Shared {
            live,
            clock,
            known: RwLock::default(),
            put: Mutex::default(),
            placement: Mutex::new(Placement::new(patience)),
            unreadable: RwLock::new(unreadable.into_iter().collect()),
            troubles: RwLock::default(),
        }));
        states.into_iter().for_each(|state| registry.put(state));
        // They are in their files.
        registry.take_put();
        (registry, files)
    }

    /// Whether there are namespaces and rooms at all (`rooms.enabled`).
    pub fn is_enabled(&self) -> bool {
        self.0.live.get().rooms.enabled
    }

    /// Judges a token that came with a request for `host`.
    pub fn admit(&self, token: &str, host: Option<&str>, now: SystemTime) -> Result<Membership, Denied> {
        let settings = self.0.live.get();
        let is_known = |token: &str| {
            is_one_of(token, settings.server.admin_secrets())
                || is_one_of(token, settings.workers.secrets())
                || settings.server.read_token.matches(token)
                || settings.metrics.token.matches(token)
        };
        self.known().admit(token, host, unix_seconds(now), is_known)
    }

    /// TURN credentials of `who` in a namespace; `None`: it is not enabled, or nobody relays for it.
    pub fn turn_credentials(
        &self,
        ns: &NamespaceName,
        who: &str,
        now: SystemTime,
    ) -> Option<TurnCredentials> {
        let known = self.known();
        let urls = self.placement().turn_urls(self.0.clock.now(), ns, self.wanted());
        TurnCredentials::of(known.get(ns)?, &urls, who, unix_seconds(now))
    }

    /// Where whoever joins a room is sent.
    pub fn place(&self, ns: &NamespaceName, room: &RoomId) -> Result<WorkerId, NoPlace> {
        let known = self.known();
        let state = known.get(ns).ok_or(NoPlace::NoWorker)?;
        self.placement().place(self.0.clock.now(), state, room, self.wanted())
    }

    /// The worker that a room is pinned to, as long as it can be joined there.
    pub fn pinned(&self, ns: &NamespaceName, room: &RoomId) -> Option<WorkerId> {
        self.placement().pinned(self.0.clock.now(), ns, room).cloned()
    }

    /// Whether that pin is certain: [`Placement::is_certain`].
    pub fn is_certain(&self, ns: &NamespaceName, room: &RoomId) -> bool {
        self.placement().is_certain(self.0.clock.now(), ns, room)
    }

    /// The fleet thread runs: [`Placement::listens`].
    pub fn listens(&self, still: Duration, until: Moment) {
        self.placement().listens(still, until);
    }

    /// The rooms of a namespace with their workers, by id.
    pub fn rooms(&self, ns: &NamespaceName) -> Vec<(RoomBrief, WorkerId)> {
        self.placement().rooms(ns)
    }

    /// A worker has made a room between two beats, or closed it; `at`: the last beat begun before it said so.
    pub fn told(&self, worker: &WorkerId, at: Option<Stamp>, room: RoomBrief, exists: bool) {
        self.placement().told(self.0.clock.now(), (worker, at), room, exists);
    }

    /// A beat was accepted; `report`: its worker holds rooms and has proved who it is. Who leaves takes no new rooms.
    /// `drained`: a controller has said that it is.
    pub fn heard(&self, beat: &Heartbeat, report: Option<RoomsReport>, drained: bool) {
        let (now, leaving) = (self.0.clock.now(), beat.stopping || beat.draining || drained);
        self.placement().heard(now, (&beat.worker_id, beat.stamp()), report, leaving);
    }

    /// What a worker is to be told after its beat.
    pub fn reply(&self, worker: &WorkerId) -> RoomsReply {
        if !self.is_enabled() {
            return RoomsReply::default();
        }
        let known = self.known();
        self.placement().reply(self.0.clock.now(), worker, &known, self.wanted())
    }

    /// An operator drains a worker, or undoes it.
    pub fn drain(&self, worker: &WorkerId, on: bool) {
        self.placement().drain(worker, on);
    }

    /// These workers are drained, and no others.
    pub fn set_drains(&self, drained: &BTreeSet<WorkerId>) {
        self.placement().set_drains(drained);
    }

    /// Forgets the workers that the fleet does not know any more.
    pub fn keep_only(&self, is_known: impl Fn(&WorkerId) -> bool) {
        self.placement().keep_only(is_known);
    }

    /// A worker has this copy from now on.
    pub fn gave(&self, worker: &WorkerId, copy: &NamespaceState) {
        self.placement().gave(worker, &copy.name, &copy.digest());
    }

    /// New settings are in force.
    pub fn reloaded(&self, settings: &Settings) {
        self.placement().set_patience(settings.workers.heartbeat_timeout);
        self.known_mut().set_limits(RoomLimits::from(&settings.rooms));
    }

    /// Takes a state in, instead of what was known of its namespace, unless that is a later one: two threads bring what they have read
    /// or written.
    pub fn put(&self, state: NamespaceState) {
        let mut known = self.known_mut();
        if known.get(&state.name).is_some_and(|known| known.edition > state.edition) {
            return;
        }
        self.0.unreadable.write().unwrap_or_else(PoisonError::into_inner).remove(&state.name);
        self.0.put.lock().unwrap_or_else(PoisonError::into_inner).insert(state.name.clone());
        // Read under the lock: a reload either came before and is seen here, or comes after and sets its own.
        let limits = RoomLimits::from(&self.0.live.get().rooms);
        // A file that was brought back from a worker names the TURN servers of its copy.
        known.put(NamespaceState { limits, turn_urls: Vec::new(), ..state });
    }

    /// Those that were put since this was asked last.
    pub fn take_put(&self) -> BTreeSet<NamespaceName> {
        std::mem::take(&mut *self.0.put.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of a namespace.
    pub fn get(&self, name: &NamespaceName) -> Option<NamespaceState> {
        self.known().get(name).cloned()
    }

    /// What `of` makes of what is known, without a copy. It must not ask us for anything else: nothing changes meanwhile.
    pub fn read<T>(&self, of: impl FnOnce(&Namespaces) -> T) -> T {
        of(&self.known())
    }

    /// What lacks for their files to be what is known, in words.
    pub fn set_file_troubles(&self, troubles: Vec<String>) {
        self.0.troubles.write().unwrap_or_else(PoisonError::into_inner).files = troubles;
    }

    /// What does not fit between what is known and what etcd has, in words.
    pub fn set_store_troubles(&self, troubles: Vec<String>) {
        self.0.troubles.write().unwrap_or_else(PoisonError::into_inner).store = troubles;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known().all().count()
    }

    /// One that nobody has enabled yet.
    pub fn fresh(&self, name: NamespaceName) -> NamespaceState {
        NamespaceState::new(name, RoomLimits::from(&self.0.live.get().rooms))
    }

    /// Who is to have a copy of a namespace, and the copy.
    pub fn copies(&self, name: &NamespaceName) -> Option<(Vec<WorkerId>, NamespaceState)> {
        let known = self.known();
        let (now, wanted, placement) = (self.0.clock.now(), self.wanted(), self.placement());
        let state = known.get(name)?;
        Some((placement.holders(now, name, wanted), placement.copy_of(now, state, wanted)))
    }

    /// A namespace and who serves it.
    pub fn view<'a>(&self, state: &'a NamespaceState) -> NamespaceView<'a> {
        let (now, wanted, placement) = (self.0.clock.now(), self.wanted(), self.placement());
        let (sfu, turn) = placement.nodes(now, &state.name, wanted);
        let findings = if state.enabled { placement.findings(now, &state.name, wanted) } else { Vec::new() };
        NamespaceView { state, sfu, turn, turn_urls: placement.turn_urls(now, &state.name, wanted), findings }
    }

    /// What `of` makes of each that it is asked of, by name.
    pub fn each<T>(
        &self,
        is_asked: impl Fn(&NamespaceState) -> bool,
        of: impl Fn(NamespaceView<'_>) -> T,
    ) -> Vec<T> {
        self.known().all().filter(|state| is_asked(state)).map(|state| of(self.view(state))).collect()
    }

    /// What is wrong with where they are kept: files that cannot be read or written, those that are lost while workers still have copies,
    /// and what does not fit in etcd.
    pub fn troubles(&self) -> Vec<String> {
        let unreadable = self.0.unreadable.read().unwrap_or_else(PoisonError::into_inner).clone();
        let known = self.known();
        let strangers = self.placement().strangers(&known);
        drop(known);
        let gone = strangers.iter().filter(|name| !unreadable.contains_key(*name)).map(|name| {
            format!(
                "namespace {name} is not known here, and workers have copies of it: bring its file back to {DIRECTORY}/ in \
                 server.state_dir, or enable it anew"
            )
        });
        let troubles = self.0.troubles.read().unwrap_or_else(PoisonError::into_inner);
        let kept = troubles.files.iter().chain(&troubles.store).cloned();
        unreadable.iter().map(|(name, why)| lost(name, why)).chain(gone).chain(kept).collect()
    }

    /// The domain below which namespaces have names (`rooms.base_domain`).
    pub fn base_domain(&self) -> Option<String> {
        self.0.live.get().rooms.base_domain.clone()
    }

    fn wanted(&self) -> Wanted {
        let settings = self.0.live.get();
        Wanted { sfu: settings.rooms.sfu_workers, turn: settings.rooms.turn_workers }
    }

    fn known(&self) -> RwLockReadGuard<'_, Namespaces> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Namespaces> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn placement(&self) -> MutexGuard<'_, Placement> {
        self.0.placement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(name: &NamespaceName, why: &str) -> String {
    format!(
        "namespace {name}: its file cannot be read ({why}) and is set aside; workers go on with their copies: bring it back from a \
         backup and restart, or enable the namespace anew, with new tokens"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::config::settings::Role;
    use crate::core::namespaces::RoomRole;
    use crate::core::namespaces::access::tests::namespace as with_tokens;
    use crate::host::entropy;

    const ROUNDS: usize = 50;

    fn namespace() -> NamespaceState {
        with_tokens("a", &[("boss", RoomRole::Owner, None)])
    }

    #[test]
    fn a_later_state_is_kept_whoever_brings_an_earlier_one() {
        let path = std::env::temp_dir().join(format!("neck-registry-{:016x}", entropy::number()));
        let place = PrivateDir::open(&path).unwrap();
        let live = Arc::new(Live::new(Settings::defaults(Role::Controller)));
        let (registry, _) = NamespaceRegistry::open(&place, live, Clock::start());
        let with = |edition, ttl| NamespaceState { edition, ttl, ..namespace() };
        for (state, expected) in [(with(2, 20), 20), (with(1, 10), 20), (with(2, 30), 30), (with(3, 40), 40)]
        {
            registry.put(state);
            assert_eq!(registry.get(&"a".parse().unwrap()).map(|state| state.ttl), Some(expected));
        }
        std::fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_reload_brings_no_revoked_token_back() {
        let path = std::env::temp_dir().join(format!("neck-registry-{:016x}", entropy::number()));
        let place = PrivateDir::open(&path).unwrap();
        let settings = Settings::defaults(Role::Controller);
        let live = Arc::new(Live::new(settings.clone()));
        let (registry, _) = NamespaceRegistry::open(&place, live, Clock::start());
        // Several at once, so that changes have to wait for the lock, and not only for a moment between two reloads.
        let (done, reloads) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 3]);
        let come_back = std::thread::scope(|scope| {
            for counter in &reloads {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        registry.reloaded(&settings);
                        counter.fetch_add(1, Ordering::AcqRel);
                    }
                });
            }
            let is_good_again = |_: &usize| {
                registry.put(namespace());
                let mut state = registry.get(&"a".parse().unwrap()).unwrap();
                state.revoke("boss");
                registry.put(state);
                // What was under way has ended.
                for counter in &reloads {
                    let seen = counter.load(Ordering::Acquire);
                    while counter.load(Ordering::Acquire) == seen {
                        std::thread::yield_now();
                    }
                }
                registry.admit("boss", None, SystemTime::now()).is_ok()
            };
            let come_back = (0..ROUNDS).filter(is_good_again).count();
            done.store(true, Ordering::Release);
            come_back
        });
        let _ = std::fs::remove_dir_all(&path);
        assert_eq!(come_back, 0, "of {ROUNDS} tokens that were taken back");
    }
}
