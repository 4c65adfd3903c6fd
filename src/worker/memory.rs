//! Starting what outlives sessions: the outbox, the chronicle, and the cards of sessions that an earlier run saw the end of.

use std::sync::Arc;

use crate::config::live::Live;
use crate::daemon::RunError;
use crate::front;
use crate::host::clock::Clock;
use crate::host::private_dir::{DirError, PrivateDir};
use crate::host::pulse::Pulses;
use crate::outbox::{Outbox, OutboxThread};
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
    pub chronicle: Arc<SessionStore>,
    /// To be stopped when nothing is put any more.
    pub thread: OutboxThread,
}

impl Memory {
    /// Takes over what earlier runs left below `state`, and puts the sessions that are still remembered onto the board.
    pub fn start(
        state: &PrivateDir,
        live: &Arc<Live>,
        board: &SessionRegistry,
        clock: Clock,
        pulses: &Pulses,
    ) -> Result<Memory, RunError> {
        let in_state = |error: DirError| RunError(format!("server.state_dir: {error}"));
        let open = |name: &str| state.open_below(name).map_err(in_state);
        let (outbox, thread) = front::outbox(state, live, pulses)?;
        let chronicle = SessionStore::new(open(SESSIONS)?, outbox.clone(), live.clone(), clock);
        let remembered = chronicle.load().map_err(in_state)?;
        if !remembered.is_empty() {
            log::info!("[cleanup] {} ended sessions of an earlier run are remembered", remembered.len());
        }
        for session in remembered {
            let mailbox = Mailbox::closed();
            let card = SessionHandle::past(session, clock.now(), mailbox, board.feeds());
            if let Some(card) = card.map(Arc::new) {
                chronicle.inherit(&card);
                board.add(card);
            }
        }
        Ok(Memory { outbox, chronicle: Arc::new(chronicle), thread })
    }
}
