//! The `relay-check` thread: asks our own TURN servers for a relay with the credentials of each namespace, as its members do. That
//! a server runs says little: it may not know the secret yet, have no port left, or not be reached.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use rustls::ClientConfig;

use crate::api::server::Beat;
use crate::config::live::Live;
use crate::core::namespaces::NamespaceName;
use crate::core::turn::client::Trouble;
use crate::core::turn::credentials::Credentials;
use crate::daemon::RunError;
use crate::edge::tls;
use crate::host::join;
use crate::host::pulse::Pulses;
use crate::host::turn::{Plan, allocate_check};
use crate::server;
use crate::worker::namespaces::access::RoomAccess;

/// How long a relay that was given counts.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// After a failure it is tried again sooner: a new secret is on its way to the server.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);

/// What one try may take. The server is near, as a rule on this host.
const PATIENCE: Duration = Duration::from_secs(2);

/// A round may try several URLs of several namespaces, and shows that it is alive between.
const SILENCE: Duration = Duration::from_secs(30);

/// Stack in bytes: TLS, and datagrams.
const STACK: usize = 512 * 1024;

const JOIN_DEADLINE: Duration = Duration::from_secs(5);

/// coturn's answer to a password that is made of a secret it does not know (RFC 8489, 14.8).
const UNAUTHORIZED: u16 = 401;

/// What to do then.
const UNKNOWN_SECRET: &str = "; coturn does not know the namespace's secret: see hydraneckwebrtc-turn-secrets.path, and the realm there";

/// The directory of copies is touched no more often.
const WISH_EVERY: Duration = Duration::from_secs(30);

/// The failure in a row that the log tells.
const TOLD: u32 = 2;

/// Who asks, in coturn's log and quotas.
const WHO: &str = "relay-check";

/// What was found. Cheap to clone.
#[derive(Clone, Default)]
pub struct RelayChecks(Arc<RwLock<HashMap<NamespaceName, Tried>>>);

#[derive(Clone)]
struct Tried {
    at: Instant,
    /// When the namespace was enabled: another time, another secret.
    enabled_at: Option<u64>,
    /// Why there was no relay.
    failed: Option<String>,
    /// How often in a row.
    failures: u32,
}

impl Tried {
    fn is_due(&self, enabled_at: Option<u64>, now: Instant) -> bool {
        let age = if self.failed.is_some() { AGAIN_AFTER } else { GOOD_FOR };
        self.enabled_at != enabled_at || now.duration_since(self.at) >= age
    }
}

impl RelayChecks {
    /// Whether our TURN servers relay for a namespace; `None`: it was not tried.
    pub fn of(&self, name: &NamespaceName) -> Option<bool> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(|tried| tried.failed.is_none())
    }

    /// The namespaces that nobody is relayed for, and why.
    pub fn failed(&self) -> Vec<(NamespaceName, String)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let failed = all.iter().filter_map(|(name, tried)| Some((name.clone(), tried.failed.clone()?)));
        let mut failed: Vec<_> = failed.collect();
        failed.sort();
        failed
    }

    fn is_due(&self, name: &NamespaceName, enabled_at: Option<u64>, now: Instant) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(name).is_none_or(|tried| tried.is_due(enabled_at, now))
    }

    /// Notes what was found; how often in a row there was no relay, before and now.
    fn note(&self, name: &NamespaceName, tried: Tried) -> (u32, u32) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(name).map_or(0, |before| before.failures);
        let failures = if tried.failed.is_some() { before.saturating_add(1) } else { 0 };
        all.insert(name.clone(), Tried { failures, ..tried });
        (before, failures)
    }

    fn keep_only(&self, names: &[(NamespaceName, Option<u64>)]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| names.iter().any(|(known, _)| known == name));
    }
}

/// The running thread.
pub struct RelayCheckThread {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl RelayCheckThread {
    /// Starts it; it publishes to `found`.
    pub fn start(
        found: RelayChecks,
        access: RoomAccess,
        live: Arc<Live>,
        pulses: &Pulses,
    ) -> Result<RelayCheckThread, RunError> {
        let tls = tls::client_config(None).map_err(RunError)?;
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let beat = server::beat(pulses, "relay-check", SILENCE);
        let checking = Checking { found, access, live, tls, wished: None, beat };
        let thread = server::thread("relay-check", STACK, move || checking.run(&stopped))?;
        Ok(RelayCheckThread { stop, thread })
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self.stop);
        join::within(self.thread, JOIN_DEADLINE);
    }
}

/// What the thread works with.
struct Checking {
    found: RelayChecks,
    access: RoomAccess,
    live: Arc<Live>,
    tls: Arc<ClientConfig>,
    /// When the directory of copies was touched last.
    wished: Option<Instant>,
    beat: Beat,
}

impl Checking {
    fn run(mut self, stop: &Receiver<()>) {
        loop {
            (self.beat)();
            self.look(stop);
            if stop.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Tries what is due. A server that does not answer one namespace answers no other.
    fn look(&mut self, stop: &Receiver<()>) {
        let urls = self.live.get().turn.as_ref().map(|turn| turn.urls.clone()).unwrap_or_default();
        let names = if urls.is_empty() { Vec::new() } else { self.access.enabled() };
        self.found.keep_only(&names);
        let (mut away, mut wished): (Option<String>, bool) = (None, false);
        for (name, enabled_at) in names {
            let at = Instant::now();
            if !self.found.is_due(&name, enabled_at, at) {
                continue;
            }
            (self.beat)();
            if is_over(stop) {
                return;
            }
            let Some(minted) = self.access.turn_credentials(&name, WHO, SystemTime::now()) else { continue };
            let credentials = Credentials { username: minted.username, password: minted.credential };
            let failed = match &away {
                Some(why) => Some(why.clone()),
                None => self.ask(&urls, &credentials, stop).err().map(|failure| {
                    away = (!failure.is_refusal).then(|| failure.why.clone());
                    wished |= failure.of_credentials;
                    failure.why
                }),
            };
            if is_over(stop) {
                return;
            }
            self.tell(&name, Tried { at, enabled_at, failed, failures: 0 });
        }
        if wished {
            self.wish_for_secrets();
        }
    }

    /// A relay from the first of our URLs that gives one.
    fn ask(&self, urls: &[String], credentials: &Credentials, stop: &Receiver<()>) -> Result<(), Failure> {
        let plan = Plan { tls: self.tls.clone(), patience: PATIENCE };
        let mut last = Failure {
            why: "turn.urls has no URL that can be tried".to_owned(),
            is_refusal: false,
            of_credentials: false,
        };
        for url in urls {
            // One try is as much as stopping may wait for.
            if is_over(stop) {
                break;
            }
            match allocate_check(url, credentials, &plan) {
                Ok(_) => return Ok(()),
                // Browsers do not speak it either.
                Err(Trouble::Dtls) => {}
                Err(trouble) => last = Failure::of(url, &trouble),
            }
            (self.beat)();
        }
        Err(last)
    }

    /// Whoever brings secrets to coturn is woken by a change in the directory of copies: once more, where one has not arrived.
    fn wish_for_secrets(&mut self) {
        if self.wished.is_none_or(|wished| wished.elapsed() >= WISH_EVERY) {
            self.wished = Some(Instant::now());
            self.access.touch();
        }
    }

    /// The log hears of what changes. A first failure may be that of a secret on its way.
    fn tell(&self, name: &NamespaceName, tried: Tried) {
        let failed = tried.failed.clone();
        match (failed, self.found.note(name, tried)) {
            (None, (TOLD.., _)) => log::info!("[turn] namespace {name} is relayed"),
            (Some(why), (_, TOLD)) => log::warn!("[turn] namespace {name} is not relayed: {why}"),
            _ => {}
        }
    }
}

/// Whether the thread is told to end.
fn is_over(stop: &Receiver<()>) -> bool {
    stop.try_recv() == Err(TryRecvError::Disconnected)
}

/// Why there was no relay.
struct Failure {
    why: String,
    /// The server answered, and may answer another namespace otherwise.
    is_refusal: bool,
    /// It does not know the secret.
    of_credentials: bool,
}

impl Failure {
    fn of(url: &str, trouble: &Trouble) -> Failure {
        let code = match trouble {
            Trouble::Allocation(refusal) => Some(refusal.code),
            _ => None,
        };
        let of_credentials = code == Some(UNAUTHORIZED);
        let advice = if of_credentials { UNKNOWN_SECRET } else { "" };
        Failure { why: format!("{url}: {trouble}{advice}"), is_refusal: code.is_some(), of_credentials }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_counts_for_half_a_minute_and_a_failure_for_five_seconds() {
        let (found, begun) = (RelayChecks::default(), Instant::now());
        let name: NamespaceName = "a".parse().unwrap();
        let due =
            |after: u64, enabled_at| found.is_due(&name, enabled_at, begun + Duration::from_secs(after));
        assert!(due(0, Some(1)) && found.of(&name).is_none(), "not tried");
        found.note(&name, Tried { at: begun, enabled_at: Some(1), failed: None, failures: 0 });
        assert_eq!((due(29, Some(1)), due(30, Some(1)), due(0, Some(2))), (false, true, true));
        assert_eq!(found.of(&name), Some(true));
        found.note(&name, Tried { at: begun, enabled_at: Some(1), failed: Some("why".into()), failures: 0 });
        assert_eq!((due(4, Some(1)), due(5, Some(1))), (false, true));
        assert_eq!((found.of(&name), found.failed().len()), (Some(false), 1));
        found.keep_only(&[]);
        assert!(found.of(&name).is_none() && found.failed().is_empty());
    }
}
