//! The `fleet` thread: it owns the fleet's state, answers questions about it, and publishes it.
//!
//! Creates start here: a slot is reserved, then a `dispatch` thread carries the request to the worker and reports back.
//! Right after a start, creates wait here until two heartbeats have told what exists.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use crate::api::reply::{Answer, Responder};
use crate::api::server::Beat;
use crate::api::types::CreateRequest;
use crate::config::settings::Settings;
use crate::controller::dispatch::Job;
use crate::controller::key_store::KeyStore;
use crate::controller::refusals;
use crate::controller::snapshot::{Published, Reach, Snapshot, Target};
use crate::core::fleet::disputes::{Cause, Disputes};
use crate::core::fleet::identity::{BeatSource, Identities};
use crate::core::fleet::wire::{Heartbeat, HeartbeatReply, Stamp};
use crate::core::fleet::{BeatOutcome, CreateSpec, Fleet, FleetEvent, FleetSettings, Placed, Refused, Route};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::reason::EndReason;
use crate::core::status::SessionStatus;
use crate::edge::router::Upstream;
use crate::host::clock::Clock;

/// How often time is let pass when nothing happens.
const TICK: Duration = Duration::from_millis(250);

/// Questions taken in a row before what they changed is published.
const BATCH: usize = 64;

/// What a caller is told to wait when too much is under way.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// How often a create may end the session that holds its body before it gives up: once, and once more for a race.
const MAX_REPLACEMENTS: u32 = 2;

/// A create on its way.
pub struct Create {
    /// The id it will have.
    pub id: SessionId,
    /// What was asked for.
    pub request: CreateRequest,
    /// The outside URL of this controller.
    pub base_url: String,
    /// How often a holder of the body was ended for it.
    pub replacements: u32,
    /// Waits for the answer.
    pub responder: Responder,
}

/// What the thread is asked.
pub enum Ask {
    /// A worker's heartbeat, who sent it, and where it is reached if it is taken.
    Heartbeat(Box<Heartbeat>, BeatSource, Upstream, Responder),
    /// Somebody at this address was turned away under a worker's id, with these words.
    TurnedAway(WorkerId, Cause, IpAddr, String),
    /// A new session.
    Create(Box<Create>),
    /// The next worker for a create that did not begin.
    TryNext(SessionId, Sender<Result<Placed, Refused>>),
    /// The worker has it, in this status, with this link that only watches; does it stand?
    Confirm(Placed, SessionStatus, Stamp, Option<SessionId>, Sender<bool>),
    /// A worker says that a session is over.
    Ended(SessionId, EndReason, Stamp),
    /// A create was given up before anything was sent.
    Release(SessionId),
    /// A create's answer is lost.
    Abandon(SessionId),
    /// End a session by its worker's next heartbeat.
    Condemn(SessionId, EndReason),
    /// Drain a worker, or undo it.
    Drain(WorkerId, bool, Responder),
    /// Forget a worker and its key.
    Forget(WorkerId, Responder),
    /// New settings.
    Reconfigure(Box<Settings>),
    /// No new sessions: we are going down.
    Close,
    /// Return.
    Stop,
}

/// The thread's state.
pub struct FleetThread {
    fleet: Fleet,
    disputes: Disputes,
    keys: KeyStore,
    /// `workers.heartbeat_timeout`
    patience: Duration,
    /// `workers.token` is set, so what workers send administers nothing.
    heartbeats_only: bool,
    reaches: HashMap<WorkerId, Arc<Reach>>,
    waiting: Vec<Create>,
    max_waiting: usize,
    closing: bool,
    /// What is published is what the fleet is.
    fresh: bool,
    jobs: Sender<Job>,
    published: Arc<Published>,
    clock: Clock,
    beat: Beat,
}

impl FleetThread {
    /// An empty fleet.
    pub fn new(
        settings: &Settings,
        (keys, identities): (KeyStore, Identities),
        jobs: Sender<Job>,
        published: Arc<Published>,
        (clock, beat): (Clock, Beat),
    ) -> FleetThread {
        let fleet = Fleet::with_identities(clock.now(), FleetSettings::from(settings), identities);
        let mut thread = FleetThread {
            fleet,
            disputes: Disputes::default(),
            keys,
            patience: settings.workers.heartbeat_timeout,
            heartbeats_only: settings.workers.secrets().next().is_some(),
            reaches: HashMap::new(),
            waiting: Vec::new(),
            max_waiting: settings.workers.dispatch_queue,
            closing: false,
            fresh: false,
            jobs,
            published,
            clock,
            beat,
        };
        thread.publish();
        thread
    }

    /// The thread.
    pub fn run(mut self, asks: &Receiver<Ask>) {
        loop {
            (self.beat)();
            match asks.recv_timeout(TICK) {
                Ok(ask) => {
                    for ask in std::iter::once(ask).chain(asks.try_iter().take(BATCH)) {
                        if matches!(ask, Ask::Stop) {
                            return;
                        }
                        self.take(ask);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.let_time_pass();
            self.admit_waiting();
            if !self.fresh {
                self.publish();
            }
        }
    }

    fn let_time_pass(&mut self) {
        let now = self.clock.now();
        let news = self.fleet.tick(now);
        tell(&news);
        let fleet = &self.fleet;
        let disputes = self.disputes.tick(now, self.patience, |id| fleet.worker(now, id).is_some());
        for dispute in &disputes.begun {
            log::error!("[controller] {dispute}");
        }
        let written = self.keys.tick(now, self.fleet.identities());
        // Ages go on by themselves; everything else that time changes is news.
        self.fresh &= news.is_empty() && !disputes.changed && !written;
    }

    fn take(&mut self, ask: Ask) {
        let now = self.clock.now();
        self.fresh = false;
        match ask {
            Ask::Heartbeat(beat, source, upstream, responder) => {
                self.heartbeat(&beat, source, upstream, responder)
            }
            Ask::TurnedAway(id, cause, rival, why) => {
                self.disputes.turned_away(now, &id, cause, rival, why);
            }
            Ask::Create(create) => self.create(create),
            Ask::TryNext(id, reply) => {
                let _ = reply.send(self.fleet.try_next(now, &id));
            }
            Ask::Confirm(placed, status, stamp, view_id, reply) => {
                let (stands, news) = self.fleet.confirm(now, &placed, status, stamp);
                view_id.into_iter().for_each(|view_id| self.fleet.note_view(&placed.session_id, view_id));
                tell(&news);
                // Whoever is told of the session must find its route.
                self.publish();
                let _ = reply.send(stands);
            }
            Ask::Ended(id, reason, stamp) => {
                self.fleet.ended(now, &id, reason, stamp);
                self.publish();
            }
            Ask::Release(id) => self.fleet.release(&id),
            Ask::Abandon(id) => self.fleet.abandon(&id),
            Ask::Condemn(id, reason) => {
                self.fleet.condemn(&id, reason);
            }
            Ask::Drain(worker, on, responder) => self.drain(&worker, on, responder),
            Ask::Forget(worker, responder) => self.forget(&worker, responder),
            Ask::Reconfigure(settings) => self.reconfigure(&settings),
            Ask::Close => self.close(),
            Ask::Stop => {}
        }
    }

    fn heartbeat(&mut self, beat: &Heartbeat, source: BeatSource, upstream: Upstream, responder: Responder) {
        let now = self.clock.now();
        let holder = self.fleet.worker(now, &beat.worker_id).map(|worker| worker.source);
        let outcome = self.fleet.heartbeat(now, beat, source);
        let copied = self.disputes.note(now, beat, &source, &outcome, holder);
        if let BeatOutcome::Accepted(_, news) = &outcome {
            tell(news);
            if news.iter().any(|event| matches!(event, FleetEvent::WorkerProved(_))) {
                self.keys.save(now, self.fleet.identities());
            }
            self.reached(beat, &source, upstream);
        }
        responder.send(match copied.map_or_else(|| outcome.reply(), Err) {
            Ok(reply) if reply.accepted => Answer::json(200, &self.complete(reply, &beat.worker_id)),
            Ok(reply) => Answer::json(200, &reply),
            Err(refusal) => refusals::heartbeat(refusal),
        });
    }

    /// The worker may be asked for its new session the moment it has our answer.
    fn reached(&mut self, beat: &Heartbeat, source: &BeatSource, upstream: Upstream) {
        let id = &beat.worker_id;
        let call_token = source.key.map(|key| self.keys.call_token(id, &key));
        let proof = self.reaches.get(id).map(|known| known.proof.clone()).unwrap_or_default();
        let reach = Reach { url: beat.reach(source.address), upstream, call_token, proof };
        self.reaches.insert(id.clone(), Arc::new(reach));
        let now = self.clock.now();
        if self.reaches.len() > self.fleet.workers(now).len() {
            let fleet = &self.fleet;
            self.reaches.retain(|id, _| fleet.worker(now, id).is_some());
        }
        self.publish();
    }

    /// What the fleet itself does not know.
    fn complete(&self, reply: HeartbeatReply, id: &WorkerId) -> HeartbeatReply {
        HeartbeatReply {
            call_token: self.reaches.get(id).and_then(|reach| reach.call_token.clone()),
            heartbeats_only: self.heartbeats_only,
            rival: self.disputes.rival_of(id).map(|dispute| dispute.to_string()),
            ..reply
        }
    }

    fn reconfigure(&mut self, settings: &Settings) {
        self.patience = settings.workers.heartbeat_timeout;
        self.heartbeats_only = settings.workers.secrets().next().is_some();
        self.fleet.reconfigure(FleetSettings::from(settings));
    }

    fn forget(&mut self, worker: &WorkerId, responder: Responder) {
        match self.fleet.forget(self.clock.now(), worker) {
            Ok(()) => {
                log::warn!("[controller] worker {worker} and its key are forgotten: an operator said so");
                self.disputes.forget(worker);
                self.reaches.remove(worker);
                self.keys.save(self.clock.now(), self.fleet.identities());
                self.publish();
                responder.send(Answer::empty());
            }
            Err(why) => responder.send(refusals::forget(why)),
        }
    }

    fn create(&mut self, create: Box<Create>) {
        if self.closing {
            return create.responder.send(refusals::closing());
        }
        let spec = CreateSpec {
            session_id: create.id.clone(),
            body: create.request.body,
            replace: create.request.replace && create.replacements < MAX_REPLACEMENTS,
        };
        match self.fleet.reserve(self.clock.now(), &spec) {
            Ok(placed) => self.dispatch(Job::Create(create, placed)),
            Err(Refused::MustEnd { session_id, worker, .. }) => {
                self.dispatch(Job::Replace(create, session_id, worker))
            }
            Err(Refused::Settling { .. }) if self.waiting.len() < self.max_waiting => {
                self.waiting.push(*create)
            }
            Err(refused) => create.responder.send(refusals::create(&refused)),
        }
    }

    fn dispatch(&mut self, job: Job) {
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.jobs.try_send(job) {
            if let Job::Create(create, _) = &job {
                self.fleet.release(&create.id);
            }
            job.refuse(refusals::busy(BUSY_PAUSE));
        }
    }

    fn admit_waiting(&mut self) {
        if !self.waiting.is_empty() && self.fleet.settling_until(self.clock.now()).is_none() {
            self.fresh = false;
            std::mem::take(&mut self.waiting).into_iter().for_each(|create| self.create(Box::new(create)));
        }
    }

    fn drain(&mut self, worker: &WorkerId, on: bool, responder: Responder) {
        if !self.fleet.drain(worker, on) {
            return responder.send(refusals::no_such_worker());
        }
        log::info!(worker:%; "[controller] worker {worker} {}", if on { "drains" } else { "takes sessions again" });
        self.publish();
        responder.send(Answer::empty());
    }

    fn close(&mut self) {
        self.closing = true;
        self.waiting.drain(..).for_each(|create| create.responder.send(refusals::closing()));
    }

    fn publish(&mut self) {
        let now = self.clock.now();
        let sessions = self.fleet.sessions(now);
        let routes =
            sessions.iter().filter_map(|session| Some((session.id.clone(), self.target(&session.id)?)));
        let views =
            sessions.iter().filter_map(|session| Some((session.view_id.clone()?, session.id.clone())));
        self.published.set(Snapshot {
            taken: now,
            routes: routes.collect(),
            views: views.collect(),
            workers: self.fleet.workers(now),
            reaches: self.reaches.clone(),
            disputes: self.disputes.all(),
            keys_trouble: self.keys.trouble().map(str::to_owned),
            counts: self.fleet.counts(now),
            settling_until: self.fleet.settling_until(now),
            sessions,
        });
        self.fresh = true;
    }

    fn target(&self, id: &SessionId) -> Option<Target> {
        match self.fleet.lookup(self.clock.now(), id) {
            Route::Worker { worker, .. } => {
                let reach = self.reaches.get(&worker).cloned();
                Some(Target { worker, reach })
            }
            Route::Down { worker } => Some(Target { worker, reach: None }),
            Route::Settling { .. } | Route::Unknown => None,
        }
    }
}

fn tell(news: &[FleetEvent]) {
    for event in news {
        match event {
            FleetEvent::SessionLost(..)
            | FleetEvent::ReservationExpired(..)
            | FleetEvent::WorkerRestarted(..) => {
                log::warn!("[controller] {event}");
            }
            _ => log::info!("[controller] {event}"),
        }
    }
}
