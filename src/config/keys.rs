//! Every key there is: its path, the role it belongs to, whether a reload may change it, whether it is a secret, and
//! how it is read and shown. Parsing, environment overrides, `print-config`, suggestions for unknown keys and the
//! test of the sample files all go by this table.

use serde_yaml::Value as Yaml;

use crate::config::acme_directory::AcmeDirectory;
use crate::config::addresses::{
    Address, BaseDomain, Cidr, DomainNames, FrameSource, ListenOn, MuxPort, NatAddress, OperatorListenOn,
    PortRange, Url, UrlPath,
};
use crate::config::document::Node;
use crate::config::engines::Engines;
use crate::config::ice::{ICE, TURN_URLS};
use crate::config::kinds::*;
use crate::config::pins::Pins;
use crate::config::settings::{ControllerLink, LeaseConfig, Listen, Role, Settings, Turn};
use crate::config::update_kinds::{Automatic, CHANNELS, ReleaseServer};
use crate::config::webhooks::Webhooks;

/// One key.
pub struct Key {
    /// The dotted path.
    pub path: &'static str,
    /// What is said of it beside its kind.
    pub traits: Traits,
    /// Reads a node into the settings, or reports why not.
    pub read: fn(&mut Settings, &Node, &mut Scope<'_>),
    /// The value in the settings; `None` when it is not set.
    pub show: fn(&Settings, Secrets) -> Option<Yaml>,
    /// Copies the value from one set of settings to another.
    pub copy: fn(&Settings, &mut Settings),
}

impl Key {
    /// Whether its value is a list or a map, which an environment variable gives as YAML flow text.
    pub fn is_collection(&self) -> bool {
        let mut defaults = Settings::defaults(self.traits.role.unwrap_or(Role::Worker));
        defaults.turn = Some(Turn::default());
        defaults.lease = Some(LeaseConfig::default());
        let urls = vec![String::new()];
        defaults.controller = Some(ControllerLink { urls, ..ControllerLink::default() });
        defaults.sessions.frame_ancestors = Some(Vec::new());
        matches!((self.show)(&defaults, Secrets::Masked), Some(Yaml::Sequence(_) | Yaml::Mapping(_)))
    }
}

/// What is said of a key beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The one role it belongs to; `None`: both.
    pub role: Option<Role>,
    /// SIGHUP may change it without dropping a session.
    pub reloadable: bool,
    /// It has a `…_file` form and is looked up in `$CREDENTIALS_DIRECTORY`.
    pub secret: bool,
}

impl Traits {
    const fn reload(self) -> Traits {
        Traits { reloadable: true, ..self }
    }

    const fn secret(self) -> Traits {
        Traits { secret: true, ..self }
    }
}

const BOTH: Traits = Traits { role: None, reloadable: false, secret: false };
const WORKER: Traits = Traits { role: Some(Role::Worker), ..BOTH };
const CONTROLLER: Traits = Traits { role: Some(Role::Controller), ..BOTH };

/// A key whose value always exists.
macro_rules! key {
    ($path:literal, $traits:expr, $kind:expr, $($field:ident).+) => {
        Key {
            path: $path,
            traits: $traits,
            read: |settings, node, scope| {
                if let Some(value) = $kind.read(node, scope) {
                    settings.$($field).+ = value;
                }
            },
            show: |settings, secrets| $kind.show(&settings.$($field).+, secrets),
            copy: |from, to| to.$($field).+ = from.$($field).+.clone(),
        }
    };
}

/// A key of a section that may be missing as a whole.
macro_rules! key_in {
    ($path:literal, $traits:expr, $kind:expr, $section:ident . $field:ident) => {
        Key {
            path: $path,
            traits: $traits,
            read: |settings, node, scope| {
                let value = $kind.read(node, scope);
                let section = settings.$section.get_or_insert_default();
                if let Some(value) = value {
                    section.$field = value;
                }
            },
            show: |settings, secrets| {
                settings.$section.as_ref().and_then(|section| $kind.show(&section.$field, secrets))
            },
            copy: |from, to| {
                if let (Some(from), Some(to)) = (&from.$section, &mut to.$section) {
                    to.$field = from.$field.clone();
                }
            },
        }
    };
}

/// A key that has no meaning without `server.domain`, and is not printed then.
macro_rules! key_of_domain {
    ($path:literal, $kind:expr, $($field:ident).+) => {
        Key {
            show: |settings, secrets| {
                let used = matches!(settings.server.listen, Listen::Domain(_));
                used.then(|| $kind.show(&settings.$($field).+, secrets)).flatten()
            },
            ..key!($path, BOTH, $kind, $($field).+)
        }
    };
}

/// Seconds, minutes, hours and days in milliseconds, for the bounds of durations.
const S: u64 = 1_000;
const M: u64 = 60 * S;
const H: u64 = 60 * M;
const D: u64 = 24 * H;

/// For deadlines of one exchange: shorter would refuse slow but honest peers, longer would hold resources for nobody.
const EXCHANGE: Span = Span(100, H);

const NETWORKS: List<Cidr> = List(Cidr, "a list of networks, like [10.10.0.0/16]");
const TOKENS: List<Hidden> = List(Hidden, "a list of tokens, like [\"…\", \"…\"]");
const FRAME_SOURCES: List<FrameSource> =
    List(FrameSource, "a list, like [self, \"https://www.example.com\"]");
const ADDRESSES: List<NatAddress> = List(NatAddress, "a list of IP addresses");
const CONTROLLERS: List<Url> = List(
    Url::Origin,
    "a list of URLs, like [\"https://neck-a.example.com\", \"https://neck-b.example.com\"]",
);
const ETCD: List<Url> = List(Url::Origin, "a list of URLs, like [\"http://10.10.0.11:2379\"]");
const LISTENERS: List<Address> = List(Address, "a list of IP addresses, like [10.10.0.5]");

/// For what the estimator waits: shorter than a reading means nothing, longer than an hour is never.
const ESTIMATED: Span = Span(100, H);

/// Every key, in the order of the sample files.
pub static KEYS: &[Key] = &[
    key!("mode", BOTH, ROLES, role),
    key!("server.listen", BOTH, ListenOn, server.listen),
    key!("server.domain", BOTH, DomainNames, server.listen),
    key_of_domain!("server.https_listen", ListenOn, server.https_listen),
    key_of_domain!("server.http_listen", ListenOn, server.http_listen),
    key_of_domain!("server.acme.directory", AcmeDirectory, server.acme.directory),
    key!("server.acme.profile", BOTH, Maybe(Text(64)), server.acme.profile),
    key!("server.acme.eab_kid", BOTH, Maybe(Text(512)), server.acme.eab_kid),
    key!("server.acme.eab_key", BOTH.secret(), Hidden, server.acme.eab_key),
    key!("server.acme.email", BOTH, Maybe(Email), server.acme.email),
    key!("server.acme.ca_file", BOTH, Maybe(FilePath), server.acme.ca_file),
    key!("server.hsts", BOTH, SpanOrOff(Span(S, 731 * D)), server.hsts),
    key_in!("server.tls.cert", BOTH.reload(), FilePath, tls.cert),
    key_in!("server.tls.key", BOTH.reload(), FilePath, tls.key),
    key!("server.admin_token", BOTH.reload().secret(), Hidden, server.admin_token),
    key!("server.admin_tokens", BOTH.reload().secret(), TOKENS, server.admin_tokens),
    key!("server.read_token", BOTH.reload().secret(), Hidden, server.read_token),
    key!("server.public_url", BOTH, Maybe(Url::Outside), server.public_url),
    key!("server.advertise_url", WORKER, Maybe(Url::Origin), server.advertise_url),
    key!("server.worker_id", WORKER, Maybe(WorkerName), server.worker_id),
    key!("server.district", BOTH, Text(128), server.district),
    key!("server.operator_listen", CONTROLLER, OperatorListenOn, server.operator_listen),
    key!("server.operator_on_public", CONTROLLER, Switch, server.operator_on_public),
    key!("server.state_dir", BOTH, FilePath, server.state_dir),
    key!("server.trusted_proxies", BOTH, NETWORKS, server.trusted_proxies),
    key_in!("controller.url", WORKER, Url::Origin, controller.url),
    Key {
        // A file has one of `url` and `urls`.
        show: |settings, secrets| {
            let urls = settings.controller.as_ref().map(|link| &link.urls).filter(|urls| !urls.is_empty());
            urls.and_then(|urls| CONTROLLERS.show(urls, secrets))
        },
        ..key_in!("controller.urls", WORKER, CONTROLLERS, controller.urls)
    },
    key_in!("controller.token", WORKER.reload().secret(), Hidden, controller.token),
    key_in!("controller.ca_file", WORKER, Maybe(FilePath), controller.ca_file),
    key_in!("controller.heartbeat_interval", WORKER, Span(100, 5 * M), controller.heartbeat_interval),
    key!("workers.heartbeat_interval", CONTROLLER, Span(100, 5 * M), workers.heartbeat_interval),
    key!("workers.heartbeat_timeout", CONTROLLER.reload(), Span(300, H), workers.heartbeat_timeout),
    key!("workers.token", CONTROLLER.reload().secret(), Hidden, workers.token),
    key!("workers.tokens", CONTROLLER.reload().secret(), TOKENS, workers.tokens),
    key!("workers.allowed_networks", CONTROLLER.reload(), NETWORKS, workers.allowed_networks),
    key!("workers.ca_file", CONTROLLER, Maybe(FilePath), workers.ca_file),
    // A mended worker is to get sessions again within an hour at the latest.
    key!("workers.backoff", CONTROLLER.reload(), EXCHANGE, workers.backoff),
    key!("workers.backoff_max", CONTROLLER.reload(), EXCHANGE, workers.backoff_max),
    key!("workers.max", CONTROLLER.reload(), Number(1, 100_000), workers.max),
    key!("workers.dispatch_threads", CONTROLLER, Number(1, 8192), workers.dispatch_threads),
    key!("workers.dispatch_queue", CONTROLLER, Number(1, 65_536), workers.dispatch_queue),
    key_in!("lease.etcd", CONTROLLER, ETCD, lease.etcd),
    key_in!("lease.url", CONTROLLER, Maybe(Url::Outside), lease.url),
    // Shorter, and a busy etcd costs the lease; longer, and nobody leads for minutes.
    key_in!("lease.ttl", CONTROLLER, Span(2 * S, 2 * M), lease.ttl),
    key_in!("lease.prefix", CONTROLLER, Text(256), lease.prefix),
    key_in!("lease.username", CONTROLLER, Text(256), lease.username),
    key_in!("lease.password", CONTROLLER.secret(), Hidden, lease.password),
    key_in!("lease.secret", CONTROLLER.secret(), Hidden, lease.secret),
    key_in!("lease.ca_file", CONTROLLER, Maybe(FilePath), lease.ca_file),
    key_in!("lease.cert", CONTROLLER, Maybe(FilePath), lease.cert),
    key_in!("lease.key", CONTROLLER, Maybe(FilePath), lease.key),
    key_in!("lease.floor", CONTROLLER, Number(0, 1 << 62), lease.floor),
    key!("sessions.max", BOTH.reload(), Number(1, 1000), sessions.max),
    key!("sessions.port_range_start", BOTH, Number(1024, 65_535), sessions.port_range_start),
    key!("sessions.return_url", BOTH.reload(), Url::Page, sessions.return_url),
    key!("sessions.frame_ancestors", BOTH.reload(), Maybe(FRAME_SOURCES), sessions.frame_ancestors),
    key!("sessions.report_url", BOTH.reload(), Url::Page, sessions.report_url),
    key!("sessions.data_dir", BOTH, FilePath, sessions.data_dir),
    key!("sessions.web_server", BOTH, FilePath, sessions.web_server),
    key!("sessions.create_timeout", BOTH.reload(), Span(S, 10 * M), sessions.create_timeout),
    key!("sessions.ready_timeout", BOTH.reload(), Span(100, 5 * M), sessions.ready_timeout),
    key!("sessions.connect_timeout", BOTH.reload(), Span(100, D), sessions.connect_timeout),
    key!("sessions.idle_timeout", BOTH.reload(), Span(100, D), sessions.idle_timeout),
    key!("sessions.max_duration", BOTH.reload(), SpanOrOff(Span(S, 30 * D)), sessions.max_duration),
    key!("sessions.stop_grace", BOTH.reload(), Span(100, M), sessions.stop_grace),
    key!("sessions.restarts", BOTH.reload(), Number(0, 100), sessions.restarts),
    key!("sessions.restart_backoff", BOTH.reload(), Span(10, M), sessions.restart_backoff),
    key!("sessions.pairings_at_once", BOTH.reload(), Number(1, 1000), sessions.pairings_at_once),
    key!("sessions.keep_pairing", BOTH.reload(), Switch, sessions.keep_pairing),
    key!("sessions.close_app", BOTH.reload(), Switch, sessions.close_app),
    key!("sessions.move", BOTH.reload(), MOVE_POLICIES, sessions.moves),
    key!("sessions.move_limit", BOTH.reload(), Number(0, 100), sessions.move_limit),
    key!("sessions.keep_logs", BOTH.reload(), Span(0, 30 * D), sessions.keep_logs),
    key!("sessions.log_cap", BOTH, Number(4096, 1 << 30), sessions.log_cap),
    key!("sessions.ended_window", BOTH.reload(), Span(S, D), sessions.ended_window),
    key!("sessions.confine", BOTH.reload(), Switch, sessions.confine),
    key!("sessions.force_relay", BOTH, Switch, sessions.force_relay),
    key!("sessions.child_api", BOTH.reload(), CHILD_APIS, sessions.child_api),
    key!("sessions.child_udp_range", BOTH, PortRange, sessions.child_udp_range),
    key!("sessions.allowed_bodies", BOTH.reload(), NETWORKS, sessions.allowed_bodies),
    key!("sunshine.username", WORKER.reload(), Text(512), sunshine.username),
    key!("sunshine.password", WORKER.reload().secret(), Hidden, sunshine.password),
    key!("sunshine.pin_certificates", WORKER.reload(), Pins, sunshine.pin_certificates),
    key!("ice_servers", WORKER.reload(), ICE, ice_servers),
    key!("webrtc.icelite", WORKER, Switch, webrtc.ice_lite),
    key!("webrtc.icetrickle", WORKER, Switch, webrtc.ice_trickle),
    key!("webrtc.iceservers", WORKER.reload(), ICE, webrtc.ice_servers),
    key!("webrtc.iceservers.frontend", WORKER.reload(), ICE, webrtc.ice_servers_frontend),
    key!("webrtc.iceservers.backend", WORKER, ICE, webrtc.ice_servers_backend),
    key!("webrtc.udpmux", WORKER, MuxPort, webrtc.udpmux),
    key!("webrtc.epr", WORKER, Maybe(PortRange), webrtc.epr),
    key!("webrtc.tcpmux", WORKER, MuxPort, webrtc.tcpmux),
    key!("webrtc.nat1to1", WORKER, ADDRESSES, webrtc.nat1to1),
    key!("webrtc.ip_retrieval_url", WORKER, OrOff(Url::Page), webrtc.ip_retrieval_url),
    key!("webrtc.threads", WORKER, Number(1, 64), webrtc.threads),
    key!("webrtc.ice_grace", WORKER, Span(S, 10 * M), webrtc.ice_grace),
    key!("webrtc.max_peers", WORKER, Number(1, 100_000), webrtc.max_peers),
    key!("webrtc.max_viewers", WORKER, Number(1, 100_000), webrtc.max_viewers),
    key!("webrtc.estimator.enabled", WORKER, Switch, webrtc.estimator.enabled),
    key!("webrtc.estimator.passive", WORKER, Switch, webrtc.estimator.passive),
    key!("webrtc.estimator.debug", WORKER, Switch, webrtc.estimator.debug),
    key!(
        "webrtc.estimator.initial_bitrate",
        WORKER,
        Number(10_000, 1_000_000_000),
        webrtc.estimator.initial_bitrate
    ),
    key!("webrtc.estimator.read_interval", WORKER, ESTIMATED, webrtc.estimator.read_interval),
    key!("webrtc.estimator.stable_duration", WORKER, ESTIMATED, webrtc.estimator.stable_duration),
    key!("webrtc.estimator.unstable_duration", WORKER, ESTIMATED, webrtc.estimator.unstable_duration),
    key!("webrtc.estimator.stalled_duration", WORKER, ESTIMATED, webrtc.estimator.stalled_duration),
    key!("webrtc.estimator.downgrade_backoff", WORKER, ESTIMATED, webrtc.estimator.downgrade_backoff),
    key!("webrtc.estimator.upgrade_backoff", WORKER, ESTIMATED, webrtc.estimator.upgrade_backoff),
    key!("webrtc.estimator.diff_threshold", WORKER, Ratio(0.0, 10.0), webrtc.estimator.diff_threshold),
    key_in!("whip.token", WORKER.reload().secret(), Hidden, whip.token),
    key_in!("turn.secret", WORKER.reload().secret(), Hidden, turn.secret),
    key_in!("turn.urls", WORKER.reload(), TURN_URLS, turn.urls),
    key_in!("turn.ttl", WORKER.reload(), Span(300 * S, D), turn.ttl),
    key!("rooms.enabled", BOTH, Switch, rooms.enabled),
    key!("rooms.base_domain", CONTROLLER, Maybe(BaseDomain), rooms.base_domain),
    key!("rooms.sfu_workers", CONTROLLER, Number(1, 1000), rooms.sfu_workers),
    key!("rooms.turn_workers", CONTROLLER, Number(1, 1000), rooms.turn_workers),
    key!("rooms.listen", WORKER, LISTENERS, rooms.listen),
    key!("rooms.relays", WORKER, NETWORKS, rooms.relays),
    key!("rooms.media_port", WORKER, Number(0, 65_535), rooms.media_port),
    // More is heard: sound and picture wait for each other.
    key!("rooms.collect", WORKER, Span(0, 20), rooms.collect),
    key!("rooms.max_peers", BOTH, Number(2, 100), rooms.max_peers),
    key!("rooms.max_videos", BOTH, Number(0, 100), rooms.max_videos),
    key!("rooms.empty_timeout", BOTH, Span(S, D), rooms.empty_timeout),
    key!("rooms.data_channels", BOTH, Switch, rooms.data_channels),
    key!("bodies.wireguard_networks", BOTH, NETWORKS, bodies.wireguard_networks),
    key!("bodies.http_port", BOTH, Number(1, 65_535), bodies.http_port),
    key!("bodies.management_port", BOTH, Number(1, 65_535), bodies.management_port),
    key!("bodies.hydrabody_port", BOTH, Number(1, 65_535), bodies.hydrabody_port),
    key!("bodies.mic_port", BOTH, Number(1, 65_535), bodies.mic_port),
    key!("bodies.launch_path", BOTH, Text(256), bodies.launch_path),
    key!("bodies.connect_timeout", BOTH, Span(100, M), bodies.connect_timeout),
    key!("bodies.call_timeout", BOTH, Span(100, M), bodies.call_timeout),
    key!("bodies.pair_timeout", BOTH, Span(S, M), bodies.pair_timeout),
    key!("bodies.lost_after", BOTH.reload(), Span(S, H), bodies.lost_after),
    key!("engines", WORKER.reload(), Engines, engines),
    key_in!("nps.url", WORKER, Url::Base, nps.url),
    key_in!("nps.token", WORKER.reload().secret(), Hidden, nps.token),
    key_in!("nps.path", WORKER.reload(), UrlPath, nps.path),
    key_in!("experience_library.url", WORKER, Url::Base, experience_library.url),
    key_in!("experience_library.token", WORKER.reload().secret(), Hidden, experience_library.token),
    key_in!("experience_library.path", WORKER.reload(), UrlPath, experience_library.path),
    key!("webhooks", BOTH.reload(), Webhooks, webhooks),
    key!("outbox.patience", BOTH.reload(), Span(M, 30 * D), outbox.patience),
    key!("outbox.max_records", BOTH.reload(), Number(10, 1_000_000), outbox.max_records),
    key!("outbox.max_bytes", BOTH.reload(), Number(1 << 16, 1 << 34), outbox.max_bytes),
    key!("outbox.timeout", BOTH.reload(), Span(100, M), outbox.timeout),
    key!("outbox.retry", BOTH.reload(), Span(10, H), outbox.retry),
    key!("outbox.retry_max", BOTH.reload(), Span(10, D), outbox.retry_max),
    key!("metrics.token", BOTH.reload().secret(), Hidden, metrics.token),
    key!("update.auto", BOTH.reload(), Automatic, update.auto),
    key!("update.channel", BOTH.reload(), CHANNELS, update.channel),
    key!("update.url", BOTH.reload(), ReleaseServer, update.url),
    key!("update.key_file", BOTH.reload(), Maybe(FilePath), update.key_file),
    key!("update.max_wait", BOTH.reload(), Span(0, 30 * D), update.max_wait),
    key!("update.watch", BOTH.reload(), Span(S, 10 * M), update.watch),
    key!("drain.timeout", BOTH.reload(), Span(0, D), drain_timeout),
    key!("log.level", BOTH.reload(), LEVELS, log.level),
    key!("log.dependencies", BOTH.reload(), DEPENDENCY_LEVELS, log.dependencies),
    key!("log.format", BOTH, LOG_FORMATS, log.format),
    key!("edge.threads", BOTH, Number(1, 256), edge.threads),
    key!("edge.tls_handshake_timeout", BOTH, EXCHANGE, edge.tls_handshake_timeout),
    key!("edge.header_timeout", BOTH, EXCHANGE, edge.header_timeout),
    key!("edge.keepalive_timeout", BOTH, EXCHANGE, edge.keepalive_timeout),
    key!("edge.body_idle_timeout", BOTH, EXCHANGE, edge.body_idle_timeout),
    key!("edge.send_idle_timeout", BOTH, EXCHANGE, edge.send_idle_timeout),
    key!("edge.upstream_connect_timeout", BOTH, EXCHANGE, edge.upstream_connect_timeout),
    key!("edge.upstream_head_timeout", BOTH, EXCHANGE, edge.upstream_head_timeout),
    key!("edge.upstream_idle_timeout", BOTH, EXCHANGE, edge.upstream_idle_timeout),
    key!("edge.tunnel_fin_timeout", BOTH, EXCHANGE, edge.tunnel_fin_timeout),
    key!("edge.websocket_pong", BOTH, EXCHANGE, edge.websocket_pong),
    key!("edge.max_head_bytes", BOTH, Number(1024, 1 << 20), edge.max_head_bytes),
    key!("edge.max_uri_bytes", BOTH, Number(256, 1 << 16), edge.max_uri_bytes),
    key!("edge.max_header_fields", BOTH, Number(16, 1000), edge.max_header_fields),
    key!("edge.control_body_limit", BOTH, Number(1024, 1 << 26), edge.control_body_limit),
    key!("edge.body_budget", BOTH, Number(1 << 21, 1 << 40), edge.body_budget),
    key!("edge.api_connections", BOTH, Number(8, 1024), edge.api_connections),
    key!("edge.api_queue", BOTH, Number(16, 1 << 16), edge.api_queue),
    key!("edge.api_queue_timeout", BOTH, EXCHANGE, edge.api_queue_timeout),
    key!("edge.session_body_limit", BOTH, Number(1024, 1 << 40), edge.session_body_limit),
    key!("edge.requests_per_connection", BOTH, Number(1, 1 << 31), edge.requests_per_connection),
    key!("edge.max_connections", BOTH, Number(0, 1 << 24), edge.max_connections),
    key!("edge.max_connections_per_address", BOTH, Number(1, 1 << 24), edge.max_connections_per_address),
    key!("edge.rate_limit_per_address", BOTH, Number(0, 1000), edge.rate_limit_per_address),
    key!("edge.rate_limit_per_session", WORKER, Number(0, 1000), edge.rate_limit_per_session),
];

/// What ends the path of a secret that stands in a file of its own.
pub const FILE_SUFFIX: &str = "_file";

/// The key with this path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The secret whose `…_file` form this path is.
pub fn find_secret_file(path: &str) -> Option<&'static Key> {
    find(path.strip_suffix(FILE_SUFFIX)?).filter(|key| key.traits.secret)
}

/// The keys below a section.
pub fn below(section: &str) -> impl Iterator<Item = &'static Key> {
    let prefix = format!("{section}.");
    KEYS.iter().filter(move |key| key.path.starts_with(&prefix))
}

/// The key or section that `path` was probably meant to be.
pub fn suggest(path: &str) -> Option<String> {
    let (section, leaf) = path.rsplit_once('.').unwrap_or(("", path));
    near(section, leaf)
}

/// The key or section that `leaf`, written in `section`, was probably meant to be.
pub fn near(section: &str, leaf: &str) -> Option<String> {
    let here = KEYS.iter().filter_map(|key| sibling(key.path, section));
    let nearest = here.filter(|name| is_near(leaf, name)).min_by_key(|name| (distance(leaf, name), *name));
    if let Some(nearest) = nearest {
        let dot = if section.is_empty() { "" } else { "." };
        return Some(format!("{section}{dot}{nearest}"));
    }
    KEYS.iter().map(|key| key.path).find(|known| known.rsplit('.').next() == Some(leaf)).map(str::to_owned)
}

/// Whether `typed` is a typing error away from `known`.
pub fn is_near(typed: &str, known: &str) -> bool {
    distance(typed, known) <= 1 + typed.chars().count() / 4
}

/// The name directly below `section` on the way to `path`.
fn sibling<'p>(path: &'p str, section: &str) -> Option<&'p str> {
    let rest = if section.is_empty() { path } else { path.strip_prefix(section)?.strip_prefix('.')? };
    rest.split('.').next()
}

/// Levenshtein distance, of names cut to a sane length.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let cost = (diagonal + usize::from(from != *to)).min(left + 1).min(*cell + 1);
            (diagonal, left) = (*cell, cost);
            *cell = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_unique() {
        let mut paths: Vec<_> = KEYS.iter().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), KEYS.len());
    }

    #[test]
    fn a_typing_error_gets_a_suggestion() {
        for (typed, meant) in [
            ("server.admin_tokn", Some("server.admin_token")),
            ("sesions", Some("sessions")),
            ("idle_timeout", Some("sessions.idle_timeout")),
            ("webrtc.iceserver", Some("webrtc.iceservers")),
            ("server.banana", None),
        ] {
            assert_eq!(suggest(typed).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("a", "a")), (3, 3, 0));
    }
}
