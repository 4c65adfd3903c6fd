//! Which addresses of ours peers are told, and which of them a datagram came to.
//!
//! ```text
//!   peer ──▶ 203.0.113.7:59000 ──NAT──▶ 10.0.0.3:59000 (the socket says where it arrived)
//!            what the answer offers      what the kernel knows
//! ```
//!
//! ICE must hear of the offered address and of no other: a check "to" an address that was not offered is dropped silently.

use std::net::{IpAddr, SocketAddr};

use str0m::Candidate;
use str0m::net::TcpType;

/// The candidates of one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locals {
    /// Offered for UDP.
    udp: Vec<SocketAddr>,
    /// Offered for ICE-TCP.
    tcp: Vec<SocketAddr>,
    /// Addresses that are really ours, as of the offer.
    interfaces: Vec<IpAddr>,
}

/// A transport, as ICE tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// RFC 4571 frames on a connection that the peer opened.
    Tcp,
}

impl Locals {
    /// Candidates with these addresses and ports. A family without a socket has no port.
    pub fn new(addresses: &[IpAddr], udp: Ports, tcp: Ports, interfaces: Vec<IpAddr>) -> Locals {
        let with = |ports: Ports| -> Vec<SocketAddr> {
            addresses.iter().filter_map(|ip| Some(SocketAddr::new(*ip, ports.of(*ip)?))).collect()
        };
        Locals { udp: with(udp), tcp: with(tcp), interfaces }
    }

    /// Whether there is nothing to offer.
    pub fn is_empty(&self) -> bool {
        self.udp.is_empty() && self.tcp.is_empty()
    }

    /// What is given to ICE, best first.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        let udp = self.udp.iter().filter_map(|address| Candidate::host(*address, "udp").ok());
        let passive = |address: &SocketAddr| {
            Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build().ok()
        };
        udp.chain(self.tcp.iter().filter_map(passive))
    }

    /// The offered address that what arrived at `local` was meant for.
    pub fn offered(&self, transport: Transport, local: SocketAddr) -> Option<SocketAddr> {
        let offered = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        };
        let family = || offered.iter().filter(|address| address.is_ipv4() == local.is_ipv4());
        let exact = family().find(|address| address.ip() == local.ip());
        let outside = || family().find(|address| !self.interfaces.contains(&address.ip()));
        exact.or_else(outside).or_else(|| family().next()).copied()
    }

    /// The address to send from when ICE wants to send from `offered` and nothing came from there yet; `None`: the kernel's
    /// choice.
    pub fn source(&self, offered: SocketAddr) -> Option<IpAddr> {
        self.interfaces.contains(&offered.ip()).then_some(offered.ip())
    }
}

/// The port per address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// IPv4.
    pub v4: Option<u16>,
    /// IPv6.
    pub v6: Option<u16>,
}

impl Ports {
    fn of(self, ip: IpAddr) -> Option<u16> {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Ports = Ports { v4: Some(59_000), v6: Some(59_000) };
    const NONE: Ports = Ports { v4: None, v6: None };

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_arrives_at_an_offered_address_was_meant_for_it() {
        let locals =
            Locals::new(&ips(&["10.0.0.3", "192.0.2.7"]), BOTH, NONE, ips(&["10.0.0.3", "192.0.2.7"]));
        assert_eq!(locals.offered(Transport::Udp, at("192.0.2.7:59000")), Some(at("192.0.2.7:59000")));
        assert_eq!(locals.source(at("192.0.2.7:59000")), Some([192, 0, 2, 7].into()));
        assert_eq!(locals.offered(Transport::Tcp, at("192.0.2.7:59000")), None);
    }

    #[test]
    fn behind_a_nat_everything_was_meant_for_the_public_address() {
        let locals =
            Locals::new(&ips(&["10.0.0.3", "203.0.113.7"]), BOTH, NONE, ips(&["10.0.0.3", "10.9.9.9"]));
        assert_eq!(locals.offered(Transport::Udp, at("10.9.9.9:59000")), Some(at("203.0.113.7:59000")));
        assert_eq!(locals.offered(Transport::Udp, at("10.0.0.3:59000")), Some(at("10.0.0.3:59000")));
        assert_eq!(locals.source(at("203.0.113.7:59000")), None);
        assert_eq!(locals.offered(Transport::Udp, at("[2001:db8::1]:59000")), None);
    }

    #[test]
    fn a_family_without_a_socket_is_not_offered() {
        let locals = Locals::new(
            &ips(&["10.0.0.3", "2001:db8::1"]),
            Ports { v4: Some(1), v6: None },
            BOTH,
            Vec::new(),
        );
        let candidates: Vec<String> =
            locals.candidates().map(|c| format!("{} {}", c.proto(), c.addr())).collect();
        assert_eq!(candidates, ["udp 10.0.0.3:1", "tcp 10.0.0.3:59000", "tcp [2001:db8::1]:59000"]);
    }
}
