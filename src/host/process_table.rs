//! What `/proc` says about processes: parents, groups, start times, working directories.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Clock ticks of the kernel's start times in a second: fixed for what user space sees.
const TICKS: u64 = 100;

/// One process, as `/proc/PID/stat` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: i32,
    /// Parent's process id.
    pub parent: i32,
    /// Process group id.
    pub group: i32,
    /// Session id (setsid(2)).
    pub session: i32,
    /// Start, in clock ticks after boot. Pid and start name a process for ever.
    pub start_ticks: u64,
    /// Exited, not reaped.
    pub zombie: bool,
    /// File name of its program, at most 15 bytes of it.
    pub name: String,
}

/// Reads one process; `None` when it does not exist.
pub fn read(pid: i32) -> Option<ProcessInfo> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that can be seen now, as far as they can be read: without a free descriptor there seem to be none.
pub fn all() -> Vec<ProcessInfo> {
    everyone(|_| Ok(())).unwrap_or_default()
}

/// Every process that can be seen now; an error when one that may be there could not be read.
pub fn all_or_error() -> io::Result<Vec<ProcessInfo>> {
    everyone(|error| match error.raw_os_error() {
        // It has ended meanwhile.
        Some(libc::ENOENT | libc::ESRCH) => Ok(()),
        _ => Err(error),
    })
}

fn everyone(missed: impl Fn(io::Error) -> io::Result<()>) -> io::Result<Vec<ProcessInfo>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => found.extend(parse_stat(pid, &stat)),
            Err(error) => missed(error)?,
        }
    }
    Ok(found)
}

/// Every live process whose working directory is `directory` or below it, removed directories included.
pub fn working_below(directory: &Path) -> Vec<ProcessInfo> {
    all().into_iter().filter(|info| info.works_below(directory)).collect()
}

/// Every live descendant of `ancestor`, asked of the kernel process by process: cheap where a machine runs many others.
pub fn below(ancestor: i32) -> Vec<ProcessInfo> {
    let Ok(mut waiting) = children(ancestor) else { return descendants(ancestor) };
    let mut found: Vec<ProcessInfo> = Vec::new();
    while let Some(pid) = waiting.pop() {
        let known = found.iter().any(|info| info.pid == pid);
        if let Some(info) = read(pid).filter(|info| !info.zombie && !known) {
            waiting.extend(children(pid).unwrap_or_default());
            found.push(info);
        }
    }
    found
}

/// Each thread has a list of those that it started.
fn children(pid: i32) -> std::io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // A kernel without these lists; a thread that ended meanwhile has left its own to another.
            Err(error) if thread.path().exists() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

/// How long the kernel has been up, by the clock of start times.
pub fn uptime() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_ascii_whitespace().next()?.parse().ok()?).ok()
}

/// Resident memory of a process in kilobytes.
pub fn resident_kb(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

impl ProcessInfo {
    /// For how long it has run, when the kernel has been up for `uptime`.
    pub fn age(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(Duration::from_millis(self.start_ticks * (1000 / TICKS)))
    }

    /// Whether it lives, is not us, and its working directory is `directory` or below it, removed directories included.
    pub fn works_below(&self, directory: &Path) -> bool {
        self.pid != rustix::process::getpid().as_raw_nonzero().get()
            && !self.zombie
            && working_directory(self.pid).is_some_and(|cwd| cwd.starts_with(directory))
    }
}

/// Every live process whose working directory is, or is below, an entry of `directory` whose name is `ours`.
pub fn working_below_entries(directory: &Path, ours: impl Fn(&str) -> bool) -> Vec<ProcessInfo> {
    let mut inside = working_below(directory);
    inside.retain(|info| {
        let cwd = working_directory(info.pid);
        let below = cwd.as_deref().and_then(|cwd| cwd.strip_prefix(directory).ok());
        below.and_then(|path| path.iter().next()?.to_str()).is_some_and(&ours)
    });
    inside
}

/// Every live descendant of `ancestor`, by the parent links of this moment.
pub fn descendants(ancestor: i32) -> Vec<ProcessInfo> {
    let everyone = all();
    let mut family = vec![ancestor];
    let mut found = Vec::new();
    // Each round adds one generation; a process has one parent, so this ends.
    while let Some(parent) = family.pop() {
        let children = everyone.iter().filter(|info| info.parent == parent && !info.zombie);
        family.extend(children.clone().map(|info| info.pid));
        found.extend(children.cloned());
    }
    found
}

fn working_directory(pid: i32) -> Option<PathBuf> {
    // A removed directory reads "/path (deleted)": the prefix that counts is untouched, unless the very directory
    // that is asked for was removed.
    let link = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    match link.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(link),
    }
}

/// The name is in parentheses and may itself contain any character: fields are counted from the last `)`.
fn parse_stat(pid: i32, stat: &str) -> Option<ProcessInfo> {
    let (before, rest) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(ProcessInfo {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) S 1 (b)) Z 7 8 9 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let info = parse_stat(42, stat).unwrap();
        assert_eq!((info.parent, info.group, info.session), (7, 8, 9));
        assert_eq!((info.start_ticks, info.zombie), (12345, true));
        assert_eq!(info.name, "a) S 1 (b)");
    }

    #[test]
    fn we_find_ourselves() {
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let info = read(us).unwrap();
        assert!(info.start_ticks > 0 && !info.zombie, "{info:?}");
        assert!(all().contains(&info));
    }

    #[test]
    fn a_process_is_below_its_parent_and_has_an_age() {
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let parent = rustix::process::getppid().expect("a parent").as_raw_nonzero().get();
        let found = below(parent).into_iter().find(|info| info.pid == us);
        let age = found.as_ref().zip(uptime()).map(|(info, uptime)| info.age(uptime));
        // Tests take minutes, a machine is up for longer.
        assert!(age.is_some_and(|age| age < Duration::from_secs(7200)), "{found:?} {age:?}");
        assert!(resident_kb(us).is_some_and(|kb| kb > 100));
    }
}
