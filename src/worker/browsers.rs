//! How often browsers may send what needs no token: one bucket per link and address (SPEC 6).
//!
//! Owned by the API's service, shared by its threads. Behind a controller that proves itself the address is the browser's own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::origin;
use crate::api::server::Call;
use crate::config::settings::Settings;
use crate::core::ids::SessionId;
use crate::core::limits::fair_share::network_of;
use crate::core::limits::rate_limit::{Rate, RateLimiter};
use crate::core::time::Moment;

/// A person presses a button now and then; a page that is closed sends two or three messages at once.
const RATE: Rate = Rate { burst: 20, every: Duration::from_secs(1) };

/// Buckets remembered: many times the sessions of a worker.
const CAPACITY: usize = 4096;

/// The buckets.
#[derive(Debug)]
pub struct Browsers(Mutex<RateLimiter<(SessionId, IpAddr)>>);

impl Default for Browsers {
    fn default() -> Browsers {
        Browsers::new(RATE)
    }
}

impl Browsers {
    /// Full buckets of this size.
    pub fn new(rate: Rate) -> Browsers {
        Browsers(Mutex::new(RateLimiter::new(rate, CAPACITY)))
    }

    /// Takes one token of the caller's bucket, or says how long until there is one.
    pub fn admit(
        &self,
        call: &Call,
        settings: &Settings,
        session: &SessionId,
        now: Moment,
    ) -> Result<(), Duration> {
        let address = origin::client(call, &settings.server.trusted_proxies);
        let key = (session.clone(), network_of(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into())));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now, &key)
    }
}

/// Whose share a call takes its places from: the client's network. Loopback has none, because a proxy there that is not in
/// `server.trusted_proxies` speaks for everybody.
pub fn network(call: &Call, settings: &Settings) -> Option<IpAddr> {
    let address = origin::client(call, &settings.server.trusted_proxies)?;
    (!address.is_loopback()).then(|| network_of(address))
}
