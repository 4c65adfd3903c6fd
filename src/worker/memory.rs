//! Starting what outlives sessions: the outbox, the store, and the handles of sessions that an earlier run saw the end of.

use std::sync::Arc;

use crate::config::live::Live;
use crate::daemon::RunError;
use crate::host::clock::Clock;
use crate::host::private_dir::{DirError, PrivateDir};
use crate::host::pulse::Pulses;
use crate::outbox::{Outbox, OutboxThread};
use crate::server;
use crate::worker::mailbox::Mailbox;
use crate::worker::registry::{SessionHandle, SessionRegistry};
use crate::worker::session_store::SessionStore;

/// In the state directory.
const SESSIONS: &str = "sessions";

/// What outlives sessions.
pub struct Memory {
    /// Deliveries.
    pub outbox: Outbox,
    /// Files of sessions.
    pub store: Arc<SessionStore>,
    /// To be stopped when nothing is put any more.
    pub thread: OutboxThread,
}

impl Memory {
    /// Takes over what earlier runs left below `state`, and puts the sessions that are still remembered into the registry.
    pub fn start(
        state: &PrivateDir,
        live: &Arc<Live>,
        registry: &SessionRegistry,
        clock: Clock,
        pulses: &Pulses,
    ) -> Result<Memory, RunError> {
        let in_state = |error: DirError| RunError(format!("server.state_dir: {error}"));
        let open = |name: &str| state.open_below(name).map_err(in_state);
        let (outbox, thread) = server::outbox(state, live, pulses)?;
        let store = SessionStore::new(open(SESSIONS)?, outbox.clone(), live.clone(), clock);
        let remembered = store.load().map_err(in_state)?;
        if !remembered.is_empty() {
            log::info!("[cleanup] {} ended sessions of an earlier run are remembered", remembered.len());
        }
        for session in remembered {
            let mailbox = Mailbox::closed();
            let handle = SessionHandle::past(session, clock.now(), mailbox, registry.feeds());
            if let Some(handle) = handle.map(Arc::new) {
                store.inherit(&handle);
                registry.add(handle);
            }
        }
        Ok(Memory { outbox, store: Arc::new(store), thread })
    }
}
