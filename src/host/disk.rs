//! Room on disk.

use std::path::Path;

/// Below this many free bytes a disk counts as full: logs and configurations of new sessions would fail soon. So health
/// says it before anything is lost.
pub const FULL_BELOW: u64 = 16 << 20;

/// The same of free files, where a file system counts them.
const FULL_BELOW_FILES: u64 = 256;

/// How many bytes we may still write to the file system of `path`; `None` where it cannot be asked.
pub fn free(path: &Path) -> Option<u64> {
    rustix::fs::statvfs(path).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether the file system of `path` is as good as full. One that cannot be asked is not called full.
pub fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| {
        let no_files = stat.f_files > 0 && stat.f_favail < FULL_BELOW_FILES;
        no_files || stat.f_bavail.saturating_mul(stat.f_frsize) < FULL_BELOW
    })
}
