//! The verbs of updates.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Exit;
use super::parse::Parsed;
use crate::cli::checked::checked;
use crate::cli::outcome::{Failed, say};
use crate::config::settings::Update;
use crate::config::{self, Environment};
use crate::update::{self, Finding, Order, Trouble, state};

/// systemd's name for the directory of `StateDirectory=`.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Failed {
        let exit = match trouble {
            Trouble::Unreached(_) => Exit::Unreached,
            Trouble::Config(_) => Exit::Config,
            Trouble::Busy(_) => Exit::Later,
            Trouble::Refused(_) | Trouble::Failed(_) => Exit::Failure,
        };
        Failed::new(exit, trouble)
    }
}

/// Looks whether there is a newer version.
pub(super) fn check(parsed: &Parsed, environment: Environment, stdout: &mut dyn Write) -> Result<(), Failed> {
    let settings = settings(parsed, environment)?;
    let offer = update::check(&settings, parsed.update.channel)?;
    let (runs, newest, channel) = (&offer.runs, &offer.newest, offer.channel.name());
    if parsed.client.json {
        let document = json!({
            "version": runs, "newest": newest, "channel": channel, "newer": offer.is_newer(),
        });
        return say(stdout, &format!("{document}\n"));
    }
    match offer.is_newer() {
        true => say(
            stdout,
            &format!(
                "{newest} is there ({channel}), and signed; this is {runs}. `hydraneckwebrtc update` installs it\n"
            ),
        ),
        false => say(stdout, &format!("{runs} is the newest: {channel} has {newest}\n")),
    }
}

/// Installs a newer version.
pub(super) fn update(
    parsed: &Parsed,
    environment: Environment,
    stdout: &mut dyn Write,
) -> Result<(), Failed> {
    let directory = environment.get(STATE_DIRECTORY).map(PathBuf::from);
    let order = Order {
        state: directory.unwrap_or_else(|| Path::new(state::DIRECTORY).to_owned()),
        ..parsed.update.clone()
    };
    let mut told = Ok(());
    let fallback = || settings(parsed, environment).map_err(|failed| Trouble::Config(failed.text));
    let found = update::update(&order, fallback, &mut |line| {
        if told.is_ok() {
            told = say(stdout, &format!("{line}\n"));
        }
    });
    let found = match found {
        // The timer comes again.
        Err(Trouble::Busy(text)) if order.automatic => Finding::Waits(text),
        found => found?,
    };
    // What is done is done, whether or not somebody reads of it.
    match found {
        Finding::Good(text) | Finding::Waits(text) => say(stdout, &format!("{text}\n")),
        Finding::Bad(text) => Err(Failed::new(Exit::Failure, text)),
    }
}

/// The settings of this host; without a configuration, the defaults.
fn settings(parsed: &Parsed, environment: Environment) -> Result<Update, Failed> {
    let path = config::find_path(parsed.config.as_deref(), &environment);
    let is_there = parsed.config.is_some() || path.is_some_and(|path| path.exists());
    if !is_there {
        return Ok(Update::default());
    }
    let (_, settings) = checked(parsed.config.as_deref(), parsed.role, environment)?;
    Ok(settings.update)
}
