//! What the threads of a body share, and its life.
//!
//! ```text
//! new ─ start, after start_after_ms ─► alive ⇄ dead (die, revive)
//!                                        └──────┴─ stop ─► stopped
//! ```
//!
//! A port is open while the body is alive and no switch says that the port is absent.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::apps::Apps;
use super::faults::BodyFaults;
use super::gate::Gate;
use super::pairing::Pairings;
use super::record::{Event, Outcome, Record};
use super::tls::Identities;
use super::{BodyOptions, serve};
use crate::web_server::sha1::base64;

/// More connections at once are dropped: no test of one body comes near it.
const MAX_CONNECTIONS: usize = 128;

/// How long the end waits for the threads of connections, which are cut by then.
const END_LIMIT: Duration = Duration::from_secs(5);

/// One of the three ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    GameStream,
    Management,
    Hydrabody,
}

const DOORS: [Door; 3] = [Door::GameStream, Door::Management, Door::Hydrabody];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    New,
    Alive,
    Dead,
    Stopped,
}

/// Everything that changes.
pub struct State {
    pub life: Life,
    pub faults: BodyFaults,
    pub record: Record,
    pub pairings: Pairings,
    pub apps: Apps,
    pub running_app: u32,
    connections: BTreeMap<u64, TcpStream>,
    next_connection: u64,
}

/// What every thread has.
pub struct Shared {
    pub ip: IpAddr,
    /// The one right value of `Authorization`.
    pub authorization: String,
    identities: Identities,
    gamestream: Gate,
    management: Gate,
    hydrabody: Gate,
    /// Held while ports open and close, so that the last change of a switch wins.
    doors: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub fn new(options: &BodyOptions) -> io::Result<Shared> {
        let gate = |port| Gate::reserve(SocketAddr::new(options.ip, port));
        let state = State {
            life: Life::New,
            faults: options.faults.clone(),
            record: Record::new(),
            pairings: Pairings::default(),
            apps: Apps::new(),
            running_app: options.faults.running_app.unwrap_or(0),
            connections: BTreeMap::new(),
            next_connection: 0,
        };
        Ok(Shared {
            ip: options.ip,
            authorization: format!(
                "Basic {}",
                base64(format!("{}:{}", options.user, options.password).as_bytes())
            ),
            identities: Identities::load()?,
            gamestream: gate(options.ports.http)?,
            management: gate(options.ports.management)?,
            hydrabody: gate(options.ports.hydrabody)?,
            doors: Mutex::new(()),
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn gate(&self, door: Door) -> &Gate {
        match door {
            Door::GameStream => &self.gamestream,
            Door::Management => &self.management,
            Door::Hydrabody => &self.hydrabody,
        }
    }

    /// How the management API shows itself to a connection that comes now.
    pub fn identity(&self) -> Arc<ServerConfig> {
        let identities = &self.identities;
        Arc::clone(if self.state().faults.other_certificate { &identities.other } else { &identities.first })
    }

    /// Comes alive, at once or later.
    pub fn start(self: &Arc<Shared>, after: Duration) -> io::Result<()> {
        if after.is_zero() {
            return self.come_alive();
        }
        let shared = Arc::clone(self);
        let wait = move || {
            let state = shared.state();
            let new = |state: &mut State| state.life == Life::New;
            let waited = shared.changed.wait_timeout_while(state, after, new);
            drop(waited);
            if let Err(error) = shared.come_alive() {
                log::error!("[stand-in] the simulated body cannot open its ports: {error}");
            }
        };
        thread::Builder::new().name("body-start".into()).spawn(wait).map(drop)
    }

    fn come_alive(self: &Arc<Shared>) -> io::Result<()> {
        {
            let mut state = self.state();
            if state.life == Life::New {
                state.life = Life::Alive;
            }
        }
        self.arrange_doors()
    }

    pub fn set_faults(self: &Arc<Shared>, faults: BodyFaults) -> io::Result<()> {
        {
            let mut state = self.state();
            if faults.running_app != state.faults.running_app {
                state.running_app = faults.running_app.unwrap_or(0);
            }
            state.faults = faults;
        }
        self.arrange_doors()
    }

    /// Opens and closes ports as life and switches say.
    fn arrange_doors(self: &Arc<Shared>) -> io::Result<()> {
        let _held = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        for door in DOORS {
            let wanted = {
                let state = self.state();
                state.life == Life::Alive && !state.is_absent(door)
            };
            if !wanted {
                self.gate(door).close();
                continue;
            }
            let shared = Arc::clone(self);
            self.gate(door).open("body-accept", move |client| receive(&shared, door, client))?;
        }
        Ok(())
    }

    pub fn die(self: &Arc<Shared>) {
        {
            let mut state = self.state();
            if state.life != Life::Alive {
                return;
            }
            state.life = Life::Dead;
            state.end_pairings();
            state.record.note(Event::Died);
        }
        self.fall_silent();
    }

    pub fn revive(self: &Arc<Shared>) -> io::Result<()> {
        {
            let mut state = self.state();
            if state.life != Life::Dead {
                return Ok(());
            }
            state.life = Life::Alive;
            state.record.note(Event::Revived);
        }
        self.arrange_doors()
    }

    /// The end of all threads.
    pub fn stop(self: &Arc<Shared>) {
        self.state().life = Life::Stopped;
        self.fall_silent();
        let some = |state: &mut State| !state.connections.is_empty();
        let ended = self.changed.wait_timeout_while(self.state(), END_LIMIT, some);
        if ended.is_ok_and(|(_, waited)| waited.timed_out()) {
            log::error!("[stand-in] connections of a simulated body did not end within {END_LIMIT:?}");
        }
    }

    fn fall_silent(self: &Arc<Shared>) {
        // Closing cannot fail in a way that we could mend.
        let _ = self.arrange_doors();
        for client in self.state().connections.values() {
            // One that is closed already is what we want.
            let _ = client.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Tells the others that the state changed.
    pub fn announce(&self) {
        self.changed.notify_all();
    }

    /// Waits for an announcement, but no longer than this.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes its time, but ends with the body.
    pub fn dawdle(&self, ms: u64) {
        let deadline = Instant::now() + Duration::from_millis(ms);
        let mut state = self.state();
        while state.life == Life::Alive && Instant::now() < deadline {
            state = self.wait(state, deadline.saturating_duration_since(Instant::now()));
        }
    }

    pub fn is_alive(&self) -> bool {
        self.state().life == Life::Alive
    }

    fn register(&self, client: &TcpStream) -> Option<u64> {
        let mut state = self.state();
        if state.life != Life::Alive || state.connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        state.next_connection += 1;
        let number = state.next_connection;
        state.connections.insert(number, client.try_clone().ok()?);
        Some(number)
    }

    fn unregister(&self, number: u64) {
        self.state().connections.remove(&number);
        self.changed.notify_all();
    }
}

impl State {
    fn is_absent(&self, door: Door) -> bool {
        match door {
            Door::GameStream => self.faults.gamestream_absent,
            Door::Management => self.faults.management_absent,
            Door::Hydrabody => self.faults.hydrabody_absent,
        }
    }

    fn end_pairings(&mut self) {
        for client in self.pairings.end_all() {
            self.end_pairing(&client, Outcome::Died);
        }
    }

    pub fn end_pairing(&mut self, client: &str, outcome: Outcome) {
        self.record.note(Event::PairingEnded { client: client.to_owned(), outcome });
    }

    pub fn close_app(&mut self) {
        if !self.faults.refuses_to_close {
            self.running_app = 0;
        }
    }
}

/// Serves a new connection in a thread of its own.
fn receive(shared: &Arc<Shared>, door: Door, client: TcpStream) {
    let Some(number) = shared.register(&client) else { return };
    let server = Arc::clone(shared);
    let work = move || {
        serve::serve(&server, door, client);
        server.unregister(number);
    };
    if thread::Builder::new().name("body-connection".into()).spawn(work).is_err() {
        shared.unregister(number);
    }
}
