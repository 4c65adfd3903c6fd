//! What the controller's calls to a worker teach about it: whether it can be called, and whether its creates succeed.

use std::time::Duration;

use super::failures::{FailedAt, Failures, Trust};
use super::turns::Suspect;
use super::{Called, Fleet, FleetEvent, Work, Worker};
use crate::core::dial_policy::may_dial;
use crate::core::fleet::routing::Bar;
use crate::core::fleet::wire::{Hindrance, Stops};
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::ids::{BodyAddr, WorkerId};
use crate::core::time::Moment;

/// The engine whose sessions need the worker's web-server.
pub(super) const WEB_SERVER_ENGINE: &str = "moonlight";

/// A worker that neither answers a create nor lists its session for this long is called: a session is listed as soon as it begins.
const SILENCE: Duration = Duration::from_secs(10);

/// A call that was asked for and of which nothing was heard for this long was not made.
const CALL_PATIENCE: Duration = Duration::from_secs(30);

impl Fleet {
    /// A worker failed at what was begun at `begun`, for a reason of its own.
    pub fn failed(
        &mut self,
        now: Moment,
        id: &WorkerId,
        begun: Moment,
        (at, reason): (FailedAt, &str),
    ) -> Vec<FleetEvent> {
        let Some(worker) = self.workers.get_mut(id) else { return Vec::new() };
        if at == FailedAt::Call && matches!(worker.called, Called::Asked(_)) {
            worker.called = Called::Never;
        }
        if begun < worker.since {
            return Vec::new(); // another process, or another address
        }
        let before = self.failures.remove(id);
        let (failures, paused) = Failures::add(before, (now, begun), (at, reason), self.settings.back_off);
        let news = match (paused, failures.trust(now), failures.trouble()) {
            (true, Trust::Paused(until), Some(why)) => {
                vec![FleetEvent::WorkerPaused(id.clone(), until.since(now), why)]
            }
            _ => Vec::new(),
        };
        self.failures.insert(id.clone(), failures);
        self.ledger.touch(id);
        news
    }

    /// Workers that another one's success shows to have failed by themselves.
    pub fn suspects_failed(&mut self, now: Moment, suspects: &[Suspect]) -> Vec<FleetEvent> {
        let failed = |suspect: &Suspect| {
            self.failed(now, &suspect.worker, suspect.begun, (FailedAt::Create, &suspect.reason))
        };
        suspects.iter().flat_map(failed).collect()
    }

    /// A worker has started a session.
    pub(super) fn works(&mut self, id: &WorkerId) -> Vec<FleetEvent> {
        if self.failures.contains_key(id) {
            self.ledger.touch(id);
        }
        match self.failures.remove(id) {
            Some(failures) if failures.trouble().is_some() => vec![FleetEvent::WorkerTrusted(id.clone())],
            _ => Vec::new(),
        }
    }

    /// A worker has answered a call: it is alive, and where we believe it to be.
    pub fn answered(&mut self, now: Moment, id: &WorkerId) -> Vec<FleetEvent> {
        let mut news = Vec::new();
        self.tell_health(now, id, &mut news);
        let Some(worker) = self.workers.get_mut(id) else { return Vec::new() };
        worker.heard = worker.heard.max(now);
        self.ledger.touch(id);
        worker.called = Called::Answered;
        worker.call_at = now;
        self.note_offer(id);
        self.tell_health(now, id, &mut news);
        if self.failures.get(id).is_some_and(|failures| failures.at() == FailedAt::Call) {
            news.extend(self.works(id));
        }
        news
    }

    /// Workers to call now: those that were never called, those that could not be when their pause is over, and those that leave
    /// a create without an answer and do not list its session. Each is named once, until it is heard how the call went.
    pub fn calls_due(&mut self, now: Moment) -> Vec<WorkerId> {
        self.count_work(Work { workers: self.workers.len() as u64, ..Work::default() });
        let due: Vec<WorkerId> = (self.workers.iter())
            .filter(|(id, worker)| self.is_call_due(now, id, worker))
            .map(|(id, _)| id.clone())
            .collect();
        due.iter().for_each(|id| self.ask_for_call(now, id));
        due
    }

    /// Whether this worker is to be called now, as [`calls_due`](Fleet::calls_due) says of all: to be asked when it was heard, so
    /// that one that joins need not wait for the round. Named once, too.
    pub fn is_due_for_a_call(&mut self, now: Moment, id: &WorkerId) -> bool {
        let is_due = self.workers.get(id).is_some_and(|worker| self.is_call_due(now, id, worker));
        if is_due {
            self.ask_for_call(now, id);
        }
        is_due
    }

    fn ask_for_call(&mut self, now: Moment, id: &WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.called = Called::Asked(now);
            worker.call_at = now;
        }
        self.note_offer(id);
    }

    fn is_call_due(&self, now: Moment, id: &WorkerId, worker: &Worker) -> bool {
        let asked = match worker.called {
            Called::Asked(at) => !now.reached(at + CALL_PATIENCE),
            Called::Never | Called::Answered => false,
        };
        if asked || worker.stopping || self.health_of(now, worker) == WorkerHealth::Down {
            return false;
        }
        match self.failures.get(id).map(|failures| (failures.at(), failures.trust(now))) {
            Some((FailedAt::Call, trust)) => matches!(trust, Trust::Probation(_)),
            _ if !worker.calls_first => false,
            _ if worker.called != Called::Answered => true,
            _ => now.reached(worker.call_at + SILENCE) && self.ledger.reserved_before(id, now - SILENCE),
        }
    }

    /// Why a worker gets no create of this body and engine now, though it may be up.
    pub(super) fn bar(
        &self,
        now: Moment,
        (id, worker): (&WorkerId, &Worker),
        (body, engine): (BodyAddr, &str),
    ) -> Option<Bar> {
        if let Some(hindrance) = worker.hindrances.iter().find(|hindrance| stops(hindrance, engine)) {
            return Some(Bar::Unfit(hindrance.reason.clone()));
        }
        let allowed = worker.allowed_bodies.as_ref();
        if allowed.is_some_and(|allowed| may_dial(body.ip(), allowed, &[]).is_err()) {
            return Some(Bar::BodyNotAllowed);
        }
        let failures = self.failures.get(id)?;
        let left_alone = match failures.trust(now) {
            Trust::Full => false,
            Trust::Paused(_) => true,
            // A call finds out as well, and costs nobody a create whose answer is lost.
            Trust::Probation(_) if failures.at() == FailedAt::Call && worker.calls_first => true,
            Trust::Probation(since) => self.ledger.starting_since(id, since) > 0,
        };
        let reason = failures.trouble().filter(|_| left_alone)?;
        Some(match failures.at() {
            FailedAt::Call => Bar::Unreachable(reason),
            FailedAt::Create => Bar::Failing(reason),
        })
    }

    /// When a worker that would take this create but for a missing beat or a pause may have one, at the earliest.
    pub(super) fn may_take_at(&self, now: Moment, id: &WorkerId, worker: &Worker) -> Option<Moment> {
        match (self.health_of(now, worker), self.failures.get(id).map(|failures| failures.trust(now))) {
            (WorkerHealth::Down, _) => None,
            (_, Some(Trust::Paused(until))) => Some(until),
            (WorkerHealth::Late, _) | (_, Some(Trust::Probation(_))) => Some(now),
            _ => None,
        }
    }

    /// Why a worker gets no sessions though it is up, in words.
    pub fn trouble_of(&self, id: &WorkerId) -> Option<String> {
        self.failures.get(id)?.trouble()
    }

    /// Whether a worker sends heartbeats and cannot be called.
    pub(super) fn is_unreachable(&self, id: &WorkerId) -> bool {
        let at_the_call =
            |failures: &Failures| failures.at() == FailedAt::Call && failures.trouble().is_some();
        self.failures.get(id).is_some_and(at_the_call)
    }
}

fn stops(hindrance: &Hindrance, engine: &str) -> bool {
    match hindrance.stops {
        Stops::Everything => true,
        Stops::Moonlight => engine == WEB_SERVER_ENGINE,
        Stops::Nothing => false,
    }
}
