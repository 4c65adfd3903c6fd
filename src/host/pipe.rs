//! Pipes from a child to us, and a text for a child to read.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

/// Bytes read per call.
const CHUNK: usize = 16 * 1024;

/// Calls per turn: a child that floods its output must not keep its reader from everything else.
const CHUNKS_PER_TURN: usize = 16;

/// Our end, which never blocks, and the child's.
pub fn for_child() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}

/// A pipe that holds this text and then ends, for a child's input. A text of a page fits; a longer one may be refused.
pub fn holding(text: &str) -> io::Result<OwnedFd> {
    let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    match rustix::io::write(&ours, text.as_bytes())? {
        all if all == text.len() => Ok(theirs),
        _ => Err(io::Error::other("the text is too long for a pipe")),
    }
}

/// Takes what is in a pipe now, a bounded number of times; `None` is left in its place when every writer is gone.
pub fn drain(pipe: &mut Option<OwnedFd>, mut take: impl FnMut(&[u8])) {
    let mut chunk = [0u8; CHUNK];
    for _ in 0..CHUNKS_PER_TURN {
        let Some(open) = pipe.as_ref() else { return };
        match rustix::io::read(open, &mut chunk) {
            Ok(0) => *pipe = None,
            Ok(count) => take(chunk.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return,
            Err(_) => *pipe = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_text_is_read_to_its_end() {
        let mut read = String::new();
        std::fs::File::from(holding("v=0\r\n").unwrap()).read_to_string(&mut read).unwrap();
        assert_eq!(read, "v=0\r\n");
        assert!(holding(&"x".repeat(1 << 24)).is_err());
    }
}
