//! What a controller without a lease keeps over restarts of copies that sessions left behind ([`crate::core::fleet::left_behind`]). Controllers with
//! a lease keep it in etcd. Owned by the fleet thread.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::Fleet;
use crate::core::fleet::bodies::BodyEntry;
use crate::core::time::Moment;
use crate::host::state_file;

/// The file in the state directory.
const NAME: &str = "left-behind.json";

/// Layout of the file.
const VERSION: u32 = 1;

/// Least time between two writings, and before what could not be written is tried again: the file is written whole. A process that is killed meanwhile
/// takes along what it learned since.
const GAP: Duration = Duration::from_secs(1);

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// In the form of the table of bodies.
    entries: Vec<String>,
}

/// Where it is, and whether it is as it should be.
pub struct LeftStore {
    path: PathBuf,
    /// Something is not written yet.
    is_old: bool,
    written: Option<Moment>,
    /// It could not be written, as the log said.
    failed: bool,
}

impl LeftStore {
    /// Reads the file. What is no entry is left out.
    pub fn open(state: &Path) -> io::Result<(LeftStore, Vec<BodyEntry>)> {
        let path = state.join(NAME);
        let stored = state_file::read::<Stored>(&path)?.filter(|stored| stored.version == VERSION);
        let entries = stored.map(|stored| stored.entries).unwrap_or_default();
        let entries = entries.iter().filter_map(|entry| entry.parse().ok());
        let entries: Vec<BodyEntry> = entries.filter(BodyEntry::is_left).collect();
        Ok((LeftStore { path, is_old: false, written: None, failed: false }, entries))
    }

    /// Writes what the books have, if something changed and it is time.
    pub fn keep(&mut self, now: Moment, fleet: &mut Fleet) {
        let changes = fleet.take_body_changes();
        // Nobody leads next, and a full disk must not hold up workers.
        fleet.bodies_written(&changes);
        self.is_old |= !changes.is_empty();
        if !self.is_old || self.written.is_some_and(|written| !now.reached(written + GAP)) {
            return;
        }
        self.written = Some(now);
        let entries = fleet.left_behind().map(|entry| entry.to_string()).collect();
        match state_file::write(&self.path, &Stored { version: VERSION, entries }) {
            Ok(()) => (self.is_old, self.failed) = (false, false),
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    log::error!(
                        "[controller] ALERT which sessions moved away from workers that are not heard of cannot be written to {}: {error}; make room, \
                         or make it writable",
                        self.path.display()
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Role, Settings};
    use crate::core::fleet::FleetSettings;
    use crate::host::entropy;

    fn books() -> Fleet {
        Fleet::new(Moment(0), FleetSettings::from(&Settings::defaults(Role::Controller)))
    }

    #[test]
    fn what_was_left_behind_outlives_the_process_and_what_is_no_entry_is_left_out() {
        let base = std::env::temp_dir().join(format!("neck-left-{:016x}", entropy::number()));
        std::fs::create_dir(&base).unwrap();
        let (mut store, none) = LeftStore::open(&base).unwrap();
        assert!(none.is_empty());
        let entry = "a/10.0.0.7/0000000a.0.left";
        let mut fleet = books();
        fleet.set_left_behind(Moment(0), &[]);
        store.keep(Moment(0), &mut fleet);
        assert!(!base.join(NAME).exists(), "nothing to keep");
        let text = format!(r#"{{"version":1,"entries":["{entry}","b/10.0.0.7/0000000a.1","?"]}}"#);
        std::fs::write(base.join(NAME), text).unwrap();
        let (mut store, entries) = LeftStore::open(&base).unwrap();
        assert_eq!(entries, [entry.parse().unwrap()], "the other one holds a body, and is none of this file");
        let mut fleet = books();
        fleet.set_left_behind(Moment(0), &entries);
        let _ = fleet.forget(Moment(0), &"a".parse().unwrap());
        store.keep(Moment(0), &mut fleet);
        assert_eq!(LeftStore::open(&base).unwrap().1, [], "an operator has forgotten the worker");
        std::fs::remove_dir_all(base).unwrap();
    }
}
