//! Left-overs of an earlier run: processes that work in directories of sessions, and these directories.
//!
//! Whatever else is in the data directory is left alone: a `sessions.data_dir` that names the wrong directory must cost
//! nobody's files.
//!
//! Only called once the listening port and the data directory's lock are ours: then no other hydraneckwebrtc uses it.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::private_dir::PrivateDir;
use crate::host::process;
use crate::host::process_table;
use crate::worker::prepare::is_directory_name;

/// How long killed processes may take to go away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// What was found and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Processes that were killed.
    pub processes: usize,
    /// Directories that were removed.
    pub directories: usize,
    /// Processes that would not go away.
    pub stuck: usize,
}

/// Kills and removes everything an earlier run left below `root`.
pub fn sweep(root: &PrivateDir) -> Swept {
    let running = || process_table::working_below_entries(root.path(), is_directory_name);
    let mut swept = Swept { processes: running().len(), ..Swept::default() };
    let give_up = Instant::now() + PATIENCE;
    loop {
        let left = running();
        swept.stuck = left.len();
        if left.is_empty() || Instant::now() >= give_up {
            break;
        }
        left.iter().for_each(|info| {
            process::signal_exactly(info, Signal::KILL);
        });
        std::thread::sleep(PAUSE);
    }
    for name in root.names().unwrap_or_default().into_iter().filter(|name| is_directory_name(name)) {
        match root.remove(&name) {
            Ok(()) => swept.directories += 1,
            Err(error) => log::error!("[cleanup] ALERT cannot remove a left-over: {error}"),
        }
    }
    swept
}
