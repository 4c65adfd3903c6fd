//! The child's `config.json`.
//!
//! `relay_only` and `nat_1to1` are never written together: this build then fails to create an answer and the page
//! silently falls back to media over our proxy. `first_login_*` and `level_filter` are mandatory keys.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::settings::IceServer;
use crate::core::ids::{Port, SessionId};

/// What the child's configuration depends on.
#[derive(Clone, Debug)]
pub struct ChildConfig<'a> {
    /// The session; its whole id is part of the URL prefix.
    pub session: &'a SessionId,
    /// What a proxy in front of us takes off the path; the child is asked below it, as its page asks.
    pub prefix: &'a str,
    /// TCP port on loopback.
    pub port: Port,
    /// First and last UDP port of its own.
    pub udp_ports: (u16, u16),
    /// ICE servers, for the child and the browser alike.
    pub ice_servers: &'a [IceServer],
    /// Public addresses that replace ours when there is no TURN server.
    pub nat1to1: &'a [IpAddr],
    /// Silence after which the child calls ICE disconnected.
    pub ice_disconnected_timeout: Duration,
    /// GameStream HTTP port of bodies.
    pub body_http_port: u16,
    /// The neighbour program of the web server.
    pub streamer: &'a Path,
}

impl ChildConfig<'_> {
    /// The file's content.
    pub fn to_json(&self) -> Value {
        json!({
            "data_storage": {
                "type": "json",
                "path": "server/data.json",
                "session_expiration_check_interval": {"secs": 300, "nanos": 0},
            },
            "webrtc": self.webrtc(),
            "web_server": {
                "bind_address": format!("127.0.0.1:{}", self.port),
                "url_path_prefix": format!("{}/session/{}", self.prefix, self.session.expose()),
                "first_login_create_admin": false,
                "first_login_assign_global_hosts": false,
                "forwarded_header": {"username_header": "X-Forwarded-User", "auto_create_missing_user": true},
            },
            "moonlight": {
                "default_http_port": self.body_http_port,
                "pair_device_name": format!("hydraneckwebrtc-{}", self.session.short()),
            },
            "streamer_path": self.streamer,
            "log": {"level_filter": "INFO"},
            "default_settings": {"bitrate": 10000, "fps": 60, "videoSize": "1080p"},
        })
    }

    fn webrtc(&self) -> Value {
        let mut webrtc = json!({
            "ice_servers": self.ice_servers.iter().map(ice_server).collect::<Vec<_>>(),
            "port_range": {"min": self.udp_ports.0, "max": self.udp_ports.1},
            "network_types": ["udp4"],
            "include_loopback_candidates": false,
            "ice_disconnected_timeout_seconds": self.ice_disconnected_timeout.as_secs(),
        });
        let relay = has_usable_turn(self.ice_servers);
        webrtc["relay_only"] = json!(relay);
        if !relay && !self.nat1to1.is_empty() {
            webrtc["nat_1to1"] = json!({"ips": self.nat1to1, "ice_candidate_type": "host"});
        }
        webrtc
    }
}

/// An `RTCIceServer`, with its credential: for the child's file and the browser, never for a log.
pub fn ice_server(server: &IceServer) -> Value {
    let mut value = json!({"urls": server.urls});
    if let Some(username) = &server.username {
        value["username"] = json!(username);
    }
    if let Some(credential) = &server.credential {
        value["credential"] = json!(credential.expose());
    }
    value
}

/// Whether the child itself can relay: it can use TURN over UDP with credentials only.
pub fn has_usable_turn(servers: &[IceServer]) -> bool {
    let usable = |url: &String| url.starts_with("turn:") && !url.contains("transport=tcp");
    servers.iter().any(|server| {
        server.username.is_some() && server.credential.is_some() && server.urls.iter().any(usable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;

    fn turn(url: &str) -> IceServer {
        IceServer { urls: vec![url.into()], username: Some("u".into()), credential: Some(Secret::new("c")) }
    }

    fn config(ice_servers: &[IceServer], nat1to1: &[IpAddr]) -> Value {
        ChildConfig {
            session: &SessionId::from_entropy([1; 16]),
            prefix: "",
            port: Port(8080),
            udp_ports: (40000, 40019),
            ice_servers,
            nat1to1,
            ice_disconnected_timeout: Duration::from_secs(15),
            body_http_port: 47989,
            streamer: Path::new("/opt/moonlight-web-stream/streamer"),
        }
        .to_json()
    }

    // SPEC 5: The child's configuration has what it needs, never relay-only with NAT addresses
    // Also: `relay_only_and_nat_1to1_never_meet`,
    // `turn_over_tcp_or_tls_or_without_credentials_does_not_count_as_a_relay`
    #[test]
    fn mandatory_keys_are_there() {
        let config = config(&[], &[]);
        for pointer in [
            "/web_server/first_login_create_admin",
            "/web_server/first_login_assign_global_hosts",
            "/log/level_filter",
            "/web_server/url_path_prefix",
        ] {
            assert!(config.pointer(pointer).is_some(), "{pointer} is missing in {config}");
        }
    }

    #[test]
    fn relay_only_and_nat_1to1_never_meet() {
        let public: IpAddr = "203.0.113.7".parse().unwrap();
        let relay = config(&[turn("turn:203.0.113.7:3478")], &[public]);
        assert_eq!(relay["webrtc"]["relay_only"], true);
        assert!(relay["webrtc"].get("nat_1to1").is_none(), "{relay}");
        let direct = config(&[], &[public]);
        assert_eq!(direct["webrtc"]["relay_only"], false);
        assert_eq!(direct["webrtc"]["nat_1to1"]["ice_candidate_type"], "host");
    }

    #[test]
    fn turn_over_tcp_or_tls_or_without_credentials_does_not_count_as_a_relay() {
        let bare = IceServer { urls: vec!["turn:h".into()], username: None, credential: None };
        for server in [turn("turns:h:5349"), turn("turn:h:3478?transport=tcp"), turn("stun:h"), bare] {
            assert!(!has_usable_turn(std::slice::from_ref(&server)), "{server:?}");
        }
        assert!(has_usable_turn(&[turn("turn:h:3478?transport=udp")]));
    }
}
