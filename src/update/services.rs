//! The services of this host that run the program: what systemd says of them, what their configuration is, and what they answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::config::local::Local;
use crate::config::settings::{Role, Settings};
use crate::config::{self, Environment, Source};
use crate::core::fleet::SETTLING_BEATS;
use crate::core::version::Version;
use crate::host::command::{self, Ended};
use crate::host::own_role::OwnRole;
use crate::update::Trouble;
use crate::update::policy::people::People;
use crate::update::policy::units::{PROPERTIES, UNITS, Unit};
use crate::update::policy::watch::{Answer, Seen};

/// systemd answers at once.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// What a restart may take beyond the drain: to end what is left, and to start (TimeoutStartSec of the units is 90 s at most).
const RESTART_MARGIN: Duration = Duration::from_secs(5 * 60);

/// One look at a role's health.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// What `NEW version` may take.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// What `NEW validate` may take: it looks names up.
const VALIDATE_TIMEOUT: Duration = Duration::from_secs(120);

/// A service that runs the program.
pub struct Service {
    /// Its unit's name.
    pub unit: &'static str,
    /// Its role.
    pub role: Role,
    /// The configuration that its next start reads.
    pub config: PathBuf,
    /// What is set in its environment.
    pub variables: Vec<(String, String)>,
    /// What is in that file.
    pub settings: Settings,
    own: OwnRole,
}

/// Every service that is up and runs this program. One that is stopped stays so, and starts as what is in place then.
pub fn running(program: &Path) -> Result<Vec<Service>, Trouble> {
    services(program, Unit::is_up)
}

/// The same with those that would run, but fail.
pub fn wanted(program: &Path) -> Result<Vec<Service>, Trouble> {
    services(program, |unit| unit.is_up() || unit.state == "failed")
}

fn services(program: &Path, which: fn(&Unit) -> bool) -> Result<Vec<Service>, Trouble> {
    let mut found = Vec::new();
    for (name, role) in UNITS {
        let Some(unit) = show(name)? else { continue };
        let runs = unit.program().and_then(|path| fs::canonicalize(path).ok());
        if which(&unit) && runs.as_deref() == Some(program) {
            found.push(Service::of(name, role, &unit)?);
        }
    }
    Ok(found)
}

/// What systemd says of a unit; `None`: there is no such unit, or no systemd.
fn show(name: &str) -> Result<Option<Unit>, Trouble> {
    match systemctl(&["show", "--property", PROPERTIES, name], ASK_TIMEOUT) {
        Ok(ended) if ended.good => Ok(Unit::read(&ended.said)),
        Ok(ended) => Err(Trouble::Failed(format!("systemctl show {name}: {}", ended.why))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Trouble::Failed(format!("systemctl: {error}"))),
    }
}

fn systemctl(arguments: &[&str], limit: Duration) -> io::Result<Ended> {
    command::run(Command::new("systemctl").args(arguments).env("SYSTEMD_COLORS", "0"), limit)
}

impl Service {
    fn of(name: &'static str, role: Role, unit: &Unit) -> Result<Service, Trouble> {
        let fail = |text: String| Trouble::Config(format!("{name}: {text}"));
        let config = unit.config().ok_or_else(|| fail("its unit names no configuration".into()))?;
        let variables = unit.variables(name);
        let environment = Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())));
        let source = Source::read(&config, environment).map_err(fail)?;
        let settings = config::load(&source, role).map_err(|problems| fail(problems.to_string()))?;
        let local = Local::of(&settings).ok_or_else(|| {
            fail("server.listen leaves the port to the system, so that nobody can see whether a new version is ready".into())
        })?;
        let own = OwnRole::new(&local, None, HEALTH_TIMEOUT);
        Ok(Service { unit: name, role, config, variables, settings, own })
    }

    /// Restarts it; until it says that it is ready, or not.
    pub fn restart(&self) -> Result<(), String> {
        let limit = self.settings.drain_timeout + RESTART_MARGIN;
        match systemctl(&["restart", self.unit], limit) {
            Ok(ended) if ended.good => Ok(()),
            Ok(ended) => Err(format!("{} does not start: {}", self.unit, ended.why)),
            Err(error) => Err(format!("systemctl: {error}")),
        }
    }

    /// What it waits for before it is ready.
    pub fn waits(&self) -> Duration {
        match self.role {
            Role::Controller => self.settings.workers.heartbeat_interval.saturating_mul(SETTLING_BEATS),
            Role::Worker => Duration::ZERO,
        }
    }

    /// What is seen of it now.
    pub fn look(&self) -> Result<Seen, String> {
        let unit = show(self.unit).map_err(|trouble| trouble.to_string())?;
        let unit = unit.ok_or_else(|| format!("{} is gone", self.unit))?;
        Ok(Seen { state: unit.state, pid: unit.pid, restarts: unit.restarts, answer: self.answer() })
    }

    /// What it answers.
    pub fn answer(&self) -> Answer {
        match self.health() {
            Ok((ready, health)) => {
                let version = health["version"].as_str().unwrap_or_default().to_owned();
                if ready { Answer::Ready(version) } else { Answer::NotReady(version) }
            }
            Err(why) => Answer::Silent(why),
        }
    }

    /// How many sessions and members of rooms a restart would disturb. A controller's go on without it. An error: a worker does not
    /// say, and may have some.
    pub fn disturbed(&self) -> Result<u64, String> {
        if self.role == Role::Controller {
            return Ok(0);
        }
        let (_, health) = self.health()?;
        People::of(&health).map(People::count).ok_or_else(|| "its health tells of no sessions".to_owned())
    }

    fn health(&self) -> Result<(bool, Value), String> {
        self.own.health("?ready").map(|(status, health)| (status == 200, health))
    }

    /// Whether a new program takes its configuration.
    pub fn validate(&self, new: &Path) -> Result<(), String> {
        let mut command = command::bare(new);
        command.args(["validate", "--role", self.role.name(), "--config"]).arg(&self.config);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        match command::run(&mut command, VALIDATE_TIMEOUT) {
            Ok(ended) if ended.good => Ok(()),
            Ok(ended) => {
                Err(format!("it refuses the configuration {}: {}", self.config.display(), ended.why))
            }
            Err(error) => Err(format!("it cannot be run: {error}")),
        }
    }
}

/// Whether the program says that it is this version.
pub fn says_version(new: &Path, version: &Version) -> Result<(), String> {
    let ended = command::run(command::bare(new).arg("version"), VERSION_TIMEOUT);
    let ended = ended.map_err(|error| format!("it cannot be run: {error}"))?;
    let said = ended.said.lines().next().unwrap_or_default();
    match ended.good {
        true if said == format!("hydraneckwebrtc {version}") => Ok(()),
        true => Err(format!("it says that it is {:?}", crate::logging::clean(said))),
        false => Err(format!("it fails when asked for its version: {}", ended.why)),
    }
}
