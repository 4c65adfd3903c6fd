//! What updates remember between runs: the note of a trial, versions that were bad, and one that waits. Everybody may read it: a
//! worker rings when it is idle, and health shows it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::version::Version;
use crate::host::state_file;
use crate::update::Trouble;

/// Where it is, unless `$STATE_DIRECTORY` says otherwise, as systemd's does.
pub const DIRECTORY: &str = "/var/lib/hydraneckwebrtc-update";

/// The note of a trial. The unit that resumes one at boot looks for it.
const TRIAL: &str = "trial.json";

/// The rest.
const MEMORY: &str = "state.json";

const LOCK: &str = "lock";

/// The mode of both: everybody may read them.
const PUBLIC: u32 = 0o644;

/// Bytes of one of these files.
const MOST: u64 = 64 << 10;

/// Bad versions that are remembered: the newest.
const MOST_BAD: usize = 32;

/// A version in place that nobody has judged yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The program's path.
    pub program: PathBuf,
    /// The version that was there before.
    pub from: Version,
    /// The version on trial.
    pub to: Version,
    /// The SHA-256 of the program that was there before.
    pub old: String,
    /// That of the program on trial.
    pub new: String,
}

/// What outlives an update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Versions that were rolled back here.
    #[serde(default)]
    pub bad: Vec<Version>,
    /// The version that waits until nobody streams.
    #[serde(default)]
    pub waits: Option<Waiting>,
}

/// A version that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which it is.
    pub version: Version,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
}

impl Memory {
    /// What is remembered there; nothing where nothing can be read.
    pub fn read(directory: &Path) -> Memory {
        read(&directory.join(MEMORY)).unwrap_or_default()
    }
}

/// The directory, which is ours as long as this lives.
pub struct State {
    directory: PathBuf,
    _lock: File,
}

impl State {
    /// Makes the directory if it must, and takes its lock.
    pub fn open(directory: &Path) -> Result<State, Trouble> {
        let fail = |error: io::Error| Trouble::Failed(format!("{}: {error}", directory.display()));
        fs::create_dir_all(directory).map_err(fail)?;
        // Whatever the umask of who called us: the roles read it.
        fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(fail)?;
        let path = directory.join(LOCK);
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = options.map_err(fail)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(State { directory: directory.to_owned(), _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(Trouble::Busy(
                "another update is under way; `journalctl -u hydraneckwebrtc-update` may show it".into(),
            )),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// The note of a trial.
    pub fn trial(&self) -> Option<Trial> {
        read(&self.directory.join(TRIAL))
    }

    /// Writes the note.
    pub fn note(&self, trial: &Trial) -> io::Result<()> {
        state_file::write_with_mode(&self.directory.join(TRIAL), trial, PUBLIC)
    }

    /// Removes the note.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(self.directory.join(TRIAL)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(&self.directory)?.sync_all(),
        }
    }

    /// What is remembered.
    pub fn memory(&self) -> Memory {
        Memory::read(&self.directory)
    }

    /// Remembers this instead.
    pub fn remember(&self, memory: &Memory) -> io::Result<()> {
        state_file::write_with_mode(&self.directory.join(MEMORY), memory, PUBLIC)
    }

    /// Remembers that this version is bad.
    pub fn blame(&self, version: &Version) -> io::Result<()> {
        let mut memory = self.memory();
        memory.bad.retain(|bad| bad != version);
        memory.bad.push(version.clone());
        let old = memory.bad.len().saturating_sub(MOST_BAD);
        memory.bad.drain(..old);
        memory.waits = None;
        self.remember(&memory)
    }
}

/// The note of a trial as somebody sees it who only looks, and whether an update is under way: then the trial goes on.
pub fn trial_seen(directory: &Path) -> Option<(Trial, bool)> {
    // Before the note: an update that ends meanwhile takes it away.
    let is_under_way = match File::open(directory.join(LOCK)) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK),
        // It is for root to see. Who cannot tell does not cry.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    Some((read(&directory.join(TRIAL))?, is_under_way))
}

/// Nothing of it is worth stopping for: what cannot be read is as if it were not there.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::let_go::once_let_go;

    fn version(text: &str) -> Version {
        text.parse().expect(text)
    }

    #[test]
    fn bad_versions_are_remembered_and_two_updates_exclude_each_other() {
        let directory = std::env::temp_dir().join(format!("neck-update-state-{}", std::process::id()));
        let state = State::open(&directory).unwrap_or_else(|_| panic!("a state"));
        assert!(matches!(State::open(&directory), Err(Trouble::Busy(_))));
        assert_eq!((state.trial(), state.memory()), (None, Memory::default()));
        state.blame(&version("1.0.0")).expect("written");
        state.blame(&version("1.1.0")).expect("written");
        state.blame(&version("1.0.0")).expect("written");
        assert_eq!(state.memory().bad, [version("1.1.0"), version("1.0.0")]);
        let trial = Trial {
            program: "/usr/local/bin/x".into(),
            from: version("1.0.0"),
            to: version("1.1.0"),
            old: "a".into(),
            new: "b".into(),
        };
        state.note(&trial).expect("written");
        assert_eq!(state.trial(), Some(trial.clone()));
        assert_eq!(trial_seen(&directory), Some((trial.clone(), true)));
        drop(state);
        once_let_go(|| match trial_seen(&directory) {
            Some((seen, false)) if seen == trial => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let state = State::open(&directory).unwrap_or_else(|_| panic!("a state"));
        state.clear().expect("removed");
        state.clear().expect("nothing to remove");
        assert_eq!((state.trial(), trial_seen(&directory)), (None, None));
        fs::remove_dir_all(&directory).expect("removed");
    }
}
