//! The limit of file descriptors: raised at start as far as it may be, and put back for stream processes.
//!
//! Soft limits are low (1,024) for the sake of programs that use `select`, which cannot name larger descriptors. We do not;
//! a stream process may.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What we were started with, once it was raised.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// What counts as the limit where there is none.
const UNLIMITED: u64 = 1 << 20;

/// The limit before and after raising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What we were started with.
    pub was: u64,
    /// What holds now.
    pub now: u64,
}

/// Raises the soft limit to the hard one. Again and again does no harm.
pub fn raise() -> Raised {
    let found = getrlimit(Resource::Nofile);
    let original = ORIGINAL.get_or_init(|| found);
    // It can fail where a sandbox forbids it; then what holds is what was found.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum });
    let now = getrlimit(Resource::Nofile);
    Raised { was: original.current.unwrap_or(UNLIMITED), now: now.current.unwrap_or(UNLIMITED) }
}

/// The limit for a child of ours: what we were started with. `None`: it was never raised.
pub fn original() -> Option<Rlimit> {
    ORIGINAL.get().copied()
}
