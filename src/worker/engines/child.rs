//! A child process of a session with what belongs to it: directory, log, and everything it started.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::core::confinement::Confinement;
use crate::host::private_dir::PrivateDir;
use crate::host::process::{ChildProcess, Exit, Spawn};
use crate::worker::child_log::{ChildLog, SharedEnds};
use crate::worker::prepare;
use crate::worker::process_tree::ProcessTree;
use crate::worker::session_context::SessionContext;

/// The child's place, over restarts.
#[derive(Debug, Default)]
pub struct Child {
    directory: Option<PrivateDir>,
    log: Option<ChildLog>,
    family: ProcessTree,
}

/// What to start in it.
#[derive(Debug)]
pub struct Program<'a> {
    /// Absolute path.
    pub path: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// What it reads; nothing by default.
    pub input: Option<OwnedFd>,
    /// Where its stdout goes, when not into the log.
    pub stdout: Option<OwnedFd>,
    /// What it may touch; `None`: it is not confined.
    pub confined_to: Option<Confinement>,
}

impl Child {
    /// Moves in.
    pub fn settle_in(&mut self, given: &SessionContext, directory: PrivateDir, log: ChildLog) {
        given.handle.publish(|view| view.directory = Some(directory.path().to_owned()));
        self.directory = Some(directory);
        self.log = Some(log);
    }

    /// Where it works.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().map_or(Path::new(""), PrivateDir::path)
    }

    /// Starts the program.
    pub fn start(&mut self, given: &SessionContext, program: Program<'_>) -> std::io::Result<()> {
        let missing = || std::io::Error::other("the session's directory was not made");
        let directory = self.directory.as_ref().ok_or_else(missing)?;
        let output = self.log.as_mut().ok_or_else(missing)?.connect()?;
        let Program { path, arguments, input, stdout, confined_to } = program;
        let (directory, confined_to) = (directory.path(), confined_to.as_ref());
        let spawn = Spawn { program: path, arguments, directory, input, output, stdout, confined_to };
        let child = ChildProcess::spawn(spawn)?;
        let process = (child.pid(), child.start_ticks());
        log::info!("[session {}] stream process {} started", given.handle.id, process.0);
        given.handle.publish(|view| view.process = Some(process));
        self.family.adopt(child);
        Ok(())
    }

    /// What to wait on.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let pipe = self.log.as_ref().and_then(ChildLog::descriptor);
        self.family.exit_notice().into_iter().chain(pipe).collect()
    }

    /// Takes the log in; how the child exited, once.
    pub fn look(&mut self) -> Option<Exit> {
        if let Some(log) = &mut self.log {
            log.pump();
        }
        self.family.take_exit()
    }

    /// Asks the group to end.
    pub fn interrupt(&mut self) {
        self.family.interrupt();
    }

    /// Kills the group.
    pub fn kill(&mut self) {
        self.family.kill();
    }

    /// One look at what is left; true: nothing.
    pub fn clear(&mut self) -> bool {
        self.family.clear(self.directory.as_ref().map(PrivateDir::path))
    }

    /// The last lines of the log, with what is in the pipe now.
    pub fn tail(&mut self) -> String {
        if let Some(log) = &mut self.log {
            log.pump();
        }
        self.log.as_ref().map(ChildLog::tail).unwrap_or_default()
    }

    /// The two ends of the log.
    pub fn ends(&self) -> Option<SharedEnds> {
        self.log.as_ref().map(ChildLog::ends)
    }

    /// Reaps the child and closes the log.
    pub fn let_go(&mut self) {
        self.family.let_go();
        self.log = None;
    }

    /// Removes the directory, or leaves it for its log.
    pub fn remove(&mut self, given: &SessionContext, keep_log: bool) {
        if let Some(directory) = self.directory.take() {
            prepare::remove_directory(given, &directory, keep_log);
        }
        if !keep_log {
            given.handle.publish(|view| view.directory = None);
        }
    }
}
