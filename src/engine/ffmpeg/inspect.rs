//! A look at a media process's inputs before it streams: the same command without an output opens them, says what is in
//! them and exits. A leg for sound that is not there would stop the whole process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use crate::core::confinement::Confinement;
use crate::engine::ffmpeg::command;
use crate::engine::ffmpeg::recipe::Recipe;
use crate::engine::ffmpeg::streams::Streams;
use crate::engine::log_ends::LogEnds;
use crate::host::pipe;
use crate::host::process::{self, ChildProcess, Spawn};

/// Between two looks whether it is still wanted.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Lines read of what it says, and shown of it when it fails.
const LINES: usize = 1000;
const SHOWN: usize = 12;

/// A look to take.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Whose inputs.
    pub recipe: Recipe,
    /// Where the process works: below it we find what is left of it.
    pub directory: PathBuf,
    /// How long it may take.
    pub limit: Duration,
    /// What it may touch; `None`: it is not confined.
    pub confined_to: Option<Confinement>,
}

impl Inspection {
    /// Takes the look. The error says why there will be no stream; `None`: it is not wanted any more.
    pub fn run(&self, cancelled: &dyn Fn() -> bool) -> Option<Result<Streams, String>> {
        match self.listen(cancelled) {
            Ok(Some(ends)) => Some(judge(&ends)),
            Ok(None) => None,
            Err(error) => Some(Err(format!(
                "cannot start {}: {error}; see engines.{}.command",
                self.recipe.program.display(),
                self.recipe.entry.name
            ))),
        }
    }

    /// Everything the process says until it exits.
    fn listen(&self, cancelled: &dyn Fn() -> bool) -> std::io::Result<Option<LogEnds>> {
        let (ours, theirs) = pipe::for_child()?;
        let child = ChildProcess::spawn(Spawn {
            program: &self.recipe.program,
            arguments: &command::inspection(&self.recipe),
            directory: &self.directory,
            input: None,
            output: theirs,
            stdout: None,
            confined_to: self.confined_to.as_ref(),
        })?;
        let mut said = LogEnds::new(LINES, SHOWN);
        let wanted = collect(ours, &child, &mut said, Instant::now() + self.limit, cancelled);
        end(child);
        Ok(wanted.then_some(said))
    }
}

/// Reads until the process has exited or its time is up. False: it is not wanted any more.
fn collect(
    ours: OwnedFd,
    child: &ChildProcess,
    said: &mut LogEnds,
    until: Instant,
    cancelled: &dyn Fn() -> bool,
) -> bool {
    let mut open = Some(ours);
    let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_AGAIN.subsec_nanos()) };
    while Instant::now() < until && !cancelled() {
        let exited = child.exited().is_some();
        pipe::drain(&mut open, |bytes| said.take(bytes));
        if exited {
            return true;
        }
        let mut fds = vec![PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)];
        fds.extend(open.as_ref().map(|open| PollFd::from_borrowed_fd(open.as_fd(), PollFlags::IN)));
        // EINTR and a time-out are the same to us: look at everything.
        let _ = rustix::event::poll(&mut fds, Some(&pause));
    }
    said.take(b"\n[it was still opening its inputs when its time was up]\n");
    !cancelled()
}

/// Nothing of it is left when this returns, but what moved out of its group; the session's end looks for that.
fn end(child: ChildProcess) {
    child.signal_group(Signal::KILL);
    let mut exit = [PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN)];
    let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
    let _ = rustix::io::retry_on_intr(|| rustix::event::poll(&mut exit, Some(&patience)));
    child.reap();
    process::reap_orphans();
}

fn judge(said: &LogEnds) -> Result<Streams, String> {
    let streams = Streams::parse(&said.lines().join("\n"));
    match streams.video {
        Some(_) => Ok(streams),
        None => Err(format!(
            "the inputs cannot be opened or have no picture; its last lines:\n{}",
            said.tail(SHOWN)
        )),
    }
}
