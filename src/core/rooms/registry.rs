//! Every signalling connection and every room of a worker. Inputs change what is here and leave actions, which their owner carries
//! out in order.
//!
//! ```text
//!           join, or an offer where the address names the room
//!  Waiting ────────────────────────────────────────────────────▶ Entering ── media side: yes ──▶ Member ── leave, Close frame, gone ──▶ ○
//!     │  │ 10 s; anything else: error, closed                       └───── no: join_failed ──▶ ○    │
//!     │                                                                                            │ the connection breaks
//!     └─── resume, by the token of a member whose connection broke ──────────────────▶ Member ◀── detached (`signal_path`)
//! ```
//!
//! A member is no connection: it outlives those that break, because its media come by another way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::actions::Actions;
use super::frame::{ClientMessage, Code, Credentials, MAX_JOIN, Rejected, ServerMessage, Text};
use super::ids::{ConnectionId, MemberId, PeerId};
use super::room::Room;
use super::signal_path::{AWAY_WITHOUT_MEDIA, ResumeToken, SignalPath};
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

/// Connections of a worker, and members, whose connection may be broken: 20 full rooms, or a thousand small ones.
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
    /// Its client can be told nothing for now, or again.
    Away(bool),
    /// It is gone.
    Leave,
}

impl MediaOrder {
    /// Whether it may be lost where too many wait. Nothing but messages may: nothing else is said again.
    pub fn may_be_lost(&self) -> bool {
        matches!(self, MediaOrder::Data { .. })
    }
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
    /// The same, because its client and we hold different descriptions for good. Nothing is wrong with the client, or with its media.
    OutOfStep(String),
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
        text: Text,
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
        member: MemberId,
        /// What.
        order: MediaOrder,
    },
    /// Make it fresh credentials, then call [`RoomRegistry::credentials`].
    Refresh(MemberId),
    /// Close it, after what was said. It is no longer known here.
    Close(ConnectionId, Closing),
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
    /// Will take the place back that it is to have.
    pub resume_token: ResumeToken,
    /// Where it comes from.
    pub address: Option<IpAddr>,
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
    /// No message: a Ping, or what nobody asked for.
    Control,
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

/// Who somebody is.
#[derive(Clone, Debug)]
struct Person {
    /// As others see it.
    user: Arc<str>,
    /// By its token, or its own word.
    is_named: bool,
}

#[derive(Debug)]
enum Stage {
    Waiting { until: Moment },
    Entering { room: RoomKey, person: Person, first: Option<String> },
    Member(MemberId),
}

#[derive(Debug)]
struct Connection {
    visitor: Visitor,
    stage: Stage,
    messages: Bucket,
    controls: Bucket,
    /// Messages that came by it, and those that went before it was a member's.
    taken: u64,
    said: u64,
}

/// A member, with or without a connection.
#[derive(Debug)]
struct Seat {
    room: RoomKey,
    visitor: Visitor,
    person: Person,
}

impl Seat {
    /// Whether this is a place of the same person. By a token that names nobody people call themselves what they like, so address and name
    /// count; who gave no name is nobody's other self.
    fn is_of(&self, visitor: &Visitor, person: &Person) -> bool {
        let (own, other) = (&self.visitor, visitor);
        match (&own.membership.subject, &other.membership.subject) {
            (Some(own), Some(other)) => own == other,
            (None, None) => {
                let are_named = self.person.is_named && person.is_named;
                let is_here = own.address.is_some() && own.address == other.address;
                are_named && is_here && self.person.user == person.user
            }
            _ => false,
        }
    }
}

/// The registry.
#[derive(Debug)]
pub struct RoomRegistry {
    rooms: BTreeMap<RoomKey, Room>,
    connections: BTreeMap<ConnectionId, Connection>,
    seats: BTreeMap<MemberId, Seat>,
    joins: RateLimiter<String>,
    draining_until: Option<Moment>,
    out: Actions,
}

impl Default for RoomRegistry {
    fn default() -> RoomRegistry {
        RoomRegistry {
            rooms: BTreeMap::new(),
            connections: BTreeMap::new(),
            seats: BTreeMap::new(),
            joins: RateLimiter::new(JOINS, IDENTITIES),
            draining_until: None,
            out: Actions::default(),
        }
    }
}

impl RoomRegistry {
    /// What is to be done since the last time.
    pub fn take_actions(&mut self) -> Vec<Action> {
        self.out.take()
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
        let (messages, controls) = (Bucket::default(), Bucket::default());
        self.connections.insert(id, Connection { visitor, stage, messages, controls, taken: 0, said: 0 });
    }

    /// Its client ended it.
    pub fn closed(&mut self, now: Moment, id: ConnectionId) {
        let gone = self.connections.remove(&id);
        if let Some(Connection { stage: Stage::Member(member), .. }) = gone {
            self.remove(now, member);
        }
        self.check();
    }

    /// It ended, and its client may know nothing of that: a member stays, as long as its media tell that it lives.
    pub fn broken(&mut self, now: Moment, id: ConnectionId) {
        let gone = self.connections.remove(&id);
        if let Some(Connection { stage: Stage::Member(member), taken, .. }) = gone {
            self.detach(now, member, taken);
        }
        self.check();
    }

    fn detach(&mut self, now: Moment, member: MemberId, taken: u64) {
        if let Some(path) = self.out.paths.get_mut(&member) {
            path.detach(now, taken);
            // An offer that nobody hears would only be made again and again.
            self.out.media(member, MediaOrder::Away(true));
        }
    }

    /// So many of the messages that went by it have arrived.
    pub fn arrived(&mut self, id: ConnectionId, count: u64) {
        let Some(Connection { stage: Stage::Member(member), .. }) = self.connections.get(&id) else { return };
        if let Some(path) = self.out.paths.get_mut(member) {
            path.arrived(count);
        }
    }

    /// It says something.
    pub fn frame(&mut self, now: Moment, id: ConnectionId, frame: Frame<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if matches!(frame, Frame::Control) {
            if connection.controls.take(now, MESSAGES).is_err() {
                let words = "too many control frames: at most 40 at once and 10 a second";
                self.refuse(now, id, Rejected::new(Code::RateLimited, words), Closing::Policy);
            }
            return;
        }
        connection.taken += 1;
        if connection.messages.take(now, MESSAGES).is_err() {
            let words = "too many messages: at most 40 at once and 10 a second";
            return self.refuse(now, id, Rejected::new(Code::RateLimited, words), Closing::Policy);
        }
        let member = match connection.stage {
            Stage::Member(member) => Some(member),
            Stage::Waiting { .. } | Stage::Entering { .. } => None,
        };
        let parsed = match frame {
            Frame::TooLong => {
                let words = "a message has at most 512 KiB, a join 4 KiB";
                return self.refuse(now, id, Rejected::new(Code::InvalidMessage, words), Closing::TooLong);
            }
            Frame::Binary | Frame::Control => Err(Rejected::new(Code::InvalidMessage, "messages are text")),
            Frame::Text(text)
                if member.is_none() && connection.visitor.room.is_none() && text.len() > MAX_JOIN =>
            {
                Err(Rejected::new(Code::InvalidJoin, "the first message is a join of at most 4 KiB"))
            }
            Frame::Text(text) => ClientMessage::parse(text),
        };
        match (parsed, member) {
            (Ok(message), None) => self.first(now, id, message),
            (Ok(message), Some(member)) => self.message(now, member, message),
            (Err(rejected), None) => self.refuse(now, id, rejected, Closing::Policy),
            (Err(rejected), Some(member)) => self.out.tell(member, &rejected.into()),
        }
        self.check();
    }

    /// What somebody says who has not joined.
    fn first(&mut self, now: Moment, id: ConnectionId, message: ClientMessage) {
        let Some(connection) = self.connections.get(&id) else { return };
        if !matches!(connection.stage, Stage::Waiting { .. }) {
            let words = "wait for welcome";
            return self.refuse(now, id, Rejected::new(Code::InvalidState, words), Closing::Policy);
        }
        let named = connection.visitor.room.clone();
        match (message, named) {
            (ClientMessage::Join { room, user }, named) => match room_of(room, named) {
                Ok(room) => self.join(now, id, room, user, None),
                Err(rejected) => self.refuse(now, id, rejected, Closing::Policy),
            },
            (ClientMessage::Resume { peer, token, heard }, Some(room)) => {
                self.resume(now, id, (room, &peer), (&token, heard));
            }
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
        let Some(connection) = self.connections.get(&id) else { return };
        let Visitor { membership, peer, .. } = connection.visitor.clone();
        let key = (membership.namespace, room);
        // Whom the token names is who it is; otherwise people call themselves what they like.
        let name = membership.subject.or(user);
        let is_named = name.is_some();
        let person = Person { user: name.unwrap_or_else(|| format!("anon-{peer}")).into(), is_named };
        if let Some(before) = self.place_left_by(&key, &connection.visitor, &person) {
            self.remove(now, before);
        }
        let full = match self.rooms.get(&key) {
            Some(room) => room.is_full(membership.limits),
            None => self.rooms.len() >= MAX_ROOMS,
        };
        if self.draining_until.is_some() || full || self.seats.len() >= MAX_CONNECTIONS {
            let (code, words) = match (full, self.draining_until) {
                (true, _) => (Code::RoomFull, "this room is full"),
                (false, Some(_)) => (Code::JoinFailed, "this server ends soon: join again"),
                (false, None) => (Code::JoinFailed, "this server has as many members as it may have"),
            };
            return self.refuse(now, id, Rejected::new(code, words), Closing::Policy);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stage = Stage::Entering { room: key.clone(), person, first };
        self.out.push(Action::Enter { connection: id, room: key, peer });
    }

    /// A place of the same person in this room whose connection broke: who joins anew does not come back to it. Of several, one whose media
    /// are not reached; else that which is alone for longest.
    fn place_left_by(&self, key: &RoomKey, visitor: &Visitor, person: &Person) -> Option<MemberId> {
        let room = self.rooms.get(key)?;
        let left = room.members().filter_map(|id| Some((self.out.paths.get(&id)?.detached_since()?, id)));
        let own = left.filter(|(_, id)| self.seats.get(id).is_some_and(|seat| seat.is_of(visitor, person)));
        own.min_by_key(|(since, id)| (!room.is_in_trouble(*id), *since)).map(|(_, id)| id)
    }

    /// What the media side said to [`Action::Enter`]: credentials for its relays, if there are any, or why not.
    pub fn entered(&mut self, now: Moment, id: ConnectionId, entered: Result<Option<Credentials>, String>) {
        let member = MemberId::from(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return entered.map_or((), |_| self.out.media(member, MediaOrder::Leave));
        };
        let stage = std::mem::replace(&mut connection.stage, Stage::Waiting { until: now });
        let Stage::Entering { room: key, person, first } = stage else {
            connection.stage = stage;
            return;
        };
        let credentials = match entered {
            Ok(credentials) => credentials,
            Err(words) => {
                return self.refuse(now, id, Rejected::new(Code::JoinFailed, words), Closing::GoingAway);
            }
        };
        let visitor = connection.visitor.clone();
        let (limits, token) = (visitor.membership.limits, visitor.resume_token.clone());
        let who = (visitor.peer.clone(), person.user.clone(), token.clone());
        connection.stage = Stage::Member(member);
        self.out.paths.insert(member, SignalPath::new(id, connection.said, token));
        self.seats.insert(member, Seat { room: key.clone(), visitor, person });
        let room = self.rooms.entry(key).or_insert_with_key(|(_, id)| Room::new(now, id.clone(), limits));
        room.enter(now, member, who, (limits, credentials), &mut self.out);
        if let Some(sdp) = first {
            self.out.media(member, MediaOrder::Offer(sdp));
        }
        self.check();
    }

    /// Somebody is back whose connection broke.
    fn resume(
        &mut self,
        now: Moment,
        id: ConnectionId,
        (room, peer): (RoomId, &str),
        (token, heard): (&ResumeToken, u64),
    ) {
        let Some(visitor) = self.connections.get(&id).map(|connection| connection.visitor.clone()) else {
            return;
        };
        let failed = |words| Rejected::new(Code::ResumeFailed, words);
        let key = (visitor.membership.namespace.clone(), room);
        let member = self.rooms.get(&key).and_then(|room| room.member_of(peer));
        let is_opened = |member: &MemberId| {
            let path = self.out.paths.get(member).is_some_and(|path| path.is_opened_by(token));
            let subject = self.seats.get(member).map(|seat| &seat.visitor.membership.subject);
            path && subject == Some(&visitor.membership.subject)
        };
        let Some(member) = member.filter(is_opened) else {
            return self.refuse(now, id, failed("there is no such place any more: join"), Closing::Policy);
        };
        self.cut_off(now, member);
        let path = self.out.paths.get_mut(&member);
        let resumed = path.and_then(|path| path.resume(id, visitor.resume_token.clone(), heard));
        let Some((missed, taken)) = resumed else {
            self.remove(now, member);
            return self.refuse(now, id, failed("too much was said meanwhile: join"), Closing::Policy);
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = Stage::Member(member);
        }
        let resume_token = visitor.resume_token.clone();
        if let Some(seat) = self.seats.get_mut(&member) {
            seat.visitor = Visitor { peer: seat.visitor.peer.clone(), ..visitor };
        }
        self.out.tell(member, &ServerMessage::Resumed { heard: taken, resume_token });
        self.out.say_again(member, missed);
        self.out.media(member, MediaOrder::Away(false));
    }

    /// A member's connection is no use any more, which it has not told us itself.
    fn cut_off(&mut self, now: Moment, member: MemberId) {
        let connection = self.out.paths.get(&member).and_then(SignalPath::connection);
        if let Some((id, gone)) = connection.and_then(|id| Some((id, self.connections.remove(&id)?))) {
            self.detach(now, member, gone.taken);
            self.out.push(Action::Close(id, Closing::GoingAway));
        }
    }

    /// What a member says.
    fn message(&mut self, now: Moment, id: MemberId, message: ClientMessage) {
        let order = match message {
            ClientMessage::Join { .. } | ClientMessage::Resume { .. } => {
                let rejected = Rejected::new(Code::InvalidState, "you have joined already");
                return self.out.tell(id, &rejected.into());
            }
            ClientMessage::Leave => return self.end_member(now, id, Closing::Left),
            ClientMessage::State { kind, enabled } => {
                return self.in_room(id, |room, out| room.state(id, kind, enabled, out));
            }
            ClientMessage::Candidate(None) => return,
            ClientMessage::Candidate(Some(candidate)) => MediaOrder::Candidate(candidate),
            ClientMessage::Offer { sdp } => MediaOrder::Offer(sdp),
            ClientMessage::Answer { sdp } => MediaOrder::Answer(sdp),
        };
        self.out.media(id, order);
    }

    /// The media side tells something of a member.
    pub fn media(&mut self, now: Moment, id: MemberId, event: MediaEvent) {
        if !self.seats.contains_key(&id) {
            return;
        }
        match event {
            MediaEvent::Offer(sdp) => self.out.tell(id, &ServerMessage::Offer { sdp }),
            MediaEvent::Answer(sdp) => self.out.tell(id, &ServerMessage::Answer { sdp }),
            MediaEvent::Placed { track, mid } => {
                self.out.tell(id, &ServerMessage::TrackPlaced { track_id: track, mid });
            }
            MediaEvent::Refused(rejected) => self.out.tell(id, &rejected.into()),
            MediaEvent::Connected => self.in_room(id, |room, _| room.reachable(now, id, true)),
            MediaEvent::Trouble => self.in_room(id, |room, _| room.reachable(now, id, false)),
            MediaEvent::Gone(words) => self.lose(now, id, Rejected::new(Code::MediaLost, words)),
            MediaEvent::OutOfStep(words) => self.start_anew(now, id, words),
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
    pub fn credentials(&mut self, now: Moment, id: MemberId, fresh: Option<Credentials>) {
        self.in_room(id, |room, out| room.credentials(now, id, fresh, out));
    }

    /// Looks at everything that has its time; to be called several times a second.
    pub fn tick(&mut self, now: Moment) {
        if self.draining_until.is_some_and(|until| now.reached(until)) {
            let members: Vec<MemberId> = self.seats.keys().copied().collect();
            members.into_iter().for_each(|id| self.end_member(now, id, Closing::GoingAway));
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
            self.lose(now, id, Rejected::new(Code::MediaLost, words));
        }
        let away: Vec<MemberId> = self.away_for_long(now).collect();
        away.into_iter().for_each(|id| self.remove(now, id));
        // Where we drain nobody comes back to an empty room: it is going on elsewhere, and a controller that has just started would lead to
        // whichever of the two it hears of first.
        let drains = self.draining_until.is_some();
        let is_done = |room: &Room| room.is_over(now) || drains && room.is_empty();
        self.rooms.retain(|_, room| !is_done(room));
        self.check();
    }

    /// Members without a connection of whom no media tell that they live.
    fn away_for_long(&self, now: Moment) -> impl Iterator<Item = MemberId> + '_ {
        let away = self.out.paths.iter().filter_map(|(id, path)| Some((*id, path.detached_since()?)));
        let long = away.filter(move |(_, since)| now.since(*since) >= AWAY_WITHOUT_MEDIA);
        let is_reached = |id: &MemberId| {
            let room = self.seats.get(id).and_then(|seat| self.rooms.get(&seat.room));
            room.is_some_and(|room| room.is_reached(*id))
        };
        long.map(|(id, _)| id).filter(move |id| !is_reached(id))
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
        // Nobody is told of each other any more: all of them go.
        let Some(room) = self.rooms.remove(key) else { return false };
        let message = ServerMessage::Kicked { code: "removed", reason: "the room was closed" };
        self.out.say(room.members(), &message);
        for id in room.members() {
            self.seats.remove(&id);
            self.out.media(id, MediaOrder::Leave);
            self.close_way(id, Closing::GoingAway);
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
        let message = ServerMessage::ServerDraining { reason: reason.to_owned(), timeout_ms };
        self.out.say(self.seats.keys().copied(), &message);
        for (id, connection) in &mut self.connections {
            if !matches!(connection.stage, Stage::Member(_)) {
                connection.said += 1;
                self.out.reply(*id, &message);
            }
        }
    }

    /// We go on after all: whoever comes is let in again.
    pub fn resume_after_drain(&mut self) {
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

    /// Members whose connection is broken.
    pub fn detached(&self) -> usize {
        self.out.paths.values().filter(|path| path.connection().is_none()).count()
    }

    /// Whether nobody and nothing is here.
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.rooms.is_empty()
    }

    /// The membership of somebody who joins by this connection, and its name in its room.
    pub fn visitor(&self, id: ConnectionId) -> Option<&Visitor> {
        self.connections.get(&id).map(|connection| &connection.visitor)
    }

    /// The same of a member.
    pub fn visitor_of(&self, id: MemberId) -> Option<&Visitor> {
        self.seats.get(&id).map(|seat| &seat.visitor)
    }

    fn in_room(&mut self, id: MemberId, act: impl FnOnce(&mut Room, &mut Actions)) {
        if let Some(room) = self.seats.get(&id).and_then(|seat| self.rooms.get_mut(&seat.room)) {
            act(room, &mut self.out);
        }
    }

    /// Says what was wrong, and closes.
    fn refuse(&mut self, now: Moment, id: ConnectionId, rejected: Rejected, closing: Closing) {
        match self.connections.get(&id).map(|connection| &connection.stage) {
            Some(Stage::Member(member)) => self.out.tell(*member, &rejected.into()),
            Some(_) => self.out.reply(id, &rejected.into()),
            None => return,
        }
        self.end(now, id, closing);
    }

    /// Says to a member why it is none any more.
    /// A member is to join anew. What clients are documented to do so on is the word of a drain: an error alone leaves that to them.
    fn start_anew(&mut self, now: Moment, id: MemberId, words: String) {
        let message = ServerMessage::ServerDraining { reason: words.clone(), timeout_ms: 0 };
        self.out.tell(id, &message);
        self.lose(now, id, Rejected::new(Code::InvalidAnswer, words));
    }

    fn lose(&mut self, now: Moment, id: MemberId, rejected: Rejected) {
        self.out.tell(id, &rejected.into());
        self.end_member(now, id, Closing::GoingAway);
    }

    fn end(&mut self, now: Moment, id: ConnectionId, closing: Closing) {
        match self.connections.get(&id).map(|connection| &connection.stage) {
            Some(Stage::Member(member)) => self.end_member(now, *member, closing),
            Some(_) => {
                self.connections.remove(&id);
                self.out.push(Action::Close(id, closing));
            }
            None => {}
        }
    }

    fn end_member(&mut self, now: Moment, id: MemberId, closing: Closing) {
        let Some(seat) = self.seats.remove(&id) else { return };
        self.out.media(id, MediaOrder::Leave);
        if let Some(room) = self.rooms.get_mut(&seat.room) {
            room.leave(now, id, &mut self.out);
        }
        self.close_way(id, closing);
    }

    /// The same of a member without a connection.
    fn remove(&mut self, now: Moment, id: MemberId) {
        self.end_member(now, id, Closing::Left);
    }

    fn close_way(&mut self, id: MemberId, closing: Closing) {
        let connection = self.out.paths.remove(&id).and_then(|path| path.connection());
        if let Some(connection) = connection.filter(|id| self.connections.remove(id).is_some()) {
            self.out.push(Action::Close(connection, closing));
        }
    }

    #[cfg(debug_assertions)]
    fn check(&self) {
        let mut members = 0;
        for (key, room) in &self.rooms {
            room.check_invariants();
            for id in room.members() {
                members += 1;
                debug_assert!(self.seats.get(&id).is_some_and(|seat| seat.room == *key), "{id:?}");
            }
        }
        debug_assert_eq!((members, members), (self.seats.len(), self.out.paths.len()));
        let mut attached = 0;
        for (id, path) in &self.out.paths {
            path.check_invariants();
            let Some(connection) = path.connection() else { continue };
            attached += 1;
            let stage = self.connections.get(&connection).map(|connection| &connection.stage);
            debug_assert!(matches!(stage, Some(Stage::Member(own)) if own == id), "{id:?}: {stage:?}");
        }
        let joined = |connection: &&Connection| matches!(connection.stage, Stage::Member(_));
        debug_assert_eq!(attached, self.connections.values().filter(joined).count());
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
