//! Where the controller's edge sends requests: the control API, or the worker that owns the session.

use std::path::Path;
use std::sync::Arc;

use crate::api::pages;
use crate::api::session_path::SessionPath;
use crate::config::live::Live;
use crate::controller::snapshot::{Published, Target};
use crate::core::csp;
use crate::core::ids::SessionId;
use crate::edge::router::{Decision, Forward, Reply, Request, Router, TunnelWatch, Upstream};
use crate::host::clock::Clock;

/// The controller's routes.
pub struct ControllerRouter {
    /// Which session is where.
    pub fleet: Arc<Published>,
    /// Limits.
    pub live: Arc<Live>,
    /// The control API's socket.
    pub api: Arc<Path>,
    /// The clock of the fleet thread.
    pub clock: Clock,
    /// Counts nothing, for every tunnel.
    pub uncounted: Arc<Uncounted>,
}

/// The controller lets tunnels through and leaves counting to the worker.
pub struct Uncounted;

impl TunnelWatch for Uncounted {
    fn opened(&self) {}

    fn closed(&self) {}
}

impl Router for ControllerRouter {
    fn route(&self, request: &Request<'_>) -> Decision {
        let html = request.accepts_html;
        match SessionPath::parse(request.path) {
            SessionPath::NotASession => self.to_api(),
            SessionPath::BadId => Decision::Reply(self.unknown(html)),
            SessionPath::Bare(id) | SessionPath::Below(id, _) => self.session(&id, html),
        }
    }

    fn frame_ancestors(&self) -> String {
        csp::frame_ancestors(&self.live.get().sessions)
    }
}

impl ControllerRouter {
    fn session(&self, id: &SessionId, html: bool) -> Decision {
        let snapshot = self.fleet.get();
        match snapshot.route_of_link(id) {
            Some(Target { reach: Some(reach), .. }) => self.to_worker(reach.upstream.clone()),
            Some(Target { reach: None, .. }) => Decision::Reply(pages::worker_away(html)),
            None => match snapshot.settling(self.clock.now()) {
                Some(left) => Decision::Reply(pages::settling(html, left.as_secs() + 1)),
                None => Decision::Reply(self.unknown(html)),
            },
        }
    }

    fn to_worker(&self, upstream: Upstream) -> Decision {
        Decision::Forward(Forward {
            upstream,
            body_limit: self.live.get().edge.session_body_limit,
            inject: None,
            user: None,
            tunnels: Some(self.uncounted.clone()),
            unavailable: Some(pages::worker_away),
            // The worker confines its processes; what it says itself speaks for the service.
            confined: None,
        })
    }

    fn to_api(&self) -> Decision {
        Decision::Forward(Forward::to_api(self.api.clone(), self.live.get().edge.control_body_limit))
    }

    fn unknown(&self, html: bool) -> Reply {
        pages::gone(html, None, &self.live.get().sessions.return_url)
    }
}
