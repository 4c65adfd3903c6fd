//! What a connection is doing, and where its steps lead.

use super::api_exchange::ApiExchange;
use super::client_io::{Replied, Step};
use super::event_stream::EventStream;
use super::exchange::{Exchange, Over};
use super::tunnel::Tunnel;

/// What a connection is doing.
#[allow(clippy::large_enum_variant, reason = "clients are boxed, and an exchange per request should not be")]
pub enum State {
    /// Agreeing on TLS; then the first head is read.
    Handshake,
    /// Waiting for, or reading, a request head. `began`: its first byte came.
    Head { began: bool },
    /// A request is being forwarded.
    Exchange(Exchange),
    /// A request of the control API.
    Api(Box<ApiExchange>),
    /// Raw bytes both ways.
    Tunnel(Box<Tunnel>),
    /// A reply of ours that lasts.
    Events(Box<EventStream>),
    /// Sending last words, then waiting for the client to close; `discarded`: bytes read meanwhile and dropped.
    Closing { finished: bool, discarded: usize },
}

impl State {
    /// The beginning of the end.
    pub const CLOSING: State = State::Closing { finished: false, discarded: 0 };
}

/// The state after a complete reply.
pub fn after_reply(keep_alive: bool) -> State {
    if keep_alive { State::Head { began: false } } else { State::CLOSING }
}

impl From<Replied> for State {
    fn from(replied: Replied) -> State {
        after_reply(replied.keep_alive)
    }
}

impl From<Over> for State {
    fn from(over: Over) -> State {
        match over {
            Over::Replied(replied) => replied.into(),
            Over::Switched(tunnel) => State::Tunnel(tunnel),
        }
    }
}

impl<N: Into<State>> Step<N> {
    /// The same, with the state that it leads to.
    pub fn entered(self) -> Step<State> {
        match self {
            Step::Wait => Step::Wait,
            Step::Next(next) => Step::Next(next.into()),
        }
    }
}
