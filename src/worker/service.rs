//! What the worker's side of the control API works with, and what its operations share. They stand in [`crate::worker::operations`].

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::api::auth::{self, OwnNames};
use crate::api::reply::{Answer, Responder};
use crate::api::routes::Operation;
use crate::api::server::Call;
use crate::api::types::CreateRequest;
use crate::config::live::Live;
use crate::core::dial_policy;
use crate::core::fleet::fence::{Caller, LeaseProof};
use crate::core::fleet::turns::Fault;
use crate::core::fleet::wire::{
    END_REASON_FIELD, FAULT_FIELD, LEASE_FIELD, SESSION_ID_FIELD, TIME_LEFT_FIELD,
};
use crate::core::ids::SessionId;
use crate::host::clock::Clock;
use crate::host::{entropy, local};
use crate::media::Media;
use crate::worker::browsers::Browsers;
use crate::worker::engines::{BadChoice, Choice};
use crate::worker::health::Health;
use crate::worker::order::Order;
use crate::worker::registry::{Arrival, Asked, SessionHandle, SessionRegistry, Visit};
use crate::worker::session_store::SessionStore;
use crate::worker::stamps::Stamps;
use crate::worker::whip::Whip;

/// What the API works with.
pub struct WorkerService {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// Sessions.
    pub registry: Arc<SessionRegistry>,
    /// The `cleanup` thread.
    pub sessions: Sender<Order>,
    /// What answers about sessions are marked with.
    pub stamps: Arc<Stamps>,
    /// What health replies say.
    pub health: Health,
    /// Keeps ratings and what pages say of themselves.
    pub store: Arc<SessionStore>,
    /// The media threads.
    pub media: Media,
    /// Bounds what browsers send without a token.
    pub browsers: Browsers,
    /// WHIP and WHEP.
    pub whip: Whip,
    /// The clock.
    pub clock: Clock,
}

impl WorkerService {
    /// Has the `cleanup` thread start a session, if our configuration serves such a one.
    pub(super) fn start(&self, call: &Call, responder: Responder, wish: Wish) {
        let Wish { id, request, base_url, view_id, arrival } = wish;
        let settings = self.live.get();
        let engine = match Choice::of(&request, &settings) {
            Ok(engine) => engine,
            Err(BadChoice::Wrong(text)) => {
                return responder.send(refusal(400, "bad request", text, Fault::Elsewhere));
            }
            Err(BadChoice::Forbidden(text)) => {
                return responder.send(refusal(403, "address not allowed", text, Fault::Elsewhere));
            }
        };
        let ours = local::own_addresses(request.body.ip());
        if let Err(why) = dial_policy::may_dial(request.body.ip(), &settings.sessions.allowed_bodies, &ours) {
            return responder.send(refusal(403, "body not allowed", why.to_string(), Fault::Elsewhere));
        }
        let fresh = || SessionId::from_entropy(entropy::bytes());
        let view_id = engine.has_viewers().then(|| view_id.unwrap_or_else(fresh));
        let time_left = call.header(TIME_LEFT_FIELD).and_then(|text| text.parse().ok());
        let time_left = time_left.map(Duration::from_millis);
        let caller = match caller(call) {
            Ok(caller) => caller,
            Err(refusal) => return responder.send(refusal),
        };
        let asked = Asked { id, view_id, request, engine, base_url, time_left, caller, arrival };
        // A thread that is gone drops the responder, which answers that we are stopping.
        let _ = self.sessions.send(Order::Create(Box::new(asked), responder));
    }

    /// The session that a call names by its own id.
    pub fn handle(&self, call: &Call) -> Option<Arc<SessionHandle>> {
        self.registry.find(&call.id.parse().ok()?)
    }

    /// The session that a call names by one of its links.
    pub fn visit(&self, call: &Call) -> Option<Visit> {
        self.registry.visit(&call.id.parse().ok()?)
    }

    /// Whether a page of this link may ask now; a refusal says how long to wait.
    pub fn admit_pace(&self, call: &Call, link: &SessionId) -> Result<(), Answer> {
        self.browsers.admit(call, &self.live.get(), link, self.clock.now()).map_err(|pause| {
            let words = "this page asks too often; wait";
            Answer::over_limit(429, "too many requests", words, "requests_per_session_and_address")
                .retry_after(pause)
        })
    }

    /// Whether what a page sends for this session is taken: not too often, with a body of one of these types (none: without a
    /// body), from the same site.
    pub fn admit_browser(&self, call: &Call, handle: &SessionHandle, types: &[&str]) -> Result<(), Answer> {
        self.admit_pace(call, &handle.id)?;
        let settings = self.live.get();
        let controllers = settings.controller.iter().flat_map(|link| link.all());
        let urls: Vec<&str> =
            controllers.chain(settings.server.public_url.as_deref()).chain([&*handle.base_url]).collect();
        let own = OwnNames { urls: &urls, proxies: &settings.server.trusted_proxies };
        auth::check_browser_call(call, own, types)
    }
}

/// A session to start.
pub(super) struct Wish {
    /// Its id.
    pub id: SessionId,
    /// What was asked for.
    pub request: CreateRequest,
    /// The outside URL of whom the create asked.
    pub base_url: String,
    /// The id of its link that only watches, where it had one before.
    pub view_id: Option<SessionId>,
    /// It was at another worker before.
    pub arrival: Option<Box<Arrival>>,
}

/// A create that is refused before it began; another worker may be asked, or not, by whose fault it is.
pub(super) fn refusal(status: u16, error: &str, why: String, fault: Fault) -> Answer {
    Answer::error(status, error, why).with(FAULT_FIELD, fault.to_string())
}

/// Who calls: a controller names the session, or why it ends, and shows its lease where it has one.
pub(super) fn caller(call: &Call) -> Result<Caller, Answer> {
    let proof = proof(call)?;
    let named = [SESSION_ID_FIELD, END_REASON_FIELD].iter().any(|field| call.header(field).is_some());
    // Only controllers know what moves.
    let is_controller = named || call.operation == Operation::TakeSession;
    Ok(if is_controller || proof.is_some() { Caller::Controller(proof) } else { Caller::Operator })
}

/// What the caller shows of a lease.
pub(super) fn proof(call: &Call) -> Result<Option<LeaseProof>, Answer> {
    let shown = call.header(LEASE_FIELD).map(str::parse).transpose();
    shown.map_err(|error| refusal(400, "bad request", format!("{LEASE_FIELD}: {error}"), Fault::Request))
}
