//! A role looks for newer versions, and shows what it finds. It has no right to install anything: the unit
//! `hydraneckwebrtc-update.service` does that, when its timer, or a worker that has fallen idle, starts it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value, json};

use crate::config::live::Live;
use crate::config::settings::{AutoUpdate, Update};
use crate::core::wall_time::WallTime;
use crate::host::aside;
use crate::host::clock::wall_time;
use crate::host::entropy;
use crate::host::join;
use crate::host::private_dir::PrivateDir;
use crate::update::state::{DIRECTORY, Memory};
use crate::update::{Offer, Trouble, check};

/// The thread is silent for as long as it asks the release server: three files, 30 s each.
pub const SILENCE: Duration = Duration::from_secs(300);

/// Between two looks at sessions and settings.
const LOOK: Duration = Duration::from_secs(5);

/// Between two questions, and what chance adds, so that a fleet does not ask at once.
const EVERY: Duration = Duration::from_secs(6 * 3600);
const JITTER: Duration = Duration::from_secs(3600);

/// Before the first question: who has just started has better things to do.
const FIRST: Duration = Duration::from_secs(600);

/// Between two rings: a worker that falls idle each minute starts the unit no oftener.
const RING_PAUSE: Duration = Duration::from_secs(60);

/// The file in the role's state directory whose appearance starts the unit that updates.
pub const BELL: &str = "update-wanted";

/// Where enabling the timer leaves a link.
const TIMER: &str = "/etc/systemd/system/timers.target.wants/hydraneckwebrtc-update.timer";

/// Stack of the thread in bytes: JSON, an HTTP client, and the C library's resolver.
const STACK: usize = 512 * 1024;

/// What stopping may take: a question under way is left behind.
const JOIN_DEADLINE: Duration = Duration::from_secs(2);

/// What was found, for everybody to read.
#[derive(Clone, Debug)]
pub struct Updates {
    live: Arc<Live>,
    found: Arc<Mutex<Option<Looked>>>,
}

/// One look at the release server.
#[derive(Clone, Debug)]
struct Looked {
    at: WallTime,
    found: Result<Offer, String>,
}

impl Updates {
    /// Nothing was asked yet.
    pub fn new(live: Arc<Live>) -> Updates {
        Updates { live, found: Arc::default() }
    }

    /// Whether a newer version is there.
    pub fn is_available(&self) -> bool {
        matches!(&*self.lock(), Some(Looked { found: Ok(offer), .. }) if offer.is_newer())
    }

    /// For health. What is wrong names the release server, which is for operators.
    pub fn shown(&self, admin: bool) -> Value {
        let memory = Memory::read(Path::new(DIRECTORY));
        let settings = self.live.get().update.clone();
        let looked = self.lock().clone();
        let asked = looked.as_ref().map(|look| look.at.rfc3339());
        let (newest, problem) = match looked.map(|look| look.found) {
            Some(Ok(offer)) => (Some(offer.newest), None),
            Some(Err(problem)) => (None, Some(problem)),
            None => (None, None),
        };
        json!({
            "auto": match settings.auto {
                AutoUpdate::On => "true",
                AutoUpdate::Check => "check",
                AutoUpdate::Off => "false",
            },
            "channel": settings.channel.name(),
            "asked": asked,
            "newest": newest,
            "available": self.is_available(),
            "timer": Path::new(TIMER).exists(),
            "waits": memory.waits.map(|waits| waits.version),
            "rolled_back": memory.bad,
            "problem": problem.filter(|_| admin),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Looked>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks.
pub struct Checker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    /// Starts it. `is_idle`: nobody streams. `bell`: where it rings, a role's state directory.
    pub fn start(
        updates: Updates,
        bell: PrivateDir,
        is_idle: impl Fn() -> bool + Send + 'static,
        beat: Box<dyn Fn() + Send>,
    ) -> std::io::Result<Checker> {
        let (stop, stopped) = bounded(0);
        let looker = Looker { asked: updates.live.get().update.clone(), updates, bell, told: None };
        let thread = std::thread::Builder::new().name("updater".into()).stack_size(STACK);
        let thread = thread.spawn(move || looker.run(&stopped, &is_idle, &beat))?;
        Ok(Checker { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.stop.take();
        self.thread.take().and_then(|thread| join::within(thread, JOIN_DEADLINE));
    }
}

struct Looker {
    updates: Updates,
    bell: PrivateDir,
    /// The settings that were asked with.
    asked: Update,
    /// What the log has been told.
    told: Option<String>,
}

impl Looker {
    fn run(mut self, stopped: &Receiver<()>, is_idle: &dyn Fn() -> bool, beat: &dyn Fn()) {
        let mut due = Instant::now() + FIRST + chance(JITTER);
        let (mut was_idle, mut may_ring) = (false, Instant::now());
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            beat();
            let now = Instant::now();
            let settings = self.updates.live.get().update.clone();
            if settings != self.asked || now >= due {
                self.asked = settings.clone();
                if !self.ask(&settings, stopped) {
                    return;
                }
                due = Instant::now() + EVERY + chance(JITTER);
            }
            let idle = is_idle();
            if idle && !was_idle && now >= may_ring && rings(&settings, &Memory::read(Path::new(DIRECTORY))) {
                self.ring();
                may_ring = now + RING_PAUSE;
            }
            was_idle = idle;
        }
    }

    /// Asks the release server. Whether to go on.
    fn ask(&mut self, settings: &Update, stopped: &Receiver<()>) -> bool {
        let found = match settings.auto {
            AutoUpdate::Off => None,
            AutoUpdate::On | AutoUpdate::Check => {
                let asked = settings.clone();
                match aside::start("updater-call", STACK, move || check(&asked, None)) {
                    Ok(found) => match aside::wait(&found, stopped, Duration::ZERO, |()| ()) {
                        Some(found) => Some(found),
                        None => return false,
                    },
                    Err(error) => Some(Err(Trouble::Unreached(format!("no thread to ask it on: {error}")))),
                }
            }
        };
        self.note(settings, found);
        true
    }

    fn note(&mut self, settings: &Update, found: Option<Result<Offer, Trouble>>) {
        let words = match &found {
            Some(Ok(offer)) if offer.is_newer() => Some(format!(
                "{} is there ({}); this is {}{}",
                offer.newest,
                offer.channel.name(),
                offer.runs,
                if settings.auto == AutoUpdate::On && Path::new(TIMER).exists() {
                    "; it is installed when nobody streams"
                } else {
                    "; `hydraneckwebrtc update` installs it"
                }
            )),
            Some(Err(trouble @ Trouble::Refused(_))) => Some(trouble.to_string()),
            _ => None,
        };
        // Once for each version and each trouble: it is looked for all the time.
        if let Some(words) = words.filter(|words| self.told.as_ref() != Some(words)) {
            log::info!("[update] {words}");
            self.told = Some(words);
        }
        let at = wall_time();
        let look = |found: Result<Offer, Trouble>| Looked {
            at,
            found: found.map_err(|trouble| trouble.to_string()),
        };
        *self.updates.lock() = found.map(look);
    }

    /// Starts the unit that updates, which removes the file first.
    fn ring(&self) {
        match self.bell.replace_file(BELL, b"") {
            Ok(()) => log::info!("[update] idle: the version that waits may come"),
            Err(error) => log::warn!("[update] cannot ring for the version that waits: {error}"),
        }
    }
}

/// Whether a worker that falls idle rings.
fn rings(settings: &Update, memory: &Memory) -> bool {
    settings.auto == AutoUpdate::On && memory.waits.is_some()
}

fn chance(most: Duration) -> Duration {
    Duration::from_millis(entropy::number() % (most.as_millis() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::state::Waiting;

    #[test]
    fn a_worker_rings_for_a_version_that_waits_and_only_where_it_may_come() {
        let waits = Waiting { version: "1.2.3".parse().expect("a version"), since: 0 };
        let memory = Memory { waits: Some(waits), ..Memory::default() };
        let settings = Update::default();
        assert!(rings(&settings, &memory));
        assert!(!rings(&settings, &Memory::default()));
        assert!(!rings(&Update { auto: AutoUpdate::Check, ..settings }, &memory));
    }
}
