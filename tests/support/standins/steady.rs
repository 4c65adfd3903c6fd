//! Reads that Linux may cut short: a socket with a time-out says EINTR once its process was stopped and goes on, or its machine was
//! frozen (signal(7)). What is asked has nothing to do with that, so the read is made again. `read_exact`, `read_to_end`, `write_all` and
//! lines of the standard library do so by themselves, as does rustls.

use std::io::{self, ErrorKind, Read, Write};
use std::ops::Deref;

/// Makes a call until nothing cuts it short.
pub fn steady<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// A socket for those who take every error for its end.
#[derive(Debug)]
pub struct Steady<S>(pub S);

impl<S: Read> Read for Steady<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        steady(|| self.0.read(buffer))
    }
}

impl<S: Write> Write for Steady<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        steady(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S> Deref for Steady<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}
