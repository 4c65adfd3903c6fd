//! What a session's supervisor and its engine work with.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::api::reply::Responder;
use crate::config::settings::Settings;
use crate::host::clock::Clock;
use crate::host::wake::Wake;
use crate::host::wireguard::WireGuard;
use crate::media::Media;
use crate::worker::bodies::Bodies;
use crate::worker::data_dir::DataDir;
use crate::worker::engines::Choice;
use crate::worker::mailbox::Message;
use crate::worker::order::Order;
use crate::worker::ports::Lease;
use crate::worker::registry::SessionHandle;
use crate::worker::ring::Ring;
use crate::worker::session_store::SessionStore;
use crate::worker::sources::Sources;
use crate::worker::stamps::Stamps;

/// What a supervisor starts with.
pub struct SessionContext {
    /// The published side of the session.
    pub handle: Arc<SessionHandle>,
    /// Its port and slot.
    pub lease: Lease,
    /// What feeds it.
    pub engine: Choice,
    /// Who reads what a media engine sends.
    pub sources: Arc<dyn Sources>,
    /// The settings at the time of the request.
    pub settings: Arc<Settings>,
    /// Where session directories are.
    pub root: Arc<DataDir>,
    /// What others tell it.
    pub inbox: Receiver<Message>,
    /// Rings when there is something in the inbox.
    pub wake: Arc<Wake>,
    /// Waits for the session to become ready; `None` when nobody does.
    pub responder: Option<Responder>,
    /// The `cleanup` thread.
    pub sessions: Sender<Order>,
    /// What outlives the session.
    pub store: Arc<SessionStore>,
    /// Rings the heartbeat threads: something changed.
    pub changed: Ring,
    /// What answers about sessions are marked with.
    pub stamps: Arc<Stamps>,
    /// Where WireGuard shows, for the words of an error.
    pub wireguard: WireGuard,
    /// The media threads.
    pub media: Media,
    /// What sessions share about bodies.
    pub bodies: Arc<Bodies>,
    /// The clock.
    pub clock: Clock,
}
