//! What the controller keeps of its workers' identities over restarts: the key of each id, and the secret from which the
//! token for each worker is made. Owned by the fleet thread.
//!
//! A key that cannot be written is believed all the same: a full disk must not take workers away. Health says so, and
//! writing is tried again. New keys are rare, so the fleet thread waits for the disk itself.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::identity::{Identities, PublicKey, from_hex, to_hex};
use crate::core::fleet::wire::CallToken;
use crate::core::ids::WorkerId;
use crate::core::time::Moment;
use crate::host::identity_key::hmac_sha256;
use crate::host::{entropy, state_file};

/// The file in the state directory.
const NAME: &str = "worker-keys.json";

/// Layout of the file.
const VERSION: u32 = 1;

/// Between two tries to write what could not be written.
const RETRY: Duration = Duration::from_secs(10);

/// Least time between two writings: whoever joins meanwhile is written with the next. Also about the time within which the loss of
/// this process may lose a key that was just learned.
const GAP: Duration = Duration::from_secs(1);

/// Of so many keys each is written before its worker is answered, however fast they come.
const FEW: usize = 64;

/// What every message that a call token is made of begins with.
const CALL_TOKEN: &str = "hydraneckwebrtc call token v1";

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    secret: String,
    keys: BTreeMap<WorkerId, PublicKey>,
}

/// The file and what cannot be shown of it.
pub struct KeyStore {
    path: PathBuf,
    secret: [u8; 32],
    /// The file of an earlier process was lost, in words; until an operator has looked and restarted.
    lost: Option<String>,
    /// It cannot be written, in words.
    unwritten: Option<String>,
    /// When to write what is not written.
    due: Option<Moment>,
    /// When it was written last.
    written: Option<Moment>,
}

impl KeyStore {
    /// Reads the file, or begins one. The identities get a challenge of this process.
    pub fn open(state: &Path) -> io::Result<(KeyStore, Identities)> {
        let path = state.join(NAME);
        let was_there = path.symlink_metadata().is_ok();
        let stored = state_file::read::<Stored>(&path)?.filter(|stored| stored.version == VERSION);
        let secret = stored.as_ref().and_then(|stored| from_hex(&stored.secret));
        let keys = stored.filter(|_| secret.is_some()).map(|stored| stored.keys);
        let is_new = keys.is_none();
        let lost = (was_there && is_new).then(|| set_aside(&path)).transpose()?;
        let store = KeyStore {
            path,
            secret: secret.unwrap_or_else(entropy::bytes),
            lost,
            unwritten: None,
            due: is_new.then(Moment::default),
            written: None,
        };
        let challenge = to_hex(&entropy::bytes::<16>());
        Ok((store, Identities::new(keys.unwrap_or_default(), challenge)))
    }

    /// The token with which a worker is called. It fits this worker and its key only, and is the same after a restart.
    pub fn call_token(&self, id: &WorkerId, key: &PublicKey) -> CallToken {
        let message = format!("{CALL_TOKEN}\n{}\n{key}", id.as_str());
        CallToken::new(to_hex(&hmac_sha256(&self.secret, message.as_bytes())))
    }

    /// Keys have changed: writes them, now or soon. When a whole fleet joins, each key's file would hold all keys before it.
    pub fn changed(&mut self, now: Moment, identities: &Identities) {
        let is_dear = identities.keys().len() > FEW;
        let pause = self.written.map(|written| written + GAP).filter(|until| is_dear && !now.reached(*until));
        match (pause, self.due) {
            (None, _) => self.save(now, identities),
            (Some(until), None) => self.due = Some(until),
            (Some(_), Some(_)) => {}
        }
    }

    fn save(&mut self, now: Moment, identities: &Identities) {
        self.written = Some(now);
        let stored =
            Stored { version: VERSION, secret: to_hex(&self.secret), keys: identities.keys().clone() };
        match state_file::write(&self.path, &stored) {
            Ok(()) => {
                self.due = None;
                if self.unwritten.take().is_some() {
                    log::info!("[controller] {} is written", self.path.display());
                }
            }
            Err(error) => {
                let why = format!(
                    "the workers' keys cannot be written to {}: {error}; after a restart the controller would believe anybody: \
                     make room, or make it writable",
                    self.path.display()
                );
                if self.unwritten.as_ref() != Some(&why) {
                    log::error!("[controller] ALERT {why}");
                }
                (self.unwritten, self.due) = (Some(why), Some(now + RETRY));
            }
        }
    }

    /// Tries again what could not be written, when it is time. Whether something changed for health.
    pub fn tick(&mut self, now: Moment, identities: &Identities) -> bool {
        let is_due = self.due.is_some_and(|due| now.reached(due));
        if is_due {
            self.save(now, identities);
        }
        is_due
    }

    /// What is wrong with the file, for health.
    pub fn trouble(&self) -> Option<&str> {
        self.unwritten.as_deref().or(self.lost.as_deref())
    }
}

/// `state_file` has moved what is no JSON of this form; a file of another version is moved here.
fn set_aside(path: &Path) -> io::Result<String> {
    let aside = path.with_extension("unreadable");
    match std::fs::rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let text = format!(
        "the workers' keys were unreadable and set aside as {}; keys are learned anew, so make sure that GET /api/v1/workers \
         lists your workers only, or put a good file back, then restart",
        aside.display()
    );
    log::error!("[controller] ALERT {text}");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> PathBuf {
        let base = std::env::temp_dir().join(format!("neck-keys-{:016x}", entropy::number()));
        fs::create_dir(&base).unwrap();
        base
    }

    fn name(text: &str) -> WorkerId {
        text.parse().unwrap()
    }

    #[test]
    fn keys_and_call_tokens_outlive_the_process_and_the_challenge_does_not() {
        let base = directory();
        let (mut store, mut identities) = KeyStore::open(&base).unwrap();
        let key = PublicKey::from([3; 32]);
        identities.remember(&name("a"), key);
        store.changed(Moment(0), &identities);
        let mode = fs::metadata(base.join(NAME)).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, store.trouble()), (0o600, None));
        let (again, known) = KeyStore::open(&base).unwrap();
        assert_eq!(known.key(&name("a")), Some(&key));
        assert_eq!(again.call_token(&name("a"), &key), store.call_token(&name("a"), &key));
        assert_ne!(known.challenge(), identities.challenge());
        let others =
            [store.call_token(&name("b"), &key), store.call_token(&name("a"), &PublicKey::from([4; 32]))];
        assert!(others.iter().all(|other| *other != store.call_token(&name("a"), &key)));
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_fleet_that_joins_at_once_is_not_written_once_per_worker() {
        let base = directory();
        let (mut store, mut identities) = KeyStore::open(&base).unwrap();
        let written = || KeyStore::open(&base).unwrap().1.keys().len();
        for n in 0..200u8 {
            identities.remember(&name(&format!("w{n}")), PublicKey::from([n; 32]));
            store.changed(Moment(10 + u64::from(n)), &identities);
        }
        assert_eq!(written(), FEW, "the first at once, the rest together");
        // The last one that was written at once came at 73 ms.
        assert!(!store.tick(Moment(1_072), &identities));
        assert!(store.tick(Moment(1_073), &identities));
        assert_eq!(written(), 200);
        assert!(!store.tick(Moment(5_000), &identities), "there is nothing more to write");
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn an_unreadable_file_is_set_aside_and_told() {
        let base = directory();
        for bad in [
            "{half",
            "{}",
            r#"{"version":9,"secret":"","keys":{}}"#,
            r#"{"version":1,"secret":"00","keys":{}}"#,
        ] {
            fs::write(base.join(NAME), bad).unwrap();
            let (mut store, identities) = KeyStore::open(&base).unwrap();
            assert!(store.trouble().is_some_and(|text| text.contains("worker-keys.unreadable")), "{bad}");
            assert!(base.join("worker-keys.unreadable").exists() && identities.keys().is_empty());
            assert!(store.tick(Moment(0), &identities));
            assert!(
                store.trouble().is_some_and(|text| text.contains("learned anew")),
                "an operator has to look"
            );
            assert_eq!(KeyStore::open(&base).unwrap().0.trouble(), None);
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_told_and_tried_again() {
        let base = directory();
        let (mut store, identities) = KeyStore::open(&base).unwrap();
        // What stands in the way of the file is set aside: only the directory's own absence is left.
        let away = base.with_extension("away");
        fs::rename(&base, &away).unwrap();
        assert!(store.tick(Moment(0), &identities));
        assert!(
            store.trouble().is_some_and(|text| text.contains("cannot be written")),
            "{:?}",
            store.trouble()
        );
        fs::rename(&away, &base).unwrap();
        assert!(!store.tick(Moment(9_999), &identities));
        assert!(store.tick(Moment(10_000), &identities));
        assert_eq!(store.trouble(), None);
        assert!(base.join(NAME).exists());
        fs::remove_dir_all(base).unwrap();
    }
}
