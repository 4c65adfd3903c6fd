//! What the sessions of a worker share about bodies: whose turn it is to pair, what earlier sessions left there, pairings that are kept.
//!
//! ```text
//! a pairing begins ─▶ noted on disk ── session ends, all taken away ─▶ removed
//!                          │  └─────── something did not work ───────▶ waits ─┐
//!                          └── we were killed; next start ───────────────────▶┤
//!                    a create for that body, or the next round, tries again ◀─┘
//! ```
//!
//! The notes have no credentials: what a request brought of its own dies with its session, and the configured ones are tried.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde::{Deserialize, Serialize};

use crate::body::left::{Left, Wishes};
use crate::config::live::Live;
use crate::core::ids::{BodyAddr, SessionId};
use crate::core::records::record;
use crate::daemon::RunError;
use crate::host::aside;
use crate::host::clock::{Clock, unix_millis};
use crate::host::join;
use crate::host::private_dir::{DirError, PrivateDir};
use crate::server;
use crate::worker::kept_pairings::KeptPairings;
use crate::worker::pairing_turns::{PairingTurns, Ticket};
use crate::worker::reach::Reach;

/// In the state directory.
const DIRECTORY: &str = "bodies";

/// Layout of the files.
const VERSION: u32 = 1;

/// How file names end.
const SUFFIX: &str = ".json";

/// Largest file that is read; ours have some hundred bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// Between two rounds over what is left: a body that was switched off comes back in minutes.
const ROUND: Duration = Duration::from_secs(60);

/// After this a body is given up: it is gone, or its password is another.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Between two looks whether one who waits for a turn is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// How long what a session left that was let go is left alone: longer than controllers look for a worker, and that one starts it.
const MOVE_REST: Duration = Duration::from_secs(240);

/// Stack of the thread in bytes: HTTP clients, TLS and JSON.
const STACK: usize = 512 * 1024;

/// What stopping may take: calls under way are left behind, and what they are about stays noted.
const JOIN_DEADLINE: Duration = Duration::from_secs(2);

/// What is noted of one session.
#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    body: BodyAddr,
    since_unix_ms: u64,
    /// Not before then: another worker may go on with the session.
    #[serde(default)]
    rests_until_unix_ms: u64,
    left: Left,
}

/// What a session that is over left.
#[derive(Debug)]
struct Waiting {
    file: String,
    body: BodyAddr,
    since_unix_ms: u64,
    rests_until_unix_ms: AtomicU64,
    /// Locked while it is taken away, so that a create for that body waits until it is.
    left: Mutex<Left>,
}

/// All of it.
pub struct Bodies {
    dir: PrivateDir,
    /// Pairings that outlive their session, with `sessions.keep_pairing`.
    pub kept: KeptPairings,
    live: Arc<Live>,
    clock: Clock,
    turns: Mutex<PairingTurns>,
    waiting: Mutex<Vec<Arc<Waiting>>>,
}

/// The thread that tries again. It ends when this is stopped.
pub struct BodiesThread {
    alive: Sender<()>,
    thread: JoinHandle<()>,
}

/// A turn to pair; dropping it lets the next one in.
pub struct Turn<'a> {
    bodies: &'a Bodies,
    ticket: Ticket,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.bodies.turns).leave(self.ticket);
    }
}

impl Bodies {
    /// Takes over what earlier runs left below `state`.
    pub fn open(state: &PrivateDir, live: &Arc<Live>, clock: Clock) -> Result<Bodies, RunError> {
        let fail = |error: DirError| RunError(error.to_string());
        let dir = state.open_below(DIRECTORY).map_err(fail)?;
        let bodies = Bodies {
            kept: KeptPairings::open(&dir).map_err(fail)?,
            dir,
            live: live.clone(),
            clock,
            turns: Mutex::default(),
            waiting: Mutex::default(),
        };
        bodies.load().map_err(fail)?;
        Ok(bodies)
    }

    fn load(&self) -> Result<(), DirError> {
        self.dir.remove_unfinished()?;
        for file in self.dir.names()?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
            let content = self.dir.read_own(&file, FILE_LIMIT)?.unwrap_or_default();
            match serde_json::from_slice::<Note>(&content) {
                Ok(Note { version: VERSION, body, since_unix_ms, rests_until_unix_ms, left }) => {
                    self.wait(Waiting {
                        file,
                        body,
                        since_unix_ms,
                        rests_until_unix_ms: rests_until_unix_ms.into(),
                        left: Mutex::new(left),
                    });
                }
                _ => {
                    log::warn!("[state] {DIRECTORY}/{file} is unreadable and removed");
                    self.forget(&file);
                }
            }
        }
        if !self.live.get().sessions.keep_pairing {
            for (body, left) in self.kept.release() {
                self.adopt(&format!("kept-{body}{SUFFIX}"), body, left);
            }
        }
        Ok(())
    }

    /// The name of the file of a copy of a session. It does not tell the id, which is a credential.
    pub fn file_of(session: &SessionId, copy: u32) -> String {
        match copy {
            0 => format!("{}{SUFFIX}", record::key("body", session)),
            copy => format!("{}-{copy}{SUFFIX}", record::key("body", session)),
        }
    }

    /// Notes on disk what a session is about to leave on a body.
    pub fn note(&self, file: &str, body: BodyAddr, left: &Left) {
        self.write(file, body, left, 0);
    }

    fn write(&self, file: &str, body: BodyAddr, left: &Left, rests_until_unix_ms: u64) {
        let (since_unix_ms, left) = (unix_millis(), left.clone());
        let note = Note { version: VERSION, body, since_unix_ms, rests_until_unix_ms, left };
        let written = serde_json::to_vec(&note).map_err(|error| error.to_string());
        let written =
            written.and_then(|text| self.dir.replace_file(file, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            log::warn!("[state] what is paired with body {body} is not noted: {error}");
        }
    }

    /// Nothing is left of it.
    pub fn forget(&self, file: &str) {
        if let Err(error) = self.dir.remove(file) {
            log::warn!("[state] cannot remove a note about a body: {error}");
        }
    }

    /// A session is over and left this; it is tried again.
    pub fn adopt(&self, file: &str, body: BodyAddr, left: Left) {
        self.wait_until(file, body, left, 0);
    }

    /// The same, but another worker may go on with the session, and then it is none of ours any more.
    pub fn adopt_later(&self, file: &str, body: BodyAddr, left: Left) {
        self.wait_until(file, body, left, unix_millis() + as_millis(MOVE_REST));
    }

    fn wait_until(&self, file: &str, body: BodyAddr, left: Left, rests_until: u64) {
        self.write(file, body, &left, rests_until);
        let (since_unix_ms, rests_until_unix_ms) = (unix_millis(), rests_until.into());
        let (file, left) = (file.to_owned(), Mutex::new(left));
        self.wait(Waiting { file, body, since_unix_ms, rests_until_unix_ms, left });
    }

    /// What became of a session that was let go is known: it is another worker's, with what runs, or it is over.
    pub fn settle_departed(&self, file: &str, arrived: bool) {
        for waiting in self.of(None).iter().filter(|waiting| waiting.file == file) {
            if arrived {
                lock(&waiting.left).hand_over();
            }
            waiting.rests_until_unix_ms.store(0, Ordering::Release);
        }
    }

    /// Before a session goes on at a body where it was before: what runs there is its own.
    pub fn hand_over(&self, body: BodyAddr) {
        self.of(Some(body)).iter().for_each(|waiting| lock(&waiting.left).hand_over());
    }

    fn wait(&self, waiting: Waiting) {
        lock(&self.waiting).push(Arc::new(waiting));
    }

    /// How many ended sessions still have something on a body.
    pub fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Before a session pairs with a body: takes away what others left there, with what the create knows of it. What does not
    /// go is not waited for; what runs there from now on is the new session's.
    pub fn clear(&self, body: BodyAddr, reach: &Reach) {
        for waiting in self.of(Some(body)) {
            self.take_away(&waiting, reach, false);
            lock(&waiting.left).hand_over();
        }
    }

    /// Waits for a turn to pair; `None`: it is not wanted any more.
    pub fn turn(&self, cancelled: &dyn Fn() -> bool) -> Option<Turn<'_>> {
        let turn = Turn { bodies: self, ticket: lock(&self.turns).enter() };
        loop {
            let at_once = self.live.get().sessions.pairings_at_once;
            if lock(&self.turns).take(turn.ticket, at_once, self.clock.now()) {
                return Some(turn);
            }
            if cancelled() {
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn of(&self, body: Option<BodyAddr>) -> Vec<Arc<Waiting>> {
        let all = lock(&self.waiting);
        all.iter().filter(|waiting| body.is_none_or(|body| waiting.body == body)).cloned().collect()
    }

    fn take_away(&self, waiting: &Arc<Waiting>, reach: &Reach, aloud: bool) {
        let mut left = lock(&waiting.left);
        let before = left.clone();
        let close_app = self.live.get().sessions.close_app;
        let body = waiting.body;
        let kept = self.kept.of(body).map(|kept| kept.known().user);
        let wishes = Wishes { close_app, keep: kept.as_deref(), late: true };
        let troubles = left.take_away(reach.doors(), wishes);
        let given_up = unix_millis().saturating_sub(waiting.since_unix_ms) > as_millis(PATIENCE);
        if left.is_nothing() || given_up {
            lock(&self.waiting).retain(|other| !Arc::ptr_eq(other, waiting));
            self.forget(&waiting.file);
            match given_up && !left.is_nothing() {
                true => log::warn!("[pairing] body {body}: given up after a day: {}", troubles.join("; ")),
                false => log::info!("[pairing] body {body}: what an ended session left is taken away"),
            }
            return;
        }
        if aloud {
            log::warn!("[pairing] body {body}: still to be taken away: {}", troubles.join("; "));
        }
        if *left != before {
            self.note(&waiting.file, body, &left);
        }
    }

    fn round(&self, aloud: bool, stopped: &dyn Fn() -> bool) {
        let settings = self.live.get();
        for waiting in self.of(None) {
            if stopped() {
                return;
            }
            if waiting.rests_until_unix_ms.load(Ordering::Acquire) > unix_millis() {
                continue;
            }
            self.take_away(&waiting, &Reach::configured(waiting.body, &settings), aloud);
        }
    }

    fn run(self: Arc<Self>, stop: &Receiver<()>) {
        let mut aloud = true;
        loop {
            let (bodies, ended) = (self.clone(), stop.clone());
            let round = move || {
                let stopped = || ended.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected);
                bodies.round(aloud, &stopped);
            };
            match aside::start("bodies-call", STACK, round) {
                Ok(done) if aside::wait(&done, stop, Duration::ZERO, |()| ()).is_none() => return,
                // What is wrong with a body is said once, not at each round.
                Ok(_) => aloud = false,
                Err(error) => log::warn!("[pairing] no thread to call bodies on: {error}"),
            }
            if stop.recv_timeout(ROUND) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }
}

impl BodiesThread {
    /// Starts it.
    pub fn start(bodies: Arc<Bodies>) -> Result<BodiesThread, RunError> {
        let (alive, stop) = crossbeam_channel::bounded(0);
        let thread = server::thread("bodies", STACK, move || bodies.run(&stop))?;
        Ok(BodiesThread { alive, thread })
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self.alive);
        join::within(self.thread, JOIN_DEADLINE);
    }
}

fn as_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
