//! The step from rustls' states to bytes: opening what came, sealing what is to go. No socket is touched here.

use std::io::IoSlice;

use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

/// Plaintext sealed at once; what a slow reader makes us hold of it twice.
pub const SEAL: usize = 64 * 1024;
/// The largest plaintext of one record.
pub const RECORD: usize = 16 * 1024;
/// Smaller parts are joined, so that a head does not become a record of its own.
const JOIN: usize = 8 * 1024;

/// Either side of TLS.
pub enum Connection {
    /// A client talks to us.
    Server(UnbufferedServerConnection),
    /// We talk to a server.
    Client(UnbufferedClientConnection),
}

/// Where processing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// More input is needed.
    Hungry,
    /// The reader's room is used up.
    Full,
    /// The peer closed its side.
    PeerClosed,
}

/// What processing works on beside the input.
pub struct Work<'a> {
    /// Where opened bytes go.
    room: &'a mut [u8],
    /// How much of it is filled.
    pub filled: usize,
    /// Opened bytes that `room` does not hold.
    plain: &'a mut Vec<u8>,
    /// What TLS itself has to say.
    outgoing: &'a mut Vec<u8>,
    /// What to seal as soon as that is possible.
    pub seal: Option<Seal<'a>>,
    /// How long the sealed form is.
    pub sealed: usize,
    /// The handshake is over.
    pub established: bool,
    /// The peer sends no more.
    pub peer_closed: bool,
}

/// What to seal, and where to.
pub enum Seal<'a> {
    /// Bytes of the caller.
    Data(&'a [u8], &'a mut [u8]),
    /// That we send no more.
    CloseNotify(&'a mut [u8]),
}

enum Turn {
    Again,
    Stop(Stop),
}

impl<'a> Work<'a> {
    /// Opens into `room`.
    pub fn new(room: &'a mut [u8], plain: &'a mut Vec<u8>, outgoing: &'a mut Vec<u8>) -> Work<'a> {
        Work {
            room,
            filled: 0,
            plain,
            outgoing,
            seal: None,
            sealed: 0,
            established: false,
            peer_closed: false,
        }
    }

    fn deliver(&mut self, payload: &[u8]) {
        let room = self.room.get_mut(self.filled..).unwrap_or_default();
        let (now, later) = payload.split_at(payload.len().min(room.len()));
        if let Some(place) = room.get_mut(..now.len()) {
            place.copy_from_slice(now);
        }
        self.filled += now.len();
        self.plain.extend_from_slice(later);
    }

    fn is_full(&self) -> bool {
        self.filled >= self.room.len()
    }

    /// Acts on one state. Returns how much of the input is used up, also beside an error.
    fn turn<D>(&mut self, status: UnbufferedStatus<'_, '_, D>) -> (usize, Result<Turn, Error>) {
        let mut discard = status.discard;
        let turn = status.state.and_then(|state| self.act(state, &mut discard));
        (discard, turn)
    }

    fn act<D>(&mut self, state: ConnectionState<'_, '_, D>, discard: &mut usize) -> Result<Turn, Error> {
        Ok(match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    *discard += record.discard;
                    self.deliver(record.payload);
                }
                // No early data is taken: whoever sends data has done its part of the handshake.
                self.established = true;
                // Input that nobody has room for stays sealed.
                if self.is_full() && self.seal.is_none() { Turn::Stop(Stop::Full) } else { Turn::Again }
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let from = self.outgoing.len();
                if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                    self.outgoing.resize(from + size.required_size, 0);
                    let place = self.outgoing.get_mut(from..).unwrap_or_default();
                    data.encode(place).map_err(|error| Error::General(error.to_string()))?;
                }
                Turn::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                // It is in `outgoing`, which leaves in order.
                data.done();
                Turn::Again
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                self.established = true;
                let sealed = match self.seal.take() {
                    Some(Seal::Data(data, place)) => traffic.encrypt(data, place),
                    Some(Seal::CloseNotify(place)) => traffic.queue_close_notify(place),
                    None => return Ok(Turn::Stop(Stop::Hungry)),
                };
                self.sealed = sealed.map_err(|error| Error::General(error.to_string()))?;
                Turn::Stop(Stop::Hungry)
            }
            ConnectionState::PeerClosed => {
                self.peer_closed = true;
                if self.seal.is_none() { Turn::Stop(Stop::PeerClosed) } else { Turn::Again }
            }
            ConnectionState::BlockedHandshake | ConnectionState::Closed => Turn::Stop(Stop::Hungry),
            _ => return Err(Error::General("an unexpected state of TLS".into())),
        })
    }
}

impl Connection {
    /// Processes until it must stop. Returns how much of the input is used up. The input must begin with what an earlier
    /// call did not use up: rustls remembers places in it.
    pub fn process(&mut self, input: &mut [u8], work: &mut Work<'_>) -> (usize, Result<Stop, Error>) {
        let mut used = 0;
        let mut failure = None;
        loop {
            let rest = input.get_mut(used..).unwrap_or_default();
            let (discard, turned) = match self {
                Connection::Server(connection) => work.turn(connection.process_tls_records(rest)),
                Connection::Client(connection) => work.turn(connection.process_tls_records(rest)),
            };
            used += discard;
            match (turned, failure.take()) {
                (Ok(Turn::Again), None) => {}
                (Ok(Turn::Stop(stop)), None) => return (used, Ok(stop)),
                (Ok(_), before) => failure = before,
                (Err(error), before) => failure = before.or(Some(error)),
            }
            // After an error, what is queued (an alert) is still encoded, and nothing more opened: rustls, asked to open
            // the same input again, fails an assertion.
            if let Some(error) = failure.take_if(|_| !self.has_queued()) {
                return (used, Err(error));
            }
        }
    }

    fn has_queued(&self) -> bool {
        match self {
            Connection::Server(connection) => connection.wants_write(),
            Connection::Client(connection) => connection.wants_write(),
        }
    }
}

/// The next piece to seal: small parts are joined, large ones are taken as they lie.
pub fn piece<'p>(parts: &'p [IoSlice<'p>], mut at: usize, joined: &'p mut Vec<u8>) -> &'p [u8] {
    joined.clear();
    for part in parts {
        let Some(rest) = part.get(at..).filter(|rest| !rest.is_empty()) else {
            at = at.saturating_sub(part.len());
            continue;
        };
        at = 0;
        if joined.is_empty() && rest.len() >= JOIN {
            return rest.get(..rest.len().min(SEAL)).unwrap_or_default();
        }
        let room = RECORD.saturating_sub(joined.len()).min(rest.len());
        joined.extend_from_slice(rest.get(..room).unwrap_or_default());
        if joined.len() >= RECORD {
            break;
        }
    }
    joined
}
