//! What happened at a simulated body, in its order, so that tests can assert on it.

use std::time::{Duration, Instant};

use serde::Serialize;

/// More is not kept: a test that makes so many has another question.
const MAX_EVENTS: usize = 10_000;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// `getservercert` of a client is waiting for its PIN.
    PairingBegan {
        /// Its unique id.
        client: String,
    },
    /// That pairing is over.
    PairingEnded {
        /// Its unique id.
        client: String,
        /// How.
        outcome: Outcome,
    },
    /// `POST /api/pin`.
    PinPosted {
        /// The digits.
        pin: String,
        /// The name that the client shall have.
        name: String,
        /// Whether a waiting pairing took it.
        accepted: bool,
    },
    /// One client is no longer paired.
    Unpaired {
        /// Its unique id.
        client: String,
    },
    /// No client is paired any longer.
    UnpairedAll,
    /// `POST /api/apps`.
    AppSaved {
        /// Its name.
        name: String,
        /// Below zero it was appended; else the place it had then.
        index: i64,
        /// The whole entry, as JSON text.
        entry: String,
    },
    /// `DELETE /api/apps/{index}`.
    AppDeleted {
        /// Its name.
        name: String,
    },
    /// `POST /api/apps/close`.
    AppClosed {
        /// The app that ran; 0: none did.
        running: u32,
    },
    /// A client began a stream (`/launch` or `/resume`).
    StreamStarted {
        /// Its unique id.
        client: String,
        /// The app that it asked for.
        asked: u32,
        /// The app that it got: one that was running already is resumed whatever was asked for.
        got: u32,
    },
    /// `/cancel` of a client.
    Cancelled {
        /// Its unique id.
        client: String,
    },
    /// hydrabody was told to launch.
    Launched {
        /// The experience's name.
        name: String,
        /// Its program.
        exe_path: String,
    },
    /// hydrabody was told to stop.
    Stopped,
    /// A call was refused: what a correct client never sees.
    Refused {
        /// Its path.
        path: String,
        /// The answer's status.
        status: u16,
        /// What was wrong with it.
        why: String,
    },
    /// All listeners and connections closed.
    Died,
    /// It answers again.
    Revived,
}

/// How a pairing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The client is paired.
    Paired,
    /// The PIN was not the client's.
    WrongPin,
    /// A fault switch made it fail.
    Failed,
    /// A PIN or a phase came that was not its turn: it is forgotten.
    OutOfOrder,
    /// The client left, or never came back with its proof.
    Abandoned,
    /// It never waited: the attempt before was spoilt, or the client is paired already.
    Refused,
    /// The body died.
    Died,
}

/// The list.
#[derive(Debug)]
pub struct Record {
    begun: Instant,
    events: Vec<(Duration, Event)>,
}

impl Record {
    /// An empty list that counts time from now.
    pub fn new() -> Record {
        Record { begun: Instant::now(), events: Vec::new() }
    }

    /// Notes what happened just now.
    pub fn note(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push((self.begun.elapsed(), event));
        }
    }

    /// Everything so far, with the time since the body's start.
    pub fn timeline(&self) -> Vec<(Duration, Event)> {
        self.events.clone()
    }
}
