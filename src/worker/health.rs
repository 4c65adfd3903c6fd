//! What the worker says of itself (SPEC 9), to anyone who asks and to its controller.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::api::auth::TokenGuard;
use crate::api::reply::Answer;
use crate::api::types::DEMO_ENGINE;
use crate::config::live::Live;
use crate::core::fingerprint::Fingerprint;
use crate::core::fleet::wire::Hindrance;
use crate::engine::moonlight::installed::Installed;
use crate::host::clock::{self, Clock};
use crate::host::disk;
use crate::host::process;
use crate::host::sandbox::Support;
use crate::host::wireguard::WireGuard;
use crate::isolation;
use crate::media::Media;
use crate::outbox::Outbox;
use crate::server;
use crate::server::certificate_view::CertificateView;
use crate::server::metrics::FrontMetrics;
use crate::worker::answers;
use crate::worker::checks::Checks;
use crate::worker::fence::LeaseFence;
use crate::worker::figures;
use crate::worker::namespaces::access::RoomAccess;
use crate::worker::namespaces::copies;
use crate::worker::namespaces::relay_checks::RelayChecks;
use crate::worker::registry::{SessionHandle, SessionRegistry};
use crate::worker::rooms::Rooms;
use crate::worker::session_store::SessionStore;
use crate::worker::standing::Standing;

/// How what everybody may read of the hindrances begins.
const FULL_DISK: &str = "the disk of sessions.data_dir";

/// What those read of the others who show no token.
const UNDISCLOSED: &str = "sessions cannot be started: ask with the admin token, or see the log";

/// Problems of namespaces that one health reply tells.
const MAX_SHOWN: usize = 20;

/// What a worker's threads tell each other about its own state.
#[derive(Debug, Default)]
pub struct Flags {
    /// The first heartbeat was attempted.
    pub ready: AtomicBool,
    /// It is going down.
    pub stopping: AtomicBool,
    /// The controller wants it drained.
    pub drain_wished: AtomicBool,
}

impl Flags {
    /// Whether new sessions may come.
    pub fn takes_sessions(&self) -> bool {
        let set = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        set(&self.ready) && !set(&self.stopping) && !set(&self.drain_wished)
    }
}

/// Looks at this worker.
#[derive(Clone)]
pub struct Health {
    /// The settings, as of the last reload.
    pub live: Arc<Live>,
    /// Sessions.
    pub registry: Arc<SessionRegistry>,
    /// Its own state.
    pub flags: Arc<Flags>,
    /// What can be checked before a create fails by it.
    pub checks: Checks,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// What is remembered of sessions.
    pub store: Arc<SessionStore>,
    /// Records, ratings and events on their way.
    pub outbox: Outbox,
    /// Where WireGuard shows.
    pub wireguard: WireGuard,
    /// The media threads.
    pub media: Media,
    /// Signalling of rooms.
    pub rooms: Rooms,
    /// Who is admitted to them.
    pub room_access: RoomAccess,
    /// Whether our TURN servers relay for its namespaces.
    pub relays: RelayChecks,
    /// How we stand with the controller.
    pub standing: Arc<Standing>,
    /// Which controllers are obeyed.
    pub fence: LeaseFence,
    /// The fingerprint of the key that our id belongs to.
    pub key: Fingerprint,
    /// The moonlight-web-stream that was there at the start.
    pub installed: Arc<Installed>,
    /// Counts wrong tokens.
    pub tokens: Arc<TokenGuard>,
    /// The certificate, where there is one.
    pub certificate: CertificateView,
    /// What is counted in front of us.
    pub metrics: Arc<FrontMetrics>,
    /// Starts with the process.
    pub clock: Clock,
}

impl Health {
    /// What is wrong, in words, given whether there is a WireGuard interface; nothing means `ok`.
    fn problems(&self, wireguard: bool) -> Vec<&'static str> {
        let mut problems = Vec::new();
        if !wireguard && !self.live.get().bodies.wireguard_networks.is_empty() {
            problems.push("no WireGuard interface detected: bodies behind WireGuard cannot be reached");
        }
        if disk::is_full(&self.state_dir) {
            problems.push("the disk of server.state_dir is full, or nearly: free some space, else ratings are refused and records wait in memory");
        }
        if self.store.owing() > 0 {
            problems.push("records of sessions wait in memory, because the disk of server.state_dir or the outbox takes nothing");
        }
        problems.extend(server::log_problem());
        problems.extend(self.outbox.figures(clock::unix_millis()).problems(&self.live.get().outbox));
        problems
    }

    /// The same with what is wrong between us and the controller.
    pub fn all_problems(&self, wireguard: bool, hindrances: &[Hindrance], admin: bool) -> Vec<String> {
        let own = self.problems(wireguard).into_iter().map(str::to_owned);
        // Paths and last words are for operators.
        let found = hindrances.iter().filter(|hindrance| !hindrance.meant);
        let told = found.map(|hindrance| match admin || hindrance.reason.starts_with(FULL_DISK) {
            true => hindrance.reason.clone(),
            false => UNDISCLOSED.to_owned(),
        });
        let certificate = self.certificate.problem().into_iter().chain(self.of_rooms(admin));
        own.chain(told).chain(self.standing.troubles(admin)).chain(certificate).collect()
    }

    /// What is wrong with rooms. Names of namespaces are for operators.
    fn of_rooms(&self, admin: bool) -> Vec<String> {
        if !self.live.get().rooms.enabled {
            return Vec::new();
        }
        let waiting = self.room_access.waiting().into_iter().map(|name| {
            format!("namespace {name}: its configuration is not there; its rooms wait for the controller")
        });
        let failed = self.relays.failed().into_iter();
        let failed = failed.map(|(name, why)| format!("namespace {name} is not relayed: {why}"));
        let all: Vec<String> = waiting.chain(failed).collect();
        match (all.len(), admin) {
            (0, _) => all,
            (count, false) => vec![format!("rooms have {count} problems: see [room] and [turn] in the log")],
            (_, true) => all.into_iter().take(MAX_SHOWN).collect(),
        }
    }

    /// The reply to a health request. Whole session ids are for administrators.
    pub fn answer(&self, admin: bool, reads: bool, readiness: bool) -> Answer {
        let wireguard = self.wireguard.is_there();
        let problems = self.all_problems(wireguard, &self.checks.hindrances(), reads);
        let settings = self.live.get();
        let live = self.registry.live();
        let sessions: Vec<Value> = live.iter().map(|handle| self.session(handle, admin)).collect();
        let uptime = self.clock.now().0 / 1000;
        // Their URLs are for operators.
        let controllers = if reads { self.standing.shown() } else { Value::Null };
        let body = json!({
            "service": "hydraneckwebrtc",
            "version": env!("CARGO_PKG_VERSION"),
            "district": settings.server.district,
            "uptime_seconds": uptime,
            "status": if problems.is_empty() { "ok" } else { "degraded" },
            "extra": {
                "role": "worker",
                "process_id": std::process::id(),
                "uptime": duration_text(uptime),
                "key": self.key.to_string(),
                "controllers": controllers,
                "lease": self.fence.highest(),
                "wireguard": wireguard,
                "active_sessions": live.len(),
                "room_members": self.rooms.counts().members,
                "max_sessions": settings.sessions.max,
                "draining": !self.flags.takes_sessions(),
                "panics_contained": isolation::contained(),
                "problems": problems,
                "wrong_tokens": self.tokens.count(),
                "certificate": self.certificate.report(),
                "update": self.metrics.updates.shown(reads),
                "log": server::log_figures(),
                "hardening": hardening(settings.sessions.confine),
                "stream_process": self.installed.shown(),
                "outbox": self.outbox.figures(clock::unix_millis()).shown(),
                "media": self.media.snapshot(),
                "sessions": sessions,
                "namespaces": reads.then(|| copies::in_health(self)),
            },
        });
        let ready = self.flags.takes_sessions();
        Answer::json(if readiness && !ready { 503 } else { 200 }, &body)
    }

    fn session(&self, handle: &SessionHandle, admin: bool) -> Value {
        let view = handle.view();
        // A clip of ours has neither process nor directory: its thread is us.
        let ours = handle.request.engine == DEMO_ENGINE;
        let alive = view.process.is_some_and(|(pid, start)| process::is_alive(pid, start));
        let inside = if handle.is_proxied() { "server" } else { "engine" };
        json!({
            "id": if admin { handle.id.expose() } else { handle.id.short() },
            "body_ip": handle.request.body,
            "status": view.status.name(),
            "engine": handle.request.engine,
            "process_alive": alive || ours && view.open,
            "data_directory_ok": ours || view.directory.as_ref().is_some_and(|path| path.join(inside).is_dir()),
            "active_connections": handle.connected(self.clock.now()),
            "age": duration_text(self.clock.now().since(handle.created).as_secs()),
            "restarts": view.restarts,
            "processes": answers::processes(&view),
            "source": view.source,
            "stream": figures::of(&self.media, &handle.id),
        })
    }
}

/// What keeps stream processes away from the rest of this machine.
fn hardening(confine: bool) -> Value {
    let support = Support::of_this_kernel();
    json!({
        "confine": confine,
        "landlock": support.landlock,
        "signals": support.scopes_signals(),
        "seccomp": support.seccomp,
        "memory": process::hides_memory(),
        "lacks": support.lacks(),
    })
}

/// `1h2m3s`, the way durations are written in the configuration.
fn duration_text(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}
