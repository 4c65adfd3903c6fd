//! The controller's side of the control API.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use serde_json::{Value, json};

use crate::api::auth::TokenGuard;
use crate::api::counters::ApiCounters;
use crate::api::reply::{Answer, Responder};
use crate::api::routes::Operation;
use crate::api::server::{Call, Service};
use crate::api::types::{CreateRequest, SessionView};
use crate::api::{origin, rooms_form, sessions};
use crate::config::live::Live;
use crate::config::secret::is_one_of;
use crate::config::settings::{MovePolicy, OperatorListen, Role};
use crate::controller::jobs::Jobs;
use crate::controller::lease::{Leadership, NotLeading};
use crate::controller::messages::{Ask, Create, Job};
use crate::controller::namespaces::{self, NamespaceService};
use crate::controller::rooms::{RoomPlaces, rest};
use crate::controller::snapshot::{Published, Snapshot, Target};
use crate::controller::worker_names::WorkerNames;
use crate::controller::{metrics, refusals, worker_address};
use crate::core::bad_json;
use crate::core::fleet::disputes::Cause;
use crate::core::fleet::identity::{BeatProof, BeatSource, PROOF_FIELD, PublicKey};
use crate::core::fleet::listing::{Kind, Wanted};
use crate::core::fleet::turns::Course;
use crate::core::fleet::wire::Heartbeat;
use crate::core::fleet::worker_health::WorkerHealth;
use crate::core::fleet::{SessionView as FleetSession, WorkerView};
use crate::core::ids::SessionId;
use crate::core::session::reason::EndReason;
use crate::core::session::status::SessionStatus;
use crate::core::time::Moment;
use crate::host::clock::{Clock, unix_millis};
use crate::host::{entropy, identity_key};
use crate::metrics::exposition::Exposition;
use crate::outbox::Outbox;
use crate::server::certificate_view::CertificateView;
use crate::server::metrics::{FrontMetrics, RoleFacts};
use crate::{isolation, server};

/// Disputes that one health reply tells in full.
const MAX_DISPUTES_SHOWN: usize = 20;

/// Workers in trouble that one health reply names.
const MAX_WORKERS_SHOWN: usize = 20;

/// What the API works with.
pub struct ControllerService {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// What the fleet thread published.
    pub published: Arc<Published>,
    /// The fleet thread.
    pub fleet: Sender<Ask>,
    /// The dispatch threads.
    pub jobs: Jobs,
    /// What the names of workers meant.
    pub names: WorkerNames,
    /// Who leads.
    pub leadership: Leadership,
    /// We are going down.
    pub closing: Arc<AtomicBool>,
    /// Counts and slows wrong tokens.
    pub tokens: Arc<TokenGuard>,
    /// Where the operators' page is, unless it is nowhere of its own.
    pub page: Option<SocketAddr>,
    /// The certificate, where there is one.
    pub certificate: CertificateView,
    /// Events on their way.
    pub outbox: Outbox,
    /// Namespaces.
    pub namespaces: NamespaceService,
    /// What is counted in front of us.
    pub metrics: Arc<FrontMetrics>,
    /// The clock of the fleet thread.
    pub clock: Clock,
}

impl Service for ControllerService {
    fn role(&self) -> Role {
        Role::Controller
    }

    fn is_admin(&self, token: &str) -> bool {
        is_one_of(token, self.live.get().server.admin_secrets())
    }

    fn is_reader(&self, token: &str) -> bool {
        self.live.get().server.read_token.matches(token)
    }

    fn is_scraper(&self, token: &str) -> bool {
        self.live.get().metrics.token.matches(token)
    }

    fn counters(&self) -> Option<Arc<ApiCounters>> {
        Some(self.metrics.api.clone())
    }

    fn is_worker(&self, token: &str) -> bool {
        let settings = self.live.get();
        match settings.workers.secrets().next() {
            None => is_one_of(token, settings.server.admin_secrets()),
            Some(_) => is_one_of(token, settings.workers.secrets()),
        }
    }

    fn note_wrong_token(&self, token: Option<&str>, client: IpAddr) -> Option<Duration> {
        self.tokens.note(token, client, self.clock.now())
    }

    fn note_token(&self, token: &str, client: IpAddr) {
        self.tokens.used(token, client, self.clock.now());
    }

    fn refuse_room(&self, token: Option<&str>, host: &str) -> Option<Answer> {
        let registry = &self.namespaces.registry;
        let admitted = registry.admit(token.unwrap_or_default(), Some(host), SystemTime::now());
        admitted.err().map(|denied| rooms_form::denied(denied, token.is_some()))
    }

    fn call(&self, call: Call, responder: Responder) {
        if is_for_the_leader(call.operation)
            && let Err(who) = self.leadership.number(self.clock.now())
        {
            return responder.send(refusals::not_leading(&who));
        }
        match call.operation {
            Operation::Health => responder.send(self.health(call.reads, call.has_query("ready"))),
            // Not for administrators: who may is asked at `Health` only, which slows down guesses.
            Operation::Alive => responder.send(self.health(false, false)),
            Operation::Ready => responder.send(self.health(false, true)),
            Operation::Metrics => responder.send(self.metrics(&call)),
            Operation::ListWorkers => responder.send(self.workers(&call)),
            Operation::Heartbeat => self.heartbeat(&call, responder),
            Operation::DrainWorker => self.drain(&call, true, responder),
            Operation::UndrainWorker => self.drain(&call, false, responder),
            Operation::ForgetWorker => self.forget(&call, responder),
            Operation::CreateSession => self.create(&call, responder),
            Operation::ListSessions => responder.send(self.sessions(&call)),
            Operation::GetSession => self.inspect(&call, responder),
            Operation::DeleteSession => self.delete(&call, responder),
            Operation::ListNamespaces
            | Operation::NamespaceStatus
            | Operation::EnableNamespace
            | Operation::DisableNamespace
            | Operation::ListRoomTokens
            | Operation::CreateRoomToken
            | Operation::RevokeRoomToken => self.namespaces.call(&call, responder),
            Operation::TurnCredentials
            | Operation::ListRooms
            | Operation::CreateRoom
            | Operation::CloseRoom => {
                rest::call(&self.rooms(), &call, responder, |order| self.submit(Job::Room(order)));
            }
            _ => responder.send(Answer::error(404, "not found", "ask the session's worker")),
        }
    }
}

impl ControllerService {
    /// Where rooms are.
    pub fn rooms(&self) -> RoomPlaces {
        RoomPlaces {
            registry: self.namespaces.registry.clone(),
            fleet: self.published.clone(),
            leadership: self.leadership.clone(),
            clock: self.clock,
        }
    }

    fn health(&self, admin: bool, readiness: bool) -> Answer {
        let (now, settings) = (self.clock.now(), self.live.get());
        let snapshot = self.published.get(now);
        let counts = snapshot.counts;
        let problems = self.problems(&snapshot, admin);
        let settling = snapshot.settling(now).is_some();
        let closing = self.closing.load(Ordering::Acquire);
        let body = json!({
            "service": "hydraneckwebrtc",
            "version": env!("CARGO_PKG_VERSION"),
            "district": settings.server.district,
            "uptime_seconds": now.0 / 1000,
            "status": if problems.is_empty() { "ok" } else { "degraded" },
            "extra": {
                "role": "controller",
                "process_id": std::process::id(),
                "workers": {
                    "up": counts.up, "late": counts.late, "down": counts.down, "draining": counts.draining,
                },
                "unproved_workers": counts.unproved,
                "troubled_workers": counts.troubled,
                "sessions": {
                    "active": counts.active, "on_down_workers": counts.lost_sight_of, "starting": counts.reserved,
                },
                "capacity": counts.capacity,
                "settling": settling,
                "lease": self.leadership.shown(now),
                "draining": closing,
                "panics_contained": isolation::contained(),
                "problems": problems,
                "wrong_tokens": self.tokens.count(),
                "certificate": self.certificate.report(),
                "update": self.metrics.updates.shown(admin),
                "operators_page": self.page_in_words(),
                "outbox": self.outbox.figures(unix_millis()).shown(),
                "namespaces": namespaces::in_health(&self.namespaces.registry, admin),
                "log": server::log_figures(),
            },
        });
        let lead = self.leadership.number(now);
        let answer =
            Answer::json(if readiness && (closing || settling || lead.is_err()) { 503 } else { 200 }, &body);
        match lead {
            Err(NotLeading(Some(leader))) => answer.with(refusals::LEADER_FIELD, leader),
            _ => answer,
        }
    }

    /// Where the operators' page is, or why nowhere.
    fn page_in_words(&self) -> String {
        let settings = self.live.get();
        match (self.page, settings.server.operator_listen) {
            (Some(address), _) => address.to_string(),
            (None, OperatorListen::Nowhere) => "server.operator_listen is none".to_owned(),
            (None, listen) => {
                let address = listen.address().map(|address| address.to_string()).unwrap_or_default();
                format!(
                    "{address} was taken when we started: set server.operator_listen to a free address, or to none"
                )
            }
        }
    }

    /// What is wrong with the fleet and with us, for health, Prometheus and the operators' page.
    pub fn problems(&self, snapshot: &Snapshot, admin: bool) -> Vec<String> {
        let (registry, has_settled) =
            (&self.namespaces.registry, snapshot.settling(snapshot.taken).is_none());
        let mut problems = of_fleet(snapshot, admin);
        problems.extend(namespaces::problems(registry, admin, has_settled));
        problems.extend(self.certificate.problem());
        let figures = self.outbox.figures(unix_millis());
        problems.extend(figures.problems(&self.live.get().outbox).into_iter().map(str::to_owned));
        problems.extend(self.leadership.problems(snapshot.taken, admin));
        problems
    }

    fn metrics(&self, call: &Call) -> Answer {
        let now = self.clock.now();
        let snapshot = self.published.get(now);
        let closing = self.closing.load(Ordering::Acquire);
        let facts = RoleFacts {
            role: Role::Controller,
            ready: !closing && snapshot.settling(now).is_none() && self.leadership.number(now).is_ok(),
            problems: self.problems(&snapshot, true).len(),
            wrong_tokens: self.tokens.count(),
        };
        let own = |page: &mut Exposition| {
            metrics::write(page, &snapshot, (now, self.jobs.waiting()));
            metrics::write_moves(page, &self.published.moves());
            metrics::write_lease(page, &self.leadership, now);
            server::metrics::write_outbox(page, &self.outbox);
        };
        self.metrics.answer(call, facts, own)
    }

    fn workers(&self, call: &Call) -> Answer {
        let wanted = match Wanted::read(&call.query, Kind::Workers) {
            Ok(wanted) => wanted,
            Err(why) => return sessions::bad_listing(why),
        };
        let snapshot = self.published.get(self.clock.now());
        let now = snapshot.taken;
        let all = snapshot.shares().iter().filter(|share| {
            wanted.worker.as_ref().is_none_or(|id| share.id() == id)
                && wanted
                    .state
                    .as_ref()
                    .is_none_or(|state| share.view().standing_in(share.health(now)) == state)
        });
        let page = wanted.page(all, |share| share.id().as_str());
        let entries = page.entries.iter().map(|share| worker_json(&share.worker(now)));
        let mut body = json!({"workers": entries.collect::<Vec<_>>()});
        if let Some(next) = page.next {
            body["next"] = next.into();
        }
        Answer::json(200, &body)
    }

    fn heartbeat(&self, call: &Call, responder: Responder) {
        let settings = self.live.get();
        let Some(address) = origin::client(call, &settings.server.trusted_proxies) else {
            return responder.send(Answer::error(400, "bad heartbeat", "its source address is unknown"));
        };
        let beat: Heartbeat = match bad_json::object(&call.body) {
            Ok(beat) => beat,
            Err(error) => {
                let why = bad_json::in_words(&error);
                let _ = self.fleet.send(Ask::BadBeat(address, why.clone()));
                return responder.send(Answer::error(400, "bad heartbeat", why));
            }
        };
        let Ok(key) = proved_key(call) else {
            let _ = self.fleet.send(Ask::TurnedAway(beat.worker_id, Cause::BadProof, address, String::new()));
            return responder.send(refusals::bad_proof());
        };
        // What cannot be called is looked at first: see `check_url`.
        if let Err(refusal) = beat.check() {
            let why = format!("of worker {}: {refusal}", beat.worker_id);
            let _ = self.fleet.send(Ask::BadBeat(address, why));
            return responder.send(refusals::heartbeat(refusal));
        }
        let (reach, allowed) = (beat.reach(address), &settings.workers.allowed_networks);
        match worker_address::resolve(&reach, address, allowed, &self.names) {
            Ok(upstream) => {
                let source = BeatSource { address, key };
                let _ = self.fleet.send(Ask::Heartbeat(Box::new(beat), source, upstream, responder));
            }
            Err(refusal) => {
                let (id, why) = (beat.worker_id, refusal.to_string());
                let _ = self.fleet.send(Ask::TurnedAway(id, Cause::BadAddress, address, why));
                responder.send(refusals::worker_address(&refusal));
            }
        }
    }

    fn forget(&self, call: &Call, responder: Responder) {
        match call.id.parse() {
            Ok(worker) => {
                let _ = self.fleet.send(Ask::Forget(worker, responder));
            }
            Err(_) => responder.send(refusals::no_such_worker()),
        }
    }

    fn drain(&self, call: &Call, on: bool, responder: Responder) {
        match call.id.parse() {
            Ok(worker) if self.published.share(&worker).is_none() => {
                responder.send(refusals::no_such_worker());
            }
            Ok(worker) => {
                let moves = match wish_to_move(&call.query) {
                    Ok(Some(true)) if self.live.get().sessions.moves == MovePolicy::Never => {
                        return responder.send(refusals::never_moves());
                    }
                    Ok(moves) => moves,
                    Err(answer) => return responder.send(answer),
                };
                if on {
                    // Also where others read drains, who do not read this.
                    let _ = self.fleet.send(Ask::MoveOut(worker.clone(), moves));
                }
                if let Some(responder) = self.leadership.drain(worker.clone(), on, responder) {
                    let _ = self.fleet.send(Ask::Drain(worker, on, responder));
                }
            }
            Err(_) => responder.send(refusals::no_such_worker()),
        }
    }

    fn create(&self, call: &Call, responder: Responder) {
        let request = match CreateRequest::parse(&call.body) {
            Ok(request) => request,
            Err(error) => return responder.send(Answer::error(400, "bad request", error.to_string())),
        };
        let create = Create {
            id: SessionId::from_entropy(entropy::bytes()),
            request,
            base_url: origin::base_url(call, self.live.get().server.public_url.as_deref()),
            replacements: 0,
            course: Course::default(),
            deadline: self.clock.now() + self.live.get().sessions.create_timeout,
            answer: None,
            said: Vec::new(),
            responder,
        };
        let _ = self.fleet.send(Ask::Create(Box::new(create)));
    }

    fn sessions(&self, call: &Call) -> Answer {
        let wanted = match Wanted::read(&call.query, Kind::Sessions) {
            Ok(wanted) => wanted,
            Err(why) => return sessions::bad_listing(why),
        };
        let base = origin::base_url(call, self.live.get().server.public_url.as_deref());
        let snapshot = self.published.get(self.clock.now());
        let now = snapshot.taken;
        let shares = snapshot.shares().iter();
        let shares = shares.filter(|share| wanted.worker.as_ref().is_none_or(|worker| share.id() == worker));
        let takes = |status: SessionStatus, body| {
            wanted.state.as_ref().is_none_or(|state| status.name() == state)
                && wanted.body.is_none_or(|wanted| wanted == body)
        };
        let all = shares.flat_map(|share| share.ids(now, takes).map(move |id| (share, id)));
        let page = wanted.page(all, |(_, id)| sessions::page_key(id, call.admin));
        let entries = page.entries.into_iter().filter_map(|(share, id)| share.session(now, id));
        let views: Vec<SessionView> = entries.map(|session| view(&session, &base)).collect();
        sessions::listed(&views, page.next, call.admin)
    }

    /// The worker knows best; what we know is told when it does not answer.
    fn inspect(&self, call: &Call, responder: Responder) {
        let base = origin::base_url(call, self.live.get().server.public_url.as_deref());
        let now = self.clock.now();
        let Some(session) = parse(call).and_then(|id| self.published.session(now, &id)) else {
            return responder.send(self.unknown(now));
        };
        let known = Answer::json(200, &view(&session, &base));
        match self.published.route(now, &session.id) {
            Some(Target { worker, reach: Some(_), moving: false }) => {
                let fallback = Box::new((known, base));
                self.submit(Job::Inspect(session.id, worker, fallback, responder));
            }
            _ => responder.send(known),
        }
    }

    fn delete(&self, call: &Call, responder: Responder) {
        let now = self.clock.now();
        let found = parse(call).and_then(|id| Some((self.published.route(now, &id)?, id)));
        match found {
            Some((Target { moving: true, .. }, id)) => {
                let _ = self.fleet.send(Ask::Condemn(id, EndReason::Deleted));
                responder.send(refusals::moving());
            }
            Some((Target { worker, reach: Some(_), .. }, id)) => {
                self.submit(Job::Delete(id, worker, responder));
            }
            Some((Target { worker, reach: None, .. }, id)) => {
                let _ = self.fleet.send(Ask::Condemn(id, EndReason::Deleted));
                let detail = format!("worker {worker} is down; the session is ended as soon as it answers");
                responder.send(refusals::worker_unreachable(&detail));
            }
            None => responder.send(self.unknown(now)),
        }
    }

    fn submit(&self, job: Job) {
        if let Err(job) = self.jobs.try_send(job) {
            job.refuse(refusals::busy());
        }
    }

    fn unknown(&self, now: Moment) -> Answer {
        match self.published.common().settling(now) {
            Some(left) => {
                Answer::error(503, "controller has just started", "sessions are not known yet; ask again")
                    .retry_after(left)
            }
            None => sessions::unknown(),
        }
    }
}

/// What only the controller that leads may do.
fn is_for_the_leader(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::CreateSession
            | Operation::DeleteSession
            | Operation::DrainWorker
            | Operation::UndrainWorker
            | Operation::EnableNamespace
            | Operation::DisableNamespace
            | Operation::CreateRoomToken
            | Operation::RevokeRoomToken
    )
}

/// `move` of a drain.
fn wish_to_move(query: &str) -> Result<Option<bool>, Answer> {
    let mut wishes = query.split('&').filter_map(|pair| match pair.split_once('=') {
        Some(("move", value)) => Some(value),
        _ => (pair == "move").then_some(""),
    });
    match (wishes.next(), wishes.next()) {
        (None, _) => Ok(None),
        (Some("true"), None) => Ok(Some(true)),
        (Some("false"), None) => Ok(Some(false)),
        _ => Err(Answer::error(400, "bad request", "move: must be true or false, once")),
    }
}

/// What is wrong with the fleet, in words with what to do. Ids and addresses of workers are for operators.
fn of_fleet(snapshot: &Snapshot, admin: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if snapshot.counts.up == 0 {
        problems.push("no worker is up: check the workers' controller.url and controller.token".to_owned());
    }
    if snapshot.counts.unproved > 0 {
        problems.push(format!(
            "{} workers do not prove who they are, so whoever has their token can take their place: update them (GET \
             /api/v1/workers says which)",
            snapshot.counts.unproved
        ));
    }
    problems.extend(of_workers(snapshot, admin));
    problems.extend(server::log_problem().map(str::to_owned));
    problems.extend(snapshot.keys_trouble.clone());
    match snapshot.disputes.as_slice() {
        [] => {}
        some if admin => problems.extend(some.iter().take(MAX_DISPUTES_SHOWN).map(ToString::to_string)),
        some => problems.push(format!(
            "heartbeats of {} workers are refused: ask with the admin token, or see [controller] in the log",
            some.len()
        )),
    }
    problems
}

/// What is wrong with single workers: those that are lost, and those that get no sessions.
fn of_workers(snapshot: &Snapshot, admin: bool) -> Vec<String> {
    let mut lost = Vec::new();
    let mut troubled = Vec::new();
    for share in snapshot.shares() {
        let (id, worker) = (share.id(), share.view());
        match share.health(snapshot.taken) {
            WorkerHealth::Down if !worker.stopping => lost.push(format!(
                "worker {id} is down: it is not heard of; DELETE /api/v1/workers/{id} if it is no more"
            )),
            WorkerHealth::Late if !worker.stopping => {
                lost.push(format!("worker {id} is late: a heartbeat is missing"));
            }
            _ => troubled.extend(worker.troubles().map(|trouble| format!("worker {id}: {trouble}"))),
        }
    }
    if !admin {
        // Names, addresses and last words are for operators.
        let counted = |count: usize, words: &str| (count > 0).then(|| format!("{count} workers {words}"));
        let ask = "ask with the admin token, or see [controller] in the log";
        let lost = counted(lost.len(), &format!("are not heard of in time: {ask}"));
        let troubled = counted(troubled.len(), &format!("cannot be given sessions: {ask}"));
        return lost.into_iter().chain(troubled).collect();
    }
    let more = (lost.len() + troubled.len()).saturating_sub(MAX_WORKERS_SHOWN);
    let shown = lost.into_iter().chain(troubled).take(MAX_WORKERS_SHOWN);
    let rest = (more > 0).then(|| format!("{more} more workers are in trouble: see GET /api/v1/workers"));
    shown.chain(rest).collect()
}

fn parse(call: &Call) -> Option<SessionId> {
    call.id.parse().ok()
}

/// The key that signed a heartbeat; `None` when it came without a proof.
fn proved_key(call: &Call) -> Result<Option<PublicKey>, BadProof> {
    let Some(field) = call.header(PROOF_FIELD) else { return Ok(None) };
    let proof: BeatProof = field.parse().map_err(|_| BadProof)?;
    identity_key::holds(&proof, &call.body).then_some(Some(proof.key)).ok_or(BadProof)
}

/// A proof that proves nothing.
struct BadProof;

fn worker_json(worker: &WorkerView) -> Value {
    json!({
        "id": worker.id,
        "url": worker.url,
        "proved": worker.key.is_some(),
        "key": worker.key.map(|key| identity_key::fingerprint(&key).to_string()),
        "version": worker.version,
        "status": worker.standing(),
        "health": worker.status,
        "last_heartbeat_seconds": worker.last_heartbeat_age.as_secs_f64(),
        "load": {"active": worker.active, "starting": worker.reserved, "max": worker.max},
        "wireguard": worker.wireguard,
        "draining": worker.draining || worker.stopping,
        "troubles": worker.troubles().collect::<Vec<_>>(),
    })
}

fn view(session: &FleetSession, base_url: &str) -> SessionView {
    SessionView {
        id: session.id.clone(),
        worker_id: session.worker.clone(),
        body_ip: session.body,
        status: session.status.name().into(),
        reason: session.reason.or(session.ending_as),
        stream_url: sessions::link_url(base_url, &session.id),
        view_url: session.view_id.as_ref().map(|id| sessions::link_url(base_url, id)),
        experience: session.experience.clone(),
        engine: None,
        source: None,
        stream: None,
        log: None,
        district: session.district.clone(),
        age_seconds: session.age.as_secs(),
        connections: session.connections,
        restarts: None,
        moves: session.moves,
        processes: None,
        warnings: Vec::new(),
        timings: None,
        timeline: None,
        failure: None,
    }
}
