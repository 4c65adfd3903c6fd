//! Namespaces on disk, a file each: the controller's own, and a worker's copies of them.
//!
//! None of them can keep a role from starting: one that cannot be read is set aside, and whoever opened the directory says so.

use std::fs::{DirEntry, File};
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::state::NamespaceState;
use crate::host::private_dir::{DirError, PrivateDir};

/// How their names end.
const SUFFIX: &str = ".json";

/// How the name ends of one that could not be read.
const UNREADABLE: &str = ".unreadable";

/// How the name ends of one whose place another one has taken.
const REPLACED: &str = ".replaced";

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
        parsed(&text, name)
    }

    /// Writes one, whole or not at all, and durably. Two callers must not write the same one at once.
    pub fn keep(&self, state: &NamespaceState) -> Result<(), String> {
        let text = state.to_kept().map_err(|error| error.to_string())?;
        let file = format!("{}{SUFFIX}", state.name);
        self.0.replace_file(&file, &text).map_err(|error| error.to_string())
    }

    /// Leaves what is in a file beside it, under another name: another state takes its place, and is not its successor.
    pub fn set_aside(&self, name: &NamespaceName) -> Result<(), String> {
        let renamed = self.0.rename(&format!("{name}{SUFFIX}"), &format!("{name}{REPLACED}"));
        renamed.map_err(|error| error.to_string())
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
}

fn parsed(text: &[u8], name: &NamespaceName) -> Result<NamespaceState, String> {
    // What serde says may repeat a piece of the file.
    let state = NamespaceState::from_kept(text)
        .map_err(|error| format!("it is damaged, at byte {}", error.column()))?;
    state.check(name).map_err(|error| error.to_string())?;
    Ok(state)
}

/// Reads the files of a directory as they are and changes nothing there, for whoever is not its owner. The error says why the directory
/// cannot be read.
pub fn look(directory: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let is_unreadable = file.strip_suffix(UNREADABLE).and_then(|name| name.parse().ok());
        if let Some(name) = is_unreadable {
            found.unreadable.push((name, "it was set aside".to_owned()));
        }
        let Some(name) = file.strip_suffix(SUFFIX).and_then(|name| name.parse::<NamespaceName>().ok()) else {
            continue;
        };
        match read_plain(&entry).and_then(|text| parsed(&text, &name)) {
            Ok(state) => found.states.push(state),
            Err(why) => found.unreadable.push((name, why)),
        }
    }
    // What came anew is there.
    let known = |name: &NamespaceName| found.states.iter().any(|state| state.name == *name);
    let lost = found.unreadable.iter().filter(|(name, _)| !known(name)).cloned().collect();
    Ok(Found { unreadable: lost, ..found })
}

/// Links are not followed: the directory is another user's.
fn read_plain(entry: &DirEntry) -> Result<Vec<u8>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(entry.path(), flags, Mode::empty()).map_err(|error| error.to_string())?;
    let file = File::from(file);
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is no file".to_owned());
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::namespaces::state::RoomLimits;
    use crate::host::entropy;

    #[test]
    fn copies_are_looked_at_without_a_change() {
        let root = std::env::temp_dir().join(format!("neck-copies-{:016x}", entropy::number()));
        let state = PrivateDir::open(&root).unwrap();
        let (files, _) = NamespaceFiles::open(&state, "rooms").unwrap();
        for name in ["a", "b", "c"] {
            files.keep(&NamespaceState::new(name.parse().unwrap(), RoomLimits::default())).unwrap();
        }
        let directory = root.join("rooms");
        std::fs::write(directory.join("b.json"), "{half").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.join("d.json")).unwrap();
        std::fs::write(directory.join("c.json.unreadable"), "").unwrap();
        std::fs::rename(directory.join("c.json"), directory.join("c.unreadable")).unwrap();
        let names = || {
            let entries = std::fs::read_dir(&directory).unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        let found = look(&directory).unwrap();
        assert_eq!(names(), before);
        let mut unreadable: Vec<&str> = found.unreadable.iter().map(|(name, _)| name.as_str()).collect();
        unreadable.sort();
        assert_eq!((found.states.len(), unreadable), (1, vec!["b", "c", "d"]));
        assert!(found.unreadable.iter().all(|(_, why)| !why.contains("root:")), "{found:?}");
        assert!(look(&root.join("nowhere")).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
