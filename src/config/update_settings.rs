//! Checked settings of updates, and their kinds.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_yaml::Value as Yaml;

use crate::config::addresses::{Url, host_of};
use crate::config::document::Node;
use crate::config::kinds::{Choice, Kind, Scope, Secrets};

/// The release server.
const RELEASES: &str = "https://releases.experiencenet.com";

/// `update.*`: new versions of this program. The roles of a host share one program, so theirs must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// `update.auto`: what happens without a person. Default true. Reloadable.
    pub auto: AutoUpdate,
    /// `update.channel`. Default production. Reloadable.
    pub channel: Channel,
    /// `update.url`: the release server. Default `https://releases.experiencenet.com`. Reloadable.
    pub url: String,
    /// `update.key_file`: the public keys (minisign) that sign releases, instead of the one that is compiled in. Reloadable.
    pub key_file: Option<PathBuf>,
    /// `update.max_wait`: how long an automatic update waits for a worker to be idle, from when the version was first seen.
    /// Default 24h. Reloadable.
    pub max_wait: Duration,
    /// `update.watch`: how long a new version is watched before it counts as sound. Default 60s. Reloadable.
    pub watch: Duration,
}

impl Default for Update {
    fn default() -> Update {
        Update {
            auto: AutoUpdate::On,
            channel: Channel::Production,
            url: RELEASES.to_owned(),
            key_file: None,
            max_wait: Duration::from_secs(24 * 3600),
            watch: Duration::from_secs(60),
        }
    }
}

/// `update.auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoUpdate {
    /// `true`: new versions are installed by the update's timer.
    On,
    /// `check`: they are shown.
    Check,
    /// `false`: nobody looks for them.
    Off,
}

/// `update.channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What everybody runs.
    Production,
    /// What comes next.
    Staging,
}

impl Channel {
    /// Its name in the file, in URLs and in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Production => "production",
            Channel::Staging => "staging",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Channel> {
        CHANNELS.find(name)
    }
}

/// `update.channel`.
pub const CHANNELS: Choice<Channel> =
    Choice(&[("production", Channel::Production), ("staging", Channel::Staging)]);

/// `update.auto`: a truth value, or a word.
pub struct Automatic;

const AUTOMATIC: Choice<AutoUpdate> =
    Choice(&[("true", AutoUpdate::On), ("false", AutoUpdate::Off), ("check", AutoUpdate::Check)]);

impl Kind<AutoUpdate> for Automatic {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<AutoUpdate> {
        AUTOMATIC.read(node, scope)
    }

    fn show(&self, value: &AutoUpdate, _: Secrets) -> Option<Yaml> {
        Some(match value {
            AutoUpdate::On => Yaml::from(true),
            AutoUpdate::Off => Yaml::from(false),
            AutoUpdate::Check => Yaml::from("check"),
        })
    }
}

/// `update.url`. What is fetched is signed, but who listens in on plain HTTP learns which versions run here, and who changes it
/// hides new ones.
pub struct ReleaseServer;

impl Kind<String> for ReleaseServer {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let url = Url::Base.read(node, scope)?;
        if !url.starts_with("https://") && !is_loopback(&url) {
            scope.wrong(
                node,
                "expected a URL with https:// (http:// is for a server on this host: 127.0.0.1, [::1])",
            );
            return None;
        }
        Some(url)
    }

    fn show(&self, value: &String, secrets: Secrets) -> Option<Yaml> {
        Url::Base.show(value, secrets)
    }
}

fn is_loopback(url: &str) -> bool {
    host_of(url).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_host() {
        for url in ["http://127.0.0.1:8000", "http://[::1]/x", "http://127.9.9.9"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://127.0.0.1.example.com", "http://localhost", "http://10.0.0.1", "http://"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
