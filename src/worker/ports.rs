//! Ports and slots for children: a TCP port on loopback and a block of UDP ports each.
//!
//! A TCP port is reserved by binding it; the reservation is let go right before the child binds it itself, and made again when
//! the child died, until the next one starts. For the moments in between each port has a name that only one worker of the machine
//! can have: an abstract Unix address (`unix(7)`), which lives in the network namespace like the port itself. Owner: the `cleanup`
//! thread. Leases give themselves back when they are dropped, from whatever thread.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::settings::CHILD_UDP_PORTS;
use crate::core::ids::Port;

/// Hands out leases.
#[derive(Clone, Debug)]
pub struct Ports {
    first_tcp: u16,
    udp_range: (u16, u16),
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    ports: BTreeSet<u16>,
    slots: BTreeSet<u16>,
}

/// A port and a slot, ours until dropped.
#[derive(Debug)]
pub struct Lease {
    port: Port,
    slot: u16,
    udp_range: (u16, u16),
    reservation: Option<TcpListener>,
    _claim: UnixDatagram,
    taken: Arc<Mutex<Taken>>,
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ports {
    /// TCP ports from `first_tcp` upward, UDP ports out of `udp_range`.
    pub fn new(first_tcp: u16, udp_range: (u16, u16)) -> Ports {
        Ports { first_tcp, udp_range, taken: Arc::default() }
    }

    /// The lowest port that is really free, and the lowest slot; `None` when either has run out.
    pub fn lease(&self) -> Option<Lease> {
        let mut taken = lock(&self.taken);
        let slots =
            (u32::from(self.udp_range.1) + 1 - u32::from(self.udp_range.0)) / u32::from(CHILD_UDP_PORTS);
        let slot = (0..u16::try_from(slots).unwrap_or(u16::MAX)).find(|slot| !taken.slots.contains(slot))?;
        let free = |port: &u16| !taken.ports.contains(port);
        let reserve = |port| Some((port, claim(port)?, bind(port)?));
        let (port, claim, reservation) = (self.first_tcp..=u16::MAX).filter(free).find_map(reserve)?;
        taken.ports.insert(port);
        taken.slots.insert(slot);
        let (udp_range, taken) = (self.udp_range, self.taken.clone());
        Some(Lease {
            port: Port(port),
            slot,
            udp_range,
            reservation: Some(reservation),
            _claim: claim,
            taken,
        })
    }

    /// How many leases are out.
    pub fn in_use(&self) -> usize {
        lock(&self.taken).ports.len()
    }
}

fn bind(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

/// The port among the workers of this machine.
fn claim(port: u16) -> Option<UnixDatagram> {
    let name = SocketAddr::from_abstract_name(format!("hydraneckwebrtc/port/{port}")).ok()?;
    UnixDatagram::bind_addr(&name).ok()
}

impl Lease {
    /// The TCP port.
    pub fn port(&self) -> Port {
        self.port
    }

    /// First and last UDP port.
    pub fn udp_ports(&self) -> (u16, u16) {
        let first = self.udp_range.0 + self.slot * CHILD_UDP_PORTS;
        (first, first + (CHILD_UDP_PORTS - 1))
    }

    /// Lets the child bind the port. The lease still keeps it from other sessions.
    pub fn hand_over(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            // Closing is not enough: a child that another thread starts at this moment has a copy until it executes its program,
            // and with the copy the port. This ends the listening itself; it fails for a socket that does not listen.
            let _ = rustix::net::shutdown(&reservation, rustix::net::Shutdown::Both);
        }
    }

    /// Reserves the port again after the child is gone, so that nobody else has it when the next child wants it. Whoever was
    /// faster keeps it: then the next child says so.
    pub fn take_back(&mut self) {
        self.reservation = self.reservation.take().or_else(|| bind(self.port.0));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.ports.remove(&self.port.0);
        taken.slots.remove(&self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::let_go::once_let_go;

    // SPEC 5: The port is really free, and stays the session's over restarts and beside other
    // workers
    // Also: `leases_differ_and_come_back`, `the_port_of_a_dead_child_stays_reserved`,
    // `a_copy_of_the_reservation_in_another_process_does_not_keep_the_port`,
    // `two_workers_never_share_a_port_not_even_while_a_child_starts`
    #[test]
    fn a_port_somebody_else_listens_on_is_skipped() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = other.local_addr().unwrap().port();
        let ports = Ports::new(start, (40000, 40099));
        let lease = ports.lease().unwrap();
        assert!(lease.port().0 > start, "{lease:?} is somebody else's port {start}");
    }

    #[test]
    fn the_port_of_a_dead_child_stays_reserved() {
        let ports = Ports::new(27000, (40000, 40039));
        let mut lease = ports.lease().unwrap();
        let port = lease.port().0;
        lease.hand_over();
        let child = TcpListener::bind(("127.0.0.1", port)).expect("the child's bind");
        lease.take_back();
        drop(child);
        once_let_go(|| {
            lease.take_back();
            lease.reservation.as_ref().map(|_| ()).ok_or("the child has it still")
        });
        let other = TcpListener::bind(("127.0.0.1", port));
        assert_eq!(other.map_err(|error| error.kind()).err(), Some(std::io::ErrorKind::AddrInUse));
        lease.hand_over();
        TcpListener::bind(("127.0.0.1", port)).expect("the next child's bind");
    }

    #[test]
    fn a_copy_of_the_reservation_in_another_process_does_not_keep_the_port() {
        let ports = Ports::new(27200, (40000, 40039));
        let mut lease = ports.lease().unwrap();
        let copy = lease.reservation.as_ref().unwrap().try_clone().unwrap();
        lease.hand_over();
        let child = TcpListener::bind(("127.0.0.1", lease.port().0));
        drop(copy);
        child.expect("the child's bind");
    }

    #[test]
    fn two_workers_never_share_a_port_not_even_while_a_child_starts() {
        let (one, other) = (Ports::new(27100, (40000, 40039)), Ports::new(27100, (40000, 40039)));
        let mut lease = one.lease().unwrap();
        lease.hand_over();
        assert_ne!(other.lease().unwrap().port(), lease.port());
        let port = lease.port();
        drop(lease);
        assert_eq!(other.lease().unwrap().port(), port);
    }

    #[test]
    fn leases_differ_and_come_back() {
        let ports = Ports::new(20000, (40000, 40039));
        let mut first = ports.lease().unwrap();
        first.hand_over();
        let second = ports.lease().unwrap();
        assert_ne!(first.port(), second.port());
        assert_eq!((first.udp_ports(), second.udp_ports()), ((40000, 40019), (40020, 40039)));
        assert!(ports.lease().is_none(), "there are two slots only");
        drop(first);
        assert_eq!(ports.lease().unwrap().udp_ports(), (40000, 40019));
        drop(second);
        assert_eq!(ports.in_use(), 0);
    }
}
