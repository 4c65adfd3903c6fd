//! Members of rooms on the media threads: one peer connection each, on which both sides offer. What they say to each other of who is there is
//! no matter of this; see `core::rooms`.
//!
//! ```text
//!   rooms' thread ─Order─▶ media-N: RoomMember ─MemberEvent─▶ rooms' thread
//!   member ─RTP─▶ Inbound ─▶ Track ─▶ RoomNews ─▶ followers on this thread and others ─▶ Outbound ─▶ other members
//! ```

pub mod channels;
pub mod inbound;
pub mod join;
pub mod news;
pub mod outbound;
pub mod role;
pub mod rooms;
pub mod track;

use std::fmt;
use std::sync::Arc;

use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::rooms::tracks::{DataMessage, MediaKind, TrackId};
use crate::media::Media;
use crate::media::ids::PeerId;
use crate::media::role::{Gone, PeerLimit};
use crate::media::shared::Command;

/// Is told what becomes of a member, on its media thread. Must not block.
pub type Events = Arc<dyn Fn(MemberEvent) + Send + Sync>;

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

/// What becomes of a member.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberEvent {
    /// An offer of ours for its client.
    Offer(String),
    /// The answer to its client's.
    Answer(String),
    /// Its client's offer is not answered.
    OfferRefused {
        /// The error's name.
        code: &'static str,
        /// What to change.
        words: String,
    },
    /// Its client's answer is not taken.
    AnswerRefused {
        /// The error's name.
        code: &'static str,
        /// What is wrong.
        words: String,
    },
    /// Media may flow, perhaps again.
    Connected,
    /// Nothing arrives.
    Trouble,
    /// It is over; the last event.
    Gone(String),
    /// It sends a track: its first packet is there.
    TrackStarted {
        /// Its name in the room.
        track: TrackId,
        /// Sound or pictures.
        kind: MediaKind,
        /// The section of its connection that it comes in.
        mid: String,
        /// The name of the stream under which others get it: the same for all of a member.
        stream: String,
    },
    /// It sends a track no more.
    TrackEnded {
        /// Its name in the room.
        track: TrackId,
    },
    /// A track that it follows has a section of its connection.
    Placed {
        /// The track.
        track: TrackId,
        /// The section.
        mid: String,
    },
    /// How loud it is, at most ten times a second.
    AudioLevel {
        /// Its name in the room.
        track: TrackId,
        /// 0 is the loudest, 127 silence: RFC 6464's −dBov.
        level: u8,
        /// Whether its client takes it for a voice.
        voice: bool,
    },
    /// It said something on a data channel.
    Data {
        /// The channel's label.
        label: String,
        /// What it said.
        message: DataMessage,
        /// Whether it is to arrive for certain.
        reliable: bool,
    },
    /// It said more than it may, or opened one channel too many; that is lost. In words for it, at most once a second.
    RateLimited(&'static str),
    /// Its client tries to reach us without a relay, which comes to nothing. At most once in ten seconds.
    NotRelayed,
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

/// What a member is told by who speaks with its client.
#[derive(Debug)]
pub enum Order {
    /// Its client offers.
    Offer(String),
    /// Its client answers.
    Answer(String),
    /// It is to be sent this track.
    Follow(TrackId),
    /// And this one no more.
    Unfollow(TrackId),
    /// A track that it follows is not sent for a while, or is again.
    Pause(TrackId, bool),
    /// Something is said to it on a data channel.
    Say(String, DataMessage),
}

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
    /// Its client offers.
    pub fn offer(&self, sdp: String) {
        self.tell(Order::Offer(sdp));
    }

    /// Its client answers.
    pub fn answer(&self, sdp: String) {
        self.tell(Order::Answer(sdp));
    }

    /// A candidate of its client. It is not needed: we are ICE-lite, so its client is found by its checks, and those come from a relay, whatever
    /// the client says.
    pub fn candidate(&self, _text: String) {}

    /// It is to be sent this track, which may end at any time.
    pub fn follow(&self, track: TrackId) {
        self.tell(Order::Follow(track));
    }

    /// And no more.
    pub fn unfollow(&self, track: TrackId) {
        self.tell(Order::Unfollow(track));
    }

    /// A track that it follows is not sent for a while, or is again. Nothing is negotiated.
    pub fn pause(&self, track: TrackId, is_paused: bool) {
        self.tell(Order::Pause(track, is_paused));
    }

    /// Says something to its client, on the data channel of this label.
    pub fn send_data(&self, label: String, message: DataMessage) {
        self.tell(Order::Say(label, message));
    }

    /// It leaves.
    pub fn leave(self) {}

    fn tell(&self, order: Order) {
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
