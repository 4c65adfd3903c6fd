//! What is known of this worker's sessions, for everybody who only looks: the edge's router, the API, heartbeats.
//!
//! Owners publish: a session's supervisor writes its [`SessionState`], the edge counts its tunnels, the `cleanup` thread adds and
//! removes handles. Nobody decides anything here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;

use crate::api::overlay;
use crate::api::sessions::Link;
use crate::api::types::{CreateRequest, DEFAULT_ENGINE, DEMO_ENGINE, SourceView, Timings};
use crate::core::fleet::fence::Caller;
use crate::core::fleet::parcel::Carried;
use crate::core::ids::{Port, SessionId, WorkerId};
use crate::core::limits::rate_limit::{Rate, SharedRate};
use crate::core::outside_prefix;
use crate::core::records::attendance::{Attendance, Beat};
use crate::core::records::record::Record;
use crate::core::session::headcount::Seen;
use crate::core::session::reason::EndReason;
use crate::core::session::timeline::{Happening, Timeline};
use crate::core::session::{Failure, Status};
use crate::core::time::Moment;
use crate::edge::event_channel::{EventChannel, Places};
use crate::edge::router::{Injection, TunnelWatch};
use crate::host::clock::{Clock, unix_millis};
use crate::worker::child_log::SharedEnds;
use crate::worker::engines::Choice;
use crate::worker::events;
use crate::worker::leaked_streamers::Sockets;
use crate::worker::mailbox::{Mailbox, Message};
use crate::worker::mic_slot::MicSlot;
use crate::worker::source_trouble::SourceTrouble;
use crate::worker::story::{Remembered, Story};

/// A request for a session's process is told to its supervisor when none came for this long: pages ask in bursts.
const WANTED_AGAIN: Duration = Duration::from_secs(5);

/// Every session of this worker, ended ones included until they are forgotten.
#[derive(Debug)]
pub struct SessionRegistry {
    handles: RwLock<Cards>,
    places: Places,
    viewers_places: Places,
    drain_until: RwLock<Option<Moment>>,
}

impl Default for SessionRegistry {
    fn default() -> SessionRegistry {
        SessionRegistry {
            handles: RwLock::default(),
            places: events::places(),
            viewers_places: events::viewers_places(),
            drain_until: RwLock::default(),
        }
    }
}

/// The handles by the ids of their links.
#[derive(Debug, Default)]
struct Cards {
    by_id: HashMap<SessionId, Arc<SessionHandle>>,
    by_view: HashMap<SessionId, Arc<SessionHandle>>,
}

/// A session as somebody came to it by one of its links.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The session.
    pub handle: Arc<SessionHandle>,
    /// By which link.
    pub link: Link,
    /// The id in that link. What is told to who came by it names this one, never the other.
    pub id: SessionId,
}

/// The link of a session that only watches.
#[derive(Debug)]
pub struct ViewLink {
    /// Its id: as unguessable as the session's, and neither tells the other.
    pub id: SessionId,
    /// What its pages are told as it happens: what the owner's page is told, in places of their own, so that no number of
    /// viewers keeps the owner from being told.
    pub feed: Arc<EventChannel>,
    pace: Mutex<SharedRate<IpAddr>>,
}

/// The events of a session, on their way to its pages.
#[derive(Debug)]
pub struct Feeds {
    /// The owner's page.
    pub owner: EventChannel,
    /// The viewers' pages; media engines have them.
    pub viewers: EventChannel,
}

/// One session.
#[derive(Debug)]
pub struct SessionHandle {
    /// Its id.
    pub id: SessionId,
    /// What was asked for.
    pub request: CreateRequest,
    /// When.
    pub created: Moment,
    /// When, on the wall clock, in milliseconds since the epoch.
    pub created_unix_ms: u64,
    /// What a proxy takes off the path where its creator reached us: of its `base_url`.
    pub prefix: Arc<str>,
    /// Its part of the origin where its creator reached us.
    outside: Outside,
    /// Its link that only watches; media engines have one.
    pub view_link: Option<ViewLink>,
    /// The outside URL of whom the create asked, without a trailing slash.
    pub base_url: String,
    /// What the controller had left for its create, where that is less than `sessions.create_timeout`.
    pub time_left: Option<Duration>,
    /// Where it was before, and what it brought along.
    pub arrival: Option<Box<Arrival>>,
    /// A controller created it, so that its links lead to wherever it is.
    by_controller: bool,
    /// Reaches the supervisor.
    pub mailbox: Mailbox,
    /// What its page is told as it happens.
    pub feed: Arc<EventChannel>,
    /// For its record.
    pub story: Story,
    /// Only of a session that an earlier run saw the end of.
    past: Option<Past>,
    /// Its microphone.
    pub mic: MicSlot,
    /// WebSockets that are being opened or are open.
    pub sockets: AtomicU32,
    tunnels: AtomicU32,
    viewers: AtomicU32,
    /// Browsers that ever came: tunnels, viewers, pages that began to say that media arrives.
    arrivals: AtomicU64,
    attendance: Mutex<Attendance>,
    page_sockets: Mutex<Sockets>,
    /// When a page was last asked for, in milliseconds of our clock; 0: never.
    wanted: AtomicU64,
    /// The last signalling socket came without its upgrade.
    upgrade_lost: AtomicBool,
    /// That was logged.
    upgrade_loss_told: AtomicBool,
    pace: Mutex<SharedRate<IpAddr>>,
    timeline: Mutex<Timeline>,
    view: RwLock<SessionState>,
}

/// A session's part of the origin, as browsers see it.
#[derive(Clone, Debug)]
pub struct Outside {
    /// `PREFIX/session/ID/`: what its process speaks for.
    pub path: Arc<str>,
    /// What the edge puts into its pages.
    pub injection: Injection,
}

impl Outside {
    /// Of this session below this prefix.
    fn below(prefix: &str, id: &SessionId) -> Outside {
        let path = path_of(prefix, id);
        // Cloudflare's Rocket Loader would run the script after all others, if at all.
        let tag = format!("<script data-cfasync=\"false\" src=\"{path}{OVERLAY}\"></script>");
        Outside {
            path: path.into(),
            injection: Injection { tag: tag.into(), version: overlay::version().into() },
        }
    }
}

/// What is said of a proxy that takes the upgrade off a page's WebSocket.
pub const UPGRADE_LOST: &str = "a proxy in front of this service does not pass WebSockets: it has to speak HTTP/1.1 to us and to pass \
                                the Upgrade and Connection fields (see docs/proxies.md); the page cannot play until then";

/// What happened before our clock began.
#[derive(Clone, Copy, Debug)]
struct Past {
    ended_before: Duration,
    lived_ms: u64,
}

/// What a create asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The new session's id: the controller's choice, or ours.
    pub id: SessionId,
    /// The id of its link that only watches; `None` for an engine that has no viewers of ours.
    pub view_id: Option<SessionId>,
    /// The checked request.
    pub request: CreateRequest,
    /// The engine it names, with its parameters.
    pub engine: Choice,
    /// The outside URL of whom the create asked, without a trailing slash.
    pub base_url: String,
    /// What the controller has left for it, where that is less than `sessions.create_timeout`.
    pub time_left: Option<Duration>,
    /// Who asks.
    pub caller: Caller,
    /// It was at another worker before.
    pub arrival: Option<Box<Arrival>>,
}

/// What a session brings along that was at another worker before.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Which copy of the session this is.
    pub copy: u32,
    /// Where it was.
    pub from: WorkerId,
    /// What it has lived through.
    pub carried: Carried,
}

/// What the supervisor publishes.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Where it stands.
    pub status: Status,
    /// The child's port.
    pub port: Port,
    /// Whether browsers may be let through to the child.
    pub open: bool,
    /// The name the child knows the browser by, once settled.
    pub user: Option<Arc<str>>,
    /// The stream page below `/session/ID`, once known.
    pub page: Option<String>,
    /// Pid and start time of the child.
    pub process: Option<(i32, u64)>,
    /// The session's directory.
    pub directory: Option<PathBuf>,
    /// Restarts so far.
    pub restarts: u32,
    /// What went wrong without stopping it.
    pub warnings: Vec<String>,
    /// What keeps viewers from what the source sends by now.
    pub troubles: Vec<SourceTrouble>,
    /// Why there is no stream.
    pub failure: Option<Failure>,
    /// How long the phases of its create took, as far as it came.
    pub timings: Timings,
    /// When it ended.
    pub ended: Option<Moment>,
    /// What a media engine sends.
    pub source: Option<Box<SourceView>>,
    /// The two ends of a media process's log.
    pub log: Option<SharedEnds>,
}

impl SessionState {
    /// The view of a session that was just accepted.
    pub fn new(port: Port) -> SessionState {
        SessionState {
            status: Status::Requested,
            port,
            open: false,
            user: None,
            page: None,
            process: None,
            directory: None,
            restarts: 0,
            warnings: Vec::new(),
            troubles: Vec::new(),
            failure: None,
            timings: Timings::default(),
            ended: None,
            source: None,
            log: None,
        }
    }

    /// Where the child listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.0))
    }

    /// Why it ended, when it has.
    pub fn ended_as(&self) -> Option<EndReason> {
        match self.status {
            Status::Ended(reason) => Some(reason),
            _ => None,
        }
    }
}

impl SessionHandle {
    /// A handle for a new session.
    pub fn new(asked: Asked, created: Moment, mailbox: Mailbox, port: Port, feeds: Feeds) -> SessionHandle {
        let prefix = outside_prefix::of_url(&asked.base_url);
        let carried = asked.arrival.as_ref().map(|arrival| arrival.carried.clone()).unwrap_or_default();
        let timeline = timeline_of(asked.arrival.as_deref());
        let view_link =
            asked.view_id.map(|id| ViewLink { id, feed: Arc::new(feeds.viewers), pace: Mutex::default() });
        SessionHandle {
            prefix: prefix.into(),
            outside: Outside::below(prefix, &asked.id),
            id: asked.id,
            request: asked.request,
            created,
            created_unix_ms: unix_millis().saturating_sub(carried.lived_ms),
            view_link,
            base_url: asked.base_url,
            time_left: asked.time_left,
            arrival: asked.arrival,
            by_controller: matches!(asked.caller, Caller::Controller(_)),
            mailbox,
            feed: Arc::new(feeds.owner),
            past: None,
            mic: MicSlot::after(Duration::from_millis(carried.mic_ms)),
            story: Story::after(carried),
            sockets: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            viewers: AtomicU32::new(0),
            arrivals: AtomicU64::new(0),
            attendance: Mutex::default(),
            page_sockets: Mutex::default(),
            wanted: AtomicU64::new(0),
            upgrade_lost: AtomicBool::new(false),
            upgrade_loss_told: AtomicBool::new(false),
            pace: Mutex::default(),
            timeline: Mutex::new(timeline),
            view: RwLock::new(SessionState::new(port)),
        }
    }

    /// The handle of a session that an earlier run left. `None`: its request makes no sense any more.
    pub fn past(
        remembered: Remembered,
        now: Moment,
        mailbox: Mailbox,
        feeds: Feeds,
    ) -> Option<SessionHandle> {
        let Remembered { record, base_url, view_id, ended_ago, story, timeline } = remembered;
        let request = json!({
            "body_ip": record.body_ip, "experience": record.experience, "district": record.district,
        });
        let request = CreateRequest::parse(request.to_string().as_bytes()).ok()?;
        let moved = record.moves > 0;
        let past = Past { ended_before: ended_ago, lived_ms: record.duration_ms };
        // It has no engine any more; its record says which it had.
        let asked = Asked {
            id: record.session_id.clone(),
            view_id,
            request,
            engine: Choice::Moonlight,
            base_url,
            time_left: None,
            caller: Caller::Operator,
            arrival: moved.then(|| Box::new(Arrival::of_record(&record))),
        };
        let handle = SessionHandle::new(asked, now, mailbox, Port(0), feeds);
        handle.publish(|view| {
            view.status = Status::Ended(record.reason);
            view.restarts = record.restarts;
            view.ended = Some(now);
        });
        let timeline = Mutex::new(timeline);
        Some(SessionHandle {
            created_unix_ms: record.started_unix_ms,
            story,
            past: Some(past),
            timeline,
            ..handle
        })
    }

    /// When it is forgotten, given how long ended sessions are remembered; `None` while it lives.
    pub fn forget_at(&self, window: Duration) -> Option<Moment> {
        let before = self.past.map_or(Duration::ZERO, |past| past.ended_before);
        self.read(|view| view.ended).map(|ended| ended + window.saturating_sub(before))
    }

    /// A copy of what the supervisor published last.
    pub fn view(&self) -> SessionState {
        self.read(SessionState::clone)
    }

    /// Looks at the view without copying it.
    pub fn read<T>(&self, look: impl FnOnce(&SessionState) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes. Only the supervisor does.
    pub fn publish(&self, change: impl FnOnce(&mut SessionState)) {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Something happened that its timeline tells.
    pub fn note(&self, what: Happening) {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).note(unix_millis(), what);
    }

    /// So many browsers are connected now, which may be the most so far.
    pub fn note_connected(&self, connections: u32) {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).connected(unix_millis(), connections);
    }

    /// How often its owner's page lost the stream, as far as it said so.
    pub fn interruptions(&self) -> u32 {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).interruptions()
    }

    /// What happened so far.
    pub fn timeline(&self) -> Timeline {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request of this network to the session, or says how long until the next one may come. Each link has its own
    /// count: no number of viewers slows the owner's page.
    pub fn pace(&self, link: Link, now: Moment, rate: Rate, network: Option<IpAddr>) -> Result<(), Duration> {
        let pace = match (link, &self.view_link) {
            (Link::Viewer, Some(view)) => &view.pace,
            _ => &self.pace,
        };
        pace.lock().unwrap_or_else(PoisonError::into_inner).take(now, rate, network.as_ref())
    }

    /// A page asked for a WebSocket, with or without the upgrade that belongs to it. Without: a proxy in front of us took it off,
    /// which is said in the log once a session.
    pub fn note_socket(&self, upgrade_lost: bool) {
        self.upgrade_lost.store(upgrade_lost, Ordering::Release);
        if upgrade_lost && !self.upgrade_loss_told.swap(true, Ordering::AcqRel) {
            log::warn!("[proxy] session {}: {UPGRADE_LOST}", self.id);
        }
    }

    /// Whether its page cannot open WebSockets because of a proxy.
    pub fn is_upgrade_lost(&self) -> bool {
        self.upgrade_lost.load(Ordering::Acquire)
    }

    /// Its part of the origin for a browser that came by a proxy that takes this prefix off. Empty: as its creator came.
    pub fn outside(&self, prefix: &str) -> Outside {
        if prefix.is_empty() || prefix == &*self.prefix {
            self.outside.clone()
        } else {
            Outside::below(prefix, &self.id)
        }
    }

    /// Tells every page of the session something.
    pub fn tell(&self, tell: impl Fn(&EventChannel)) {
        tell(&self.feed);
        self.view_link.iter().for_each(|view| tell(&view.feed));
    }

    /// Open WebSocket tunnels.
    pub fn tunnels(&self) -> u32 {
        self.tunnels.load(Ordering::Acquire)
    }

    /// How long it has lived, in milliseconds; stands still once it ended.
    pub fn age(&self, now: Moment) -> u64 {
        if let Some(past) = self.past {
            return past.lived_ms;
        }
        let until = self.read(|view| view.ended).unwrap_or(now);
        let here = u64::try_from(until.since(self.created).as_millis()).unwrap_or(u64::MAX);
        here.saturating_add(self.lived_before_ms())
    }

    /// How long it lived at other workers, in milliseconds.
    pub fn lived_before_ms(&self) -> u64 {
        self.arrival.as_ref().map_or(0, |arrival| arrival.carried.lived_ms)
    }

    /// Which copy of the session this is: how often it has moved.
    pub fn copy(&self) -> u32 {
        self.arrival.as_ref().map_or(0, |arrival| arrival.copy)
    }

    /// Whether it may go on at another worker.
    pub fn is_movable(&self) -> bool {
        self.by_controller && self.request.movable
    }

    /// Whether it was let go, to go on at another worker.
    pub fn has_moved(&self) -> bool {
        self.end_reason() == Some(EndReason::Moved)
    }

    /// Viewers that a media engine's picture goes to.
    pub fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Acquire)
    }

    /// Browsers that are here: with a connection of either kind, or because their pages say that media arrives. A page may have
    /// both, so the larger number counts.
    pub fn connected(&self, now: Moment) -> u32 {
        self.tunnels().saturating_add(self.viewers()).max(self.attendance(|pages| pages.watching(now)))
    }

    /// How many ever came, and how many are here.
    pub fn seen(&self, now: Moment) -> Seen {
        // In this order: `Seen` says why.
        let arrivals = self.arrivals.load(Ordering::Acquire);
        Seen { arrivals, present: self.connected(now) }
    }

    /// Somebody came, who is counted among those who are here already.
    fn came(&self) {
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        self.mailbox.send(Message::Connections);
    }

    /// Looks at the pages that say that media arrives.
    pub fn attendance<T>(&self, look: impl FnOnce(&Attendance) -> T) -> T {
        look(&self.attendance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A page says whether media arrives. One without a signalling socket connects by saying so.
    pub fn heard(&self, beat: Beat, now: Moment) {
        let by_socket = beat.socket || self.tunnels() > 0;
        if !beat.media {
            self.page_sockets.lock().unwrap_or_else(PoisonError::into_inner).farewell(now);
        }
        let news = self.attendance.lock().unwrap_or_else(PoisonError::into_inner).hear(now, beat);
        if news && !by_socket && self.is_proxied() {
            self.story.connected();
        }
        if news { self.came() } else { self.mailbox.send(Message::Connections) }
    }

    /// Looks at the signalling sockets of its pages.
    pub fn page_sockets<T>(&self, look: impl FnOnce(&Sockets) -> T) -> T {
        look(&self.page_sockets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request for its process comes. Its supervisor hears of the first in a while.
    pub fn want(&self, now: Moment) {
        let before = self.wanted.swap(now.0.max(1), Ordering::AcqRel);
        if before == 0 || now.since(Moment(before)) > WANTED_AGAIN {
            self.mailbox.send(Message::Connections);
        }
    }

    /// When somebody last needed its process: now, while a browser is there.
    pub fn needed(&self, now: Moment) -> Option<Moment> {
        let wanted = self.wanted.load(Ordering::Acquire);
        if self.connected(now) > 0 { Some(now) } else { (wanted > 0).then_some(Moment(wanted)) }
    }

    /// A viewer's connection is up. Either link's keeps the session from being idle; the record counts the owner's.
    pub fn viewer_connected(&self, link: Link) {
        self.viewers.fetch_add(1, Ordering::AcqRel);
        if link == Link::Owner {
            self.story.connected();
        }
        self.came();
    }

    /// A connected viewer is gone.
    pub fn viewer_gone(&self) {
        self.viewers.fetch_sub(1, Ordering::AcqRel);
        self.mailbox.send(Message::Connections);
    }

    /// Why it ends, or has ended.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.read(|view| view.status.reason())
    }

    /// The engine as its page knows it: `moonlight`, `demo`, or `ffmpeg` for every process of the configuration.
    pub fn engine_kind(&self) -> &'static str {
        match self.request.engine.as_str() {
            DEFAULT_ENGINE => DEFAULT_ENGINE,
            DEMO_ENGINE => DEMO_ENGINE,
            _ => "ffmpeg",
        }
    }

    /// Whether its page is the stream process's own; else it is ours.
    pub fn is_proxied(&self) -> bool {
        self.request.engine == DEFAULT_ENGINE
    }

    /// Whether it holds its body, its port and its slot.
    pub fn is_live(&self) -> bool {
        self.read(|view| view.ended_as().is_none())
    }
}

/// One tunnel into a session's process, from its opening to its end.
#[derive(Debug)]
pub struct Tunnel {
    handle: Arc<SessionHandle>,
    clock: Clock,
    number: AtomicU64,
}

impl Tunnel {
    /// A tunnel that may be opened.
    pub fn of(handle: Arc<SessionHandle>, clock: Clock) -> Tunnel {
        Tunnel { handle, clock, number: AtomicU64::new(0) }
    }
}

impl TunnelWatch for Tunnel {
    fn opened(&self) {
        let (handle, now) = (&self.handle, self.clock.now());
        let number = handle.page_sockets.lock().unwrap_or_else(PoisonError::into_inner).open(now);
        self.number.store(number, Ordering::Release);
        handle.tunnels.fetch_add(1, Ordering::AcqRel);
        handle.story.connected();
        handle.came();
    }

    fn closed(&self) {
        let (handle, number) = (&self.handle, self.number.load(Ordering::Acquire));
        handle.page_sockets.lock().unwrap_or_else(PoisonError::into_inner).close(number, self.clock.now());
        handle.tunnels.fetch_sub(1, Ordering::AcqRel);
        handle.mailbox.send(Message::Connections);
    }
}

impl Visit {
    /// `PREFIX/session/ID/` of the link that was used, for a browser that came by a proxy that takes this prefix off. Empty: as
    /// the session's creator came.
    pub fn path(&self, prefix: &str) -> String {
        path_of(if prefix.is_empty() { &self.handle.prefix } else { prefix }, &self.id)
    }

    /// Where its page finds the overlay.
    pub fn overlay(&self, prefix: &str) -> String {
        self.path(prefix) + OVERLAY
    }

    /// What its page is told as it happens.
    pub fn feed(&self) -> &Arc<EventChannel> {
        match (self.link, &self.handle.view_link) {
            (Link::Viewer, Some(view)) => &view.feed,
            _ => &self.handle.feed,
        }
    }
}

impl Asked {
    /// Whether it goes on with a session whose handle is here from before: one that was let go, or did not arrive.
    pub fn follows(&self, known: &SessionHandle) -> bool {
        let copy = self.arrival.as_ref().map_or(0, |arrival| arrival.copy);
        let is_failed = known.end_reason() == Some(EndReason::CreateFailed);
        !known.is_live() && (copy > known.copy() || (is_failed && copy > 0 && copy == known.copy()))
    }
}

impl Arrival {
    /// As far as a record of an earlier run tells.
    fn of_record(record: &Record) -> Arrival {
        let carried = Carried { moves: record.moves.saturating_sub(1), ..Carried::default() };
        Arrival { copy: record.moves, from: record.worker_id.clone(), carried }
    }
}

fn timeline_of(arrival: Option<&Arrival>) -> Timeline {
    let now = unix_millis();
    let Some(arrival) = arrival else { return Timeline::begun(now) };
    let mut timeline = arrival.carried.timeline.clone().unwrap_or_default();
    timeline.note(now, Happening::Moved { number: arrival.copy, from: arrival.from.clone() });
    timeline
}

/// The overlay below a session's path.
const OVERLAY: &str = "_neck/overlay.js";

fn path_of(prefix: &str, id: &SessionId) -> String {
    format!("{prefix}/session/{}/", id.expose())
}

impl SessionRegistry {
    /// Feeds for the pages of a new session.
    pub fn feeds(&self) -> Feeds {
        Feeds {
            owner: EventChannel::new(self.places.clone()),
            viewers: EventChannel::new(self.viewers_places.clone()),
        }
    }

    /// When what is left of the sessions is ended; `None` while nobody drains.
    pub fn drain_until(&self) -> Option<Moment> {
        *self.drain_until.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes until when a drain waits, also to the pages. Only the `cleanup` thread does.
    pub fn publish_drain(&self, until: Option<Moment>, now: Moment) {
        *self.drain_until.write().unwrap_or_else(PoisonError::into_inner) = until;
        for handle in self.live() {
            handle.tell(|feed| events::tell_drain(feed, until.map(|until| until.since(now))));
        }
    }

    /// The handle of the session with this id. A viewers' link is not it: see [`SessionRegistry::visit`].
    pub fn find(&self, id: &SessionId) -> Option<Arc<SessionHandle>> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// The session that this link leads to, and which of its links it is.
    pub fn visit(&self, id: &SessionId) -> Option<Visit> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let owner = handles.by_id.get(id).map(|handle| (handle, Link::Owner));
        let (handle, link) = owner.or_else(|| Some((handles.by_view.get(id)?, Link::Viewer)))?;
        Some(Visit { handle: handle.clone(), link, id: id.clone() })
    }

    /// Every handle, oldest first.
    pub fn all(&self) -> Vec<Arc<SessionHandle>> {
        let mut handles: Vec<_> =
            self.handles.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect();
        handles.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        handles
    }

    /// Sessions that are not ended.
    pub fn live(&self) -> Vec<Arc<SessionHandle>> {
        self.all().into_iter().filter(|handle| handle.is_live()).collect()
    }

    /// Adds a handle. Only the `cleanup` thread does.
    pub fn add(&self, handle: Arc<SessionHandle>) {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = &handle.view_link {
            handles.by_view.insert(view.id.clone(), handle.clone());
        }
        handles.by_id.insert(handle.id.clone(), handle);
    }

    /// Removes the longest ended sessions until at most `keep` ended ones are left, and returns them. Only the `cleanup`
    /// thread does.
    pub fn forget_beyond(&self, keep: usize) -> Vec<SessionId> {
        let mut ended: Vec<_> = (self.all().into_iter())
            .filter_map(|handle| Some((handle.read(|view| view.ended)?, handle.id.clone())))
            .collect();
        let surplus = ended.len().saturating_sub(keep);
        ended.sort();
        ended.truncate(surplus);
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        ended.iter().for_each(|(_, id)| handles.remove(id));
        ended.into_iter().map(|(_, id)| id).collect()
    }

    /// Removes handles for which `forget` holds, and returns their ids. Only the `cleanup` thread does.
    pub fn forget(&self, forget: impl Fn(&SessionHandle) -> bool) -> Vec<SessionId> {
        let mut forgotten = Vec::new();
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        forgotten
            .extend(handles.by_id.values().filter(|handle| forget(handle)).map(|handle| handle.id.clone()));
        forgotten.iter().for_each(|id| handles.remove(id));
        forgotten
    }
}

impl Cards {
    fn remove(&mut self, id: &SessionId) {
        let view =
            self.by_id.remove(id).and_then(|handle| handle.view_link.as_ref().map(|view| view.id.clone()));
        view.iter().for_each(|id| {
            self.by_view.remove(id);
        });
    }
}

#[cfg(test)]
pub(in crate::worker) mod tests {
    use super::*;
    use crate::host::wake::Wake;

    /// A handle of a session that was just accepted, or has ended.
    pub fn handle(number: u8, ended: Option<Moment>) -> Arc<SessionHandle> {
        card_with(number, None, ended)
    }

    /// The same with a link that only watches.
    pub fn card_with(number: u8, view_id: Option<SessionId>, ended: Option<Moment>) -> Arc<SessionHandle> {
        let request = CreateRequest::parse(br#"{"body_ip":"10.0.0.1"}"#).unwrap();
        let asked = Asked {
            id: SessionId::from_entropy([number; 16]),
            view_id,
            request,
            engine: Choice::Moonlight,
            base_url: "http://neck".into(),
            time_left: None,
            caller: Caller::Operator,
            arrival: None,
        };
        let (mailbox, ..) = Mailbox::new(Wake::new().unwrap());
        let handle =
            SessionHandle::new(asked, Moment(0), mailbox, Port(8080), SessionRegistry::default().feeds());
        handle.publish(|view| view.ended = ended);
        Arc::new(handle)
    }

    #[test]
    fn only_the_longest_ended_sessions_are_forgotten_when_there_are_too_many() {
        let registry = SessionRegistry::default();
        let ends = [None, Some(Moment(30)), Some(Moment(10)), Some(Moment(20))];
        for (number, ended) in (0u8..).zip(ends) {
            registry.add(handle(number, ended));
        }
        registry.forget_beyond(3);
        assert_eq!(registry.all().len(), 4, "three ended ones fit");
        registry.forget_beyond(1);
        let mut left: Vec<_> = registry.all().iter().map(|handle| handle.read(|view| view.ended)).collect();
        left.sort();
        assert_eq!(left, [None, Some(Moment(30))]);
    }

    #[test]
    fn a_viewers_link_leads_to_its_session_and_goes_with_it() {
        let (registry, id, view) =
            (SessionRegistry::default(), SessionId::from_entropy([1; 16]), SessionId::from_entropy([9; 16]));
        let ended = card_with(1, Some(view.clone()), None);
        ended.publish(|view| view.status = Status::Ended(EndReason::Quit));
        registry.add(ended);
        registry.add(handle(2, None));
        let link =
            |id: &SessionId| registry.visit(id).map(|visit| (visit.handle.id.clone(), visit.link, visit.id));
        assert_eq!(link(&id), Some((id.clone(), Link::Owner, id.clone())));
        assert_eq!(link(&view), Some((id.clone(), Link::Viewer, view.clone())));
        assert!(registry.find(&view).is_none(), "it is not the session's name");
        assert_eq!(registry.all().len(), 2, "a session is listed once");
        assert_eq!(registry.forget(|handle| !handle.is_live()), std::slice::from_ref(&id));
        assert!(registry.visit(&id).is_none() && registry.visit(&view).is_none());
    }

    // SPEC 5: Viewers keep the session from being idle, but are none of the owner's connects, and
    // take neither the owner's requests nor places
    // Also: `viewers_leave_the_owner_some_places`, `viewers_hear_of_the_end_in_words_of_their_own`
    #[test]
    fn viewers_use_up_neither_the_owners_requests_nor_the_owners_connects() {
        let handle = card_with(1, Some(SessionId::from_entropy([9; 16])), None);
        let rate = Rate { burst: 1, every: Duration::from_secs(1) };
        assert!(handle.pace(Link::Viewer, Moment(0), rate, None).is_ok());
        assert!(
            handle.pace(Link::Viewer, Moment(0), rate, None).is_err(),
            "the viewers' own count is used up"
        );
        assert!(handle.pace(Link::Owner, Moment(0), rate, None).is_ok());
        handle.viewer_connected(Link::Viewer);
        assert_eq!((handle.connected(Moment(0)), handle.story.connects()), (1, 0));
        handle.viewer_connected(Link::Owner);
        assert_eq!((handle.connected(Moment(0)), handle.story.connects()), (2, 1));
    }
}
