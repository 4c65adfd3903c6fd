//! The kinds of the settings of updates.

use std::net::IpAddr;

use serde_yaml::Value as Yaml;

use crate::config::addresses::{Url, host_of};
use crate::config::document::Node;
use crate::config::kinds::{Choice, Kind, Scope, Secrets};
use crate::config::settings::{AutoUpdate, Channel};

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
