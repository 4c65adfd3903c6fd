//! One thread's loop: waits for sockets and deadlines, and lets connections do what they can.
//!
//! Owns every connection that was handed to it; nothing of a connection is visible to other threads.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::Timespec;

use super::acceptor::{Acceptor, Arrival, LISTENER, Shared};
use super::client::Client;
use super::context::Context;
use super::deadlines::deadline;
use super::router::Entrance;
use super::slab::{Key, Side, Slab};
use super::socket::Socket;
use super::timers::Timers;
use super::tls::session::Session;
use super::upstreams::INTEREST;
use crate::core::time::Moment;
use crate::isolation::{self, Contained, isolate};

/// Token of the eventfd that wakes the loop.
pub const WAKE: u64 = u64::MAX - 2;
/// Events taken at once.
const EVENTS: usize = 256;
/// Longest sleep, so that the watchdog hears of every loop.
const MAX_SLEEP: Duration = Duration::from_secs(5);
/// Between two counts at the last call.
const COUNT: Duration = Duration::from_millis(10);
/// Between two pulses.
const PULSE: Duration = Duration::from_secs(1);

/// Is told that a loop is alive.
pub type Pulse = Arc<dyn Fn(usize) + Send + Sync>;

/// A loop.
pub struct EventLoop {
    /// Shared by its connections.
    pub cx: Context,
    /// Which loop this is.
    pub index: usize,
    /// Shared by the loops.
    pub shared: Arc<Shared>,
    /// New connections.
    pub arrivals: Receiver<Arrival>,
    /// On the first loop, while accepting.
    pub acceptor: Option<Acceptor>,
    /// Told that the loop is alive.
    pub pulse: Option<Pulse>,
    clients: Slab<Box<Client>>,
    timers: Timers,
    next_pulse: Moment,
    next_count: Moment,
}

impl EventLoop {
    /// A loop without connections.
    pub fn new(
        cx: Context,
        index: usize,
        shared: Arc<Shared>,
        arrivals: Receiver<Arrival>,
        acceptor: Option<Acceptor>,
        pulse: Option<Pulse>,
    ) -> EventLoop {
        let (clients, timers) = (Slab::default(), Timers::default());
        let (next_pulse, next_count) = (Moment(0), Moment(0));
        EventLoop { cx, index, shared, arrivals, acceptor, pulse, clients, timers, next_pulse, next_count }
    }

    /// Runs until stopped; then closes everything.
    pub fn run(mut self) {
        while self.shared.running.load(Ordering::Acquire) {
            let sleep = self.sleep();
            if let Err(error) = self.once(sleep) {
                // Only a programming error makes epoll fail; without it nothing can be served.
                log::error!("[edge] epoll failed, the loop ends: {error}");
                break;
            }
        }
        // What was said before we were stopped still goes out.
        self.on_wake();
        for mut client in self.clients.drain() {
            client.part(self.cx.now);
            client.close(&mut self.cx);
        }
    }

    /// Waits for events, for at most `sleep`, and acts on them. Returns how many there were.
    pub fn once(&mut self, sleep: Timespec) -> Result<usize, Errno> {
        let mut space = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        match epoll::wait(&self.cx.epoll, &mut space[..], Some(&sleep)) {
            Ok((events, _)) => {
                self.cx.tick();
                self.turn(events);
                Ok(events.len())
            }
            Err(Errno::INTR) => {
                self.cx.tick();
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn sleep(&mut self) -> Timespec {
        self.cx.tick();
        let now = self.cx.now;
        let pause = self.acceptor.as_ref().and_then(Acceptor::paused_until);
        let next = [self.timers.next(), self.cx.upstreams.next_sweep(), pause].into_iter().flatten().min();
        let wait = match next {
            _ if !self.cx.ready.is_empty() || !self.arrivals.is_empty() => Duration::ZERO,
            _ if self.shared.last_call.load(Ordering::Acquire) => COUNT,
            Some(at) => at.since(now).min(MAX_SLEEP),
            None => MAX_SLEEP,
        };
        Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(5),
            tv_nsec: i64::from(wait.subsec_nanos()),
        }
    }

    fn turn(&mut self, events: &[epoll::Event]) {
        // Idle upstream connections first: none that just became useless may be taken from the pool below.
        for event in events {
            self.on_idle_upstream(event);
        }
        for event in events {
            self.on_event(event);
        }
        self.admit_arrivals();
        for _ in 0..self.cx.ready.len() {
            if let Some(key) = self.cx.ready.pop_front() {
                self.with_client(key, Client::drive);
            }
        }
        self.run_timers();
        let keep = self.cx.settings.upstream_idle_timeout;
        if self.cx.upstreams.next_sweep().is_some_and(|at| self.cx.now.reached(at)) {
            self.cx.upstreams.sweep(self.cx.now, keep);
        }
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.resume(&self.cx.epoll, self.cx.now);
        }
        if self.shared.last_call.load(Ordering::Acquire) && self.cx.now.reached(self.next_count) {
            self.next_count = self.cx.now + COUNT;
            self.last_call();
        }
        if self.cx.now.reached(self.next_pulse)
            && let Some(pulse) = &self.pulse
        {
            pulse(self.index);
            self.next_pulse = self.cx.now + PULSE;
        }
    }

    fn on_idle_upstream(&mut self, event: &epoll::Event) {
        let token = event.data.u64();
        if token < WAKE
            && let (slot, Side::Upstream) = Key::from_token(token)
        {
            self.cx.upstreams.drop_if_idle(slot, event.flags);
        }
    }

    fn on_event(&mut self, event: &epoll::Event) {
        let (token, flags) = (event.data.u64(), event.flags);
        match token {
            LISTENER => {
                if let Some(acceptor) = &mut self.acceptor {
                    acceptor.accept(&self.cx.epoll, self.cx.now);
                    // Who was pushed out for a new connection goes before that one is looked at.
                    self.on_rung();
                }
            }
            WAKE => self.on_wake(),
            token => match Key::from_token(token) {
                (key, Side::Client) => self.with_client(key, |client, cx| {
                    client.io.socket.note(flags);
                    client.drive(cx)
                }),
                (slot, Side::Upstream) => {
                    if let Some(key) = self.cx.upstreams.owner(slot) {
                        self.with_client(key, |client, cx| {
                            if let Some(socket) = client.upstream() {
                                socket.note(flags);
                            }
                            client.drive(cx)
                        });
                    }
                }
            },
        }
    }

    fn on_wake(&mut self) {
        let shared = self.shared.clone();
        if let Some(handle) = shared.loops.get(self.index) {
            // Empties the counter; it is non-blocking. Before looking: what is rung from now on wakes us again.
            let _ = rustix::io::read(&handle.bell.wake, &mut [0u8; 8][..]);
        }
        self.on_rung();
        if !self.shared.accepting.load(Ordering::Acquire) {
            self.acceptor = None;
        }
    }

    /// Closes who only waits for a further request, and counts those that nobody waits for.
    fn last_call(&mut self) {
        let mut lasting = 0;
        for key in self.clients.keys() {
            self.with_client(key, |client, _| {
                lasting += usize::from(client.lasts());
                !client.is_idle()
            });
        }
        if let Some(handle) = self.shared.loops.get(self.index).filter(|_| self.acceptor.is_none()) {
            handle.lasting.store(lasting, Ordering::Release);
        }
    }

    fn on_rung(&mut self) {
        let rung = self.shared.loops.get(self.index).map(|handle| handle.bell.take_rung());
        for key in rung.into_iter().flatten() {
            self.with_client(key, Client::drive);
        }
    }

    fn admit_arrivals(&mut self) {
        while let Ok(arrival) = self.arrivals.try_recv() {
            let Some(socket) = self.socket(arrival.fd, arrival.entrance) else { continue };
            let (came, now) = ((arrival.entrance, arrival.ticket), self.cx.now);
            let key = self.clients.insert_with(|key| Box::new(Client::new(key, socket, came, now)));
            if self.register(key).is_err() {
                self.clients.remove(key);
                continue;
            }
            // The first event comes at once; the deadline must not depend on it.
            self.with_client(key, Client::drive);
        }
    }

    fn socket(&mut self, fd: OwnedFd, entrance: Entrance) -> Option<Socket> {
        let config = self.cx.tls.server.as_ref().filter(|_| entrance.speaks_tls());
        let Some(config) = config else { return Some(Socket::new(fd)) };
        match Session::server(config.clone()) {
            Ok(session) => Some(Socket::with_tls(fd, session)),
            Err(error) => {
                self.cx.remark(None, &error);
                None
            }
        }
    }

    fn register(&mut self, key: Key) -> Result<(), Errno> {
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        let data = epoll::EventData::new_u64(key.token(Side::Client));
        epoll::add(&self.cx.epoll, &client.io.socket, data, INTEREST)
    }

    /// Lets a connection act, then renews its deadline or closes it.
    fn with_client(&mut self, key: Key, act: impl FnOnce(&mut Client, &mut Context) -> bool) {
        let Some(mut client) = self.clients.take(key) else { return };
        self.cx.begin_turn(key);
        match isolate("a connection", || act(&mut client, &mut self.cx)) {
            Ok(true) => {}
            Ok(false) => {
                self.clients.remove(key);
                return self.close(key, client);
            }
            Err(Contained) => {
                self.clients.remove(key);
                self.cx.recover(key);
                return isolation::discard("a broken connection", client);
            }
        }
        if let Some(at) = deadline(&client.io, &client.state, &self.cx.settings)
            && client.timer_at.is_none_or(|timer| at < timer)
        {
            client.timer_at = Some(at);
            self.timers.push(at, key);
        }
        self.clients.restore(key, client);
    }

    /// Closing runs through what the connection was doing.
    fn close(&mut self, key: Key, client: Box<Client>) {
        if isolate("a connection that ends", || client.close(&mut self.cx)).is_err() {
            self.cx.recover(key);
        }
    }

    fn run_timers(&mut self) {
        while let Some((at, key)) = self.timers.pop_due(self.cx.now) {
            self.with_client(key, |client, cx| {
                if client.timer_at != Some(at) {
                    // Superseded by an earlier one.
                    return true;
                }
                client.timer_at = None;
                match deadline(&client.io, &client.state, &cx.settings) {
                    Some(deadline) if cx.now.reached(deadline) => client.expire(cx),
                    _ => true,
                }
            });
        }
    }
}

/// Creates a loop's epoll and registers the eventfd that wakes it.
pub fn make_epoll(wake: &OwnedFd) -> Result<OwnedFd, Errno> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
    Ok(epoll)
}
