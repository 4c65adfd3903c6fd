//! Which addresses of ours one peer is told, and which of them a datagram came to.
//!
//! ```text
//!   peer ──▶ 203.0.113.7:59000 ──NAT──▶ 10.0.0.3:59000 (the socket says where it arrived)
//!            what the answer offers      what the kernel knows
//! ```
//!
//! ICE must hear of the offered address and of no other: a check "to" an address that was not offered is dropped silently.

use std::net::{IpAddr, SocketAddr};

use str0m::Candidate;
use str0m::net::{Protocol, TcpType};

use crate::core::ice::{self, Addresses, HostCandidate, Ports};

/// The candidates of one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalCandidates {
    addresses: Addresses,
    ports: Ports,
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

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Protocol {
        match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        }
    }
}

impl LocalCandidates {
    /// Candidates with these addresses and ports.
    pub fn new(addresses: Addresses, ports: Ports, interfaces: Vec<IpAddr>) -> LocalCandidates {
        LocalCandidates { addresses, ports, interfaces }
    }

    /// What is given to ICE, best first.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.addresses.candidates(self.ports).into_iter().filter_map(candidate).collect()
    }

    /// The offered address that what arrived at `local` was meant for.
    pub fn offered(&self, transport: Transport, local: SocketAddr) -> Option<SocketAddr> {
        let port = match transport {
            Transport::Udp => self.ports.udp,
            Transport::Tcp => self.ports.tcp,
        };
        Some(SocketAddr::new(self.addresses.meant(local.ip())?, port?))
    }

    /// The address to send from when ICE wants to send from `offered` and nothing came from there yet; `None`: the kernel's
    /// choice.
    pub fn source(&self, offered: SocketAddr) -> Option<IpAddr> {
        self.interfaces.contains(&offered.ip()).then_some(offered.ip())
    }
}

fn candidate(host: HostCandidate) -> Option<Candidate> {
    match host.transport {
        ice::Transport::Udp => Candidate::host(host.address, "udp").ok(),
        ice::Transport::TcpPassive => {
            Candidate::builder().tcp().host(host.address).tcptype(TcpType::Passive).build().ok()
        }
    }
}
