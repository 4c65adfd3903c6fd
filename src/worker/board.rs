//! What is known of this worker's sessions, for everybody who only looks: the edge's router, the API, heartbeats.
//!
//! Owners publish: a session's supervisor writes its [`View`], the edge counts its tunnels, the `cleanup` thread adds and
//! removes cards. Nobody decides anything here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;

use crate::api::overlay;
use crate::api::types::{CreateRequest, DEFAULT_ENGINE, DEMO_ENGINE, SourceView};
use crate::core::ids::{Port, SessionId};
use crate::core::rate_limit::{Rate, SharedRate};
use crate::core::reason::EndReason;
use crate::core::session::{Failure, Status};
use crate::core::time::Moment;
use crate::edge::feed::{Feed, Places};
use crate::edge::router::{Injection, TunnelWatch};
use crate::worker::child_log::SharedEnds;
use crate::worker::chronicle::{Remembered, Story};
use crate::worker::engines::Choice;
use crate::worker::events;
use crate::worker::mailbox::{Mailbox, Message};
use crate::worker::mic::MicSlot;

/// Every session of this worker, ended ones included until they are forgotten.
#[derive(Debug)]
pub struct Board {
    cards: RwLock<HashMap<SessionId, Arc<Card>>>,
    places: Places,
    drain_until: RwLock<Option<Moment>>,
}

impl Default for Board {
    fn default() -> Board {
        Board { cards: RwLock::default(), places: events::places(), drain_until: RwLock::default() }
    }
}

/// One session.
#[derive(Debug)]
pub struct Card {
    /// Its id.
    pub id: SessionId,
    /// What was asked for.
    pub request: CreateRequest,
    /// When.
    pub created: Moment,
    /// When, on the wall clock, in milliseconds since the epoch.
    pub created_unix_ms: u64,
    /// What the edge puts into its pages.
    pub injection: Injection,
    /// The outside URL of whom the create asked, without a trailing slash.
    pub base_url: String,
    /// Reaches the supervisor.
    pub mailbox: Mailbox,
    /// What its page is told as it happens.
    pub feed: Arc<Feed>,
    /// For its record.
    pub story: Story,
    /// Only of a session that an earlier run saw the end of.
    past: Option<Past>,
    /// Its microphone.
    pub mic: MicSlot,
    tunnels: AtomicU32,
    viewers: AtomicU32,
    pace: Mutex<SharedRate<IpAddr>>,
    view: RwLock<View>,
}

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
    /// The checked request.
    pub request: CreateRequest,
    /// The engine it names, with its parameters.
    pub engine: Choice,
    /// The outside URL of whom the create asked, without a trailing slash.
    pub base_url: String,
}

/// What the supervisor publishes.
#[derive(Clone, Debug)]
pub struct View {
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
    /// Why there is no stream.
    pub failure: Option<Failure>,
    /// When it ended.
    pub ended: Option<Moment>,
    /// What a media engine sends.
    pub source: Option<Box<SourceView>>,
    /// The two ends of a media process's log.
    pub log: Option<SharedEnds>,
}

impl View {
    /// The view of a session that was just accepted.
    pub fn new(port: Port) -> View {
        View {
            status: Status::Requested,
            port,
            open: false,
            user: None,
            page: None,
            process: None,
            directory: None,
            restarts: 0,
            warnings: Vec::new(),
            failure: None,
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

impl Card {
    /// A card for a new session.
    pub fn new(asked: Asked, created: Moment, mailbox: Mailbox, port: Port, feed: Feed) -> Card {
        let tag = format!("<script src=\"/session/{}/_neck/overlay.js\"></script>", asked.id.expose());
        let injection = Injection { tag: tag.into(), version: overlay::version().into() };
        Card {
            id: asked.id,
            request: asked.request,
            created,
            created_unix_ms: crate::host::clock::unix_millis(),
            injection,
            base_url: asked.base_url,
            mailbox,
            feed: Arc::new(feed),
            story: Story::default(),
            past: None,
            mic: MicSlot::default(),
            tunnels: AtomicU32::new(0),
            viewers: AtomicU32::new(0),
            pace: Mutex::default(),
            view: RwLock::new(View::new(port)),
        }
    }

    /// The card of a session that an earlier run left. `None`: its request makes no sense any more.
    pub fn past(remembered: Remembered, now: Moment, mailbox: Mailbox, feed: Feed) -> Option<Card> {
        let Remembered { record, base_url, ended_ago, story } = remembered;
        let request = json!({
            "body_ip": record.body_ip, "experience": record.experience, "district": record.district,
        });
        let request = CreateRequest::parse(request.to_string().as_bytes()).ok()?;
        let past = Past { ended_before: ended_ago, lived_ms: record.duration_ms };
        // It has no engine any more; its record says which it had.
        let asked = Asked { id: record.session_id, request, engine: Choice::Moonlight, base_url };
        let card = Card::new(asked, now, mailbox, Port(0), feed);
        card.publish(|view| {
            view.status = Status::Ended(record.reason);
            view.restarts = record.restarts;
            view.ended = Some(now);
        });
        Some(Card { created_unix_ms: record.started_unix_ms, story, past: Some(past), ..card })
    }

    /// When it is forgotten, given how long ended sessions are remembered; `None` while it lives.
    pub fn forget_at(&self, window: Duration) -> Option<Moment> {
        let before = self.past.map_or(Duration::ZERO, |past| past.ended_before);
        self.read(|view| view.ended).map(|ended| ended + window.saturating_sub(before))
    }

    /// A copy of what the supervisor published last.
    pub fn view(&self) -> View {
        self.read(View::clone)
    }

    /// Looks at the view without copying it.
    pub fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes. Only the supervisor does.
    pub fn publish(&self, change: impl FnOnce(&mut View)) {
        change(&mut self.view.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a request of this network to the session, or says how long until the next one may come.
    pub fn pace(&self, now: Moment, rate: Rate, network: Option<IpAddr>) -> Result<(), Duration> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(now, rate, network.as_ref())
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
        u64::try_from(until.since(self.created).as_millis()).unwrap_or(u64::MAX)
    }

    /// Viewers that a media engine's picture goes to.
    pub fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Acquire)
    }

    /// Connected browsers, by either way.
    pub fn connected(&self) -> u32 {
        self.tunnels().saturating_add(self.viewers())
    }

    /// A viewer's connection is up.
    pub fn viewer_connected(&self) {
        self.viewers.fetch_add(1, Ordering::AcqRel);
        self.story.connected();
        self.mailbox.send(Message::Connections);
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

impl TunnelWatch for Card {
    fn opened(&self) {
        self.tunnels.fetch_add(1, Ordering::AcqRel);
        self.story.connected();
        self.mailbox.send(Message::Connections);
    }

    fn closed(&self) {
        self.tunnels.fetch_sub(1, Ordering::AcqRel);
        self.mailbox.send(Message::Connections);
    }
}

impl Board {
    /// A feed for the page of a new session.
    pub fn feed(&self) -> Feed {
        Feed::new(self.places.clone())
    }

    /// When what is left of the sessions is ended; `None` while nobody drains.
    pub fn drain_until(&self) -> Option<Moment> {
        *self.drain_until.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes until when a drain waits, also to the pages. Only the `cleanup` thread does.
    pub fn publish_drain(&self, until: Option<Moment>, now: Moment) {
        *self.drain_until.write().unwrap_or_else(PoisonError::into_inner) = until;
        for card in self.live() {
            events::tell_drain(&card.feed, until.map(|until| until.since(now)));
        }
    }

    /// The card of this id.
    pub fn find(&self, id: &SessionId) -> Option<Arc<Card>> {
        self.cards.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Every card, oldest first.
    pub fn all(&self) -> Vec<Arc<Card>> {
        let mut cards: Vec<_> =
            self.cards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        cards.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        cards
    }

    /// Sessions that are not ended.
    pub fn live(&self) -> Vec<Arc<Card>> {
        self.all().into_iter().filter(|card| card.is_live()).collect()
    }

    /// Adds a card. Only the `cleanup` thread does.
    pub fn add(&self, card: Arc<Card>) {
        self.cards.write().unwrap_or_else(PoisonError::into_inner).insert(card.id.clone(), card);
    }

    /// Removes the longest ended sessions until at most `keep` ended ones are left, and returns them. Only the `cleanup`
    /// thread does.
    pub fn forget_beyond(&self, keep: usize) -> Vec<SessionId> {
        let mut ended: Vec<_> = (self.all().into_iter())
            .filter_map(|card| Some((card.read(|view| view.ended)?, card.id.clone())))
            .collect();
        let surplus = ended.len().saturating_sub(keep);
        ended.sort();
        ended.truncate(surplus);
        let mut cards = self.cards.write().unwrap_or_else(PoisonError::into_inner);
        ended.iter().for_each(|(_, id)| {
            cards.remove(id);
        });
        ended.into_iter().map(|(_, id)| id).collect()
    }

    /// Removes cards for which `forget` holds, and returns their ids. Only the `cleanup` thread does.
    pub fn forget(&self, forget: impl Fn(&Card) -> bool) -> Vec<SessionId> {
        let mut forgotten = Vec::new();
        self.cards.write().unwrap_or_else(PoisonError::into_inner).retain(|id, card| {
            let stays = !forget(card);
            if !stays {
                forgotten.push(id.clone());
            }
            stays
        });
        forgotten
    }
}

#[cfg(test)]
pub(in crate::worker) mod tests {
    use super::*;
    use crate::host::wake::Wake;

    /// A card of a session that was just accepted, or has ended.
    pub fn card(number: u8, ended: Option<Moment>) -> Arc<Card> {
        let request = CreateRequest::parse(br#"{"body_ip":"10.0.0.1"}"#).unwrap();
        let asked = Asked {
            id: SessionId::from_entropy([number; 16]),
            request,
            engine: Choice::Moonlight,
            base_url: "http://neck".into(),
        };
        let (mailbox, ..) = Mailbox::new(Wake::new().unwrap());
        let card = Card::new(asked, Moment(0), mailbox, Port(8080), Board::default().feed());
        card.publish(|view| view.ended = ended);
        Arc::new(card)
    }

    #[test]
    fn only_the_longest_ended_sessions_are_forgotten_when_there_are_too_many() {
        let board = Board::default();
        let ends = [None, Some(Moment(30)), Some(Moment(10)), Some(Moment(20))];
        for (number, ended) in (0u8..).zip(ends) {
            board.add(card(number, ended));
        }
        board.forget_beyond(3);
        assert_eq!(board.all().len(), 4, "three ended ones fit");
        board.forget_beyond(1);
        let mut left: Vec<_> = board.all().iter().map(|card| card.read(|view| view.ended)).collect();
        left.sort();
        assert_eq!(left, [None, Some(Moment(30))]);
    }
}
