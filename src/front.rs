//! What both roles put in front of themselves: the listener, TLS, the edge, the control API, their state directory.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::api::server::{ApiServer, Beat, Service};
use crate::config::settings::{self, Listen, Role, Settings};
use crate::core::descriptors::Plan;
use crate::daemon::RunError;
use crate::edge::counters::Counters;
use crate::edge::router::Router;
use crate::edge::tls::{self, Tls};
use crate::edge::{Edge, EdgeConfig};
use crate::host::descriptors::{self, Raised};
use crate::host::ports;
use crate::host::private_dir::PrivateDir;
use crate::host::pulse::{Pulse, Pulses};
use crate::logging::{self, Figures};
use certificates::CertificateWatch;

pub mod certificates;
pub mod metrics;
pub mod preflight;

/// The control API's socket in the state directory.
const SOCKET: &str = "api.sock";

/// An API thread may wait for a name to be looked up or for a media thread; an edge loop comes round every 5 s.
const SILENCE: Duration = Duration::from_secs(30);

/// Binds the listening address: the pre-flight before anything of an earlier run is touched.
pub fn bind(settings: &Settings) -> Result<TcpListener, RunError> {
    let Listen::Plain(address) = &settings.server.listen else {
        return Err(RunError(
            "server.domain needs automatic certificates, which this version does not have: use server.listen with \
             server.tls, or behind a TLS proxy with server.public_url for the outside URL"
                .into(),
        ));
    };
    let mut last = io::Error::other("no address");
    let candidates = address.candidates();
    for candidate in &candidates {
        match TcpListener::bind(candidate) {
            Ok(listener) => return Ok(listener),
            // Without IPv6 the wildcard is tried again as IPv4; a port that is taken is taken.
            Err(error) => last = error,
        }
        if last.kind() == io::ErrorKind::AddrInUse {
            break;
        }
    }
    let shown = candidates.first().map(ToString::to_string).unwrap_or_default();
    Err(RunError(format!("server.listen: {}", ports::in_words(&shown, address.port, &last))))
}

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

/// TLS of the role's edge: with clients if there is a certificate, with upstreams if workers are among them.
pub fn tls(settings: &Settings) -> Result<(Tls, Option<CertificateWatch>), RunError> {
    let role = settings.role;
    let watch = settings.tls.as_ref().map(|files| CertificateWatch::start(files, Instant::now()));
    let watch = watch.transpose().map_err(|error| RunError(error.to_string()))?;
    let server = watch.as_ref().map(|watch| tls::server_config(watch.certificate()));
    let server = server.transpose().map_err(|error| RunError(format!("cannot serve TLS: {error}")))?;
    let client = match role {
        Role::Worker => None,
        Role::Controller => Some(
            tls::client_config(settings.workers.ca_file.as_deref())
                .map_err(|error| RunError(format!("workers.ca_file: {error}")))?,
        ),
    };
    Ok((Tls { server, client }, watch))
}

/// How the address that is listened on is told.
pub fn shown(address: SocketAddr, settings: &Settings) -> String {
    format!("{address}{}", if settings.tls.is_some() { " (TLS)" } else { "" })
}

/// Starts the edge.
pub fn edge(
    settings: &Settings,
    tls: Tls,
    listener: TcpListener,
    router: Arc<dyn Router>,
    (plan, pulses, counters): (&Plan, &Pulses, &Arc<Counters>),
) -> Result<Edge, RunError> {
    let loops: Vec<Pulse> =
        (0..settings.edge.threads).map(|index| pulses.register(format!("edge-{index}"), SILENCE)).collect();
    let max_connections = plan.connections(settings.edge.max_connections);
    let config = EdgeConfig {
        settings: settings::Edge { max_connections, ..settings.edge.clone() },
        tls,
        trusted_proxies: settings.server.trusted_proxies.clone(),
        counters: counters.clone(),
        pulse: Some(Arc::new(move |index: usize| loops.iter().skip(index).take(1).for_each(Pulse::beat))),
    };
    Edge::start(config, listener, router).map_err(|error| RunError(format!("cannot start the edge: {error}")))
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

/// Registers a thread with the watchdog.
pub fn beat(pulses: &Pulses, name: &str, silence: Duration) -> Beat {
    let pulse = pulses.register(name, silence);
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
