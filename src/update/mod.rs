//! Updates of this program: finds out what there is, puts it in place, and takes it back if it is bad. All of it runs in a process of
//! its own, as root; the roles only look and show.
//!
//! ```text
//! release server ─▶ Source ─▶ new file ─▶ `version`, `validate` ─▶ update::policy::machine ─▶ Program, Service, State
//! ```

pub mod checker;
pub mod policy;
mod program;
mod run;
mod services;
mod source;
pub mod state;
mod trouble;

pub use crate::update::trouble::Trouble;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::config::settings::{Channel, Update};
pub use crate::core::version::Version;
use crate::host::command;
use crate::update::policy::release;

pub use run::{Finding, update};
use source::Source;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// This version; default: the newest.
    pub to: Option<Version>,
    /// Of this channel; default: `update.channel`.
    pub channel: Option<Channel>,
    /// As the timer does it.
    pub automatic: bool,
    /// Only end an update that was interrupted.
    pub resume: bool,
    /// Where the state of updates is.
    pub state: PathBuf,
}

/// What the release server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The version that runs.
    pub runs: Version,
    /// The newest of the channel.
    pub newest: Version,
    /// The channel.
    pub channel: Channel,
}

impl Offer {
    /// Whether it is worth an update.
    pub fn is_newer(&self) -> bool {
        self.newest > self.runs
    }
}

/// The version of this program.
pub fn own_version() -> Result<Version, Trouble> {
    let text = env!("CARGO_PKG_VERSION");
    text.parse().map_err(|error| {
        Trouble::Failed(format!("this program's own version, {text}, cannot be compared: {error}"))
    })
}

/// How many keys are believed to sign releases, or why those of `update.key_file` cannot be read.
pub fn believed(update: &Update) -> Result<usize, String> {
    source::keys(update.key_file.as_deref()).map(|keys| keys.len())
}

/// Whether a Debian package put this file in place.
pub fn is_packaged(program: &Path, patience: Duration) -> bool {
    let mut query = Command::new("dpkg-query");
    query.arg("--search").arg(program).env("LC_ALL", "C");
    command::run(&mut query, patience).is_ok_and(|ended| ended.good)
}

/// Looks what there is. What is newer is believed only if it is signed.
pub fn check(update: &Update, channel: Option<Channel>) -> Result<Offer, Trouble> {
    let channel = channel.unwrap_or(update.channel);
    let source = Source::new(update, channel)?;
    let offer = Offer { runs: own_version()?, newest: source.latest()?, channel };
    if offer.is_newer() {
        source.hash(&offer.newest, &release::program(std::env::consts::ARCH))?;
    }
    Ok(offer)
}
