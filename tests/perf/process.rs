//! What a process of a benchmark has used.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// CPU so far of threads of a process whose names begin so, as the scheduler counts it.
pub fn cpu_of(pid: u32, name: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let named = threads.filter(|thread| read(thread.path().join("comm")).starts_with(name));
    let spent = named
        .filter_map(|thread| read(thread.path().join("schedstat")).split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(spent.sum())
}

/// Resident memory of a process, in KiB.
pub fn memory_of(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("the memory");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}
