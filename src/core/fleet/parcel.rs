//! What goes with a session that moves: all that its next worker needs to go on with it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::ids::{SessionId, WorkerId};
use crate::core::records::rating::Given;
use crate::core::records::record::Facts;
use crate::core::session::timeline::Timeline;

/// A session on its way. It prints without the request, which may hold a password, and without the link.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// The create request, as a controller sends it.
    pub request: Value,
    /// The outside URL of whom the create asked.
    pub base_url: String,
    /// The id of its link that only watches, which stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view_id: Option<SessionId>,
    /// The worker that had it.
    pub from: WorkerId,
    /// Which copy of the session it becomes.
    pub copy: u32,
    /// What its record goes on with.
    #[serde(default)]
    pub carried: Carried,
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parcel(copy {} from {})", self.copy, self.from)
    }
}

/// What a session has lived through at the workers before. After the death of a worker only its age is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Carried {
    /// Since it was asked for, in milliseconds.
    pub lived_ms: u64,
    /// How often it has moved until now.
    pub moves: u32,
    /// How often a browser connected.
    pub connects: u32,
    /// Restarts of its stream process.
    pub restarts: u32,
    /// How long its microphone sent, in milliseconds.
    pub mic_ms: u64,
    /// Its page's last word.
    pub facts: Facts,
    /// What the person thought.
    pub given: Option<Given>,
    /// What happened to it.
    pub timeline: Option<Timeline>,
}
