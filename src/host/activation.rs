//! Sockets that systemd listens on for us, and passes at our start (sd_listen_fds(3)): ports below 1024 without a capability,
//! and connections that wait while we restart, instead of being refused.
//!
//! Beside `host::process` and `host::sandbox` this is the only module with `unsafe`: a number becomes a descriptor.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{SocketType, getsockname, sockopt};

use crate::config::Environment;

/// The first passed descriptor (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// More sockets than any unit of ours has.
const MOST: RawFd = 64;

/// They are taken once: nobody else may own them.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A listening TCP socket.
#[derive(Debug)]
pub struct Passed {
    /// The socket.
    pub socket: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// What its unit calls it (`FileDescriptorName=`); by default the unit's own name.
    pub name: String,
}

/// Takes what was passed to this process; nothing, if that is not how it was started. To be called before we listen on anything
/// ourselves. The error says what to change.
pub fn take(environment: &Environment) -> Result<Vec<Passed>, String> {
    let count = match announced(environment, std::process::id())? {
        0 => return Ok(Vec::new()),
        _ if TAKEN.swap(true, Ordering::AcqRel) => return Ok(Vec::new()),
        count => count,
    };
    let mut names = environment.get("LISTEN_FDNAMES").unwrap_or_default().split(':');
    (FIRST..FIRST + count)
        .map(|number| {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("a socket unit");
            adopt(number, name).map_err(|why| {
                format!("{name} passes descriptor {number}, which {why}; each ListenStream= is a TCP port")
            })
        })
        .collect()
}

/// How many descriptors are meant for the process `own_pid`.
fn announced(environment: &Environment, own_pid: u32) -> Result<RawFd, String> {
    let ours = environment.get("LISTEN_PID").is_some_and(|pid| pid.parse() == Ok(own_pid));
    let Some(count) = environment.get("LISTEN_FDS").filter(|_| ours) else { return Ok(0) };
    let number = count.parse().ok().filter(|count| (0..=MOST).contains(count));
    number.ok_or_else(|| format!("LISTEN_FDS is not a number from 0 to {MOST}, as systemd sets it"))
}

fn adopt(number: RawFd, name: &str) -> Result<Passed, &'static str> {
    let link = fs::read_link(format!("/proc/self/fd/{number}")).map_err(|_| "is not open")?;
    if !link.to_string_lossy().starts_with("socket:") {
        return Err("is no socket");
    }
    // It is open, as just seen, and systemd made it for the process that LISTEN_PID names, before it ran us.
    #[allow(unsafe_code)]
    // SAFETY: so nothing of ours has this number, and it is taken once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    let stream = sockopt::socket_type(&fd) == Ok(SocketType::STREAM);
    let listens = sockopt::socket_acceptconn(&fd) == Ok(true);
    let address = getsockname(&fd).ok().and_then(|any| SocketAddr::try_from(any).ok());
    let Some(address) = address.filter(|_| stream && listens) else {
        return Err("is no listening TCP socket");
    };
    // No stream process is given it.
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(|_| "cannot be kept from other processes")?;
    Ok(Passed { socket: fd.into(), address, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pairs: &[(&str, &str)]) -> Result<RawFd, String> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        announced(&Environment::new(pairs), 42)
    }

    #[test]
    fn sockets_are_for_the_process_that_is_named() {
        assert_eq!(counted(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "2")]), Ok(2));
        for others in [
            &[("LISTEN_PID", "43"), ("LISTEN_FDS", "2")][..],
            &[("LISTEN_FDS", "2")],
            &[("LISTEN_PID", "42")],
            &[],
        ] {
            assert_eq!(counted(others), Ok(0), "{others:?}");
        }
        for bad in ["-1", "65", "x"] {
            let said = counted(&[("LISTEN_PID", "42"), ("LISTEN_FDS", bad)]);
            assert!(said.is_err_and(|text| text.contains("LISTEN_FDS")), "{bad}");
        }
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        for number in [0, 1_000_000] {
            let said = adopt(number, "x").map(|passed| passed.address);
            assert!(said == Err("is not open") || said == Err("is no socket"), "{said:?}");
        }
    }
}
