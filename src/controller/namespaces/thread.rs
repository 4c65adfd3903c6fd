//! The `namespaces` thread: it alone changes namespaces, one after the other, writes their files, and brings copies to workers.
//!
//! Alone, a change is in its file before it counts. Of several controllers that share a lease, the one that leads has it written to etcd first, and
//! the files of all of them are copies for a start without etcd.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use crate::api::reply::{Answer, Responder};
use crate::api::server::Beat;
use crate::controller::lease::Leadership;
use crate::controller::namespaces::changes::{Change, Wish};
use crate::controller::namespaces::{NamespaceRegistry, answers};
use crate::controller::refusals;
use crate::controller::worker_client::{CallError, WorkerClient};
use crate::core::fleet::identity::to_hex;
use crate::core::ids::WorkerId;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::state::{NamespaceState, TokenHash, TokenRecord, TokenText, TurnSecret};
use crate::core::namespaces::wire::{MAX_NAMESPACES_LISTED, RoomsReply};
use crate::host::clock::unix_seconds;
use crate::host::entropy;
use crate::host::namespace_files::NamespaceFiles;

/// Changes that wait for their turn; those beyond are to be asked for again.
const QUEUE: usize = 64;

/// Bringing a copy to one worker. One that takes longer gets it with its next heartbeat.
const BRING_TIMEOUT: Duration = Duration::from_secs(3);

/// How often an idle thread shows that it is alive, and looks for namespaces whose files are to be written.
const IDLE_BEAT: Duration = Duration::from_secs(1);

/// Namespaces at once: what a worker's heartbeat may list.
const MAX_NAMESPACES: usize = MAX_NAMESPACES_LISTED;

/// A change and who waits for its answer.
type Order = (Change, Responder);

/// The way to the thread.
#[derive(Clone)]
pub struct Tell(Sender<Order>);

impl Tell {
    /// The way, and what the thread receives from.
    pub fn new() -> (Tell, Receiver<Order>) {
        let (sender, receiver) = crossbeam_channel::bounded(QUEUE);
        (Tell(sender), receiver)
    }

    /// Asks for a change.
    pub fn change(&self, change: Change, responder: Responder) {
        if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) =
            self.0.try_send((change, responder))
        {
            order.1.send(refusals::busy());
        }
    }
}

/// What the thread works with.
pub struct NamespacesThread {
    /// What is known. Written here, and where etcd is read.
    pub registry: NamespaceRegistry,
    /// Their files.
    pub files: Files,
    /// Who may change them, and where changes are kept for every controller.
    pub leadership: Leadership,
    /// Speaks to workers.
    pub client: WorkerClient,
    /// Called each round, for the watchdog.
    pub beat: Beat,
}

/// Files, and what is in them.
pub struct Files {
    /// Where they are, or why nowhere.
    place: Result<NamespaceFiles, String>,
    /// The edition and the digest of what is in each.
    written: BTreeMap<NamespaceName, (u64, String)>,
    /// Those that were not taken, and why.
    refused: BTreeMap<NamespaceName, String>,
}

impl Files {
    /// With what was read from them.
    pub fn new(place: Result<NamespaceFiles, String>, known: &NamespaceRegistry) -> Files {
        let written =
            known.read(|known| known.all().map(|state| (state.name.clone(), mark(state))).collect());
        Files { place, written, refused: BTreeMap::new() }
    }

    fn write(&mut self, state: &NamespaceState) -> Result<(), String> {
        let (name, mark) = (&state.name, mark(state));
        let kept = self.place.as_ref().map_err(String::clone).and_then(|files| {
            let is_rival = self.written.get(name).is_some_and(|(edition, _)| *edition == mark.0);
            if is_rival {
                // Best effort: it is for an operator who misses something.
                let _ = files.set_aside(name);
            }
            files.keep(state)
        });
        match &kept {
            Ok(()) => {
                self.written.insert(name.clone(), mark);
                self.refused.remove(name);
            }
            Err(why) => {
                if self.refused.insert(name.clone(), why.clone()).is_none() {
                    log::error!("[room] ALERT namespace {name} is not in its file: {why}");
                }
            }
        }
        kept
    }

    /// Writes those that are not in their files as they are known.
    fn catch_up(&mut self, registry: &NamespaceRegistry) {
        let mut due = registry.take_put();
        due.extend(self.refused.keys().cloned());
        if due.is_empty() {
            return;
        }
        for name in due {
            let state = registry.get(&name);
            match state.filter(|state| self.written.get(&name) != Some(&mark(state))) {
                Some(state) => {
                    let _ = self.write(&state);
                }
                // What was refused does not count either.
                None => {
                    self.refused.remove(&name);
                }
            }
        }
        let words = |(name, why): (&NamespaceName, &String)| {
            format!(
                "namespace {name} is not in its file in server.state_dir, so a start without etcd would not know it: {why}"
            )
        };
        registry.set_file_troubles(self.refused.iter().map(words).collect());
    }
}

/// Tells what is in a file apart, whatever this controller's own settings are.
fn mark(state: &NamespaceState) -> (u64, String) {
    (state.edition, state.bare().digest())
}

impl NamespacesThread {
    /// The thread. Returns when nobody can ask any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        loop {
            (self.beat)();
            let is_over = match orders.recv_timeout(IDLE_BEAT) {
                // Who asked has gone.
                Ok(_) if self.client.is_over() => false,
                Ok((change, responder)) => {
                    responder.send(self.carry_out(change));
                    false
                }
                Err(error) => error == RecvTimeoutError::Disconnected,
            };
            self.files.catch_up(&self.registry);
            if is_over {
                return;
            }
        }
    }

    fn carry_out(&mut self, change: Change) -> Answer {
        let known = self.registry.get(change.name());
        let outcome = match (change, known) {
            (Change::Enable(name, ttl), known) => self.enable(name, ttl, known),
            (_, None) => Err(answers::unknown()),
            (Change::Disable(_), Some(state)) => self.disable(state),
            (Change::AddToken(_, wish), Some(state)) => self.add_token(wish, state),
            (Change::Revoke(_, id), Some(state)) => self.revoke(&id, state),
        };
        outcome.unwrap_or_else(|refusal| refusal)
    }

    fn enable(
        &mut self,
        name: NamespaceName,
        ttl: Option<Duration>,
        known: Option<NamespaceState>,
    ) -> Result<Answer, Answer> {
        if known.is_none() && self.registry.count() >= MAX_NAMESPACES {
            return Err(answers::too_many(MAX_NAMESPACES));
        }
        let is_new = known.as_ref().is_none_or(|known| !known.enabled);
        let mut state = known.clone().unwrap_or_else(|| self.registry.fresh(name.clone()));
        state.enable(TurnSecret::from_entropy(entropy::bytes()), unix_seconds(SystemTime::now()));
        state.ttl = ttl.map_or(state.ttl, |ttl| ttl.as_secs());
        if known.as_ref() != Some(&state) {
            self.keep(state)?;
            log::info!("[room] namespace {name} is enabled: an operator said so");
        }
        self.bring(&name);
        let state = self.registry.get(&name).ok_or_else(answers::unknown)?;
        Ok(Answer { status: if is_new { 201 } else { 200 }, ..answers::status(&self.registry, &state) })
    }

    fn disable(&mut self, mut state: NamespaceState) -> Result<Answer, Answer> {
        let name = state.name.clone();
        if state.disable() {
            self.keep(state)?;
            log::info!("[room] namespace {name} is disabled: an operator said so");
        }
        self.bring(&name);
        Ok(Answer::empty())
    }

    fn add_token(&mut self, wish: Wish, mut state: NamespaceState) -> Result<Answer, Answer> {
        let (text, now) = (TokenText::from_entropy(entropy::bytes()), unix_seconds(SystemTime::now()));
        let record = TokenRecord {
            id: to_hex(&entropy::bytes::<8>()),
            hash: TokenHash::of(text.expose()),
            role: wish.role,
            subject: wish.subject,
            created_at: now,
            expires_at: wish.ttl.map(|ttl| now.saturating_add(ttl.as_secs())),
        };
        state.add_token(record.clone(), now).map_err(|_| answers::too_many_tokens())?;
        let name = state.name.clone();
        self.keep(state)?;
        let (id, role) = (&record.id, record.role.name());
        log::info!("[room] namespace {name}: token {id} is made, role {role}");
        self.bring(&name);
        Ok(answers::token(&name, &record, &text))
    }

    fn revoke(&mut self, id: &str, mut state: NamespaceState) -> Result<Answer, Answer> {
        if !state.revoke(id) {
            return Err(answers::no_such_token());
        }
        let name = state.name.clone();
        self.keep(state)?;
        log::info!("[room] namespace {name}: a token is taken back");
        self.bring(&name);
        Ok(Answer::empty())
    }

    /// The disk first, or etcd: what was answered holds after a restart, too.
    fn keep(&mut self, mut state: NamespaceState) -> Result<(), Answer> {
        state.edition = state.edition.saturating_add(1);
        match self.leadership.keep(&state) {
            None => self.files.write(&state).map_err(|why| answers::not_kept(&why))?,
            Some(kept) => kept.map_err(|why| answers::not_shared(&why))?,
        }
        self.registry.put(state);
        Ok(())
    }

    /// Brings the copy to each worker that is to have it.
    fn bring(&self, name: &NamespaceName) {
        let Some((holders, copy)) = self.registry.copies(name) else { return };
        let parcel = RoomsReply { copies: vec![copy], dropped: Vec::new() };
        for worker in holders {
            (self.beat)();
            if self.client.is_over() {
                return;
            }
            match self.client.copies(&worker, &parcel, BRING_TIMEOUT) {
                Ok(reply) if reply.status == 204 => {
                    parcel.copies.iter().for_each(|copy| self.registry.gave(&worker, copy));
                }
                Ok(reply) => later(name, &worker, &reply.error_text()),
                Err(CallError::NotReached(why) | CallError::Lost(why)) => later(name, &worker, &why),
                Err(CallError::NotLeading(_)) => later(name, &worker, "this controller does not lead"),
            }
        }
    }
}

fn later(name: &NamespaceName, worker: &WorkerId, why: &str) {
    log::warn!(worker:%; "[room] worker {worker} gets its copy of namespace {name} with its next heartbeat: {why}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::live::Live;
    use crate::config::settings::{Role, Settings};
    use crate::host::clock::Clock;
    use crate::host::private_dir::PrivateDir;

    #[test]
    fn a_file_is_missed_where_what_counts_is_not_in_it_and_only_there() {
        let path = std::env::temp_dir().join(format!("neck-namespaces-{:016x}", entropy::number()));
        let place = PrivateDir::open(&path).unwrap();
        let live = Arc::new(Live::new(Settings::defaults(Role::Controller)));
        let (registry, good) = NamespaceRegistry::open(&place, live, Clock::start());
        let state = |name: &str, edition| {
            let fresh = registry.fresh(name.parse().unwrap());
            NamespaceState { edition, ..fresh }
        };
        registry.put(state("a", 1));
        let mut files = Files::new(Err("the disk is full".to_owned()), &registry);
        let missed = |files: &mut Files| {
            files.catch_up(&registry);
            registry.troubles()
        };
        for refused in [state("a", 2), state("b", 1)] {
            assert!(files.write(&refused).is_err());
            assert!(
                missed(&mut files).is_empty(),
                "{} does not count: {:?}",
                refused.name,
                registry.troubles()
            );
        }
        registry.put(state("a", 2));
        for round in 0..2 {
            let troubles = missed(&mut files);
            assert!(
                troubles.len() == 1 && troubles[0].contains("namespace a is not in its file"),
                "{round}: {troubles:?}"
            );
        }
        files.place = good;
        assert!(
            missed(&mut files).is_empty(),
            "it is written when the disk takes it: {:?}",
            registry.troubles()
        );
        let kept = std::fs::read(path.join("namespaces/a.json")).unwrap();
        assert_eq!(NamespaceState::from_kept(&kept).unwrap().edition, 2);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
