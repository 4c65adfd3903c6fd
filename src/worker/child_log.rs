//! A child's output: read from a pipe, kept on disk up to a cap, its first and last lines kept in memory.
//!
//! The file is cut in two halves: when the current half is full it becomes `NAME.1` and a new one begins. A full disk loses
//! lines, never the session: the pipe is emptied whatever happens, so that the child never blocks.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::log_ends::LogEnds;
use crate::host::pipe;
use crate::host::private_dir::{DirError, PrivateDir};

/// How many last lines an error reply shows.
const TAIL_LINES: usize = 12;

/// What is kept of a log in memory; operators are shown it.
#[derive(Clone, Debug)]
pub struct SharedEnds(Arc<Mutex<LogEnds>>);

impl SharedEnds {
    /// Everything that is kept.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }
}

/// The log of one session's children, over restarts.
#[derive(Debug)]
pub struct ChildLog {
    directory: PrivateDir,
    name: &'static str,
    file: Option<File>,
    pipe: Option<OwnedFd>,
    half_cap: u64,
    written: u64,
    ends: SharedEnds,
}

/// What a log is called, and how much of it stays.
#[derive(Clone, Copy, Debug)]
pub struct LogShape {
    /// Its file's name.
    pub name: &'static str,
    /// Bytes on disk.
    pub cap: u64,
    /// First lines in memory.
    pub first: usize,
    /// Last lines in memory.
    pub last: usize,
}

impl LogShape {
    /// A log of which only the end is shown, in error replies.
    pub fn with_tail(name: &'static str, cap: u64) -> LogShape {
        LogShape { name, cap, first: 0, last: TAIL_LINES }
    }
}

impl ChildLog {
    /// A log in `directory`.
    pub fn new(directory: PrivateDir, shape: LogShape) -> Result<ChildLog, DirError> {
        let file = Some(directory.create_file(shape.name)?);
        let half_cap = (shape.cap / 2).max(1);
        let ends = SharedEnds(Arc::new(Mutex::new(LogEnds::new(shape.first, shape.last))));
        Ok(ChildLog { directory, name: shape.name, file, pipe: None, half_cap, written: 0, ends })
    }

    /// A new pipe for a new child; returns the child's end.
    pub fn connect(&mut self) -> io::Result<OwnedFd> {
        let (ours, theirs) = pipe::for_child()?;
        self.pipe = Some(ours);
        Ok(theirs)
    }

    /// What to wait on; `None` when every writer is gone.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there now. Never blocks.
    pub fn pump(&mut self) {
        let mut open = self.pipe.take();
        pipe::drain(&mut open, |bytes| self.take(bytes));
        self.pipe = open;
    }

    /// The last lines, for an error reply.
    pub fn tail(&self) -> String {
        self.ends.0.lock().unwrap_or_else(PoisonError::into_inner).tail(TAIL_LINES)
    }

    /// What is kept in memory.
    pub fn ends(&self) -> SharedEnds {
        self.ends.clone()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.ends.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        if self.written + bytes.len() as u64 > self.half_cap {
            self.rotate();
        }
        if let Some(file) = &mut self.file {
            // A full disk: the lines are lost, the session is not.
            let _ = file.write_all(bytes);
        }
        self.written += bytes.len() as u64;
    }

    fn rotate(&mut self) {
        self.file = None;
        let _ = self.directory.rename(self.name, &format!("{}.1", self.name));
        self.file = self.directory.create_file(self.name).ok();
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stays_below_the_cap_and_the_tail_is_the_end() {
        let base = std::env::temp_dir().join(format!("neck-log-{:016x}", crate::host::entropy::number()));
        let root = PrivateDir::open(&base).unwrap();
        let mut log =
            ChildLog::new(PrivateDir::open(&base).unwrap(), LogShape::with_tail("x.log", 10_000)).unwrap();
        let mut child = File::from(log.connect().unwrap());
        for line in 0..5000 {
            writeln!(child, "line {line}").unwrap();
            log.pump();
        }
        drop(child);
        log.pump();
        assert!(log.descriptor().is_none(), "the pipe should be at its end");
        let on_disk: u64 =
            root.names().unwrap().iter().map(|n| std::fs::metadata(base.join(n)).unwrap().len()).sum();
        assert!(on_disk <= 10_000, "{on_disk} bytes on disk");
        assert!(log.tail().ends_with("line 4999"), "{}", log.tail());
        let mut child = File::from(log.connect().unwrap());
        write!(child, "its last words").unwrap();
        log.pump();
        assert!(log.tail().ends_with("line 4999\nits last words"), "{}", log.tail());
        std::fs::remove_dir_all(base).unwrap();
    }
}
