//! Programs that the measurement starts, watches and ends; nothing else is touched.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Longer than any of them takes to start or end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running program; ended when dropped.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The same measurement built from another commit, which takes part beside this one: `NECK_BEFORE=PATH`.
pub fn before() -> Option<PathBuf> {
    std::env::var_os("NECK_BEFORE").map(PathBuf::from)
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Program {
    /// Starts a program that will listen on `port`.
    pub fn on_port(command: &mut Command, port: u16) -> Program {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let program = Program { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(program.address).is_err() {
            assert!(Instant::now() < end, "{command:?} does not listen on {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
        program
    }

    /// Starts this program again in a role of `serve.rs`; it says where it listens.
    pub fn ourselves(arguments: &[&str]) -> Program {
        Program::telling(&std::env::current_exe().expect("this program"), arguments)
    }

    /// Starts a measurement, this one or that of another commit, in a role of `serve.rs`; it says where it listens.
    pub fn telling(program: &Path, arguments: &[&str]) -> Program {
        let mut command = Command::new(program);
        let spawned = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("an address");
        let address = line.trim().parse().unwrap_or_else(|_| panic!("{arguments:?} said {line:?}"));
        Program { child, address }
    }

    /// It and its children.
    fn pids(&self) -> Vec<u32> {
        let own = self.child.id();
        let parent = |pid: u32| -> Option<u32> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
        };
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid == own || parent(*pid) == Some(own)).collect()
    }

    /// Gives it these cores, and no others.
    pub fn stay_on(&self, cores: &[usize]) {
        self.pids().into_iter().for_each(|pid| pin(pid, "", cores));
    }

    /// CPU time so far, of all threads, in nanoseconds of the scheduler (`/proc/PID/stat` counts in 10 ms).
    pub fn cpu(&self) -> Duration {
        let tasks = self
            .pids()
            .into_iter()
            .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let of = |pid: u32| -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        self.pids().into_iter().filter_map(of).sum::<u64>() * 1024
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        let tasks = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        self.pids().into_iter().map(tasks).sum()
    }
}

/// Gives threads of a process whose names begin so these cores, and what they start.
pub fn pin(pid: u32, name: &str, cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten() {
        let called = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let id = thread.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if called.starts_with(name) {
            // A thread may be over by now, and a machine may have one core.
            let _ = sched_setaffinity(id, &set);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A terminated master takes its workers along; a killed one would not.
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A directory that is removed when dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// A new one.
    pub fn new() -> Scratch {
        let path = std::env::temp_dir().join(format!("hydra-perf-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
