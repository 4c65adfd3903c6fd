//! The limit of file descriptors: raised at start as far as it may be, and put back for stream processes.
//!
//! Soft limits are low (1,024) for the sake of programs that use `select`, which cannot name larger descriptors. We do not;
//! a stream process may.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What we were started with, once it was raised.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// What counts as the limit where there is none.
const UNLIMITED: u64 = 1 << 20;

/// What counts as the limit where it cannot be known: what systems set as a rule.
const USUAL: Rlimit = Rlimit { current: Some(1_024), maximum: Some(1_024) };

/// The limit before and after raising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// What we were started with.
    pub was: u64,
    /// What holds now.
    pub now: u64,
}

/// Raises the soft limit to the hard one. Again and again does no harm.
///
/// A sandbox that forbids setrlimit(2), as our units do, sets the limit itself: then what was found holds.
pub fn raise() -> Raised {
    let found = held();
    if found.current != found.maximum
        && setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum }).is_ok()
    {
        // Raised before: then it was equal.
        let _ = ORIGINAL.set(found);
    }
    let shown = |limit: Option<u64>| limit.unwrap_or(UNLIMITED);
    let was = original().unwrap_or(found);
    Raised { was: shown(was.current), now: shown(held().current) }
}

/// The limit for a child of ours: what we were started with. `None`: it was never raised.
pub fn original() -> Option<Rlimit> {
    ORIGINAL.get().copied()
}

/// How many descriptors this process may have.
pub fn limit() -> u64 {
    held().current.unwrap_or(UNLIMITED)
}

/// The limit that holds. Read from a file: our units forbid getrlimit(2) as well, and rustix takes it for infallible.
/// How many more descriptors this process may have; `None` where nobody can tell.
pub fn left() -> Option<usize> {
    let used = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let limit = usize::try_from(held().current?).unwrap_or(usize::MAX);
    Some(limit.saturating_sub(used))
}

fn held() -> Rlimit {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    parse(&limits).unwrap_or(USUAL)
}

/// How many another process may have, once it raised its limit; `None`: there is no such process, or it may not be looked at.
pub fn limit_of(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    Some(parse(&limits)?.maximum.unwrap_or(UNLIMITED))
}

/// Of `Max open files  1024  524288  files`; either may be `unlimited`.
fn parse(limits: &str) -> Option<Rlimit> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_ascii_whitespace();
    let mut next = || match words.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Rlimit { current: next()?, maximum: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_limits_is_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max processes             unlimited            unlimited            processes \n\
                     Max open files            1024                 524288               files     \n";
        assert_eq!(parse(table), Some(Rlimit { current: Some(1_024), maximum: Some(524_288) }));
        let line = "Max open files unlimited unlimited files";
        assert_eq!(parse(line), Some(Rlimit { current: None, maximum: None }));
        assert_eq!(parse("Max open files 1024"), None);
        assert_eq!(parse(""), None);
        let ours = std::fs::read_to_string("/proc/self/limits").unwrap();
        assert_eq!(parse(&ours), Some(rustix::process::getrlimit(Resource::Nofile)), "{ours}");
    }
}
