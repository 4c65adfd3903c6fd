//! Asks a stream process whether it is still there, without ever blocking its supervisor: a socket that is looked at.
//!
//! When to ask and what silence means is decided by [`crate::worker::probe_policy`].

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::core::ids::{Port, SessionId};
use crate::core::time::Moment;
use crate::worker::probe_policy::{ProcessProbe, Step};
use crate::worker::step::PROBE_USER;

/// The questions to one session's stream process.
#[derive(Debug, Default)]
pub struct Probe {
    policy: ProcessProbe,
    question: Option<Question>,
    next: Option<Moment>,
}

/// One question under way.
#[derive(Debug)]
struct Question {
    stream: TcpStream,
    /// What of the request is still to be sent.
    unsent: Vec<u8>,
}

impl Probe {
    /// Another process: nothing is known of it.
    pub fn reset(&mut self) {
        *self = Probe::default();
    }

    /// Becomes readable when there is an answer.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.question.as_ref().map(|question| question.stream.as_fd())
    }

    /// When to look again although nothing was heard.
    pub fn next_look(&self) -> Option<Moment> {
        self.next
    }

    /// Takes an answer, asks when it is time. For how long the process has been silent, once that means that it hangs.
    pub fn look(
        &mut self,
        now: Moment,
        needed: Option<Moment>,
        session: &SessionId,
        port: Port,
    ) -> Option<Duration> {
        match self.question.as_mut().map(Question::go_on) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => {
                self.question = None;
                self.policy.answered(now);
            }
            Some(Err(_)) => {
                self.question = None;
                self.policy.refused(now);
            }
        }
        match self.policy.step(now, needed) {
            Step::Wait(until) => self.next = until,
            Step::Hung(silent) => return Some(silent),
            Step::Ask => {
                self.question = Question::ask(session, port).ok();
                // The policy says when patience ends; a question that could not be put is silence as well.
                if let Step::Wait(until) = self.policy.step(now, needed) {
                    self.next = until;
                }
            }
        }
        None
    }
}

impl Question {
    fn ask(session: &SessionId, port: Port) -> std::io::Result<Question> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.0));
        match rustix::net::connect(&socket, &address) {
            // On loopback a connection is there at once, unless nobody takes the earlier ones.
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let request = format!(
            "GET /session/{}/ HTTP/1.1\r\nHost: {address}\r\nX-Forwarded-User: {PROBE_USER}\r\nConnection: close\r\n\r\n",
            session.expose()
        );
        let mut question = Question { stream: TcpStream::from(socket), unsent: request.into_bytes() };
        question.go_on()?;
        Ok(question)
    }

    /// Sends what can be sent. True: there is an answer, whatever it is.
    fn go_on(&mut self) -> std::io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if is_patient(error.kind()) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if is_patient(error.kind()) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether there is nothing to do but to look again.
fn is_patient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::worker::probe_policy::{MISSES, PATIENCE};

    fn listener() -> (TcpListener, Port) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port(listener.local_addr().unwrap().port());
        (listener, port)
    }

    #[test]
    fn a_process_that_answers_is_left_alone() {
        let (listener, port) = listener();
        let session = SessionId::from_entropy([1; 16]);
        let mut probe = Probe::default();
        assert_eq!(probe.look(Moment(0), Some(Moment(0)), &session, port), None);
        let (mut asked, _) = listener.accept().unwrap();
        let mut head = [0; 512];
        let length = asked.read(&mut head).unwrap();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(head.starts_with("GET /session/01010101") && head.ends_with("\r\n\r\n"), "{head}");
        asked.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let fd = probe.descriptor().expect("a question");
        rustix::event::poll(
            &mut [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN)],
            None,
        )
        .unwrap();
        assert_eq!(probe.look(Moment(10), Some(Moment(10)), &session, port), None);
        assert!(probe.descriptor().is_none() && probe.next_look() > Some(Moment(10)), "it rests");
    }

    #[test]
    fn a_process_that_takes_connections_and_says_nothing_hangs() {
        let (_listener, port) = listener();
        let session = SessionId::from_entropy([1; 16]);
        let (mut probe, mut now) = (Probe::default(), Moment(0));
        let silent = loop {
            if let Some(silent) = probe.look(now, Some(now), &session, port) {
                break silent;
            }
            now = probe.next_look().expect("it goes on");
        };
        assert!(silent >= PATIENCE * MISSES, "{silent:?}");
    }
}
