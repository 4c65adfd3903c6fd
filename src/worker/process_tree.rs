//! A session's child and everything it started, wherever that went.
//!
//! ```text
//! none ──adopt──▶ alive ──exit seen──▶ dead, not reaped ──nothing left──▶ none
//! ```
//!
//! The leader is reaped last: until then neither its pid nor its group's id can be somebody else's. Owner: the session's
//! supervisor.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::process::Signal;

use crate::host::process::{self, ChildProcess, Strays};
use crate::host::process_table::{self, ProcessInfo};

/// The child, and what is known of its descendants.
#[derive(Debug, Default)]
pub struct ProcessTree {
    leader: Option<ChildProcess>,
    exit_seen: bool,
    /// Processes the child had started when we began to end it, wherever they went since.
    descendants: Vec<ProcessInfo>,
}

impl ProcessTree {
    /// Takes a new child; the one before is gone.
    pub fn adopt(&mut self, child: ChildProcess) {
        *self = ProcessTree { leader: Some(child), ..ProcessTree::default() };
    }

    /// Becomes readable when the child exits; `None` when that was seen already.
    pub fn exit_notice(&self) -> Option<BorrowedFd<'_>> {
        self.leader.as_ref().filter(|_| !self.exit_seen).map(ChildProcess::pidfd)
    }

    /// How the child exited; tells it once.
    pub fn take_exit(&mut self) -> Option<process::Exit> {
        let exit = self.leader.as_ref().filter(|_| !self.exit_seen)?.exited()?;
        self.exit_seen = true;
        Some(exit)
    }

    /// Asks the group to end, and notes who belongs to the family now.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// Kills the group, and notes who belongs to the family now.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(leader) = &self.leader {
            self.descendants.extend(process_table::descendants(leader.pid()));
            log::debug!("[worker] process group {} gets signal {}", leader.pid(), signal.as_raw());
            leader.signal_group(signal);
        }
    }

    /// One look at what is left: kill it, reap it. True: nothing is left, not even the child.
    pub fn clear(&mut self, directory: Option<&Path>) -> bool {
        let leader_gone = self.exit_seen || self.leader.is_none();
        // Without a free descriptor nobody knows what is left: the next look may.
        let Ok(left) = self.left_overs(directory) else { return false };
        if leader_gone && !left.is_empty() {
            self.kill();
        }
        left.iter().for_each(|info| {
            process::signal_exactly(info, Signal::KILL);
        });
        process::reap_orphans();
        let gone = leader_gone && self.left_overs(directory).is_ok_and(|left| left.is_empty());
        if gone {
            self.let_go();
        }
        gone
    }

    /// Reaps the child if it is dead, and forgets the family.
    pub fn let_go(&mut self) {
        self.leader.take().map(ChildProcess::reap);
        self.descendants.clear();
    }

    /// Live processes besides the child: by group, by descent, by working directory; and what any child has left behind without these.
    fn left_overs(&self, directory: Option<&Path>) -> io::Result<Vec<ProcessInfo>> {
        let (leader, strays) = (self.leader.as_ref().map(ChildProcess::pid), Strays::now());
        let is_ours = |info: &ProcessInfo| {
            let same = |known: &ProcessInfo| (known.pid, known.start_ticks) == (info.pid, info.start_ticks);
            leader == Some(info.group)
                || self.descendants.iter().any(same)
                || directory.is_some_and(|directory| info.works_below(directory))
                || strays.has(info)
        };
        let mut all = process_table::all_or_error()?;
        all.retain(|info| !info.zombie && Some(info.pid) != leader && is_ours(info));
        Ok(all)
    }
}
