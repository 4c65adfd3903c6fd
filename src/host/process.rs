//! Child processes: spawned into their own group, killed with us, watched by pidfd, reaped one by one.
//!
//! Owner of a [`ChildProcess`]: the supervisor thread that spawned it. It must live as long as the child, because
//! `PR_SET_PDEATHSIG` fires when the spawning *thread* exits. Only this module, `host::sandbox` and `host::activation` have `unsafe`.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Resource, Signal, WaitId, WaitIdOptions, WaitIdStatus};

use crate::core::confinement::Confinement;
use crate::host::descriptors;
use crate::host::process_table::{self, ProcessInfo};
use crate::host::sandbox::Sandbox;

/// Group leaders that are alive or not yet reaped. Held while forking and while reaping orphans, so that nobody
/// takes a leader's exit status away from its supervisor.
static LEADERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn leaders() -> MutexGuard<'static, BTreeSet<i32>> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to run.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Absolute path of the program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its working directory.
    pub directory: &'a Path,
    /// What it reads; nothing by default.
    pub input: Option<OwnedFd>,
    /// Where stdout and stderr go.
    pub output: OwnedFd,
    /// Where stdout goes, when it goes elsewhere than stderr.
    pub stdout: Option<OwnedFd>,
    /// What it may touch; `None`: it is not confined.
    pub confined_to: Option<&'a Confinement>,
}

/// A child and its process group.
#[derive(Debug)]
pub struct ChildProcess {
    pid: Pid,
    pidfd: OwnedFd,
    start_ticks: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `exit(code)`
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl ChildProcess {
    /// Starts a child: empty environment, own session and process group, umask 077, no inherited descriptor but its output, no new
    /// privileges, SIGINT when the calling thread ends. Where it is confined and the kernel will not have it, there is no child.
    pub fn spawn(spawn: Spawn<'_>) -> io::Result<ChildProcess> {
        let stdout = match spawn.stdout {
            Some(stdout) => stdout,
            None => spawn.output.try_clone()?,
        };
        let mut command = Command::new(spawn.program);
        command
            .args(spawn.arguments)
            .env_clear()
            .current_dir(spawn.directory)
            .stdin(spawn.input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(spawn.output));
        let sandbox = spawn.confined_to.map(Sandbox::build).transpose()?;
        set_up(&mut command, sandbox);
        let mut leaders = leaders();
        let mut child = command.spawn()?;
        let watched = watch(&child);
        match &watched {
            Ok(watched) => {
                leaders.insert(watched.pid());
            }
            // Out of descriptors, most likely: nobody would ever end a child that nobody watches.
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        watched
    }

    /// The process id, also the id of its group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Clock ticks after boot at which it started: with the pid it names the process for ever.
    pub fn start_ticks(&self) -> u64 {
        self.start_ticks
    }

    /// Becomes readable when the process has exited.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal to the whole group. Only while the leader is not reaped: its pid, and with it the group's id,
    /// cannot be somebody else's until then.
    pub fn signal_group(&self, signal: Signal) {
        // ESRCH: nobody is left, which is what the caller wants in the end.
        let _ = rustix::process::kill_process_group(self.pid, signal);
    }

    /// Whether and how the leader has exited, without reaping it: its zombie keeps the group's id ours.
    pub fn exited(&self) -> Option<Exit> {
        self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)
    }

    /// Reaps the leader; call when nothing of its group is left.
    pub fn reap(self) -> Option<Exit> {
        let mut leaders = leaders();
        let exit = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        leaders.remove(&self.pid());
        exit
    }

    fn wait(&self, options: WaitIdOptions) -> Option<Exit> {
        let status = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options).ok().flatten()?;
        Some(describe(&status))
    }
}

fn watch(child: &std::process::Child) -> io::Result<ChildProcess> {
    let raw = i32::try_from(child.id()).map_err(io::Error::other)?;
    let pid = Pid::from_raw(raw).ok_or_else(|| io::Error::other("the kernel gave pid 0"))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let start_ticks = process_table::read(raw).map(|info| info.start_ticks).unwrap_or_default();
    Ok(ChildProcess { pid, pidfd, start_ticks })
}

fn describe(status: &WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

/// Closes our memory, environment and descriptors to other processes of the same user, and to core dumps. Our children are
/// programs of their own and unaffected.
pub fn hide_memory() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// Whether [`hide_memory`] is in force.
pub fn hides_memory() -> bool {
    matches!(rustix::process::dumpable_behavior(), Ok(rustix::process::DumpableBehavior::NotDumpable))
}

/// Adopts every orphaned descendant, so that grandchildren whose parent died can be reaped by us.
pub fn become_subreaper() -> io::Result<()> {
    let us = rustix::process::getpid();
    Ok(rustix::process::set_child_subreaper(Some(us))?)
}

fn is_subreaper() -> bool {
    matches!(rustix::process::child_subreaper(), Ok(Some(_)))
}

/// Reaps zombies that were adopted: children of ours that nobody supervises. Returns how many. A child that is no
/// [`ChildProcess`] is taken for one of them; but whoever is no sub-reaper ([`become_subreaper`]) adopts nobody.
pub fn reap_orphans() -> usize {
    if !is_subreaper() {
        return 0;
    }
    let leaders = leaders();
    let us = rustix::process::getpid().as_raw_nonzero().get();
    let adopted = |info: &ProcessInfo| info.parent == us && info.zombie && !leaders.contains(&info.pid);
    process_table::all().into_iter().filter(adopted).filter(|info| reap_by_pid(info.pid)).count()
}

/// Who tells strays: see [`Strays::has`].
pub struct Strays {
    us: Option<ProcessInfo>,
}

impl Strays {
    /// As of now.
    pub fn now() -> Strays {
        let us = rustix::process::getpid().as_raw_nonzero().get();
        Strays { us: process_table::read(us).filter(|_| is_subreaper()) }
    }

    /// Whether this is a live process that a stream process has left behind in a session of its own, or in that of one that is gone: its
    /// parents ended, so it was given to us ([`become_subreaper`]), and no other sign of whose it was is left. What we start
    /// ourselves, but for [`ChildProcess`]es, stays in our session.
    pub fn has(&self, info: &ProcessInfo) -> bool {
        let is_foreign = |us: &ProcessInfo| info.parent == us.pid && info.session != us.session;
        !info.zombie && self.us.as_ref().is_some_and(is_foreign) && !leaders().contains(&info.session)
    }
}

fn reap_by_pid(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return false };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Sends a signal to exactly this process: the pid is checked against its start time through a pidfd.
pub fn signal_exactly(info: &ProcessInfo, signal: Signal) -> bool {
    let Some(pid) = Pid::from_raw(info.pid) else { return false };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // The pidfd pins whoever has the pid now; if that is who we meant, the signal cannot miss.
    let same = process_table::read(info.pid).is_some_and(|now| now.start_ticks == info.start_ticks);
    same && rustix::process::pidfd_send_signal(&pidfd, signal).is_ok()
}

/// Whether the kernel still runs the process with this pid and start time.
pub fn is_alive(pid: i32, start_ticks: u64) -> bool {
    process_table::read(pid).is_some_and(|now| now.start_ticks == start_ticks && !now.zombie)
}

/// The part of the child's set-up that happens between fork and exec.
#[allow(unsafe_code)]
fn set_up(command: &mut Command, sandbox: Option<Sandbox>) {
    let parent = rustix::process::getpid();
    let descriptors = descriptors::original();
    let setup = move || -> io::Result<()> {
        // A process group alone could be left for ours, and then nobody would know whose a stray is: see `Strays`.
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
        // The parent may have died before the line above: then nobody would ever signal us.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        // Before the sandbox, which takes such calls away.
        if let Some(limit) = descriptors {
            rustix::process::setrlimit(Resource::Nofile, limit)?;
        }
        rustix::thread::set_no_new_privs(true)?;
        if let Some(sandbox) = &sandbox {
            sandbox.enter()?;
        }
        close_on_exec_from(3)
    };
    // SAFETY: the closure runs in the forked child and makes system calls only: no allocation, no lock, no panic.
    unsafe {
        command.pre_exec(setup);
    }
}

/// Marks every descriptor from `first` on close-on-exec: nothing of ours leaks into a child, whoever opened it.
#[allow(unsafe_code)]
fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: plain system call without pointers.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_adopts_nobody_reaps_nobody() {
        let mut child = Command::new("/bin/true").spawn().expect("a child");
        let pid = Pid::from_raw(child.id().cast_signed());
        let its_end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid.expect("a pid")), its_end));
        assert!(ended.is_ok_and(|status| status.is_some()), "it has not ended");
        assert_eq!(reap_orphans(), 0);
        assert!(child.wait().expect("its status is ours").success());
    }
}
