//! Where the demo is reached: by itself, by a browser of this machine, by those of others.
//!
//! ```text
//!  --listen          we call ourselves   printed
//!  127.0.0.1:8000    127.0.0.1           127.0.0.1
//!  0.0.0.0:8000      127.0.0.1           127.0.0.1, then every address that others reach: IPv4
//!  [::]:8000         127.0.0.1           the same, with IPv6
//!  10.0.0.5:8000     10.0.0.5            10.0.0.5
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The addresses of a demo that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    port: u16,
    own: IpAddr,
    others: Vec<IpAddr>,
}

impl Reach {
    /// For a socket bound to `listening`, on a host with these addresses that others reach.
    pub fn new(listening: SocketAddr, reachable: &[IpAddr]) -> Reach {
        let port = listening.port();
        let host = listening.ip().to_canonical();
        if !host.is_unspecified() {
            return Reach { port, own: host, others: Vec::new() };
        }
        let served = |ip: &IpAddr| ip.is_ipv4() || host.is_ipv6();
        let mut others: Vec<IpAddr> = Vec::new();
        for ip in reachable.iter().map(IpAddr::to_canonical) {
            if served(&ip) && !others.contains(&ip) {
                others.push(ip);
            }
        }
        Reach { port, own: Ipv4Addr::LOCALHOST.into(), others }
    }

    /// The address by which this host reaches it.
    pub fn own(&self) -> IpAddr {
        self.own
    }

    /// `http://…` as this host reaches it.
    pub fn own_origin(&self) -> String {
        origin(self.own, self.port)
    }

    /// What other machines reach it by, one per address; empty when it listens at one address alone.
    pub fn other_origins(&self) -> Vec<String> {
        self.others.iter().map(|ip| origin(*ip, self.port)).collect()
    }

    /// The address that most browsers reach, wherever they are.
    pub fn widest(&self) -> IpAddr {
        self.others.first().copied().unwrap_or(self.own)
    }
}

/// `http://host:port`
pub fn origin(host: IpAddr, port: u16) -> String {
    format!("http://{}", SocketAddr::new(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listening: &str) -> Reach {
        let reachable = ["192.168.7.2", "192.168.7.2", "fd00::7"].map(|text| text.parse().unwrap());
        Reach::new(listening.parse().unwrap(), &reachable)
    }

    fn origins(listening: &str) -> Vec<String> {
        let reach = reach(listening);
        [vec![reach.own_origin()], reach.other_origins()].concat()
    }

    #[test]
    fn every_address_that_reaches_the_demo_has_its_url() {
        assert_eq!(origins("127.0.0.1:80"), ["http://127.0.0.1:80"]);
        assert_eq!(origins("[::1]:80"), ["http://[::1]:80"]);
        assert_eq!(origins("10.0.0.5:80"), ["http://10.0.0.5:80"]);
        assert_eq!(origins("0.0.0.0:80"), ["http://127.0.0.1:80", "http://192.168.7.2:80"]);
        assert_eq!(
            origins("[::]:80"),
            ["http://127.0.0.1:80", "http://192.168.7.2:80", "http://[fd00::7]:80"]
        );
    }

    #[test]
    fn the_way_back_leads_where_others_come_from_too() {
        let widest = |listening: &str| reach(listening).widest().to_string();
        assert_eq!(widest("0.0.0.0:80"), "192.168.7.2");
        assert_eq!(widest("127.0.0.1:80"), "127.0.0.1");
        assert_eq!(widest("10.0.0.5:80"), "10.0.0.5");
    }
}
