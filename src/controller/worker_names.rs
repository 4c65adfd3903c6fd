//! Names in workers' addresses: looked up beside the threads of the API, a few at once, and remembered.
//!
//! A name server that does not answer must hold neither the API nor the heartbeats of other workers. So a beat waits for a short time only,
//! and when there is no answer by then, or too many names wait already, what the name meant before is good enough. It is judged
//! again all the same ([`worker_address`](super::worker_address)).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::host::names;

/// How long a beat waits for an answer: a name server nearby has one in a few milliseconds.
const WAIT: Duration = Duration::from_millis(500);

/// Names that are asked for at once: fewer than the API has threads.
const AT_ONCE: usize = 2;

/// Names that are remembered: as many as there are workers at most by default.
const MOST: usize = 10_000;

/// What names meant.
#[derive(Debug, Default)]
pub struct WorkerNames {
    known: Arc<Mutex<Known>>,
    under_way: Arc<AtomicUsize>,
}

type Known = BTreeMap<String, Vec<SocketAddr>>;

/// A look-up that is under way, until its thread ends: also when nobody waits for it any more.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl WorkerNames {
    /// The addresses of `host`, an address or a name; `None`: it has none, or none is known in time.
    pub fn addresses(&self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(vec![SocketAddr::new(ip, port)]);
        }
        let name = format!("{host}:{port}");
        match self.ask(host, port, &name) {
            Some(found) => found.ok(),
            None => lock(&self.known).get(&name).cloned(),
        }
    }

    /// The answer, if one comes in time. One that comes later is remembered for the next beat.
    fn ask(&self, host: &str, port: u16, name: &str) -> Option<io::Result<Vec<SocketAddr>>> {
        let one_more = |now: usize| (now < AT_ONCE).then_some(now + 1);
        self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        let (under_way, known, name) =
            (UnderWay(self.under_way.clone()), self.known.clone(), name.to_owned());
        let then = move |found: &io::Result<Vec<SocketAddr>>| {
            if let Ok(found) = found {
                remember(&mut lock(&known), name, found);
            }
            drop(under_way);
        };
        names::begin(host, port, then).ok()?.recv_timeout(WAIT).ok()
    }
}

fn remember(known: &mut Known, name: String, found: &[SocketAddr]) {
    if known.len() >= MOST {
        // They come back with the next beats.
        known.clear();
    }
    known.insert(name, found.to_vec());
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_without_an_answer_leaves_what_was_known() {
        let names = WorkerNames::default();
        let meant = names.addresses("localhost", 80).expect("a name of this host");
        assert!(meant.iter().all(|address| address.ip().is_loopback()), "{meant:?}");
        // As many look-ups as there may be, none of which ends.
        let stuck: Vec<UnderWay> = (0..AT_ONCE)
            .map(|_| {
                names.under_way.fetch_add(1, Ordering::AcqRel);
                UnderWay(names.under_way.clone())
            })
            .collect();
        assert_eq!(names.addresses("localhost", 80), Some(meant));
        assert_eq!(names.addresses("other.example", 80), None);
        assert_eq!(names.addresses("[::1]", 8), Some(vec!["[::1]:8".parse().expect("an address")]));
        drop(stuck);
        assert_eq!(names.under_way.load(Ordering::Acquire), 0);
    }
}
