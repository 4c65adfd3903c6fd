//! A member of the benchmark's room, with each contestant's way of signalling.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::{Value, json};
use str0m::media::Direction;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket};

use crate::rooms_janus::{Feed, Subscription, VideoRoom};
use crate::rooms_link::{Link, Sends};

/// The names of the contestants' signalling.
pub const NECK: &str = "neck";
pub const JANUS: &str = "janus";

/// The token of the namespace of [`crate::rooms_contestants::serve`].
pub const TOKEN: &str = "a-token";

/// Where members say who they are.
pub enum Desk {
    /// The product's: a unix socket for WebSockets.
    Neck(String),
    /// Janus' HTTP interface.
    Janus(VideoRoom),
}

impl Desk {
    pub fn open(name: &str, at: &str) -> Desk {
        match name {
            NECK => Desk::Neck(at.to_owned()),
            JANUS => Desk::Janus(VideoRoom::open(at)),
            other => panic!("nobody signals as {other}"),
        }
    }
}

/// A member.
pub struct Seat {
    /// It sends by the first.
    links: Vec<Link>,
    signal: Option<WebSocket<UnixStream>>,
    subscription: Option<Subscription>,
    /// What others follow, where they do so themselves.
    pub feed: Option<Feed>,
    followed: Vec<Feed>,
    whence: (IpAddr, Instant),
    /// Descriptors that somebody waits for already.
    watched: usize,
}

impl Seat {
    /// Joins, and says what it sends. `whence`: its address, and time zero of stamps.
    pub fn join(desk: &Desk, index: usize, whence: (IpAddr, Instant), sends: &[Sends]) -> Seat {
        let mut link = Link::at(whence.0, whence.1);
        sends.iter().for_each(|what| link.add(*what));
        let (signal, feed) = match desk {
            Desk::Neck(path) => (Some(signal(path, index, &mut link)), None),
            Desk::Janus(room) => {
                let offer = link.offer(Direction::SendOnly).expect("something to send");
                let (feed, answer) = room.publish(&offer);
                link.answered(&answer);
                (None, Some(feed))
            }
        };
        let (links, followed) = (vec![link], Vec::new());
        Seat { links, signal, subscription: None, feed, followed, whence, watched: 0 }
    }

    /// Gets the tracks of all others, where it has to ask for them. `feeds` are everybody's, this one's at `index`.
    pub fn follow(&mut self, desk: &Desk, index: usize, feeds: &[Option<Feed>]) {
        let Desk::Janus(room) = desk else { return };
        let others = feeds.iter().enumerate().filter(|(at, _)| *at != index).filter_map(|(_, feed)| *feed);
        let new: Vec<Feed> = others.filter(|feed| !self.followed.contains(feed)).collect();
        if new.is_empty() {
            return;
        }
        self.followed.extend(&new);
        let (subscription, offer) = match self.subscription {
            Some(subscription) => (subscription, room.subscribe_more(subscription, &new)),
            None => {
                self.links.push(Link::at(self.whence.0, self.whence.1));
                room.subscribe(&new)
            }
        };
        self.subscription = Some(subscription);
        if let Some(link) = self.links.last_mut() {
            room.start(subscription, &link.answer_to(&offer));
        }
    }

    /// Its connections.
    pub fn links(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut()
    }

    /// Calls `add` for each descriptor that is new since the last time.
    pub fn watch(&mut self, mut add: impl FnMut(BorrowedFd<'_>)) {
        let signal = self.signal.iter().map(|socket| socket.get_ref().as_fd());
        let all: Vec<_> = signal.chain(self.links.iter().map(|link| link.socket().as_fd())).collect();
        all.iter().skip(self.watched).for_each(|descriptor| add(*descriptor));
        self.watched = all.len();
    }

    /// Whether its own media may flow.
    pub fn is_connected(&self) -> bool {
        self.links.first().is_some_and(|link| link.came.is_connected)
    }

    /// Tracks of which something came.
    pub fn sources(&self) -> usize {
        self.links.iter().map(Link::sources).sum()
    }

    /// Takes what came.
    pub fn take(&mut self, room: &mut [u8]) {
        self.links.iter_mut().for_each(|link| link.take(room));
        while let Some(message) = self.signal.as_mut().and_then(read) {
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let (Some(socket), Some(link)) = (&mut self.signal, self.links.first_mut()) else { return };
        let sdp = message["data"]["sdp"].as_str().unwrap_or_default();
        match message["type"].as_str() {
            Some("offer") => say(socket, "answer", &link.answer_to(sdp)),
            Some("answer") => link.answered(sdp),
            Some("error") => panic!("a member of the benchmark is told {message}"),
            _ => return,
        }
        if let Some(offer) = link.offer(Direction::SendRecv) {
            say(socket, "offer", &offer);
        }
    }
}

/// Joins by the documented snippet: the first message is an offer.
fn signal(path: &str, index: usize, link: &mut Link) -> WebSocket<UnixStream> {
    let uri = "ws://example.com/v1/webrtc/signal?room=bench";
    let mut request = uri.into_client_request().expect("a request");
    // Each is somebody else: who joins often is slowed.
    let client = format!("192.0.2.{}", index + 1);
    for (field, value) in [("Sec-WebSocket-Protocol", format!("Bearer, {TOKEN}")), ("Neck-Client", client)] {
        request.headers_mut().insert(field, value.parse().expect("a value"));
    }
    let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut socket, _) = tungstenite::client(request, stream).expect("an upgrade");
    let offer = link.offer(Direction::SendRecv).expect("something to send");
    say(&mut socket, "offer", &offer);
    socket.get_ref().set_nonblocking(true).expect("nonblocking");
    socket
}

fn say(socket: &mut WebSocket<UnixStream>, kind: &str, sdp: &str) {
    let message = Message::text(json!({ "type": kind, "data": { "sdp": sdp } }).to_string());
    let mut sent = socket.send(message);
    // A long one, which is read at once.
    while matches!(&sent, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock) {
        std::thread::yield_now();
        sent = socket.flush();
    }
    sent.expect("signalling that takes it");
}

fn read(socket: &mut WebSocket<UnixStream>) -> Option<Value> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("signalling: {error}"),
        }
    }
}
