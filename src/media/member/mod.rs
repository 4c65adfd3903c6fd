//! Members of rooms on the media threads: one peer connection each, on which both sides offer. What they say to each other of who is there is
//! no matter of this; see `core::rooms`.
//!
//! ```text
//!   rooms' thread ─MediaOrder─▶ media-N: RoomMember ─MediaEvent─▶ rooms' thread
//!   member ─RTP─▶ Inbound ─▶ Track ─▶ RoomNews ─▶ followers on this thread and others ─▶ Outbound ─▶ other members
//! ```

pub mod channels;
pub mod inbound;
pub mod join;
pub mod news;
pub mod outbound;
pub mod role;
pub mod rooms;
pub mod sources;
pub mod track;

use std::fmt;
use std::sync::Arc;

use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::rooms::registry::{MediaEvent, MediaOrder};
use crate::media::Media;
use crate::media::ids::PeerId;
use crate::media::role::{Gone, PeerLimit};
use crate::media::shared::Command;

/// Is told what becomes of a member, on its media thread. Must not block.
pub type Events = Arc<dyn Fn(MediaEvent) + Send + Sync>;

/// Somebody who joins a room.
pub struct MemberSetup {
    /// Whose room.
    pub namespace: NamespaceName,
    /// Which.
    pub room: RoomId,
    /// The member's name, as the room knows it.
    pub peer: PeerId,
    /// Where it lives.
    pub place: RoomPlace,
    /// Who is told what becomes of it.
    pub events: Events,
    /// What it may.
    pub limits: MemberLimits,
}

impl fmt::Debug for MemberSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberSetup({} in {})", self.peer, self.namespace)
    }
}

/// On which media thread a member lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomPlace {
    /// With the room's first one, who goes where the fewest peers are: what a room says then stays on one thread.
    #[default]
    WithTheRoom,
    /// On this one.
    Thread(usize),
}

/// What a member may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLimits {
    /// Tracks that it sends at once.
    pub tracks: usize,
    /// Bits per second of each of its pictures, as it is asked for by `b=TIAS`.
    pub picture_bits: u64,
}

impl Default for MemberLimits {
    /// A camera, a screen and the sound of both; a picture of 720p.
    fn default() -> MemberLimits {
        MemberLimits { tracks: 4, picture_bits: 2_500_000 }
    }
}

/// Why nobody joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinRefused {
    /// This worker holds no rooms.
    NotHere,
    /// There is somebody of that name.
    Taken,
    /// There is no place for another peer.
    NoPlace(PeerLimit),
    /// Media threads are busy.
    Busy,
    /// This host cannot: the words say what to do.
    Host(String),
}

impl fmt::Display for JoinRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinRefused::NotHere => f.write_str("this worker holds no rooms (rooms.enabled)"),
            JoinRefused::Taken => f.write_str("there is a member of that name"),
            JoinRefused::NoPlace(limit) => f.write_str(limit.words()),
            JoinRefused::Busy => f.write_str("media threads are busy"),
            JoinRefused::Host(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for JoinRefused {}

/// A member, as long as this lives. Everything here is a message to its media thread: nothing blocks.
pub struct Member {
    media: Media,
    peer: PeerId,
    thread: usize,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({} on thread {})", self.peer, self.thread)
    }
}

impl Member {
    /// Does what its room says. Of messages the thread may have too many; all else is carried out.
    pub fn order(&self, order: MediaOrder) {
        // It leaves when it is dropped, which is next.
        if order == MediaOrder::Leave {
            return;
        }
        let Some(line) = self.media.0.threads.get(self.thread) else { return };
        if line.tell(Command::Order(self.peer, order)).is_err() {
            self.media.0.counters.dropped.one();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.media.close(&self.peer, Gone::Closed);
    }
}
