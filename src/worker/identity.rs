//! Who this worker is: its name over restarts, and its generation, which only grows.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::core::fleet::wire::Generation;
use crate::core::ids::WorkerId;
use crate::host::{clock, entropy, state_file};

/// The file in the state directory.
const NAME: &str = "worker.json";

/// Layout of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    worker_id: WorkerId,
    boot_ms: u64,
}

/// Reads the identity and begins a new generation. A configured name wins over the stored one.
pub fn settle(state: &Path, configured: Option<&WorkerId>) -> io::Result<(WorkerId, Generation)> {
    let path = state.join(NAME);
    let stored: Option<Stored> = state_file::read(&path)?;
    let known = stored.as_ref().map(|stored| stored.worker_id.clone());
    let worker_id = configured.cloned().or(known).unwrap_or_else(|| WorkerId::from_entropy(entropy::bytes()));
    // A clock that was set back must not make this run look older than the last one.
    let after_last = stored.map_or(0, |stored| stored.boot_ms.saturating_add(1));
    let generation = Generation { boot_ms: clock::unix_millis().max(after_last), nonce: entropy::number() };
    let stored = Stored { version: VERSION, worker_id: worker_id.clone(), boot_ms: generation.boot_ms };
    state_file::write(&path, &stored)?;
    Ok((worker_id, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_and_the_generation_grows_even_when_the_clock_goes_back() {
        let base = std::env::temp_dir().join(format!("neck-id-{:016x}", entropy::number()));
        std::fs::create_dir(&base).unwrap();
        let (name, first) = settle(&base, None).unwrap();
        let future = Stored { version: VERSION, worker_id: name.clone(), boot_ms: first.boot_ms + 1_000_000 };
        state_file::write(&base.join(NAME), &future).unwrap();
        let (again, second) = settle(&base, None).unwrap();
        assert_eq!(name, again);
        assert_eq!(second.boot_ms, first.boot_ms + 1_000_001);
        let configured: WorkerId = "neck-1".parse().unwrap();
        assert_eq!(settle(&base, Some(&configured)).unwrap().0, configured);
        std::fs::remove_dir_all(base).unwrap();
    }
}
