//! Janus' VideoRoom: a member has a connection by which it publishes, and one by which it gets everybody else's tracks. Janus wants it so.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::janus_server::{Server, Session};

const PLUGIN: &str = "videoroom";

/// The room.
const ROOM: u64 = 1;

/// Janus' word for a feed that is not there, or not yet.
const NO_SUCH_FEED: u64 = 428;

/// By then it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a Janus with one room in its best setting: as many members and bits as come, no recording, no pictures asked for by the clock.
pub fn start() -> Server {
    Server::start(
        PLUGIN,
        &format!(
            "general: {{ events = false }}\n\
             room-{ROOM}: {{ description = \"bench\"\n publishers = 200\n bitrate = 0\n fir_freq = 0\n \
             audiocodec = \"opus\"\n videocodec = \"vp8\"\n record = false\n notify_joining = false }}\n"
        ),
    )
}

/// What a member publishes under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed(u64);

/// What a member gets others' tracks by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription(u64);

/// The room's desk.
pub struct VideoRoom(Session);

impl VideoRoom {
    /// Of the Janus that is asked here.
    pub fn open(root: &str) -> VideoRoom {
        VideoRoom(Session::open(root, PLUGIN))
    }

    /// Joins with an offer; Janus' answer.
    pub fn publish(&self, offer: &str) -> (Feed, String) {
        let handle = self.0.attach();
        let body = json!({ "request": "joinandconfigure", "room": ROOM, "ptype": "publisher" });
        self.0.message(handle, &body, Some(("offer", offer)));
        let (mut feed, mut answer) = (None, None);
        self.0.await_event(handle, |event| {
            let data = &event["plugindata"]["data"];
            feed = feed.or(data["id"].as_u64().filter(|_| data["videoroom"] == "joined"));
            answer = answer.take().or_else(|| event["jsep"]["sdp"].as_str().map(str::to_owned));
            Some((Feed(feed?), answer.clone()?))
        })
    }

    /// Wants these; Janus' offer.
    pub fn subscribe(&self, feeds: &[Feed]) -> (Subscription, String) {
        let handle = self.0.attach();
        let body =
            json!({ "request": "join", "room": ROOM, "ptype": "subscriber", "streams": streams(feeds) });
        (Subscription(handle), self.offer(handle, &body))
    }

    /// Wants these too; Janus' next offer.
    pub fn subscribe_more(&self, subscription: Subscription, feeds: &[Feed]) -> String {
        let body = json!({ "request": "update", "subscribe": streams(feeds) });
        self.offer(subscription.0, &body)
    }

    /// The answer to its offer.
    pub fn start(&self, subscription: Subscription, answer: &str) {
        let body = json!({ "request": "start", "room": ROOM });
        self.0.message(subscription.0, &body, Some(("answer", answer)));
    }

    /// Says this until Janus offers: a feed is there when Janus has seen the end of its publisher's handshake, a moment after the publisher.
    fn offer(&self, handle: u64, body: &Value) -> String {
        let begun = Instant::now();
        loop {
            self.0.message(handle, body, None);
            let offer = self.0.await_event(handle, |event| {
                let jsep = &event["jsep"];
                let offer = jsep["sdp"].as_str().filter(|_| jsep["type"] == "offer").map(str::to_owned);
                let waits = event["plugindata"]["data"]["error_code"] == NO_SUCH_FEED;
                if waits { Some(None) } else { offer.map(Some) }
            });
            if let Some(offer) = offer {
                return offer;
            }
            assert!(begun.elapsed() < PATIENCE, "janus has not what is published");
        }
    }
}

fn streams(feeds: &[Feed]) -> Value {
    feeds.iter().map(|feed| json!({ "feed": feed.0 })).collect()
}
