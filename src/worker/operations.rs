//! The worker's side of the control API: what each operation does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::api::counters::ApiCounters;
use crate::api::overlay::{self, BrowserIceServer, OverlaySettings};
use crate::api::reply::{Answer, Responder};
use crate::api::routes::{Leg, Operation, Route, Segments};
use crate::api::server::{Call, Service};
use crate::api::sessions::{self, Link};
use crate::api::types::{CreateRequest, SessionView};
use crate::api::{auth, origin, pages, player, rooms_form};
use crate::config::settings::Role;
use crate::core::fleet::fence::Caller;
use crate::core::fleet::listing::{Kind, Wanted};
use crate::core::fleet::turns::Fault;
use crate::core::fleet::wire::{BASE_URL_FIELD, END_REASON_FIELD, SESSION_ID_FIELD};
use crate::core::ids::SessionId;
use crate::core::session::reason::EndReason;
use crate::host::entropy;
use crate::worker::leaked_streamers::Sockets;
use crate::worker::namespaces::copies;
use crate::worker::order::Order;
use crate::worker::registry::{SessionHandle, SessionState, Visit};
use crate::worker::rooms::rest;
use crate::worker::service::{Wish, WorkerService, caller, proof, refusal};
use crate::worker::source_trouble::names_of;
use crate::worker::{answers, figures, ice_page, metrics, mic, moves, rating, streamers};

impl Service for WorkerService {
    fn role(&self) -> Role {
        Role::Worker
    }

    fn is_admin(&self, token: &str) -> bool {
        self.health.standing.is_admin(&self.live.get(), token)
    }

    fn is_reader(&self, token: &str) -> bool {
        self.live.get().server.read_token.matches(token)
    }

    fn is_scraper(&self, token: &str) -> bool {
        self.live.get().metrics.token.matches(token)
    }

    fn counters(&self) -> Option<Arc<ApiCounters>> {
        Some(self.health.metrics.api.clone())
    }

    fn note_wrong_token(&self, token: Option<&str>, client: IpAddr) -> Option<Duration> {
        self.health.tokens.note(token, client, self.clock.now())
    }

    fn note_token(&self, token: &str, client: IpAddr) {
        self.health.tokens.used(token, client, self.clock.now());
    }

    fn refuse(&self, route: &Route, segments: Segments<'_>, authorization: Option<&str>) -> Option<Answer> {
        match route.operation {
            Operation::Media(purpose, Leg::Offer) => {
                self.whip.refuse(segments.id, purpose, authorization, |token| self.is_admin(token))
            }
            _ => None,
        }
    }

    fn refuse_room(&self, token: Option<&str>, host: &str) -> Option<Answer> {
        let admitted =
            self.health.room_access.admit(token.unwrap_or_default(), Some(host), SystemTime::now());
        admitted.err().map(|denied| rooms_form::denied(denied, token.is_some()))
    }

    fn call(&self, call: Call, responder: Responder) {
        if let Some(refusal) = self.refuse_viewer(&call) {
            return responder.send(refusal);
        }
        match call.operation {
            Operation::Health => {
                responder.send(self.health.answer(call.admin, call.reads, call.has_query("ready")))
            }
            // Not for administrators: who may is asked at `Health` only, which slows down guesses.
            Operation::Alive => responder.send(self.health.answer(false, false, false)),
            Operation::Ready => responder.send(self.health.answer(false, false, true)),
            Operation::Metrics => responder.send(metrics::answer(&self.health, &call)),
            Operation::CreateSession => self.create(&call, responder),
            Operation::ListSessions => responder.send(self.list(&call)),
            Operation::GetSession => responder.send(self.stamps.mark(self.get(&call))),
            Operation::DeleteSession => self.delete(&call, responder),
            Operation::TakeSession => self.take(&call, responder),
            Operation::SessionRequest => responder.send(self.stamps.mark(self.request_of(&call))),
            Operation::QuitSession => responder.send(self.quit(&call)),
            Operation::SessionStatus => responder.send(self.status(&call)),
            Operation::RateSession => responder.send(rating::rate(self, &call)),
            Operation::SessionFacts => responder.send(rating::facts(self, &call)),
            Operation::SessionEvents => responder.send(self.no_events(&call)),
            Operation::OverlayScript => responder.send(self.script(&call)),
            Operation::PlayerScript => responder.send(self.player_script(&call)),
            Operation::Media(purpose, leg) => {
                responder.send(self.whip.answer(&call, purpose, leg, |token| self.is_admin(token)));
            }
            Operation::MicOffer => responder.send(mic::offer(self, &call)),
            Operation::MicPatch => responder.send(mic::patch(self, &call)),
            Operation::MicStop => responder.send(mic::stop(self, &call)),
            Operation::MicStatus => responder.send(mic::status(self, &call)),
            Operation::IceServers => responder.send(ice_page::answer(self, &call)),
            Operation::TakeNamespaces => responder.send(self.take_namespaces(&call)),
            Operation::TurnCredentials | Operation::ListRooms => {
                responder.send(rest::answer(&self.health, &call))
            }
            Operation::CreateRoom | Operation::CloseRoom => {
                responder.send(self.stamps.mark(rest::answer(&self.health, &call)));
            }
            _ => responder.send(Answer::error(404, "not found", "ask the controller")),
        }
    }
}

impl WorkerService {
    fn create(&self, call: &Call, responder: Responder) {
        let settings = self.live.get();
        let request = match CreateRequest::parse(&call.body) {
            Ok(request) => request,
            Err(error) => {
                return responder.send(refusal(400, "bad request", error.to_string(), Fault::Request));
            }
        };
        let id = match call.header(SESSION_ID_FIELD).map(str::parse) {
            None => SessionId::from_entropy(entropy::bytes()),
            Some(Ok(id)) => id,
            Some(Err(error)) => {
                let why = format!("{SESSION_ID_FIELD}: {error}");
                return responder.send(refusal(400, "bad request", why, Fault::Request));
            }
        };
        let own = || origin::base_url(call, settings.server.public_url.as_deref());
        let base_url = call.header(BASE_URL_FIELD).map_or_else(own, str::to_owned);
        self.start(call, responder, Wish { id, request, base_url, view_id: None, arrival: None });
    }

    fn list(&self, call: &Call) -> Answer {
        let settings = self.live.get();
        let base = origin::base_url(call, settings.server.public_url.as_deref());
        let now = self.clock.now();
        let wanted = match Wanted::read(&call.query, Kind::Sessions) {
            Ok(wanted) => wanted,
            Err(why) => return sessions::bad_listing(why),
        };
        let all = self.registry.all();
        let views = all.iter().map(|handle| self.view(handle, answers::view(handle, &settings, now, &base)));
        let views = views.filter(|view| {
            wanted.worker.as_ref().is_none_or(|worker| view.worker_id == *worker)
                && wanted.state.as_ref().is_none_or(|state| view.status == *state)
                && wanted.body.is_none_or(|body| view.body_ip == body)
        });
        let page = wanted.page(views, |view| sessions::page_key(&view.id, call.admin));
        sessions::listed(&page.entries, page.next, call.admin)
    }

    fn view(&self, handle: &SessionHandle, view: SessionView) -> SessionView {
        SessionView { stream: figures::of(&self.media, &handle.id), ..view }
    }

    fn get(&self, call: &Call) -> Answer {
        // A controller that begins to lead calls its workers, so that they know before it gives orders.
        if let Ok(Caller::Controller(Some(proof))) = caller(call)
            && let Err(error) = self.health.fence.note(proof.number)
        {
            log::warn!("[worker] the controller's lease number cannot be kept in server.state_dir: {error}");
        }
        let settings = self.live.get();
        let base = origin::base_url(call, settings.server.public_url.as_deref());
        match self.handle(call) {
            Some(handle) => {
                let view = answers::detailed_view(&handle, &settings, self.clock.now(), &base);
                Answer::json(
                    200,
                    &SessionView { stream: figures::in_detail(&self.media, &handle.id), ..view },
                )
            }
            None => sessions::unknown(),
        }
    }

    /// Answers when nothing of the session is left.
    fn delete(&self, call: &Call, responder: Responder) {
        let Some(handle) = self.handle(call).filter(|handle| handle.is_live() || handle.has_moved()) else {
            return responder.send(self.stamps.mark(sessions::unknown()));
        };
        if call.header(END_REASON_FIELD) == Some(EndReason::Moved.code()) {
            return self.let_go(call, &handle, responder);
        }
        let replaced = call.header(END_REASON_FIELD) == Some(EndReason::Replaced.code());
        let reason = if replaced { EndReason::Replaced } else { EndReason::Deleted };
        let caller = match caller(call) {
            Ok(caller) => caller,
            Err(refusal) => return responder.send(refusal),
        };
        if let Err(unheeded) = self.health.fence.guard(&caller, || ()) {
            return responder.send(unheeded.answer());
        }
        let (stamps, id, was_let_go) = (self.stamps.clone(), handle.id.clone(), handle.has_moved());
        let when_over = Box::new(move || {
            // It was let go first: whoever wants its end asks where it is then.
            let goes_on = !was_let_go && handle.has_moved();
            responder.send(if goes_on { moves::moving() } else { stamps.mark(Answer::empty()) });
        });
        let _ = self.sessions.send(Order::End(id, reason, when_over));
    }

    /// Nobody but a controller brings copies, so who shows no lease has none. They are taken in one step with the look at the number:
    /// those of a later leader are not written over.
    fn take_namespaces(&self, call: &Call) -> Answer {
        let caller = match proof(call) {
            Ok(proof) => Caller::Controller(proof),
            Err(refusal) => return refusal,
        };
        let taken = self.health.fence.guard(&caller, || copies::take(&self.health, call));
        taken.unwrap_or_else(|unheeded| unheeded.answer())
    }

    /// The browser does not wait: the page is about to leave.
    fn quit(&self, call: &Call) -> Answer {
        let Some(handle) = self.handle(call).filter(|handle| handle.is_live()) else {
            return sessions::unknown();
        };
        if let Err(refusal) = self.admit_browser(call, &handle, auth::JSON) {
            return refusal;
        }
        let _ = self.sessions.send(Order::End(handle.id.clone(), EndReason::Quit, Box::new(|| ())));
        Answer::json(202, &json!({"status": "ending"}))
    }

    fn status(&self, call: &Call) -> Answer {
        let Some(visit) = self.visit(call) else { return sessions::unknown() };
        visit.handle.read(|view| match view.status.reason() {
            Some(EndReason::Moved) => moves::moving(),
            Some(reason) => Answer::error_with(
                404,
                "session ended",
                pages::in_words(reason, visit.link),
                json!({"status": view.status.name(), "reason": reason}),
            ),
            None => Answer::json(200, &standing(&visit.handle, view)),
        })
    }

    /// The edge has the streams of sessions that live; here come HEAD, and who asks too late.
    fn no_events(&self, call: &Call) -> Answer {
        let answer = self.status(call);
        if answer.status == 200 { Answer::event_stream() } else { answer }
    }

    fn script(&self, call: &Call) -> Answer {
        match self.visit(call) {
            Some(visit) => page_script(call, || overlay::script(&self.overlay_settings(call, &visit))),
            None => sessions::unknown(),
        }
    }

    fn player_script(&self, call: &Call) -> Answer {
        match self.visit(call).filter(|visit| visit.handle.is_live() && !visit.handle.is_proxied()) {
            Some(_) => page_script(call, || player::script().to_owned()),
            None => sessions::unknown(),
        }
    }

    /// What a viewers' page is told is what its viewers may know: its own link, and nothing of the body or the place.
    fn overlay_settings(&self, call: &Call, visit: &Visit) -> OverlaySettings {
        let settings = self.live.get();
        let (handle, viewer) = (&visit.handle, visit.link == Link::Viewer);
        let ice = ice_page::for_script(self, call, visit);
        let owners = |text: String| if viewer { String::new() } else { text };
        OverlaySettings {
            session_id: visit.id.expose().into(),
            base: visit.path(call.header("X-Forwarded-Prefix").unwrap_or_default()),
            return_url: settings.sessions.return_url.clone(),
            report_url: settings.sessions.report_url.clone(),
            force_relay: settings.sessions.force_relay,
            ice_servers: ice.servers.iter().map(BrowserIceServer::from).collect(),
            experience: handle.request.experience.clone().unwrap_or_default(),
            district: owners(
                handle.request.district.clone().unwrap_or_else(|| settings.server.district.clone()),
            ),
            body_ip: owners(handle.request.body.to_string()),
            engine: handle.engine_kind(),
            viewer,
            mic: !viewer,
            ice_ttl: ice.ttl.map(|ttl| ttl.as_secs()),
            age_ms: handle.age(self.clock.now()),
            end_reason: handle.end_reason(),
        }
    }

    /// A link that only watches may ask for nothing else. WHIP and WHEP say so in their own form; an operator who names it
    /// instead of a session hears that there is no such session.
    fn refuse_viewer(&self, call: &Call) -> Option<Answer> {
        let elsewhere =
            matches!(call.operation, Operation::GetSession | Operation::DeleteSession | Operation::Media(..));
        if elsewhere || call.operation.is_for_viewers() {
            return None;
        }
        self.visit(call).filter(|visit| visit.link == Link::Viewer).map(|_| sessions::only_watches())
    }
}

/// Where a session stands, for its page. `streamers`: how many helpers its stream process has, where it has any at all; a page that
/// sees no picture knows then whether there is still somebody to send one.
fn standing(handle: &SessionHandle, view: &SessionState) -> Value {
    let mut standing = json!({"status": view.status.name(), "restarts": view.restarts});
    let process =
        view.process.filter(|_| view.open && handle.is_proxied() && !handle.page_sockets(Sockets::is_empty));
    if let Some((pid, _)) = process {
        standing["streamers"] = json!(streamers::of(pid).len());
    }
    if handle.is_upgrade_lost() {
        standing["websockets"] = "blocked".into();
    }
    if !view.troubles.is_empty() {
        standing["source"] = names_of(&view.troubles).into();
    }
    standing
}

/// A script for a page. Nobody's service worker: that would stay in the browser and answer in our place.
fn page_script(call: &Call, text: impl FnOnce() -> String) -> Answer {
    match call.header("Service-Worker") {
        Some(_) => Answer::error(403, "not a service worker", "this script is for a page"),
        None => Answer::script(text()),
    }
}
