//! Namespaces as an operator would have made them, and clients of rooms as the documents describe them.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use hydraneckwebrtc::core::namespaces::RoomRole;
use hydraneckwebrtc::core::namespaces::state::{
    ENTROPY, NamespaceState, RoomLimits, TokenHash, TokenRecord, TurnSecret,
};
use hydraneckwebrtc::host::entropy;
use hydraneckwebrtc::host::namespace_files::NamespaceFiles;
use hydraneckwebrtc::host::private_dir::PrivateDir;
use serde_json::{Value, json};
use stand_ins::steady::Steady;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, Message, WebSocket};

use crate::lab::PATIENCE;

/// Where signalling is.
pub const SIGNAL: &str = "/v1/webrtc/signal";

/// The TURN server that credentials name here. Nobody asks it.
pub const RELAY: &str = "turn:192.0.2.1:3478?transport=udp";

/// A namespace with an owner's token `NAME-owner` and a member's `NAME-member`.
pub fn namespace(name: &str) -> NamespaceState {
    let mut state = NamespaceState::new(name.parse().expect("a name"), RoomLimits::default());
    state.enable(TurnSecret::from_entropy(entropy::bytes::<ENTROPY>()), 0);
    state.turn_urls = vec![RELAY.into()];
    for role in [RoomRole::Owner, RoomRole::Member] {
        let id = format!("{name}-{}", role.name());
        let (hash, subject) = (TokenHash::of(&id), None);
        let record = TokenRecord { id, hash, role, subject, created_at: 0, expires_at: None };
        state.add_token(record, 0).expect("room for a token");
    }
    state
}

/// Puts the copy of a namespace where a worker finds it when it starts.
pub fn keep_copy(state_dir: &Path, state: &NamespaceState) {
    let whole = PrivateDir::open(state_dir).expect("a directory");
    let directory = whole.open_below("worker").expect("a directory");
    let (files, _) = NamespaceFiles::open(&directory, "rooms").expect("a directory");
    files.keep(state).expect("a file");
}

/// What a worker that holds rooms has in its configuration.
pub fn with_rooms(config: &mut Value) {
    config["rooms"] = json!({"enabled": true, "media_port": 0});
}

/// A WebSocket of a room.
pub struct Signal {
    socket: WebSocket<Steady<TcpStream>>,
    /// `Sec-WebSocket-Protocol` of the answer.
    pub agreed: Option<String>,
    /// What came, in order.
    pub heard: Vec<Value>,
}

impl Signal {
    /// Opens one at this path and query, with these fields. `Err`: the status of the refusal.
    pub fn open(base: &str, target: &str, fields: &[(&'static str, &str)]) -> Result<Signal, u16> {
        let authority = base.trim_start_matches("http://");
        let mut request = format!("ws://{authority}{target}").into_client_request().expect("a request");
        for (name, value) in fields {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let tcp = TcpStream::connect(authority).expect("a connection");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        match tungstenite::client(request, Steady(tcp)) {
            Ok((socket, reply)) => {
                let agreed = reply.headers().get("Sec-WebSocket-Protocol");
                let agreed = agreed.map(|value| value.to_str().expect("text").to_owned());
                Ok(Signal { socket, agreed, heard: Vec::new() })
            }
            Err(tungstenite::HandshakeError::Failure(Error::Http(reply))) => Err(reply.status().as_u16()),
            Err(error) => panic!("{target}: {error}"),
        }
    }

    /// Opens the room as the documented client does.
    pub fn enter(base: &str, room: &str, token: &str) -> Result<Signal, u16> {
        let offered = format!("Bearer, {token}");
        Signal::open(base, &format!("{SIGNAL}?room={room}"), &[("Sec-WebSocket-Protocol", &offered)])
    }

    pub fn say(&mut self, kind: &str, data: &Value) {
        let message = Message::text(json!({"type": kind, "data": data}).to_string());
        self.socket.send(message).expect("sent");
    }

    /// Joins the room that the address names; what `welcome` says.
    pub fn join(&mut self, user: &str) -> Value {
        self.say("join", &json!({"userId": user}));
        self.until("welcome")
    }

    /// Waits for a message of this type; its data.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().unwrap_or_else(|| panic!("no {kind}, but the end: {:?}", self.heard));
            if message["type"] == kind {
                return message["data"].clone();
            }
        }
    }

    /// Breaks it, as a controller does that is killed.
    pub fn cut(self) {
        self.socket.get_ref().shutdown(std::net::Shutdown::Both).expect("an open connection");
    }

    /// Waits until it is closed, after whatever comes before that.
    pub fn until_end(&mut self) {
        while self.next().is_some() {}
    }

    /// The next message; `None` once it is closed.
    pub fn next(&mut self) -> Option<Value> {
        let begun = Instant::now();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    self.heard.push(message.clone());
                    return Some(message);
                }
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => return None,
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error} after {:?}: {:?}", begun.elapsed(), self.heard),
            }
        }
    }
}

impl Drop for Signal {
    /// As a page that goes.
    fn drop(&mut self) {
        let _ = self.socket.close(None);
    }
}
