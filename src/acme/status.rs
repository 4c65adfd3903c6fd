//! What is told of the certificate: in health, and by the verb that asks for it.

use std::sync::{PoisonError, RwLock};

use serde_json::{Value, json};

use crate::metrics::counter::Tally;

use crate::acme::protocol::plan::{Held, Plan};
use crate::core::wall_time::WallTime;
use crate::host::clock::wall_time;

/// What becomes of a try.
const RESULTS: &[&str] = &["issued", "failed"];

/// Shared with health. Empty until the thread has begun.
#[derive(Debug)]
pub struct Status {
    told: RwLock<Told>,
    /// Tries since the start, by what became of them.
    pub tries: Tally,
}

impl Default for Status {
    fn default() -> Status {
        Status { told: RwLock::default(), tries: Tally::new(RESULTS) }
    }
}

/// Numbers and words of the certificate, for metrics and webhooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The names that are wanted.
    pub names: Vec<String>,
    /// From when until when the one in use is good.
    pub validity: Option<(WallTime, WallTime)>,
    /// Tries that failed since one succeeded.
    pub failures: u32,
    /// When the next one is.
    pub next_try: WallTime,
    /// What is wrong that somebody must know, without times that go on.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Told {
    plan: Plan,
    held: Option<Held>,
    /// Why what is served is not kept.
    unkept: Option<String>,
}

impl Status {
    pub(super) fn tell(&self, plan: &Plan, held: Option<&Held>, unkept: Option<&str>) {
        let told = Told { plan: plan.clone(), held: held.cloned(), unkept: unkept.map(str::to_owned) };
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = told;
    }

    fn told(&self) -> Told {
        self.told.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong, in words; `None`: nothing.
    pub fn problem(&self) -> Option<String> {
        let told = self.told();
        told.plan.complaint(wall_time(), told.held.as_ref()).or(told.unkept)
    }

    /// Numbers and words.
    pub fn facts(&self) -> Facts {
        let (Told { plan, held, unkept }, now) = (self.told(), wall_time());
        let complaint = plan.complaint(now, held.as_ref());
        // At the very first there is no problem yet, only no certificate.
        let trouble = complaint.filter(|_| plan.problem.is_some() || held.is_some());
        Facts {
            validity: held.as_ref().map(|held| (held.not_before, held.not_after)),
            failures: plan.failures,
            next_try: plan.next(now, held.as_ref()).max(now),
            trouble: trouble.map(|complaint| plan.problem.clone().unwrap_or(complaint)).or(unkept),
            names: plan.names,
        }
    }

    /// All of it.
    pub fn report(&self) -> Value {
        let (Told { plan, held, unkept }, now) = (self.told(), wall_time());
        let next = plan.next(now, held.as_ref());
        let text = |at: WallTime| at.rfc3339();
        json!({
            "names": held.as_ref().map_or(&plan.names, |held| &held.names),
            "wanted_names": plan.names,
            "directory": plan.directory,
            "issuer": held.as_ref().map(|held| &held.issuer),
            "serial": held.as_ref().map(|held| &held.serial),
            "not_before": held.as_ref().map(|held| text(held.not_before)),
            "not_after": held.as_ref().map(|held| text(held.not_after)),
            "seconds_left": held.as_ref().map(|held| held.not_after.since(now)),
            "next_try": text(next.max(now)),
            "failures": plan.failures,
            "last_problem": plan.problem.or(unkept),
            "explanation": plan.suggested.and_then(|suggested| suggested.explanation),
        })
    }
}
