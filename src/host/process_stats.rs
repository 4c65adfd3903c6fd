//! What the kernel knows of this process, for metrics.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use crate::host::descriptors;

/// This process at one moment. What cannot be known is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// Processor time of user and system, in seconds.
    pub cpu_seconds: f64,
    /// Bytes.
    pub resident: u64,
    /// Bytes.
    pub virtual_size: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// Descriptors that there may be.
    pub max_fds: u64,
}

impl ProcessStats {
    /// As it is now.
    pub fn read() -> ProcessStats {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = std::time::Duration::new(
            spent.tv_sec.try_into().unwrap_or_default(),
            spent.tv_nsec.try_into().unwrap_or_default(),
        );
        ProcessStats {
            cpu_seconds: seconds.as_secs_f64(),
            resident: field(&status, "VmRSS:").saturating_mul(1024),
            virtual_size: field(&status, "VmSize:").saturating_mul(1024),
            threads: field(&status, "Threads:"),
            open_fds: open_fds(),
            max_fds: descriptors::limit(),
        }
    }
}

/// `VmRSS:     1234 kB`
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How many tasks the control group of a process may have; `None`: there is no limit, or nobody can tell.
pub fn task_limit(pid: u32) -> Option<u64> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    // Version 2 of control groups: one line, `0::/system.slice/x.service`.
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    fs::read_to_string(format!("/sys/fs/cgroup{path}/pids.max")).ok()?.trim().parse().ok()
}

/// Since Linux 6.2 the directory's size is their number. To read it, as before, costs a system call for some hundred of them.
fn open_fds() -> u64 {
    let told = fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len());
    let counted =
        || fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64);
    if told > 0 { told } else { counted() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_alive() {
        let before = ProcessStats::read();
        let held: Vec<_> = (0..20).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = ProcessStats::read();
        assert!(before.resident > 1 << 20 && before.virtual_size >= before.resident, "{before:?}");
        assert!(before.threads >= 1 && before.cpu_seconds > 0.0, "{before:?}");
        // Other tests of this process open and close some meanwhile.
        assert!(after.open_fds > held.len() as u64 && after.open_fds <= after.max_fds, "{after:?}");
        assert_eq!(field("Name:\tx\nThreads:\t12\n", "Threads:"), 12);
    }
}
