//! Checked settings. A value of these types has passed every check; nothing here parses.
//!
//! Each field names its key in the file. Defaults are in `Default`; `etc/*.yaml` is tested to equal them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::acme_settings::Acme;
pub use crate::config::deliveries::{ExperienceLibrary, Nps, Outbox, Webhook};
pub use crate::config::edge_settings::Edge;
use crate::config::secret::Secret;
pub use crate::config::update_settings::{AutoUpdate, Channel, Update};
use crate::core::fingerprint::Fingerprint;
use crate::core::ids::{BodyAddr, WorkerId, url_host};

mod engine;
mod lease;
mod network;
mod role;
mod rooms;

pub use engine::{AudioLeg, EngineEntry, Ingest, VideoCodec};
pub use lease::LeaseConfig;
pub use network::Network;
pub use role::Role;
pub use rooms::RoomsConfig;

/// Everything a role needs to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `mode`, or the verb when the file has none.
    pub role: Role,
    /// `server.*`
    pub server: Server,
    /// `server.tls.*`: HTTPS on `server.listen` with a certificate from files. `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// `edge.*`
    pub edge: Edge,
    /// `log.*`
    pub log: Log,
    /// `drain.timeout`: how long a drain waits for sessions to end by themselves. Default 5m.
    pub drain_timeout: Duration,
    /// `workers.*` (controller)
    pub workers: Workers,
    /// `lease.*` (controller): `None`: this controller is the only one.
    pub lease: Option<LeaseConfig>,
    /// `controller.*` (worker)
    pub controller: Option<ControllerLink>,
    /// `sessions.*`
    pub sessions: Sessions,
    /// `sunshine.*` (worker)
    pub sunshine: Sunshine,
    /// `ice_servers` (worker)
    pub ice_servers: Vec<IceServer>,
    /// `webrtc.*` (worker)
    pub webrtc: WebRtc,
    /// `whip.*` (worker): `None`: publishers need the admin token.
    pub whip: Option<Whip>,
    /// `turn.*` (worker): `None`: credentials are those of the static lists.
    pub turn: Option<Turn>,
    /// `rooms.*`
    pub rooms: RoomsConfig,
    /// `bodies.*`
    pub bodies: Bodies,
    /// `engines` (worker): media processes that a request may name as its engine. Default none. Reloadable.
    pub engines: Vec<EngineEntry>,
    /// `nps.*` (worker)
    pub nps: Option<Nps>,
    /// `experience_library.*` (worker)
    pub experience_library: Option<ExperienceLibrary>,
    /// `webhooks`: who is told of events. Default none. Reloadable.
    pub webhooks: Vec<Webhook>,
    /// `outbox.*`
    pub outbox: Outbox,
    /// `metrics.*`
    pub metrics: Metrics,
    /// `update.*`
    pub update: Update,
    /// The file that these came from; empty when there is none. No stream process is ever given what it lies in.
    pub config_file: PathBuf,
    /// What is allowed but unwise; logged once at start.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Whether we speak TLS with whoever comes.
    pub fn serves_tls(&self) -> bool {
        self.tls.is_some() || !self.server.names().is_empty()
    }
}

impl LeaseConfig {
    /// Where this controller is reached, without a trailing slash, if it listens on this port; `None`: nobody says.
    pub fn own_url(&self, settings: &Settings, port: u16) -> Option<String> {
        let listened = || match &settings.server.listen {
            Listen::Plain(address) => {
                let host = address.host.filter(|host| !host.is_unspecified())?;
                let scheme = if settings.serves_tls() { "https" } else { "http" };
                Some(format!("{scheme}://{}:{}", url_host(host), port))
            }
            Listen::Domain(_) => settings.server.domain_url(),
        };
        self.url.clone().or_else(|| settings.server.public_url.clone()).or_else(listened)
    }
}

/// `server.*`: where we listen and who may administer us.
#[derive(Clone, Debug)]
pub struct Server {
    /// `server.listen` or `server.domain`; exactly one.
    pub listen: Listen,
    /// `server.https_listen`: where HTTPS of `server.domain` is listened for. Default `:443`.
    pub https_listen: ListenAddress,
    /// `server.http_listen`: where plain HTTP beside it is listened for. Default `:80`.
    pub http_listen: ListenAddress,
    /// `server.hsts`: how long browsers that came by HTTPS keep to it (RFC 6797). Default off.
    pub hsts: Option<Duration>,
    /// `server.acme.*`: where the certificate of `server.domain` comes from.
    pub acme: Acme,
    /// `server.admin_token`: bearer token of the control API.
    pub admin_token: Secret,
    /// `server.admin_tokens`: further ones, so that tokens change without a gap. Default none. Reloadable.
    pub admin_tokens: Vec<Secret>,
    /// `server.read_token`: reads lists and health, and changes nothing. Empty: there is none. Reloadable.
    pub read_token: Secret,
    /// `server.public_url`: the outside URL (no trailing slash) where another proxy terminates TLS.
    pub public_url: Option<String>,
    /// `server.advertise_url` (worker): how the controller reaches this worker, `http[s]://host:port`. Default:
    /// `server.domain`, else the heartbeat's source address and the listen port, `https` with `server.tls`.
    pub advertise_url: Option<String>,
    /// `server.worker_id` (worker): default a random id kept in the state directory.
    pub worker_id: Option<WorkerId>,
    /// `server.district`: free text in health replies. Default empty.
    pub district: String,
    /// `server.operator_listen` (controller): where the operators' page is, an origin of its own. Default `127.0.0.1:9099`.
    pub operator_listen: OperatorListen,
    /// `server.operator_on_public` (controller): the page is on the address of sessions too. Default off.
    pub operator_on_public: bool,
    /// `server.state_dir`: small state and run-time sockets. Default `$STATE_DIRECTORY`, else
    /// `~/.hydraneckwebrtc/state`.
    pub state_dir: PathBuf,
    /// `server.trusted_proxies`: networks whose `X-Forwarded-*` are kept and appended to. Default none.
    pub trusted_proxies: Vec<Network>,
}

impl Server {
    /// `server.domain`; empty where there is none.
    pub fn names(&self) -> &[String] {
        match &self.listen {
            Listen::Plain(_) => &[],
            Listen::Domain(names) => names,
        }
    }

    /// How others reach us by `server.domain`, without a trailing slash.
    pub fn domain_url(&self) -> Option<String> {
        let name = self.names().first()?;
        let host = name.parse().map_or_else(|_| name.clone(), url_host);
        Some(format!("https://{host}"))
    }

    /// Every token that administers.
    pub fn admin_secrets(&self) -> impl Iterator<Item = &Secret> + Clone {
        std::iter::once(&self.admin_token).chain(&self.admin_tokens).filter(|secret| !secret.is_empty())
    }
}

/// `metrics.*`: who may read what we count.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// `metrics.token`: reads `/metrics` and nothing else. Empty: there is none. Reloadable.
    pub token: Secret,
}

/// `server.tls.*`. The files may change while we run: a new pair is taken at SIGHUP and by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// `server.tls.cert`: PEM, our certificate first, then those that lead to an authority. Reloadable.
    pub cert: PathBuf,
    /// `server.tls.key`: PEM, readable by its owner only. Reloadable.
    pub key: PathBuf,
}

/// Where the role listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `server.listen`: HTTP, with `server.tls` HTTPS. An omitted host (`:47990`) means every address, IPv6 and IPv4.
    Plain(ListenAddress),
    /// `server.domain`: HTTPS on port 443 of every address with an automatic certificate for these names, and port 80. There is
    /// at least one; the first is the one that we call ourselves.
    Domain(Vec<String>),
}

/// Where the operators' page is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorListen {
    /// Nobody asked: at [`OperatorListen::USUAL`], and nowhere where that is taken.
    Unasked,
    /// There, or the controller does not start.
    At(ListenAddress),
    /// Nowhere.
    Nowhere,
}

impl OperatorListen {
    /// Where it is when nobody says where: reached from this host, and from elsewhere by a tunnel.
    pub const USUAL: ListenAddress =
        ListenAddress { host: Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)), port: 9099 };

    /// The address; `None`: nowhere.
    pub fn address(self) -> Option<ListenAddress> {
        match self {
            OperatorListen::Unasked => Some(OperatorListen::USUAL),
            OperatorListen::At(address) => Some(address),
            OperatorListen::Nowhere => None,
        }
    }
}

/// A listening address as written in `server.listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// `None`: every address.
    pub host: Option<IpAddr>,
    /// 0 lets the kernel choose (tests, `demo`).
    pub port: u16,
}

impl ListenAddress {
    /// Whether nobody on another host reaches it.
    pub fn is_loopback(&self) -> bool {
        self.host.is_some_and(|host| host.to_canonical().is_loopback())
    }
}

/// `log.*`
#[derive(Clone, Debug)]
pub struct Log {
    /// `log.level`: off, error, warn, info, debug, trace. Default info. Reloadable.
    pub level: log::LevelFilter,
    /// `log.dependencies`: from which level on lines of other crates are written, under a limiter; never below `log.level`.
    /// Default warn. Reloadable.
    pub dependencies: log::LevelFilter,
    /// `log.format`: `auto` (journald priorities under systemd, else plain with a time), `plain`, `journald`, `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `journald` when `$JOURNAL_STREAM` names our stderr, else `plain`.
    Auto,
    /// RFC 3339 time, level, text.
    Plain,
    /// `<priority>` and text; journald adds the time.
    Journald,
    /// One JSON object per line.
    Json,
}

/// `workers.*`: how the controller judges workers.
#[derive(Clone, Debug)]
pub struct Workers {
    /// `workers.heartbeat_interval`: what workers are expected to keep. Default 10s.
    pub heartbeat_interval: Duration,
    /// `workers.heartbeat_timeout`: silence after which a worker is down. Default 60s.
    pub heartbeat_timeout: Duration,
    /// `workers.token`: what workers send with heartbeats, their `controller.token`; it administers nothing. Empty: they
    /// send `server.admin_token`. Reloadable.
    pub token: Secret,
    /// `workers.tokens`: further ones, so that tokens change without a gap. Default none. Reloadable.
    pub tokens: Vec<Secret>,
    /// `workers.allowed_networks`: where workers may be called, beside the address that a heartbeat came from. Default:
    /// private ranges. Reloadable.
    pub allowed_networks: Vec<Network>,
    /// `workers.ca_file`: PEM; the authorities believed for `https://` workers, instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// `workers.backoff`: the first pause of a worker whose creates fail; each further one is twice as long. Default 2s.
    /// Reloadable.
    pub backoff: Duration,
    /// `workers.backoff_max`: the longest such pause. Default 50s. Reloadable.
    pub backoff_max: Duration,
    /// `workers.max`: workers that are known at once; further ones are refused. Default 10000.
    pub max: usize,
    /// `workers.dispatch_threads`: creates under way at once, a thread each while they are; a quarter as many other calls to
    /// workers beside them. Default 1024.
    pub dispatch_threads: usize,
    /// `workers.dispatch_queue`: calls of either kind that may wait beyond that; more get 503. Default 256.
    pub dispatch_queue: usize,
}

impl Workers {
    /// Every token that is good for heartbeats alone.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> + Clone {
        std::iter::once(&self.token).chain(&self.tokens).filter(|secret| !secret.is_empty())
    }
}

/// `controller.*`: a worker's link to its controllers.
#[derive(Clone, Debug)]
pub struct ControllerLink {
    /// `controller.url`: no trailing slash. Empty where `controller.urls` names several.
    pub url: String,
    /// `controller.urls`: the controllers of one service, of which one leads. Empty where `controller.url` names the only one.
    pub urls: Vec<String>,
    /// `controller.token`: the controller's `workers.token`, or its `server.admin_token` where it has none. In the latter
    /// case it is accepted from operators, too.
    pub token: Secret,
    /// `controller.ca_file`: PEM; the authorities believed for `controller.url`, instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// `controller.heartbeat_interval`. Default 10s.
    pub heartbeat_interval: Duration,
}

impl ControllerLink {
    /// Every controller that we report to.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.url).chain(&self.urls).map(String::as_str).filter(|url| !url.is_empty())
    }
}

/// `sessions.*`
#[derive(Clone, Debug)]
pub struct Sessions {
    /// `sessions.max`. Default 15. Reloadable.
    pub max: usize,
    /// `sessions.port_range_start`: first TCP port tried for a child, on loopback. Default 8080.
    pub port_range_start: u16,
    /// `sessions.return_url`. Default `https://hydraheadwebstream.experiencenet.com`.
    pub return_url: String,
    /// `sessions.frame_ancestors`: who may show session pages in a frame, `self` or origins; `None`: ourselves and the site of
    /// `return_url`. Reloadable.
    pub frame_ancestors: Option<Vec<String>>,
    /// `sessions.report_url`. Default `https://issues.experiencenet.com/report`.
    pub report_url: String,
    /// `sessions.data_dir`. Default `/tmp/hydraneckwebrtc-sessions`.
    pub data_dir: PathBuf,
    /// `sessions.web_server`. Default `/opt/moonlight-web-stream/web-server`; `streamer` and `static/` are its
    /// neighbours.
    pub web_server: PathBuf,
    /// `sessions.create_timeout`: from request to ready. Default 45s.
    pub create_timeout: Duration,
    /// `sessions.ready_timeout`: from spawn of the child to its first answer. Default 10s.
    pub ready_timeout: Duration,
    /// `sessions.connect_timeout`: from ready to the first browser. Default 2m.
    pub connect_timeout: Duration,
    /// `sessions.idle_timeout`: without a browser after one left. Default 5m.
    pub idle_timeout: Duration,
    /// `sessions.max_duration`: `None` is off (the default).
    pub max_duration: Option<Duration>,
    /// `sessions.stop_grace`: from SIGINT to SIGKILL. Default 5s.
    pub stop_grace: Duration,
    /// `sessions.restarts`: restarts of a crashed child per session. Default 2.
    pub restarts: u32,
    /// `sessions.restart_backoff`: before the first restart; doubles each time. Default 500ms.
    pub restart_backoff: Duration,
    /// `sessions.pairings_at_once`: sessions that pair at the same time; others wait within `create_timeout`. Default: the number of
    /// cores. Reloadable.
    pub pairings_at_once: usize,
    /// `sessions.keep_pairing`: one pairing per body stays, instead of one per session that goes. Default false. Reloadable.
    pub keep_pairing: bool,
    /// `sessions.close_app`: what a session started on its body is closed at its end. Default true. Reloadable.
    pub close_app: bool,
    /// `sessions.move` (controller): when a session goes on at another worker. Default drain. Reloadable.
    pub moves: MovePolicy,
    /// `sessions.move_limit` (controller): how often one session may, in an hour. Default 3. Reloadable.
    pub move_limit: u32,
    /// `sessions.keep_logs`: how long a crashed session's directory stays. Default 1h.
    pub keep_logs: Duration,
    /// `sessions.log_cap`: bytes of a child's log kept on disk. Default 8388608.
    pub log_cap: u64,
    /// `sessions.ended_window`: how long an ended session is remembered (its page says why). Default 15m.
    pub ended_window: Duration,
    /// `sessions.confine`: stream processes reach their own files only (Landlock). Default true. Reloadable.
    pub confine: bool,
    /// `sessions.force_relay`: the overlay forces `iceTransportPolicy: "relay"`. Default true.
    pub force_relay: bool,
    /// `sessions.child_api`: what browsers may ask of a session's moonlight-web-stream. Default `page`. Reloadable.
    pub child_api: ChildApi,
    /// `sessions.child_udp_range`: split by slot, [`CHILD_UDP_PORTS`] each. Default 40000-49151.
    pub child_udp_range: (u16, u16),
    /// `sessions.allowed_bodies`: networks a `body_ip` must be in. Default the private ranges.
    pub allowed_bodies: Vec<Network>,
}

/// When sessions go on at another worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MovePolicy {
    /// When their worker drains, or stops by itself.
    #[default]
    Drain,
    /// Also when their worker is not heard of and their page asks.
    Always,
    /// Never.
    Never,
}

/// How much of a session's moonlight-web-stream browsers get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildApi {
    /// What its page needs.
    Page,
    /// All of it.
    Full,
}

/// UDP ports each child gets out of `sessions.child_udp_range`.
pub const CHILD_UDP_PORTS: u16 = 20;

/// `sunshine.*`: default credentials of the bodies' management API.
#[derive(Clone, Debug)]
pub struct Sunshine {
    /// `sunshine.username`. Default `sunshine`.
    pub username: String,
    /// `sunshine.password`. Default `sunshine`.
    pub password: Secret,
    /// `sunshine.pin_certificates`: at most one per body. Default none: any certificate is taken. Reloadable.
    pub pin_certificates: Vec<Pin>,
}

/// The one certificate that a body's Sunshine may present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The body.
    pub body: BodyAddr,
    /// Of the certificate itself, not of one that signed it.
    pub sha256: Fingerprint,
}

/// One entry of `ice_servers` or `webrtc.iceservers.*` (RTCIceServer).
#[derive(Clone, Debug)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// TURN user name.
    pub username: Option<String>,
    /// TURN password.
    pub credential: Option<Secret>,
}

/// `webrtc.*`: every WebRTC endpoint that we terminate ourselves (microphone, WHEP, WHIP), with Neko's names and meanings.
#[derive(Clone, Debug)]
pub struct WebRtc {
    /// `webrtc.icelite`: we are an ICE-lite agent (RFC 8445, 2.5): we answer checks and send none. Default true.
    pub ice_lite: bool,
    /// `webrtc.icetrickle`: our SDP need not wait for slow candidates. Clients may trickle theirs either way. Default true.
    pub ice_trickle: bool,
    /// `webrtc.iceservers` written as a list: for `frontend`, and with full ICE for `backend`, when both are empty. Spread
    /// over them when a file is loaded; nothing else reads it.
    pub ice_servers: Vec<IceServer>,
    /// `webrtc.iceservers.frontend`: to browsers; wins over `ice_servers`.
    pub ice_servers_frontend: Vec<IceServer>,
    /// `webrtc.iceservers.backend`: for our own gathering, never sent anywhere. Needs full ICE.
    pub ice_servers_backend: Vec<IceServer>,
    /// `webrtc.epr`: one UDP port per peer out of this range; with it `udpmux` is `None`.
    pub epr: Option<(u16, u16)>,
    /// `webrtc.udpmux`: one UDP port for all peers; `Some(0)` (written `any`): the kernel chooses. Default 59000.
    pub udpmux: Option<u16>,
    /// `webrtc.tcpmux`: one port for ICE-TCP (RFC 6544, passive), beside UDP or alone; `Some(0)`: the kernel chooses.
    pub tcpmux: Option<u16>,
    /// `webrtc.nat1to1`: public addresses that replace ours in host candidates, a candidate for each.
    pub nat1to1: Vec<IpAddr>,
    /// Media is bound to every address and offered on each, loopback included, wherever HTTP listens. No key: `demo` sets it.
    pub everywhere: bool,
    /// `webrtc.ip_retrieval_url`: who tells us our public address when `nat1to1` is empty; `None`: nobody.
    pub ip_retrieval_url: Option<String>,
    /// `webrtc.estimator.*`
    pub estimator: Estimator,
    /// `webrtc.threads`: media threads. Default: the number of cores, at most 4.
    pub threads: usize,
    /// `webrtc.ice_grace`: how long a peer in ICE trouble may restart ICE before it counts as gone. Default 30s.
    pub ice_grace: Duration,
    /// `webrtc.max_peers`: peers at once, of all sessions. Default 1000.
    pub max_peers: usize,
    /// `webrtc.max_viewers`: viewers (WHEP) of one session at once. Default 500: a link that everybody passes on leaves half of
    /// the default `max_peers` to the other sessions.
    pub max_viewers: usize,
}

/// `webrtc.estimator.*`: bandwidth estimates per viewer.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimator {
    /// `webrtc.estimator.enabled`. Default false.
    pub enabled: bool,
    /// `webrtc.estimator.passive`: measure, do not switch layers. Default false.
    pub passive: bool,
    /// `webrtc.estimator.debug`: log every reading. Default false.
    pub debug: bool,
    /// `webrtc.estimator.initial_bitrate`: bit/s. Default 1000000.
    pub initial_bitrate: u64,
    /// `webrtc.estimator.read_interval`. Default 2s.
    pub read_interval: Duration,
    /// `webrtc.estimator.stable_duration`: calm before an upgrade. Default 12s.
    pub stable_duration: Duration,
    /// `webrtc.estimator.unstable_duration`: congestion before a downgrade. Default 6s.
    pub unstable_duration: Duration,
    /// `webrtc.estimator.stalled_duration`: no headroom for this long counts as congestion. Default 24s.
    pub stalled_duration: Duration,
    /// `webrtc.estimator.downgrade_backoff`: least time between two downgrades. Default 10s.
    pub downgrade_backoff: Duration,
    /// `webrtc.estimator.upgrade_backoff`: least time between two upgrades. Default 5s.
    pub upgrade_backoff: Duration,
    /// `webrtc.estimator.diff_threshold`: headroom ratio around the stream's bitrate. Default 0.15.
    pub diff_threshold: f64,
}

/// `whip.*`: who may publish into a session's stream.
#[derive(Clone, Debug, Default)]
pub struct Whip {
    /// `whip.token`: publishers' bearer token, good for nothing else. Reloadable.
    pub token: Secret,
}

/// `turn.*`: time-limited credentials for a coturn with `use-auth-secret`.
#[derive(Clone, Debug)]
pub struct Turn {
    /// `turn.secret`: coturn's `static-auth-secret`. Reloadable.
    pub secret: Secret,
    /// `turn.urls`: `turn:` and `turns:` URLs of that coturn. Reloadable.
    pub urls: Vec<String>,
    /// `turn.ttl`: life of a browser's credentials. Default 10m. Reloadable.
    pub ttl: Duration,
}

/// `bodies.*`
#[derive(Clone, Debug)]
pub struct Bodies {
    /// `bodies.wireguard_networks`: bodies in these are reached over WireGuard. Default `10.10.0.0/16`.
    pub wireguard_networks: Vec<Network>,
    /// `bodies.http_port`: GameStream HTTP. Default 47989.
    pub http_port: u16,
    /// `bodies.management_port`: Sunshine's management API (HTTPS). Default 47990.
    pub management_port: u16,
    /// `bodies.hydrabody_port`: hydrabody's API. Default 47991.
    pub hydrabody_port: u16,
    /// `bodies.mic_port`: where bodies take the microphone, UDP. Default 47995.
    pub mic_port: u16,
    /// `bodies.launch_path`: hydrabody's call that launches an experience. Default `/api/v1/launch`.
    pub launch_path: String,
    /// `bodies.connect_timeout`: TCP connect to Sunshine. Default 2s.
    pub connect_timeout: Duration,
    /// `bodies.call_timeout`: one call to Sunshine's management API or hydrabody. Default 5s.
    pub call_timeout: Duration,
    /// `bodies.pair_timeout`: one pairing attempt. Default 18s.
    pub pair_timeout: Duration,
    /// `bodies.lost_after`: silence after which a session's body counts as lost. Default 30s.
    pub lost_after: Duration,
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host.map(url_host).unwrap_or_default(), self.port)
    }
}

impl ListenAddress {
    /// The socket addresses to try in order: the first that binds is used.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        match self.host {
            Some(ip) => vec![SocketAddr::new(ip, self.port)],
            None => vec![
                SocketAddr::new(IpAddr::from([0u16; 8]), self.port),
                SocketAddr::new(IpAddr::from([0u8; 4]), self.port),
            ],
        }
    }
}

impl Sunshine {
    /// The certificate that this body must present; `None`: any will do.
    pub fn pin_of(&self, body: BodyAddr) -> Option<Fingerprint> {
        self.pin_certificates.iter().find(|pin| pin.body == body).map(|pin| pin.sha256)
    }
}
