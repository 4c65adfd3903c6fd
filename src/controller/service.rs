//! The controller's side of the control API.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use crate::api::origin;
use crate::api::reply::{Answer, Responder};
use crate::api::routes::Operation;
use crate::api::server::{Call, Service};
use crate::api::sessions;
use crate::api::types::{CreateRequest, SessionView};
use crate::config::live::Live;
use crate::config::settings::Role;
use crate::controller::dispatch::Job;
use crate::controller::fleet_thread::{Ask, Create};
use crate::controller::refusals;
use crate::controller::snapshot::{Published, Reach, Snapshot, Target};
use crate::core::fleet::wire::Heartbeat;
use crate::core::fleet::{SessionView as FleetSession, WorkerView};
use crate::core::ids::SessionId;
use crate::core::reason::EndReason;
use crate::core::status::SessionStatus;
use crate::core::time::Moment;
use crate::edge::router::Upstream;
use crate::host::clock::Clock;
use crate::host::entropy;

/// What a caller is told to wait when too much is under way.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// What the API works with.
pub struct ControllerService {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// What the fleet thread published.
    pub published: Arc<Published>,
    /// The fleet thread.
    pub fleet: Sender<Ask>,
    /// The dispatch threads.
    pub jobs: Sender<Job>,
    /// We are going down.
    pub closing: Arc<AtomicBool>,
    /// The clock of the fleet thread.
    pub clock: Clock,
}

impl Service for ControllerService {
    fn role(&self) -> Role {
        Role::Controller
    }

    fn is_admin(&self, token: &str) -> bool {
        self.live.get().server.admin_token.matches(token)
    }

    fn call(&self, call: Call, responder: Responder) {
        match call.operation {
            Operation::Health => responder.send(self.health(call.has_query("ready"))),
            Operation::ListWorkers => responder.send(self.workers()),
            Operation::Heartbeat => self.heartbeat(&call, responder),
            Operation::DrainWorker => self.drain(&call, true, responder),
            Operation::UndrainWorker => self.drain(&call, false, responder),
            Operation::CreateSession => self.create(&call, responder),
            Operation::ListSessions => responder.send(self.sessions(&call)),
            Operation::GetSession => self.inspect(&call, responder),
            Operation::DeleteSession => self.delete(&call, responder),
            _ => responder.send(Answer::error(404, "not found", "ask the session's worker")),
        }
    }
}

impl ControllerService {
    fn health(&self, readiness: bool) -> Answer {
        let (snapshot, settings, now) = (self.published.get(), self.live.get(), self.clock.now());
        let counts = snapshot.counts;
        let mut problems = Vec::new();
        if counts.up == 0 {
            problems.push("no worker is up: check the workers' controller.url and controller.token");
        }
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
                "sessions": {
                    "active": counts.active, "on_down_workers": counts.lost_sight_of, "starting": counts.reserved,
                },
                "capacity": counts.capacity,
                "settling": settling,
                "draining": closing,
                "problems": problems,
            },
        });
        Answer::json(if readiness && (closing || settling) { 503 } else { 200 }, &body)
    }

    fn workers(&self) -> Answer {
        let snapshot = self.published.get();
        let since = self.clock.now().since(snapshot.taken);
        let workers: Vec<Value> = snapshot.workers.iter().map(|worker| worker_json(worker, since)).collect();
        Answer::json(200, &json!({"workers": workers}))
    }

    fn heartbeat(&self, call: &Call, responder: Responder) {
        let beat: Heartbeat = match serde_json::from_slice(&call.body) {
            Ok(beat) => beat,
            Err(error) => return responder.send(Answer::error(400, "bad heartbeat", error.to_string())),
        };
        let trusted = &self.live.get().server.trusted_proxies;
        let Some(source) = origin::client(call, trusted) else {
            return responder.send(Answer::error(400, "bad heartbeat", "its source address is unknown"));
        };
        // A name is looked up here, where a slow answer holds one API thread and nothing else.
        let Some(upstream) = resolve(&beat.reach(source)) else {
            let detail = "the worker's address cannot be resolved; check its server.advertise_url";
            return responder.send(Answer::error(400, "bad heartbeat", detail));
        };
        let _ = self.fleet.send(Ask::Heartbeat(Box::new(beat), source, upstream, responder));
    }

    fn drain(&self, call: &Call, on: bool, responder: Responder) {
        match call.id.parse() {
            Ok(worker) => {
                let _ = self.fleet.send(Ask::Drain(worker, on, responder));
            }
            Err(_) => responder.send(Answer::error(404, "no such worker", "GET /api/v1/workers lists them")),
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
            responder,
        };
        let _ = self.fleet.send(Ask::Create(Box::new(create)));
    }

    fn sessions(&self, call: &Call) -> Answer {
        let snapshot = self.published.get();
        let base = origin::base_url(call, self.live.get().server.public_url.as_deref());
        let now = self.clock.now();
        let views: Vec<SessionView> =
            snapshot.sessions.iter().map(|session| view(session, &snapshot, now, &base)).collect();
        Answer::json(200, &json!({"sessions": views}))
    }

    /// The worker knows best; what we know is told when it does not answer.
    fn inspect(&self, call: &Call, responder: Responder) {
        let snapshot = self.published.get();
        let base = origin::base_url(call, self.live.get().server.public_url.as_deref());
        let now = self.clock.now();
        let Some(session) = parse(call).and_then(|id| snapshot.session(&id)) else {
            return responder.send(self.unknown(&snapshot, now));
        };
        let known = Answer::json(200, &view(session, &snapshot, now, &base));
        match snapshot.routes.get(&session.id) {
            Some(Target { reach: Some(Reach { url, .. }), .. }) => {
                let fallback = Box::new((known, base));
                self.submit(Job::Inspect(session.id.clone(), url.clone(), fallback, responder));
            }
            _ => responder.send(known),
        }
    }

    fn delete(&self, call: &Call, responder: Responder) {
        let snapshot = self.published.get();
        let found = parse(call).and_then(|id| Some((snapshot.routes.get(&id)?, id)));
        match found {
            Some((Target { reach: Some(Reach { url, .. }), .. }, id)) => {
                self.submit(Job::Delete(id, url.clone(), responder));
            }
            Some((Target { worker, reach: None }, id)) => {
                let _ = self.fleet.send(Ask::Condemn(id, EndReason::Deleted));
                let detail = format!("worker {worker} is down; the session is ended as soon as it answers");
                responder.send(refusals::worker_unreachable(&detail));
            }
            None => responder.send(self.unknown(&snapshot, self.clock.now())),
        }
    }

    fn submit(&self, job: Job) {
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = self.jobs.try_send(job) {
            job.refuse(refusals::busy(BUSY_PAUSE));
        }
    }

    fn unknown(&self, snapshot: &Snapshot, now: Moment) -> Answer {
        match snapshot.settling(now) {
            Some(left) => {
                Answer::error(503, "controller has just started", "sessions are not known yet; ask again")
                    .retry_after(left)
            }
            None => sessions::unknown(),
        }
    }
}

fn parse(call: &Call) -> Option<SessionId> {
    call.id.parse().ok()
}

/// Where the edge finds the worker of this URL.
fn resolve(url: &str) -> Option<Upstream> {
    match url.strip_prefix("https://") {
        None => {
            resolve_authority(url.strip_prefix("http://")?, 80).map(|(address, _)| Upstream::Tcp(address))
        }
        Some(authority) => {
            let (address, host) = resolve_authority(authority, 443)?;
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
            Some(Upstream::Tls(address, Arc::new(name)))
        }
    }
}

fn resolve_authority(authority: &str, default_port: u16) -> Option<(SocketAddr, &str)> {
    let with_port =
        authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    // The last group of an IPv6 address without a port is none.
    let with_port = with_port.filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    let (host, port) = with_port.unwrap_or((authority, default_port));
    let address = format!("{host}:{port}").to_socket_addrs().ok()?.next()?;
    Some((address, host))
}

fn worker_json(worker: &WorkerView, since: Duration) -> Value {
    json!({
        "id": worker.id,
        "url": worker.url,
        "version": worker.version,
        "status": worker.health.name(),
        "health": worker.status,
        "last_heartbeat_seconds": (worker.last_heartbeat_age + since).as_secs_f64(),
        "load": {"active": worker.active, "starting": worker.reserved, "max": worker.max},
        "wireguard": worker.wireguard,
        "draining": worker.draining || worker.stopping,
    })
}

fn view(session: &FleetSession, snapshot: &Snapshot, now: Moment, base_url: &str) -> SessionView {
    // What is over does not age, nor does what nobody hears of.
    let ages = session.status.is_live() && session.status != SessionStatus::Down;
    let since = if ages { now.since(snapshot.taken) } else { Duration::ZERO };
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
        age_seconds: (session.age + since).as_secs(),
        connections: session.connections,
        restarts: None,
        warnings: Vec::new(),
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_worker_url_resolves_with_and_without_a_port() {
        let plain = |address: (IpAddr, u16)| Some(Upstream::Tcp(address.into()));
        let tls = |address: (IpAddr, u16), name: &str| {
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            Some(Upstream::Tls(address.into(), Arc::new(name)))
        };
        let (v4, v6) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
        assert_eq!(resolve("http://127.0.0.1:8090"), plain((v4, 8090)));
        assert_eq!(resolve("http://127.0.0.1"), plain((v4, 80)));
        assert_eq!(resolve("http://[::1]:99"), plain((v6, 99)));
        assert_eq!(resolve("http://[::1]"), plain((v6, 80)));
        assert_eq!(resolve("https://127.0.0.1"), tls((v4, 443), "127.0.0.1"));
        assert_eq!(resolve("https://[::1]:99"), tls((v6, 99), "::1"));
        assert_eq!(
            resolve("https://localhost:99").map(|upstream| matches!(upstream, Upstream::Tls(..))),
            Some(true)
        );
        assert_eq!(resolve("ftp://127.0.0.1"), None);
    }
}
