//! The thread `events`: watches what operators' webhooks are told of and no other thread owns: the condition of workers, where this
//! is a controller, and the certificate. What was told is kept in the role's state directory, so that a restart repeats nothing.
//!
//! ```text
//!  fleet's snapshot, certificate ── looked at each second ─▶ news ─▶ outbox (on disk) ─▶ noted as told
//! ```
//!
//! News that the outbox does not take are news again a second later. Sessions' events are told by who writes their records.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::server::Beat;
use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::fleet::WorkerView;
use crate::core::limits::log_limit::LogLimit;
use crate::core::time::Moment;
use crate::core::wall_time::WallTime;
use crate::core::webhook::{Event, EventKind};
use crate::daemon::RunError;
use crate::host::clock::{Clock, unix_millis, wall_time};
use crate::host::private_dir::PrivateDir;
use crate::host::{entropy, join, state_file};
use crate::outbox::Outbox;
use crate::server::certificate_news::CertificateNews;
use crate::server::certificate_view::CertificateView;
use crate::server::worker_conditions::{Conditions, News, Told};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// It may wait for a disk.
const SILENCE: Duration = Duration::from_secs(90);

/// Stack of the thread in bytes: JSON.
const STACK: usize = 256 * 1024;

/// What stopping may take: a file that is being written.
const JOIN_DEADLINE: Duration = Duration::from_secs(5);

/// What was told, in the role's state directory.
const FILE: &str = "events.json";

/// Lines about news that are not taken: a few at once, then one each minute.
const TROUBLE_BURST: u32 = 3;
const TROUBLE_INTERVAL: Duration = Duration::from_secs(60);

/// What the certificate's events are about.
const CERTIFICATE: &str = "certificate";

/// Shows the workers as they are now: by which clock, and whether whoever lives was heard of since the start.
pub type Workers = Box<dyn Fn(&mut dyn FnMut(Moment, &[WorkerView], bool)) + Send>;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    workers: Told,
    certificate: CertificateNews,
}

/// The running thread.
pub struct Announcer {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Watcher {
    outbox: Outbox,
    live: Arc<Live>,
    certificate: CertificateView,
    workers: Option<Workers>,
    path: PathBuf,
    conditions: Conditions,
    told: CertificateNews,
    kept: Kept,
    clock: Clock,
    trouble: LogLimit,
}

impl Announcer {
    /// Starts the thread of the role whose state directory this is.
    pub fn start(
        state: &PrivateDir,
        (outbox, live): (Outbox, Arc<Live>),
        certificate: CertificateView,
        workers: Option<Workers>,
        pulses: &crate::host::pulse::Pulses,
    ) -> Result<Announcer, RunError> {
        let path = state.path().join(FILE);
        let kept: Kept = state_file::read(&path)
            .unwrap_or_else(|error| {
                log::error!("[outbox] ALERT {FILE}: {error}; going on as if it were not there");
                None
            })
            .unwrap_or_default();
        let watcher = Watcher {
            outbox,
            live,
            certificate,
            workers,
            path,
            conditions: Conditions::of(kept.workers.clone()),
            told: kept.certificate.clone(),
            kept,
            clock: Clock::start(),
            trouble: LogLimit::new(TROUBLE_BURST, TROUBLE_INTERVAL),
        };
        let (stop, stopped) = crossbeam_channel::bounded(1);
        let beat = super::beat(pulses, "events", SILENCE);
        let thread = super::thread("events", STACK, move || watcher.run(&stopped, &beat))?;
        Ok(Announcer { stop, thread })
    }

    /// Ends the thread.
    pub fn stop(self) {
        drop(self.stop);
        join::within(self.thread, JOIN_DEADLINE);
    }
}

impl Watcher {
    fn run(mut self, stopped: &Receiver<()>, beat: &Beat) {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            beat();
            let settings = self.live.get();
            self.look_at_workers(&settings);
            self.look_at_certificate(&settings);
            self.keep();
        }
    }

    fn look_at_workers(&mut self, settings: &Settings) {
        let Some(workers) = self.workers.take() else { return };
        workers(&mut |now, list, settled| {
            for news in self.conditions.look(now, list, settled) {
                let view = list.iter().find(|worker| worker.id == news.worker);
                match self.tell(&of_worker(&news, view), settings) {
                    true => self.conditions.note(now, &news),
                    false => break,
                }
            }
        });
        self.workers = Some(workers);
    }

    fn look_at_certificate(&mut self, settings: &Settings) {
        let now = wall_time();
        let problem = self.certificate.trouble();
        if !self.told.is_due(now, problem.as_deref()) {
            return;
        }
        let problem = problem.unwrap_or_default();
        let (names, end) = self.certificate.names_and_end();
        let data = json!({"names": names, "problem": problem, "not_after": end.map(WallTime::rfc3339)});
        let kind = EventKind::CertificateProblem;
        let event = Event::new(kind, CERTIFICATE.into(), unix_millis(), data, entropy::bytes());
        if self.tell(&event, settings) {
            self.told.note(now, &problem);
        }
    }

    /// Whether it was taken.
    fn tell(&mut self, event: &Event, settings: &Settings) -> bool {
        let Err(error) = self.outbox.tell(event, settings) else { return true };
        if let Some(more) = self.trouble.allow(self.clock.now()) {
            let kind = event.kind;
            log::error!(
                "[outbox] ALERT {kind} cannot be told yet: {error} ({more} such lines were not shown)"
            );
        }
        false
    }

    fn keep(&mut self) {
        let now = Kept { workers: self.conditions.told().clone(), certificate: self.told.clone() };
        if now == self.kept {
            return;
        }
        match state_file::write(&self.path, &now) {
            Ok(()) => self.kept = now,
            Err(error) => {
                if let Some(more) = self.trouble.allow(self.clock.now()) {
                    log::error!("[outbox] ALERT {FILE}: {error} ({more} such lines were not shown)");
                }
            }
        }
    }
}

fn of_worker(news: &News, view: Option<&WorkerView>) -> Event {
    let mut data = json!({"worker_id": news.worker, "reasons": news.reasons});
    if let Some(view) = view {
        data["url"] = view.url.as_str().into();
        data["version"] = view.version.as_str().into();
        data["active_sessions"] = view.active.into();
        data["max_sessions"] = view.max.into();
        data["last_heartbeat_seconds"] = view.last_heartbeat_age.as_secs().into();
    }
    let subject = format!("worker-{}", news.worker);
    Event::new(news.condition.event(), subject, unix_millis(), data, entropy::bytes())
}
