//! Keeps the [`Fence`] of this worker: in memory for every call, on disk for the next run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::api::reply::Answer;
use crate::core::fleet::fence::{Caller, Fence, Fenced};
use crate::core::fleet::turns::Fault;
use crate::core::fleet::wire::{FAULT_FIELD, Generation, LEASE_FIELD};
use crate::host::clock::Clock;
use crate::host::state_file;
use crate::worker::ring::Ring;

/// The file in the state directory.
const NAME: &str = "lease.json";

/// Its layout.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    number: u64,
}

/// Shared by the API, the `cleanup` thread and the heartbeats.
#[derive(Clone)]
pub struct LeaseFence(Arc<Shared>);

struct Shared {
    fence: Mutex<Fence>,
    path: PathBuf,
    /// This run.
    generation: Generation,
    clock: Clock,
    /// A new leader waits for a heartbeat that knows of it.
    changed: Ring,
}

/// Why a call of a controller is not carried out.
#[derive(Debug)]
pub enum Unheeded {
    /// It is not the one to obey; the highest number seen.
    Fenced(Fenced, u64),
    /// Its number could not be kept.
    Forgetful(io::Error),
}

impl fmt::Display for Unheeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unheeded::Fenced(why, _) => why.fmt(f),
            Unheeded::Forgetful(error) => {
                write!(f, "the controller's lease number cannot be kept in server.state_dir: {error}")
            }
        }
    }
}

impl Unheeded {
    /// What the controller is answered. It blames nobody: the worker works, and the request is sound.
    pub fn answer(&self) -> Answer {
        match self {
            Unheeded::Fenced(Fenced::EarlierRun, _) => {
                Answer::error(503, "worker has restarted", self.to_string())
                    .with(FAULT_FIELD, Fault::Nobody.to_string())
            }
            Unheeded::Fenced(_, highest) => Answer::error(409, "not the leader", self.to_string())
                .with(FAULT_FIELD, Fault::Request.to_string())
                .with(LEASE_FIELD, highest.to_string()),
            Unheeded::Forgetful(_) => Answer::error(500, "cannot write", self.to_string())
                .with(FAULT_FIELD, Fault::Worker.to_string()),
        }
    }
}

impl LeaseFence {
    /// With the number that an earlier run has kept in this directory.
    pub fn open(
        state: &Path,
        (generation, clock): (Generation, Clock),
        changed: Ring,
    ) -> io::Result<LeaseFence> {
        let path = state.join(NAME);
        let stored: Option<Stored> = state_file::read(&path)?;
        let fence = Mutex::new(Fence::new(stored.map_or(0, |stored| stored.number)));
        Ok(LeaseFence(Arc::new(Shared { fence, path, generation, clock, changed })))
    }

    fn fence(&self) -> MutexGuard<'_, Fence> {
        self.0.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest number; 0: none was seen. Who tells of it reads the list of sessions after it, so that the list has all that
    /// was begun for lower ones.
    pub fn highest(&self) -> u64 {
        self.fence().highest()
    }

    /// Whether a controller with this number (0: without a lease) may give orders.
    pub fn obeys(&self, number: u64) -> bool {
        self.fence().obeys(number)
    }

    /// Takes note of a number that a controller shows; true: it is new.
    pub fn note(&self, number: u64) -> io::Result<bool> {
        self.note_in(&mut self.fence(), number)
    }

    fn note_in(&self, fence: &mut Fence, number: u64) -> io::Result<bool> {
        let mut after = *fence;
        if !after.note(number) {
            return Ok(false);
        }
        // First the file: a restart must not take lower ones again.
        state_file::write(&self.0.path, &Stored { version: VERSION, number })?;
        *fence = after;
        log::info!(
            "[worker] the controllers' lease has number {number} now; lower ones are not obeyed any more"
        );
        self.0.changed.ring();
        Ok(true)
    }

    /// Does `work` for this caller, unless it is a controller that is not the one to obey. Meanwhile no other number is noted.
    pub fn guard<T>(&self, caller: &Caller, work: impl FnOnce() -> T) -> Result<T, Unheeded> {
        let mut fence = self.fence();
        if let Caller::Controller(Some(proof)) = caller {
            self.note_in(&mut fence, proof.number).map_err(Unheeded::Forgetful)?;
        }
        let now = (self.0.generation, self.0.clock.now());
        fence.judge(caller, now).map_err(|why| Unheeded::Fenced(why, fence.highest()))?;
        Ok(work())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::fence::{LeaseProof, WorkerTime};
    use crate::core::time::Moment;
    use crate::host::entropy;

    fn with(number: u64) -> Caller {
        let until = WorkerTime { generation: Generation::default(), at: Moment(u64::MAX) };
        Caller::Controller(Some(LeaseProof { number, until: Some(until) }))
    }

    #[test]
    fn the_highest_number_outlives_the_process_and_a_lower_one_does_nothing() {
        let base = std::env::temp_dir().join(format!("neck-fence-{:016x}", entropy::number()));
        std::fs::create_dir(&base).unwrap();
        let open =
            || LeaseFence::open(&base, (Generation::default(), Clock::start()), Ring::default()).unwrap();
        let fence = open();
        assert_eq!((fence.highest(), fence.guard(&Caller::Controller(None), || 1).ok()), (0, Some(1)));
        assert_eq!(fence.guard(&with(7), || 2).ok(), Some(2));
        let again = open();
        assert_eq!(again.highest(), 7);
        let mut done = false;
        let refused = again.guard(&with(6), || done = true).unwrap_err();
        assert!(!done && matches!(refused, Unheeded::Fenced(Fenced::Lower(7), 7)), "{refused:?}");
        let answer = refused.answer();
        assert_eq!(answer.status, 409);
        assert!(
            again.guard(&Caller::Controller(None), || ()).is_err() && again.guard(&with(7), || ()).is_ok()
        );
        // What cannot be kept is not acted upon.
        std::fs::remove_dir_all(&base).unwrap();
        let lost = again.guard(&with(8), || done = true).unwrap_err();
        assert!(!done && matches!(lost, Unheeded::Forgetful(_)), "{lost:?}");
        assert_eq!(again.highest(), 7);
    }
}
