//! What is told of the certificate: in health, and by the verb that asks for it.

use std::sync::{PoisonError, RwLock};

use serde_json::{Value, json};

use crate::core::acme::plan::{Held, Plan};
use crate::core::acme::times::WallTime;
use crate::host::clock;

/// Shared with health. Empty until the thread has begun.
#[derive(Debug, Default)]
pub struct Status(RwLock<Told>);

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
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = told;
    }

    fn told(&self) -> Told {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong, in words; `None`: nothing.
    pub fn problem(&self) -> Option<String> {
        let told = self.told();
        told.plan.complaint(now(), told.held.as_ref()).or(told.unkept)
    }

    /// All of it.
    pub fn report(&self) -> Value {
        let (Told { plan, held, unkept }, now) = (self.told(), now());
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

pub(super) fn now() -> WallTime {
    WallTime(clock::unix_millis() / 1000)
}
