//! Who this worker is: its name and its key over restarts, and its generation, which only grows.
//!
//! The key is made once. It is what the name belongs to: a controller that has seen it once takes beats under this
//! name from no other key. A key that is lost is made anew, and an operator has to let the controller forget the old one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::core::fleet::identity::{from_hex, to_hex};
use crate::core::fleet::wire::Generation;
use crate::core::ids::WorkerId;
use crate::host::identity_key::{self, IdentityKey};
use crate::host::{clock, entropy, state_file};

/// The file in the state directory.
const NAME: &str = "worker.json";

/// The key's file beside it.
const KEY_NAME: &str = "worker-key.json";

/// Layout of both files.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    worker_id: WorkerId,
    boot_ms: u64,
    /// `controller.token` administers nothing, as the controller said last.
    #[serde(default)]
    heartbeats_only: bool,
}

/// The seed is the secret. No `Debug`.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    version: u32,
    ed25519_seed: String,
}

/// Who this process is.
#[derive(Debug)]
pub struct Identity {
    /// Its name.
    pub id: WorkerId,
    /// Its run.
    pub generation: Generation,
    /// What its name belongs to.
    pub key: IdentityKey,
    /// Whether `controller.token` was good for heartbeats only when this was last written.
    pub heartbeats_only: bool,
    /// Where that is kept.
    pub file: IdentityFile,
}

/// The file of a run, to be written anew.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    id: WorkerId,
    boot_ms: u64,
    /// Each of the heartbeat threads may write it.
    writing: Mutex<()>,
}

impl IdentityFile {
    /// Writes the file, with what holds when its turn has come.
    pub fn write(&self, heartbeats_only: impl FnOnce() -> bool) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let heartbeats_only = heartbeats_only();
        let (worker_id, boot_ms) = (self.id.clone(), self.boot_ms);
        state_file::write(&self.path, &Stored { version: VERSION, worker_id, boot_ms, heartbeats_only })
    }
}

/// Reads the identity, or makes one, and begins a new generation. A configured name wins over the stored one.
pub fn settle(state: &Path, configured: Option<&WorkerId>) -> io::Result<Identity> {
    let path = state.join(NAME);
    let stored: Option<Stored> = state_file::read(&path)?;
    let stored_by_us = stored.as_ref().map(|stored| stored.worker_id.clone());
    let id = configured
        .cloned()
        .or(stored_by_us.clone())
        .unwrap_or_else(|| WorkerId::from_entropy(entropy::bytes()));
    // A clock that was set back must not make this run look older than the last one.
    let after_last = stored.as_ref().map_or(0, |stored| stored.boot_ms.saturating_add(1));
    let generation = Generation { boot_ms: clock::unix_millis().max(after_last), nonce: entropy::number() };
    let key = settle_key(&state.join(KEY_NAME))?;
    let heartbeats_only = stored.is_some_and(|stored| stored.heartbeats_only);
    let boot_ms = generation.boot_ms;
    let file = IdentityFile { path, id: id.clone(), boot_ms, writing: Mutex::new(()) };
    if let Err(error) = file.write(|| heartbeats_only) {
        // What is known of us is on the disk. A disk without room must not keep a worker from coming back.
        if stored_by_us.as_ref() != Some(&id) {
            return Err(error);
        }
        log::error!(
            "[worker] ALERT {NAME} cannot be written: {error}; going on as {id}, which stands there already"
        );
    }
    log::info!("[worker] {id} proves itself by the key sha256 {}", identity_key::fingerprint(key.public()));
    Ok(Identity { id, generation, key, heartbeats_only, file })
}

fn settle_key(path: &Path) -> io::Result<IdentityKey> {
    let was_there = path.symlink_metadata().is_ok();
    let stored = state_file::read::<StoredKey>(path)?.filter(|stored| stored.version == VERSION);
    let seed = stored.and_then(|stored| from_hex(&stored.ed25519_seed));
    if let Some(key) = seed.and_then(|seed| IdentityKey::from_seed(&seed)) {
        return Ok(key);
    }
    if was_there {
        set_aside(path)?;
    }
    let seed: [u8; 32] = entropy::bytes();
    let key = IdentityKey::from_seed(&seed).ok_or_else(|| io::Error::other("cannot make a key pair"))?;
    state_file::write(path, &StoredKey { version: VERSION, ed25519_seed: to_hex(&seed) })?;
    Ok(key)
}

/// What is there is no key of ours. `state_file` has moved what is no JSON of this form; the rest is moved here.
fn set_aside(path: &Path) -> io::Result<()> {
    let aside = path.with_extension("unreadable");
    match std::fs::rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    log::error!(
        "[worker] the key of this worker is unreadable and was set aside as {}; it has a new one now, and a controller that \
         knows the old one refuses it: put the old file back and restart, or call DELETE /api/v1/workers/ID on the controller",
        aside.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> PathBuf {
        let base = std::env::temp_dir().join(format!("neck-id-{:016x}", entropy::number()));
        fs::create_dir(&base).unwrap();
        base
    }

    #[test]
    fn the_name_stays_and_the_generation_grows_even_when_the_clock_goes_back() {
        let base = directory();
        let Identity { id: name, generation: first, .. } = settle(&base, None).unwrap();
        let future = Stored {
            version: VERSION,
            worker_id: name.clone(),
            boot_ms: first.boot_ms + 1_000_000,
            heartbeats_only: true,
        };
        state_file::write(&base.join(NAME), &future).unwrap();
        let Identity { id: again, generation: second, heartbeats_only, .. } = settle(&base, None).unwrap();
        assert!(heartbeats_only);
        assert_eq!(name, again);
        assert_eq!(second.boot_ms, first.boot_ms + 1_000_001);
        let configured: WorkerId = "neck-1".parse().unwrap();
        assert_eq!(settle(&base, Some(&configured)).unwrap().id, configured);
        fs::remove_dir_all(base).unwrap();
    }

    // SPEC 4: A worker's key is made once, readable by its owner only; one that is lost is told
    // with what to do, as are the controller's; a state directory that cannot be used ends the
    // start
    // Also: `a_key_file_that_makes_no_sense_is_set_aside_and_a_key_is_made`,
    // `a_lost_key_is_told_with_what_to_do`, `an_unreadable_file_is_set_aside_and_told`,
    // `what_cannot_be_written_is_told_and_tried_again`,
    // `a_state_directory_that_cannot_be_used_ends_the_start_with_words`,
    // `what_stands_in_place_of_the_keys_is_set_aside_and_the_controller_starts`
    #[test]
    fn the_key_is_made_once_and_readable_by_its_owner_only() {
        let base = directory();
        let first = *settle(&base, None).unwrap().key.public();
        let mode = fs::metadata(base.join(KEY_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other_name: WorkerId = "neck-2".parse().unwrap();
        assert_eq!(*settle(&base, Some(&other_name)).unwrap().key.public(), first);
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_key_file_that_makes_no_sense_is_set_aside_and_a_key_is_made() {
        let base = directory();
        let first = *settle(&base, None).unwrap().key.public();
        let whole = fs::read_to_string(base.join(KEY_NAME)).unwrap();
        for bad in [
            String::new(),
            "{half".to_owned(),
            "{}".to_owned(),
            whole.replacen("\"version\":1", "\"version\":9", 1),
            r#"{"version":1,"ed25519_seed":"00"}"#.to_owned(),
        ] {
            fs::write(base.join(KEY_NAME), &bad).unwrap();
            let identity = settle(&base, None).unwrap();
            assert_ne!(*identity.key.public(), first, "{bad}");
            assert_eq!(fs::read_to_string(base.join("worker-key.unreadable")).unwrap(), bad);
            assert_eq!(settle(&base, None).unwrap().key.public(), identity.key.public());
        }
        fs::write(base.join(KEY_NAME), whole).unwrap();
        assert_eq!(*settle(&base, None).unwrap().key.public(), first, "the old file was put back");
        fs::remove_dir_all(base).unwrap();
    }
}
