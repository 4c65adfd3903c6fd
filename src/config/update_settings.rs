//! Checked settings of updates.

use std::path::PathBuf;
use std::time::Duration;

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
        [Channel::Production, Channel::Staging].into_iter().find(|channel| channel.name() == name)
    }
}
