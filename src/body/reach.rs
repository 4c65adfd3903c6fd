//! Whether a body answers, and how long that takes: a TCP connect to Sunshine's port.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connect that failed, with what was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Where to.
    pub address: SocketAddr,
    /// How long it was tried.
    pub tried_for: Duration,
    /// What the kernel said.
    pub cause: &'static str,
}

impl Unreachable {
    /// The machine answered, and refused: the way to it is there.
    pub fn is_refused(&self) -> bool {
        self.cause == REFUSED
    }

    /// This host knows no way to it, so that nothing was sent.
    pub fn has_no_route(&self) -> bool {
        self.cause == NO_ROUTE
    }
}

const REFUSED: &str = "connection refused: the machine is on, Sunshine does not run";
const NO_ROUTE: &str = "no route to it from this host";

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port, millis) = (self.address.ip(), self.address.port(), self.tried_for.as_millis());
        write!(f, "tried {ip} port {port} for {millis} ms: {}", self.cause)
    }
}

/// Connects once; the time it took.
pub fn connect(address: SocketAddr, limit: Duration) -> Result<Duration, Unreachable> {
    let begun = Instant::now();
    match TcpStream::connect_timeout(&address, limit) {
        Ok(_) => Ok(begun.elapsed()),
        Err(error) => Err(Unreachable { address, tried_for: begun.elapsed(), cause: cause(error.kind()) }),
    }
}

fn cause(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => REFUSED,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            "no answer: the machine is off, or no route leads to it"
        }
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => NO_ROUTE,
        ErrorKind::HostUnreachable => "no route to it",
        _ => "the connect failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_refused_connect_says_what_was_tried() {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
        let text = connect(address, Duration::from_secs(2)).unwrap_err().to_string();
        assert!(text.starts_with("tried 127.0.0.1 port ") && text.contains("refused"), "{text}");
    }

    #[test]
    fn an_answer_is_timed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let took = connect(listener.local_addr().unwrap(), Duration::from_secs(2)).unwrap();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
