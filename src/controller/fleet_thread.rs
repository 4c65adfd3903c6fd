//! The `fleet` thread: it owns the fleet's state, answers questions about it, and publishes it.
//!
//! Creates start here: a slot is reserved, then a `dispatch` thread carries the request to the worker and reports back.
//! Right after a start, creates wait here until two heartbeats have told what exists; later, where nobody can take one now and a
//! worker that is late or was left alone may in time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::api::reply::{Answer, Responder};
use crate::api::server::Beat;
use crate::config::settings::Settings;
use crate::controller::jobs::Jobs;
use crate::controller::key_store::KeyStore;
use crate::controller::lease::{HeardTime, Leadership};
use crate::controller::left_store::LeftStore;
use crate::controller::messages::{Ask, Create, Job, MoveJob, MoveNews, Turn};
use crate::controller::moves::Parcels;
use crate::controller::namespaces::NamespaceRegistry;
use crate::controller::refusals;
use crate::controller::snapshot::{Common, Published, Reach};
use crate::core::fleet::bodies::BodyEntry;
use crate::core::fleet::disputes::Disputes;
use crate::core::fleet::failures::FailedAt;
use crate::core::fleet::identity::{BeatSource, Identities};
use crate::core::fleet::moves::MoveOrder;
use crate::core::fleet::parcel::Parcel;
use crate::core::fleet::turns::{Course, TurnEnd};
use crate::core::fleet::wire::{Heartbeat, HeartbeatReply};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::fleet::{BeatOutcome, CreateSpec, Fleet, FleetEvent, FleetSettings, Placed, Refused};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::limits::log_limit::LogShares;
use crate::core::namespaces::wire::RoomsReply;
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;
use crate::edge::router::Upstream;
use crate::host::clock::Clock;
use crate::host::entropy;

/// A shorter time in which this thread stood still is told to nobody: it was busy.
const TOLD_STILL: Duration = Duration::from_secs(1);

/// Questions taken in a row before those that wait are looked at.
const BATCH: usize = 64;

/// Lines about refused heartbeats: so many at once, then one per interval. A refused worker beats every ten seconds.
const REFUSED_BURST: u32 = 40;
const REFUSED_EVERY: Duration = Duration::from_secs(10);

/// How often creates that wait are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Of those that wait, this many that still find nobody end a round.
const MAX_MISSES: usize = 16;

/// The part of `sessions.create_timeout` that a create does not wait away: one in so many.
const PART_FOR_THE_START: u32 = 4;

/// Workers whose words a refusal repeats.
const MAX_SAID: usize = 3;

/// How often a create may end the session that holds its body before it gives up: once, and once more for a race.
const MAX_REPLACEMENTS: u32 = 2;

/// What was known of workers before this process.
pub struct Known {
    /// Their keys.
    pub keys: (KeyStore, Identities),
    /// What moved away from them.
    pub left: (LeftStore, Vec<BodyEntry>),
}

/// The thread's state.
pub struct FleetThread {
    fleet: Fleet,
    disputes: Disputes,
    keys: KeyStore,
    /// Where there is no lease.
    left_store: LeftStore,
    /// `workers.heartbeat_timeout`
    patience: Duration,
    /// `sessions.create_timeout`
    create_timeout: Duration,
    /// `workers.token` is set, so what workers send administers nothing.
    heartbeats_only: bool,
    reaches: HashMap<WorkerId, Arc<Reach>>,
    /// Bounds what refused heartbeats write into the log.
    refused: LogShares<IpAddr>,
    waiting: VecDeque<Box<Create>>,
    max_waiting: usize,
    /// When those that wait are looked at again.
    look_at: Moment,
    closing: bool,
    /// When time is let pass again.
    tick_at: Moment,
    /// The disputes that are published are those up to here.
    disputes_shown: u64,
    leadership: Leadership,
    /// The number by which this controller leads, 0 without a lease; `None`: it does not. And the last one.
    leads: Option<u64>,
    last_number: u64,
    /// Workers that a call is to tell of a new leader.
    to_tell: VecDeque<WorkerId>,
    /// What is published of settling.
    settling_shown: Option<Moment>,
    /// What sessions were asked for.
    parcels: Parcels,
    jobs: Jobs,
    published: Arc<Published>,
    /// Hears which rooms and copies of namespaces workers have.
    namespaces: NamespaceRegistry,
    clock: Clock,
    beat: Beat,
}

impl FleetThread {
    /// An empty fleet.
    pub fn new(
        settings: &Settings,
        known: Known,
        (jobs, leadership): (Jobs, Leadership),
        (published, namespaces): (Arc<Published>, NamespaceRegistry),
        (clock, beat): (Clock, Beat),
    ) -> FleetThread {
        let Known { keys: (keys, identities), left: (left_store, left) } = known;
        let mut fleet = Fleet::with_identities(clock.now(), FleetSettings::from(settings), identities);
        if leadership.is_alone() {
            fleet.set_left_behind(clock.now(), &left);
        }
        let mut thread = FleetThread {
            fleet,
            disputes: Disputes::default(),
            keys,
            left_store,
            patience: settings.workers.heartbeat_timeout,
            create_timeout: settings.sessions.create_timeout,
            heartbeats_only: settings.workers.secrets().next().is_some(),
            reaches: HashMap::new(),
            refused: LogShares::new(REFUSED_BURST, REFUSED_EVERY, settings.workers.max),
            waiting: VecDeque::new(),
            max_waiting: settings.workers.dispatch_queue,
            look_at: Moment(0),
            closing: false,
            tick_at: clock.now(),
            disputes_shown: 0,
            leads: leadership.number(clock.now()).ok(),
            leadership,
            last_number: 0,
            to_tell: VecDeque::new(),
            settling_shown: None,
            parcels: Parcels::new(settings),
            jobs,
            published,
            namespaces,
            clock,
            beat,
        };
        thread.publish_common();
        thread.run_on();
        thread
    }

    /// The thread.
    pub fn run(mut self, asks: &Receiver<Ask>) {
        loop {
            (self.beat)();
            let tick = self.tick_at.since(self.clock.now());
            let is_idle = self.waiting.is_empty() && self.to_tell.is_empty();
            let pause = if is_idle { tick } else { LOOK.min(tick) };
            match asks.recv_timeout(pause) {
                Ok(ask) => {
                    for ask in std::iter::once(ask).chain(asks.try_iter().take(BATCH)) {
                        if matches!(ask, Ask::Stop) {
                            return;
                        }
                        self.run_on();
                        self.take(ask);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.run_on();
            self.note_lead();
            self.tell_workers();
            self.let_time_pass();
            self.admit_waiting();
            self.list_bodies();
            self.publish();
        }
    }

    /// Says that it runs, each time before it judges anybody by their silence: it may be stopped anywhere, also between two questions.
    fn run_on(&mut self) {
        let now = self.clock.now();
        let still = self.fleet.runs(now).unwrap_or_default();
        let until = now + self.fleet.longest_look();
        self.namespaces.listens(still, until);
        if still >= TOLD_STILL {
            log::warn!(
                "[controller] it stood still for {} s (a paused machine, or no processor time): that no worker was heard meanwhile \
                 counts against none",
                still.as_secs()
            );
        }
        if !still.is_zero() {
            // Another one may lead by now.
            self.note_lead();
            self.publish();
        }
        self.published.judge_until(until);
    }

    /// Begins to lead, or ceases to.
    fn note_lead(&mut self) {
        let now = self.clock.now();
        let number = self.leadership.number(now);
        if self.leads == number.as_ref().ok().copied() {
            return;
        }
        self.leads = number.as_ref().ok().copied();
        match number {
            // With the same number as before nobody has led in between.
            Ok(number) if number > self.last_number => {
                self.last_number = number;
                self.fleet.take_over(now, number);
                self.to_tell = self.fleet.unheard().cloned().collect();
            }
            Ok(number) => self.fleet.lead_on(now, number),
            Err(who) => {
                self.fleet.step_down();
                self.to_tell.clear();
                let refusal = refusals::not_leading(&who);
                self.waiting.drain(..).for_each(|create| create.responder.send(refusal.clone()));
            }
        }
    }

    /// Has the table of bodies written as it is now.
    fn list_bodies(&mut self) {
        if self.leadership.is_alone() {
            self.left_store.keep(self.clock.now(), &mut self.fleet);
        } else if self.leads.is_some() {
            self.leadership.list_later(self.fleet.take_body_changes());
        }
    }

    /// Calls workers, as many as there is room for, so that they hear of the new leader before its first create.
    fn tell_workers(&mut self) {
        while let Some(worker) = self.to_tell.pop_front() {
            if self.jobs.try_send(Job::Call(worker.clone())).is_err() {
                return self.to_tell.push_front(worker);
            }
        }
    }

    fn let_time_pass(&mut self) {
        let now = self.clock.now();
        if !now.reached(self.tick_at) {
            return;
        }
        self.tick_at = now + self.fleet.pace();
        let news = self.fleet.tick(now);
        tell(&news);
        for worker in self.fleet.calls_due(now) {
            // One that finds no room is due again later.
            let _ = self.jobs.try_send(Job::Call(worker));
        }
        self.tick_moves();
        let fleet = &self.fleet;
        self.reaches.retain(|id, _| fleet.knows(id));
        self.namespaces.keep_only(|id| fleet.knows(id));
        for dispute in self.disputes.tick(now, self.patience, |id| fleet.knows(id)) {
            log::error!("[controller] {dispute}");
        }
        if self.keys.tick(now, self.fleet.identities()) {
            self.publish_common();
        }
    }

    fn take(&mut self, ask: Ask) {
        let now = self.clock.now();
        match ask {
            Ask::Heartbeat(beat, source, upstream, responder) => {
                self.heartbeat(*beat, source, upstream, responder);
            }
            Ask::TurnedAway(id, cause, rival, why) => {
                self.disputes.turned_away(now, &id, cause, rival, why);
            }
            Ask::BadBeat(address, why) => self.log_refused(address, &why),
            Ask::Create(create) => self.create(create),
            Ask::TurnOver(create, placed, turn) => self.turn_over(create, &placed, *turn),
            Ask::Suspects(suspects) => tell(&self.fleet.suspects_failed(now, &suspects)),
            Ask::Answered(worker) => tell(&self.fleet.answered(now, &worker)),
            Ask::CallFailed(worker, begun, why) => {
                tell(&self.fleet.failed(now, &worker, begun, (FailedAt::Call, &why)));
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
            Ask::Condemn(id, reason) => {
                self.fleet.condemn(&id, reason);
            }
            Ask::LeaseChanged => self.note_lead(),
            Ask::Drains(drains) => {
                self.namespaces.set_drains(&drains);
                self.fleet.set_drains(drains);
            }
            Ask::Bodies(number, entries) => self.fleet.set_bodies(now, number, entries),
            Ask::BodiesWritten(changes) => self.fleet.bodies_written(&changes),
            Ask::Drain(worker, on, responder) => self.drain(&worker, on, responder),
            Ask::MoveOut(worker, moves) => self.fleet.set_move_out(&worker, moves),
            Ask::Move(news) => self.move_on(news),
            Ask::Parcel(id, parcel) => self.parcels.keep(&id, parcel),
            Ask::MoveWanted(id) => self.start_move(&id),
            Ask::Forget(worker, responder) => self.forget(&worker, responder),
            Ask::Reconfigure(settings) => self.reconfigure(&settings),
            Ask::Close => self.close(),
            Ask::Stop => {}
        }
    }

    fn heartbeat(
        &mut self,
        mut beat: Heartbeat,
        source: BeatSource,
        upstream: Upstream,
        responder: Responder,
    ) {
        let now = self.clock.now();
        let holder = self.fleet.source_of(&beat.worker_id);
        let outcome = self.fleet.heartbeat(now, &beat, source);
        let copied = self.disputes.note(now, &beat, &source, &outcome, holder);
        if let BeatOutcome::Accepted(reply, news) = &outcome {
            tell(news);
            self.parcels.hear(news);
            if news.iter().any(|event| matches!(event, FleetEvent::WorkerProved(_))) {
                self.keys.changed(now, self.fleet.identities());
                self.publish_common();
            }
            self.leadership.heard(beat.lease);
            self.reached(&beat, &source, upstream);
            // What a worker is told of namespaces holds secrets: only those that prove who they are have a part in them.
            let report = beat.rooms.take().filter(|_| source.key.is_some());
            self.namespaces.heard(&beat, report, reply.draining);
        }
        let outcome = copied.map_or_else(|| outcome.reply(), Err);
        if let Err(refusal) = &outcome {
            self.log_refused(source.address, &format!("of worker {}: {refusal}", beat.worker_id));
        }
        responder.send(match outcome {
            Ok(reply) if reply.accepted => Answer::json(200, &self.complete(reply, &beat.worker_id)),
            Ok(reply) => Answer::json(200, &reply),
            Err(refusal) => refusals::heartbeat(refusal),
        });
    }

    fn log_refused(&mut self, address: IpAddr, why: &str) {
        if let Some(more) = self.refused.allow(self.clock.now(), Some(&address)) {
            log::warn!(
                "[controller] a heartbeat from {address} is refused: {why} ({more} such lines were not shown)"
            );
        }
    }

    /// The worker may be asked for its new session the moment it has our answer.
    fn reached(&mut self, beat: &Heartbeat, source: &BeatSource, upstream: Upstream) {
        let id = &beat.worker_id;
        let call_token = source.key.map(|key| self.keys.call_token(id, &key));
        let proof = self.reaches.get(id).map(|known| known.proof.clone()).unwrap_or_default();
        let generation = beat.generation;
        let known = self.reaches.get(id);
        let known = known.filter(|reach| reach.generation == generation && reach.call_token == call_token);
        let since = known.map_or_else(Instant::now, |reach| reach.since);
        let ours = self.clock.now();
        let time = beat.clock_ms.map(|theirs| HeardTime { theirs: Moment(theirs), ours });
        let url = beat.reach(source.address);
        let reach = Reach { url, upstream, call_token, proof, generation, since, time };
        self.reaches.insert(id.clone(), Arc::new(reach));
        self.publish();
        if self.fleet.is_due_for_a_call(self.clock.now(), id) {
            // As in `let_time_pass`.
            let _ = self.jobs.try_send(Job::Call(id.clone()));
        }
    }

    /// What the fleet itself does not know.
    fn complete(&self, reply: HeartbeatReply, id: &WorkerId) -> HeartbeatReply {
        let lead = self.leadership.number(self.clock.now());
        HeartbeatReply {
            follows: lead.is_err(),
            lease: lead.as_ref().copied().unwrap_or_default(),
            // A worker of an older version would obey.
            end: if lead.is_ok() { reply.end } else { Vec::new() },
            call_token: self.reaches.get(id).and_then(|reach| reach.call_token.clone()),
            heartbeats_only: self.heartbeats_only,
            rival: self.disputes.rival_of(id).map(|dispute| dispute.to_string()),
            // They hold secrets, and a worker takes them from whoever leads.
            rooms: if lead.is_ok() { self.namespaces.reply(id) } else { RoomsReply::default() },
            ..reply
        }
    }

    fn reconfigure(&mut self, settings: &Settings) {
        self.patience = settings.workers.heartbeat_timeout;
        self.create_timeout = settings.sessions.create_timeout;
        self.heartbeats_only = settings.workers.secrets().next().is_some();
        self.fleet.reconfigure(FleetSettings::from(settings));
        self.parcels.reconfigure(settings);
        self.namespaces.reloaded(settings);
    }

    fn forget(&mut self, worker: &WorkerId, responder: Responder) {
        match self.fleet.forget(self.clock.now(), worker) {
            Ok(()) => {
                log::warn!("[controller] worker {worker} and its key are forgotten: an operator said so");
                self.disputes.forget(worker);
                self.reaches.remove(worker);
                self.namespaces.keep_only(|id| id != worker);
                self.keys.changed(self.clock.now(), self.fleet.identities());
                self.publish();
                self.publish_common();
                responder.send(Answer::empty());
            }
            Err(why) => responder.send(refusals::forget(why)),
        }
    }

    fn create(&mut self, create: Box<Create>) {
        if self.closing {
            return create.responder.send(refusals::closing());
        }
        if let Err(who) = self.leadership.number(self.clock.now()) {
            return create.responder.send(refusals::not_leading(&who));
        }
        let spec = CreateSpec {
            session_id: create.id.clone(),
            body: create.request.body,
            replace: create.request.replace && create.replacements < MAX_REPLACEMENTS,
            engine: create.request.engine.clone(),
            tried: create.course.tried().clone(),
        };
        match self.fleet.reserve(self.clock.now(), &spec) {
            Ok(placed) => self.dispatch(Job::Create(create, placed)),
            Err(Refused::MustEnd { session_id, worker, .. }) => {
                self.dispatch(Job::Replace(create, session_id, worker))
            }
            Err(refused) if self.may_wait(&create, &refused) => self.waiting.push_back(create),
            Err(refused) => refuse(*create, &refused),
        }
    }

    /// Whether a create is to wait for what time may bring: the end of settling, a late worker's beat, the end of a pause.
    fn may_wait(&self, create: &Create, refused: &Refused) -> bool {
        let in_time = match refused {
            Refused::Settling { .. } => true,
            Refused::NoWorker { hope: Some(at), .. } => {
                // What it waits is missing to start the session.
                let patience = create.deadline - self.create_timeout / PART_FOR_THE_START;
                *at < patience && self.clock.now() < patience
            }
            _ => false,
        };
        in_time && self.waiting.len() < self.max_waiting
    }

    /// What becomes of a create whose worker has not started it.
    fn turn_over(&mut self, mut create: Box<Create>, placed: &Placed, mut turn: Turn) {
        let now = self.clock.now();
        let listed = self.fleet.session(now, &create.id).is_some_and(|session| session.status.is_live());
        if listed && turn.stamp.is_none() && turn.end != TurnEnd::Lost {
            turn = Turn::lost(placed, format!("{}, and its heartbeats list the session", turn.reason));
        }
        let judged = create.course.judge(&placed.worker, placed.begun, &turn.end, &turn.reason);
        if let Some(at) = judged.failed {
            tell(&self.fleet.failed(now, &placed.worker, placed.begun, (at, &turn.reason)));
        }
        match (&turn.end, turn.stamp) {
            (TurnEnd::Lost, _) => {
                log::error!(
                    "[controller] ALERT the answer to session {} is lost: {}",
                    create.id,
                    turn.reason
                );
                self.fleet.abandon(&create.id);
            }
            (_, Some(stamp)) => {
                log::warn!(
                    "[controller] session {} failed on worker {}: {}",
                    create.id,
                    placed.worker,
                    turn.reason
                );
                self.fleet.ended(now, &create.id, EndReason::CreateFailed, stamp);
                // Another one of the same id could be taken for this one.
                create.id = SessionId::from_entropy(entropy::bytes());
            }
            (_, None) => {
                log::warn!(
                    "[controller] worker {} does not take session {}: {}",
                    placed.worker,
                    create.id,
                    turn.reason
                );
                self.fleet.release(&create.id);
                if turn.answer.is_none() && create.said.len() < MAX_SAID {
                    create.said.push(format!("{}: {}", placed.worker, turn.reason));
                }
            }
        }
        create.answer = turn.answer.or(create.answer.take());
        self.publish();
        match judged.next && !now.reached(create.deadline) {
            true => self.create(create),
            false => refuse(*create, &Refused::Gone),
        }
    }

    fn dispatch(&mut self, job: Job) {
        if let Err(job) = self.jobs.try_send(job) {
            if let Job::Create(create, _) = &*job {
                self.fleet.release(&create.id);
            }
            job.refuse(refusals::busy());
        }
    }

    /// Gives those that wait another try, the longest first. One round after the other looks at all of them: what keeps some
    /// waiting keeps most.
    fn admit_waiting(&mut self) {
        let now = self.clock.now();
        if self.waiting.is_empty() || !now.reached(self.look_at) {
            return;
        }
        if let Some(until) = self.fleet.settling_until(now) {
            return self.refuse_overdue(now, until.since(now));
        }
        self.look_at = now + LOOK;
        let mut misses = 0;
        for _ in 0..self.waiting.len() {
            let before = self.waiting.len();
            let Some(create) = self.waiting.pop_front() else { break };
            self.create(create);
            misses += usize::from(self.waiting.len() == before);
            if misses >= MAX_MISSES {
                break;
            }
        }
    }

    /// Those that waited all their time for what this controller has to know first.
    fn refuse_overdue(&mut self, now: Moment, retry_after: Duration) {
        if !self.waiting.iter().any(|create| now.reached(create.deadline)) {
            return;
        }
        let (late, waiting): (VecDeque<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|create| now.reached(create.deadline));
        self.waiting = waiting;
        late.into_iter().for_each(|create| refuse(*create, &Refused::Settling { retry_after }));
    }

    fn drain(&mut self, worker: &WorkerId, on: bool, responder: Responder) {
        if !self.fleet.drain(worker, on) {
            return responder.send(refusals::no_such_worker());
        }
        self.namespaces.drain(worker, on);
        log::info!(worker:%; "[controller] worker {worker} {}", if on { "drains" } else { "takes sessions again" });
        self.publish();
        responder.send(Answer::empty());
    }

    /// Starts the moves that are due, and asks for what was created elsewhere.
    fn tick_moves(&mut self) {
        let now = self.clock.now();
        let fleet = &self.fleet;
        let unknown =
            self.parcels.tick(|id| fleet.session(now, id).is_some_and(|view| view.status.is_live()));
        for id in unknown {
            if let Some(view) = self.fleet.session(now, &id) {
                // One that finds no room is not asked for: its worker may still tell when it drains.
                let _ = self.jobs.try_send(Job::Parcel(id, view.worker));
            }
        }
        if self.closing || self.leads.is_none() {
            return;
        }
        for id in self.fleet.moves_due(now) {
            self.start_move(&id);
        }
    }

    fn start_move(&mut self, id: &SessionId) {
        let now = self.clock.now();
        if self.closing || self.leadership.number(now).is_err() {
            return;
        }
        let is_down = self.fleet.session(now, id).is_some_and(|view| view.status == SessionStatus::Down);
        let parcel = self.parcels.of(id).filter(|_| is_down);
        if is_down && parcel.is_none() {
            // Nobody can say what was asked for.
            return;
        }
        if let Ok(order) = self.fleet.start_move(now, id) {
            log::info!("[controller] session {id} moves from worker {} to worker {}", order.from, order.to);
            self.carry(order, parcel);
        }
    }

    fn carry(&mut self, order: MoveOrder, parcel: Option<Arc<Parcel>>) {
        let deadline = self.clock.now() + self.create_timeout;
        let job = Job::Move(Box::new(MoveJob { order, parcel, deadline }));
        if let Err(job) = self.jobs.try_send(job)
            && let Job::Move(job) = *job
        {
            self.fleet.end_move(self.clock.now(), &job.order);
        }
        self.publish();
    }

    fn move_on(&mut self, news: MoveNews) {
        let now = self.clock.now();
        match news {
            MoveNews::LetGo(order, stamp, reply) => {
                let may_begin = self.fleet.let_go(now, &order, stamp);
                self.publish();
                let _ = reply.send(may_begin);
            }
            MoveNews::Over(order, why) => {
                log::warn!("[controller] session {} does not move: {why}", order.session_id);
                self.fleet.end_move(now, &order);
            }
            MoveNews::Arrived(order, parcel, stamp) => {
                let (stands, news) = self.fleet.arrived(now, &order, stamp);
                tell(&news);
                if stands {
                    self.parcels.keep(&order.session_id, parcel);
                }
                self.publish();
            }
            MoveNews::Failed(job, turn) => self.move_failed(*job, &turn),
        }
    }

    /// The new worker does not have the session: the next one, unless that is not certain.
    fn move_failed(&mut self, job: MoveJob, turn: &Turn) {
        let now = self.clock.now();
        let (order, why) = (&job.order, &turn.reason);
        log::warn!("[controller] session {} did not arrive at worker {}: {why}", order.session_id, order.to);
        let judged = Course::default().judge(&order.to, order.begun, &turn.end, why);
        if let Some(at) = judged.failed {
            tell(&self.fleet.failed(now, &order.to, order.begun, (at, why)));
        }
        // Its heartbeats list what ended there, and that is the session then.
        if turn.is_lost() || turn.was_ended() {
            return self.fleet.lose_move(order);
        }
        // Whatever it was, another worker may reach the body: the person waits.
        match self.fleet.next_move(now, order) {
            Ok(next) => self.carry(next, job.parcel),
            Err(_) => self.publish(),
        }
    }

    fn close(&mut self) {
        self.closing = true;
        self.waiting.drain(..).for_each(|create| create.responder.send(refusals::closing()));
    }

    /// Publishes what has changed.
    fn publish(&mut self) {
        let changes = self.fleet.take_changes(self.clock.now());
        self.published.apply(changes, |id| self.reaches.get(id).cloned());
        let is_settling = self.fleet.settling_until(self.clock.now()) != self.settling_shown;
        if is_settling || self.disputes.changes() != self.disputes_shown {
            self.publish_common();
        }
    }

    fn publish_common(&mut self) {
        self.disputes_shown = self.disputes.changes();
        self.settling_shown = self.fleet.settling_until(self.clock.now());
        self.published.set_common(Common {
            disputes: self.disputes.all(),
            keys_trouble: self.keys.trouble().map(str::to_owned),
            settling_until: self.settling_shown,
        });
    }
}

/// Answers a create that gets no worker: in the words of one that failed it, where there is one.
fn refuse(create: Create, refused: &Refused) {
    let Create { answer, said, responder, .. } = create;
    let own_words = || match refused {
        Refused::NoWorker { .. } if !said.is_empty() => refusals::no_worker(refused, &said),
        _ => refusals::create(refused),
    };
    responder.send(answer.unwrap_or_else(own_words));
}

fn tell(news: &[FleetEvent]) {
    for event in news {
        match event {
            FleetEvent::SessionLost(..)
            | FleetEvent::ReservationExpired(..)
            | FleetEvent::WorkerRestarted(..)
            | FleetEvent::MoveExpired(..)
            | FleetEvent::MoveGivenUp(..)
            | FleetEvent::BodiesFreed(..)
            | FleetEvent::LeftForgotten(..)
            | FleetEvent::WorkerHindered(..)
            | FleetEvent::WorkerPaused(..)
            | FleetEvent::WorkerHealth(_, _, WorkerHealth::Late) => {
                log::warn!("[controller] {event}");
            }
            FleetEvent::WorkerHealth(_, _, WorkerHealth::Down) => log::error!("[controller] ALERT {event}"),
            _ => log::info!("[controller] {event}"),
        }
    }
}
