//! Namespaces on the controller: it keeps them, and brings copies to the workers that serve them.
//!
//! ```text
//!  api-N ──changes──▶ namespaces ──files──▶ state directory
//!                      │  ├──puts──▶ registry ◀──looks── edge-N, api-N
//!                      │  │              ▲ what others wrote
//!                      │  ├──keeps──▶ lease ◀──▶ etcd, where several controllers share a lease
//!                      └──copies, by HTTP──▶ workers ──beats──▶ fleet ──what they have──▶ registry
//! ```
//!
//! A change is on the disk before it counts, or in etcd where controllers share a lease, and with the workers before it is answered, as far
//! as they are reached. One that is not gets its copy with the reply to its next heartbeat: the beat says which copies it has.

mod answers;
mod changes;
mod registry;
mod thread;

pub use answers::{in_health, problems};
pub use changes::Change;
pub use registry::NamespaceRegistry;
pub use thread::{Files, NamespacesThread, Tell};

use crate::api::reply::{Answer, Responder};
use crate::api::routes::Operation;
use crate::api::server::Call;

/// The namespaces' part of the control API.
#[derive(Clone)]
pub struct NamespaceService {
    /// What is known.
    pub registry: NamespaceRegistry,
    /// Who changes it.
    pub tell: Tell,
}

impl NamespaceService {
    /// Answers what is asked of namespaces; what changes something is answered by the `namespaces` thread.
    pub fn call(&self, call: &Call, responder: Responder) {
        if !self.registry.is_enabled() {
            return responder.send(answers::not_enabled());
        }
        match call.operation {
            Operation::ListNamespaces => responder.send(answers::list(&self.registry)),
            Operation::NamespaceStatus => responder.send(self.of(call, answers::status)),
            Operation::ListRoomTokens => responder.send(self.of(call, answers::tokens)),
            _ => match Change::of(call) {
                Ok(change) => self.tell.change(change, responder),
                Err(refusal) => responder.send(refusal),
            },
        }
    }

    fn of(
        &self,
        call: &Call,
        answer: impl FnOnce(&NamespaceRegistry, &crate::core::namespaces::state::NamespaceState) -> Answer,
    ) -> Answer {
        let found = call.id.parse().ok().and_then(|name| self.registry.get(&name));
        found.map_or_else(answers::unknown, |state| answer(&self.registry, &state))
    }
}
