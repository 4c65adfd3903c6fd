//! Where the worker's edge sends requests: the control API, a session's child, or a page of ours.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::gate::Gate;
use crate::api::pages::{self, Ended};
use crate::api::session_path::SessionPath;
use crate::api::{auth, media_form, player, room_page, rooms_form};
use crate::config::live::Live;
use crate::config::secret::Secret;
use crate::core::ids::SessionId;
use crate::core::limits::rate_limit::Rate;
use crate::core::session::reason::EndReason;
use crate::edge::http1::csp;
use crate::edge::http1::head::confine::Confinement;
use crate::edge::reply::Reply;
use crate::edge::router::{Decision, Forward, Request, Router, Upstream};
use crate::edge::signalling::StreamIds;
use crate::host::clock::Clock;
use crate::worker::gate::Gate as ProcessGate;
use crate::worker::registry::{SessionHandle, SessionRegistry, SessionState, UPGRADE_LOST, Visit};
use crate::worker::rooms::routes::RoomRoutes;
use crate::worker::standing::Standing;
use crate::worker::{child_api, following};

/// The worker's routes.
pub struct WorkerRouter {
    /// Sessions.
    pub registry: Arc<SessionRegistry>,
    /// Limits and the way back.
    pub live: Arc<Live>,
    /// With which tokens we may be called.
    pub standing: Arc<Standing>,
    /// The way to the control API.
    pub api: Arc<Gate>,
    /// The way to rooms.
    pub rooms: RoomRoutes,
    /// The way to sessions' processes.
    pub processes: ProcessGate,
    /// `edge.rate_limit_per_session`; `None`: no limit.
    pub rate: Option<Rate>,
    /// For the rate, and of the `cleanup` thread.
    pub clock: Clock,
}

impl Router for WorkerRouter {
    fn route(&self, request: &Request<'_>) -> Decision {
        if let Some(reply) = media_form::preflight(request).or_else(|| rooms_form::preflight(request)) {
            return Decision::Reply(reply);
        }
        if let Some(page) = room_page::reply(request, self.live.get().rooms.enabled) {
            return Decision::Reply(page);
        }
        if rooms_form::is_rooms(request.path) {
            return self.rooms.decide(request, self.live.get().edge.control_body_limit);
        }
        match SessionPath::parse(request.path) {
            SessionPath::NotASession => match pages::worker_front(request.method, request.path) {
                Some(page) => Decision::Reply(page),
                None => self.to_api(request),
            },
            SessionPath::BadId => self.gone(request, None),
            SessionPath::Bare(id) => self.with_slash(request, &id),
            SessionPath::Below(id, rest) => self.session(request, &id, rest),
        }
    }

    fn is_operator(&self, authorization: &str) -> bool {
        let is_admin = |token| self.standing.is_admin(&self.live.get(), token);
        auth::bearer(Some(authorization)).is_some_and(is_admin)
    }

    fn is_proof(&self, proof: &str) -> bool {
        let settings = self.live.get();
        let Some(worker) = &settings.server.worker_id else { return false };
        let secrets = self.standing.secrets(&settings);
        let ours = self.standing.proofs().of(secrets.iter().map(Secret::expose), worker);
        // All are compared, so that the time taken does not tell them apart.
        ours.iter().fold(false, |good, ours| good | ours.matches(proof))
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

impl WorkerRouter {
    fn session(&self, request: &Request<'_>, id: &SessionId, rest: &str) -> Decision {
        let visit = self.registry.visit(id);
        if let Some(wait) = visit.as_ref().and_then(|visit| self.too_fast(visit, request.network)) {
            return Decision::Reply(Reply::too_fast(wait, "edge.rate_limit_per_session"));
        }
        if media_form::is_media(request.path) {
            return self.to_api(request);
        }
        let Some(visit) = visit else { return self.gone(request, None) };
        let ending = visit.handle.end_reason();
        if rest == EVENTS && request.method == "GET" && ending.is_none() {
            return Decision::Events(following::follow(
                &visit,
                self.registry.drain_until(),
                self.clock.now(),
            ));
        }
        // What the API answers it answers by the link that was used; what that may not do it refuses.
        if is_ours(rest) {
            return self.to_api(request);
        }
        if ending == Some(EndReason::Moved) {
            return Decision::Reply(pages::moving(request.accepts_html));
        }
        if let Some(reason) = ending {
            let ended = Ended { reason, link: visit.link, overlay: visit.overlay(request.prefix) };
            return self.gone(request, Some(&ended));
        }
        let view = visit.handle.view();
        if !visit.handle.is_proxied() {
            return player(request, &visit, &view, rest);
        }
        if request.lost_upgrade {
            visit.handle.note_socket(true);
            return Decision::Reply(upgrade_required());
        }
        if request.upgrade {
            visit.handle.note_socket(false);
        }
        match (view.open, &view.page) {
            (true, Some(page)) if rest == "/" || is_of_earlier_copy(request, rest, &visit, page) => {
                redirect(&visit, request.prefix, page, None)
            }
            (true, ..) => self.to_child(request, rest, visit.handle, &view),
            (false, Some(_)) => Decision::Reply(pages::reconnecting(request.accepts_html)),
            (false, None) => Decision::Reply(pages::getting_ready(request.accepts_html)),
        }
    }

    /// How long until the session may be asked again by this link.
    fn too_fast(&self, visit: &Visit, network: Option<IpAddr>) -> Option<Duration> {
        visit.handle.pace(visit.link, self.clock.now(), self.rate?, network).err()
    }

    /// Relative links of the page need the slash.
    fn with_slash(&self, request: &Request<'_>, id: &SessionId) -> Decision {
        match self.registry.visit(id) {
            Some(visit) => redirect(&visit, request.prefix, "/", request.query),
            None => self.gone(request, None),
        }
    }

    fn to_child(
        &self,
        request: &Request<'_>,
        rest: &str,
        handle: Arc<SessionHandle>,
        view: &SessionState,
    ) -> Decision {
        let passage = match self.processes.admit(request, rest, &handle, view) {
            Ok(passage) => passage,
            Err(refusal) => return Decision::Reply(refusal),
        };
        handle.want(self.clock.now());
        let settings = self.live.get();
        let ancestors = csp::frame_ancestors(&settings.sessions).into();
        let outside = handle.outside(request.prefix);
        Decision::Forward(Forward {
            body_limit: settings.edge.session_body_limit,
            prefix: handle.prefix.clone(),
            confined: Some(Confinement { path: outside.path, ancestors }),
            inject: Some(outside.injection),
            user: view.user.clone(),
            tunnels: passage.tunnels,
            screen: passage.screen,
            // Between the child's death and its supervisor's notice.
            unavailable: Some(pages::reconnecting),
            ..Forward::to(Upstream::Tcp(view.address()))
        })
    }

    fn to_api(&self, request: &Request<'_>) -> Decision {
        self.api.decide(request, self.live.get().edge.control_body_limit)
    }

    fn gone(&self, request: &Request<'_>, ended: Option<&Ended>) -> Decision {
        Decision::Reply(pages::gone(request.accepts_html, ended, &self.live.get().sessions.return_url))
    }
}

/// The event stream of a session, below its address.
const EVENTS: &str = "/_neck/events";

/// The page of a session that no stream process serves.
fn player(request: &Request<'_>, visit: &Visit, view: &SessionState, rest: &str) -> Decision {
    let reply = match (view.open, rest) {
        (true, "/") => {
            player::page(&visit.overlay(request.prefix), visit.handle.request.experience.as_deref())
        }
        (true, _) => Reply::error(404, "no such page", "this session has one page, its address ends with /"),
        (false, _) if view.source.is_some() => pages::reconnecting(request.accepts_html),
        (false, _) => pages::getting_ready(request.accepts_html),
    };
    Decision::Reply(reply)
}

/// Whether a page is asked for as it was before its session moved: each stream process has numbers of its own for the same host.
fn is_of_earlier_copy(request: &Request<'_>, rest: &str, visit: &Visit, page: &str) -> bool {
    let is_page = matches!(request.method, "GET" | "HEAD") && rest == child_api::PAGE;
    let asked = || StreamIds::of_page(&format!("?{}", request.query?));
    visit.handle.copy() > 0 && is_page && asked().is_some_and(|ids| Some(ids) != StreamIds::of_page(page))
}

/// What a page's WebSocket gets that came without its upgrade (RFC 9110, 15.5.22).
fn upgrade_required() -> Reply {
    Reply::error(426, "upgrade required", UPGRADE_LOST)
        .with("Upgrade", "websocket")
        .with("Connection", "upgrade")
}

/// Paths below a session that we answer ourselves.
fn is_ours(rest: &str) -> bool {
    matches!(rest, "/quit" | "/rating" | "/mic" | "/mic/offer") || rest.starts_with("/_neck/")
}

/// To a page of the session, whose path below it begins with a slash.
fn redirect(visit: &Visit, prefix: &str, page: &str, query: Option<&str>) -> Decision {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let path = visit.path(prefix);
    Decision::Reply(Reply::redirect(format!("{}{page}{query}", path.trim_end_matches('/'))))
}
