//! The namespaces in etcd: read into the registry, and written for whoever changes them.
//!
//! A value says its edition in clear and is sealed otherwise, because it holds a TURN secret and says whose tokens are good: who reads
//! etcd, or a copy of its disk, learns neither, and who writes there cannot make a token that counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::live::Live;
use crate::config::secret::Secret;
use crate::config::settings::Settings;
use crate::controller::lease::etcd::{KeptNamespace, News};
use crate::controller::namespaces::NamespaceRegistry;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::state::NamespaceState;
use crate::core::namespaces::stored::{Stored, Verdict, judge};
use crate::host::seal::SealKey;

/// The version of a value's form.
const VERSION: u32 = 1;

/// A value in etcd.
#[derive(Serialize, Deserialize)]
struct Envelope {
    /// [`VERSION`].
    version: u32,
    /// Of the namespace within: readable also for those who cannot open it.
    edition: u64,
    /// A [`NamespaceState`] as JSON, sealed.
    sealed: String,
}

/// What etcd has of a namespace.
struct Entry {
    /// etcd's revision of it: what is written takes its place and no other one's.
    modified: u64,
    stored: Stored,
    /// The value, where it cannot be read, and why.
    closed: Option<(String, Unreadable)>,
    /// It is sealed with a secret that is not the one to seal with any more.
    is_sealed_by_other: bool,
}

/// Why a value is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreadable {
    /// It is none of ours.
    Malformed,
    /// Of a version that we do not know.
    Version(u32),
    /// Sealed with another secret.
    Sealed,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Malformed => f.write_str("it makes no sense"),
            Unreadable::Version(version) => {
                write!(f, "it has version {version}, this program knows {VERSION}; run the newer one")
            }
            Unreadable::Sealed => f.write_str(
                "it is sealed with another secret: give every controller the same lease.secret, or, where none has one, the same server.admin_token",
            ),
        }
    }
}

/// A value that is to be written: of which revision it takes the place, and what it is.
pub struct Sealed {
    /// 0: there is none yet.
    pub instead_of: u64,
    /// The value.
    pub value: String,
}

/// Why a namespace is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// etcd has a later one, which is to be read first.
    Outdated,
    /// It cannot be done here, for this reason.
    Words(String),
}

/// What etcd has of namespaces, as last read.
pub struct StoredNamespaces {
    live: Arc<Live>,
    registry: NamespaceRegistry,
    keys: Keyring,
    entries: BTreeMap<NamespaceName, Entry>,
}

impl StoredNamespaces {
    /// Nothing was read yet.
    pub fn new(live: Arc<Live>, registry: NamespaceRegistry) -> StoredNamespaces {
        StoredNamespaces { live, registry, keys: Keyring::default(), entries: BTreeMap::new() }
    }

    /// Makes the keys, which takes a while each, so it is not done while a lease is to be renewed.
    pub fn make_keys(&mut self) {
        self.keys.set(&self.live.get());
    }

    /// Takes in what was read. What is later than what is known here counts from now on. Whether there is anything new.
    pub fn read(&mut self, news: News, leads: bool) -> bool {
        let mut is_news = news.is_whole || !news.entries.is_empty();
        if news.is_whole {
            self.entries.clear();
        }
        for kept in news.entries {
            self.take(kept);
        }
        let change = self.keys.set(&self.live.get());
        if change != Change::None {
            self.read_again(change);
            is_news = true;
        }
        if is_news {
            self.tell(leads);
        }
        is_news
    }

    /// Those that could not be read may be readable with other secrets. The others were not sealed with the first one where that is new.
    fn read_again(&mut self, change: Change) {
        for (name, entry) in std::mem::take(&mut self.entries) {
            match entry.closed {
                Some((value, _)) => {
                    self.take(KeptNamespace { name, modified: entry.modified, value });
                }
                None => {
                    let is_sealed_by_other = entry.is_sealed_by_other || change == Change::First;
                    self.entries.insert(name, Entry { is_sealed_by_other, ..entry });
                }
            }
        }
    }

    fn take(&mut self, kept: KeptNamespace) {
        let KeptNamespace { name, modified, value } = kept;
        let (edition, opened) = self.open(&name, &value);
        let (state, closed, is_sealed_by_other) = match opened {
            Ok((state, is_by_other)) => (Some(state), None, is_by_other),
            Err(why) => (None, Some((value, why)), false),
        };
        let stored = Stored { edition, state };
        let (verdict, ours) = self.registry.read(|known| {
            let ours = known.get(&name);
            (judge(ours, Some(&stored)), ours.map(|ours| ours.edition))
        });
        if verdict == Verdict::Take
            && let Some(state) = &stored.state
        {
            match ours {
                Some(ours) if ours == edition => log::warn!(
                    "[room] ALERT namespace {name} is another one in etcd than here, and neither is later: etcd's counts from now on, and tokens that were good here alone are not any more"
                ),
                _ => log::info!("[room] namespace {name}: edition {edition} of it comes from etcd"),
            }
            self.registry.put(state.clone());
        }
        self.entries.insert(name, Entry { modified, stored, closed, is_sealed_by_other });
    }

    /// The edition, and what was sealed; with whether by another secret than the one to seal with now.
    fn open(&self, name: &NamespaceName, value: &str) -> (u64, Result<(NamespaceState, bool), Unreadable>) {
        let Ok(envelope) = serde_json::from_str::<Envelope>(value) else {
            return (0, Err(Unreadable::Malformed));
        };
        let Envelope { version, edition, sealed } = envelope;
        if version != VERSION {
            return (edition, Err(Unreadable::Version(version)));
        }
        let Some((plain, is_by_other)) = self.keys.open(&label(name, edition), &sealed) else {
            return (edition, Err(Unreadable::Sealed));
        };
        let state = NamespaceState::from_kept(&plain).ok();
        let state = state.filter(|state| state.check(name).is_ok() && state.edition == edition);
        (edition, state.map(|state| (state, is_by_other)).ok_or(Unreadable::Malformed))
    }

    /// A namespace as it is to be written now.
    pub fn seal(&self, state: &NamespaceState) -> Result<Sealed, NotWritten> {
        let (name, edition) = (&state.name, state.edition);
        let entry = self.entries.get(name);
        match entry {
            Some(Entry { stored, closed: Some((_, why)), .. }) if stored.edition >= edition => {
                return Err(NotWritten::Words(closed(name, why)));
            }
            Some(Entry { stored, .. }) if stored.edition >= edition => return Err(NotWritten::Outdated),
            _ => {}
        }
        self.sealed(state, entry.map_or(0, |entry| entry.modified))
    }

    fn sealed(&self, state: &NamespaceState, instead_of: u64) -> Result<Sealed, NotWritten> {
        let broken = || NotWritten::Words("it cannot be sealed: that is a bug; please report it".to_owned());
        let plain = state.bare().to_kept().map(Zeroizing::new).map_err(|_| broken())?;
        let sealed = self.keys.seal(&label(&state.name, state.edition), &plain).ok_or_else(broken)?;
        let envelope = Envelope { version: VERSION, edition: state.edition, sealed };
        let value = serde_json::to_string(&envelope).map_err(|_| broken())?;
        Ok(Sealed { instead_of, value })
    }

    /// This was written.
    pub fn wrote(&mut self, state: &NamespaceState, modified: u64) {
        let stored = Stored { edition: state.edition, state: Some(state.bare()) };
        self.entries
            .insert(state.name.clone(), Entry { modified, stored, closed: None, is_sealed_by_other: false });
    }

    /// A namespace of ours that etcd lacks, has an earlier edition of, or has sealed with an earlier secret, as it is to be written.
    pub fn due(&self) -> Option<(NamespaceState, Sealed)> {
        let lacks = |state: &NamespaceState| {
            let entry = self.entries.get(&state.name);
            let wanted = match judge(Some(state), entry.map(|entry| &entry.stored)) {
                Verdict::Bring => true,
                Verdict::Agreed => entry.is_some_and(|entry| entry.is_sealed_by_other),
                Verdict::Take | Verdict::Closed => false,
            };
            let sealed = wanted.then(|| self.sealed(state, entry.map_or(0, |entry| entry.modified)).ok());
            sealed.flatten().map(|sealed| (state.clone(), sealed))
        };
        self.registry.read(|known| known.all().find_map(lacks))
    }

    /// Says for health how what is here and what etcd has do not fit.
    pub fn tell(&self, leads: bool) {
        let troubles = self.registry.read(|known| {
            let unread = self.entries.iter().filter_map(|(name, entry)| {
                let is_closed = judge(known.get(name), Some(&entry.stored)) == Verdict::Closed;
                entry.closed.as_ref().filter(|_| is_closed).map(|(_, why)| closed(name, why))
            });
            let is_ahead = |state: &&NamespaceState| {
                let stored = self.entries.get(&state.name).map(|entry| &entry.stored);
                !leads && judge(Some(state), stored) == Verdict::Bring
            };
            let ahead = known.all().filter(is_ahead).map(|state| {
                format!(
                    "namespace {}: this controller's file is later than what etcd has, and comes into etcd when this controller leads",
                    state.name
                )
            });
            unread.chain(ahead).collect()
        });
        self.registry.set_store_troubles(troubles);
    }
}

/// What a value is sealed for: none can be given out for another namespace's or edition's.
fn label(name: &NamespaceName, edition: u64) -> String {
    format!("{VERSION} {name} {edition}")
}

fn closed(name: &NamespaceName, why: &Unreadable) -> String {
    format!("namespace {name}: what etcd has of it cannot be read ({why})")
}

/// Keys made of secrets: the first seals, each may open.
#[derive(Default)]
struct Keyring {
    keys: Vec<(Secret, SealKey)>,
}

/// What is other of the keys than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// The first, which seals.
    First,
    /// Those that only open.
    Others,
}

impl Keyring {
    /// Makes the keys of these settings, where they are not made yet.
    fn set(&mut self, settings: &Settings) -> Change {
        let wanted: Vec<&Secret> = secrets(settings).collect();
        let same = |(known, _): &(Secret, SealKey), wanted: &&Secret| known.matches(wanted.expose());
        let mut pairs = self.keys.iter().zip(&wanted).map(|(key, wanted)| same(key, wanted));
        let is_first_same = pairs.next().unwrap_or(self.keys.len() == wanted.len());
        if is_first_same && self.keys.len() == wanted.len() && pairs.all(|is_same| is_same) {
            return Change::None;
        }
        let prefix = settings.lease.as_ref().map(|lease| lease.prefix.as_str()).unwrap_or_default();
        let purpose = format!("hydraneckwebrtc namespaces {prefix}");
        let mut known = std::mem::take(&mut self.keys);
        for secret in wanted {
            let made = known.iter().position(|key| same(key, &secret)).map(|at| known.swap_remove(at));
            let key = made.or_else(|| Some((secret.clone(), SealKey::of(secret, &purpose)?)));
            self.keys.extend(key);
        }
        if is_first_same { Change::Others } else { Change::First }
    }

    fn seal(&self, label: &str, plain: &[u8]) -> Option<String> {
        self.keys.first()?.1.seal(label, plain)
    }

    /// With whether another key than the first opens it.
    fn open(&self, label: &str, sealed: &str) -> Option<(Zeroizing<Vec<u8>>, bool)> {
        let mut keys = self.keys.iter().enumerate();
        keys.find_map(|(at, (_, key))| Some((key.open(label, sealed)?, at > 0)))
    }
}

/// What namespaces are sealed with is the first; the others open what was sealed before secrets were changed.
fn secrets(settings: &Settings) -> impl Iterator<Item = &Secret> {
    let own = settings.lease.as_ref().map(|lease| &lease.secret).filter(|secret| !secret.is_empty());
    own.into_iter().chain(settings.server.admin_secrets())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Role;
    use crate::core::namespaces::state::RoomLimits;
    use crate::host::clock::Clock;
    use crate::host::entropy;
    use crate::host::private_dir::PrivateDir;

    #[test]
    fn what_was_sealed_with_a_secret_of_before_is_sealed_anew_after_a_reload() {
        let path = std::env::temp_dir().join(format!("neck-stored-{:016x}", entropy::number()));
        let place = PrivateDir::open(&path).unwrap();
        let mut settings = Settings::defaults(Role::Controller);
        settings.server.admin_token = Secret::new("the-first-token");
        let live = Arc::new(Live::new(settings.clone()));
        let (registry, _) = NamespaceRegistry::open(&place, live.clone(), Clock::start());
        let mut stored = StoredNamespaces::new(live.clone(), registry.clone());
        stored.make_keys();
        let fresh = NamespaceState::new("a".parse().unwrap(), RoomLimits::default());
        registry.put(NamespaceState { edition: 1, ..fresh });
        let write = |stored: &mut StoredNamespaces, modified| {
            let (state, Sealed { value, .. }) = stored.due().expect("it is to be written");
            stored.wrote(&state, modified);
            (state.name, value)
        };
        let (name, before) = write(&mut stored, 1);
        assert!(stored.due().is_none() && !stored.read(News::default(), true), "nothing is new");
        let first = std::mem::replace(&mut settings.server.admin_token, Secret::new("the-second-token"));
        settings.server.admin_tokens = vec![first];
        live.set(settings.clone());
        assert!(stored.read(News::default(), true), "there is another secret");
        let (_, after) = write(&mut stored, 2);
        assert!(stored.due().is_none());
        settings.server.admin_tokens.clear();
        live.set(settings);
        assert!(stored.read(News::default(), true), "there is a secret less");
        assert!(stored.due().is_none(), "the first one is as before");
        let opens = [&before, &after].map(|value| stored.open(&name, value).1.is_ok());
        assert_eq!(opens, [false, true], "the second secret alone opens what is there now");
        std::fs::remove_dir_all(&path).unwrap();
    }
}
