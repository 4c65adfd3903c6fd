//! For tests that take again what they let go a moment ago: a port, a lock, a file that is to run.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries until it succeeds. Descriptors are closed when a new process begins its program, not when it is forked: one that
/// another test starts at the same time has a copy of what this one lets go, for some milliseconds.
pub fn once_let_go<T, E: Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < end, "not within {PATIENCE:?}: {error:?}"),
        }
        thread::yield_now();
    }
}
