//! The configuration file of the real web-server, as far as the stand-in acts on it.
//!
//! What the real one cannot do without is mandatory here too: `web_server.first_login_*` and `log.level_filter`.
//! Environment variables override the file, so that a supervisor that forgets to clear them is found out.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// Where the file is without `--config-path`.
pub const DEFAULT_PATH: &str = "./server/config.json";

/// The file.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where hosts and users are kept.
    #[serde(default)]
    pub data_storage: DataStorage,
    /// What WebRTC is told.
    #[serde(default)]
    pub webrtc: WebRtc,
    /// The HTTP server.
    pub web_server: WebServer,
    /// GameStream.
    #[serde(default)]
    pub moonlight: Moonlight,
    /// The grandchild.
    #[serde(default = "default_streamer")]
    pub streamer_path: PathBuf,
    /// The log.
    pub log: Log,
}

/// `data_storage`
#[derive(Clone, Debug, Deserialize)]
pub struct DataStorage {
    /// The state file.
    pub path: PathBuf,
}

/// `webrtc`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WebRtc {
    /// Sent to the browser as it is.
    pub ice_servers: Vec<Value>,
    /// Only relay candidates on the server's side.
    pub relay_only: bool,
    /// Public addresses; together with `relay_only` it breaks WebRTC.
    pub nat_1to1: Option<Value>,
}

/// `web_server`
#[derive(Clone, Debug, Deserialize)]
pub struct WebServer {
    /// Default `0.0.0.0:8080`.
    #[serde(default = "default_bind_address")]
    pub bind_address: String,
    /// What every path begins with.
    #[serde(default)]
    pub url_path_prefix: String,
    /// Mandatory in the real one; unused here.
    #[serde(rename = "first_login_create_admin")]
    pub _first_login_create_admin: bool,
    /// Mandatory in the real one; unused here.
    #[serde(rename = "first_login_assign_global_hosts")]
    pub _first_login_assign_global_hosts: bool,
    /// Who the user is.
    #[serde(default)]
    pub forwarded_header: Option<ForwardedHeader>,
}

/// `web_server.forwarded_header`
#[derive(Clone, Debug, Deserialize)]
pub struct ForwardedHeader {
    /// For example `X-Forwarded-User`.
    pub username_header: String,
    /// Whether unknown users are made.
    #[serde(default)]
    pub auto_create_missing_user: bool,
}

/// `moonlight`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Moonlight {
    /// Port of a host that names none.
    pub default_http_port: u16,
}

/// `log`
#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    /// Mandatory.
    pub level_filter: String,
    /// A file that must exist already.
    #[serde(default)]
    pub file_path: Option<PathBuf>,
}

impl Default for DataStorage {
    fn default() -> DataStorage {
        DataStorage { path: PathBuf::from("server/data.json") }
    }
}

impl Default for Moonlight {
    fn default() -> Moonlight {
        Moonlight { default_http_port: 47989 }
    }
}

fn default_streamer() -> PathBuf {
    PathBuf::from("./streamer")
}

fn default_bind_address() -> String {
    String::from("0.0.0.0:8080")
}

impl Config {
    /// Reads the file and lets the environment override it. The error is what the panic says.
    pub fn load(path: &Path) -> Result<Config, String> {
        let text =
            fs::read(path).map_err(|error| format!("failed to read config {}: {error}", path.display()))?;
        let config = serde_json::from_slice::<Config>(&text)
            .map_err(|error| format!("failed to parse config {}: {error}", path.display()))?;
        Ok(config.overridden(|name| env::var(name).ok()))
    }

    fn overridden(mut self, variable: impl Fn(&str) -> Option<String>) -> Config {
        if let Some(address) = variable("BIND_ADDRESS") {
            self.web_server.bind_address = address;
        }
        if let Some(prefix) = variable("PATH_PREFIX") {
            self.web_server.url_path_prefix = prefix;
        }
        if let Some(header) = variable("FORWARDED_HEADER") {
            self.web_server.forwarded_header =
                Some(ForwardedHeader { username_header: header, auto_create_missing_user: false });
        }
        if let Some(level) = variable("LOG_LEVEL") {
            self.log.level_filter = level;
        }
        if let Some(file) = variable("LOG_FILE") {
            self.log.file_path = Some(PathBuf::from(file));
        }
        if let Some(path) = variable("STREAMER_PATH") {
            self.streamer_path = PathBuf::from(path);
        }
        if let Some(relay_only) = variable("WEBRTC_RELAY_ONLY") {
            self.webrtc.relay_only = relay_only == "true";
        }
        self
    }

    /// Whether the two options that break each other are both set.
    pub fn webrtc_is_broken(&self) -> bool {
        self.webrtc.relay_only && self.webrtc.nat_1to1.as_ref().is_some_and(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"web_server": {"first_login_create_admin": false,
        "first_login_assign_global_hosts": false}, "log": {"level_filter": "INFO"}}"#;

    #[test]
    fn a_mandatory_key_cannot_be_left_out() {
        assert!(serde_json::from_str::<Config>(MINIMAL).is_ok());
        for key in ["first_login_create_admin", "first_login_assign_global_hosts", "level_filter"] {
            let without = MINIMAL.replace(key, "something_else");
            let error = serde_json::from_str::<Config>(&without).expect_err(key).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config: Config = serde_json::from_str(MINIMAL).expect("parses");
        let config = config.overridden(|name| (name == "PATH_PREFIX").then(|| String::from("/dirty")));
        assert_eq!(config.web_server.url_path_prefix, "/dirty");
        assert_eq!(config.web_server.bind_address, "0.0.0.0:8080");
    }
}
