//! What all connections of one loop share: settings, clock, scratch memory, upstreams, the log.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::counters::{Counters, Failure};
use super::router::{Router, Upstream};
use super::scratch::Scratch;
use super::slab::Key;
use super::tls::Tls;
use super::upstreams::Upstreams;
use crate::config::settings;
use crate::core::http_date::http_date;
use crate::core::limits::log_limit::{LogLimit, LogShares};
use crate::core::time::Moment;
use crate::edge::http1::head::HeadLimits;

/// One read's worth; large bodies move in pieces of this size. Two packets of loopback hold 2 * 65,483 bytes: a little less, and each
/// write leaves as two packets; with 128 KiB a third of a hundred bytes follows, and wakes the other end like the others.
/// (Measured, MB/s of one tunnel: 1.06 of haproxy's with this, 0.8 with 128 KiB; MSG_MORE is no better.)
const SCRATCH: usize = 2 * 65_472;
/// Buffers kept for reuse; beyond this many busy connections the allocator helps.
const MAX_SPARE: usize = 256;
/// Larger buffers are given back to the allocator.
const MAX_SPARE_BYTES: usize = 64 * 1024;
/// Reads one connection may do before the others have their turn.
const TURN: u32 = 16;
/// Log lines that outsiders can trigger: this many at once, then one per [`LOG_INTERVAL`].
const LOG_BURST: u32 = 20;
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Addresses whose share of these lines is remembered.
const LOG_ADDRESSES: usize = 1024;

/// Shared by the connections of one loop; owned by the loop.
pub struct Context {
    /// Deadlines and caps.
    pub settings: settings::Edge,
    /// Limits of request heads.
    pub limits: HeadLimits,
    /// Our name in `Via`.
    pub pseudonym: Arc<str>,
    /// Chooses what happens to requests.
    pub router: Arc<dyn Router>,
    /// TLS of clients and upstreams.
    pub tls: Tls,
    /// Where sockets are registered.
    pub epoll: OwnedFd,
    /// Connections to upstreams.
    pub upstreams: Upstreams,
    /// What all loops count.
    pub counters: Arc<Counters>,
    /// When the loop woke up.
    pub now: Moment,
    /// Connections that stopped for fairness, to be continued at once.
    pub ready: VecDeque<Key>,
    /// Payload of chunked bodies.
    pub decoded: Vec<u8>,
    /// Pages with the tag in them.
    pub injected: Vec<u8>,
    /// The connection being driven.
    pub current: Option<Key>,
    turn: u32,
    started: Instant,
    scratch: Scratch,
    spare: Vec<Vec<u8>>,
    log: LogShares<IpAddr>,
    upstream_log: LogLimit,
    date: (u64, String),
}

impl Context {
    /// For one loop.
    pub fn new(
        settings: settings::Edge,
        tls: Tls,
        pseudonym: Arc<str>,
        router: Arc<dyn Router>,
        epoll: OwnedFd,
        started: Instant,
    ) -> Context {
        let limits = HeadLimits {
            head_bytes: settings.max_head_bytes,
            uri_bytes: settings.max_uri_bytes,
            fields: settings.max_header_fields,
        };
        Context {
            settings,
            limits,
            pseudonym,
            router,
            tls,
            epoll,
            upstreams: Upstreams::default(),
            counters: Arc::default(),
            now: Moment(0),
            ready: VecDeque::new(),
            decoded: Vec::new(),
            injected: Vec::new(),
            current: None,
            turn: TURN,
            started,
            scratch: Scratch::new(SCRATCH),
            spare: Vec::new(),
            log: LogShares::new(LOG_BURST, LOG_INTERVAL, LOG_ADDRESSES),
            upstream_log: LogLimit::new(LOG_BURST, LOG_INTERVAL),
            date: (u64::MAX, String::new()),
        }
    }

    /// Reads the clock.
    pub fn tick(&mut self) {
        self.now = Moment(0) + self.started.elapsed();
    }

    /// Begins a connection's turn.
    pub fn begin_turn(&mut self, key: Key) {
        self.turn = TURN;
        self.current = Some(key);
    }

    /// Takes one read from the turn. When it is used up the connection is queued to go on later.
    pub fn spend(&mut self) -> bool {
        if self.turn > 0 {
            self.turn -= 1;
            return true;
        }
        if let Some(key) = self.current.take() {
            self.ready.push_back(key);
        }
        false
    }

    /// Lends the scratch buffer.
    pub fn with_scratch<R>(&mut self, work: impl FnOnce(&mut Context, &mut [u8]) -> R) -> R {
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = work(self, scratch.bytes());
        self.scratch = scratch;
        result
    }

    /// After a panic in the connection `key`: nothing stays lent to it. All else here is whole between any two calls.
    pub fn recover(&mut self, key: Key) {
        if self.scratch.bytes().is_empty() {
            self.scratch = Scratch::new(SCRATCH);
        }
        self.upstreams.forget_client(key);
        self.current = None;
    }

    /// What a client that came over TLS is told about coming back.
    pub fn hsts(&self, over_tls: bool) -> Option<Arc<str>> {
        self.tls.hsts.clone().filter(|_| over_tls)
    }

    /// An empty buffer.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        let useful = 1..=MAX_SPARE_BYTES;
        if useful.contains(&buffer.capacity()) && self.spare.len() < MAX_SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Value of `Date`.
    pub fn date(&mut self) -> &str {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.date.0 != seconds {
            self.date = (seconds, http_date(seconds));
        }
        &self.date.1
    }

    /// Counts and logs trouble with an upstream.
    pub fn complain(&mut self, upstream: &Upstream, failure: Failure, what: &dyn std::fmt::Display) {
        self.counters.failed(failure);
        let Some(suppressed) = self.upstream_log.allow(self.now) else { return };
        let more = Suppressed(suppressed);
        match upstream {
            Upstream::Tcp(address) | Upstream::Tls(address, _) => {
                log::warn!("[proxy] upstream {address}: {what}{more}")
            }
            Upstream::Unix(_) => log::warn!("[proxy] a part of this service: {what}{more}"),
        }
    }

    /// Logs what a client of this network did that operators should know.
    pub fn warn(&mut self, network: Option<IpAddr>, what: &dyn std::fmt::Display) {
        if let Some(suppressed) = self.log.allow(self.now, network.as_ref()) {
            log::warn!("[edge] {what}{}", Suppressed(suppressed));
        }
    }

    /// Logs what a client did, for those who look for it.
    pub fn remark(&mut self, network: Option<IpAddr>, what: &dyn std::fmt::Display) {
        if log::log_enabled!(log::Level::Debug)
            && let Some(suppressed) = self.log.allow(self.now, network.as_ref())
        {
            log::debug!("[edge] {what}{}", Suppressed(suppressed));
        }
    }
}

struct Suppressed(u64);

impl std::fmt::Display for Suppressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} such lines were not shown)"),
        }
    }
}
