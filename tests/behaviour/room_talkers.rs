//! People who talk in a room, as the room's page has them: media by str0m, signalling by a WebSocket. Who is told of a drain, or is ended,
//! comes again by the same address. When signalling breaks alone, each does as its page would.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use serde_json::{Value, json};
use stand_ins::steady::Steady;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use crate::guest::{Guest, Manners, Word};
use crate::lab::PATIENCE;
use crate::room_client::SIGNAL;

/// Between two tries to come in.
const AGAIN: Duration = Duration::from_millis(200);

/// An answer to an upgrade takes no longer; the others wait for it.
const ANSWER: Duration = Duration::from_secs(10);

/// What a page does when its WebSocket breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Takes its place back.
    Resumes,
    /// Nothing, as the documented client.
    Stays,
}

/// Packets of one track, and somebody hears it: half a second of sound or pictures.
const HEARD: [(MediaKind, u64); 2] = [(MediaKind::Audio, 25), (MediaKind::Video, 5)];

/// Somebody who stays in a room.
pub struct Talker {
    pub name: &'static str,
    page: Page,
    /// Where signalling is asked for, and by which token.
    base: String,
    token: String,
    call: Option<Call>,
    /// Not earlier is the next call.
    next: Instant,
    /// Calls that were let in, and what the others came to.
    pub calls: usize,
    pub refusals: Vec<String>,
    /// How often it was told of a drain.
    pub drained: usize,
    /// How often it took its place back.
    pub resumed: usize,
}

/// One stay.
struct Call {
    guest: Guest,
    /// None while signalling is broken.
    socket: Option<WebSocket<Steady<TcpStream>>>,
    /// What takes its place back.
    peer: Value,
    token: Value,
    /// Messages that came by the WebSocket that it has or had last, and its own by that.
    came: usize,
    said: Vec<String>,
    /// Not earlier it signals again.
    again: Instant,
    /// Whose track is which.
    users: BTreeMap<String, String>,
    heard: Vec<Value>,
    /// Of each track: packets, since when there are so many, and the longest time without one.
    pauses: BTreeMap<String, (u64, Instant, Duration)>,
}

/// Why a stay is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Drained,
    CutOff,
}

impl Talker {
    /// Somebody with a microphone and a camera, who comes in with the first [`Talker::pump`].
    pub fn new(name: &'static str, base: &str, token: &str) -> Talker {
        let (base, token) = (base.trim_start_matches("http://").to_owned(), token.to_owned());
        Talker {
            name,
            page: Page::Resumes,
            base,
            token,
            call: None,
            next: Instant::now(),
            calls: 0,
            refusals: Vec::new(),
            drained: 0,
            resumed: 0,
        }
    }

    /// The same, with this page.
    pub fn with(self, page: Page) -> Talker {
        Talker { page, ..self }
    }

    /// Does all that is due.
    pub fn pump(&mut self) {
        let now = Instant::now();
        if self.call.is_none() && now >= self.next {
            match Call::open(self.name, &self.base, &self.token) {
                Ok(call) => (self.call, self.calls) = (Some(call), self.calls + 1),
                Err(words) => self.refusals.push(words),
            }
            self.next = now + AGAIN;
        }
        if let Some(call) = &mut self.call
            && self.page == Page::Resumes
            && call.socket.is_none()
            && now >= call.again
        {
            match call.resume(&self.base, &self.token) {
                Ok(true) => self.resumed += 1,
                // There is no such place any more: it joins anew.
                Ok(false) => self.call = None,
                Err(words) => self.refusals.push(words),
            }
            self.call.iter_mut().for_each(|call| call.again = now + AGAIN);
        }
        let over = self.call.as_mut().and_then(|call| call.pump().err());
        if let Some(over) = over {
            self.drained += usize::from(over == Over::Drained);
            self.call = None;
        }
    }

    /// Packets of this kind that arrived of somebody since it came last.
    pub fn heard(&self, user: &str, kind: MediaKind) -> u64 {
        let Some(call) = &self.call else { return 0 };
        let is_theirs = |track: &str| {
            track.starts_with(kind.name()) && call.users.get(track).is_some_and(|of| of == user)
        };
        let tracks = call.guest.seen.heard.iter().filter(|(track, _)| is_theirs(track));
        tracks.map(|(_, heard)| heard.packets).sum()
    }

    /// What it was told, since it came last.
    pub fn told(&self) -> &[Value] {
        self.call.as_ref().map_or(&[], |call| &call.heard)
    }

    /// Whether signalling is broken.
    pub fn is_cut(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.socket.is_none())
    }

    /// Tells the room something.
    pub fn say(&mut self, kind: &str, data: &Value) {
        let call = self.call.as_mut().expect("a call");
        call.say(kind, data);
    }

    /// The longest pause of any track since the last time, and numbers that never came.
    pub fn longest_pause(&mut self) -> (Duration, u64) {
        let Some(call) = &mut self.call else { return (Duration::MAX, 0) };
        let pauses = call.pauses.values_mut().map(|(.., longest)| std::mem::take(longest));
        let lost = call.guest.seen.heard.values().map(|heard| heard.gaps).sum();
        (pauses.max().unwrap_or(Duration::MAX), lost)
    }

    /// Whether it hears and sees somebody.
    fn hears(&self, user: &str) -> bool {
        HEARD.iter().all(|(kind, packets)| self.heard(user, *kind) >= *packets)
    }

    fn shown(&self) -> String {
        let call =
            self.call.as_ref().map(|call| (&call.heard, &call.guest.seen.heard, call.guest.seen.connected));
        format!("{}: {} calls, refused: {:?}, now: {call:?}", self.name, self.calls, self.refusals)
    }
}

impl Call {
    fn open(name: &str, base: &str, token: &str) -> Result<Call, String> {
        let socket = connect(base, token)?;
        let mut guest = Guest::new(name, Manners::Naive, IpAddr::V4(Ipv4Addr::LOCALHOST));
        guest.publish(MediaKind::Audio);
        guest.publish(MediaKind::Video);
        let mut call = Call {
            guest,
            socket: Some(socket),
            peer: Value::Null,
            token: Value::Null,
            came: 0,
            said: Vec::new(),
            again: Instant::now(),
            users: BTreeMap::new(),
            heard: Vec::new(),
            pauses: BTreeMap::new(),
        };
        call.say("join", &json!({"userId": name}));
        Ok(call)
    }

    /// Signals again, and says again what was not heard. Whether its place is still there.
    fn resume(&mut self, base: &str, token: &str) -> Result<bool, String> {
        let mut socket = connect(base, token)?;
        socket.get_ref().set_nonblocking(false).map_err(|error| error.to_string())?;
        let data = json!({"peerId": self.peer, "resumeToken": self.token, "heard": self.came});
        let resume = json!({"type": "resume", "data": data}).to_string();
        socket.send(Message::text(resume.clone())).map_err(|error| error.to_string())?;
        let reply = socket.read().map_err(|error| error.to_string())?;
        let reply: Value = serde_json::from_str(reply.to_text().expect("text")).expect("JSON");
        if reply["type"] != "resumed" {
            assert_eq!(reply["data"]["code"], "resume_failed", "{}: {reply}", self.guest.name);
            return Ok(false);
        }
        let taken = usize::try_from(reply["data"]["heard"].as_u64().expect("a number")).expect("a size");
        socket.get_ref().set_nonblocking(true).map_err(|error| error.to_string())?;
        let missed = self.said.split_off(taken);
        self.token = reply["data"]["resumeToken"].clone();
        (self.socket, self.came, self.said) = (Some(socket), 1, vec![resume]);
        missed.into_iter().for_each(|text| self.send(text));
        Ok(true)
    }

    fn say(&mut self, kind: &str, data: &Value) {
        self.send(json!({"type": kind, "data": data}).to_string());
    }

    fn send(&mut self, text: String) {
        self.said.push(text.clone());
        if let Some(socket) = &mut self.socket
            && socket.send(Message::text(text)).is_err()
        {
            self.socket = None;
        }
    }

    fn pump(&mut self) -> Result<(), Over> {
        while let Some(word) = self.guest.words.pop_front() {
            match word {
                Word::Offer(sdp) => self.say("offer", &json!({"sdp": sdp})),
                Word::Answer(sdp) => self.say("answer", &json!({"sdp": sdp})),
            }
        }
        while let Some(socket) = &mut self.socket {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    self.came += 1;
                    self.take(serde_json::from_str(&text).expect("JSON"))?;
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(Message::Close(_)) => return Err(Over::CutOff),
                Err(_) if self.token.is_null() => return Err(Over::CutOff),
                Err(_) => self.socket = None,
                Ok(_) => {}
            }
        }
        self.guest.pump();
        for (track, heard) in &self.guest.seen.heard {
            let now = Instant::now();
            let fresh = (heard.packets, now, Duration::ZERO);
            let (packets, since, longest) = self.pauses.entry(track.clone()).or_insert(fresh);
            *longest = (*longest).max(now - *since);
            if *packets != heard.packets {
                (*packets, *since) = (heard.packets, now);
            }
        }
        if self.guest.seen.over { Err(Over::CutOff) } else { Ok(()) }
    }

    fn take(&mut self, message: Value) -> Result<(), Over> {
        let text = |name: &str| message["data"][name].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str() {
            Some("offer") => self.guest.offered(&text("sdp")),
            Some("answer") => self.guest.answered(&text("sdp")),
            Some("welcome") => {
                self.peer = message["data"]["peerId"].clone();
                self.token = message["data"]["resumeToken"].clone();
            }
            Some("track-added") => drop(self.users.insert(text("trackId"), text("userId"))),
            Some("server-draining") => return Err(Over::Drained),
            _ => {}
        }
        self.heard.push(message);
        Ok(())
    }
}

/// A WebSocket of the room, which does not block.
fn connect(base: &str, token: &str) -> Result<WebSocket<Steady<TcpStream>>, String> {
    let refused = |error: &dyn std::fmt::Display| error.to_string();
    let mut request =
        format!("ws://{base}{SIGNAL}?room=standup").into_client_request().map_err(|error| refused(&error))?;
    let offered = HeaderValue::from_str(&format!("Bearer, {token}")).map_err(|error| refused(&error))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
    let tcp = TcpStream::connect(base).map_err(|error| refused(&error))?;
    tcp.set_read_timeout(Some(ANSWER)).map_err(|error| refused(&error))?;
    let (socket, _) = tungstenite::client(request, Steady(tcp)).map_err(|error| refused(&error))?;
    socket.get_ref().set_nonblocking(true).map_err(|error| refused(&error))?;
    Ok(socket)
}

/// Whether everybody hears and sees everybody else.
pub fn all_hear_all(talkers: &[Talker]) -> bool {
    let others = |name| talkers.iter().filter(move |other| other.name != name);
    talkers.iter().all(|talker| others(talker.name).all(|other| talker.hears(other.name)))
}

/// Lets them talk until `done` holds; how long that took.
pub fn talk_until(what: &str, talkers: &mut [Talker], mut done: impl FnMut(&[Talker]) -> bool) -> Duration {
    let begun = Instant::now();
    while !done(talkers) {
        talkers.iter_mut().for_each(Talker::pump);
        let shown = || talkers.iter().map(Talker::shown).collect::<Vec<_>>().join("\n");
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", shown());
        std::thread::yield_now();
    }
    begun.elapsed()
}
