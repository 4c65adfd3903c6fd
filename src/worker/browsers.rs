//! How often browsers may send what needs no token: one bucket per session and address (SPEC 6).
//!
//! Owned by the API's service, shared by its threads. Behind a controller every browser of a session has the controller's
//! address; the bucket is then the session's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::origin;
use crate::api::server::Call;
use crate::config::settings::Settings;
use crate::core::ids::SessionId;
use crate::core::rate_limit::{Rate, RateLimiter};
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
        Browsers(Mutex::new(RateLimiter::new(RATE, CAPACITY)))
    }
}

impl Browsers {
    /// Takes one token of the caller's bucket, or says how long until there is one.
    pub fn admit(
        &self,
        call: &Call,
        settings: &Settings,
        session: &SessionId,
        now: Moment,
    ) -> Result<(), Duration> {
        let address = origin::client(call, &settings.server.trusted_proxies);
        let key = (session.clone(), address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now, &key)
    }
}
