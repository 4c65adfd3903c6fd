//! Processes of a benchmark: this program again in another role, and what they have used.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use hydraneckwebrtc::host::process_table;

/// A program that is spoken to in lines; it ends when dropped.
pub struct Helper {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// This program in the role that the arguments name.
    pub fn ourselves(arguments: &[&str]) -> Helper {
        Helper::of(&std::env::current_exe().expect("this program"), arguments)
    }

    /// A measurement's program, this one or that of another commit.
    pub fn of(program: &Path, arguments: &[&str]) -> Helper {
        let mut command = Command::new(program);
        let spawned = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output")).lines();
        Helper { child, input, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A line for it.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("a helper that listens");
    }

    /// Its next line.
    pub fn hear(&mut self) -> String {
        self.output.next().expect("a line of the helper").expect("a line")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU so far of threads of a process whose names begin so, as the scheduler counts it.
pub fn cpu_of(pid: u32, name: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let named = threads.filter(|thread| read(thread.path().join("comm")).starts_with(name));
    let spent = named
        .filter_map(|thread| read(thread.path().join("schedstat")).split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(spent.sum())
}

/// CPU of the calling thread, in nanoseconds.
pub fn own_cpu() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Resident memory of a process, in KiB.
pub fn memory_of(pid: u32) -> f64 {
    process_table::resident_kb(i32::try_from(pid).expect("a pid")).expect("its memory") as f64
}
