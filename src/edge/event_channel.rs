//! What an owner publishes to the event streams (`text/event-stream`) that the edge holds open for it.
//!
//! The owner says things into a [`EventChannel`]; each loop that has readers of it is woken by its eventfd, once, and sends what is
//! new. No thread waits for a reader and no owner waits for a socket: a reader that falls more than `RECENT` events
//! behind has missed one, and is dropped.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::doorbell::Doorbell;
use crate::core::limits::fair_share::{FairShare, Refused, Share, Sizes};
use crate::edge::reply::Reply;

/// When a page that gets no stream may ask for one again.
const LATER: Duration = Duration::from_secs(5);

/// Events a reader may be behind. A session has a dozen in its life; a crash and its restart make three at once.
const RECENT: usize = 64;

/// How many streams may be open at once in a process. An address has half of a feed's and an eighth of all.
#[derive(Clone, Debug)]
pub struct Places {
    held: Arc<Mutex<FairShare<Key>>>,
    feeds: Arc<AtomicU64>,
    total: usize,
    per_feed: usize,
    unnamed: usize,
}

/// A feed is named by its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Feed(u64),
    Network(IpAddr),
    NetworkInFeed(u64, IpAddr),
    UnnamedInFeed(u64),
}

/// A limit of streams that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamLimit {
    /// Of all.
    All,
    /// Of one feed.
    OfFeed,
    /// Of one address.
    OfAddress,
}

impl StreamLimit {
    /// The answer.
    pub fn reply(self) -> Reply {
        let (status, words, name) = match self {
            StreamLimit::All => {
                (503, "too many event streams: ask for the status instead, or later", "event_streams")
            }
            StreamLimit::OfFeed => (
                503,
                "too many event streams of this session: ask for the status instead, or later",
                "event_streams_per_session",
            ),
            StreamLimit::OfAddress => (
                429,
                "too many event streams of this address: ask for the status instead, or later",
                "event_streams_per_address",
            ),
        };
        Reply::over_limit(status, words, name, LATER)
    }
}

impl Places {
    /// At most `total` streams, and at most `per_feed` of one feed. Clones share the total.
    pub fn new(total: usize, per_feed: usize) -> Places {
        // What one feed is allowed it gets, if it is all.
        let reserve = Sizes::of(total).reserve.min(total.saturating_sub(per_feed));
        let held = Arc::new(Mutex::new(FairShare::new(Sizes { capacity: total, reserve })));
        Places { held, feeds: Arc::default(), total, per_feed, unnamed: per_feed }
    }

    /// Readers of a feed whose address is nobody's in particular (loopback, a proxy that is not trusted) have so many together.
    pub fn with_unnamed(self, unnamed: usize) -> Places {
        Places { unnamed, ..self }
    }

    /// Streams that are open.
    pub fn taken(&self) -> usize {
        self.held().held()
    }

    fn held(&self) -> MutexGuard<'_, FairShare<Key>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, feed: u64, network: Option<IpAddr>) -> Result<Vec<Key>, StreamLimit> {
        let mut shares = vec![Share { key: Key::Feed(feed), most: self.per_feed }];
        match network {
            Some(network) => {
                let in_feed = Key::NetworkInFeed(feed, network);
                shares.push(Share { key: in_feed, most: self.per_feed.div_ceil(2) });
                shares.push(Share { key: Key::Network(network), most: self.total.div_ceil(8) });
            }
            None => shares.push(Share { key: Key::UnnamedInFeed(feed), most: self.unnamed }),
        }
        self.held().take(&shares).map_err(|refused| match refused {
            Refused::Full => StreamLimit::All,
            Refused::Share(1..) if network.is_some() => StreamLimit::OfAddress,
            Refused::Share(_) => StreamLimit::OfFeed,
        })?;
        Ok(shares.into_iter().map(|share| share.key).collect())
    }

    fn give_back(&self, keys: &[Key]) {
        self.held().give_back(keys);
    }
}

/// What one owner publishes. Many readers may follow it.
pub struct EventChannel {
    places: Places,
    number: u64,
    keeps: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The events said last, oldest first; the newest has number `said - 1`.
    recent: VecDeque<Arc<str>>,
    said: u64,
    over: bool,
    readers: Vec<Arc<Reader>>,
}

struct Reader {
    bell: Doorbell,
    /// It was rung and has not looked since: ringing again would tell it nothing.
    rung: AtomicBool,
}

/// A reply that follows a feed: what is sent first, and from where on.
pub struct Follow {
    feed: Arc<EventChannel>,
    from: u64,
    greeting: String,
}

/// A place among a feed's readers; dropping it gives it back.
pub struct Subscription {
    feed: Arc<EventChannel>,
    reader: Arc<Reader>,
    next: u64,
    keys: Vec<Key>,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// An event, as it goes onto the wire.
    Event(Arc<str>),
    /// Nothing; it is rung when there is something.
    None,
    /// Nothing, for ever.
    Over,
    /// It was too slow: an event that it should have had is forgotten.
    Missed,
}

/// One event in the form of the stream (HTML, 9.2.6). `data` is one line.
pub fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

impl EventChannel {
    /// A feed that has said nothing yet.
    pub fn new(places: Places) -> EventChannel {
        let number = places.feeds.fetch_add(1, Ordering::Relaxed);
        EventChannel { places, number, keeps: RECENT, state: Mutex::default() }
    }

    /// One whose readers may be behind by so many events: for events that are large.
    pub fn keeping(self, keeps: usize) -> EventChannel {
        EventChannel { keeps, ..self }
    }

    /// Streams that follow.
    pub fn readers(&self) -> usize {
        self.state().readers.len()
    }

    /// Says something to everybody who follows. After [`EventChannel::close`] nobody hears it.
    pub fn say(&self, name: &str, data: &str) {
        let mut state = self.state();
        state.say(event(name, data), self.keeps);
        state.ring();
    }

    /// Says the last thing; streams end after it. Only the first time counts.
    pub fn close(&self, name: &str, data: &str) {
        let mut state = self.state();
        state.say(event(name, data), self.keeps);
        state.over = true;
        state.ring();
    }

    /// A reply that begins with `greeting`, which may tell how things stand now: everything said after this call comes
    /// after it, and what is said meanwhile may come twice, but is not lost.
    pub fn follow(self: &Arc<EventChannel>, greeting: impl FnOnce() -> String) -> Follow {
        let from = self.state().said;
        Follow { feed: self.clone(), from, greeting: greeting() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Feed({} said, {} readers)", state.said, state.readers.len())
    }
}

impl State {
    fn say(&mut self, event: String, keeps: usize) {
        if self.over {
            return;
        }
        if self.recent.len() >= keeps {
            self.recent.pop_front();
        }
        self.recent.push_back(event.into());
        self.said += 1;
    }

    fn ring(&self) {
        for reader in &self.readers {
            if !reader.rung.swap(true, Ordering::AcqRel) {
                reader.bell.ring();
            }
        }
    }

    /// The event of this number; `None` when it is too old.
    fn event(&self, number: u64) -> Option<Arc<str>> {
        let behind = usize::try_from(self.said - number).ok()?;
        self.recent.get(self.recent.len().checked_sub(behind)?).cloned()
    }
}

impl Follow {
    /// Takes a place among the readers for a client of this network, and gives what to send first.
    pub(super) fn subscribe(
        self,
        bell: Doorbell,
        network: Option<IpAddr>,
    ) -> Result<(Subscription, String), StreamLimit> {
        let keys = self.feed.places.take(self.feed.number, network)?;
        let reader = Arc::new(Reader { bell, rung: AtomicBool::new(false) });
        self.feed.state().readers.push(reader.clone());
        Ok((Subscription { feed: self.feed, reader, next: self.from, keys }, self.greeting))
    }
}

impl Subscription {
    /// What comes next.
    pub fn take_next(&mut self) -> News {
        // Before looking: what is said from now on rings again.
        self.reader.rung.store(false, Ordering::Release);
        let state = self.feed.state();
        if self.next >= state.said {
            return if state.over { News::Over } else { News::None };
        }
        match state.event(self.next) {
            Some(event) => {
                self.next += 1;
                News::Event(event)
            }
            None => News::Missed,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.state().readers.retain(|reader| !Arc::ptr_eq(reader, &self.reader));
        self.feed.places.give_back(&self.keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(per_feed: usize) -> (Arc<EventChannel>, Places) {
        let places = Places::new(3, per_feed);
        (Arc::new(EventChannel::new(places.clone())), places)
    }

    fn texts(reader: &mut Subscription) -> Vec<String> {
        std::iter::from_fn(|| match reader.take_next() {
            News::Event(event) => Some(event.lines().nth(1).unwrap_or_default().replace("data: ", "")),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn a_reader_gets_all_that_is_said_after_its_greeting_and_then_the_end() {
        let (feed, _) = feed(3);
        feed.say("status", "before");
        let follow = feed.follow(|| {
            feed.say("status", "meanwhile");
            "greeting".into()
        });
        let (mut reader, greeting) = follow.subscribe(Doorbell::silent(), None).expect("a place");
        feed.say("status", "after");
        assert_eq!(
            (greeting.as_str(), texts(&mut reader)),
            ("greeting", vec!["meanwhile".into(), "after".into()])
        );
        assert_eq!(reader.take_next(), News::None);
        feed.close("ended", "gone");
        feed.say("status", "too late");
        assert_eq!((texts(&mut reader), reader.take_next()), (vec!["gone".into()], News::Over));
    }

    #[test]
    fn who_falls_too_far_behind_has_missed_something() {
        let (feed, _) = feed(3);
        let (mut slow, _) = feed.follow(String::new).subscribe(Doorbell::silent(), None).expect("a place");
        for number in 0..=RECENT {
            feed.say("status", &number.to_string());
        }
        assert_eq!(slow.take_next(), News::Missed);
        let (mut fresh, _) = feed.follow(String::new).subscribe(Doorbell::silent(), None).expect("a place");
        assert_eq!(fresh.take_next(), News::None);
    }

    #[test]
    fn places_are_bounded_per_feed_and_in_all_and_given_back() {
        let (one, places) = feed(2);
        let other = Arc::new(EventChannel::new(places.clone()));
        let place = |feed: &Arc<EventChannel>| feed.follow(String::new).subscribe(Doorbell::silent(), None);
        let refused = |feed: &Arc<EventChannel>| place(feed).map(|_| ()).unwrap_err();
        let held = [place(&one), place(&one)];
        assert!(held.iter().all(Result::is_ok), "two of one feed");
        assert_eq!(refused(&one), StreamLimit::OfFeed);
        let third = place(&other);
        assert!(third.is_ok(), "three in all");
        assert_eq!(refused(&other), StreamLimit::All);
        drop(held);
        assert_eq!(places.taken(), 1);
        assert!(place(&one).is_ok());
    }

    #[test]
    fn an_address_leaves_half_of_a_feed_and_most_of_all_to_others() {
        let places = Places::new(80, 8);
        let feeds: Vec<_> = (0..5).map(|_| Arc::new(EventChannel::new(places.clone()))).collect();
        let place = |feed: &Arc<EventChannel>, host: u8| {
            feed.follow(String::new).subscribe(Doorbell::silent(), Some([192, 0, 2, host].into()))
        };
        let mut held: Vec<_> = (0..20).map_while(|_| place(&feeds[0], 1).ok()).collect();
        assert_eq!(held.len(), 4, "half of one feed");
        held.extend((0..20).map_while(|_| place(&feeds[0], 2).ok()));
        assert_eq!(held.len(), 8);
        let more: Vec<_> =
            feeds[1..].iter().flat_map(|feed| (0..9).map_while(|_| place(feed, 1).ok())).collect();
        assert_eq!(more.len(), 6, "with those of the first feed an eighth of all");
        assert_eq!(place(&feeds[1], 1).map(|_| ()).unwrap_err(), StreamLimit::OfAddress);
        assert!(place(&feeds[1], 2).is_ok());
    }
}
