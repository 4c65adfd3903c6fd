//! What an owner publishes to the event streams (`text/event-stream`) that the edge holds open for it.
//!
//! The owner says things into a [`Feed`]; each loop that has readers of it is woken by its eventfd, once, and sends what is
//! new. No thread waits for a reader and no owner waits for a socket: a reader that falls more than `RECENT` events
//! behind has missed one, and is dropped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::acceptor::Doorbell;

/// Events a reader may be behind. A session has a dozen in its life; a crash and its restart make three at once.
const RECENT: usize = 64;

/// How many streams may be open at once in a process.
#[derive(Clone, Debug)]
pub struct Places {
    taken: Arc<AtomicUsize>,
    total: usize,
    per_feed: usize,
}

impl Places {
    /// At most `total` streams, and at most `per_feed` of one feed. Clones share the total.
    pub fn new(total: usize, per_feed: usize) -> Places {
        Places { taken: Arc::default(), total, per_feed }
    }

    /// Streams that are open.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    fn take(&self) -> bool {
        let more = |taken: usize| (taken < self.total).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What one owner publishes. Many readers may follow it.
pub struct Feed {
    places: Places,
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
    feed: Arc<Feed>,
    from: u64,
    greeting: String,
}

/// A place among a feed's readers; dropping it gives it back.
pub struct Subscription {
    feed: Arc<Feed>,
    reader: Arc<Reader>,
    next: u64,
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

impl Feed {
    /// A feed that has said nothing yet.
    pub fn new(places: Places) -> Feed {
        Feed { places, state: Mutex::default() }
    }

    /// Says something to everybody who follows. After [`Feed::close`] nobody hears it.
    pub fn say(&self, name: &str, data: &str) {
        let mut state = self.state();
        state.say(event(name, data));
        state.ring();
    }

    /// Says the last thing; streams end after it. Only the first time counts.
    pub fn close(&self, name: &str, data: &str) {
        let mut state = self.state();
        state.say(event(name, data));
        state.over = true;
        state.ring();
    }

    /// A reply that begins with `greeting`, which may tell how things stand now: everything said after this call comes
    /// after it, and what is said meanwhile may come twice, but is not lost.
    pub fn follow(self: &Arc<Feed>, greeting: impl FnOnce() -> String) -> Follow {
        let from = self.state().said;
        Follow { feed: self.clone(), from, greeting: greeting() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Feed({} said, {} readers)", state.said, state.readers.len())
    }
}

impl State {
    fn say(&mut self, event: String) {
        if self.over {
            return;
        }
        if self.recent.len() >= RECENT {
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
    /// Takes a place among the readers, and gives what to send first; `None` when all places are taken.
    pub(super) fn subscribe(self, bell: Doorbell) -> Option<(Subscription, String)> {
        let mut state = self.feed.state();
        if state.readers.len() >= self.feed.places.per_feed || !self.feed.places.take() {
            return None;
        }
        let reader = Arc::new(Reader { bell, rung: AtomicBool::new(false) });
        state.readers.push(reader.clone());
        drop(state);
        Some((Subscription { feed: self.feed, reader, next: self.from }, self.greeting))
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
        self.feed.places.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(per_feed: usize) -> (Arc<Feed>, Places) {
        let places = Places::new(3, per_feed);
        (Arc::new(Feed::new(places.clone())), places)
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
        let (mut reader, greeting) = follow.subscribe(Doorbell::silent()).expect("a place");
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
        let (mut slow, _) = feed.follow(String::new).subscribe(Doorbell::silent()).expect("a place");
        for number in 0..=RECENT {
            feed.say("status", &number.to_string());
        }
        assert_eq!(slow.take_next(), News::Missed);
        let (mut fresh, _) = feed.follow(String::new).subscribe(Doorbell::silent()).expect("a place");
        assert_eq!(fresh.take_next(), News::None);
    }

    #[test]
    fn places_are_bounded_per_feed_and_in_all_and_given_back() {
        let (one, places) = feed(2);
        let other = Arc::new(Feed::new(places.clone()));
        let place = |feed: &Arc<Feed>| feed.follow(String::new).subscribe(Doorbell::silent());
        let held = [place(&one), place(&one)];
        assert!(held.iter().all(Option::is_some) && place(&one).is_none(), "two of one feed");
        let third = place(&other);
        assert!(third.is_some() && place(&other).is_none(), "three in all");
        drop(held);
        assert_eq!(places.taken(), 1);
        assert!(place(&one).is_some());
    }
}
