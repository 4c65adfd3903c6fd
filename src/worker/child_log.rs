//! A child's output: read from a pipe, kept on disk up to a cap, its last lines kept in memory.
//!
//! The file is cut in two halves: when the current half is full it becomes `web-server.log.1` and a new one begins. A
//! full disk loses lines, never the session: the pipe is emptied whatever happens, so that the child never blocks.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::engine::moonlight::layout::LOG_NAME;
use crate::host::private_dir::{DirError, PrivateDir};

/// How many last lines an error reply shows.
const TAIL_LINES: usize = 12;

/// Longest line of the tail, in bytes; more is cut.
const TAIL_LINE_BYTES: usize = 400;

/// Bytes read per call.
const CHUNK: usize = 16 * 1024;

/// Calls per turn: a child that floods its log must not keep its supervisor from everything else.
const CHUNKS_PER_TURN: usize = 16;

/// The log of one session's children, over restarts.
#[derive(Debug)]
pub struct ChildLog {
    directory: PrivateDir,
    file: Option<File>,
    pipe: Option<OwnedFd>,
    half_cap: u64,
    written: u64,
    tail: VecDeque<String>,
    partial: Vec<u8>,
}

impl ChildLog {
    /// A log in `directory`, at most `cap` bytes on disk.
    pub fn new(directory: PrivateDir, cap: u64) -> Result<ChildLog, DirError> {
        let file = Some(directory.create_file(LOG_NAME)?);
        let half_cap = (cap / 2).max(1);
        Ok(ChildLog {
            directory,
            file,
            pipe: None,
            half_cap,
            written: 0,
            tail: VecDeque::new(),
            partial: Vec::new(),
        })
    }

    /// A new pipe for a new child; returns the child's end.
    pub fn connect(&mut self) -> io::Result<OwnedFd> {
        let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
        self.pipe = Some(ours);
        Ok(theirs)
    }

    /// What to wait on; `None` when every writer is gone.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there now. Never blocks.
    pub fn pump(&mut self) {
        let mut chunk = [0u8; CHUNK];
        for _ in 0..CHUNKS_PER_TURN {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.take(&chunk[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// The last lines, for an error reply.
    pub fn tail(&self) -> String {
        let unfinished = String::from_utf8_lossy(&self.partial);
        let lines = self.tail.iter().map(String::as_str).chain([unfinished.trim_end()]);
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.remember(bytes);
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
        let _ = self.directory.rename(LOG_NAME, &format!("{LOG_NAME}.1"));
        self.file = self.directory.create_file(LOG_NAME).ok();
        self.written = 0;
    }

    fn remember(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = TAIL_LINE_BYTES.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
                self.partial.clear();
                self.tail.push_back(line);
                if self.tail.len() > TAIL_LINES {
                    self.tail.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stays_below_the_cap_and_the_tail_is_the_end() {
        let base = std::env::temp_dir().join(format!("neck-log-{:016x}", crate::host::entropy::number()));
        let root = PrivateDir::open(&base).unwrap();
        let mut log = ChildLog::new(PrivateDir::open(&base).unwrap(), 10_000).unwrap();
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
