//! People who talk in a room, as the room's page has them: media by str0m, signalling by a WebSocket. Who is told of a drain, or is cut
//! off, comes again by the same address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use hydraneckwebrtc::core::rooms::tracks::MediaKind;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::guest::{Guest, Manners};
use crate::lab::PATIENCE;
use crate::room_client::SIGNAL;

/// Between two tries to come in.
const AGAIN: Duration = Duration::from_millis(200);

/// An answer to an upgrade takes no longer; the others wait for it.
const ANSWER: Duration = Duration::from_secs(10);

/// Packets of one track, and somebody hears it: half a second of sound or pictures.
const HEARD: [(MediaKind, u64); 2] = [(MediaKind::Audio, 25), (MediaKind::Video, 5)];

/// Somebody who stays in a room.
pub struct Talker {
    pub name: &'static str,
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
}

/// One stay.
struct Call {
    guest: Guest,
    socket: WebSocket<TcpStream>,
    /// Whose track is which.
    users: BTreeMap<String, String>,
    heard: Vec<Value>,
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
        let refusals = Vec::new();
        Talker { name, base, token, call: None, next: Instant::now(), calls: 0, refusals, drained: 0 }
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
        let refused = |error: &dyn std::fmt::Display| error.to_string();
        let mut request = format!("ws://{base}{SIGNAL}?room=standup")
            .into_client_request()
            .map_err(|error| refused(&error))?;
        let offered = HeaderValue::from_str(&format!("Bearer, {token}")).map_err(|error| refused(&error))?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
        let tcp = TcpStream::connect(base).map_err(|error| refused(&error))?;
        tcp.set_read_timeout(Some(ANSWER)).map_err(|error| refused(&error))?;
        let (mut socket, _) = tungstenite::client(request, tcp).map_err(|error| refused(&error))?;
        let join = Message::text(json!({"type": "join", "data": {"userId": name}}).to_string());
        socket.send(join).map_err(|error| refused(&error))?;
        socket.get_ref().set_nonblocking(true).map_err(|error| refused(&error))?;
        let mut guest = Guest::new(name, Manners::Naive, IpAddr::V4(Ipv4Addr::LOCALHOST));
        guest.publish(MediaKind::Audio);
        guest.publish(MediaKind::Video);
        Ok(Call { guest, socket, users: BTreeMap::new(), heard: Vec::new() })
    }

    fn pump(&mut self) -> Result<(), Over> {
        let before = self.heard.len();
        let signalled = self.guest.pump_by(&mut self.socket, &mut self.heard);
        for message in self.heard.iter().skip(before) {
            let text = |name: &str| message["data"][name].as_str().unwrap_or_default().to_owned();
            match message["type"].as_str() {
                Some("track-added") => drop(self.users.insert(text("trackId"), text("userId"))),
                Some("server-draining") => return Err(Over::Drained),
                _ => {}
            }
        }
        if signalled.is_err() || self.guest.seen.over { Err(Over::CutOff) } else { Ok(()) }
    }
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
