//! Requests under way: each counts for its client's network, where the connection does not, and for its session.
//!
//! A connection of a client counts for its address as long as it is open ([`super::admission`]). One of a controller or a trusted
//! proxy carries requests of many; there each request counts while it is under way: forwarded, a tunnel, or an event stream. All
//! requests for a session count for it, whoever sends them: one link cannot fill the edge. Tunnels and event streams stay for
//! hours, so that all of them together leave a part of the edge to requests that are over soon.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::admission::{LOOPBACK_RESERVE, OPERATOR_RESERVE};
use crate::core::ids::SessionId;
use crate::core::limits::fair_share::{FairShare, Refused, Share, Sizes};
use crate::edge::reply::Reply;

/// When a client that met a limit may ask again.
const SOON: Duration = Duration::from_secs(1);

/// A limit of requests that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightLimit {
    /// Of all; it is `edge.max_connections`.
    All,
    /// Of one address behind a controller or proxy; it is `edge.max_connections_per_address`.
    OfAddress,
    /// Of one session: half of all.
    OfSession,
    /// Of tunnels and event streams: three quarters of all.
    Lasting,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Network(IpAddr),
    Session(SessionId),
}

/// The counts.
pub struct Flights {
    of_network: usize,
    of_session: usize,
    lasting: usize,
    held: Mutex<Held>,
}

struct Held {
    places: FairShare<Key>,
    lasting: usize,
}

/// A request under way, until it is dropped.
pub struct Flight {
    flights: Arc<Flights>,
    keys: Vec<Key>,
    lasts: bool,
}

impl Flights {
    /// For an edge with these caps of connections. Each connection has one request under way at most, so that those of operators
    /// and loopback always fit.
    pub fn new(max_connections: usize, per_address: usize) -> Flights {
        let half = max_connections.div_ceil(2);
        let beyond = LOOPBACK_RESERVE + OPERATOR_RESERVE;
        let reserve = beyond + Sizes::of(max_connections).reserve;
        let sizes = Sizes { capacity: max_connections + beyond, reserve };
        let held = Mutex::new(Held { places: FairShare::new(sizes), lasting: 0 });
        let lasting = max_connections - max_connections / 4;
        Flights { of_network: per_address.min(half), of_session: half, lasting, held }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub fn begin(
        self: &Arc<Flights>,
        network: Option<IpAddr>,
        session: Option<SessionId>,
    ) -> Result<Flight, FlightLimit> {
        let network = network.map(|network| Share { key: Key::Network(network), most: self.of_network });
        let session = session.map(|session| Share { key: Key::Session(session), most: self.of_session });
        let shares: Vec<Share<Key>> = network.into_iter().chain(session).collect();
        let taken = self.held().places.take(&shares);
        taken.map_err(|refused| match refused {
            Refused::Full => FlightLimit::All,
            Refused::Share(number) => match shares.get(number).map(|share| &share.key) {
                Some(Key::Network(_)) => FlightLimit::OfAddress,
                Some(Key::Session(_)) | None => FlightLimit::OfSession,
            },
        })?;
        let keys = shares.into_iter().map(|share| share.key).collect();
        Ok(Flight { flights: self.clone(), keys, lasts: false })
    }
}

impl Flight {
    /// The request becomes a tunnel or an event stream.
    pub fn lasts(&mut self) -> Result<(), FlightLimit> {
        let mut held = self.flights.held();
        if held.lasting >= self.flights.lasting {
            return Err(FlightLimit::Lasting);
        }
        held.lasting += 1;
        self.lasts = true;
        Ok(())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut held = self.flights.held();
        held.places.give_back(&self.keys);
        held.lasting -= usize::from(self.lasts);
    }
}

impl FlightLimit {
    /// The answer.
    pub fn reply(self) -> Reply {
        let (status, words, name) = match self {
            FlightLimit::All => (503, "too many requests are under way; ask again", "edge.max_connections"),
            FlightLimit::OfAddress => (
                429,
                "this address has as many requests under way as one address may have",
                "edge.max_connections_per_address",
            ),
            FlightLimit::OfSession => (
                429,
                "this session has as many requests under way as one session may have",
                "requests_under_way_per_session",
            ),
            FlightLimit::Lasting => (
                503,
                "as many tunnels and event streams are open as there may be",
                "tunnels_and_event_streams",
            ),
        };
        Reply::over_limit(status, words, name, SOON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(flights: &Arc<Flights>, host: u8, session: u8, count: usize) -> Vec<Flight> {
        let network = (host > 0).then(|| IpAddr::from([192, 0, 2, host]));
        let id = SessionId::from_entropy([session; 16]);
        (0..count).map_while(|_| flights.begin(network, Some(id.clone())).ok()).collect()
    }

    #[test]
    fn one_link_leaves_half_to_others() {
        let flights = Arc::new(Flights::new(100, 256));
        let held = begun(&flights, 0, 1, 300);
        assert_eq!((held.len(), begun(&flights, 0, 2, 10).len()), (50, 10));
        let session = Some(SessionId::from_entropy([1; 16]));
        assert_eq!(flights.begin(None, session).map(drop), Err(FlightLimit::OfSession));
        assert!(flights.begin(None, None).is_ok(), "an operator");
        drop(held);
        assert_eq!(begun(&flights, 0, 1, 10).len(), 10);
    }

    #[test]
    fn one_client_behind_a_controller_has_its_own_share() {
        let flights = Arc::new(Flights::new(1_000, 20));
        let held = begun(&flights, 1, 1, 300);
        let (network, session) = (Some(IpAddr::from([192, 0, 2, 1])), Some(SessionId::from_entropy([2; 16])));
        assert_eq!(flights.begin(network, session).map(drop), Err(FlightLimit::OfAddress));
        assert_eq!((held.len(), begun(&flights, 2, 1, 20).len()), (20, 20));
    }

    #[test]
    fn full_of_two_links_there_is_room_for_a_third() {
        let flights = Arc::new(Flights::new(100, 256));
        let _held = [begun(&flights, 0, 1, 300), begun(&flights, 0, 2, 300)];
        assert_eq!(begun(&flights, 0, 3, 100).len(), 8, "as many as few are");
        assert!(flights.begin(None, None).is_ok(), "an operator");
    }

    #[test]
    fn what_lasts_leaves_a_quarter_to_what_is_over_soon() {
        let flights = Arc::new(Flights::new(100, 256));
        let mut held = Vec::new();
        for session in 1..=4 {
            held.extend(begun(&flights, 0, session, 20));
        }
        let lasting = held.iter_mut().filter_map(|flight| flight.lasts().ok()).count();
        assert_eq!((lasting, held[79].lasts()), (75, Err(FlightLimit::Lasting)));
        held.truncate(70);
        let mut late = begun(&flights, 0, 9, 1);
        assert_eq!(late[0].lasts(), Ok(()), "places come back");
    }
}
