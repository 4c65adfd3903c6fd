//! Listening ports: why one cannot be had, in words; whether one could be had, without taking it; and who has it.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::logging;

/// Ports below are for those who may bind them.
pub const FIRST_FREE: u16 = 1024;

/// What runs on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Why a port cannot be bound, and what to do. `what` is shown: an address, or the port of something.
pub fn in_words(what: &str, port: u16, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            return format!("cannot bind {what}: is another hydraneckwebrtc already running? ({error})");
        }
        io::ErrorKind::PermissionDenied if port < FIRST_FREE => {
            "ports below 1024 need the socket unit (`systemctl enable --now` the .socket beside the .service), or the capability \
             CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit, and no PrivateUsers=); or choose a higher one"
        }
        io::ErrorKind::PermissionDenied => {
            "the system's policy forbids it (SELinux, AppArmor, a filter of system calls)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has that address; `ip address` shows those it has, and without an address all are used"
        }
        _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            "this host does not have that kind of address; name one of the other kind, IPv4 or IPv6"
        }
        _ => "see what the system says",
    };
    format!("cannot bind {what}: {error}: {why}")
}

/// Whether this address could be bound now. Nothing is listened for, and it is let go at once.
pub fn probe(protocol: Protocol, address: SocketAddr) -> io::Result<()> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if protocol == Protocol::Tcp {
        // As when it is listened on: what waits for old connections is in nobody's way.
        socket.set_reuse_address(true)?;
    }
    if address.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(protocol == Protocol::Udp)?;
    }
    socket.bind(&address.into())
}

/// Whether a `verb` of this program on this host has a socket on the port.
pub fn is_held_by(verb: &str, protocol: Protocol, port: u16) -> bool {
    let sockets = sockets_on(protocol, port);
    processes().filter(|pid| runs(*pid, verb)).any(|pid| {
        // Another user's: its sockets can be told by their owner only.
        let by_owner = || owner(pid).is_some_and(|uid| sockets.iter().any(|socket| socket.uid == uid));
        has_one_of(pid, &sockets).unwrap_or_else(by_owner)
    })
}

/// Who has a socket on the port, by name and process. Only root sees those of others.
pub fn holder(protocol: Protocol, port: u16) -> Option<String> {
    let sockets = sockets_on(protocol, port);
    let pid = processes().find(|pid| has_one_of(*pid, &sockets) == Some(true))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (process {pid})", logging::clean(name.trim_end())))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the process has one of these sockets; `None`: we may not look.
fn has_one_of(pid: u32, sockets: &[Held]) -> Option<bool> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut names = links.map(|link| link.to_string_lossy().into_owned());
    Some(names.any(|name| sockets.iter().any(|socket| name == format!("socket:[{}]", socket.inode))))
}

/// Whether systemd itself listens on the TCP port, for a socket unit. Only root can see that.
pub fn is_held_by_systemd(port: u16) -> bool {
    let is_systemd = fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim_end() == "systemd");
    let sockets = if is_systemd { sockets_on(Protocol::Tcp, port) } else { Vec::new() };
    let descriptors = fs::read_dir("/proc/1/fd").into_iter().flatten().flatten();
    let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| {
        let name = link.to_string_lossy();
        sockets.iter().any(|socket| name == format!("socket:[{}]", socket.inode))
    })
}

struct Held {
    uid: u32,
    inode: u64,
}

/// The sockets that listen on the port, in either family (proc_pid_net(5)).
fn sockets_on(protocol: Protocol, port: u16) -> Vec<Held> {
    let (name, state) = match protocol {
        Protocol::Tcp => ("tcp", "0A"),
        Protocol::Udp => ("udp", "07"),
    };
    let texts =
        ["", "6"].map(|family| fs::read_to_string(format!("/proc/net/{name}{family}")).unwrap_or_default());
    let held = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let local = words.get(1)?.rsplit_once(':')?.1;
        let is_it = u16::from_str_radix(local, 16).ok() == Some(port) && words.get(3) == Some(&state);
        is_it.then_some(Held { uid: words.get(7)?.parse().ok()?, inode: words.get(9)?.parse().ok()? })
    };
    texts.iter().flat_map(|text| text.lines().filter_map(held)).collect()
}

fn runs(pid: u32, verb: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(env!("CARGO_PKG_NAME").as_bytes()) && words.next() == Some(verb.as_bytes())
}

fn owner(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::host::let_go::once_let_go;

    // SPEC 5: Only a port that is taken is "another hydraneckwebrtc"; every other reason says what
    // to do
    #[test]
    fn only_a_port_that_is_taken_is_another_of_us() {
        let said = |kind: io::ErrorKind, port| in_words("X", port, &kind.into());
        assert!(said(io::ErrorKind::AddrInUse, 1).contains("is another hydraneckwebrtc already running?"));
        let others = [
            (said(io::ErrorKind::PermissionDenied, 80), "CAP_NET_BIND_SERVICE"),
            (said(io::ErrorKind::PermissionDenied, 8080), "policy"),
            (said(io::ErrorKind::AddrNotAvailable, 80), "no interface of this host"),
            (in_words("X", 1, &Errno::AFNOSUPPORT.into()), "IPv4 or IPv6"),
            (in_words("X", 1, &Errno::NFILE.into()), "too many"),
        ];
        for (said, why) in others {
            assert!(
                said.starts_with("cannot bind X") && said.to_lowercase().contains(&why.to_lowercase()),
                "{said}"
            );
            assert!(!said.contains("another hydraneckwebrtc"), "{said}");
        }
    }

    #[test]
    fn a_probe_tells_a_taken_port_from_a_free_one_and_takes_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
        for (protocol, address) in [(Protocol::Tcp, tcp), (Protocol::Udp, udp)] {
            assert_eq!(probe(protocol, address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert_eq!(sockets_on(protocol, address.port()).len(), 1);
            assert!(!is_held_by("worker", protocol, address.port()), "it is held by a test");
            let found = holder(protocol, address.port()).unwrap_or_default();
            assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
        }
        drop((listener, socket));
        for _ in 0..2 {
            once_let_go(|| probe(Protocol::Tcp, tcp));
            once_let_go(|| probe(Protocol::Udp, udp));
        }
        let nowhere = "203.0.113.7:0".parse().unwrap();
        assert_eq!(probe(Protocol::Tcp, nowhere).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
