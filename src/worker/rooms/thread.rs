//! The thread `rooms`: every signalling connection of the worker, and the registry that they speak to.
//!
//! ```text
//!   ┌─▶ wait for a socket, the mailbox, or 100 ms
//!   │   accept ─▶ mailbox (media events, orders) ─▶ read ─▶ times ─▶ carry actions out, until there are none ─▶ publish
//!   └────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use rustix::event::{Timespec, epoll};
use tungstenite::Utf8Bytes;

use crate::core::namespaces::wire::RoomBrief;
use crate::core::rooms::frame::{Credentials, Text};
use crate::core::rooms::ids::{ConnectionId, MemberId, PeerId};
use crate::core::rooms::registry::{Action, Frame, MediaEvent, MediaOrder, RoomKey, RoomRegistry, Visitor};
use crate::core::rooms::room::Room;
use crate::core::rooms::signal_path::ResumeToken;
use crate::core::rooms::upgrade::Upgrade;
use crate::core::time::Moment;
use crate::host::clock::{Clock, unix_seconds};
use crate::host::entropy;
use crate::isolation::isolate;
use crate::worker::namespaces::access::RoomAccess;
use crate::worker::rooms::media::{MemberPlace, RoomMedia, RoomMember};
use crate::worker::rooms::reply;
use crate::worker::rooms::shared::{Backlog, Message, Shared};
use crate::worker::rooms::socket::{Brought, Socket};

/// Tokens of what is no connection.
const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// Descriptors looked at per round.
const EVENTS: usize = 256;

/// Between two looks at what has its time.
const TICK: Duration = Duration::from_millis(100);

/// Longest sleep while nobody is here, so that the watchdog sees progress.
const MAX_SLEEP: Duration = Duration::from_secs(5);

/// Messages of one connection per round: the others come next.
const MESSAGES_PER_ROUND: usize = 16;

/// Messages of the mailbox per round.
const MAIL_PER_ROUND: usize = 4096;

/// Pause after an accept that failed: descriptors come back when others close.
const BACKOFF: Duration = Duration::from_millis(100);

/// What a thread starts with.
pub struct Start {
    /// The private listener.
    pub listener: UnixListener,
    /// What others see and say.
    pub shared: Arc<Shared>,
    /// What they say.
    pub mail: Receiver<Message>,
    /// Who is admitted.
    pub access: RoomAccess,
    /// Where members' media goes.
    pub media: Box<dyn RoomMedia>,
    /// The clock.
    pub clock: Clock,
    /// Shows that it makes progress.
    pub beat: Box<dyn Fn() + Send>,
}

/// How a connection ended.
#[derive(Clone, Copy)]
enum Ending {
    /// Its client ended it, or did what it may not.
    Closed,
    /// Something between us did.
    Broken,
}

struct Member {
    media: Box<dyn RoomMember>,
    backlog: Arc<Backlog>,
}

/// The thread's state.
pub struct RoomsThread {
    start: Start,
    epoll: OwnedFd,
    now: Moment,
    registry: RoomRegistry,
    sockets: HashMap<ConnectionId, Socket>,
    members: HashMap<MemberId, Member>,
    last_id: u64,
    /// Connections that may have more to read.
    again: VecDeque<ConnectionId>,
    accept_at: Option<Moment>,
    looked_at: Moment,
    /// What is published is not so any more.
    changed: bool,
    stopping: bool,
}

impl RoomsThread {
    /// Registers the listener and the doorbell.
    pub fn new(start: Start) -> io::Result<RoomsThread> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        start.listener.set_nonblocking(true)?;
        epoll::add(&epoll, &start.listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &start.shared.wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        let now = start.clock.now();
        Ok(RoomsThread {
            start,
            epoll,
            now,
            registry: RoomRegistry::default(),
            sockets: HashMap::new(),
            members: HashMap::new(),
            last_id: 0,
            again: VecDeque::new(),
            accept_at: None,
            looked_at: now,
            changed: true,
            stopping: false,
        })
    }

    /// Runs until it is told to stop.
    pub fn run(mut self) {
        while !self.stopping {
            (self.start.beat)();
            if let Err(error) = self.once() {
                log::error!("[room] ALERT signalling ends: {error}");
                return;
            }
        }
        for (_, member) in self.members.drain() {
            leave(member);
        }
    }

    fn once(&mut self) -> io::Result<()> {
        let mut space = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        let sleep = self.sleep();
        let events = match epoll::wait(&self.epoll, &mut space[..], Some(&sleep)) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        self.now = self.start.clock.now();
        for event in events.iter() {
            match event.data.u64() {
                LISTENER => self.accept(),
                WAKE => self.start.shared.answer_bell(),
                id => self.on_socket(ConnectionId(id)),
            }
        }
        // Before the sockets: who was told something by us and connects then finds it done.
        self.read_mail();
        for _ in 0..self.again.len() {
            if let Some(id) = self.again.pop_front() {
                self.read(id);
            }
        }
        if self.now.since(self.looked_at) >= TICK {
            self.look();
        }
        self.carry_out();
        if std::mem::take(&mut self.changed) {
            self.publish();
        }
        Ok(())
    }

    fn sleep(&self) -> Timespec {
        let idle = self.registry.is_idle() && self.sockets.is_empty() && self.accept_at.is_none();
        let wait = match (self.again.is_empty(), idle) {
            (false, _) => Duration::ZERO,
            (true, true) => MAX_SLEEP,
            (true, false) => TICK.saturating_sub(self.now.since(self.looked_at)),
        };
        Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() }
    }

    fn accept(&mut self) {
        if self.accept_at.is_some_and(|at| !self.now.reached(at)) {
            return;
        }
        self.accept_at = None;
        loop {
            match self.start.listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok() {
                        self.adopt(stream);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("[room] cannot take a connection: {error}");
                    self.accept_at = Some(self.now + BACKOFF);
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, stream: UnixStream) {
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        if epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(id.0), flags).is_ok() {
            self.sockets.insert(id, Socket::new(stream, self.now));
            self.again.push_back(id);
        }
    }

    fn on_socket(&mut self, id: ConnectionId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if !socket.flush(self.now) {
            return self.cut(id);
        }
        if !self.again.contains(&id) {
            self.again.push_back(id);
        }
    }

    /// Reads some of what a connection brings.
    fn read(&mut self, id: ConnectionId) {
        for _ in 0..MESSAGES_PER_ROUND {
            let now = self.now;
            let Some(socket) = self.sockets.get_mut(&id) else { return };
            // What is read is anybody's bytes, and what reads it is a library's.
            let brought = isolate("a signalling connection", || socket.next(now));
            match brought.unwrap_or(Brought::Closed) {
                Brought::Nothing => return,
                Brought::Closed => return self.gone(id, Ending::Closed),
                Brought::Broken => return self.gone(id, Ending::Broken),
                Brought::Arrived(count) => self.registry.arrived(id, count),
                Brought::Upgrade(upgrade) => self.judge(id, &upgrade),
                Brought::Bad(bad) => {
                    let reply = reply::error(bad.status, bad.detail, None);
                    socket.refuse(&reply, now);
                }
                Brought::Text(text) => self.registry.frame(now, id, Frame::Text(text.as_str())),
                Brought::Binary => self.registry.frame(now, id, Frame::Binary),
                Brought::TooLong => self.registry.frame(now, id, Frame::TooLong),
                Brought::Control => self.registry.frame(now, id, Frame::Control),
                Brought::Part => {}
            }
            // In order: what one message leads to comes before the next.
            self.carry_out();
        }
        self.again.push_back(id);
    }

    /// Grants or refuses an upgrade.
    fn judge(&mut self, id: ConnectionId, upgrade: &Upgrade) {
        let judged = self.admitted(upgrade);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        match judged {
            Ok(visitor) if socket.grant(upgrade, self.now) => self.registry.opened(self.now, id, visitor),
            Ok(_) => self.gone(id, Ending::Broken),
            Err(reply) => socket.refuse(&reply, self.now),
        }
        self.changed = true;
    }

    fn admitted(&mut self, upgrade: &Upgrade) -> Result<Visitor, String> {
        if !self.start.access.is_enabled() {
            return Err(reply::error(404, "rooms are not enabled on this worker: see rooms.enabled", None));
        }
        let token = upgrade.token.as_deref().unwrap_or_default();
        let admitted = self.start.access.admit(token, upgrade.host.as_deref(), SystemTime::now());
        let membership =
            admitted.map_err(|denied| reply::error(denied.status(), &denied.to_string(), None))?;
        let who = match (&membership.subject, upgrade.client) {
            (Some(subject), _) => subject.clone(),
            (None, Some(client)) => client.to_string(),
            (None, None) => String::new(),
        };
        let identity = format!("{} {who}", membership.namespace);
        self.registry.may_open(self.now, &identity).map_err(|refusal| reply::refusal(&refusal))?;
        let peer = PeerId::from_entropy(entropy::bytes());
        let resume_token = ResumeToken::from_entropy(entropy::bytes());
        let (room, address) = (upgrade.room.clone(), upgrade.client);
        Ok(Visitor { membership, room, peer, resume_token, address })
    }

    fn read_mail(&mut self) {
        for _ in 0..MAIL_PER_ROUND {
            match self.start.mail.try_recv() {
                Ok(message) => self.take(message),
                Err(_) => return,
            }
        }
        self.start.shared.ring();
    }

    fn take(&mut self, message: Message) {
        let now = self.now;
        match message {
            Message::Media(id, event) => {
                if let Some(member) = self.members.get(&id) {
                    member.backlog.taken();
                }
                self.registry.media(now, id, event);
                // A flood of events leaves no flood of actions.
                self.carry_out();
            }
            Message::Create { key, limits, reply } => {
                let created = self.registry.create(now, key, limits);
                self.publish();
                let _ = reply.try_send(created);
            }
            Message::Close { key, reply } => {
                let closed = self.registry.close_room(&key);
                self.carry_out();
                self.publish();
                let _ = reply.try_send(closed);
            }
            Message::Drain { reason, timeout } => {
                let seconds = timeout.as_secs();
                let members = self.members.len();
                log::info!(
                    "[room] draining: {members} members are told to join elsewhere within {seconds} s"
                );
                self.registry.drain(now, &reason, timeout);
            }
            Message::Resume => self.registry.resume_after_drain(),
            Message::Stop => self.stopping = true,
        }
    }

    fn look(&mut self) {
        self.looked_at = self.now;
        let rooms = self.registry.rooms().len();
        self.registry.tick(self.now);
        self.changed |= self.registry.rooms().len() != rooms;
        self.carry_out();
        let now = self.now;
        let over = self.sockets.iter_mut().filter_map(|(id, socket)| (!socket.look(now)).then_some(*id));
        let over: Vec<ConnectionId> = over.collect();
        over.into_iter().for_each(|id| self.cut(id));
        if self.accept_at.is_some() {
            self.accept();
        }
    }

    /// Nothing can be sent by it any more. What its client said before that counts still, its leaving above all.
    fn cut(&mut self, id: ConnectionId) {
        let Some(mut socket) = self.sockets.remove(&id) else { return };
        let now = self.now;
        let mut ending = Ending::Broken;
        for _ in 0..MESSAGES_PER_ROUND {
            match isolate("a signalling connection", || socket.next(now)).unwrap_or(Brought::Closed) {
                Brought::Text(text) => self.registry.frame(now, id, Frame::Text(text.as_str())),
                Brought::Arrived(count) => self.registry.arrived(id, count),
                Brought::Closed => {
                    ending = Ending::Closed;
                    break;
                }
                _ => break,
            }
        }
        self.gone(id, ending);
    }

    fn gone(&mut self, id: ConnectionId, ending: Ending) {
        self.sockets.remove(&id);
        match ending {
            Ending::Closed => self.registry.closed(self.now, id),
            Ending::Broken => self.registry.broken(self.now, id),
        }
        self.changed = true;
    }

    /// Does what the registry wants, until it wants nothing.
    fn carry_out(&mut self) {
        loop {
            let actions = self.registry.take_actions();
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Say { to, text } => self.say(&to, &text),
            Action::Enter { connection, room, peer } => {
                let entered = self.enter(connection, room, peer);
                self.registry.entered(self.now, connection, entered);
                self.changed = true;
            }
            Action::Media { member, order: MediaOrder::Leave } => {
                if let Some(member) = self.members.remove(&member) {
                    leave(member);
                }
                self.changed = true;
            }
            Action::Media { member, order } => {
                if let Some(member) = self.members.get_mut(&member) {
                    member.media.order(order);
                }
            }
            Action::Refresh(id) => {
                let fresh = self.registry.visitor_of(id).and_then(|visitor| self.credentials(visitor));
                self.registry.credentials(self.now, id, fresh);
            }
            Action::Close(id, closing) => {
                if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.close(closing, self.now);
                    self.again.push_back(id);
                }
                self.changed = true;
            }
        }
    }

    fn say(&mut self, to: &[ConnectionId], text: &Text) {
        let text = Utf8Bytes::from(text.as_str());
        let mut cut = Vec::new();
        for id in to {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            if !socket.say(text.clone(), self.now) {
                cut.push(*id);
            }
        }
        cut.into_iter().for_each(|id| self.cut(id));
    }

    fn enter(
        &mut self,
        id: ConnectionId,
        room: RoomKey,
        peer: PeerId,
    ) -> Result<Option<Credentials>, String> {
        let backlog = Arc::new(Backlog::default());
        let (shared, counted, member) = (self.start.shared.clone(), backlog.clone(), MemberId::from(id));
        let sink = Arc::new(move |event: MediaEvent| {
            if counted.admits(&event) {
                shared.tell(Message::Media(member, event));
            }
        });
        let media = self.start.media.join(MemberPlace { room, peer }, sink)?;
        self.members.insert(member, Member { media, backlog });
        Ok(self.registry.visitor(id).and_then(|visitor| self.credentials(visitor)))
    }

    fn credentials(&self, visitor: &Visitor) -> Option<Credentials> {
        let Visitor { membership, peer, .. } = visitor;
        let who = membership.subject.as_deref().unwrap_or(peer.as_str());
        let made = self.start.access.turn_credentials(&membership.namespace, who, SystemTime::now())?;
        let (ttl, fields) = (made.ttl, serde_json::to_value(&made).ok()?);
        Some(Credentials { ttl, fields })
    }

    fn publish(&self) {
        let (moment, now) = (self.start.clock.now(), SystemTime::now());
        let brief = |((ns, id), room): (&RoomKey, &Room)| RoomBrief {
            ns: ns.clone(),
            id: id.clone(),
            peers: u32::try_from(room.members().len()).unwrap_or(u32::MAX),
            created_at: unix_seconds(now - moment.since(room.created_at())),
        };
        let rooms = self.registry.rooms().map(brief).collect();
        self.start.shared.publish(rooms, self.registry.connections(), self.registry.detached());
    }
}

fn leave(mut member: Member) {
    member.media.order(MediaOrder::Leave);
}
