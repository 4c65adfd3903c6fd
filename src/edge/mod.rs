//! The edge: every byte from outside goes through it. See `docs/design/edge.md`.
//!
//! A reverse proxy: event loops (one thread each) over protocol state machines whose pure half is [`http1`].
//! It owns the listener, all client connections and all connections to upstreams. It never decides where a request
//! goes (a [`router::Router`] does), and never waits for anything but epoll.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, getrlimit};

use crate::config::settings;
use crate::config::settings::Network;
use crate::core::limits::descriptors::Plan;

pub mod api_pool;
pub mod api_queue;
pub mod counters;
pub mod event_channel;
pub mod forwarding_proof;
pub mod http1;
pub mod local_request;
pub mod proof_memo;
pub mod reply;
pub mod router;
pub mod signalling;
pub mod test_loop;
pub mod tls;

mod acceptor;
mod admission;
mod api_exchange;
mod api_talk;
mod client;
mod client_io;
mod context;
mod deadlines;
mod doorbell;
mod event_loop;
mod event_stream;
mod exchange;
mod facts;
mod flights;
mod late_reply;
mod local_response;
mod outbox;
mod pace;
mod request_body;
mod request_head;
mod response;
mod scratch;
mod seats;
mod sender;
mod slab;
mod socket;
mod state;
mod timers;
mod tunnel;
mod upstreams;
pub mod websocket;

use acceptor::{Acceptor, Arrival, LoopHandle, NOT_COUNTED, Shared};
use admission::Admission;
use context::Context;
use counters::Counters;
use doorbell::LoopBell;
use event_loop::{EventLoop, make_epoll};
use flights::Flights;
use pace::Pace;
use router::Entrance;

pub use acceptor::Listener;
pub use event_loop::Pulse;

/// Connections when there is no descriptor limit.
const FALLBACK_CONNECTIONS: usize = 448;
/// Between two looks at the last call.
const LOOK: Duration = Duration::from_millis(5);
/// A loop's stack: its deepest call holds one table of fields (8 KiB) and one of events (3 KiB).
const STACK: usize = 512 * 1024;

/// What an edge needs to know.
#[derive(Clone)]
pub struct EdgeConfig {
    /// `edge.*`
    pub settings: settings::Edge,
    /// TLS, with clients and with upstreams.
    pub tls: tls::Tls,
    /// `server.trusted_proxies`
    pub trusted_proxies: Vec<Network>,
    /// Called by each loop with its index at least every 5 s, for a watchdog.
    pub pulse: Option<Pulse>,
    /// What it counts.
    pub counters: Arc<Counters>,
}

/// A running edge.
pub struct Edge {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    done: Receiver<()>,
    address: SocketAddr,
}

impl Edge {
    /// Serves on `listener` until stopped.
    pub fn start(
        config: EdgeConfig,
        listener: TcpListener,
        router: Arc<dyn router::Router>,
    ) -> io::Result<Edge> {
        Edge::start_on(config, vec![Listener { socket: listener, entrance: Entrance::Main }], router)
    }

    /// Serves on all of these, of which the first is the one that [`Edge::local_addr`] tells.
    pub fn start_on(
        config: EdgeConfig,
        listeners: Vec<Listener>,
        router: Arc<dyn router::Router>,
    ) -> io::Result<Edge> {
        let none = || io::Error::other("an edge without a listener");
        let address = listeners.first().ok_or_else(none)?.socket.local_addr()?;
        let (shared, arrivals) = make_shared(&config)?;
        let (done_sender, done) = unbounded();
        // Dropped on failure below: stops the loops that run already.
        let mut edge = Edge { shared, threads: Vec::new(), done, address };
        let mut listeners = Some(listeners);
        let pseudonym = make_pseudonym();
        let started = Instant::now();
        for (index, arrivals) in arrivals.into_iter().enumerate() {
            let Some(handle) = edge.shared.loops.get(index) else { continue };
            let epoll = make_epoll(&handle.bell.wake)?;
            let acceptor = listeners
                .take()
                .map(|listeners| Acceptor::new(&epoll, listeners, edge.shared.clone()))
                .transpose()?;
            let (settings, tls) = (config.settings.clone(), config.tls.clone());
            let mut cx = Context::new(settings, tls, pseudonym.clone(), router.clone(), epoll, started);
            cx.counters = config.counters.clone();
            let event_loop =
                EventLoop::new(cx, index, edge.shared.clone(), arrivals, acceptor, config.pulse.clone());
            edge.threads.push(spawn(index, event_loop, done_sender.clone())?);
        }
        Ok(edge)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener; connections go on.
    pub fn stop_accepting(&self) {
        self.shared.accepting.store(false, Ordering::Release);
        self.shared.loops.iter().for_each(LoopHandle::ring);
    }

    /// Accepts no more and lets who has come be served, for at most so long: a process that takes over finds no request cut off.
    /// Connections that only wait for a further request are closed, tunnels and event streams are not waited for.
    pub fn last_call(&self, patience: Duration) {
        self.shared.last_call.store(true, Ordering::Release);
        self.stop_accepting();
        let end = Instant::now() + patience;
        while !self.shared.loops.iter().all(LoopHandle::has_served) && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }

    /// Closes everything.
    pub fn stop(&self) {
        self.shared.running.store(false, Ordering::Release);
        self.shared.loops.iter().for_each(LoopHandle::ring);
    }

    /// Waits for the loops to end after [`Edge::stop`]; `false` when one did not in time.
    pub fn join(mut self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        // Loops say nothing; each drops its sender when it ends.
        let ended = self.done.recv_deadline(end) == Err(crossbeam_channel::RecvTimeoutError::Disconnected);
        let threads = std::mem::take(&mut self.threads);
        // A panic has been reported by the panic hook.
        ended && threads.into_iter().all(|thread| thread.join().is_ok())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(index: usize, event_loop: EventLoop, done: Sender<()>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("edge-{index}")).stack_size(STACK).spawn(move || {
        event_loop.run();
        drop(done);
    })
}

fn make_shared(config: &EdgeConfig) -> io::Result<(Arc<Shared>, Vec<Receiver<Arrival>>)> {
    let mut loops = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..config.settings.threads.max(1) {
        let (arrivals, receiver) = unbounded();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (load, lasting) = (AtomicUsize::new(0), AtomicUsize::new(NOT_COUNTED));
        loops.push(LoopHandle { arrivals, bell: Arc::new(LoopBell::new(wake)), load, lasting });
        receivers.push(receiver);
    }
    let limit = match config.settings.max_connections {
        0 => default_connections(loops.len()),
        limit => limit,
    };
    config.counters.set_max_connections(limit);
    let shared = Shared {
        loops,
        counters: config.counters.clone(),
        admission: Admission::new(limit, config.settings.max_connections_per_address),
        flights: Arc::new(Flights::new(limit, config.settings.max_connections_per_address)),
        pace: Pace::new(config.settings.rate_limit_per_address),
        trusted: config.trusted_proxies.clone(),
        accepting: AtomicBool::new(true),
        last_call: AtomicBool::new(false),
        running: AtomicBool::new(true),
    };
    Ok((Arc::new(shared), receivers))
}

/// What the descriptors of an edge without a role around it allow.
fn default_connections(loops: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(FALLBACK_CONNECTIONS, |limit| Plan::of_an_edge(limit, loops).connections)
}

/// Differs between edges, so that a chain of two is no loop, but one in a circle is.
fn make_pseudonym() -> Arc<str> {
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    format!("hydraneckwebrtc-{random:08x}").into()
}
