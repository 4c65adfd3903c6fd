//! The defaults of every key: the one place where they stand. `etc/*.yaml` is tested to equal them.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::addresses::network;
use crate::config::secret::Secret;
use crate::config::settings::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn networks(list: &[&str]) -> Vec<Network> {
    list.iter().filter_map(|text| network(text)).collect()
}

impl Settings {
    /// What holds for `role` when the file says nothing. `server.listen` and `server.admin_token` have no default: a
    /// file must give them; here they are loopback with a free port, and no token (which matches nothing).
    pub fn defaults(role: Role) -> Settings {
        Settings {
            role,
            config_file: PathBuf::new(),
            warnings: Vec::new(),
            server: Server::default(),
            tls: None,
            edge: Edge::default(),
            log: Log::default(),
            drain_timeout: secs(300),
            workers: Workers::default(),
            lease: None,
            controller: None,
            sessions: Sessions::default(),
            sunshine: Sunshine::default(),
            ice_servers: Vec::new(),
            webrtc: WebRtc::default(),
            whip: None,
            turn: None,
            rooms: RoomsConfig { enabled: role == Role::Controller, ..RoomsConfig::default() },
            bodies: Bodies::default(),
            engines: Vec::new(),
            nps: None,
            experience_library: None,
            webhooks: Vec::new(),
            outbox: Outbox::default(),
            metrics: Metrics::default(),
            update: Update::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: Listen::Plain(ListenAddress { host: Some([127, 0, 0, 1].into()), port: 0 }),
            https_listen: ListenAddress { host: None, port: 443 },
            http_listen: ListenAddress { host: None, port: 80 },
            hsts: None,
            acme: Acme::default(),
            admin_token: Secret::default(),
            admin_tokens: Vec::new(),
            read_token: Secret::default(),
            public_url: None,
            advertise_url: None,
            worker_id: None,
            district: String::new(),
            operator_listen: OperatorListen::Unasked,
            operator_on_public: false,
            state_dir: PathBuf::from("~/.hydraneckwebrtc/state"),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Edge {
    fn default() -> Edge {
        Edge {
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            tls_handshake_timeout: secs(10),
            header_timeout: secs(10),
            keepalive_timeout: secs(60),
            body_idle_timeout: secs(30),
            send_idle_timeout: secs(30),
            upstream_connect_timeout: secs(5),
            upstream_head_timeout: secs(60),
            upstream_idle_timeout: secs(4),
            tunnel_fin_timeout: secs(30),
            websocket_pong: secs(25),
            max_head_bytes: 32 * 1024,
            max_uri_bytes: 8 * 1024,
            max_header_fields: 100,
            control_body_limit: 1 << 20,
            body_budget: 64 << 20,
            api_connections: 32,
            api_queue: 1024,
            api_queue_timeout: secs(5),
            session_body_limit: 64 << 20,
            requests_per_connection: 1000,
            max_connections: 0,
            max_connections_per_address: 256,
            rate_limit_per_address: 500,
            rate_limit_per_session: 200,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: log::LevelFilter::Info, dependencies: log::LevelFilter::Warn, format: LogFormat::Auto }
    }
}

impl Default for Workers {
    fn default() -> Workers {
        Workers {
            heartbeat_interval: secs(10),
            heartbeat_timeout: secs(60),
            token: Secret::default(),
            tokens: Vec::new(),
            allowed_networks: networks(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
            ca_file: None,
            backoff: secs(2),
            backoff_max: secs(50),
            max: 10_000,
            dispatch_threads: 1_024,
            dispatch_queue: 256,
        }
    }
}

impl Default for LeaseConfig {
    fn default() -> LeaseConfig {
        LeaseConfig {
            etcd: Vec::new(),
            url: None,
            ttl: secs(10),
            prefix: "/hydraneckwebrtc/".to_owned(),
            username: String::new(),
            password: Secret::default(),
            secret: Secret::default(),
            ca_file: None,
            cert: None,
            key: None,
            floor: 0,
        }
    }
}

impl Default for ControllerLink {
    fn default() -> ControllerLink {
        ControllerLink {
            url: String::new(),
            urls: Vec::new(),
            token: Secret::default(),
            ca_file: None,
            heartbeat_interval: secs(10),
        }
    }
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions {
            max: 15,
            port_range_start: 8080,
            return_url: "https://hydraheadwebstream.experiencenet.com".to_owned(),
            frame_ancestors: None,
            report_url: "https://issues.experiencenet.com/report".to_owned(),
            data_dir: PathBuf::from("/tmp/hydraneckwebrtc-sessions"),
            web_server: PathBuf::from("/opt/moonlight-web-stream/web-server"),
            create_timeout: secs(45),
            ready_timeout: secs(10),
            connect_timeout: secs(120),
            idle_timeout: secs(300),
            max_duration: None,
            stop_grace: secs(5),
            restarts: 2,
            restart_backoff: Duration::from_millis(500),
            pairings_at_once: std::thread::available_parallelism().map_or(1, usize::from),
            keep_pairing: false,
            close_app: true,
            moves: MovePolicy::default(),
            // An hour with more has a cause that moving does not mend.
            move_limit: 3,
            keep_logs: secs(3600),
            log_cap: 8 << 20,
            ended_window: secs(900),
            confine: true,
            force_relay: true,
            child_api: ChildApi::Page,
            child_udp_range: (40_000, 49_151),
            allowed_bodies: networks(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
        }
    }
}

impl Default for Sunshine {
    fn default() -> Sunshine {
        Sunshine {
            username: "sunshine".to_owned(),
            password: Secret::new("sunshine"),
            pin_certificates: Vec::new(),
        }
    }
}

impl Default for WebRtc {
    fn default() -> WebRtc {
        WebRtc {
            ice_lite: true,
            ice_trickle: true,
            ice_servers: Vec::new(),
            ice_servers_frontend: Vec::new(),
            ice_servers_backend: Vec::new(),
            epr: None,
            udpmux: Some(59_000),
            tcpmux: None,
            nat1to1: Vec::new(),
            everywhere: false,
            ip_retrieval_url: Some("https://checkip.amazonaws.com".to_owned()),
            estimator: Estimator::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(4),
            ice_grace: secs(30),
            max_peers: 1000,
            max_viewers: 500,
        }
    }
}

impl Default for Estimator {
    fn default() -> Estimator {
        Estimator {
            enabled: false,
            passive: false,
            debug: false,
            initial_bitrate: 1_000_000,
            read_interval: secs(2),
            stable_duration: secs(12),
            unstable_duration: secs(6),
            stalled_duration: secs(24),
            downgrade_backoff: secs(10),
            upgrade_backoff: secs(5),
            diff_threshold: 0.15,
        }
    }
}

impl Default for Turn {
    fn default() -> Turn {
        Turn { secret: Secret::default(), urls: Vec::new(), ttl: secs(600) }
    }
}

impl Default for Bodies {
    fn default() -> Bodies {
        Bodies {
            wireguard_networks: networks(&["10.10.0.0/16"]),
            http_port: 47_989,
            management_port: 47_990,
            hydrabody_port: 47_991,
            mic_port: 47_995,
            launch_path: "/api/v1/launch".to_owned(),
            connect_timeout: secs(2),
            call_timeout: secs(5),
            pair_timeout: secs(18),
            lost_after: secs(30),
        }
    }
}

impl EngineEntry {
    /// An entry that says nothing but its name; its command is empty.
    pub fn named(name: &str) -> EngineEntry {
        EngineEntry {
            name: name.to_owned(),
            command: Vec::new(),
            video: VideoCodec::H264,
            video_encoder: None,
            audio: AudioLeg::Probe,
            audio_encoder: None,
            ingest: Ingest::Viewers,
            parameters: Vec::new(),
            read: Vec::new(),
            write: Vec::new(),
            stale_timeout: secs(5),
            restarts: 5,
            restart_backoff: Duration::from_millis(500),
        }
    }
}
