//! What happens to the world: creates, ends, deaths, partitions, restarts, and the healing of it all.

use std::net::IpAddr;

use hydraneckwebrtc::core::fleet::disputes::Disputes;
use hydraneckwebrtc::core::fleet::turns::Course;
use hydraneckwebrtc::core::fleet::{CreateSpec, Refused, Route};
use hydraneckwebrtc::core::ids::{BodyAddr, SessionId};
use hydraneckwebrtc::core::session::reason::EndReason;

use crate::world::{Message, TIMEOUT_MS, Weather, World, fresh_fleet};

impl World {
    /// One random deed.
    pub fn act(&mut self) {
        let n = self.rng.within(0, self.workers.len() as u64 - 1) as usize;
        match self.rng.within(0, 99) {
            0..=44 => self.create(),
            45..=59 => self.end_one(n),
            60..=69 => self.delete_one(n),
            70..=74 => {
                let on = self.rng.chance(30);
                let id = self.workers[n].id.clone();
                if self.fleet.drain(&id, on) {
                    self.drains.insert(id, on);
                }
            }
            75..=79 => self.kill(n),
            80..=84 => self.cut_off(n),
            85..=87 if self.weather == Weather::Storm => self.restart_controller(),
            _ => {}
        }
    }

    fn create(&mut self) {
        let body = BodyAddr::from(IpAddr::from([10, 10, 0, self.rng.within(1, 8) as u8]));
        let session_id = SessionId::from_entropy(self.rng.entropy());
        let (engine, tried) = ("moonlight".to_owned(), Default::default());
        let spec = CreateSpec { session_id, body, replace: self.rng.chance(30), engine, tried };
        match self.fleet.reserve(self.moment(), &spec) {
            Ok(placed) => self.launch(placed, Course::default()),
            Err(Refused::MustEnd { session_id, worker, .. }) => {
                let n = self.index(&worker);
                self.delete(n, session_id);
            }
            Err(refused) => self.note(format!("refused: {refused}")),
        }
    }

    fn delete(&mut self, n: usize, id: SessionId) {
        let now = self.now;
        let worker = &mut self.workers[n];
        if !worker.callable() {
            self.fleet.condemn(&id, EndReason::Deleted);
            return;
        }
        worker.end(now, &id, EndReason::Deleted);
        let stamp = worker.stamp();
        self.note(format!("{id} deleted"));
        let delay = self.rng.within(1, 300);
        self.send(delay, Message::Deleted(id, stamp));
    }

    fn one_of(&mut self, n: usize) -> Option<SessionId> {
        let live: Vec<SessionId> = self.workers[n].live().map(|(id, _)| id.clone()).collect();
        let pick = self.rng.next() as usize;
        live.get(pick % live.len().max(1)).cloned()
    }

    fn end_one(&mut self, n: usize) {
        if let Some(id) = self.one_of(n) {
            self.note(format!("{id} quits"));
            self.workers[n].end(self.now, &id, EndReason::Quit);
        }
    }

    fn delete_one(&mut self, n: usize) {
        if let Some(id) = self.one_of(n)
            && let Route::Worker { worker, .. } = self.fleet.lookup(self.moment(), &id)
        {
            let n = self.index(&worker);
            self.delete(n, id);
        }
    }

    fn kill(&mut self, n: usize) {
        if self.workers[n].alive && self.roll(Weather::Lossy, 100) {
            self.note(format!("worker {n} dies"));
            self.workers[n].die();
            let delay = self.rng.within(10, 120_000);
            self.send(delay, Message::Start(n));
        }
    }

    fn cut_off(&mut self, n: usize) {
        if !self.workers[n].cut_off && self.roll(Weather::Storm, 100) {
            self.note(format!("worker {n} cut off"));
            self.workers[n].cut_off = true;
            let delay = self.rng.within(1_000, 150_000);
            self.send(delay, Message::Heal(n));
        }
    }

    /// All that the controller knew and waited for is gone; answers find nobody.
    pub fn restart_controller(&mut self) {
        self.note("controller restarts".to_owned());
        self.processes += 1;
        self.fleet = fresh_fleet(self.now, self.processes, self.fleet.identities());
        self.shown = Default::default();
        self.disputes = Disputes::default();
        self.flows.clear();
        self.courses.clear();
        self.wasted = 0;
        self.newest.clear();
        self.drains.clear();
        self.told.clear();
        self.over.clear();
        self.abandoned.clear();
        self.launched.clear();
        self.controller_since = self.now;
        self.queue.retain(|_, message| {
            !matches!(
                message,
                Message::Answer(..) | Message::Deleted(..) | Message::NotBegun(..) | Message::Deadline(_)
            )
        });
    }

    /// Cuts a worker off for longer than the time-out while its bodies are asked for again: the way to two sessions of
    /// one body.
    pub fn split(&mut self) {
        self.workers[0].cut_off = true;
        self.note("worker 0 is split off".to_owned());
        self.pass(TIMEOUT_MS + 2_000);
        for _ in 0..20 {
            self.create();
            self.pass(2_000);
        }
    }

    /// The end of all trouble: everybody lives and is connected, nothing new is asked for.
    pub fn heal(&mut self) {
        self.note("all is healed".to_owned());
        self.quiet = true;
        self.queue.retain(|_, message| !matches!(message, Message::Start(_) | Message::Heal(_)));
        for n in 0..self.workers.len() {
            self.workers[n].cut_off = false;
            if !self.workers[n].alive {
                let nonce = self.rng.next();
                self.workers[n].start(self.now, nonce);
            }
        }
    }
}
