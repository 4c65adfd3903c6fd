//! Who is admitted to rooms on this worker: by the copies that the controller sent, or that an earlier run kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::access::Namespaces;
pub use crate::core::namespaces::access::{Denied, Membership};
pub use crate::core::namespaces::relays::TurnCredentials;
use crate::core::namespaces::state::{NamespaceState, RoomLimits};
use crate::core::namespaces::wire::MAX_NAMESPACES_LISTED;
use crate::host::clock::unix_seconds;
use crate::host::namespace_files::{Found, NamespaceFiles};
use crate::host::private_dir::PrivateDir;
use crate::worker::standing::Standing;

/// Judges tokens and makes TURN credentials. Cheap to clone; asking takes a short lock and no disk.
#[derive(Clone)]
pub struct RoomAccess(Arc<Shared>);

struct Shared {
    live: Arc<Live>,
    standing: Arc<Standing>,
    known: RwLock<Namespaces>,
    /// Where copies are kept, by one caller at a time; `None` where they cannot be, so that they are good for this run only.
    files: Mutex<Option<NamespaceFiles>>,
    /// Namespaces whose copy could not be read at the start, until the controller brings it.
    waiting: RwLock<Vec<NamespaceName>>,
}

impl RoomAccess {
    /// With the copies that are kept in the worker's state directory.
    pub fn open(state: &PrivateDir, live: Arc<Live>, standing: Arc<Standing>) -> RoomAccess {
        let (files, found) = open(state);
        let mut known = Namespaces::default();
        found.states.into_iter().for_each(|state| known.put(state));
        RoomAccess(Arc::new(Shared {
            live,
            standing,
            known: RwLock::new(known),
            files: Mutex::new(files),
            waiting: RwLock::new(found.unreadable.into_iter().map(|(name, _)| name).collect()),
        }))
    }

    /// Whether rooms are held here at all (`rooms.enabled`). Where they are not, their paths do not exist.
    pub fn is_enabled(&self) -> bool {
        self.0.live.get().rooms.enabled
    }

    /// Judges a token that came with a request for `host`.
    pub fn admit(&self, token: &str, host: Option<&str>, now: SystemTime) -> Result<Membership, Denied> {
        let settings = self.0.live.get();
        let is_known = |token: &str| {
            self.0.standing.is_admin(&settings, token)
                || settings.server.read_token.matches(token)
                || settings.metrics.token.matches(token)
        };
        let membership = self.known().admit(token, host, unix_seconds(now), is_known)?;
        let limits = membership.limits.within(RoomLimits::from(&settings.rooms));
        Ok(Membership { limits, ..membership })
    }

    /// TURN credentials of `who` in a namespace; `None`: it is not enabled, or nobody relays for it.
    pub fn turn_credentials(
        &self,
        ns: &NamespaceName,
        who: &str,
        now: SystemTime,
    ) -> Option<TurnCredentials> {
        let settings = self.0.live.get();
        let known = self.known();
        let state = known.get(ns)?;
        TurnCredentials::of(state, urls(state, &settings), who, unix_seconds(now))
    }

    /// Takes copies that the controller sent, and forgets those of namespaces that are not served here any more.
    pub fn take(&self, copies: Vec<NamespaceState>, dropped: &[NamespaceName]) {
        for copy in copies {
            let name = copy.name.clone();
            if let Err(why) = copy.check(&name) {
                log::warn!("[room] the controller's copy of namespace {name} is not used: {why}");
                continue;
            }
            let is_new = self.known().get(&name).is_none();
            if is_new && self.known().all().count() >= MAX_NAMESPACES_LISTED {
                log::warn!(
                    "[room] the copy of namespace {name} is not taken: there are {MAX_NAMESPACES_LISTED}"
                );
                continue;
            }
            // The disk first: who is admitted by a copy is admitted after a restart, too.
            if let Some(Err(why)) = self.files().as_ref().map(|files| files.keep(&copy)) {
                log::warn!("[room] WARNING: the copy of namespace {name} is not kept over a restart: {why}");
            }
            let words = if copy.enabled { "enabled" } else { "not enabled" };
            log::info!("[room] namespace {name}: a copy from the controller, {words}");
            self.known_mut().put(copy);
            self.waiting_mut().retain(|waiting| *waiting != name);
        }
        for name in dropped {
            self.waiting_mut().retain(|waiting| waiting != name);
            if self.known_mut().remove(name).is_some() {
                log::info!("[room] namespace {name} is not served here any more");
            }
            if let Some(Err(why)) = self.files().as_ref().map(|files| files.remove(name)) {
                log::warn!("[room] the copy of namespace {name} is not removed: {why}");
            }
        }
    }

    /// What `of` makes of the first `most` namespaces that are known here, by name.
    pub fn each<T>(&self, most: usize, of: impl Fn(&NamespaceState) -> T) -> Vec<T> {
        self.known().all().take(most).map(of).collect()
    }

    /// Those of them that are enabled, and since when.
    pub fn enabled(&self) -> Vec<(NamespaceName, Option<u64>)> {
        let known = self.known();
        known
            .all()
            .filter(|state| state.enabled)
            .map(|state| (state.name.clone(), state.enabled_at))
            .collect()
    }

    /// Changes something in the directory of copies, so that whoever brings their secrets to a TURN server looks again.
    pub fn touch(&self) {
        if let Some(Err(why)) = self.files().as_ref().map(|files| files.keep_beside(WISH, b"")) {
            log::warn!("[turn] the directory of copies takes nothing: {why}");
        }
    }

    /// Namespaces that were known to an earlier run and wait for the controller.
    pub fn waiting(&self) -> Vec<NamespaceName> {
        self.0.waiting.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> RwLockReadGuard<'_, Namespaces> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Namespaces> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting_mut(&self) -> RwLockWriteGuard<'_, Vec<NamespaceName>> {
        self.0.waiting.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Option<NamespaceFiles>> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file without content: a namespace's secret is not with the TURN server yet.
const WISH: &str = "turn-secret-wanted";

/// Where copies are, below the worker's state directory.
const DIRECTORY: &str = "rooms";

fn open(state: &PrivateDir) -> (Option<NamespaceFiles>, Found) {
    match NamespaceFiles::open(state, DIRECTORY) {
        Ok((files, found)) => {
            for (name, why) in &found.unreadable {
                log::warn!(
                    "[room] WARNING: namespace {name}: its configuration is not there ({why}); rooms wait for the controller"
                );
            }
            (Some(files), found)
        }
        Err(error) => {
            log::warn!(
                "[room] WARNING: copies of namespaces cannot be kept: {error}; rooms wait for the controller after each start"
            );
            (None, Found::default())
        }
    }
}

/// Where a namespace is relayed: where its copy says, else by our own TURN servers.
fn urls<'a>(state: &'a NamespaceState, settings: &'a Settings) -> &'a [String] {
    match (&state.turn_urls[..], &settings.turn) {
        ([], Some(turn)) => &turn.urls,
        (urls, _) => urls,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::config::secret::Secret;
    use crate::config::settings::{Role, Turn};
    use crate::core::namespaces::RoomRole;
    use crate::core::namespaces::access::tests::namespace as with_tokens;
    use crate::host::entropy;

    struct Place(PrivateDir);

    impl Place {
        fn new() -> Place {
            let path = std::env::temp_dir().join(format!("neck-rooms-{:016x}", entropy::number()));
            Place(PrivateDir::open(&path).unwrap())
        }

        fn access(&self) -> RoomAccess {
            let mut settings = Settings::defaults(Role::Worker);
            settings.rooms.enabled = true;
            settings.rooms.max_peers = 10;
            settings.server.admin_token = Secret::new("admin");
            settings.turn = Some(Turn { urls: vec!["turn:192.0.2.1:3478".into()], ..Turn::default() });
            RoomAccess::open(&self.0, Arc::new(Live::new(settings)), Arc::default())
        }

        fn file(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join("rooms").join(name)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.path());
        }
    }

    fn namespace(name: &str, token: &str) -> NamespaceState {
        with_tokens(name, &[(token, RoomRole::Owner, None)])
    }

    fn status(access: &RoomAccess, token: &str) -> u16 {
        access.admit(token, None, SystemTime::now()).map_or_else(Denied::status, |_| 200)
    }

    // SPEC 10: A worker admits by its copies without the controller; one that cannot be read is a
    // warning and waits
    // Also: `a_copy_that_cannot_be_read_waits_for_the_controller`,
    // `a_state_that_is_not_understood_is_not_used`,
    // `a_worker_may_allow_less_than_a_namespace_but_not_more`
    #[test]
    fn a_worker_goes_by_its_copies_without_the_controller() {
        let place = Place::new();
        let first = place.access();
        assert_eq!(status(&first, "a-token"), 401);
        first.take(vec![namespace("a", "a-token"), namespace("b", "b-token")], &[]);
        assert_eq!((status(&first, "a-token"), status(&first, "admin")), (200, 403));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(place.file("a.json")).unwrap());
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
        drop(first);
        let second = place.access();
        assert_eq!(status(&second, "a-token"), 200, "cold boot");
        let member = second.admit("a-token", Some("ns-a.example.com"), SystemTime::now()).unwrap();
        assert_eq!((member.namespace.as_str(), member.limits.max_peers), ("a", 10), "the smaller bound");
        second.take(Vec::new(), &["a".parse().unwrap()]);
        assert!(!place.file("a.json").exists());
        drop(second);
        assert_eq!((status(&place.access(), "a-token"), status(&place.access(), "b-token")), (401, 200));
    }

    #[test]
    fn a_copy_that_cannot_be_read_waits_for_the_controller() {
        let place = Place::new();
        place
            .access()
            .take(["a", "b", "c", "d"].map(|name| namespace(name, &format!("{name}-token"))).into(), &[]);
        std::fs::write(place.file("a.json"), "{half").unwrap();
        std::fs::rename(place.file("b.json"), place.file("c.json")).unwrap();
        let later = std::fs::read_to_string(place.file("d.json"))
            .unwrap()
            .replace(r#""version":1"#, r#""version":9"#);
        std::fs::write(place.file("d.json"), later).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.file("e.json")).unwrap();
        std::fs::create_dir(place.file("f.json")).unwrap();
        let access = place.access();
        let mut waiting = access.waiting();
        waiting.sort();
        let waiting: Vec<&str> = waiting.iter().map(NamespaceName::as_str).collect();
        assert_eq!(waiting, ["a", "c", "d", "e", "f"]);
        for token in ["a-token", "b-token", "c-token", "d-token"] {
            assert_eq!(status(&access, token), 401, "{token}");
        }
        access.take(vec![namespace("a", "a-token")], &["f".parse().unwrap()]);
        assert_eq!((status(&access, "a-token"), access.waiting().len()), (200, 3));
    }

    #[test]
    fn credentials_name_the_servers_of_the_copy_before_our_own() {
        let (place, ann) = (Place::new(), "ann");
        let access = place.access();
        let elsewhere =
            NamespaceState { turn_urls: vec!["turn:192.0.2.2:3478".into()], ..namespace("b", "b") };
        access.take(vec![namespace("a", "a"), elsewhere], &[]);
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let urls = |ns: &str| access.turn_credentials(&ns.parse().unwrap(), ann, now).map(|made| made.urls);
        assert_eq!(urls("a").unwrap(), ["turn:192.0.2.1:3478"]);
        assert_eq!(urls("b").unwrap(), ["turn:192.0.2.2:3478"]);
        assert_eq!(urls("c"), None);
        let made = access.turn_credentials(&"a".parse().unwrap(), ann, now).unwrap();
        assert_eq!(made.username, "1600:a.ann");
    }
}
