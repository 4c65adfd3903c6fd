//! The transitions. See the diagram in the parent module.

use std::time::Duration;

use crate::core::fleet::turns::Fault;
use crate::core::session::expiry::{Expiry, Presence};
use crate::core::session::reason::EndReason;
use crate::core::session::restart::RestartBudget;
use crate::core::session::{Action, Event, Failure, FailureKind, Status};
use crate::core::time::Moment;

/// How long after SIGKILL a process may still be listed before we say so and go on: only a process stuck in the
/// kernel survives that, and the session's slot must not be stuck with it.
pub const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// The times and budgets of a session.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From request to ready.
    pub create_timeout: Duration,
    /// From spawn to the first answer.
    pub ready_timeout: Duration,
    /// From SIGINT to SIGKILL.
    pub stop_grace: Duration,
    /// Restarts of a crashed child.
    pub restarts: RestartBudget,
    /// Ends without anybody asking.
    pub expiry: Expiry,
    /// It comes from another worker, and has not arrived before it is ready.
    pub arrives: bool,
}

/// What the current state is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Requested,
    Preparing,
    /// The child was spawned, or is about to be; it must answer until then.
    Starting {
        until: Option<Moment>,
    },
    /// A crashed child's group is being cleared.
    Clearing {
        until: Moment,
    },
    /// Waiting to spawn again.
    BackOff {
        until: Moment,
    },
    Pairing,
    Open,
    /// SIGINT sent; SIGKILL then.
    Interrupted {
        until: Moment,
    },
    /// SIGKILL sent; patience ends then.
    Killed {
        until: Moment,
    },
    CleaningUp,
    Ended,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    limits: Limits,
    phase: Phase,
    requested: Moment,
    /// Set once, when the session first became ready.
    ready_since: Option<Moment>,
    presence: Presence,
    connections: u32,
    child_alive: bool,
    ending: Option<EndReason>,
    reported: bool,
}

impl Session {
    /// A session that was asked for at `now`.
    pub fn new(limits: Limits, now: Moment) -> Session {
        Session {
            limits,
            phase: Phase::Requested,
            requested: now,
            ready_since: None,
            presence: Presence::Awaited(now),
            connections: 0,
            child_alive: false,
            ending: None,
            reported: false,
        }
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        match (&self.phase, self.ending) {
            (Phase::Ended, Some(reason)) => Status::Ended(reason),
            (_, Some(reason)) => Status::Ending(reason),
            (Phase::Requested, _) => Status::Requested,
            (Phase::Preparing, _) => Status::Preparing,
            (Phase::Starting { .. } | Phase::Clearing { .. } | Phase::BackOff { .. }, _) => Status::Starting,
            (Phase::Pairing, _) => Status::Pairing,
            _ => self.open_status(),
        }
    }

    /// Restarts of the child so far.
    pub fn restarts(&self) -> u32 {
        self.limits.restarts.used()
    }

    /// Whether the session was ever ready.
    pub fn was_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// When the supervisor has to send [`Event::Tick`] at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let own = match self.phase {
            Phase::Starting { until } => until,
            Phase::Clearing { until } | Phase::BackOff { until } => Some(until),
            Phase::Interrupted { until } | Phase::Killed { until } => Some(until),
            _ => None,
        };
        [own, self.create_deadline(), self.expiry().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// Feeds one event; returns what has to be done, in order.
    pub fn input(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = match event {
            Event::Begin => self.on_begin(),
            Event::Prepared => self.on_prepared(),
            Event::Spawned => self.on_spawned(now),
            Event::Answered => self.on_answered(now),
            Event::Paired => self.on_paired(now),
            Event::Failed(failure) => self.on_failed(now, failure),
            Event::Exited(how) => self.on_exited(now, &how),
            Event::Hung(how) => self.on_hung(now, &how),
            Event::Connections(count) => self.on_connections(now, count),
            Event::End(reason) => self.on_end(now, reason, None),
            Event::GroupGone => self.on_group_gone(now),
            Event::Cleaned => self.on_cleaned(),
            Event::Tick => Vec::new(),
        };
        actions.extend(self.on_time(now));
        self.check_invariants();
        actions
    }

    fn open_status(&self) -> Status {
        match self.presence {
            Presence::Awaited(_) => Status::Ready,
            Presence::Here => Status::Streaming,
            Presence::Gone(_) => Status::Idle,
        }
    }

    fn create_deadline(&self) -> Option<Moment> {
        let creating = self.ready_since.is_none() && self.ending.is_none();
        creating.then(|| self.requested + self.limits.create_timeout)
    }

    fn expiry(&self) -> Option<(Moment, EndReason)> {
        let ready = self.ready_since.filter(|_| self.ending.is_none())?;
        // While the child is being restarted nobody can be connected: only the total duration counts.
        let presence = if self.phase == Phase::Open { self.presence } else { Presence::Here };
        self.limits.expiry.next(ready, presence)
    }

    fn on_begin(&mut self) -> Vec<Action> {
        if self.phase != Phase::Requested || self.ending.is_some() {
            return Vec::new();
        }
        self.phase = Phase::Preparing;
        vec![Action::Prepare]
    }

    fn on_prepared(&mut self) -> Vec<Action> {
        if self.phase != Phase::Preparing {
            return Vec::new();
        }
        self.phase = Phase::Starting { until: None };
        vec![Action::Spawn]
    }

    fn on_spawned(&mut self, now: Moment) -> Vec<Action> {
        self.child_alive = true;
        match self.phase {
            Phase::Starting { .. } => {
                self.phase = Phase::Starting { until: Some(now + self.limits.ready_timeout) };
                vec![Action::Probe]
            }
            _ => Vec::new(),
        }
    }

    fn on_answered(&mut self, now: Moment) -> Vec<Action> {
        if !matches!(self.phase, Phase::Starting { until: Some(_) }) || !self.child_alive {
            return Vec::new();
        }
        if self.ready_since.is_some() {
            return self.open_again(now);
        }
        self.phase = Phase::Pairing;
        vec![Action::Pair]
    }

    fn on_paired(&mut self, now: Moment) -> Vec<Action> {
        if self.phase != Phase::Pairing || !self.child_alive {
            return Vec::new();
        }
        self.phase = Phase::Open;
        self.ready_since = Some(now);
        self.presence = Presence::Awaited(now);
        self.reported = true;
        vec![Action::Open, Action::ReportReady]
    }

    /// The child is back with its port, directory and pairing; browsers get their full time to return.
    fn open_again(&mut self, now: Moment) -> Vec<Action> {
        self.phase = Phase::Open;
        self.presence = match (self.presence, self.connections) {
            (Presence::Awaited(_), 0) => Presence::Awaited(now),
            (_, 0) => Presence::Gone(now),
            _ => Presence::Here,
        };
        vec![Action::Open]
    }

    fn on_failed(&mut self, now: Moment, failure: Failure) -> Vec<Action> {
        let starting = matches!(self.phase, Phase::Preparing | Phase::Starting { .. } | Phase::Pairing);
        if self.ending.is_some() || !starting {
            return Vec::new();
        }
        if self.ready_since.is_none() {
            return self.on_end(now, EndReason::CreateFailed, Some(failure));
        }
        // Only a restart can fail here: its spawn, or the child's first answer.
        let mut actions = vec![Action::Alert(format!("restart failed: {}", failure.detail))];
        actions.extend(self.restart_or_end(now));
        actions
    }

    fn on_exited(&mut self, now: Moment, how: &str) -> Vec<Action> {
        if !self.child_alive {
            return Vec::new();
        }
        self.child_alive = false;
        if matches!(self.phase, Phase::Clearing { .. }) {
            return Vec::new();
        }
        if self.ending.is_some() {
            return vec![Action::Clear];
        }
        if self.ready_since.is_none() {
            let failure =
                Failure::new(FailureKind::StreamProcess, format!("the stream process died ({how})"));
            return self.on_end(now, EndReason::CreateFailed, Some(failure));
        }
        let mut actions = vec![Action::Alert(format!("stream process died ({how})"))];
        actions.extend(self.restart_or_end(now));
        actions
    }

    /// A child that answers nothing is as good as dead; it does not end by itself.
    fn on_hung(&mut self, now: Moment, how: &str) -> Vec<Action> {
        if self.phase != Phase::Open || self.ending.is_some() || !self.child_alive {
            return Vec::new();
        }
        let mut actions = vec![Action::Alert(format!("stream process hangs ({how}): it is restarted"))];
        actions.extend(self.restart_or_end(now));
        actions
    }

    /// After a crash: clear what is left of the group first, restart or end then.
    fn restart_or_end(&mut self, now: Moment) -> Vec<Action> {
        self.phase = Phase::Clearing { until: now + KILL_PATIENCE };
        vec![Action::Suspend, Action::Kill, Action::Clear]
    }

    fn on_connections(&mut self, now: Moment, count: u32) -> Vec<Action> {
        self.connections = count;
        self.presence = match (self.presence, count) {
            (Presence::Here, 0) => Presence::Gone(now),
            (absent, 0) => absent,
            _ => Presence::Here,
        };
        Vec::new()
    }

    fn on_end(&mut self, now: Moment, reason: EndReason, failure: Option<Failure>) -> Vec<Action> {
        if self.ending.is_some() {
            return Vec::new();
        }
        let early = Failure::new(FailureKind::EndedEarly, format!("it ended as {reason}"));
        let (reason, early) = match self.has_only_not_arrived(reason) {
            true => (EndReason::CreateFailed, early.by(Fault::Elsewhere)),
            false => (reason, early),
        };
        self.ending = Some(reason);
        let mut actions = Vec::new();
        if !self.reported {
            self.reported = true;
            actions.push(Action::ReportFailure(failure.unwrap_or(early)));
        }
        actions.extend(self.take_down(now));
        actions
    }

    /// What ends here is not the session: its worker stops while it is on its way there, say.
    fn has_only_not_arrived(&self, reason: EndReason) -> bool {
        let on_its_way = self.limits.arrives && self.ready_since.is_none();
        on_its_way && !reason.is_wanted() && reason != EndReason::Moved
    }

    fn take_down(&mut self, now: Moment) -> Vec<Action> {
        match self.phase {
            Phase::Requested | Phase::Preparing => self.clean_up(),
            // The group is being cleared already; on_group_gone goes on.
            Phase::Clearing { .. } => vec![Action::Suspend],
            _ if self.child_alive => {
                self.phase = Phase::Interrupted { until: now + self.limits.stop_grace };
                vec![Action::Suspend, Action::Interrupt]
            }
            _ => {
                self.phase = Phase::Killed { until: now + KILL_PATIENCE };
                vec![Action::Suspend, Action::Kill, Action::Clear]
            }
        }
    }

    fn on_group_gone(&mut self, now: Moment) -> Vec<Action> {
        self.child_alive = false;
        match self.phase {
            Phase::Clearing { .. } if self.ending.is_some() => self.clean_up(),
            Phase::Clearing { .. } => self.back_off_or_crash(now),
            Phase::Interrupted { .. } | Phase::Killed { .. } => self.clean_up(),
            _ => Vec::new(),
        }
    }

    fn back_off_or_crash(&mut self, now: Moment) -> Vec<Action> {
        match self.limits.restarts.take() {
            Some(pause) => {
                self.phase = Phase::BackOff { until: now + pause };
                Vec::new()
            }
            None => {
                self.ending = Some(EndReason::Crashed);
                let alert = format!("gave up after {} restarts", self.limits.restarts.used());
                let mut actions = vec![Action::Alert(alert)];
                actions.extend(self.clean_up());
                actions
            }
        }
    }

    fn clean_up(&mut self) -> Vec<Action> {
        self.phase = Phase::CleaningUp;
        vec![Action::CleanUp { keep_log: self.ending == Some(EndReason::Crashed) }]
    }

    fn on_cleaned(&mut self) -> Vec<Action> {
        match (&self.phase, self.ending) {
            (Phase::CleaningUp, Some(reason)) => {
                self.phase = Phase::Ended;
                vec![Action::Finish(reason)]
            }
            _ => Vec::new(),
        }
    }

    fn on_time(&mut self, now: Moment) -> Vec<Action> {
        if self.create_deadline().is_some_and(|at| now.reached(at)) {
            let detail = format!(
                "not ready after {} ms, {} was under way",
                now.since(self.requested).as_millis(),
                self.status()
            );
            return self.on_end(
                now,
                EndReason::CreateFailed,
                Some(Failure::new(FailureKind::Timeout, detail)),
            );
        }
        if let Some((at, reason)) = self.expiry()
            && now.reached(at)
        {
            return self.on_end(now, reason, None);
        }
        match self.phase {
            Phase::Starting { until: Some(until) } if now.reached(until) => {
                self.on_failed(now, self.not_ready())
            }
            Phase::BackOff { until } if now.reached(until) => {
                self.phase = Phase::Starting { until: None };
                vec![Action::Spawn]
            }
            Phase::Interrupted { until } if now.reached(until) => {
                self.phase = Phase::Killed { until: now + KILL_PATIENCE };
                vec![Action::Kill, Action::Clear]
            }
            Phase::Clearing { until } | Phase::Killed { until } if now.reached(until) => {
                self.out_of_patience(now)
            }
            _ => Vec::new(),
        }
    }

    fn not_ready(&self) -> Failure {
        let detail =
            format!("the stream process did not answer within {} ms", self.limits.ready_timeout.as_millis());
        Failure::new(FailureKind::StreamProcess, detail)
    }

    fn out_of_patience(&mut self, now: Moment) -> Vec<Action> {
        let mut actions =
            vec![Action::Alert("a killed process does not go away; going on without it".to_owned())];
        actions.extend(self.on_group_gone(now));
        actions
    }

    /// What holds after every event.
    fn check_invariants(&self) {
        debug_assert!(
            self.phase != Phase::Ended || self.ending.is_some(),
            "ended without a reason: {self:?}"
        );
        debug_assert!(self.phase != Phase::Ended || !self.child_alive, "ended with a live child: {self:?}");
        debug_assert!(
            self.phase != Phase::Open || self.ready_since.is_some(),
            "open but never ready: {self:?}"
        );
        debug_assert!(
            self.ending.is_none() || self.reported,
            "ending but its creator was not told: {self:?}"
        );
        debug_assert!(
            self.phase == Phase::Ended
                || self.phase == Phase::CleaningUp
                || self.next_deadline().is_some()
                || self.waits_for_event(),
            "nothing will ever happen: {self:?}"
        );
    }

    /// States that may wait without a deadline: a browser is here.
    fn waits_for_event(&self) -> bool {
        self.ending.is_none()
            && self.ready_since.is_some()
            && !matches!(self.phase, Phase::Starting { until: Some(_) })
    }
}
