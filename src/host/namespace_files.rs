//! Namespaces on disk, a file each: the controller's own, and a worker's copies of them.
//!
//! None of them can keep a role from starting: one that cannot be read is set aside, and whoever opened the directory says so.

use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::state::NamespaceState;
use crate::host::private_dir::{DirError, PrivateDir};

/// How their names end.
const SUFFIX: &str = ".json";

/// How the name ends of one that could not be read.
const UNREADABLE: &str = ".unreadable";

/// Largest file: the tokens that a namespace may have take a third of it.
const LIMIT: u64 = 1 << 20;

/// A directory of such files.
#[derive(Debug)]
pub struct NamespaceFiles(PrivateDir);

/// What was found in it.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that are good.
    pub states: Vec<NamespaceState>,
    /// Those that are not, and why.
    pub unreadable: Vec<(NamespaceName, String)>,
}

impl NamespaceFiles {
    /// Opens the directory of this name below a role's state directory, and reads what is there.
    pub fn open(state: &PrivateDir, directory: &str) -> Result<(NamespaceFiles, Found), DirError> {
        let files = NamespaceFiles(state.open_below(directory)?);
        files.0.remove_unfinished()?;
        let mut found = Found::default();
        for file in files.0.names()? {
            let Some(name) = file.strip_suffix(SUFFIX).and_then(|name| name.parse::<NamespaceName>().ok())
            else {
                continue;
            };
            match files.read(&file, &name) {
                Ok(state) => found.states.push(state),
                Err(why) => {
                    // Best effort: the next one of this name replaces it anyway.
                    let _ = files.0.rename(&file, &format!("{name}{UNREADABLE}"));
                    found.unreadable.push((name, why));
                }
            }
        }
        Ok((files, found))
    }

    fn read(&self, file: &str, name: &NamespaceName) -> Result<NamespaceState, String> {
        let text = self.0.read_own(file, LIMIT).map_err(|error| error.to_string())?;
        let text = text.ok_or("it was no file of ours")?;
        // What serde says may repeat a piece of the file.
        let state: NamespaceState = serde_json::from_slice(&text)
            .map_err(|error| format!("it is damaged, at byte {}", error.column()))?;
        state.check(name).map_err(|error| error.to_string())?;
        Ok(state)
    }

    /// Writes one, whole or not at all, and durably. Two callers must not write the same one at once.
    pub fn keep(&self, state: &NamespaceState) -> Result<(), String> {
        let text = serde_json::to_vec(state).map_err(|error| error.to_string())?;
        let file = format!("{}{SUFFIX}", state.name);
        self.0.replace_file(&file, &text).map_err(|error| error.to_string())
    }

    /// Takes one away.
    pub fn remove(&self, name: &NamespaceName) -> Result<(), DirError> {
        self.0.remove(&format!("{name}{SUFFIX}"))?;
        self.0.sync()
    }

    /// Writes another small file beside them.
    pub fn keep_beside(&self, file: &str, text: &[u8]) -> Result<(), String> {
        self.0.replace_file(file, text).map_err(|error| error.to_string())
    }

    /// Reads it; `None`: there is none that can be read.
    pub fn read_beside(&self, file: &str) -> Option<Vec<u8>> {
        let is_there = self.0.names().is_ok_and(|names| names.iter().any(|name| name == file));
        is_there.then(|| self.0.read_own(file, LIMIT).ok().flatten()).flatten()
    }
}
