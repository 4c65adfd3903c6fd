//! Who is where: consulted when a thread hears of a peer that it does not know, never for each datagram.
//!
//! ```text
//!            register                 first check with its name, anywhere       (ICE-lite on a shared port)
//!  offer ──────────────▶ Pending ────────────────────────────────────────▶ On(thread that heard it)
//!     └────────────────────────────────────────────────────────────────▶ On(thread chosen at the offer)   (else)
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use crate::core::ids::SessionId;
use crate::isolation::{Contained, isolate};
use crate::media::ids::PeerId;
use crate::media::pending_peer::PendingPeer;
use crate::media::places::{Client, Places};
use crate::media::role::{OfferRefused, PeerLimit, RoleKind};
use crate::media::view::{PeerView, Standing};

/// What a panic in the state of a peer that waits costs.
const WAITING: &str = "a WebRTC peer that waits";

/// Where a peer is: its thread and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The thread's index.
    pub thread: usize,
    /// The peer.
    pub peer: PeerId,
}

/// The registry of all peers.
#[derive(Debug)]
pub struct PeerRegistry {
    register: Mutex<Register>,
    /// Addresses of peers that another thread than their own hears.
    foreign: RwLock<HashMap<SocketAddr, Owner>>,
    /// Checks that we sent: whose their answers are.
    checks: Mutex<HashMap<[u8; 12], Owner>>,
}

#[derive(Debug)]
struct Register {
    /// Who has how many.
    places: Places,
    peers: HashMap<PeerId, Entry>,
    /// Peers that are not connected yet, oldest first.
    unfinished: Vec<PeerId>,
    by_ufrag: HashMap<String, PeerId>,
    by_session: HashMap<SessionId, Vec<PeerId>>,
    pending: usize,
    /// Peers per thread.
    load: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    client: Client,
    kind: RoleKind,
    since: Instant,
    view: Arc<PeerView>,
    ufrag: String,
    /// Of the browser.
    their_ufrag: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Pending(Box<PendingPeer>),
    On(usize),
}

/// What a check's name leads to.
#[derive(Debug)]
pub enum Claim {
    /// A peer that waited; it is the asking thread's now.
    Adopted(Box<PendingPeer>),
    /// A peer of some thread, perhaps the asking one.
    Owned(Owner),
    /// There is one of that name, but the check does not have its password.
    Spoofed,
    /// Nobody.
    Unknown,
}

/// What others may ask about a peer.
#[derive(Clone, Debug)]
pub struct Known {
    /// The peer.
    pub id: PeerId,
    /// What it is for.
    pub kind: RoleKind,
    /// What is published of it.
    pub view: Arc<PeerView>,
}

impl From<PeerLimit> for OfferRefused {
    fn from(limit: PeerLimit) -> OfferRefused {
        OfferRefused::NoPlace(limit)
    }
}

impl PeerRegistry {
    /// An empty registry.
    pub fn new(max_peers: usize, max_viewers: usize, threads: usize) -> PeerRegistry {
        PeerRegistry {
            register: Mutex::new(Register {
                places: Places::new(max_peers, max_viewers),
                peers: HashMap::new(),
                unfinished: Vec::new(),
                by_ufrag: HashMap::new(),
                by_session: HashMap::new(),
                pending: 0,
                load: vec![0; threads],
            }),
            foreign: RwLock::default(),
            checks: Mutex::default(),
        }
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a place for another peer, before the work of making one.
    pub fn ask(
        &self,
        session: &SessionId,
        client: Option<IpAddr>,
        kind: RoleKind,
        now: Instant,
    ) -> Result<(), PeerLimit> {
        let client = Client { session: session.clone(), network: client };
        let mut register = self.register();
        register.note_finished();
        register.room_for(&client, kind, now).map(|_| ())
    }

    /// Lists a peer that waits for whichever thread hears it first. One that waited in vain may lose its place to it, and is
    /// returned.
    pub fn await_first_check(&self, seed: Box<PendingPeer>) -> Result<Option<Box<PendingPeer>>, PeerLimit> {
        let mut register = self.register();
        let displaced = register.list(seed.id, Entry::of(&seed, None))?;
        register.pending += 1;
        register.place(seed.id, Place::Pending(seed));
        Ok(displaced)
    }

    /// Lists a peer that the least loaded thread will own, and says which one that is.
    pub fn assign(&self, seed: &PendingPeer) -> Result<usize, PeerLimit> {
        let mut register = self.register();
        let loads = register.load.iter().enumerate();
        let thread = loads.min_by_key(|(_, load)| **load).map_or(0, |(index, _)| index);
        register.list(seed.id, Entry::of(seed, Some(thread)))?;
        register.count(thread, 1);
        Ok(thread)
    }

    /// The thread with the fewest peers.
    pub fn least_loaded(&self) -> usize {
        let register = self.register();
        let loads = register.load.iter().enumerate();
        loads.min_by_key(|(_, load)| **load).map_or(0, |(index, _)| index)
    }

    /// Lists a member of a room, which this thread will own. `None` in the refusal: its name is taken.
    pub fn assign_to(&self, seed: &PendingPeer, thread: usize) -> Result<(), Option<PeerLimit>> {
        let mut register = self.register();
        if register.peers.contains_key(&seed.id) {
            return Err(None);
        }
        let entry = Entry::of(seed, Some(thread));
        register.places.take_patient(&entry.client)?;
        register.enter(seed.id, entry);
        register.count(thread, 1);
        Ok(())
    }

    /// Whose check is it that names `ufrag`? `accepts` asks a waiting peer whether the check is genuine.
    pub fn claim(&self, ufrag: &str, thread: usize, accepts: impl FnOnce(&PendingPeer) -> bool) -> Claim {
        let mut register = self.register();
        let Some(peer) = register.by_ufrag.get(ufrag).copied() else { return Claim::Unknown };
        let Some(entry) = register.peers.get_mut(&peer) else { return Claim::Unknown };
        match &mut entry.place {
            Place::On(thread) => return Claim::Owned(Owner { thread: *thread, peer }),
            Place::Pending(seed) => match isolate(WAITING, || accepts(seed)) {
                Ok(true) => {}
                Ok(false) => return Claim::Spoofed,
                Err(Contained) => {
                    give_up(register, &peer);
                    return Claim::Unknown;
                }
            },
        }
        match std::mem::replace(&mut entry.place, Place::On(thread)) {
            Place::Pending(seed) => {
                register.pending -= 1;
                register.count(thread, 1);
                Claim::Adopted(seed)
            }
            Place::On(_) => Claim::Unknown,
        }
    }

    /// The thread of a peer, or `None` when it waits or does not exist.
    pub fn thread_of(&self, peer: &PeerId) -> Option<usize> {
        match self.register().peers.get(peer)?.place {
            Place::On(thread) => Some(thread),
            Place::Pending(_) => None,
        }
    }

    /// Works on a peer that waits. `None` when it does not, or when a panic was its end.
    pub fn with_pending<T>(&self, peer: &PeerId, work: impl FnOnce(&mut PendingPeer) -> T) -> Option<T> {
        let mut register = self.register();
        let entry = register.peers.get_mut(peer)?;
        let Place::Pending(seed) = &mut entry.place else { return None };
        let Ok(outcome) = isolate(WAITING, || work(seed)) else {
            give_up(register, peer);
            return None;
        };
        let (ours, theirs) = (seed.ufrag.clone(), seed.their_ufrag.clone());
        register.rename(peer, ours, theirs);
        Some(outcome)
    }

    /// Takes a peer that waits off the list. `None` when it does not wait (any more).
    pub fn withdraw(&self, peer: &PeerId) -> Option<Box<PendingPeer>> {
        let mut register = self.register();
        match &register.peers.get(peer)?.place {
            Place::Pending(_) => register.remove(peer),
            Place::On(_) => None,
        }
    }

    /// A peer's user name fragments, ours and its browser's, changed by an ICE restart.
    pub fn rename(&self, peer: &PeerId, ours: &str, theirs: &str) {
        self.register().rename(peer, ours.to_owned(), theirs.to_owned());
    }

    /// The user name fragment of a peer's browser.
    pub fn their_ufrag(&self, peer: &PeerId) -> Option<String> {
        self.register().peers.get(peer).map(|entry| entry.their_ufrag.clone())
    }

    /// A peer is over.
    pub fn remove(&self, peer: &PeerId) {
        self.register().remove(peer);
    }

    /// The peers of a session.
    pub fn of_session(&self, session: &SessionId) -> Vec<Known> {
        let register = self.register();
        let peers = register.by_session.get(session).into_iter().flatten();
        peers
            .filter_map(|id| {
                let entry = register.peers.get(id)?;
                Some(Known { id: *id, kind: entry.kind, view: entry.view.clone() })
            })
            .collect()
    }

    /// What is published of a peer.
    pub fn view(&self, peer: &PeerId) -> Option<Arc<PeerView>> {
        self.register().peers.get(peer).map(|entry| entry.view.clone())
    }

    /// Peers altogether, and how many of them wait.
    pub fn count(&self) -> (usize, usize) {
        let register = self.register();
        (register.peers.len(), register.pending)
    }

    /// Peers of each kind, those that wait included.
    pub fn count_by_kind(&self) -> [(RoleKind, usize); RoleKind::ALL.len()] {
        let register = self.register();
        RoleKind::ALL.map(|kind| (kind, register.peers.values().filter(|entry| entry.kind == kind).count()))
    }

    /// Whose peer has this address, which its own thread does not hear.
    pub fn foreign(&self, address: &SocketAddr) -> Option<Owner> {
        self.foreign.read().unwrap_or_else(PoisonError::into_inner).get(address).copied()
    }

    /// Notes such an address.
    pub fn note_foreign(&self, address: SocketAddr, owner: Owner) {
        self.foreign.write().unwrap_or_else(PoisonError::into_inner).insert(address, owner);
    }

    /// Forgets such an address, unless it is another peer's by now.
    pub fn forget_foreign(&self, address: &SocketAddr, peer: &PeerId) {
        let mut foreign = self.foreign.write().unwrap_or_else(PoisonError::into_inner);
        if foreign.get(address).is_some_and(|owner| owner.peer == *peer) {
            foreign.remove(address);
        }
    }

    /// Whose check it was that has this number.
    pub fn check(&self, transaction: &[u8; 12]) -> Option<Owner> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).get(transaction).copied()
    }

    /// Notes a check of ours; forgets an older one of the same peer.
    pub fn note_check(&self, transaction: [u8; 12], owner: Owner, forget: Option<[u8; 12]>) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        forget.iter().for_each(|old| {
            checks.remove(old);
        });
        checks.insert(transaction, owner);
    }

    /// Forgets checks.
    pub fn forget_checks<'a>(&self, transactions: impl Iterator<Item = &'a [u8; 12]>) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        transactions.for_each(|transaction| {
            checks.remove(transaction);
        });
    }
}

/// Takes off the list, after a panic, a peer that waits. Its end is nothing to hold the register for.
fn give_up(mut register: MutexGuard<'_, Register>, peer: &PeerId) {
    let seed = register.remove(peer);
    drop(register);
    seed.into_iter().for_each(PendingPeer::discard);
}

impl Entry {
    fn of(seed: &PendingPeer, thread: Option<usize>) -> Entry {
        Entry {
            client: Client { session: seed.session.clone(), network: seed.client },
            kind: seed.role.kind(),
            since: seed.since,
            view: seed.view.clone(),
            ufrag: seed.ufrag.clone(),
            their_ufrag: seed.their_ufrag.clone(),
            // Of a peer that will wait, replaced before the lock is let go.
            place: Place::On(thread.unwrap_or(usize::MAX)),
        }
    }
}

impl Register {
    /// Lists a peer. One that waited in vain may lose its place to it, and is returned.
    fn list(&mut self, id: PeerId, entry: Entry) -> Result<Option<Box<PendingPeer>>, PeerLimit> {
        self.note_finished();
        let displaced = self.room_for(&entry.client, entry.kind, entry.since)?;
        let displaced = displaced.and_then(|id| self.remove(&id));
        self.places.take(&entry.client)?;
        self.unfinished.push(id);
        self.enter(id, entry);
        Ok(displaced)
    }

    fn enter(&mut self, id: PeerId, entry: Entry) {
        self.by_ufrag.insert(entry.ufrag.clone(), id);
        self.by_session.entry(entry.client.session.clone()).or_default().push(id);
        self.peers.insert(id, entry);
    }

    /// Whether there is a place, and who has to leave for it.
    fn room_for(&self, client: &Client, kind: RoleKind, now: Instant) -> Result<Option<PeerId>, PeerLimit> {
        let viewers = (kind == RoleKind::Viewer).then(|| self.viewers_of(&client.session));
        self.places.ask_lasting(client, viewers)?;
        let Err(limit) = self.places.ask_unfinished(client) else { return Ok(None) };
        let waited_in_vain = |id: &&PeerId| {
            let entry = self.peers.get(id);
            entry.is_some_and(|entry| {
                let age = now.saturating_duration_since(entry.since);
                matches!(entry.place, Place::Pending(_))
                    && self.places.may_displace(client, &entry.client, limit, age)
            })
        };
        self.unfinished.iter().find(waited_in_vain).map(|id| Some(*id)).ok_or(limit)
    }

    /// Peers that connected since the last time give their place among the unfinished back.
    fn note_finished(&mut self) {
        let (peers, places) = (&self.peers, &mut self.places);
        self.unfinished.retain(|id| match peers.get(id) {
            Some(entry) if entry.view.standing() == Standing::Connecting => true,
            Some(entry) => {
                places.finish(&entry.client);
                false
            }
            None => false,
        });
    }

    /// Viewers of a session, those that are not connected yet among them.
    fn viewers_of(&self, session: &SessionId) -> usize {
        let peers = self.by_session.get(session).into_iter().flatten();
        let kinds = peers.filter_map(|id| self.peers.get(id)).map(|entry| entry.kind);
        kinds.filter(|kind| *kind == RoleKind::Viewer).count()
    }

    fn place(&mut self, id: PeerId, place: Place) {
        if let Some(entry) = self.peers.get_mut(&id) {
            entry.place = place;
        }
    }

    fn rename(&mut self, id: &PeerId, ours: String, theirs: String) {
        let Some(entry) = self.peers.get_mut(id) else { return };
        entry.their_ufrag = theirs;
        let old = std::mem::replace(&mut entry.ufrag, ours.clone());
        self.by_ufrag.remove(&old);
        self.by_ufrag.insert(ours, *id);
    }

    fn remove(&mut self, id: &PeerId) -> Option<Box<PendingPeer>> {
        let entry = self.peers.remove(id)?;
        self.by_ufrag.remove(&entry.ufrag);
        let before = self.unfinished.len();
        self.unfinished.retain(|peer| peer != id);
        self.places.leave(&entry.client, self.unfinished.len() < before);
        let session = &entry.client.session;
        if let Some(peers) = self.by_session.get_mut(session) {
            peers.retain(|peer| peer != id);
            if peers.is_empty() {
                self.by_session.remove(session);
            }
        }
        match entry.place {
            Place::Pending(seed) => {
                self.pending -= 1;
                Some(seed)
            }
            Place::On(thread) => {
                self.count(thread, -1);
                None
            }
        }
    }

    fn count(&mut self, thread: usize, change: isize) {
        if let Some(load) = self.load.get_mut(thread) {
            *load = load.saturating_add_signed(change);
        }
    }
}
