//! Names to addresses, under a deadline: the C library's resolver has none, so a name is looked up on a thread of its own.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::host::aside;

/// Stack of a look-up's thread in bytes: the C library's resolver keeps its answers there.
const STACK: usize = 256 * 1024;

/// Why a name led nowhere.
#[derive(Debug)]
pub enum NotFound {
    /// No thread to ask on.
    NoThread(io::Error),
    /// Nobody answered in time.
    Late,
    /// Nobody knows it.
    Unknown(io::Error),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::NoThread(error) => write!(f, "no thread to look the host up: {error}"),
            NotFound::Late => f.write_str("no name server answered in time"),
            NotFound::Unknown(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotFound {}

/// Asks for the addresses of a host on a thread of its own. `then` hears the answer there, which can be long after nobody waits for it
/// any more.
pub fn begin(
    host: &str,
    port: u16,
    then: impl FnOnce(&io::Result<Vec<SocketAddr>>) + Send + 'static,
) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
    let host = host.to_owned();
    let work = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        then(&found);
        found
    };
    aside::start("look-up", STACK, work)
}

/// The addresses of a host. An address needs neither a name server nor a thread.
pub fn look_up(host: &str, port: u16, wait: Duration) -> Result<Vec<SocketAddr>, NotFound> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = begin(host, port, |_| ()).map_err(NotFound::NoThread)?;
    match found.recv_timeout(wait) {
        Ok(addresses) => addresses.map_err(NotFound::Unknown),
        Err(RecvTimeoutError::Timeout) => Err(NotFound::Late),
        Err(RecvTimeoutError::Disconnected) => {
            Err(NotFound::Unknown(io::Error::other("the look-up ended without an answer")))
        }
    }
}
