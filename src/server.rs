//! What both roles put in front of themselves: the listener, TLS, the edge, the control API, their state directory.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::acme::{self, Automatic};
use crate::api::server::{ApiServer, Beat, Service};
use crate::config::live::Live;
use crate::config::settings::{self, Role, Settings};
use crate::core::limits::descriptors::Plan;
use crate::daemon::RunError;
use crate::edge::counters::Counters;
use crate::edge::router::{Entrance, Router};
use crate::edge::tls::names::ServedCertificates;
use crate::edge::tls::{self, Tls};
use crate::edge::{Edge, EdgeConfig, Listener};
use crate::host::descriptors::{self, Raised};
use crate::host::private_dir::PrivateDir;
use crate::host::pulse::{Pulse, Pulses};
use crate::logging::{self, Figures};
use crate::outbox::{Outbox, OutboxThread};
use crate::update::checker;
pub use crate::update::checker::{Checker, Updates};
use certificate_view::CertificateView;
use certificates::CertificateWatch;
use https::HttpsRouter;
use preflight::SOCKET;

pub mod announcer;
pub mod certificate_news;
pub mod certificate_view;
pub mod certificates;
pub mod https;
pub mod listeners;
pub mod metrics;
pub mod preflight;
pub mod worker_conditions;

/// Requests that have just come, and their answers, take milliseconds; what takes longer was drained before.
const LAST_CALL: Duration = Duration::from_secs(1);

/// An API thread may wait for a name to be looked up or for a media thread; an edge loop comes round every 5 s.
const SILENCE: Duration = Duration::from_secs(30);

/// Raises the limit of descriptors and shares it out; the log says how.
pub fn descriptors(settings: &Settings) -> Plan {
    let Raised { was, now } = descriptors::raise();
    let plan = Plan::of(now, settings);
    let connections = plan.connections(settings.edge.max_connections);
    let Plan { process, sessions, peers, ice_tcp_each, api_connections, .. } = plan;
    log::info!(
        "[edge] descriptors: {now} (started with {was}): {process} for the process with {api_connections} \
         connections to the API, {sessions} for sessions, {peers} for \
         peers' own ports, {ice_tcp_each} per media thread for ICE-TCP, two each for {connections} connections"
    );
    if !plan.enough {
        log::warn!(
            "[edge] {now} descriptors are too few for sessions.max and webrtc.max_peers: some sessions will fail; \
             raise LimitNOFILE, or `ulimit -n`"
        );
    }
    if connections < settings.edge.max_connections {
        let wanted = settings.edge.max_connections;
        log::warn!("[edge] edge.max_connections is {wanted}, but {now} descriptors allow {connections}");
    }
    plan
}

/// The role's own part of the state directory, locked.
pub fn state_directory(settings: &Settings) -> Result<(PrivateDir, File), RunError> {
    let fail = |error: crate::host::private_dir::DirError| RunError(format!("server.state_dir: {error}"));
    if let Some(text) = preflight::too_long(settings) {
        return Err(RunError(text));
    }
    let whole = PrivateDir::open(&settings.server.state_dir).map_err(fail)?;
    let own = whole.open_below(settings.role.name()).map_err(fail)?;
    let lock = own.lock().map_err(fail)?;
    // A socket of a run that was killed; the lock says that nobody serves it.
    own.remove(SOCKET).map_err(fail)?;
    Ok((own, lock))
}

/// Starts the control API.
pub fn api(
    state: &PrivateDir,
    settings: &Settings,
    service: Arc<dyn Service>,
    (plan, pulses): (&Plan, &Pulses),
) -> Result<ApiServer, RunError> {
    let path = state.path().join(SOCKET);
    let api_connections = plan.api_connections;
    let edge = settings::Edge { api_connections, ..settings.edge.clone() };
    let start =
        ApiServer::start(&path, service, &edge, |index| beat(pulses, &format!("api-{index}"), SILENCE));
    start.map_err(|error| {
        RunError(format!("server.state_dir: cannot serve the control API on {}: {error}", path.display()))
    })
}

/// How a role's edge is secured.
pub struct Secured {
    /// TLS with clients, if there is a certificate or will be, and with upstreams, if workers are among them.
    pub tls: Tls,
    /// The certificate's files, where it comes from files.
    pub watch: Option<CertificateWatch>,
    /// What is served for `server.domain`; whoever obtains certificates hands them over here.
    pub served: Option<Arc<ServedCertificates>>,
}

/// Prepares TLS of the role's edge.
pub fn secure(settings: &Settings) -> Result<Secured, RunError> {
    let cannot = |error: &dyn std::fmt::Display| RunError(format!("cannot serve TLS: {error}"));
    let watch = settings.tls.as_ref().map(|files| CertificateWatch::start(files, Instant::now()));
    let watch = watch.transpose().map_err(|error| RunError(error.to_string()))?;
    let names = settings.server.names();
    let served = (!names.is_empty()).then(|| ServedCertificates::waiting(names).map(Arc::new));
    let served = served.transpose().map_err(|error| cannot(&error))?;
    let certificates = served.clone().or_else(|| watch.as_ref().map(CertificateWatch::served));
    let server = certificates.map(|certificates| tls::server_config(certificates));
    let server = server.transpose().map_err(|error| cannot(&error))?;
    let client = match settings.role {
        Role::Worker => None,
        Role::Controller => Some(
            tls::client_config(settings.workers.ca_file.as_deref())
                .map_err(|error| RunError(format!("workers.ca_file: {error}")))?,
        ),
    };
    let hsts = settings.server.hsts.map(|age| format!("max-age={}", age.as_secs()).into());
    Ok(Secured { tls: Tls { server, client, hsts }, watch, served })
}

/// Where the served certificate comes from, and what keeps it fresh.
pub struct Certificates {
    watch: Option<CertificateWatch>,
    automatic: Option<Automatic>,
}

impl Certificates {
    /// Takes what was prepared, and serves what is stored for `server.domain`.
    pub fn open(
        settings: &Settings,
        state: &PrivateDir,
        secured: &mut Secured,
    ) -> Result<Certificates, RunError> {
        let open = |served| Automatic::open(settings, state, served).map_err(RunError);
        let automatic = secured.served.clone().map(open).transpose()?;
        Ok(Certificates { watch: secured.watch.take(), automatic })
    }

    /// Begins to get and renew the certificate of `server.domain`, once the ports answer.
    pub fn start(&mut self, pulses: &Pulses) -> Result<(), RunError> {
        let Some(automatic) = &mut self.automatic else { return Ok(()) };
        automatic
            .start(beat(pulses, "acme", acme::SILENCE))
            .map_err(|error| RunError(format!("cannot start thread acme: {error}")))
    }

    /// What is told of it.
    pub fn view(&self) -> CertificateView {
        CertificateView {
            automatic: self.automatic.as_ref().map(Automatic::status),
            files: self.watch.as_ref().map(CertificateWatch::facts),
        }
    }

    /// Looks whether files changed, if it is time to.
    pub fn look(&mut self, now: Instant) {
        self.watch.iter_mut().for_each(|watch| watch.look(now));
    }

    /// Reads the files now; what is due of a certificate of `server.domain` is tried now.
    pub fn reload(&mut self, settings: &Settings) {
        if let (Some(watch), Some(files)) = (&mut self.watch, &settings.tls) {
            watch.reload(files);
        }
        self.automatic.iter().for_each(Automatic::hurry);
    }

    /// Stops what runs.
    pub fn stop(&mut self) {
        self.automatic.iter_mut().for_each(Automatic::stop);
    }
}

/// The `outbox` thread is silent for as long as an attempt takes, which is `outbox.timeout`.
const OUTBOX_SILENCE: Duration = Duration::from_secs(90);

/// In a role's state directory.
const OUTBOX: &str = "outbox";

/// Starts the outbox of a role whose state directory this is.
pub fn outbox(
    state: &PrivateDir,
    live: &Arc<Live>,
    pulses: &Pulses,
) -> Result<(Outbox, OutboxThread), RunError> {
    let directory =
        state.open_below(OUTBOX).map_err(|error| RunError(format!("server.state_dir: {error}")))?;
    let beat = beat(pulses, "outbox", OUTBOX_SILENCE);
    Outbox::start(directory, live.clone(), beat)
        .map_err(|error| RunError(format!("cannot start the outbox: {error}")))
}

/// How the addresses that are listened on for everybody are told.
pub fn shown(listeners: &[Listener], settings: &Settings) -> String {
    let each = |listener: &Listener| {
        let address = listener.socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let is_tls = settings.serves_tls() && listener.entrance.speaks_tls();
        format!("{address}{}", if is_tls { " (TLS)" } else { "" })
    };
    let of_all = listeners.iter().filter(|listener| !matches!(listener.entrance, Entrance::Operators { .. }));
    of_all.map(each).collect::<Vec<_>>().join(", ")
}

/// The role's own address among those that are listened on.
pub fn own_address(listeners: &[Listener]) -> Result<SocketAddr, RunError> {
    let first = listeners.first().ok_or_else(|| io::Error::other("nothing is listened on"));
    first.and_then(|listener| listener.socket.local_addr()).map_err(|error| RunError(error.to_string()))
}

/// Starts the edge.
pub fn edge(
    settings: &Settings,
    secured: &Secured,
    listeners: Vec<Listener>,
    router: Arc<dyn Router>,
    (plan, pulses, counters): (&Plan, &Pulses, &Arc<Counters>),
) -> Result<Edge, RunError> {
    let loops: Vec<Pulse> =
        (0..settings.edge.threads).map(|index| pulses.register(format!("edge-{index}"), SILENCE)).collect();
    let max_connections = plan.connections(settings.edge.max_connections);
    let config = EdgeConfig {
        settings: settings::Edge { max_connections, ..settings.edge.clone() },
        tls: secured.tls.clone(),
        trusted_proxies: settings.server.trusted_proxies.clone(),
        counters: counters.clone(),
        pulse: Some(Arc::new(move |index: usize| loops.iter().skip(index).take(1).for_each(Pulse::beat))),
    };
    let router = match secured.served.clone() {
        Some(served) => {
            Arc::new(HttpsRouter { inner: router, served, names: settings.server.names().to_vec() })
        }
        None => router,
    };
    Edge::start_on(config, listeners, router)
        .map_err(|error| RunError(format!("cannot start the edge: {error}")))
}

/// Lets those who have come be served, and takes no more, before anything that answers them ends. Whoever is in a hurry does not
/// wait for that.
pub fn last_call(edge: Option<&Edge>, hurried: bool) {
    if let Some(edge) = edge.filter(|_| !hurried) {
        edge.last_call(LAST_CALL);
    }
}

/// Stops the edge and joins its loops.
pub fn stop_edge(edge: Edge, deadline: Duration) {
    edge.stop();
    if !edge.join(deadline) {
        log::error!("[shutdown] ALERT the edge did not end within {} ms", deadline.as_millis());
    }
}

/// What health says of the log.
pub fn log_figures() -> serde_json::Value {
    let Figures { dropped, held_back, .. } = logging::figures();
    serde_json::json!({"dropped": dropped, "held_back": held_back})
}

/// What is wrong with the log, in words.
pub fn log_problem() -> Option<&'static str> {
    logging::figures()
        .stalled
        .then_some("nobody reads the log: see what stderr leads to; lines beyond 1 MiB are dropped")
}

/// Starts to look for newer versions. `is_idle`: nobody streams.
pub fn check_updates(
    updates: &Updates,
    settings: &Settings,
    is_idle: impl Fn() -> bool + Send + 'static,
    pulses: &Pulses,
) -> Result<Checker, RunError> {
    let own = settings.server.state_dir.join(settings.role.name());
    let bell = PrivateDir::open(&own).map_err(|error| RunError(format!("server.state_dir: {error}")))?;
    let beat = beat(pulses, "updater", checker::SILENCE);
    Checker::start(updates.clone(), bell, is_idle, beat)
        .map_err(|error| RunError(format!("cannot start thread updater: {error}")))
}

/// Registers a thread with the watchdog.
pub fn beat(pulses: &Pulses, name: &str, silence: Duration) -> Beat {
    let pulse = pulses.register(name, silence);
    Box::new(move || pulse.beat())
}

/// The same for a thread that ends when nothing is left to do.
pub fn passing_beat(pulses: &Pulses, name: &str, silence: Duration) -> Beat {
    let pulse = pulses.register_passing(name, silence);
    Box::new(move || pulse.beat())
}

/// Starts a named thread.
pub fn thread(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, RunError> {
    let start = std::thread::Builder::new().name(name.into()).stack_size(stack).spawn(work);
    start.map_err(|error| RunError(format!("cannot start thread {name}: {error}")))
}
