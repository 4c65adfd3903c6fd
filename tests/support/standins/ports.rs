//! Ports that stay free until whoever asked for one takes it.
//!
//! The kernel gives ports of its own range (`net.ipv4.ip_local_port_range`, from 32768 up) to every socket that leaves the
//! choice to it, connections out included. A port from there that was let go, because a program of a test is to take it, or
//! is to take it again after a restart, may be somebody else's by then. The ports here are below that range.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// The first one. Below are the ranges where workers of tests look for their children's ports.
const FIRST: u16 = 26_000;

/// How many there are: they end below the kernel's.
const COUNT: u16 = 6_700;

/// A port that no socket of this machine has and that the kernel gives to nobody. Each call tells another one.
///
/// # Errors
/// None is left.
pub fn own_port() -> io::Result<u16> {
    own_ports(1)
}

/// The first of so many such ports in a row. It is even, as an RTP stream's is.
///
/// # Errors
/// No such row is left.
pub fn own_ports(count: u16) -> io::Result<u16> {
    next_beside(&taken()?, count)
        .ok_or_else(|| io::Error::other(format!("no {count} free ports in a row from {FIRST} on")))
}

/// The next row, where none of these is in it.
fn next_beside(taken: &BTreeSet<u16>, count: u16) -> Option<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another program of tests begins elsewhere.
    let begin = std::process::id().wrapping_mul(2018);
    let step = u32::from(count.next_multiple_of(2));
    let mut rows = (0..COUNT).map(|_| {
        let offset = begin.wrapping_add(NEXT.fetch_add(step, Ordering::Relaxed));
        FIRST + (offset % u32::from(COUNT)) as u16
    });
    rows.find(|port| taken.range(*port..port + count).next().is_none())
}

/// The ports of all sockets of this machine, as the kernel tells them. A socket that tried would take the port from whoever is
/// about to, and a copy of it in a process that another test starts at that moment would keep it.
///
/// # Errors
/// The kernel's tables cannot be read.
pub fn taken() -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let table = match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            // This machine has no IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        let locals = table.lines().filter_map(|row| row.split_whitespace().nth(1)?.rsplit(':').next());
        ports.extend(locals.filter_map(|port| u16::from_str_radix(port, 16).ok()));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    // One test: calls of another one at the same time would tell ports again.
    #[test]
    fn ports_are_told_once_below_the_kernels_and_only_when_nobody_has_them() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("a range");
        let kernels: u16 =
            range.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a port");
        let mut told: Vec<u16> = (0..20).map(|_| own_port().expect("a port")).collect();
        let row = own_ports(4).expect("a row");
        assert_eq!(row % 2, 0, "{row}");
        told.extend(row..row + 4);
        assert!(told.iter().all(|port| *port < kernels), "{told:?}, and the kernel's begin at {kernels}");
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 24, "{told:?}");

        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, own_port().expect("a port"))).expect("a port");
        let taken = socket.local_addr().expect("its address").port();
        let all = super::taken().expect("the kernel's tables");
        assert!(all.contains(&taken), "{taken} is not in {all:?}");
        assert!((0..COUNT).all(|_| next_beside(&all, 1).expect("a port") != taken), "{taken}");
    }
}
