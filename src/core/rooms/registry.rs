//! Every signalling connection and every room of a worker. Inputs change what is here and leave actions, which their owner carries
//! out in order.
//!
//! ```text
//!           join, or an offer where the address names the room
//!  Waiting ────────────────────────────────────────────────────▶ Entering ── media side: yes ──▶ Member ── leave, gone ──▶ ○
//!     │  10 s; anything else: error, closed                          └───── no: join_failed ──▶ ○
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{ClientMessage, Code, Credentials, MAX_JOIN, Rejected, ServerMessage};
use super::ids::{ConnectionId, PeerId};
use super::room::Room;
use super::tracks::{DataMessage, MediaKind, TrackId};
use crate::core::limits::rate_limit::{Bucket, Rate, RateLimiter};
use crate::core::namespaces::access::Membership;
use crate::core::namespaces::state::RoomLimits;
use crate::core::namespaces::{NamespaceName, RoomId};
use crate::core::time::Moment;

/// How long a connection may be without having joined.
pub const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// Joins of one identity: 20 at once, 60 a minute.
const JOINS: Rate = Rate { burst: 20, every: Duration::from_secs(1) };

/// Identities whose joins are remembered.
const IDENTITIES: usize = 4096;

/// Messages of one connection: 40 at once, 10 a second. A browser's candidates come in one burst.
const MESSAGES: Rate = Rate { burst: 40, every: Duration::from_millis(100) };

/// Rooms of a worker.
pub const MAX_ROOMS: usize = 1000;

/// Connections of a worker: 20 full rooms, or a thousand small ones.
pub const MAX_CONNECTIONS: usize = 4096;

/// What the media side is told for one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaOrder {
    /// An offer of the client.
    Offer(String),
    /// Its answer.
    Answer(String),
    /// A candidate of it.
    Candidate(String),
    /// Send it this track, from a key frame on.
    Follow(TrackId),
    /// No longer.
    Unfollow(TrackId),
    /// Send it nothing of this track for now, or again.
    Pause(TrackId, bool),
    /// Send it a message.
    Data {
        /// The channel's label.
        label: Arc<str>,
        /// The message.
        data: DataMessage,
    },
    /// It is gone.
    Leave,
}

/// What the media side tells of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// An offer for the client.
    Offer(String),
    /// The answer to its offer.
    Answer(String),
    /// Its offer, answer or candidate cannot be used, or its media come by a way that is not allowed.
    Refused(Rejected),
    /// Its media are reachable.
    Connected,
    /// They are not.
    Trouble,
    /// It is no member of the media side any more.
    Gone(String),
    /// It sends one more track.
    TrackStarted(TrackId, MediaKind),
    /// It sends one less.
    TrackEnded(TrackId),
    /// A track that it follows has this section of its connection.
    Placed {
        /// Which.
        track: TrackId,
        /// The section's `mid`.
        mid: String,
    },
    /// A voice was this loud: dB below the loudest there is.
    Level(TrackId, u8),
    /// It sent a message.
    Data {
        /// The channel's label.
        label: Arc<str>,
        /// The message.
        data: DataMessage,
    },
}

/// Why a connection is closed (RFC 6455, 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It left.
    Left,
    /// We end, or the room does.
    GoingAway,
    /// It did what it may not.
    Policy,
    /// It sent too long a message.
    TooLong,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to each.
    Say {
        /// Them.
        to: Vec<ConnectionId>,
        /// This.
        message: ServerMessage,
    },
    /// Make it a member on the media side, then call [`RoomRegistry::entered`].
    Enter {
        /// Who.
        connection: ConnectionId,
        /// Where.
        room: RoomKey,
        /// Its name there.
        peer: PeerId,
    },
    /// Tell the media side.
    Media {
        /// Of whom.
        connection: ConnectionId,
        /// What.
        order: MediaOrder,
    },
    /// Make it fresh credentials, then call [`RoomRegistry::credentials`].
    Refresh(ConnectionId),
    /// Close it, after what was said. It is no longer known here.
    Close(ConnectionId, Closing),
}

impl Action {
    /// Says something to one.
    pub fn tell(to: ConnectionId, message: ServerMessage) -> Action {
        Action::Say { to: vec![to], message }
    }

    /// Tells the media side.
    pub fn media(connection: ConnectionId, order: MediaOrder) -> Action {
        Action::Media { connection, order }
    }
}

/// Where a room is.
pub type RoomKey = (NamespaceName, RoomId);

/// Somebody whose upgrade was granted.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// What its token is good for.
    pub membership: Membership,
    /// The room that its address names.
    pub room: Option<RoomId>,
    /// The name that it will have.
    pub peer: PeerId,
}

/// A message of the WebSocket.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// Text.
    Text(&'a str),
    /// Anything else.
    Binary,
    /// Longer than a message may be.
    TooLong,
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// We end soon.
    Draining,
    /// There are as many as can be.
    Full,
    /// This identity joins too often.
    TooFast(Duration),
}

#[derive(Debug)]
enum Stage {
    Waiting { until: Moment },
    Entering { room: RoomKey, user: Arc<str>, first: Option<String> },
    Member(RoomKey),
}

#[derive(Debug)]
struct Connection {
    visitor: Visitor,
    stage: Stage,
    messages: Bucket,
}

/// The registry.
#[derive(Debug)]
pub struct RoomRegistry {
    rooms: BTreeMap<RoomKey, Room>,
    connections: BTreeMap<ConnectionId, Connection>,
    joins: RateLimiter<String>,
    draining_until: Option<Moment>,
    out: Vec<Action>,
}

impl Default for RoomRegistry {
    fn default() -> RoomRegistry {
        RoomRegistry {
            rooms: BTreeMap::new(),
            connections: BTreeMap::new(),
            joins: RateLimiter::new(JOINS, IDENTITIES),
            draining_until: None,
            out: Vec::new(),
        }
    }
}

impl RoomRegistry {
    /// What is to be done since the last time.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    /// Whether somebody may connect, who counts as `identity`.
    pub fn may_open(&mut self, now: Moment, identity: &str) -> Result<(), Refusal> {
        if self.draining_until.is_some() {
            return Err(Refusal::Draining);
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            return Err(Refusal::Full);
        }
        self.joins.take(now, &identity.to_owned()).map_err(Refusal::TooFast)
    }

    /// A WebSocket is open.
    pub fn opened(&mut self, now: Moment, id: ConnectionId, visitor: Visitor) {
        let stage = Stage::Waiting { until: now + JOIN_WITHIN };
        self.connections.insert(id, Connection { visitor, stage, messages: Bucket::default() });
    }

    /// It is gone.
    pub fn closed(&mut self, now: Moment, id: ConnectionId) {
        self.remove(now, id);
        self.check();
    }

    /// It says something.
    pub fn frame(&mut self, now: Moment, id: ConnectionId, frame: Frame<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.messages.take(now, MESSAGES).is_err() {
            let words = "too many messages: at most 40 at once and 10 a second";
            return self.refuse(now, id, Rejected::new(Code::RateLimited, words), Closing::Policy);
        }
        let waiting = matches!(connection.stage, Stage::Waiting { .. });
        let parsed = match frame {
            Frame::TooLong => {
                let words = "a message has at most 512 KiB, a join 4 KiB";
                return self.refuse(now, id, Rejected::new(Code::InvalidMessage, words), Closing::TooLong);
            }
            Frame::Binary => Err(Rejected::new(Code::InvalidMessage, "messages are text")),
            Frame::Text(text) if waiting && connection.visitor.room.is_none() && text.len() > MAX_JOIN => {
                Err(Rejected::new(Code::InvalidJoin, "the first message is a join of at most 4 KiB"))
            }
            Frame::Text(text) => ClientMessage::parse(text),
        };
        match (parsed, waiting) {
            (Ok(message), true) => self.first(now, id, message),
            (Ok(message), false) => self.message(now, id, message),
            (Err(rejected), true) => self.refuse(now, id, rejected, Closing::Policy),
            (Err(rejected), false) => self.out.push(Action::tell(id, rejected.into())),
        }
        self.check();
    }

    /// What somebody says who has not joined.
    fn first(&mut self, now: Moment, id: ConnectionId, message: ClientMessage) {
        let Some(connection) = self.connections.get(&id) else { return };
        let named = connection.visitor.room.clone();
        match (message, named) {
            (ClientMessage::Join { room, user }, named) => match room_of(room, named) {
                Ok(room) => self.join(now, id, room, user, None),
                Err(rejected) => self.refuse(now, id, rejected, Closing::Policy),
            },
            (ClientMessage::Offer { sdp }, Some(room)) => self.join(now, id, room, None, Some(sdp)),
            (ClientMessage::Leave, _) => self.end(now, id, Closing::Left),
            (_, named) => {
                let words = match named {
                    Some(_) => "join first, or send an offer",
                    None => "join first: the address names no room",
                };
                self.refuse(now, id, Rejected::new(Code::InvalidState, words), Closing::Policy);
            }
        }
    }

    fn join(
        &mut self,
        now: Moment,
        id: ConnectionId,
        room: RoomId,
        user: Option<String>,
        first: Option<String>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Membership { namespace, subject, limits, .. } = connection.visitor.membership.clone();
        let (peer, key) = (connection.visitor.peer.clone(), (namespace, room));
        let full = match self.rooms.get(&key) {
            Some(room) => room.is_full(limits),
            None => self.rooms.len() >= MAX_ROOMS,
        };
        if self.draining_until.is_some() || full {
            let (code, words) = match full {
                true => (Code::RoomFull, "this room is full"),
                false => (Code::JoinFailed, "this server ends soon: join again"),
            };
            return self.refuse(now, id, Rejected::new(code, words), Closing::Policy);
        }
        // Whom the token names is who it is; otherwise people call themselves what they like.
        let user = subject.or(user).unwrap_or_else(|| format!("anon-{peer}")).into();
        connection.stage = Stage::Entering { room: key.clone(), user, first };
        self.out.push(Action::Enter { connection: id, room: key, peer });
    }

    /// What the media side said to [`Action::Enter`]: credentials for its relays, if there are any, or why not.
    pub fn entered(&mut self, now: Moment, id: ConnectionId, entered: Result<Option<Credentials>, String>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return self.out.extend(entered.ok().map(|_| Action::media(id, MediaOrder::Leave)));
        };
        let stage = std::mem::replace(&mut connection.stage, Stage::Waiting { until: now });
        let Stage::Entering { room: key, user, first } = stage else {
            connection.stage = stage;
            return;
        };
        let credentials = match entered {
            Ok(credentials) => credentials,
            Err(words) => {
                return self.refuse(now, id, Rejected::new(Code::JoinFailed, words), Closing::GoingAway);
            }
        };
        let (peer, limits) = (connection.visitor.peer.clone(), connection.visitor.membership.limits);
        connection.stage = Stage::Member(key.clone());
        let room = self.rooms.entry(key).or_insert_with_key(|(_, id)| Room::new(now, id.clone(), limits));
        room.enter(now, id, (peer, user), (limits, credentials), &mut self.out);
        self.out.extend(first.map(|sdp| Action::media(id, MediaOrder::Offer(sdp))));
        self.check();
    }

    /// What a member says.
    fn message(&mut self, now: Moment, id: ConnectionId, message: ClientMessage) {
        let order = match message {
            ClientMessage::Join { .. } => {
                let rejected = Rejected::new(Code::InvalidState, "you have joined already");
                return self.out.push(Action::tell(id, rejected.into()));
            }
            ClientMessage::Leave => return self.end(now, id, Closing::Left),
            ClientMessage::State { kind, enabled } => {
                return self.in_room(id, |room, out| room.state(id, kind, enabled, out));
            }
            ClientMessage::Candidate(None) => return,
            ClientMessage::Candidate(Some(candidate)) => MediaOrder::Candidate(candidate),
            ClientMessage::Offer { sdp } => MediaOrder::Offer(sdp),
            ClientMessage::Answer { sdp } => MediaOrder::Answer(sdp),
        };
        self.out.push(Action::media(id, order));
    }

    /// The media side tells something of a member.
    pub fn media(&mut self, now: Moment, id: ConnectionId, event: MediaEvent) {
        if !matches!(self.connections.get(&id), Some(Connection { stage: Stage::Member(_), .. })) {
            return;
        }
        let say = |message| Action::tell(id, message);
        match event {
            MediaEvent::Offer(sdp) => self.out.push(say(ServerMessage::Offer { sdp })),
            MediaEvent::Answer(sdp) => self.out.push(say(ServerMessage::Answer { sdp })),
            MediaEvent::Placed { track, mid } => {
                self.out.push(say(ServerMessage::TrackPlaced { track_id: track, mid }));
            }
            MediaEvent::Refused(rejected) => self.out.push(say(rejected.into())),
            MediaEvent::Connected => self.in_room(id, |room, _| room.reachable(now, id, true)),
            MediaEvent::Trouble => self.in_room(id, |room, _| room.reachable(now, id, false)),
            MediaEvent::Gone(words) => {
                let rejected = Rejected::new(Code::MediaLost, words);
                self.refuse(now, id, rejected, Closing::GoingAway);
            }
            MediaEvent::TrackStarted(track, kind) => {
                self.in_room(id, |room, out| room.track_started(id, track, kind, out));
            }
            MediaEvent::TrackEnded(track) => self.in_room(id, |room, out| room.track_ended(id, &track, out)),
            MediaEvent::Level(track, level) => self.in_room(id, |room, _| room.level(now, &track, level)),
            MediaEvent::Data { label, data } => {
                self.in_room(id, |room, out| room.data(now, id, (label, data), out));
            }
        }
        self.check();
    }

    /// What became of [`Action::Refresh`].
    pub fn credentials(&mut self, now: Moment, id: ConnectionId, fresh: Option<Credentials>) {
        self.in_room(id, |room, out| room.credentials(now, id, fresh, out));
    }

    /// Looks at everything that has its time; to be called several times a second.
    pub fn tick(&mut self, now: Moment) {
        if self.draining_until.is_some_and(|until| now.reached(until)) {
            let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
            all.into_iter().for_each(|id| self.end(now, id, Closing::GoingAway));
        }
        let late = |connection: &Connection| match connection.stage {
            Stage::Waiting { until } => now.reached(until),
            Stage::Entering { .. } | Stage::Member(_) => false,
        };
        let late: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, one)| late(one)).map(|(id, _)| *id).collect();
        for id in late {
            let rejected = Rejected::new(Code::InvalidMessage, "join within 10 s");
            self.refuse(now, id, rejected, Closing::Policy);
        }
        let mut lost = Vec::new();
        for room in self.rooms.values_mut() {
            lost.extend(room.look(now, &mut self.out));
        }
        for id in lost {
            let words = "your media could not be reached for 15 s";
            self.refuse(now, id, Rejected::new(Code::MediaLost, words), Closing::GoingAway);
        }
        self.rooms.retain(|_, room| !room.is_over(now));
        self.check();
    }

    /// Makes a room. Whether it is new.
    pub fn create(&mut self, now: Moment, key: RoomKey, limits: RoomLimits) -> Result<bool, Refusal> {
        if self.rooms.contains_key(&key) {
            return Ok(false);
        }
        if self.draining_until.is_some() {
            return Err(Refusal::Draining);
        }
        if self.rooms.len() >= MAX_ROOMS {
            return Err(Refusal::Full);
        }
        let room = Room::new(now, key.1.clone(), limits);
        self.rooms.insert(key, room);
        Ok(true)
    }

    /// Ends a room. Whether it was there.
    pub fn close_room(&mut self, key: &RoomKey) -> bool {
        let Some(room) = self.rooms.get(key) else { return false };
        let members: Vec<ConnectionId> = room.members().collect();
        let message = ServerMessage::Kicked { code: "removed", reason: "the room was closed" };
        if !members.is_empty() {
            self.out.push(Action::Say { to: members.clone(), message });
        }
        // Nobody is told of each other any more: all of them go.
        self.rooms.remove(key);
        for id in members {
            self.out.push(Action::media(id, MediaOrder::Leave));
            self.out.push(Action::Close(id, Closing::GoingAway));
            self.connections.remove(&id);
        }
        self.check();
        true
    }

    /// We end: everybody hears of it, and has this long.
    pub fn drain(&mut self, now: Moment, reason: &str, timeout: Duration) {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        if self.draining_until.replace(now + timeout).is_some() {
            return;
        }
        let to: Vec<ConnectionId> = self.connections.keys().copied().collect();
        if !to.is_empty() {
            let message = ServerMessage::ServerDraining { reason: reason.to_owned(), timeout_ms };
            self.out.push(Action::Say { to, message });
        }
    }

    /// We go on after all: whoever comes is let in again.
    pub fn resume(&mut self) {
        self.draining_until = None;
    }

    /// Every room.
    pub fn rooms(&self) -> impl ExactSizeIterator<Item = (&RoomKey, &Room)> {
        self.rooms.iter()
    }

    /// Connections, members or not.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Whether nobody and nothing is here.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.rooms.is_empty()
    }

    /// The membership of a connection, and the name of its bearer in its room.
    pub fn visitor(&self, id: ConnectionId) -> Option<&Visitor> {
        self.connections.get(&id).map(|connection| &connection.visitor)
    }

    fn in_room(&mut self, id: ConnectionId, act: impl FnOnce(&mut Room, &mut Vec<Action>)) {
        let Some(Connection { stage: Stage::Member(key), .. }) = self.connections.get(&id) else { return };
        if let Some(room) = self.rooms.get_mut(key) {
            act(room, &mut self.out);
        }
    }

    /// Says what was wrong, and closes.
    fn refuse(&mut self, now: Moment, id: ConnectionId, rejected: Rejected, closing: Closing) {
        self.out.push(Action::tell(id, rejected.into()));
        self.end(now, id, closing);
    }

    fn end(&mut self, now: Moment, id: ConnectionId, closing: Closing) {
        self.remove(now, id);
        self.out.push(Action::Close(id, closing));
    }

    fn remove(&mut self, now: Moment, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Stage::Member(key) = connection.stage {
            self.out.push(Action::media(id, MediaOrder::Leave));
            if let Some(room) = self.rooms.get_mut(&key) {
                room.leave(now, id, &mut self.out);
            }
        }
    }

    #[cfg(debug_assertions)]
    fn check(&self) {
        let mut members = 0;
        for (key, room) in &self.rooms {
            room.check_invariants();
            for id in room.members() {
                members += 1;
                let stage = self.connections.get(&id).map(|connection| &connection.stage);
                debug_assert!(matches!(stage, Some(Stage::Member(own)) if own == key), "{id:?}: {stage:?}");
            }
        }
        let joined = |connection: &&Connection| matches!(connection.stage, Stage::Member(_));
        debug_assert_eq!(members, self.connections.values().filter(joined).count());
    }

    #[cfg(not(debug_assertions))]
    fn check(&self) {}
}

/// The room that somebody joins: as the address names it, as the message does, and they must not differ.
fn room_of(said: Option<String>, named: Option<RoomId>) -> Result<RoomId, Rejected> {
    let said = said.map(|said| RoomId::parse(&said)).transpose();
    match (said, named) {
        (Err(error), _) => Err(Rejected::new(Code::InvalidJoin, error.to_string())),
        (Ok(None), None) => Err(Rejected::new(Code::InvalidJoin, "roomId says which room")),
        (Ok(Some(said)), Some(named)) if said != named => {
            Err(Rejected::new(Code::RoomMismatch, "roomId is another room than that of the address"))
        }
        (Ok(Some(room)), _) | (Ok(None), Some(room)) => Ok(room),
    }
}
