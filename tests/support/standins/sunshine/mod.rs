//! A simulated body: Sunshine's GameStream HTTP and management API, and hydrabody, on one address.
//!
//! ```text
//! web-server stand-in ─▶ :http        /serverinfo /pair /unpair /applist /launch /cancel   (gamestream)
//! worker ──────────────▶ :management  /api/pin /api/apps /api/clients, TLS, Basic          (management)
//!        ──────────────▶ :hydrabody   /api/v1/launch /api/v1/stop                          (hydrabody)
//! ```
//!
//! It keeps the states and waits of the real ones as they were read and measured, not their cryptography: a client
//! proves its PIN by naming it, and nothing but the management API is encrypted. Owned by the test that
//! started it; plain threads, one per port and one per connection, all of which end with it.

use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

mod apps;
pub mod control;
mod faults;
mod gamestream;
mod gate;
mod hydrabody;
mod management;
mod pairing;
mod record;
mod serve;
mod shared;
pub mod tls;

pub use faults::BodyFaults;
pub use record::{Event, Outcome};

use serde_json::Value;
use shared::{Door, Shared};

/// The ports of a body; 0 lets the kernel choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyPorts {
    /// GameStream HTTP, really 47989: `bodies.http_port`.
    pub http: u16,
    /// The management API, really 47990: `bodies.management_port`.
    pub management: u16,
    /// hydrabody, really 47991: `bodies.hydrabody_port`.
    pub hydrabody: u16,
}

/// How to start a body.
#[derive(Clone, Debug)]
pub struct BodyOptions {
    /// The one address of all ports.
    pub ip: IpAddr,
    /// The ports.
    pub ports: BodyPorts,
    /// User of the management API.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Wrong from the start.
    pub faults: BodyFaults,
}

impl BodyOptions {
    /// Ports of the kernel's choice, `sunshine`/`sunshine`, no faults.
    pub fn on(ip: IpAddr) -> BodyOptions {
        BodyOptions {
            ip,
            ports: BodyPorts::default(),
            user: String::from("sunshine"),
            password: String::from("sunshine"),
            faults: BodyFaults::default(),
        }
    }
}

/// The running body; it does all that its handle does. Dropping it closes its ports and joins its threads.
pub struct Body {
    handle: BodyHandle,
}

/// Changes and watches a body, from any thread. It does not keep it running.
#[derive(Clone)]
pub struct BodyHandle {
    shared: Arc<Shared>,
}

impl Body {
    /// Starts a body.
    pub fn start(options: &BodyOptions) -> io::Result<Body> {
        let shared = Arc::new(Shared::new(options)?);
        let body = Body { handle: BodyHandle { shared } };
        body.shared.start(Duration::from_millis(options.faults.start_after_ms))?;
        Ok(body)
    }

    /// A handle for other threads.
    pub fn handle(&self) -> BodyHandle {
        self.handle.clone()
    }

    /// Closes the ports, cuts the connections and waits for the threads.
    pub fn stop(self) {}
}

impl Drop for Body {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Deref for Body {
    type Target = BodyHandle;

    fn deref(&self) -> &BodyHandle {
        &self.handle
    }
}

impl BodyHandle {
    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.shared.ip
    }

    /// Its ports, those of the kernel's choice too.
    pub fn ports(&self) -> BodyPorts {
        let port = |door| self.shared.gate(door).address().port();
        BodyPorts {
            http: port(Door::GameStream),
            management: port(Door::Management),
            hydrabody: port(Door::Hydrabody),
        }
    }

    /// The switches as they are.
    pub fn faults(&self) -> BodyFaults {
        self.shared.state().faults.clone()
    }

    /// Replaces all switches.
    pub fn set_faults(&self, faults: BodyFaults) -> io::Result<()> {
        self.shared.set_faults(faults)
    }

    /// Changes some switches.
    pub fn change_faults(&self, change: impl FnOnce(&mut BodyFaults)) -> io::Result<()> {
        let mut faults = self.faults();
        change(&mut faults);
        self.set_faults(faults)
    }

    /// Closes every port and cuts every connection, as a crash or a power cut with a fast network behind it.
    pub fn die(&self) {
        self.shared.die();
    }

    /// Answers again after [`BodyHandle::die`]. Apps and paired clients are as they were; nobody waits for a PIN.
    pub fn revive(&self) -> io::Result<()> {
        self.shared.revive()
    }

    /// Forgets who is paired, without a word to anybody.
    pub fn forget_pairings(&self) {
        self.shared.state().pairings.unpair_all();
    }

    /// Unique ids of the clients that are paired.
    pub fn paired_clients(&self) -> Vec<String> {
        self.shared.state().pairings.paired().map(|(client, _)| client.to_owned()).collect()
    }

    /// A client that is paired already, as somebody's living room.
    pub fn add_client(&self, client: &str, name: &str) {
        self.shared.state().pairings.add_paired(client, name);
    }

    /// The names in the list of clients, sorted.
    pub fn client_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.shared.state().pairings.paired().map(|(_, name)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Unique ids of clients whose pairing is not over.
    pub fn waiting_clients(&self) -> Vec<String> {
        self.shared.state().pairings.waiting_clients().map(str::to_owned).collect()
    }

    /// An entry of the app list that somebody made, as the web interface saves it.
    pub fn add_app(&self, mut entry: Value) -> Result<(), &'static str> {
        entry["index"] = serde_json::json!(-1);
        self.shared.state().apps.save(entry).map(drop)
    }

    /// An app starts for somebody else, as if it were started at the machine or by another client.
    pub fn run_app(&self, app: u32) {
        self.shared.state().running_app = app;
    }

    /// The app that runs; 0: none.
    pub fn running_app(&self) -> u32 {
        self.shared.state().running_app
    }

    /// The entries of the app list, in its order.
    pub fn apps(&self) -> Vec<Value> {
        self.shared.state().apps.entries().to_vec()
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.timeline().into_iter().map(|(_, event)| event).collect()
    }

    /// What happened so far, with the time since the start.
    pub fn timeline(&self) -> Vec<(Duration, Event)> {
        self.shared.state().record.timeline()
    }

    /// The most pairings that ever ran at the same time.
    pub fn max_pairings_at_once(&self) -> usize {
        self.shared.state().pairings.most_at_once()
    }
}
