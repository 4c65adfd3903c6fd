//! Names within a room.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// One member of a room, as the others see it: 32 hexadecimal digits. It opens nothing, so it may be told to everybody in the room.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PeerId(#[serde(serialize_with = "as_text")] Arc<str>);

impl PeerId {
    /// Makes a name from fresh entropy.
    pub fn from_entropy(entropy: [u8; 16]) -> PeerId {
        PeerId(format!("{:032x}", u128::from_be_bytes(entropy)).into())
    }

    /// As it stands in messages.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

/// One signalling connection of this worker. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One member of a room of this worker, whatever its connection is now: the number of the one by which it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl From<ConnectionId> for MemberId {
    fn from(joined_by: ConnectionId) -> MemberId {
        MemberId(joined_by.0)
    }
}

/// Writes a shared text, which serde does only with a feature of its own.
pub fn as_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
