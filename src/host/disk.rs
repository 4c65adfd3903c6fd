//! Room on disk.

use std::path::Path;

/// Below this many free bytes a disk counts as full: logs and configurations of new sessions would fail.
pub const FULL_BELOW: u64 = 16 << 20;

/// Whether the file system of `path` is as good as full. One that cannot be asked is not called full.
pub fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < FULL_BELOW)
}
