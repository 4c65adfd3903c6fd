//! Seeded simulations of moves: sessions whose workers drain, die and are cut off, two controllers that take turns to lead, restarts
//! of everybody, and messages that are late, lost and replayed.
//!
//! What must hold: a worker does nothing for a lower number than before; no body has two copies that were launched, unless
//! a leader had given one of their workers up, or the store was away when one began; a session that is somewhere is never answered with
//! 404; and once all is healed no slot is taken by nobody, no copy waits, and each session has one record (two at most if it
//! moved while the store was away).

mod copy;
mod records;
mod runs;
mod standstill;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use hydraneckwebrtc::config::settings::{MovePolicy, Role, Settings};
use hydraneckwebrtc::core::fleet::bodies::BodyEntry;
use hydraneckwebrtc::core::fleet::fence::{Caller, Fence, LeaseProof, WorkerTime};
use hydraneckwebrtc::core::fleet::identity::WIRE_VERSION;
use hydraneckwebrtc::core::fleet::moves::{MOVE_PATIENCE, MoveOrder};
use hydraneckwebrtc::core::fleet::wire::{Generation, Heartbeat, HeartbeatReply, SessionBrief, Stamp};
use hydraneckwebrtc::core::fleet::worker_health::WorkerHealth;
use hydraneckwebrtc::core::fleet::{BeatOutcome, CreateSpec, Fleet, FleetSettings, Placed, Refused, Route};
use hydraneckwebrtc::core::ids::{BodyAddr, SessionId, WorkerId};
use hydraneckwebrtc::core::session::reason::EndReason;
use hydraneckwebrtc::core::session::status::SessionStatus;
use hydraneckwebrtc::core::time::Moment;

use crate::beats::{plain_beat, plain_brief};
use crate::knew::Knew;
use crate::moves::copy::Copy;
use crate::moves::records::ended_in;
use crate::moves::runs::Sum;
use crate::only_seed;
use crate::rng::Rng;

const CONTROLLERS: usize = 2;
const WORKERS: usize = 3;
const BODIES: u64 = 4;
const SLOTS: usize = 4;
const STEP_MS: u64 = 100;
const STEPS: u64 = 1_200;
const BEAT_MS: u64 = 1_000;
const TIMEOUT_MS: u64 = 6 * BEAT_MS;
const CREATE_MS: u64 = 10_000;
const LEASE_MS: u64 = 3_000;
/// What a message may be late; below what a move waits for its answer.
const LATE_MS: u64 = 15_000;
/// `sessions.ended_window`: shorter than many an absence.
const WINDOW_MS: u64 = 12_000;
/// After it a worker that can be heard has been heard.
const HEARD_MS: u64 = 3 * BEAT_MS + LATE_MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Ended(EndReason, u64),
}

struct Worker {
    alive: bool,
    fence: Fence,
    generation: Generation,
    born: u64,
    seq: u64,
    beat_at: u64,
    draining: Option<u64>,
    copies: BTreeMap<SessionId, Copy>,
    /// Records that it keeps, to be sent.
    records: BTreeSet<SessionId>,
    done_for: u64,
}

struct Controller {
    fleet: Fleet,
    cut_store: bool,
    cut: [bool; WORKERS],
    cut_since: [u64; WORKERS],
    since: u64,
    leads: Option<u64>,
    led_since: u64,
    /// When the table of bodies is read.
    reads_at: Option<u64>,
    heard: BTreeMap<usize, (Generation, u64)>,
    told: [u64; WORKERS],
    /// It stands still until then.
    frozen_until: u64,
    /// When it ran last.
    ran: u64,
    /// For how long it was there to hear each worker and did not.
    silent: [u64; WORKERS],
}

#[derive(Clone)]
enum Mail {
    Beat(usize, usize, Box<Heartbeat>),
    /// With what the beat listed as ended.
    Reply(usize, Generation, Box<HeartbeatReply>, Vec<(SessionId, u32)>),
    Create(usize, Placed, LeaseProof, Knew),
    Created(usize, Placed, Option<Stamp>, bool),
    Leave(usize, MoveOrder, LeaseProof),
    Left(usize, MoveOrder, Option<Stamp>),
    Take(usize, MoveOrder, LeaseProof, Knew),
    /// It started, or not, or did not begin, or nobody knows.
    Taken(usize, MoveOrder, Outcome),
    /// A copy is through with its start.
    Started(usize, Generation, SessionId, Reply, bool),
}

#[derive(Clone, Debug)]
enum Outcome {
    Arrived(Stamp),
    Failed,
    Lost,
}

#[derive(Clone)]
enum Reply {
    Create(usize, Placed),
    Move(usize, MoveOrder),
}

struct World {
    /// New leaders read the table of bodies. Only a test that shows what it is for leaves that out.
    reads_table: bool,
    /// Workers send no record that no controller has judged. As above.
    holds: bool,
    /// Controllers stand still for a while now and then.
    freezes: bool,
    rng: Rng,
    now: u64,
    number: u64,
    leader: Option<usize>,
    lease_end: u64,
    /// The table of bodies.
    bodies: BTreeSet<BodyEntry>,
    controllers: Vec<Controller>,
    workers: Vec<Worker>,
    mail: Vec<(u64, Mail)>,
    quiet: bool,
    trace: Vec<String>,
    /// Sessions that were ready once.
    promised: BTreeSet<SessionId>,
    /// How many records of them were sent.
    sent: BTreeMap<SessionId, usize>,
    /// Those that moved while the store was away: no later leader may know of it.
    unknown: BTreeSet<SessionId>,
    sum: Sum,
}

fn name(worker: usize) -> WorkerId {
    format!("w{worker}").parse().expect("a name")
}

fn index(id: &WorkerId) -> usize {
    (0..WORKERS).find(|worker| name(*worker) == *id).expect("a worker")
}

fn fleet(now: u64) -> Fleet {
    let mut settings = Settings::defaults(Role::Controller);
    settings.workers.heartbeat_interval = Duration::from_millis(BEAT_MS);
    settings.workers.heartbeat_timeout = Duration::from_millis(TIMEOUT_MS);
    settings.sessions.create_timeout = Duration::from_millis(CREATE_MS);
    settings.sessions.moves = MovePolicy::Always;
    settings.sessions.move_limit = 100;
    settings.drain_timeout = Duration::from_secs(20);
    settings.bodies.wireguard_networks = Vec::new();
    Fleet::new(Moment(now), FleetSettings::from(&settings))
}

impl World {
    fn new(seed: u64) -> World {
        let controller = |_| Controller {
            fleet: fleet(0),
            cut_store: false,
            cut: [false; WORKERS],
            cut_since: [0; WORKERS],
            since: 0,
            leads: None,
            led_since: 0,
            reads_at: None,
            heard: BTreeMap::new(),
            told: [0; WORKERS],
            frozen_until: 0,
            ran: 0,
            silent: [0; WORKERS],
        };
        let worker = |number: usize| Worker {
            alive: true,
            fence: Fence::default(),
            generation: Generation { boot_ms: 1, nonce: number as u64 },
            born: 0,
            seq: 0,
            beat_at: 0,
            draining: None,
            copies: BTreeMap::new(),
            records: BTreeSet::new(),
            done_for: 0,
        };
        World {
            reads_table: true,
            holds: true,
            freezes: false,
            rng: Rng::new(seed),
            now: 0,
            number: 0,
            leader: None,
            lease_end: 0,
            bodies: BTreeSet::new(),
            controllers: (0..CONTROLLERS).map(controller).collect(),
            workers: (0..WORKERS).map(worker).collect(),
            mail: Vec::new(),
            quiet: false,
            trace: Vec::new(),
            promised: BTreeSet::new(),
            sent: BTreeMap::new(),
            unknown: BTreeSet::new(),
            sum: Sum::default(),
        }
    }

    fn say(&mut self, words: String) {
        self.trace.push(format!("{:>7} {words}", self.now));
    }

    fn moment(&self) -> Moment {
        Moment(self.now)
    }

    fn send(&mut self, mail: Mail) {
        let late = !self.quiet && self.rng.chance(5);
        let at = self.now + self.rng.within(0, if late { LATE_MS } else { 80 });
        // A call and its answer have one connection.
        let is_beat = matches!(mail, Mail::Beat(..) | Mail::Reply(..));
        if is_beat && !self.quiet && self.rng.chance(3) {
            self.mail.push((at + self.rng.within(0, LATE_MS / 2), mail.clone()));
        }
        self.mail.push((at, mail));
    }

    fn step(&mut self) {
        self.now += STEP_MS;
        (0..CONTROLLERS).for_each(|who| self.wake(who));
        self.lead();
        for who in 0..CONTROLLERS {
            self.run(who);
        }
        for worker in 0..WORKERS {
            if self.workers[worker].alive && self.workers[worker].beat_at <= self.now {
                self.beat(worker);
            }
        }
        self.deliver();
        self.send_records();
        if !self.quiet {
            self.deed();
        }
        self.check();
    }

    /// The lease: renewed by who can, taken by another when it is over.
    fn lead(&mut self) {
        if let Some(leader) = self.leader
            && !self.controllers[leader].cut_store
            && !self.stands_still(leader)
            && self.controllers[leader].leads == Some(self.number)
            && self.lease_end > self.now
        {
            self.lease_end = self.now + LEASE_MS;
            return;
        }
        if self.lease_end > self.now {
            return;
        }
        if let Some(leader) = self.leader.take() {
            self.controllers[leader].leads = None;
            self.controllers[leader].fleet.step_down();
        }
        let who = self.rng.within(0, CONTROLLERS as u64 - 1) as usize;
        if self.controllers[who].cut_store || self.stands_still(who) {
            return;
        }
        self.number += 1;
        (self.leader, self.lease_end) = (Some(who), self.now + LEASE_MS);
        let (now, number) = (self.moment(), self.number);
        self.controllers[who].leads = Some(number);
        self.controllers[who].fleet.take_over(now, number);
        self.controllers[who].led_since = self.now;
        self.controllers[who].reads_at = Some(self.now + self.rng.within(0, 1_000));
        self.say(format!("{who} leads with {number}"));
    }

    fn run(&mut self, who: usize) {
        if self.stands_still(who) {
            return;
        }
        let now = self.moment();
        self.keep_bodies(who);
        if !self.now.is_multiple_of(500) {
            return;
        }
        self.controllers[who].fleet.tick(now);
        if self.controllers[who].leads.is_none() {
            return;
        }
        for id in self.controllers[who].fleet.moves_due(now) {
            self.start_move(who, &id);
        }
    }

    /// The table of bodies: read for a new leadership, then kept.
    fn keep_bodies(&mut self, who: usize) {
        let now = self.moment();
        let controller = &mut self.controllers[who];
        let Some(number) = controller.leads.filter(|number| *number == self.number) else { return };
        if controller.cut_store {
            return;
        }
        if controller.reads_at.is_some_and(|at| at <= self.now) {
            controller.reads_at = None;
            let entries = self.bodies.iter().cloned().collect();
            controller.fleet.set_bodies(now, number, if self.reads_table { entries } else { Vec::new() });
        }
        for (entry, on) in controller.fleet.take_body_changes() {
            controller.fleet.bodies_written(&[(entry.clone(), on)]);
            if on {
                self.bodies.insert(entry)
            } else {
                self.bodies.remove(&entry)
            };
        }
    }

    /// Writes an entry before its worker is asked, and says what the leader knows then; `None`: another one leads.
    fn list(&mut self, who: usize, entry: BodyEntry) -> Option<Knew> {
        let controller = &self.controllers[who];
        let number = controller.leads?;
        let blind = self.blind(who);
        let had_time = self.now - controller.led_since >= TIMEOUT_MS;
        let unlisted = controller.cut_store;
        if !unlisted {
            if number != self.number {
                return None;
            }
            self.bodies.insert(entry);
        }
        self.sum.unlisted += usize::from(unlisted);
        Some(Knew::new(blind, had_time, unlisted))
    }

    fn start_move(&mut self, who: usize, id: &SessionId) {
        let now = self.moment();
        let Ok(order) = self.controllers[who].fleet.start_move(now, id) else { return };
        self.say(format!("{who} moves {id} from {} to {} as {}", order.from, order.to, order.copy));
        self.carry(who, order);
    }

    /// Sends what a move needs next.
    fn carry(&mut self, who: usize, order: MoveOrder) {
        let now = self.moment();
        let to = index(if order.leave { &order.from } else { &order.to });
        match self.proof(who, to) {
            Some(proof) if order.leave => self.send(Mail::Leave(who, order, proof)),
            Some(proof) => match self.list(who, BodyEntry::of_move(&order)) {
                Some(knew) => self.send(Mail::Take(who, order, proof, knew)),
                None => self.controllers[who].fleet.end_move(now, &order),
            },
            None => self.controllers[who].fleet.end_move(now, &order),
        }
    }

    fn proof(&self, who: usize, to: usize) -> Option<LeaseProof> {
        let number = self.controllers[who].leads?;
        let (generation, born) = *self.controllers[who].heard.get(&to)?;
        let at = Moment(self.lease_end.saturating_sub(born));
        Some(LeaseProof { number, until: Some(WorkerTime { generation, at }) })
    }

    /// Workers that this controller cannot speak for.
    fn blind(&self, who: usize) -> BTreeSet<usize> {
        let controller = &self.controllers[who];
        let is_blind = |worker: &usize| {
            let view = controller.fleet.worker(self.moment(), &name(*worker));
            view.is_none_or(|view| view.health == WorkerHealth::Down)
                || controller.told[*worker] < controller.leads.unwrap_or_default()
        };
        (0..WORKERS).filter(is_blind).collect()
    }

    fn beat(&mut self, number: usize) {
        let now = self.now;
        let worker = &mut self.workers[number];
        worker.beat_at = now + BEAT_MS;
        worker.seq += 1;
        let brief = |(id, copy): (&SessionId, &Copy)| {
            let (status, reason, until) = match copy.state {
                State::Starting => (SessionStatus::Starting, None, now),
                State::Ready => (SessionStatus::Streaming, None, now),
                State::Ended(reason, at) => (SessionStatus::Ended, Some(reason), at),
            };
            SessionBrief {
                status,
                reason,
                started_ms_ago: now - copy.began,
                connections: 1,
                copy: copy.number,
                movable: true,
                ..plain_brief(id.clone(), copy.body, until - copy.began)
            }
        };
        let beat = Heartbeat {
            port: 47_990 + number as u16,
            max: SLOTS as u32,
            draining: worker.draining.is_some(),
            clock_ms: Some(now - worker.born),
            lease: worker.fence.highest(),
            wire: WIRE_VERSION,
            drain_left_ms: worker.draining.map(|until| until.saturating_sub(now)),
            sessions: worker.copies.iter().map(brief).collect(),
            ..plain_beat(name(number), worker.generation, worker.seq, BEAT_MS)
        };
        for who in 0..CONTROLLERS {
            self.send(Mail::Beat(who, number, Box::new(beat.clone())));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let mail = std::mem::take(&mut self.mail);
        let waits = |mail: &Mail| mail.to().is_some_and(|who| self.stands_still(who));
        let (due, later): (Vec<_>, Vec<_>) =
            mail.into_iter().partition(|(at, mail)| *at <= now && !waits(mail));
        self.mail = later;
        for (_, mail) in due {
            self.take_mail(mail);
        }
    }

    fn take_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Beat(who, worker, beat) => self.take_beat(who, worker, &beat),
            Mail::Reply(worker, generation, reply, ended) => self.obey(worker, generation, *reply, &ended),
            Mail::Create(who, placed, proof, knew) => {
                let (to, order) = (index(&placed.worker), Reply::Create(who, placed.clone()));
                self.begin(who, to, (&placed.session_id, placed.body, 0), (proof, knew), order);
            }
            Mail::Take(who, move_order, proof, knew) => {
                let (to, order) = (index(&move_order.to), Reply::Move(who, move_order.clone()));
                let what = (&move_order.session_id, move_order.body, move_order.copy);
                self.begin(who, to, what, (proof, knew), order);
            }
            Mail::Created(who, placed, stamp, well) => self.created(who, &placed, stamp, well),
            Mail::Leave(who, order, proof) => self.leave(who, order, &proof),
            Mail::Left(who, order, stamp) => self.left(who, order, stamp),
            Mail::Taken(who, order, outcome) => self.taken(who, &order, outcome),
            Mail::Started(worker, generation, id, reply, well) => {
                self.started(worker, generation, &id, reply, well)
            }
        }
    }

    fn take_beat(&mut self, who: usize, worker: usize, beat: &Heartbeat) {
        let now = self.moment();
        let controller = &mut self.controllers[who];
        if controller.cut[worker] {
            return;
        }
        let before = controller.fleet.moves().count();
        let outcome = controller.fleet.heartbeat(now, beat, std::net::IpAddr::from([127, 0, 0, 9]));
        let BeatOutcome::Accepted(reply, news) = outcome else { return };
        controller.silent[worker] = 0;
        self.sum.adopted += controller.fleet.moves().count().saturating_sub(before);
        let born = if self.workers[worker].generation == beat.generation {
            self.workers[worker].born
        } else {
            return;
        };
        controller.heard.insert(worker, (beat.generation, born));
        controller.told[worker] = beat.lease;
        let leads = controller.leads;
        if !news.is_empty() {
            self.say(format!("{who} hears w{worker}: {news:?} {:?}", reply.end));
        }
        let reply = HeartbeatReply {
            follows: leads.is_none(),
            lease: leads.unwrap_or_default(),
            end: if leads.is_some() { reply.end } else { Vec::new() },
            ..reply
        };
        let ended = ended_in(beat);
        self.send(Mail::Reply(worker, beat.generation, Box::new(reply), ended));
    }

    fn obey(
        &mut self,
        number: usize,
        generation: Generation,
        reply: HeartbeatReply,
        ended: &[(SessionId, u32)],
    ) {
        let now = self.now;
        let worker = &mut self.workers[number];
        if !worker.alive || worker.generation != generation || reply.follows {
            return;
        }
        if worker.fence.note(reply.lease) {
            worker.beat_at = now;
        }
        if !worker.fence.obeys(reply.lease) {
            return;
        }
        worker.draining = match (reply.draining, worker.draining) {
            (true, None) => Some(now + 20_000),
            (true, until) => until,
            (false, _) => None,
        };
        for order in reply.end {
            let meant = self.workers[number].copies.get(&order.session_id);
            if meant.is_some_and(|copy| order.copy.is_none_or(|most| copy.number <= most)) {
                self.end(number, &order.session_id, order.reason);
            }
        }
        if !reply.unsure {
            self.release(number, ended);
        }
    }

    /// What a worker makes of an order that came with the answer to a beat.
    fn end(&mut self, number: usize, id: &SessionId, reason: EndReason) {
        let now = self.now;
        let worker = &mut self.workers[number];
        let Some(copy) = worker.copies.get_mut(id) else { return };
        worker.beat_at = now;
        if reason == EndReason::Moved {
            self.sum.strays += usize::from(copy.lives());
            worker.copies.remove(id);
            worker.records.remove(id);
            self.sum.long_gone += usize::from(self.sent.contains_key(id));
            return self.say(format!("w{number} forgets {id}, which has moved"));
        }
        match copy.state {
            State::Ended(EndReason::Moved, _) => {}
            State::Ended(..) => return,
            State::Starting if copy.number == 0 || !reason.is_wanted() => {
                copy.state =
                    State::Ended(if copy.number > 0 { EndReason::CreateFailed } else { reason }, now);
                return;
            }
            State::Starting | State::Ready => {}
        }
        // What was let go ends as its controller knows.
        copy.held = copy.lives();
        copy.state = State::Ended(reason, now);
        worker.records.insert(id.clone());
        self.say(format!("w{number} ends {id} as {reason}"));
    }

    /// Whether a worker does what a controller asks for.
    fn heeds(&mut self, number: usize, proof: &LeaseProof) -> bool {
        let worker = &mut self.workers[number];
        if worker.fence.note(proof.number) {
            worker.beat_at = self.now;
        }
        let time = (worker.generation, Moment(self.now - worker.born));
        if worker.fence.judge(&Caller::Controller(Some(*proof)), time).is_err() {
            self.sum.refused += 1;
            return false;
        }
        assert!(proof.number >= worker.done_for, "w{number} did something for {} before", worker.done_for);
        worker.done_for = proof.number;
        true
    }

    fn begin(
        &mut self,
        who: usize,
        to: usize,
        (id, body, copy): (&SessionId, BodyAddr, u32),
        (proof, knew): (LeaseProof, Knew),
        reply: Reply,
    ) {
        let reached = self.workers[to].alive && !self.controllers[who].cut[to];
        if !reached || !self.heeds(to, &proof) || !self.may_begin(to, id, body, copy) {
            return self.answer(reply, None, false, true);
        }
        self.check_rivals(to, (id, body), &knew, &reply);
        let (now, number) = (self.now, to);
        self.say(format!("{id} begins on w{to} as {copy}"));
        let worker = &mut self.workers[number];
        worker.beat_at = now;
        let began = match &reply {
            Reply::Create(..) => now,
            Reply::Move(_, order) => now.saturating_sub(order.lived.as_millis() as u64),
        };
        if knew.unlisted && copy > 0 {
            self.unknown.insert(id.clone());
        }
        let new = Copy { body, number: copy, began, state: State::Starting, held: false, knew };
        // What an earlier copy left here is the session's again.
        worker.records.remove(id);
        worker.copies.insert(id.clone(), new);
        let generation = worker.generation;
        let well = self.quiet && self.rng.chance(90) || self.rng.chance(80);
        let takes = self.rng.within(200, 8_000);
        self.mail.push((now + takes, Mail::Started(to, generation, id.clone(), reply, well)));
    }

    /// Nobody else has the body, but where a leader could not know.
    fn check_rivals(&self, to: usize, (id, body): (&SessionId, BodyAddr), knew: &Knew, reply: &Reply) {
        // Its page has lost the stream, and asked.
        let from = if let Reply::Move(_, order) = reply { Some(index(&order.from)) } else { None };
        for other in (0..WORKERS).filter(|other| *other != to && !knew.lost.contains(other)) {
            let rivals = self.workers[other].copies.iter();
            let mut rivals = rivals.filter(|(_, rival)| rival.body == body && rival.lives());
            let rival = rivals.find(|(session, rival)| {
                let is_left = *session == id && from == Some(other) && knew.blind.contains(&other);
                // So it was when the session went to where it moves from now: a late beat of `other` came since.
                let before = from.and_then(|from| self.workers[from].copies.get(id));
                let was_left = *session == id && before.is_some_and(|copy| copy.knew.blind.contains(&other));
                // Nobody could write down what was begun while the store was away, and nobody could hear of it.
                let is_unknown = rival.knew.unlisted && knew.blind.contains(&other);
                // Who began it had given up the worker that begins now.
                let was_given_up = rival.knew.lost.contains(&to);
                !is_left && !was_left && !is_unknown && !was_given_up
            });
            assert!(rival.is_none(), "{id} begins on w{to}, and w{other} has {rival:?}");
        }
    }

    fn may_begin(&self, to: usize, id: &SessionId, body: BodyAddr, copy: u32) -> bool {
        let worker = &self.workers[to];
        let mut live = worker.copies.values().filter(|copy| copy.lives());
        if live.clone().count() >= SLOTS || live.any(|other| other.body == body) || worker.draining.is_some()
        {
            return false;
        }
        match worker.copies.get(id) {
            None => true,
            Some(old) if old.state == State::Starting || old.state == State::Ready => false,
            Some(old) => {
                let failed = matches!(old.state, State::Ended(EndReason::CreateFailed, _));
                copy > old.number || failed && copy == old.number && copy > 0
            }
        }
    }

    fn started(&mut self, to: usize, generation: Generation, id: &SessionId, reply: Reply, well: bool) {
        let now = self.now;
        let worker = &mut self.workers[to];
        let stamp = Stamp { generation: worker.generation, seq: worker.seq };
        if !worker.alive || worker.generation != generation {
            return self.answer(reply, None, true, false);
        }
        let Some(copy) = worker.copies.get_mut(id).filter(|copy| copy.state == State::Starting) else {
            // Where somebody wanted its end the controller waits for the list that says so.
            let wanted = worker.copies.get(id).is_some_and(Copy::has_wanted_end);
            return self.answer(reply, Some(stamp), wanted, false);
        };
        worker.beat_at = now;
        copy.state = if well { State::Ready } else { State::Ended(EndReason::CreateFailed, now) };
        if well {
            self.sum.moved += usize::from(copy.number > 0);
            self.sum.created += usize::from(copy.number == 0);
            self.promised.insert(id.clone());
        }
        self.say(format!("{id} on w{to} starts well: {well}"));
        let lost = !self.quiet && self.rng.chance(8);
        self.answer(reply, Some(stamp), lost, well);
    }

    /// The end of a create or a take: `lost`, or well or not with a stamp, or not begun at all.
    fn answer(&mut self, reply: Reply, stamp: Option<Stamp>, lost: bool, well: bool) {
        self.sum.lost += usize::from(lost);
        match reply {
            Reply::Create(who, placed) => {
                let stamp = stamp.filter(|_| !lost);
                let well = well && stamp.is_some();
                // Without a stamp: not begun, or lost.
                self.send(Mail::Created(who, placed, stamp, well || lost));
            }
            Reply::Move(who, order) => {
                let outcome = match stamp {
                    _ if lost => Outcome::Lost,
                    Some(stamp) if well => Outcome::Arrived(stamp),
                    _ => Outcome::Failed,
                };
                self.send(Mail::Taken(who, order, outcome));
            }
        }
    }

    fn created(&mut self, who: usize, placed: &Placed, stamp: Option<Stamp>, well: bool) {
        let now = self.moment();
        let fleet = &mut self.controllers[who].fleet;
        match (stamp, well) {
            (Some(stamp), true) => {
                fleet.confirm(now, placed, SessionStatus::Ready, stamp);
            }
            (Some(stamp), false) => fleet.ended(now, &placed.session_id, EndReason::CreateFailed, stamp),
            (None, true) => fleet.abandon(&placed.session_id),
            (None, false) => fleet.release(&placed.session_id),
        }
    }

    fn leave(&mut self, who: usize, order: MoveOrder, proof: &LeaseProof) {
        let (from, now) = (index(&order.from), self.now);
        if !self.workers[from].alive || self.controllers[who].cut[from] || !self.heeds(from, proof) {
            return self.send(Mail::Left(who, order, None));
        }
        let worker = &mut self.workers[from];
        let stamp = Stamp { generation: worker.generation, seq: worker.seq };
        let Some(copy) = worker.copies.get_mut(&order.session_id) else {
            return self.send(Mail::Left(who, order, None));
        };
        match copy.state {
            State::Ready => copy.state = State::Ended(EndReason::Moved, now),
            State::Ended(EndReason::Moved, _) => {}
            _ => return self.send(Mail::Left(who, order, None)),
        }
        worker.beat_at = now;
        self.say(format!("w{from} lets {} go", order.session_id));
        if !self.quiet && self.rng.chance(8) {
            return self.send(Mail::Left(who, order, None));
        }
        self.send(Mail::Left(who, order, Some(stamp)));
    }

    fn left(&mut self, who: usize, order: MoveOrder, stamp: Option<Stamp>) {
        let now = self.moment();
        let Some(stamp) = stamp else { return self.controllers[who].fleet.end_move(now, &order) };
        if !self.controllers[who].fleet.let_go(now, &order, stamp) {
            return;
        }
        self.carry(who, MoveOrder { leave: false, ..order });
    }

    fn taken(&mut self, who: usize, order: &MoveOrder, outcome: Outcome) {
        let now = self.moment();
        let next = match outcome {
            Outcome::Arrived(stamp) => {
                self.controllers[who].fleet.arrived(now, order, stamp);
                return;
            }
            Outcome::Lost => return self.controllers[who].fleet.lose_move(order),
            Outcome::Failed => self.controllers[who].fleet.next_move(now, order),
        };
        if let Ok(next) = next {
            self.say(format!("{who} moves {} on to {} as {}", next.session_id, next.to, next.copy));
            self.carry(who, next);
        }
    }

    /// Something that happens to somebody.
    fn deed(&mut self) {
        let who = self.rng.within(0, CONTROLLERS as u64 - 1) as usize;
        let worker = self.rng.within(0, WORKERS as u64 - 1) as usize;
        let now = self.now;
        match self.rng.within(0, 499) {
            0..=24 => self.create(),
            25..=31 => {
                let on = self.rng.chance(60);
                self.say(format!("drain of w{worker}: {on}"));
                self.controllers.iter_mut().for_each(|controller| {
                    controller.fleet.drain(&name(worker), on);
                });
            }
            32..=37 => {
                self.controllers[who].cut[worker] ^= true;
                self.controllers[who].cut_since[worker] = now;
                self.say(format!("{who} and w{worker} cut: {}", self.controllers[who].cut[worker]));
            }
            38..=42 => self.controllers[who].cut_store ^= true,
            43..=50 => self.join(),
            51..=54 => self.kill(worker),
            55..=60 => self.revive(worker),
            61 => self.restart(who),
            62..=69 => self.quit(worker),
            70..=149 => self.look(),
            150..=153 if self.freezes => self.freeze(who),
            _ => {}
        }
    }

    fn create(&mut self) {
        let Some(who) = self.acting_leader() else { return };
        let body = std::net::IpAddr::from([127, 0, 2, self.rng.within(1, BODIES) as u8]);
        let spec = CreateSpec {
            session_id: SessionId::from_entropy(self.rng.entropy()),
            body: BodyAddr::from(body),
            replace: false,
            engine: "moonlight".into(),
            tried: BTreeSet::new(),
        };
        let now = self.moment();
        let placed = match self.controllers[who].fleet.reserve(now, &spec) {
            Ok(placed) => placed,
            Err(refused) => {
                self.sum.withheld += usize::from(matches!(refused, Refused::Untold(..)));
                return;
            }
        };
        let proof = self.proof(who, index(&placed.worker));
        let knew = proof.and_then(|_| self.list(who, BodyEntry::of_create(&placed)));
        match proof.zip(knew) {
            Some((proof, knew)) => self.send(Mail::Create(who, placed, proof, knew)),
            None => self.controllers[who].fleet.release(&placed.session_id),
        }
    }

    /// Somebody looks at a page: where its worker is not heard of, that asks for a move.
    fn look(&mut self) {
        let Some(who) = self.acting_leader() else { return };
        let all: Vec<SessionId> = self.promised.iter().cloned().collect();
        let pick = self.rng.next() as usize;
        let Some(id) = all.get(pick % all.len().max(1)) else { return };
        let now = self.moment();
        if matches!(self.controllers[who].fleet.lookup(now, id), Route::Down { .. }) {
            self.start_move(who, id);
        }
    }

    fn quit(&mut self, number: usize) {
        let now = self.now;
        let worker = &mut self.workers[number];
        if !worker.alive {
            return;
        }
        let left = worker.copies.iter_mut().find(|(_, copy)| copy.can_be_left());
        if let Some((id, copy)) = left {
            self.sum.left_early += usize::from(copy.state == State::Starting);
            (copy.state, copy.held) = (State::Ended(EndReason::Quit, now), true);
            worker.records.insert(id.clone());
            worker.beat_at = now;
            let words = format!("{id} quits on w{number}");
            self.say(words);
        }
    }

    fn kill(&mut self, number: usize) {
        self.say(format!("w{number} dies"));
        self.sum.died += 1;
        self.workers[number].alive = false;
    }

    /// A new process: what was ready has crashed, what started is gone, the rest is as it was on disk.
    fn revive(&mut self, number: usize) {
        let now = self.now;
        let worker = &mut self.workers[number];
        if worker.alive {
            return;
        }
        worker.copies.retain(|_, copy| copy.state != State::Starting);
        for (id, copy) in worker.copies.iter_mut().filter(|(_, copy)| copy.state == State::Ready) {
            (copy.state, copy.held) = (State::Ended(EndReason::Crashed, now), true);
            worker.records.insert(id.clone());
        }
        worker.generation.boot_ms += 1;
        (worker.alive, worker.born, worker.seq, worker.beat_at) = (true, now, 0, now);
        worker.draining = None;
        self.say(format!("w{number} starts again"));
    }

    fn restart(&mut self, who: usize) {
        self.say(format!("{who} restarts"));
        let now = self.now;
        let controller = &mut self.controllers[who];
        (controller.fleet, controller.since) = (fleet(now), now);
        (controller.leads, controller.told, controller.reads_at) = (None, [0; WORKERS], None);
        (controller.frozen_until, controller.ran, controller.silent) = (0, now, [0; WORKERS]);
        controller.heard.clear();
        self.mail.retain(|(_, mail)| {
            !matches!(mail, Mail::Created(to, ..) | Mail::Left(to, ..) | Mail::Taken(to, ..) if *to == who)
        });
    }

    fn join(&mut self) {
        let now = self.now;
        for controller in &mut self.controllers {
            controller.cut_store = false;
            for worker in 0..WORKERS {
                if std::mem::take(&mut controller.cut[worker]) {
                    controller.cut_since[worker] = now;
                }
            }
        }
    }

    fn check(&self) {
        (0..CONTROLLERS).filter(|who| !self.stands_still(*who)).for_each(|who| self.check_down(who));
        let Some(who) = self.acting_leader() else { return };
        let controller = &self.controllers[who];
        if controller.fleet.settling_until(self.moment()).is_some() {
            return;
        }
        let is_heard = |number: &usize| {
            let worker = &self.workers[*number];
            let since = worker.born.max(controller.cut_since[*number]).max(controller.since);
            worker.alive && !controller.cut[*number] && since + HEARD_MS <= self.now
        };
        for number in (0..WORKERS).filter(is_heard) {
            for (id, copy) in &self.workers[number].copies {
                let since = match copy.state {
                    State::Starting => continue,
                    State::Ready => copy.began,
                    State::Ended(EndReason::Moved, at) => at,
                    State::Ended(..) => continue,
                };
                let route = controller.fleet.lookup(self.moment(), id);
                let unknown = route == Route::Unknown && since + HEARD_MS <= self.now;
                assert!(!unknown, "{who} denies {id}, which w{number} has as {copy:?}");
            }
        }
    }

    fn play(&mut self) {
        (0..STEPS).for_each(|_| self.step());
        self.heal();
    }

    /// Ends all trouble, waits until what is under way is through, and compares the books with the truth.
    fn heal(&mut self) {
        self.quiet = true;
        self.join();
        self.controllers.iter_mut().for_each(|controller| controller.frozen_until = 0);
        (0..WORKERS).for_each(|worker| self.revive(worker));
        for worker in 0..WORKERS {
            self.controllers.iter_mut().for_each(|controller| {
                controller.fleet.drain(&name(worker), false);
            });
        }
        self.say("all is healed".to_owned());
        let patience = MOVE_PATIENCE.as_millis() as u64 + 2 * (CREATE_MS + 20_000) + HEARD_MS;
        (0..patience / STEP_MS).for_each(|_| self.step());
        self.check_healed();
    }

    fn check_healed(&mut self) {
        let now = self.moment();
        let who = self.leader.expect("somebody leads");
        let fleet = &self.controllers[who].fleet;
        assert_eq!(fleet.moves().count(), 0, "a move never ended");
        let mut bodies: BTreeMap<BodyAddr, Vec<&SessionId>> = BTreeMap::new();
        for (number, worker) in self.workers.iter().enumerate() {
            let live: Vec<_> = worker.copies.iter().filter(|(_, copy)| copy.lives()).collect();
            let view = fleet.worker(now, &name(number)).expect("a live worker is unknown");
            assert_eq!((view.active as usize, view.reserved), (live.len(), 0), "slots of w{number}");
            for (id, copy) in live {
                bodies.entry(copy.body).or_default().push(id);
                let route = fleet.lookup(now, id);
                let right = matches!(&route, Route::Worker { worker, .. } if *worker == name(number));
                assert!(right, "{id} is on w{number}, and leads to {route:?}");
            }
            let waits = worker.copies.iter();
            let waits =
                waits.clone().find(|(_, copy)| matches!(copy.state, State::Ended(EndReason::Moved, _)));
            assert!(waits.is_none(), "w{number} was never told what became of {waits:?}");
        }
        for (body, ids) in bodies {
            assert_eq!(ids.len(), 1, "{body} has {ids:?}");
        }
        self.check_records();
        let counts = self.controllers.iter().map(|one| one.fleet.move_counts().given_up as usize);
        self.sum.given_up = counts.sum();
    }
}

fn run(seed: u64) -> World {
    run_in(World::new(seed), seed)
}

fn run_in(mut world: World, seed: u64) -> World {
    let played = catch_unwind(AssertUnwindSafe(|| world.play()));
    if let Err(panic) = played {
        let whole = only_seed().is_some();
        let start = if whole { 0 } else { world.trace.len().saturating_sub(60) };
        eprintln!("{}", world.trace[start..].join("\n"));
        eprintln!("moves: seed {seed} failed; HYDRANECK_SIM_SEED={seed} runs it alone");
        resume_unwind(panic);
    }
    world
}
