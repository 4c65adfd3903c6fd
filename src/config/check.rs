//! What must hold between keys, and what is allowed but unwise.

use std::collections::BTreeSet;

use base64::Engine as _;

use crate::config::contradiction::{Contradiction, unless};
use crate::config::secret::{Secret, is_one_of};
use crate::config::settings::{Acme, CHILD_UDP_PORTS, LeaseConfig, Listen, OperatorListen, Role, Settings};
use crate::config::{reach, rooms, strength, transport};
use crate::core::confinement::exposed;

/// Controllers of one service: one leads, the others stand by. Each costs every worker a thread and a heartbeat.
const MAX_CONTROLLERS: usize = 5;

/// Everything that contradicts itself in settings whose single values are sound.
pub fn contradictions(settings: &Settings) -> Vec<Contradiction> {
    let mut found = match settings.role {
        Role::Controller => {
            let mut found = of_controller(settings);
            found.extend(settings.lease.iter().flat_map(|lease| of_lease(lease, settings)));
            found
        }
        Role::Worker => {
            let mut found = of_worker(settings);
            found.extend(transport::contradictions(settings));
            found.extend(rooms::contradictions(settings));
            found
        }
    };
    found.extend(of_both(settings));
    found.extend(strength::contradictions(settings));
    found.into_iter().flatten().collect()
}

fn of_controller(settings: &Settings) -> Vec<Option<Contradiction>> {
    let workers = &settings.workers;
    vec![
        unless(
            workers.heartbeat_timeout > workers.heartbeat_interval * 2,
            "workers.heartbeat_timeout",
            "workers.heartbeat_interval",
            "must be more than twice workers.heartbeat_interval; one lost beat is not a dead worker",
        ),
        unless(
            workers.backoff <= workers.backoff_max,
            "workers.backoff",
            "workers.backoff_max",
            "is more than workers.backoff_max; lower it",
        ),
        unless(
            !shared(workers.secrets(), settings.server.admin_secrets()),
            "workers.token",
            "server.admin_token",
            "is the same as server.admin_token, so every worker could administer the fleet; make another one with `openssl \
             rand -hex 32` (so with the lists, workers.tokens and server.admin_tokens)",
        ),
    ]
}

fn of_lease(lease: &LeaseConfig, settings: &Settings) -> Vec<Option<Contradiction>> {
    let is_plain = |url: &String| url.starts_with("http://");
    let is_named = lease.own_url(settings, 0).is_some();
    vec![
        unless(
            !lease.etcd.is_empty(),
            "lease.etcd",
            "lease.etcd",
            "names no member of etcd; name each of them",
        ),
        unless(
            is_named,
            "lease.url",
            "lease.url",
            "is needed, because the others tell callers where this controller is: set it to the URL by which it alone is reached",
        ),
        unless(
            lease.prefix.starts_with('/') && lease.prefix.ends_with('/'),
            "lease.prefix",
            "lease.prefix",
            "must begin and end with a slash, like /hydraneckwebrtc/",
        ),
        unless(
            lease.username.is_empty() == lease.password.is_empty(),
            "lease.username",
            "lease.password",
            "needs lease.password with it, and that needs this; set both or none",
        ),
        unless(
            lease.cert.is_some() == lease.key.is_some(),
            "lease.cert",
            "lease.key",
            "needs lease.key with it, and that needs this; set both or none",
        ),
        unless(
            lease.cert.is_none() || !lease.etcd.iter().any(is_plain),
            "lease.cert",
            "lease.etcd",
            "is for https://, and lease.etcd has http:// URLs; write https://",
        ),
    ]
}

/// Whether a secret is among these and those.
fn shared<'s>(
    these: impl Iterator<Item = &'s Secret> + Clone,
    mut those: impl Iterator<Item = &'s Secret>,
) -> bool {
    those.any(|other| is_one_of(other.expose(), these.clone()))
}

/// The tokens by which roles and operators know each other.
fn roles_tokens(settings: &Settings) -> impl Iterator<Item = &Secret> {
    let link = settings.controller.as_ref().map(|link| &link.token);
    settings.server.admin_secrets().chain(settings.workers.secrets()).chain(link)
}

/// A token that only reads administers nothing, so it is nobody else's.
fn read_token(settings: &Settings) -> Option<Contradiction> {
    let (server, others) = (&settings.server, roles_tokens(settings));
    unless(
        !shared(std::iter::once(&server.read_token), others),
        "server.read_token",
        "server.admin_token",
        "is the same as another token, so whoever may only read could do more; make another one with `openssl rand -hex 32`",
    )
}

/// Publishers have their token in programs on many hosts, so it is nobody else's.
fn whip_token(settings: &Settings) -> Option<Contradiction> {
    let (server, others) = (&settings.server, roles_tokens(settings));
    let others = others.chain([&server.read_token, &settings.metrics.token]);
    unless(
        !shared(settings.whip.iter().map(|whip| &whip.token), others),
        "whip.token",
        "server.admin_token",
        "is the same as another token, so whoever may publish could do more; make another one with `openssl rand -hex 32`",
    )
}

/// A token for metrics stands in a monitoring system's configuration, so it is nobody else's.
fn metrics_token(settings: &Settings) -> Option<Contradiction> {
    let (server, others) = (&settings.server, roles_tokens(settings));
    unless(
        !shared(std::iter::once(&settings.metrics.token), others.chain([&server.read_token])),
        "metrics.token",
        "server.admin_token",
        "is the same as another token, so whoever may only read metrics could do more; make another one with `openssl rand -hex 32`",
    )
}

fn of_worker(settings: &Settings) -> Vec<Option<Contradiction>> {
    let sessions = &settings.sessions;
    let needed = sessions.max * usize::from(CHILD_UDP_PORTS);
    let (first, last) = sessions.child_udp_range;
    vec![
        opened(settings),
        controllers(settings),
        unless(
            settings.experience_library.as_ref().is_none_or(|library| library.path.contains("{name}")),
            "experience_library.path",
            "experience_library.url",
            "has no {name}, where the experience's name goes",
        ),
        unless(
            usize::from(last.saturating_sub(first)) + 1 >= needed,
            "sessions.child_udp_range",
            "sessions.max",
            format!(
                "must hold {needed} ports (sessions.max times {CHILD_UDP_PORTS}); widen it or lower sessions.max"
            ),
        ),
        unless(
            usize::from(sessions.port_range_start) + sessions.max <= 65_536,
            "sessions.port_range_start",
            "sessions.max",
            "leaves fewer ports than sessions.max; choose a lower port",
        ),
    ]
}

/// Each controller has a heartbeat of its own.
fn controllers(settings: &Settings) -> Option<Contradiction> {
    let urls = settings.controller.as_ref().map_or(&[][..], |link| &link.urls);
    let distinct = urls.iter().collect::<BTreeSet<_>>().len();
    unless(
        distinct == urls.len() && distinct <= MAX_CONTROLLERS,
        "controller.urls",
        "controller.urls",
        format!("must name at most {MAX_CONTROLLERS} controllers, each once"),
    )
}

/// A directory of an engine that holds what no stream process may touch. Where links lead is looked at when one is started.
fn opened(settings: &Settings) -> Option<Contradiction> {
    let kept = [
        ("server.state_dir", &settings.server.state_dir),
        ("sessions.data_dir", &settings.sessions.data_dir),
    ];
    let lists = settings
        .engines
        .iter()
        .flat_map(|engine| engine.read.iter().chain(&engine.write).map(move |path| (engine, path)));
    let mut found = lists.flat_map(|pair| kept.iter().map(move |kept| (pair, *kept)));
    let ((engine, path), (other, _)) =
        found.find(|((_, path), (_, kept))| exposed(path, std::slice::from_ref(*kept)).is_some())?;
    let text = format!(
        "{} of engine {} lies in {other} or holds it, and with it what no stream process may touch; name a directory of its own",
        path.display(),
        engine.name
    );
    Some(Contradiction { key: "engines", other, text })
}

/// The account that an authority gives beforehand has a name and a key, and the key is base64url text.
fn account(acme: &Acme) -> [Option<Contradiction>; 2] {
    let key = acme.eab_key.expose().trim_end_matches('=');
    [
        unless(
            acme.eab_kid.is_some() != acme.eab_key.is_empty(),
            "server.acme.eab_kid",
            "server.acme.eab_key",
            "needs server.acme.eab_key with it, and that needs this: the authority gives both; set both or none",
        ),
        unless(
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key).is_ok(),
            "server.acme.eab_key",
            "server.acme.eab_key",
            "is not base64url text; copy it as the authority shows it",
        ),
    ]
}

/// The operators' page has an origin of its own, which a port makes.
fn operator_listen(settings: &Settings) -> Option<Contradiction> {
    let server = &settings.server;
    let ports = match &server.listen {
        Listen::Plain(address) => vec![address.port],
        Listen::Domain(_) => vec![server.https_listen.port, server.http_listen.port],
    };
    let asked = match server.operator_listen {
        OperatorListen::At(address) => address.port,
        OperatorListen::Unasked | OperatorListen::Nowhere => 0,
    };
    unless(
        asked == 0 || !ports.contains(&asked),
        "server.operator_listen",
        "server.listen",
        "is a port of sessions; the operators' page needs one of its own, because the pages of sessions run other people's scripts",
    )
}

fn of_both(settings: &Settings) -> Vec<Option<Contradiction>> {
    let Settings { sessions, edge, server, outbox, .. } = settings;
    let [both, readable] = account(&settings.server.acme);
    vec![
        read_token(settings),
        unless(
            server.names().is_empty()
                || server.https_listen.port == 0
                || server.https_listen.port != server.http_listen.port,
            "server.http_listen",
            "server.https_listen",
            "is the port of server.https_listen; HTTPS and plain HTTP need one each",
        ),
        unless(
            server.hsts.is_none() || settings.serves_tls(),
            "server.hsts",
            "server.listen",
            "is for HTTPS that we speak ourselves, with server.domain or server.tls; where a proxy does it for us, set it there",
        ),
        metrics_token(settings),
        whip_token(settings),
        operator_listen(settings),
        unless(
            outbox.retry <= outbox.retry_max,
            "outbox.retry",
            "outbox.retry_max",
            "is more than outbox.retry_max; lower it",
        ),
        both,
        readable,
        unless(
            sessions.ready_timeout < sessions.create_timeout,
            "sessions.ready_timeout",
            "sessions.create_timeout",
            "must be less than sessions.create_timeout, of which it is a part; lower it",
        ),
        unless(
            edge.upstream_head_timeout > sessions.create_timeout,
            "edge.upstream_head_timeout",
            "sessions.create_timeout",
            "must be more than sessions.create_timeout; else creates are cut off",
        ),
        unless(
            edge.max_uri_bytes < edge.max_head_bytes,
            "edge.max_uri_bytes",
            "edge.max_head_bytes",
            "must be less than edge.max_head_bytes, of which it is a part; lower it",
        ),
        unless(
            edge.control_body_limit <= edge.body_budget / 2,
            "edge.control_body_limit",
            "edge.body_budget",
            "must be at most half of edge.body_budget, which all bodies share; lower it",
        ),
        unless(
            !sessions.allowed_bodies.is_empty(),
            "sessions.allowed_bodies",
            "sessions.allowed_bodies",
            "is empty, so no session could start; list the networks of your bodies",
        ),
    ]
}

/// What is allowed but unwise.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut list = strength::warnings(settings);
    list.extend(reach::warnings(settings));
    if settings.role == Role::Controller {
        return list;
    }
    let advertised = settings.server.advertise_url.as_deref().unwrap_or("https:");
    if settings.tls.is_some() && !advertised.starts_with("https:") {
        list.push("server.advertise_url is not https://, but server.tls is set: the controller would speak plain HTTP to us; write https://".into());
    }
    if !settings.sessions.confine {
        list.push(
            "sessions.confine is off: stream processes can read this configuration and every session's files, and end the worker; \
             set it to true once what was looked for is found"
                .into(),
        );
    }
    list.extend(transport::warnings(settings));
    list.extend(rooms::warnings(settings));
    list
}
