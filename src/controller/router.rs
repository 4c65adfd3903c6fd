//! Where the controller's edge sends requests: the control API, or the worker that owns the session.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::api::gate::Gate;
use crate::api::session_path::SessionPath;
use crate::api::{auth, media_form, pages, room_page, rooms_form, routes};
use crate::config::live::Live;
use crate::config::secret::is_one_of;
use crate::config::settings::MovePolicy;
use crate::controller::messages::Ask;
use crate::controller::rooms::routes::RoomRoutes;
use crate::controller::snapshot::{Published, Reach, Target};
use crate::core::ids::{SessionId, WorkerId};
use crate::edge::http1::csp;
use crate::edge::reply::Reply;
use crate::edge::router::{Decision, Forward, Request, Router, Uncounted};
use crate::host::clock::Clock;

/// With it a page asks how its session is while nothing arrives.
const LOST_QUERY: &str = "lost";

/// The controller's routes.
pub struct ControllerRouter {
    /// Which session is where.
    pub fleet: Arc<Published>,
    /// Limits.
    pub live: Arc<Live>,
    /// The way to the control API.
    pub api: Arc<Gate>,
    /// The way to rooms.
    pub rooms: RoomRoutes,
    /// The clock of the fleet thread.
    pub clock: Clock,
    /// The fleet thread.
    pub asks: Sender<Ask>,
    /// For every tunnel.
    pub uncounted: Arc<Uncounted>,
}

impl Router for ControllerRouter {
    fn route(&self, request: &Request<'_>) -> Decision {
        if let Some(reply) = media_form::preflight(request).or_else(|| rooms_form::preflight(request)) {
            return Decision::Reply(reply);
        }
        if rooms_form::is_rooms(request.path) {
            return self.rooms.decide(request, &self.api);
        }
        if let Some(page) = room_page::reply(request, self.live.get().rooms.enabled) {
            return Decision::Reply(page);
        }
        let html = request.accepts_html;
        match SessionPath::parse(request.path) {
            SessionPath::NotASession => match pages::front(request.method, request.path) {
                Some(page) => Decision::Reply(page),
                None => self.api.decide(request, self.live.get().edge.control_body_limit),
            },
            SessionPath::BadId => Decision::Reply(self.unknown(html)),
            SessionPath::Bare(id) | SessionPath::Below(id, _) => self.session(request, &id),
        }
    }

    fn is_operator(&self, authorization: &str) -> bool {
        auth::bearer(Some(authorization))
            .is_some_and(|token| is_one_of(token, self.live.get().server.admin_secrets()))
    }

    fn session_of(&self, path: &str) -> Option<SessionId> {
        SessionPath::parse(path).id()
    }

    fn form(&self, path: &str) -> Option<fn(Reply) -> Reply> {
        media_form::of_path(path).or_else(|| rooms_form::of_path(path))
    }

    fn frame_ancestors(&self) -> String {
        csp::frame_ancestors(&self.live.get().sessions)
    }
}

impl ControllerRouter {
    fn session(&self, request: &Request<'_>, id: &SessionId) -> Decision {
        let html = request.accepts_html;
        let now = self.clock.now();
        match self.fleet.route_of_link(now, id) {
            Some(Target { moving: true, .. }) => Decision::Reply(pages::moving(html)),
            Some(Target { reach: Some(reach), worker, .. }) => self.to_worker(request, &worker, &reach),
            Some(Target { reach: None, .. }) => {
                self.ask_for_move(request, id);
                Decision::Reply(pages::worker_away(html))
            }
            None => match self.fleet.common().settling(now) {
                Some(left) => Decision::Reply(pages::settling(html, left.as_secs() + 1)),
                None => Decision::Reply(self.unknown(html)),
            },
        }
    }

    /// The worker of a session is not heard of. That does not mean that its stream is over: media does not pass here. So only a page
    /// that says that it has no picture, or is just being opened, asks for a move.
    fn ask_for_move(&self, request: &Request<'_>, id: &SessionId) {
        let is_page = request.accepts_html && !request.path.contains("/_neck/");
        let has_lost = request.path.ends_with("/_neck/status") && request.query == Some(LOST_QUERY);
        if self.live.get().sessions.moves == MovePolicy::Always
            && request.method == "GET"
            && (is_page || has_lost)
        {
            let _ = self.asks.send(Ask::MoveWanted(id.clone()));
        }
    }

    fn to_worker(&self, request: &Request<'_>, worker: &WorkerId, reach: &Reach) -> Decision {
        let settings = self.live.get();
        // What the worker would refuse need not be carried there.
        let (most, own) =
            (settings.edge.session_body_limit, routes::worker_body_limit(request.method, request.path));
        // Nothing is confined here: the worker does so with its processes, and what it says itself speaks for the service.
        Decision::Forward(Forward {
            body_limit: own.map_or(most, |own| own.min(most)),
            tunnels: Some(self.uncounted.clone()),
            proof: reach.proof_to(worker, &settings),
            unavailable: Some(pages::worker_away),
            ..Forward::to(reach.upstream.clone())
        })
    }

    fn unknown(&self, html: bool) -> Reply {
        pages::gone(html, None, &self.live.get().sessions.return_url)
    }
}
