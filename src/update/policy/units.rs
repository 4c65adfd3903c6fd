//! What `systemctl show` says of a service that runs this program.

use std::path::{Path, PathBuf};

use crate::config::settings::Role;

/// The services that we know, in the order in which they are restarted: a worker of the next version may need its controller's.
pub const UNITS: [(&str, Role); 2] =
    [("hydraneckwebrtc-controller.service", Role::Controller), ("hydraneckwebrtc.service", Role::Worker)];

/// What is asked for.
pub const PROPERTIES: &str = "LoadState,ActiveState,MainPID,NRestarts,ExecStart,Environment,StateDirectory";

/// The variable of our units that names the operator's configuration, which each start copies.
const SOURCE: &str = "NECK_SOURCE";

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "/run/credentials";

/// Where systemd makes what `StateDirectory=` names.
const STATE: &str = "/var/lib";

/// A service, as systemd has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `ActiveState`
    pub state: String,
    /// `MainPID`
    pub pid: u32,
    /// `NRestarts`
    pub restarts: u64,
    /// The program that it starts, and its arguments.
    pub command: Vec<String>,
    /// `Environment`
    pub environment: Vec<(String, String)>,
    /// The first of `StateDirectory`
    pub state_directory: Option<String>,
}

impl Unit {
    /// Reads the answer; `None`: there is no such unit.
    pub fn read(text: &str) -> Option<Unit> {
        let mut unit = Unit::default();
        let mut loaded = false;
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "LoadState" => loaded = value == "loaded",
                "ActiveState" => value.clone_into(&mut unit.state),
                "MainPID" => unit.pid = value.parse().unwrap_or_default(),
                "NRestarts" => unit.restarts = value.parse().unwrap_or_default(),
                "ExecStart" => unit.command = command(value),
                "Environment" => {
                    unit.environment = words(value).iter().filter_map(|word| pair(word)).collect()
                }
                "StateDirectory" => {
                    unit.state_directory =
                        value.split(' ').next().filter(|name| !name.is_empty()).map(str::to_owned)
                }
                _ => {}
            }
        }
        loaded.then_some(unit)
    }

    /// Whether it runs, or would like to.
    pub fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "active" | "activating" | "reloading")
    }

    /// The program that it starts.
    pub fn program(&self) -> Option<&Path> {
        self.command.first().map(Path::new)
    }

    /// The configuration that its next start reads.
    pub fn config(&self) -> Option<PathBuf> {
        let source = self.environment.iter().find(|(name, _)| name == SOURCE).map(|(_, value)| value);
        let of_flag = || {
            let at = self.command.iter().position(|word| word == "--config")?;
            self.command.get(at + 1)
        };
        source.or_else(of_flag).map(PathBuf::from)
    }

    /// The environment that it has, as far as settings depend on it.
    pub fn variables(&self, name: &str) -> Vec<(String, String)> {
        let mut variables = self.environment.clone();
        if let Some(directory) = &self.state_directory {
            variables.push(("STATE_DIRECTORY".into(), format!("{STATE}/{directory}")));
        }
        variables.push(("CREDENTIALS_DIRECTORY".into(), format!("{CREDENTIALS}/{name}")));
        variables
    }
}

/// `{ path=/usr/bin/x ; argv[]=/usr/bin/x worker --config /y ; ignore_errors=no ; … }`: the words of `argv[]`.
fn command(value: &str) -> Vec<String> {
    let rest = value.split_once("argv[]=").map(|(_, rest)| rest).unwrap_or_default();
    let argv = rest.split(" ; ").next().unwrap_or_default();
    argv.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn pair(word: &str) -> Option<(String, String)> {
    word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Words with a blank between, of which some are in quotes, as systemd shows them.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "ExecStart={ path=/usr/local/bin/hydraneckwebrtc ; argv[]=/usr/local/bin/hydraneckwebrtc worker --config /run/hydraneckwebrtc-config/worker.yaml ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\nEnvironment=NECK_SOURCE=/root/.hydraneckwebrtc/config.yaml \"A=b c\"\nMainPID=4711\nNRestarts=2\nLoadState=loaded\nActiveState=active\nStateDirectory=hydraneckwebrtc more\n";

    #[test]
    fn a_unit_is_read_as_systemd_shows_it() {
        let unit = Unit::read(SHOWN).expect("a unit");
        assert_eq!((unit.pid, unit.restarts, unit.is_up()), (4711, 2, true));
        assert_eq!(unit.program(), Some(Path::new("/usr/local/bin/hydraneckwebrtc")));
        assert_eq!(unit.config(), Some("/root/.hydraneckwebrtc/config.yaml".into()));
        let variables = unit.variables("hydraneckwebrtc.service");
        assert!(variables.contains(&("A".into(), "b c".into())), "{variables:?}");
        assert!(variables.contains(&("STATE_DIRECTORY".into(), "/var/lib/hydraneckwebrtc".into())));
        assert!(
            variables.contains(&(
                "CREDENTIALS_DIRECTORY".into(),
                "/run/credentials/hydraneckwebrtc.service".into()
            ))
        );
        let bare = Unit::read(&SHOWN.replace("NECK_SOURCE=", "OTHER=")).expect("a unit");
        assert_eq!(bare.config(), Some("/run/hydraneckwebrtc-config/worker.yaml".into()));
    }

    #[test]
    fn a_unit_that_is_not_there_is_none() {
        assert_eq!(Unit::read("LoadState=not-found\nActiveState=inactive\nExecStart=\n"), None);
        assert_eq!(Unit::read(""), None);
        let odd = Unit::read("LoadState=loaded\nActiveState=failed\nExecStart=\nEnvironment=\"\nMainPID=x\n")
            .expect("a unit");
        assert_eq!((odd.is_up(), odd.config(), odd.pid), (false, None, 0));
    }
}
