//! Controller, model workers and the network between them, on a virtual clock. Everything random comes from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hydraneckwebrtc::config::settings::MovePolicy;
use hydraneckwebrtc::core::fleet::disputes::Disputes;
use hydraneckwebrtc::core::fleet::failures::{BackOff, FailedAt};
use hydraneckwebrtc::core::fleet::identity::{BeatSource, Identities, PublicKey};
use hydraneckwebrtc::core::fleet::turns::{Course, Fault, TurnEnd};
use hydraneckwebrtc::core::fleet::wire::{Heartbeat, HeartbeatReply, Stamp};
use hydraneckwebrtc::core::fleet::{BeatOutcome, CreateSpec, Fleet, FleetSettings, Placed};
use hydraneckwebrtc::core::ids::{BodyAddr, SessionId, WorkerId};
use hydraneckwebrtc::core::session::reason::EndReason;
use hydraneckwebrtc::core::session::status::SessionStatus;
use hydraneckwebrtc::core::time::Moment;

use crate::checks::check_told;
use crate::impostors::Impostors;
use crate::rng::Rng;
use crate::shown::Shown;
use crate::worker::{Habit, INTERVAL_MS, Refusal, Worker};

/// Beats that are written down to be replayed.
const MAX_RECORDED: usize = 200;
const CREATE_TIMEOUT_MS: u64 = 45_000;
pub const TIMEOUT_MS: u64 = 60_000;

/// Which troubles a schedule may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// None: messages are only reordered a little.
    Calm,
    /// Beats and answers lost, late and replayed; workers die and come back. No side is ever cut off for long.
    Lossy,
    /// Also partitions and controller restarts.
    Storm,
}

pub enum Message {
    Beat(Heartbeat),
    BeatReply(usize, Stamp, HeartbeatReply),
    Create(Placed),
    /// The worker could not be reached, or refused before it began.
    NotBegun(Placed, Option<Refusal>),
    /// The worker finishes what it began, well or badly.
    Finish(usize, u64, Placed, bool),
    Answer(Placed, bool, Stamp),
    /// The create's own deadline.
    Deadline(SessionId),
    Deleted(SessionId, Stamp),
    Start(usize),
    Heal(usize),
}

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub weather: Weather,
    pub fleet: Fleet,
    /// What this controller process remembers of those that it turned away.
    pub disputes: Disputes,
    /// Controller processes before this one.
    pub processes: u64,
    /// Beats that somebody wrote down, with the key that signed them.
    pub recorded: Vec<(Heartbeat, Option<PublicKey>)>,
    pub impostors: Impostors,
    pub workers: Vec<Worker>,
    pub trace: Vec<String>,
    /// Creates that the controller waits for.
    pub flows: BTreeMap<SessionId, Placed>,
    /// The workers that had their turn with each of them.
    pub courses: BTreeMap<SessionId, Course>,
    /// Turns of workers that fail whatever they are asked for, since this controller process started.
    pub wasted: usize,
    /// Turns that went to another worker after a failure.
    pub passed_on: usize,
    pub quiet: bool,
    pub queue: BTreeMap<(u64, u64), Message>,
    serial: u64,
    /// Newest beat that this controller process has taken, per worker.
    pub newest: BTreeMap<WorkerId, Stamp>,
    /// When this controller process started.
    pub controller_since: u64,
    /// What the operator wishes, as far as this controller process can know.
    pub drains: BTreeMap<WorkerId, bool>,
    /// Sessions whose creation was answered with yes, by the worker and its run; and those known to be over.
    pub told: BTreeMap<SessionId, (usize, Stamp)>,
    pub over: BTreeSet<SessionId>,
    /// Creates whose answer this controller process did not wait for.
    pub abandoned: BTreeSet<SessionId>,
    /// Creates of this controller process.
    pub launched: BTreeSet<SessionId>,
    pub refusals: Vec<Refusal>,
    pub created: usize,
    /// What whoever reads is shown.
    pub shown: Shown,
    /// Beats without their list: those that were taken, and those that had to be sent again.
    pub lists_left_out: usize,
    pub lists_wanted: usize,
    pub stale: usize,
    /// Bodies with two live sessions when all was healed.
    pub rivals: usize,
}

/// A controller process that knows these keys.
pub fn fresh_fleet(now: u64, processes: u64, known: &Identities) -> Fleet {
    let identities = Identities::new(known.keys().clone(), format!("process {processes}"));
    Fleet::with_identities(Moment(now), settings(), identities)
}

pub fn settings() -> FleetSettings {
    FleetSettings {
        max_workers: 1_000,
        heartbeat_interval: Duration::from_millis(INTERVAL_MS),
        heartbeat_timeout: Duration::from_millis(TIMEOUT_MS),
        create_timeout: Duration::from_millis(CREATE_TIMEOUT_MS),
        wireguard_networks: Vec::new(),
        back_off: BackOff { first: Duration::from_secs(2), longest: Duration::from_secs(50) },
        moves: MovePolicy::Never,
        move_limit: 3,
        drain_timeout: Duration::from_secs(300),
    }
}

impl World {
    pub fn new(seed: u64, weather: Weather) -> World {
        let mut rng = Rng::new(seed);
        let now = 1_000_000;
        let count = rng.within(1, 4);
        let workers = (0..count).map(|n| model_worker(n, now, &mut rng)).collect();
        World {
            now,
            rng,
            weather,
            fleet: fresh_fleet(now, 0, &Identities::default()),
            disputes: Disputes::default(),
            processes: 0,
            recorded: Vec::new(),
            impostors: Impostors::default(),
            workers,
            trace: Vec::new(),
            flows: BTreeMap::new(),
            courses: BTreeMap::new(),
            wasted: 0,
            passed_on: 0,
            quiet: false,
            queue: BTreeMap::new(),
            serial: 0,
            newest: BTreeMap::new(),
            controller_since: now,
            drains: BTreeMap::new(),
            told: BTreeMap::new(),
            over: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            launched: BTreeSet::new(),
            refusals: Vec::new(),
            created: 0,
            shown: Shown::default(),
            lists_left_out: 0,
            lists_wanted: 0,
            stale: 0,
            rivals: 0,
        }
    }

    pub fn moment(&self) -> Moment {
        Moment(self.now)
    }

    pub fn note(&mut self, text: String) {
        self.trace.push(format!("{} {text}", self.now));
    }

    pub fn send(&mut self, delay: u64, message: Message) {
        self.serial += 1;
        self.queue.insert((self.now + delay, self.serial), message);
    }

    fn stormy(&self, from: Weather, percent: u64, rng_roll: u64) -> bool {
        !self.quiet && self.weather >= from && rng_roll % 100 < percent
    }

    pub fn roll(&mut self, from: Weather, percent: u64) -> bool {
        let roll = self.rng.next();
        self.stormy(from, percent, roll)
    }

    /// Lets `ms` pass: beats are sent and messages arrive in order of time.
    pub fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            let beat = self.workers.iter().filter(|w| w.alive).map(|w| w.next_beat).min();
            let message = self.queue.keys().next().map(|(at, _)| *at);
            let Some(next) = beat.into_iter().chain(message).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            if beat == Some(next) {
                self.send_beats();
            } else if let Some((_, message)) = self.queue.pop_first() {
                self.deliver(message);
            }
        }
        self.now = until;
        self.fleet.tick(Moment(until));
        self.call_workers();
        self.publish();
    }

    /// Takes what has changed, as the controller does for whoever reads.
    fn publish(&mut self) {
        let now = self.moment();
        let changes = self.fleet.take_changes(now);
        self.shown.take(changes);
        // Looking at everything is dear: one time in four shows as much.
        if self.now.is_multiple_of(4) {
            self.shown.check(now, &self.fleet);
        }
    }

    /// Calls those that the controller wants called; the outcome is known at once.
    fn call_workers(&mut self) {
        let now = self.moment();
        for id in self.fleet.calls_due(now) {
            match self.workers[self.index(&id)].callable() {
                true => self.fleet.answered(now, &id),
                false => self.fleet.failed(now, &id, now, (FailedAt::Call, "refused")),
            };
        }
    }

    fn send_beats(&mut self) {
        for n in 0..self.workers.len() {
            if !self.workers[n].alive || self.workers[n].next_beat > self.now {
                continue;
            }
            let beat = self.workers[n].beat(self.now);
            let bounded = self.weather == Weather::Storm || self.workers[n].lost < 2;
            if self.workers[n].cut_off || (bounded && self.roll(Weather::Lossy, 15)) {
                self.workers[n].lost += 1;
                continue;
            }
            self.workers[n].lost = 0;
            let delay = if self.roll(Weather::Lossy, 10) { 8_000 } else { 300 };
            let delay = self.rng.within(1, delay);
            if self.roll(Weather::Lossy, 10) {
                let again = self.rng.within(1, 30_000);
                self.send(again, Message::Beat(beat.clone()));
            }
            self.send(delay, Message::Beat(beat));
        }
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Beat(beat) => self.hear(beat),
            Message::BeatReply(n, stamp, reply) => self.obey(n, stamp, reply),
            Message::Create(placed) => self.begin(placed),
            Message::NotBegun(placed, refusal) => self.not_begun(placed, refusal),
            Message::Finish(n, boot, placed, well) => self.finish(n, boot, placed, well),
            Message::Answer(placed, well, stamp) => self.answered(placed, well, stamp),
            Message::Deadline(id) => {
                if self.flows.remove(&id).is_some() {
                    self.note(format!("{id} abandoned"));
                    self.fleet.abandon(&id);
                    self.abandoned.insert(id);
                }
            }
            Message::Deleted(id, stamp) => {
                self.ended(id, EndReason::Deleted, stamp);
            }
            Message::Start(n) => {
                let nonce = self.rng.next();
                self.note(format!("worker {n} starts"));
                self.workers[n].start(self.now, nonce);
            }
            Message::Heal(n) => self.workers[n].cut_off = false,
        }
    }

    fn hear(&mut self, beat: Heartbeat) {
        let n = self.index(&beat.worker_id);
        let source = BeatSource { address: home(n), key: self.workers[n].key };
        // A worker of a later process signs again; what was on its way to the one before proves nothing.
        let fresh =
            source.key.is_none() || beat.challenge.as_deref() == Some(self.fleet.identities().challenge());
        let stale = self.newest.get(&beat.worker_id).is_some_and(|newest| beat.stamp() <= *newest);
        let before = (stale || !fresh).then(|| format!("{:?}", self.fleet));
        let holder = self.fleet.worker(self.moment(), &beat.worker_id).map(|view| view.source);
        let outcome = self.fleet.heartbeat(self.moment(), &beat, source);
        let copied = self.disputes.note(self.moment(), &beat, &source, &outcome, holder);
        assert_eq!(copied, None, "{} was taken for a copy", beat.worker_id);
        if self.recorded.len() < MAX_RECORDED {
            self.recorded.push((beat.clone(), source.key));
        }
        if let Some(before) = before {
            self.stale += usize::from(stale);
            assert_eq!(before, format!("{:?}", self.fleet), "a stale beat changed something");
            match (outcome, fresh) {
                (BeatOutcome::Stale, true) => {}
                (BeatOutcome::NotFresh(challenge), false) => self.challenge(n, &beat, challenge),
                (outcome, _) => panic!("{outcome:?} for {beat:?}"),
            }
            return;
        }
        if outcome == BeatOutcome::ListWanted {
            self.lists_wanted += 1;
            let reply = HeartbeatReply { list_wanted: true, ..HeartbeatReply::default() };
            let delay = self.rng.within(1, 200);
            return self.send(delay, Message::BeatReply(n, beat.stamp(), reply));
        }
        self.lists_left_out += usize::from(beat.unchanged_since.is_some());
        let BeatOutcome::Accepted(reply, news) = outcome else { panic!("{outcome:?} for {beat:?}") };
        if self.newest.insert(beat.worker_id.clone(), beat.stamp()).is_none() {
            self.drains.insert(beat.worker_id.clone(), beat.draining);
        }
        check_told(self);
        self.note(format!("beat {} {:?} {news:?} {:?}", beat.worker_id, beat.seq, reply.end));
        let delay = self.rng.within(1, 200);
        self.send(delay, Message::BeatReply(n, beat.stamp(), reply));
    }

    /// The worker signs once more, if the answer finds it.
    fn challenge(&mut self, n: usize, beat: &Heartbeat, challenge: String) {
        let reply = HeartbeatReply { challenge: Some(challenge), ..HeartbeatReply::default() };
        let delay = self.rng.within(1, 200);
        self.send(delay, Message::BeatReply(n, beat.stamp(), reply));
    }

    fn obey(&mut self, n: usize, stamp: Stamp, reply: HeartbeatReply) {
        let now = self.now;
        let worker = &mut self.workers[n];
        if !worker.reachable() || worker.generation != stamp.generation {
            return;
        }
        if !reply.accepted {
            worker.kept = None;
            if reply.list_wanted {
                worker.next_beat = now;
            }
            if reply.challenge.is_some() && worker.challenge != reply.challenge {
                worker.challenge = reply.challenge;
                worker.next_beat = now;
            }
            return;
        }
        if let Some(sent) = worker.sent.clone().filter(|sent| reply.keeps_lists && sent.0 == stamp.seq) {
            worker.kept = Some(sent);
        }
        worker.draining = reply.draining;
        let ended: Vec<_> =
            reply.end.into_iter().filter(|order| worker.end(now, &order.session_id, order.reason)).collect();
        for order in ended {
            self.note(format!("{} ends as {} by order", order.session_id, order.reason));
        }
    }

    pub fn index(&self, id: &WorkerId) -> usize {
        self.workers.iter().position(|worker| worker.id == *id).expect("the fleet made up a worker")
    }

    fn begin(&mut self, placed: Placed) {
        let n = self.index(&placed.worker);
        if !self.workers[n].callable() {
            let delay = self.rng.within(1, 5_000);
            return self.send(delay, Message::NotBegun(placed, None));
        }
        if let Err(refusal) = self.workers[n].begin(self.now, &placed.session_id, placed.body) {
            let delay = self.rng.within(1, 200);
            return self.send(delay, Message::NotBegun(placed, Some(refusal)));
        }
        self.note(format!("{} begins on {}", placed.session_id, placed.worker));
        self.created += 1;
        let habit = self.workers[n].habit;
        let delay = match habit {
            Habit::Slow => self.rng.within(20_000, 40_000),
            _ => self.rng.within(50, 20_000),
        };
        let well = self.rng.chance(85) && habit != Habit::Fails;
        let boot = self.workers[n].generation.boot_ms;
        self.send(delay, Message::Finish(n, boot, placed, well));
    }

    fn not_begun(&mut self, placed: Placed, refusal: Option<Refusal>) {
        if self.flows.remove(&placed.session_id).is_none() {
            return;
        }
        self.note(format!("{} not begun on {}: {refusal:?}", placed.session_id, placed.worker));
        let end = match refusal {
            None => TurnEnd::NotReached,
            Some(Refusal::BodyTaken) => TurnEnd::Refused(409, None),
            Some(Refusal::Full) => TurnEnd::Refused(503, None),
        };
        self.refusals.extend(refusal);
        let (next, course) = self.judge(&placed, &end);
        if !next {
            self.fleet.release(&placed.session_id);
        } else if let Ok(next) = self.fleet.try_next(self.moment(), &placed.session_id) {
            assert_ne!(next.worker, placed.worker, "the same worker again");
            self.launch(next, course);
        }
    }

    /// What the turn teaches, and whether another worker may try.
    fn judge(&mut self, placed: &Placed, end: &TurnEnd) -> (bool, Course) {
        let now = self.moment();
        let mut course = self.courses.remove(&placed.session_id).unwrap_or_default();
        let judged = course.judge(&placed.worker, placed.begun, end, "no");
        if let Some(at) = judged.failed {
            self.fleet.failed(now, &placed.worker, placed.begun, (at, "no"));
        }
        (judged.next, course)
    }

    fn finish(&mut self, n: usize, boot: u64, placed: Placed, well: bool) {
        let now = self.now;
        let worker = &mut self.workers[n];
        if !worker.alive || worker.generation.boot_ms != boot {
            let delay = self.rng.within(1, 200);
            return self.send(delay, Message::Deadline(placed.session_id)); // the connection broke
        }
        if let Some(truth) = worker.sessions.get_mut(&placed.session_id) {
            truth.ready = well;
        }
        if !well {
            worker.end(now, &placed.session_id, EndReason::CreateFailed);
        }
        let well = worker.live().any(|(id, _)| *id == placed.session_id);
        let stamp = worker.stamp();
        let cut_off = worker.cut_off;
        let nobody_asks = !self.launched.contains(&placed.session_id);
        if cut_off || nobody_asks || self.roll(Weather::Lossy, 10) {
            return; // lost: the controller's deadline fires
        }
        let delay = if self.roll(Weather::Lossy, 10) { 40_000 } else { 300 };
        let delay = self.rng.within(1, delay);
        self.send(delay, Message::Answer(placed, well, stamp));
    }

    fn answered(&mut self, placed: Placed, well: bool, stamp: Stamp) {
        // An answer after the create's deadline is fed in as well: it must not corrupt anything.
        let waited_for = self.flows.remove(&placed.session_id).is_some();
        self.note(format!("{} answered {well}, waited for: {waited_for}", placed.session_id));
        if well {
            let listed = self.fleet.session(self.moment(), &placed.session_id).is_some();
            let (stands, _) = self.fleet.confirm(self.moment(), &placed, SessionStatus::Ready, stamp);
            let newer = self.newest.get(&placed.worker).is_some_and(|newest| *newest > stamp);
            assert!(
                !stands || listed || !newer,
                "{} was believed to live on against a later beat",
                placed.session_id
            );
            if stands {
                let n = self.index(&placed.worker);
                self.told.insert(placed.session_id, (n, stamp));
            }
        } else {
            self.ended(placed.session_id.clone(), EndReason::CreateFailed, stamp);
            self.courses.entry(placed.session_id.clone()).or_default();
            if waited_for {
                self.failed(placed);
            }
        }
    }

    /// A create began and failed: what was its worker's own fault goes to the next, under another id.
    fn failed(&mut self, placed: Placed) {
        let own = self.workers[self.index(&placed.worker)].habit == Habit::Fails;
        let fault = if own { Fault::Worker } else { Fault::Body };
        let (next, course) = self.judge(&placed, &TurnEnd::Failed(502, Some(fault)));
        if !next {
            return;
        }
        let (session_id, engine) = (SessionId::from_entropy(self.rng.entropy()), "moonlight".to_owned());
        let (body, tried) = (placed.body, course.tried().clone());
        let spec = CreateSpec { session_id, body, replace: false, engine, tried };
        if let Ok(next) = self.fleet.reserve(self.moment(), &spec) {
            assert_ne!(next.worker, placed.worker, "the same worker again");
            self.passed_on += 1;
            self.launch(next, course);
        }
    }

    fn ended(&mut self, id: SessionId, reason: EndReason, stamp: Stamp) {
        self.fleet.ended(self.moment(), &id, reason, stamp);
        if self.fleet.session(self.moment(), &id).is_some_and(|view| !view.status.is_live()) {
            self.over.insert(id);
        }
    }

    pub fn launch(&mut self, placed: Placed, course: Course) {
        let view = self.fleet.worker(self.moment(), &placed.worker).expect("placed on a worker nobody knows");
        assert!(view.active + view.reserved <= view.max, "placed beyond capacity: {view:?}");
        self.note(format!("{} placed on {}", placed.session_id, placed.worker));
        let habit = self.workers[self.index(&placed.worker)].habit;
        self.wasted += usize::from(matches!(habit, Habit::Fails | Habit::Uncallable));
        self.courses.insert(placed.session_id.clone(), course);
        self.launched.insert(placed.session_id.clone());
        self.flows.insert(placed.session_id.clone(), placed.clone());
        let impatient = self.roll(Weather::Lossy, 10);
        let patience = if impatient { self.rng.within(1, 2_000) } else { CREATE_TIMEOUT_MS };
        self.send(patience, Message::Deadline(placed.session_id.clone()));
        let delay = self.rng.within(1, 300);
        self.send(delay, Message::Create(placed));
    }

    /// Whether a worker is still starting this session: it may fail by itself.
    pub fn under_way(&self, id: &SessionId) -> bool {
        (self.queue.values())
            .any(|message| matches!(message, Message::Finish(_, _, placed, _) if placed.session_id == *id))
    }

    /// Live sessions by body, as they really are.
    pub fn truth(&self) -> BTreeMap<BodyAddr, BTreeSet<SessionId>> {
        let mut bodies: BTreeMap<BodyAddr, BTreeSet<SessionId>> = BTreeMap::new();
        for (id, truth) in self.workers.iter().flat_map(Worker::live) {
            bodies.entry(truth.body).or_default().insert(id.clone());
        }
        bodies
    }
}

/// Where worker `n` is.
pub fn home(n: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, 1 + n as u8])
}

fn model_worker(n: u64, now: u64, rng: &mut Rng) -> Worker {
    let habit = match rng.within(0, 9) {
        0 => Habit::Fails,
        1 => Habit::Uncallable,
        2 => Habit::Slow,
        _ => Habit::Sound,
    };
    let mut worker = Worker {
        id: format!("w{n}").parse().expect("a good name"),
        habit,
        max: rng.within(1, 4) as usize,
        alive: true,
        cut_off: false,
        generation: Default::default(),
        seq: 0,
        // One in three is of a version that does not sign.
        key: rng.chance(67).then(|| PublicKey::from([n as u8 + 1; 32])),
        challenge: None,
        next_beat: 0,
        draining: false,
        sent: None,
        kept: None,
        lost: 0,
        sessions: BTreeMap::new(),
    };
    worker.start(now - rng.within(0, 5_000), rng.next());
    worker.next_beat = now + rng.within(0, INTERVAL_MS);
    worker
}
