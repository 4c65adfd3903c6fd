//! What must hold between keys, and what is allowed but unwise.

use crate::config::settings::{CHILD_UDP_PORTS, Role, Settings};
use crate::config::transport;

/// A contradiction between keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The key to change first.
    pub key: &'static str,
    /// The other key.
    pub other: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

/// An admin token shorter than this can be guessed.
const ADVISED_TOKEN_LENGTH: usize = 16;

/// How the tokens of `etc/*.yaml` begin.
const SAMPLE_TOKEN: &str = "change-me";

/// Everything that contradicts itself in settings whose single values are sound.
pub fn contradictions(settings: &Settings) -> Vec<Contradiction> {
    let mut found = match settings.role {
        Role::Controller => of_controller(settings),
        Role::Worker => {
            let mut found = of_worker(settings);
            found.extend(transport::contradictions(settings));
            found
        }
    };
    found.extend(of_both(settings));
    found.into_iter().flatten().collect()
}

/// A contradiction unless the rule holds.
pub fn unless(
    holds: bool,
    key: &'static str,
    other: &'static str,
    text: impl Into<String>,
) -> Option<Contradiction> {
    (!holds).then(|| Contradiction { key, other, text: text.into() })
}

fn of_controller(settings: &Settings) -> Vec<Option<Contradiction>> {
    let workers = &settings.workers;
    vec![unless(
        workers.heartbeat_timeout > workers.heartbeat_interval * 2,
        "workers.heartbeat_timeout",
        "workers.heartbeat_interval",
        "must be more than twice workers.heartbeat_interval; one lost beat is not a dead worker",
    )]
}

fn of_worker(settings: &Settings) -> Vec<Option<Contradiction>> {
    let sessions = &settings.sessions;
    let needed = sessions.max * usize::from(CHILD_UDP_PORTS);
    let (first, last) = sessions.child_udp_range;
    let outbox = &settings.outbox;
    vec![
        unless(
            outbox.retry <= outbox.retry_max,
            "outbox.retry",
            "outbox.retry_max",
            "is more than outbox.retry_max; lower it",
        ),
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

fn of_both(settings: &Settings) -> Vec<Option<Contradiction>> {
    let Settings { sessions, edge, .. } = settings;
    vec![
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
    let mut list = Vec::new();
    if settings.server.admin_token.expose().chars().count() < ADVISED_TOKEN_LENGTH {
        list.push(format!(
            "server.admin_token is shorter than {ADVISED_TOKEN_LENGTH} characters and can be guessed; use `openssl rand -hex 32`"
        ));
    }
    if settings.server.admin_token.expose().starts_with(SAMPLE_TOKEN) {
        list.push(
            "server.admin_token is the one of the sample file, which everybody knows; change it".into(),
        );
    }
    if settings.role == Role::Controller {
        return list;
    }
    let advertised = settings.server.advertise_url.as_deref().unwrap_or("https:");
    if settings.tls.is_some() && !advertised.starts_with("https:") {
        list.push("server.advertise_url is not https://, but server.tls is set: the controller would speak plain HTTP to us; write https://".into());
    }
    list.extend(transport::warnings(settings));
    list
}
