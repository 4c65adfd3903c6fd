//! Which host candidates we offer (RFC 8445, 5.1.1.1), where our media sockets are bound, and under which of its names a socket
//! was reached.
//!
//! ```text
//!  server.listen          bound to            offered
//!  :47990                 every address       each address of an interface that others can reach, plus a learned public one
//!  10.10.0.2:47990        10.10.0.2           10.10.0.2
//!  127.0.0.1:47990        127.0.0.1           127.0.0.1: tests
//!  (the demo)             every address       loopback, then each address of an interface: see [`Addresses::new`]
//!  any, with nat1to1      every address, or   the addresses of nat1to1, instead of those of their family
//!                         the one listened on
//! ```
//!
//! Whoever listens on loopback and names an address in `nat1to1` has a proxy in front of HTTP but not of media: sockets are then
//! bound to every address, and only those are offered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::settings::{Listen, Settings};

/// Most addresses that are offered: each costs the browser a check per candidate of its own.
pub const MAX_ADDRESSES: usize = 8;

/// What sockets are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Every address of the host, IPv6 and IPv4.
    Every,
    /// This one.
    Only(IpAddr),
}

/// Transport of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, passive (RFC 6544): we are connected to.
    TcpPassive,
}

/// A host candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCandidate {
    /// What the other side is told.
    pub address: SocketAddr,
    /// How it is reached.
    pub transport: Transport,
}

/// The ports of one peer, as bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Of `udpmux`, or the peer's own out of `epr`.
    pub udp: Option<u16>,
    /// Of `tcpmux`.
    pub tcp: Option<u16>,
}

/// The addresses that we offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    offered: Vec<IpAddr>,
}

/// Where media sockets are bound.
pub fn binding(settings: &Settings) -> Binding {
    match listen_host(settings) {
        _ if settings.webrtc.everywhere => Binding::Every,
        None => Binding::Every,
        Some(host) if host.is_unspecified() => Binding::Every,
        Some(host) if host.is_loopback() && !settings.webrtc.nat1to1.is_empty() => Binding::Every,
        Some(host) => Binding::Only(host),
    }
}

fn listen_host(settings: &Settings) -> Option<IpAddr> {
    match &settings.server.listen {
        Listen::Plain(address) => address.host.map(|host| host.to_canonical()),
        Listen::Domain(_) => None,
    }
}

fn listens_on_loopback(settings: &Settings) -> bool {
    listen_host(settings).is_some_and(|host| host.is_loopback())
}

/// Whether `webrtc.ip_retrieval_url` is to be asked: nobody told us a public address, no interface has one, and others than
/// this host can reach us.
pub fn needs_public_address(settings: &Settings, interfaces: &[IpAddr]) -> bool {
    settings.webrtc.nat1to1.is_empty()
        && binding(settings) == Binding::Every
        && !interfaces.iter().any(|ip| is_global(*ip))
}

impl Addresses {
    /// What to offer, from settings, the addresses of the host's interfaces, and a public address that was learned.
    ///
    /// Loopback is nobody's but this host's, and not enough even there: Firefox pairs a loopback candidate with none of its own
    /// addresses. Whoever is there for browsers of this host (`everywhere`) offers it beside the others, first, so that no
    /// number of interfaces crowds it out.
    pub fn new(settings: &Settings, interfaces: &[IpAddr], learned: Option<IpAddr>) -> Addresses {
        let nat = &settings.webrtc.nat1to1;
        let own: Vec<IpAddr> = match binding(settings) {
            Binding::Only(address) => vec![address],
            Binding::Every if settings.webrtc.everywhere => {
                let all = || interfaces.iter().map(|ip| ip.to_canonical());
                all().filter(IpAddr::is_loopback).chain(all().filter(|ip| is_reachable(*ip))).collect()
            }
            // A proxy in front of HTTP: media is offered where we were told, and nowhere else.
            Binding::Every if listens_on_loopback(settings) => Vec::new(),
            Binding::Every => {
                let reachable = interfaces.iter().map(|ip| ip.to_canonical()).filter(|ip| is_reachable(*ip));
                reachable.chain(learned.map(|ip| ip.to_canonical())).collect()
            }
        };
        let replaced = |ip: &IpAddr| nat.iter().any(|public| public.is_ipv4() == ip.is_ipv4());
        let mut offered: Vec<IpAddr> = Vec::new();
        for ip in nat.iter().copied().chain(own.into_iter().filter(|ip| !replaced(ip))) {
            if !offered.contains(&ip) && offered.len() < MAX_ADDRESSES {
                offered.push(ip);
            }
        }
        Addresses { offered }
    }

    /// These, and no others.
    pub fn only(list: &[IpAddr]) -> Addresses {
        Addresses { offered: list.iter().map(|ip| ip.to_canonical()).take(MAX_ADDRESSES).collect() }
    }

    /// The candidates of a peer with these ports.
    pub fn candidates(&self, ports: Ports) -> Vec<HostCandidate> {
        let each = |port: Option<u16>, transport: Transport| {
            self.offered
                .iter()
                .filter_map(move |ip| Some(HostCandidate { address: SocketAddr::new(*ip, port?), transport }))
        };
        each(ports.udp, Transport::Udp).chain(each(ports.tcp, Transport::TcpPassive)).collect()
    }

    /// Which of the offered addresses a datagram was meant for that arrived at `local`: itself, or where addresses are
    /// translated, the first of its family (which of several it was is not to be seen behind a NAT). `None`: nothing of that
    /// family is offered.
    pub fn meant(&self, local: IpAddr) -> Option<IpAddr> {
        let local = local.to_canonical();
        let same = self.offered.iter().find(|ip| **ip == local);
        let family = || self.offered.iter().find(|ip| ip.is_ipv4() == local.is_ipv4());
        same.or_else(family).copied()
    }

    /// The addresses, in the order of preference.
    pub fn list(&self) -> &[IpAddr] {
        &self.offered
    }
}

/// Whether another host could send to it.
pub fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast())
        }
    }
}

/// Whether hosts all over the internet could send to it (RFC 6890; the ranges that a host may hold).
pub fn is_global(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    is_reachable(ip)
        && match ip {
            IpAddr::V4(v4) => is_global_v4(v4),
            IpAddr::V6(v6) => is_global_v6(v6),
        }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocol_assignments = a == 192 && b == 0 && c == 0;
    let benchmarks = a == 198 && b & 0xfe == 18;
    let reserved = a == 0 || a >= 240;
    !(ip.is_private() || ip.is_documentation() || shared || protocol_assignments || benchmarks || reserved)
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    // Global unicast that is assigned: 2000::/3.
    a & 0xe000 == 0x2000 && !documentation
}

#[cfg(test)]
mod tests;
