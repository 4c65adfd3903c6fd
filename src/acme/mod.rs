//! Automatic certificates for `server.domain`: carries values between the pure `acme::protocol`, the authority, the disk and the edge.
//!
//! ```text
//!  main ──Hurry──▶ acme (thread) ──calls──▶ authority
//!                   │  │  └──── keeps ────▶ state_dir/ROLE/acme
//!                   │  └─ certificates, answers ─▶ edge (ServedCertificates)
//!                   └──── what is told ────▶ health
//! ```
//!
//! A stored certificate that is good is served at once, without a call. Nothing that goes wrong here ends the process: health says
//! what it is.

pub mod certificate;
mod client;
mod keys;
mod outside;
pub mod protocol;
pub mod status;
pub mod store;
mod thread;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use crate::config::settings::Settings;
use crate::edge::tls::names::ServedCertificates;
use crate::host::join;
use crate::host::private_dir::PrivateDir;
use client::Client;
use status::Status;
use store::Store;
use thread::{Message, STACK, Wishes, Worker};

/// The thread comes round at least each minute, but for a call (30 s) and what a name takes to be looked at (10 s each).
pub const SILENCE: Duration = Duration::from_secs(300);

/// What stopping may take: the grace, and a write to the disk.
const JOIN_DEADLINE: Duration = Duration::from_secs(4);

/// Gets and renews the certificate until it is stopped.
pub struct Automatic {
    messages: Option<Sender<Message>>,
    worker: Option<Worker>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Status>,
}

impl Automatic {
    /// Serves what is stored. The error is in words.
    pub fn open(
        settings: &Settings,
        state: &PrivateDir,
        served: Arc<ServedCertificates>,
    ) -> Result<Automatic, String> {
        let (names, acme) = (settings.server.names().to_vec(), settings.server.acme.clone());
        let store = Store::open(state).map_err(|error| format!("server.state_dir: {error}"))?;
        let client =
            Client::new(acme.ca_file.as_deref()).map_err(|text| format!("server.acme.ca_file: {text}"))?;
        let (messages, inbox) = bounded(1);
        let status = Arc::new(Status::default());
        let worker = Worker::new(Wishes { names, acme }, (store, client), (served, status.clone()), inbox);
        Ok(Automatic { messages: Some(messages), worker: Some(worker), thread: None, status })
    }

    /// Starts the thread: from now on the ports answer, so that we see ourselves.
    pub fn start(&mut self, beat: Box<dyn Fn() + Send>) -> std::io::Result<()> {
        let Some(worker) = self.worker.take() else { return Ok(()) };
        let thread = std::thread::Builder::new().name("acme".into()).stack_size(STACK);
        self.thread = Some(thread.spawn(move || worker.run(beat))?);
        Ok(())
    }

    /// What health tells.
    pub fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    /// Tries now what is due, but for a limit that the authority named.
    pub fn hurry(&self) {
        if let Some(messages) = &self.messages {
            // One that waits already says the same.
            let _ = messages.try_send(Message::Hurry);
        }
    }

    /// Stops the thread.
    pub fn stop(&mut self) {
        self.messages = None;
        self.thread.take().and_then(|thread| join::within(thread, JOIN_DEADLINE));
    }
}
