//! The `cleanup` thread: it owns who may come in. Capacity, one session per body, ports, supervisor threads, and what is
//! kept of ended sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::api::reply::{Answer, Responder};
use crate::api::server::Beat;
use crate::api::sessions;
use crate::config::live::Live;
use crate::config::settings::Settings;
use crate::core::fleet::wire::MAX_SESSIONS_LISTED;
use crate::core::ids::{BodyAddr, SessionId};
use crate::core::session::Status;
use crate::core::session::reason::EndReason;
use crate::core::time::Moment;
use crate::host::clock::Clock;
use crate::host::process;
use crate::host::wake::Wake;
use crate::host::wireguard::WireGuard;
use crate::media::Media;
use crate::worker::answers;
use crate::worker::bodies::Bodies;
use crate::worker::data_dir::DataDir;
use crate::worker::fence::LeaseFence;
use crate::worker::mailbox::{Mailbox, Message, WhenOver};
use crate::worker::order::Order;
use crate::worker::ports::Ports;
use crate::worker::registry::{Asked, SessionHandle, SessionRegistry};
use crate::worker::ring::Ring;
use crate::worker::session_context::SessionContext;
use crate::worker::session_store::{SessionStore, UNJUDGED};
use crate::worker::sources::Sources;
use crate::worker::stamps::Stamps;
use crate::worker::supervisor::Supervisor;

/// How often forgotten things are looked for when nothing happens.
const ROUND: Duration = Duration::from_secs(2);

/// What a caller that finds no room is told to wait.
const FULL_PAUSE: Duration = Duration::from_secs(10);

/// Stack of a supervisor thread in bytes: no recursion, one 16 KiB read buffer.
const SUPERVISOR_STACK: usize = 256 * 1024;

/// What the thread works with.
pub struct WorkerContext {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// Where sessions are shown.
    pub registry: Arc<SessionRegistry>,
    /// Where their directories are.
    pub root: Arc<DataDir>,
    /// What outlives sessions.
    pub store: Arc<SessionStore>,
    /// Rings the heartbeat threads.
    pub changed: Ring,
    /// Which controllers may start and end sessions.
    pub fence: LeaseFence,
    /// What answers about sessions are marked with.
    pub stamps: Arc<Stamps>,
    /// Where WireGuard shows.
    pub wireguard: WireGuard,
    /// Who reads what media engines send.
    pub sources: Arc<dyn Sources>,
    /// The media threads.
    pub media: Media,
    /// What sessions share about bodies.
    pub bodies: Arc<Bodies>,
    /// The clock.
    pub clock: Clock,
    /// Called each round, for the watchdog.
    pub beat: Beat,
}

/// Starts a session's thread. Where there is none, what it was to have comes back, so that its creator is told why.
fn start_supervisor(
    id: &SessionId,
    assignment: SessionContext,
) -> Result<JoinHandle<()>, (std::io::Error, Option<Box<SessionContext>>)> {
    let (hand_over, taken) = crossbeam_channel::bounded(1);
    // The channel has room for it.
    let _ = hand_over.send(Box::new(assignment));
    let inbox = taken.clone();
    let builder = std::thread::Builder::new().name(format!("session-{id}")).stack_size(SUPERVISOR_STACK);
    let work = move || inbox.try_iter().for_each(|assignment| Supervisor::new(*assignment).run());
    builder.spawn(work).map_err(|error| (error, taken.try_recv().ok()))
}

/// The thread's state.
pub struct Sessions {
    given: WorkerContext,
    ports: Ports,
    supervisors: HashMap<SessionId, JoinHandle<()>>,
    /// Creates that wait for the session that holds their body to end.
    replacing: Vec<(SessionId, Box<Asked>, Responder)>,
    kept: Vec<(String, Moment)>,
    /// The operator drains us: what is left then is ended. `None` then, too, once that was ordered.
    draining: Option<Drain>,
    closing: Option<Moment>,
    /// When the disk is tried again that took nothing.
    pay_at: Moment,
    stopping: bool,
    orders: Sender<Order>,
}

/// A drain that the controller asked for.
#[derive(Clone, Copy)]
enum Drain {
    /// Sessions may go on until then.
    Until(Moment),
    /// Those that were left have been told to end.
    Over,
}

impl Sessions {
    /// None yet. `orders` is the sending side of what [`Sessions::run`] receives.
    pub fn new(given: WorkerContext, orders: Sender<Order>) -> Sessions {
        let sessions = given.live.get().sessions.clone();
        Sessions {
            given,
            ports: Ports::new(sessions.port_range_start, sessions.child_udp_range),
            supervisors: HashMap::new(),
            replacing: Vec::new(),
            kept: Vec::new(),
            draining: None,
            closing: None,
            pay_at: Moment(0),
            stopping: false,
            orders,
        }
    }

    /// The thread. Returns after [`Order::Stop`] when no session is left.
    pub fn run(mut self, orders: &Receiver<Order>) {
        while !(self.stopping && self.supervisors.is_empty()) {
            (self.given.beat)();
            match orders.recv_timeout(self.round()) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.tidy();
        }
        self.given.store.close();
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Create(asked, responder) => self.create(asked, responder),
            Order::End(id, reason, when_over) => self.end(&id, reason, when_over),
            Order::EndAll(reason) => self.end_all(reason),
            Order::MovedAway(id, copy) => self.moved_away(&id, copy),
            Order::Judged(ended) => self.judged(&ended),
            Order::Drain(on) => self.drain(on),
            Order::Close => self.close(),
            Order::Finished(id) => self.finished(&id),
            Order::KeepLog(name, until) => self.kept.push((name, until)),
            Order::Stop => self.stopping = true,
        }
    }

    fn create(&mut self, asked: Box<Asked>, responder: Responder) {
        let settings = self.given.live.get();
        if let Some(refusal) = self.refuse(&asked, &settings) {
            return responder.send(refusal);
        }
        // Before its body's session is ended for it.
        if let Err(unheeded) = self.given.fence.guard(&asked.caller, || ()) {
            return responder.send(unheeded.answer());
        }
        if let Some(holder) = self.holder(asked.request.body) {
            if !asked.request.replace {
                return responder.send(sessions::body_taken(&holder.id));
            }
            holder.mailbox.send(Message::End(EndReason::Replaced, None));
            return self.replacing.push((holder.id.clone(), asked, responder));
        }
        self.admit(*asked, responder, &settings);
    }

    fn refuse(&self, asked: &Asked, settings: &Settings) -> Option<Answer> {
        if self.draining.is_some() || self.closing.is_some() || self.stopping {
            return Some(answers::unavailable(
                "worker is draining",
                "no new sessions here; ask another worker",
                FULL_PAUSE,
            ));
        }
        if self.given.registry.find(&asked.id).is_some_and(|known| !asked.follows(&known)) {
            return Some(Answer::error(409, "session id is taken", "choose a fresh one"));
        }
        let holds = self.holder(asked.request.body).is_some() && asked.request.replace;
        if self.supervisors.len() >= settings.sessions.max + usize::from(holds) {
            let detail = format!("all {} sessions are in use", settings.sessions.max);
            return Some(answers::unavailable("worker is full", &detail, FULL_PAUSE));
        }
        None
    }

    fn holder(&self, body: BodyAddr) -> Option<Arc<SessionHandle>> {
        self.given.registry.live().into_iter().find(|handle| handle.request.body == body)
    }

    fn admit(&mut self, asked: Asked, responder: Responder, settings: &Arc<Settings>) {
        let Some(lease) = self.ports.lease() else {
            let detail =
                "no free port from sessions.port_range_start upward, or sessions.child_udp_range is used up";
            return responder.send(answers::unavailable("no free port", detail, FULL_PAUSE));
        };
        let wake = match Wake::new() {
            Ok(wake) => wake,
            Err(error) => {
                let refusal = answers::unavailable("out of descriptors", &error.to_string(), FULL_PAUSE);
                return responder.send(refusal);
            }
        };
        let (mailbox, inbox, wake) = Mailbox::new(wake);
        let (id, wait, engine) = (asked.id.clone(), asked.request.wait, asked.engine.clone());
        let caller = asked.caller;
        let feeds = self.given.registry.feeds();
        let handle =
            Arc::new(SessionHandle::new(asked, self.given.clock.now(), mailbox, lease.port(), feeds));
        let (body, kind) = (handle.request.body, handle.engine_kind());
        self.follow_earlier(&handle.id);
        // Before its supervisor runs: whoever is told of the session must find it listed. And in one step with the look at the lease:
        // who hears of a later number from us finds it listed, too.
        let listed = self.given.fence.guard(&caller, || self.given.registry.add(handle.clone()));
        if let Err(unheeded) = listed {
            return responder.send(unheeded.answer());
        }
        log::info!(session:% = id, body:%; "[worker] session {id} for body {body} on port {}", lease.port());
        let early = (!wait).then(|| answers::created(&handle, settings, Some("requested".into())));
        let (responder, at_once) = if wait { (Some(responder), None) } else { (None, Some(responder)) };
        let assignment = SessionContext {
            handle: handle.clone(),
            lease,
            engine,
            sources: self.given.sources.clone(),
            settings: settings.clone(),
            root: self.given.root.clone(),
            inbox,
            wake,
            responder,
            sessions: self.orders.clone(),
            store: self.given.store.clone(),
            changed: self.given.changed.clone(),
            stamps: self.given.stamps.clone(),
            wireguard: self.given.wireguard.clone(),
            media: self.given.media.clone(),
            bodies: self.given.bodies.clone(),
            clock: self.given.clock,
        };
        match start_supervisor(&id, assignment) {
            Ok(thread) => {
                self.given.store.counters.created.note(kind);
                self.supervisors.insert(id, thread);
                if let (Some(responder), Some(created)) = (at_once, early) {
                    responder.send(self.given.stamps.mark(Answer::json(202, &created)));
                }
            }
            Err((error, assignment)) => {
                log::error!("[worker] ALERT session {id} cannot have a thread: {error}; raise TasksMax");
                self.given.registry.forget(|handle| handle.id == id);
                let refusal = answers::unavailable(
                    "out of threads",
                    &format!("the worker cannot have one more ({error}); raise TasksMax"),
                    FULL_PAUSE,
                );
                let responder = at_once.or(assignment.and_then(|assignment| assignment.responder));
                responder.into_iter().for_each(|responder| responder.send(refusal.clone()));
            }
        }
    }

    fn end(&self, id: &SessionId, reason: EndReason, when_over: WhenOver) {
        match self.given.registry.find(id) {
            Some(handle) if handle.is_live() => handle.mailbox.send(Message::End(reason, Some(when_over))),
            Some(handle) if handle.has_moved() && reason != EndReason::Moved => {
                self.end_departed(&handle, reason);
                when_over();
            }
            _ => when_over(),
        }
    }

    /// A session that was let go, and that no worker took, ends here.
    fn end_departed(&self, handle: &Arc<SessionHandle>, reason: EndReason) {
        log::info!(session:% = handle.id, reason:%; "[session {}] no worker took it: it ended: {reason}", handle.id);
        self.given.store.ended_after_all(handle, reason);
        handle.publish(|view| view.status = Status::Ended(reason));
        self.given.bodies.settle_departed(&Bodies::file_of(&handle.id, handle.copy()), false);
        self.given.changed.ring();
    }

    /// A session comes back to us before we were told that it had gone on elsewhere: what was kept of its earlier copy, a record
    /// that waits included, is not to be told any more.
    fn follow_earlier(&self, id: &SessionId) {
        let Some(handle) = self.given.registry.find(id) else { return };
        self.given.bodies.settle_departed(&Bodies::file_of(id, handle.copy()), true);
        self.given.store.moved_away(&handle);
    }

    fn moved_away(&self, id: &SessionId, copy: u32) {
        let Some(handle) = self.given.registry.find(id).filter(|handle| handle.copy() <= copy) else {
            return;
        };
        if handle.is_live() {
            let (orders, id) = (self.orders.clone(), id.clone());
            let again = Box::new(move || {
                let _ = orders.send(Order::MovedAway(id, copy));
            });
            return handle.mailbox.send(Message::End(EndReason::Moved, Some(again)));
        }
        self.given.bodies.settle_departed(&Bodies::file_of(id, handle.copy()), true);
        self.given.store.moved_away(&handle);
        self.given.registry.forget(|other| other.id == *id && !other.is_live());
        self.given.changed.ring();
    }

    fn judged(&self, ended: &[(SessionId, u32)]) {
        let found = ended.iter().filter_map(|(id, copy)| {
            self.given.registry.find(id).filter(|handle| !handle.is_live() && handle.copy() == *copy)
        });
        found.for_each(|handle| self.given.store.judged(&handle));
    }

    fn end_all(&mut self, reason: EndReason) {
        for handle in self.given.registry.live() {
            handle.mailbox.send(Message::End(reason, None));
        }
        self.replacing.clear();
    }

    fn drain(&mut self, on: bool) {
        if self.draining.is_some() == on {
            return;
        }
        let (now, patience) = (self.given.clock.now(), self.given.live.get().drain_timeout);
        self.draining = on.then(|| Drain::Until(now + patience));
        self.publish_drain(now);
        match on {
            true => {
                let seconds = patience.as_secs();
                log::info!("[worker] draining: no new sessions, what is left in {seconds} s is ended");
            }
            false => log::info!("[worker] taking new sessions again"),
        }
    }

    /// The frame waits for the sessions, and ends them; here only the pages are told.
    fn close(&mut self) {
        let now = self.given.clock.now();
        self.closing.get_or_insert(now + self.given.live.get().drain_timeout);
        self.publish_drain(now);
    }

    fn drain_until(&self) -> Option<Moment> {
        let drain = match self.draining {
            Some(Drain::Until(until)) => Some(until),
            Some(Drain::Over) | None => None,
        };
        drain.into_iter().chain(self.closing).min()
    }

    /// What pages are told is counted from the moment that was taken for `now`: no second is lost in between.
    fn publish_drain(&self, now: Moment) {
        self.given.registry.publish_drain(self.drain_until(), now);
    }

    /// Ends what a drain has waited for long enough.
    fn end_drain(&mut self, now: Moment) {
        if let Some(Drain::Until(until)) = self.draining
            && now.reached(until)
        {
            self.draining = Some(Drain::Over);
            let left = self.given.registry.live().len();
            if left > 0 {
                log::info!("[worker] the drain's time is up: ending {left} sessions");
                self.end_all(EndReason::Drained);
            }
        }
    }

    /// How long the thread may sleep.
    fn round(&self) -> Duration {
        let now = self.given.clock.now();
        match self.draining {
            Some(Drain::Until(until)) => until.since(now).min(ROUND),
            _ => ROUND,
        }
    }

    fn finished(&mut self, id: &SessionId) {
        if let Some(thread) = self.supervisors.remove(id)
            && thread.join().is_err()
        {
            log::error!("[worker] ALERT the supervisor of session {id} panicked");
        }
        self.given.changed.ring();
        let (waiting, rest) =
            std::mem::take(&mut self.replacing).into_iter().partition(|(holder, ..)| holder == id);
        self.replacing = rest;
        for (_, asked, responder) in waiting {
            self.create(asked, responder);
        }
    }

    /// What time takes away: ended sessions, kept logs, adopted zombies.
    fn tidy(&mut self) {
        let now = self.given.clock.now();
        self.end_drain(now);
        let window = self.given.live.get().sessions.ended_window;
        let over = |handle: &SessionHandle| {
            let awaits_word = handle.has_moved() || handle.story.is_held();
            let window = if awaits_word { window.max(UNJUDGED) } else { window };
            handle.forget_at(window).is_some_and(|at| now.reached(at))
        };
        // Nobody said what became of it.
        let untold =
            self.given.registry.all().into_iter().filter(|handle| handle.has_moved() && over(handle));
        untold.for_each(|handle| self.given.store.ended_after_all(&handle, EndReason::Moved));
        let mut forgotten = self.given.registry.forget(over);
        // A heartbeat lists every session, and must not list too many.
        let live = self.supervisors.len();
        forgotten.extend(self.given.registry.forget_beyond(MAX_SESSIONS_LISTED.saturating_sub(live)));
        forgotten.iter().for_each(|id| self.given.store.forget(id));
        if self.given.store.owing() > 0 && now.reached(self.pay_at) {
            self.pay_at = now + ROUND;
            self.given.store.pay();
        }
        let (over, rest) =
            std::mem::take(&mut self.kept).into_iter().partition(|(_, until)| now.reached(*until));
        self.kept = rest;
        let over: Vec<(String, Moment)> = over;
        for (name, _) in over {
            if let Err(error) = self.given.root.get().and_then(|root| root.remove(&name)) {
                log::warn!("[cleanup] cannot remove a kept log: {error}");
            }
        }
        process::reap_orphans();
    }
}
