//! Pairings that outlive their session (`sessions.keep_pairing`): one per body, with the stream process's own state, which
//! has its key.
//!
//! The state is read at the end of the session that paired, when its process is dead, and given to the next one of that
//! body. A body that does not know the client any more is paired anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::body::left::{Attempt, Left};
use crate::core::ids::BodyAddr;
use crate::engine::moonlight::pairing::Known;
use crate::host::private_dir::{DirError, PrivateDir};

/// Below the directory about bodies.
const DIRECTORY: &str = "kept";

/// How file names end.
const SUFFIX: &str = ".json";

/// Largest state of a stream process that is kept; real ones have some kilobytes.
pub const STATE_LIMIT: u64 = 256 * 1024;

/// Largest file that is read: the state, quoted.
const FILE_LIMIT: u64 = 2 * STATE_LIMIT;

/// Layout of the files.
const VERSION: u32 = 1;

/// A pairing, and the state that it lives in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Kept {
    version: u32,
    body: BodyAddr,
    user: String,
    host_id: u64,
    /// The stream process's own words, with a private key: never for a log.
    state: String,
}

impl Kept {
    /// A pairing that was just used.
    pub fn new(body: BodyAddr, known: &Known, state: String) -> Kept {
        Kept { version: VERSION, body, user: known.user.clone(), host_id: known.host_id, state }
    }

    /// What the process knows it by.
    pub fn known(&self) -> Known {
        Known { user: self.user.clone(), host_id: self.host_id }
    }

    /// What the process is given.
    pub fn state(&self) -> &str {
        &self.state
    }
}

/// All of them.
pub struct KeptPairings {
    dir: PrivateDir,
    all: Mutex<Vec<Kept>>,
}

impl KeptPairings {
    /// Those of earlier runs; what cannot be read is removed.
    pub fn open(bodies: &PrivateDir) -> Result<KeptPairings, DirError> {
        let dir = bodies.open_below(DIRECTORY)?;
        dir.remove_unfinished()?;
        let mut all = Vec::new();
        for name in dir.names()?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
            let content = dir.read_own(&name, FILE_LIMIT)?.unwrap_or_default();
            match serde_json::from_slice::<Kept>(&content) {
                Ok(kept) if kept.version == VERSION => all.push(kept),
                _ => dir.remove(&name)?,
            }
        }
        Ok(KeptPairings { dir, all: Mutex::new(all) })
    }

    /// The pairing with this body.
    pub fn of(&self, body: BodyAddr) -> Option<Kept> {
        self.all().iter().find(|kept| kept.body == body).cloned()
    }

    /// Keeps a pairing instead of the one that is kept for its body. When this fails, none is kept.
    pub fn keep(&self, kept: Kept) -> Result<(), DirError> {
        let name = file_name(kept.body);
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        self.forget(kept.body);
        self.dir.replace_file(&name, &text)?;
        self.all().push(kept);
        Ok(())
    }

    /// It is good for nothing any more.
    pub fn forget(&self, body: BodyAddr) {
        self.all().retain(|kept| kept.body != body);
        if let Err(error) = self.dir.remove(&file_name(body)) {
            log::warn!("[state] cannot remove a kept pairing: {error}");
        }
    }

    /// Nothing is to be kept any more: what is to be unpaired instead.
    pub fn release(&self) -> Vec<(BodyAddr, Left)> {
        let all: Vec<Kept> = self.all().clone();
        let released = |kept: &Kept| {
            self.forget(kept.body);
            let client = Attempt { name: kept.user.clone(), paired: true };
            (kept.body, Left { clients: vec![client], ..Left::default() })
        };
        all.iter().map(released).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file_name(body: BodyAddr) -> String {
    format!("{body}{SUFFIX}")
}
