//! One port per peer (`webrtc.epr`): a range from which sockets are bound when a peer is offered.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::core::ice::Binding;
use crate::media::tcp;
use crate::media::udp::{Pair, Share, Udp};

/// The range. Ports are tried in turn, so that one that was just let go is the last to be used again: late datagrams of its old
/// peer reach nobody.
#[derive(Debug)]
pub struct PortPool {
    first: u16,
    count: u32,
    next: AtomicU32,
    binding: Binding,
}

impl PortPool {
    /// Ports `first` to `last`.
    pub fn new((first, last): (u16, u16), binding: Binding) -> PortPool {
        let count = u32::from(last.saturating_sub(first)) + 1;
        PortPool { first, count, next: AtomicU32::new(0), binding }
    }

    /// Binds the next port that is free in each family this host has.
    pub fn bind(&self) -> io::Result<Pair> {
        let mut last = io::Error::other("the range is empty");
        for _ in 0..self.count {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.count;
            let port = self.first.saturating_add(u16::try_from(turn).unwrap_or_default());
            match bind_both(self.binding, port, Share::Alone) {
                Ok(pair) => return Ok(pair),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Binds one UDP port in both families; a family that this host does not have is left out. Port 0: the kernel chooses one that is
/// free in both.
pub fn bind_both(binding: Binding, port: u16, share: Share) -> io::Result<Pair> {
    let [v4, v6] = both(binding, port, |ip, port| {
        let udp = Udp::bind(ip, port, share)?;
        let port = udp.port();
        Ok((Arc::new(udp), port))
    })?;
    Ok(Pair { v4, v6 })
}

/// The same for connections.
pub fn listen_both(binding: Binding, port: u16, share: Share) -> io::Result<[Option<TcpListener>; 2]> {
    both(binding, port, |ip, port| {
        let listener = tcp::listen(ip, port, share)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    })
}

/// Opens something on one port of IPv4 and IPv6.
fn both<T>(
    binding: Binding,
    port: u16,
    open: impl Fn(IpAddr, u16) -> io::Result<(T, u16)>,
) -> io::Result<[Option<T>; 2]> {
    /// The kernel chooses a port for IPv4 alone, which may be taken for IPv6.
    const ATTEMPTS: usize = 20;
    let mut attempt = once(binding, port, &open);
    for _ in 1..ATTEMPTS {
        match &attempt {
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => {
                attempt = once(binding, port, &open);
            }
            _ => break,
        }
    }
    attempt
}

fn once<T>(
    binding: Binding,
    port: u16,
    open: &impl Fn(IpAddr, u16) -> io::Result<(T, u16)>,
) -> io::Result<[Option<T>; 2]> {
    let (v4, v6) = match binding {
        Binding::Every => (Some(Ipv4Addr::UNSPECIFIED.into()), Some(Ipv6Addr::UNSPECIFIED.into())),
        Binding::Only(ip) => (Some(ip).filter(IpAddr::is_ipv4), Some(ip).filter(IpAddr::is_ipv6)),
    };
    let family = |ip: IpAddr, port: u16| match open(ip, port) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if ip.is_unspecified() && is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let v4 = v4.map(|ip| family(ip, port)).transpose()?.flatten();
    let port = v4.as_ref().map_or(port, |(_, port)| *port);
    let v6 = v6.map(|ip| family(ip, port)).transpose()?.flatten();
    if v4.is_none() && v6.is_none() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    Ok([v4.map(|(opened, _)| opened), v6.map(|(opened, _)| opened)])
}

/// The host does not have this family.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Binding = Binding::Only(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn a_range_gives_each_port_once_and_then_says_so() {
        let free = bind_both(LOOPBACK, 0, Share::Alone).unwrap();
        let port = free.v4.as_ref().map(|udp| udp.port()).unwrap();
        drop(free);
        let pool = PortPool::new((port, port), LOOPBACK);
        let first = pool.bind().unwrap();
        assert_eq!(first.v4.as_ref().map(|udp| udp.port()), Some(port));
        assert_eq!(pool.bind().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(pool.bind().is_ok());
    }
}
