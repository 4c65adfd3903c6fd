//! The `operators` thread and what it shares with the edge: the feed that every open page follows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use crate::api::server::Beat;
use crate::config::live::Live;
use crate::config::secret::Secret;
use crate::edge::event_channel::{EventChannel, Follow, Places, event};
use crate::edge::reply::Reply;
use crate::operator::policy::board::{Board, Look};
use crate::operator::policy::cookie::CookieKey;
use crate::operator::policy::history::{Counted, STEP};

/// Pages that may be open at once, of all operators together.
pub const MAX_WATCHERS: usize = 16;

/// Between two looks while somebody watches. A change is seen in half of the two seconds that it may take at most.
const TICK: Duration = Duration::from_millis(500);

/// A page that was answered begins to follow within this time.
const GRACE: Duration = Duration::from_secs(3);

/// A stream ends after this time, and its page asks for a new one: so nobody watches for much longer than they are logged in.
const FEED_LIFE: Duration = Duration::from_secs(3600);

/// What a slow page may be behind. Each event may tell of the whole fleet, so these are few.
const RECENT: usize = 8;

/// What the page shows, as its role publishes it. Must not block.
pub trait Source: Send + Sync + 'static {
    /// How things stand; the sessions only where they are wanted.
    fn look(&self, with_sessions: bool) -> Look;

    /// What the curves are made of.
    fn counted(&self) -> Counted;
}

/// What the edge and the thread share.
pub struct Operators {
    live: Arc<Live>,
    shown: Mutex<Shown>,
    wake: Sender<()>,
    stopping: AtomicBool,
}

struct Shown {
    feed: Arc<EventChannel>,
    /// How things stand, as the first event of a page; `None`: nobody has watched of late.
    greeting: Option<Arc<str>>,
    /// Of the tokens by which those who follow the feed are logged in.
    tag: String,
    since: Instant,
}

impl Operators {
    /// For the role of these settings. The receiver is for [`Operators::run`].
    pub fn new(live: Arc<Live>) -> (Arc<Operators>, Receiver<()>) {
        let (wake, awake) = crossbeam_channel::bounded(1);
        let tag = key_of(&live).tag().to_owned();
        let shown = Shown { feed: feed(), greeting: None, tag, since: Instant::now() };
        let (shown, stopping) = (Mutex::new(shown), AtomicBool::new(false));
        (Arc::new(Operators { live, shown, wake, stopping }), awake)
    }

    /// What makes and judges cookies now.
    pub fn key(&self) -> CookieKey {
        key_of(&self.live)
    }

    /// The stream of a page whose operator is logged in.
    pub fn follow(&self) -> Result<Follow, Reply> {
        let shown = self.shown();
        if shown.feed.readers() >= MAX_WATCHERS {
            let words = "too many operators' pages are open: close one, then reload this";
            return Err(Reply::over_limit(503, words, "operator_pages", GRACE));
        }
        let greeting = shown.greeting.clone();
        // Browsers ask again after this time when a stream ends.
        let follow =
            shown.feed.follow(|| format!("retry: 1000\n\n{}", greeting.as_deref().unwrap_or_default()));
        drop(shown);
        self.wake_up();
        Ok(follow)
    }

    /// The thread's life is over.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_up();
        self.shown().feed.close("over", "{}");
    }

    fn wake_up(&self) {
        // One that is there already will do.
        if let Err(TrySendError::Disconnected(())) = self.wake.try_send(()) {
            log::debug!("[operator] the thread of the page has ended");
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    pub fn run(&self, source: &dyn Source, awake: &Receiver<()>, beat: &Beat) {
        let mut watch = Watch { operators: self, source, board: Board::default(), is_whole: false };
        let (mut until, mut step) = (Instant::now(), Instant::now());
        while !self.stopping.load(Ordering::Acquire) {
            beat();
            let watched = self.shown().feed.readers() > 0 || Instant::now() < until;
            let to_step = step.saturating_duration_since(Instant::now());
            match awake.recv_timeout(if watched { TICK.min(to_step) } else { to_step }) {
                Ok(()) => until = Instant::now() + GRACE,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let is_step = Instant::now() >= step;
            if is_step {
                step = Instant::now() + STEP;
            }
            self.renew();
            let watched = self.shown().feed.readers() > 0 || Instant::now() < until;
            if watched || is_step {
                watch.round(watched, is_step);
            }
        }
    }

    /// Whoever is logged in by tokens that are no more hears no more; nor does anybody for ever.
    fn renew(&self) {
        let tag = key_of(&self.live).tag().to_owned();
        let mut shown = self.shown();
        if shown.tag != tag || shown.since.elapsed() >= FEED_LIFE {
            shown.feed.close("again", "{}");
            (shown.feed, shown.tag, shown.since) = (feed(), tag, Instant::now());
        }
    }
}

/// The thread's own.
struct Watch<'a> {
    operators: &'a Operators,
    source: &'a dyn Source,
    board: Board,
    /// The board has the sessions too.
    is_whole: bool,
}

impl Watch<'_> {
    fn round(&mut self, watched: bool, is_step: bool) {
        let look = self.source.look(watched);
        let changes = self.board.update(&look);
        let point = is_step.then(|| self.board.history().note(self.source.counted()));
        let was_whole = std::mem::replace(&mut self.is_whole, watched);
        if !watched {
            self.operators.shown().greeting = None;
        } else if !was_whole || !changes.is_empty() || point.is_some() {
            let whole = event("fleet", &self.board.full(look.now));
            let mut shown = self.operators.shown();
            // First what a new page begins with, then the news: so none is lost between them.
            shown.greeting = Some(whole.into());
            match was_whole {
                true => shown.feed.say("fleet", &self.board.changed(look.now, &changes, point)),
                false => shown.feed.say("fleet", &self.board.full(look.now)),
            }
        }
    }
}

fn key_of(live: &Live) -> CookieKey {
    CookieKey::of(live.get().server.admin_secrets().map(Secret::expose))
}

fn feed() -> Arc<EventChannel> {
    // One address may have all of them: operators sit behind one as a rule. A place more, so that our own words are said.
    let places = Places::new(2 * (MAX_WATCHERS + 1), 2 * (MAX_WATCHERS + 1)).with_unnamed(MAX_WATCHERS + 1);
    Arc::new(EventChannel::new(places).keeping(RECENT))
}
