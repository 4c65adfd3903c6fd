//! Which address of a worker may be called. A name is looked up once per heartbeat and judged; what was judged is what is
//! dialled, by the edge and by calls alike, so that a name cannot mean something else by then.
//!
//! Allowed are `workers.allowed_networks` and where the heartbeat came from. Link-local addresses and metadata services
//! are so only when they are listed by themselves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::config::settings::Network;
use crate::controller::worker_names::WorkerNames;
use crate::core::dial_policy::{self, DialRefusal, EVERYTHING, Special};
use crate::edge::router::Upstream;

const fn network(address: IpAddr, prefix: u8) -> Network {
    Network { address, prefix }
}

/// What a heartbeat from this host may name: whoever sends it reaches these anyway.
const LOOPBACK: [Network; 2] =
    [network(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8), network(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];

/// Why a worker cannot be called where it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressRefusal {
    /// No such name, or no such URL.
    Unresolved,
    /// The policy refuses all its addresses; this is the first.
    NotAllowed(IpAddr, DialRefusal),
}

impl fmt::Display for AddressRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressRefusal::Unresolved => {
                f.write_str("the worker's address cannot be resolved; check its server.advertise_url")
            }
            AddressRefusal::NotAllowed(ip, DialRefusal::Special(kind)) => write!(
                f,
                "the worker's address is {ip}, {kind} address, which this controller does not call: check \
                 server.advertise_url of the worker; such an address has to be listed by itself in workers.allowed_networks \
                 of the controller"
            ),
            AddressRefusal::NotAllowed(ip, _) => write!(
                f,
                "the worker's address is {ip}, which is neither where its heartbeat came from nor in workers.allowed_networks \
                 of the controller: add its network there, or check server.advertise_url of the worker"
            ),
        }
    }
}

/// Where the edge and our calls find the worker of this URL, whose heartbeat came from `source`.
pub fn resolve(
    url: &str,
    source: IpAddr,
    allowed: &[Network],
    names: &WorkerNames,
) -> Result<Upstream, AddressRefusal> {
    let (authority, default_port, tls) = match url.strip_prefix("https://") {
        Some(authority) => (authority, 443, true),
        None => (url.strip_prefix("http://").ok_or(AddressRefusal::Unresolved)?, 80, false),
    };
    let (host, port) = split_authority(authority, default_port);
    let addresses = names.addresses(host, port).ok_or(AddressRefusal::Unresolved)?;
    let address = first_allowed(&addresses, &around(source, allowed))?;
    if !tls {
        return Ok(Upstream::Tcp(address));
    }
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    Ok(Upstream::Tls(address, Arc::new(name.map_err(|_| AddressRefusal::Unresolved)?)))
}

fn split_authority(authority: &str, default_port: u16) -> (&str, u16) {
    let with_port =
        authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    // The last group of an IPv6 address without a port is none.
    let with_port = with_port.filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
    with_port.unwrap_or((authority, default_port))
}

fn first_allowed(addresses: &[SocketAddr], allowed: &[Network]) -> Result<SocketAddr, AddressRefusal> {
    let mut refusal = AddressRefusal::Unresolved;
    for address in addresses {
        // Our own addresses are not refused as such: a worker may share the host.
        match dial_policy::may_dial(address.ip(), allowed, &[]) {
            Ok(()) => return Ok(*address),
            Err(why) if refusal == AddressRefusal::Unresolved => {
                refusal = AddressRefusal::NotAllowed(address.ip(), why);
            }
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// The configured networks, and what the source of the heartbeat adds to them.
fn around(source: IpAddr, allowed: &[Network]) -> Vec<Network> {
    let source = source.to_canonical();
    let mut networks = allowed.to_vec();
    match dial_policy::may_dial(source, &EVERYTHING, &[]) {
        Ok(()) => networks.push(network(source, if source.is_ipv4() { 32 } else { 128 })),
        Err(DialRefusal::Special(Special::Loopback)) => networks.extend(LOOPBACK),
        Err(_) => {}
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Vec<Network> {
        let parse = |text: &&str| {
            let (address, prefix) = text.split_once('/').unwrap();
            network(address.parse().unwrap(), prefix.parse().unwrap())
        };
        list.iter().map(parse).collect()
    }

    fn private() -> Vec<Network> {
        networks(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"])
    }

    fn ask(url: &str, source: &str, allowed: &[Network]) -> Result<Upstream, AddressRefusal> {
        resolve(url, source.parse().unwrap(), allowed, &WorkerNames::default())
    }

    #[test]
    fn a_worker_url_resolves_with_and_without_a_port() {
        let plain = |address: (IpAddr, u16)| Ok(Upstream::Tcp(address.into()));
        let tls = |address: (IpAddr, u16), name: &str| {
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            Ok(Upstream::Tls(address.into(), Arc::new(name)))
        };
        let resolve = |url: &str| ask(url, "127.0.0.1", &[]);
        let (v4, v6) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(resolve("http://127.0.0.1:8090"), plain((v4, 8090)));
        assert_eq!(resolve("http://127.0.0.1"), plain((v4, 80)));
        assert_eq!(resolve("http://[::1]:99"), plain((v6, 99)));
        assert_eq!(resolve("http://[::1]"), plain((v6, 80)));
        assert_eq!(resolve("https://127.0.0.1"), tls((v4, 443), "127.0.0.1"));
        assert_eq!(resolve("https://[::1]:99"), tls((v6, 99), "::1"));
        assert!(matches!(resolve("https://localhost:99"), Ok(Upstream::Tls(..))));
        assert_eq!(resolve("ftp://127.0.0.1"), Err(AddressRefusal::Unresolved));
    }

    // SPEC 4: A worker's address is judged; link-local addresses and metadata services only when
    // listed, in every form; a name is dialled as it was judged
    // Also: `a_worker_cannot_make_its_controller_call_anything`,
    // `what_is_listed_private_or_the_source_itself_is_called`,
    // `of_several_addresses_the_first_allowed_one_is_dialled`,
    // `a_call_goes_to_the_judged_address_and_no_name_is_looked_up`,
    // `a_worker_url_resolves_with_and_without_a_port`
    #[test]
    fn a_worker_may_not_send_its_controller_anywhere() {
        for url in [
            "http://169.254.169.254",
            "http://169.254.169.254:80",
            "http://[::ffff:169.254.169.254]",
            "http://[::169.254.169.254]",
            "http://[64:ff9b::a9fe:a9fe]:80",
            "http://[2002:a9fe:a9fe::]",
            "http://[fd00:ec2::254]",
            "http://100.100.100.200",
            "http://[fe80::1]",
            "http://169.254.7.7",
            "http://127.0.0.1:8080",
            "http://2130706433",
            "http://0.0.0.0",
            "http://[::]",
            "http://[::1]",
            "http://localhost",
            "http://8.8.8.8",
            "https://8.8.8.8:443",
        ] {
            for source in ["10.0.0.9", "192.0.2.7", "169.254.169.254", "fe80::1"] {
                let answer = ask(url, source, &private());
                assert!(
                    matches!(answer, Err(AddressRefusal::NotAllowed(..))),
                    "{url} from {source}: {answer:?}"
                );
                let text = answer.map_or_else(|refusal| refusal.to_string(), |_| String::new());
                assert!(
                    text.contains("workers.allowed_networks") && text.contains("advertise_url"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_is_listed_private_or_the_source_itself_is_called() {
        for (url, source, allowed) in [
            ("http://10.1.2.3:47990", "192.0.2.7", private()),
            ("http://[fd00::7]:47990", "192.0.2.7", private()),
            ("http://192.0.2.7:47990", "192.0.2.7", private()),
            ("http://192.0.2.7:47990", "::ffff:192.0.2.7", Vec::new()),
            ("http://127.0.0.5:1", "127.0.0.1", private()),
            ("http://localhost:1", "::1", Vec::new()),
            ("http://169.254.7.7:1", "10.0.0.1", networks(&["169.254.0.0/16"])),
            ("http://8.8.8.8:1", "10.0.0.1", networks(&["0.0.0.0/0"])),
        ] {
            assert!(ask(url, source, &allowed).is_ok(), "{url} from {source}");
        }
        let link = networks(&["169.254.0.0/16", "0.0.0.0/0"]);
        assert!(ask("http://169.254.169.254", "10.0.0.1", &link).is_err(), "metadata in a wider network");
        assert!(
            ask("http://169.254.9.9", "169.254.9.9", &private()).is_err(),
            "the source itself is link-local"
        );
    }

    #[test]
    fn of_several_addresses_the_first_allowed_one_is_dialled() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mixed = [at("169.254.169.254:80"), at("10.0.0.3:80"), at("10.0.0.4:80")];
        assert_eq!(first_allowed(&mixed, &private()), Ok(at("10.0.0.3:80")));
        assert!(first_allowed(&mixed[..1], &private()).is_err());
    }
}
