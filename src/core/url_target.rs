//! Where a URL leads that a request names, and whether it may lead there.
//!
//! A process that opens a URL resolves it anew and reads it in its own way. So only a host that everybody reads alike is
//! taken, and what the process gets has the address that was judged, wherever the protocol can do without the name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::settings::Network;
use crate::core::dial_policy::{self, DialRefusal};
use crate::core::ip_forms;

/// Longest host name (RFC 1035).
const MAX_NAME: usize = 253;

/// What a parameter's URLs may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Networks of its addresses; `None`: what suits the scheme.
    pub networks: Option<Vec<Network>>,
    /// Names that are passed on as they are, in lower case: the operator trusts them and whoever resolves them.
    pub hosts: Vec<String>,
}

/// A URL, cut at its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    scheme: String,
    /// With the `@`; empty when there is none.
    user: String,
    host: Host,
    /// Port, path and all the rest.
    rest: String,
}

/// A URL's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address in its usual form.
    Address(IpAddr),
    /// A name, in lower case.
    Name(String),
}

/// Why a URL is refused: the words follow the parameter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlRefusal {
    /// HTTP needs the name in the request, so the judged address cannot stand for it.
    NameOverHttp,
    /// HTTP into a private network.
    PrivateOverHttp,
    /// An address that is not allowed.
    Dial(DialRefusal),
    /// The name has no address.
    Unresolved,
}

impl fmt::Display for UrlRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlRefusal::NameOverHttp => {
                f.write_str("the URL has a host name: add it to the parameter's allow_hosts, or send an address")
            }
            UrlRefusal::PrivateOverHttp => f.write_str(
                "the URL leads into a private network by HTTP: such an address has to be in the parameter's allow_networks",
            ),
            UrlRefusal::Dial(refusal) => f.write_str(&refusal.words("the URL's host", "the parameter's allow_networks")),
            UrlRefusal::Unresolved => f.write_str("the URL's host cannot be resolved; check the name"),
        }
    }
}

impl std::error::Error for UrlRefusal {}

impl Target {
    /// Reads `scheme://[user@]host[:port]…`. `None`: it has no host that every program reads alike; `127.1`, `0x7f000001`
    /// and `2130706433` are such.
    pub fn parse(url: &str) -> Option<Target> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, place) = match authority.split_once('@') {
            Some((user, place)) => (format!("{user}@"), place),
            None => (String::new(), authority),
        };
        let (host, port) = split_port(place)?;
        let rest = format!("{port}{path}");
        Some(Target { scheme: scheme.to_owned(), user, host, rest })
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether it is opened by HTTP: redirects can be turned off, and the host's name is part of the request.
    pub fn is_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// The URL with this address for its host.
    pub fn at(&self, address: IpAddr) -> String {
        let host = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        format!("{}://{}{host}{}", self.scheme, self.user, self.rest)
    }

    /// Whether the operator named its host, or the network of its address: then what is found there is trusted.
    pub fn is_listed(&self, reach: &Reach) -> bool {
        match &self.host {
            Host::Name(name) => reach.hosts.contains(name),
            Host::Address(_) => reach.networks.is_some(),
        }
    }

    /// Judges the host as written. A name that is not listed is to be resolved and judged by [`Target::judge`].
    pub fn judge_name(&self, reach: &Reach) -> Result<(), UrlRefusal> {
        let is_name = matches!(self.host, Host::Name(_));
        if is_name && self.is_http() && !self.is_listed(reach) {
            Err(UrlRefusal::NameOverHttp)
        } else {
            Ok(())
        }
    }

    /// Judges an address of its host, given the addresses of this host.
    ///
    /// Without a list: HTTP leads to public addresses, because a page that is fetched says where the next one is, and
    /// everything else to private ones, because its redirects cannot be turned off.
    pub fn judge(&self, address: IpAddr, reach: &Reach, own: &[IpAddr]) -> Result<(), UrlRefusal> {
        let verdict = match &reach.networks {
            Some(networks) => dial_policy::may_dial(address, networks, own),
            None if self.is_http() => {
                dial_policy::may_dial(address, &dial_policy::EVERYTHING, own).map_err(UrlRefusal::Dial)?;
                return if dial_policy::is_private(address) {
                    Err(UrlRefusal::PrivateOverHttp)
                } else {
                    Ok(())
                };
            }
            None => dial_policy::may_dial(address, &dial_policy::PRIVATE, own),
        };
        verdict.map_err(UrlRefusal::Dial)
    }
}

/// `host` and `:port`, or `host` and nothing.
fn split_port(place: &str) -> Option<(Host, &str)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (v6, port) = inside.split_once(']')?;
            (Host::Address(ip_forms::plain(v6.parse::<Ipv6Addr>().ok()?.into())), port)
        }
        None => {
            let at = place.find(':').unwrap_or(place.len());
            let (host, port) = place.split_at(at);
            (named(host)?, port)
        }
    };
    let fits = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => port.is_empty(),
    };
    fits.then_some((host, port))
}

/// An address of four decimal numbers, or a name that no program takes for a number.
fn named(host: &str) -> Option<Host> {
    if let Ok(v4) = host.parse::<Ipv4Addr>() {
        return Some(Host::Address(v4.into()));
    }
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits) && !label.starts_with('-')
    };
    // inet_aton(3) takes decimal, octal and hexadecimal numbers, of one to four parts; all begin with a digit.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    let is_name = host.len() <= MAX_NAME && !numeric && host.split('.').all(label);
    is_name.then(|| Host::Name(host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Network {
        crate::config::network(text).unwrap()
    }

    fn judged(url: &str, reach: &Reach) -> Result<(), UrlRefusal> {
        let target = Target::parse(url).unwrap_or_else(|| panic!("{url} was not read"));
        target.judge_name(reach)?;
        match target.host() {
            Host::Address(address) => target.judge(*address, reach, &["203.0.113.1".parse().unwrap()]),
            Host::Name(_) => Ok(()),
        }
    }

    #[test]
    fn a_url_is_cut_at_its_host_and_put_together_again() {
        for (url, expected) in [
            ("rtsp://10.0.0.7/a?b#c", "rtsp://10.9.9.9/a?b#c"),
            ("rtsp://cam:554", "rtsp://10.9.9.9:554"),
            ("rtsp://u:p@Cam.Example:554/x@y", "rtsp://u:p@10.9.9.9:554/x@y"),
            ("rtsp://[fd00::7]:554/x", "rtsp://10.9.9.9:554/x"),
            ("rtsp://cam?x=1", "rtsp://10.9.9.9?x=1"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|| panic!("{url} was not read"));
            assert_eq!(target.at("10.9.9.9".parse().unwrap()), expected);
        }
        let target = Target::parse("rtsp://cam:554/x").unwrap();
        assert_eq!(target.at("fd00::7".parse().unwrap()), "rtsp://[fd00::7]:554/x");
    }

    #[test]
    fn a_host_that_programs_read_differently_is_none() {
        for url in [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.01/",
            "http://127.0.0.1./",
            "http://1.2.3.4.5/",
            "http://a@b@127.0.0.1/",
            "http://a:80:90/",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:+80/",
            "http:///x",
            "http://",
            "http://%31%32%37.0.0.1/",
            "http://[::1",
            "http://[::1]x/",
            "http://[fe80::1%25eth0]/",
            "http://::1/",
            "http://-f/",
            "http://a..b/",
            "http://a,b/",
        ] {
            assert_eq!(Target::parse(url), None, "{url}");
        }
    }

    #[test]
    fn without_a_list_http_stays_public_and_everything_else_private() {
        let reach = Reach::default();
        for url in [
            "http://198.51.100.7/a.mp4",
            "https://[2001:db8::7]/",
            "rtsp://10.0.0.7/",
            "rtsp://[fd00::7]/",
            "srt://192.168.1.1:9",
        ] {
            assert_eq!(judged(url, &reach), Ok(()), "{url}");
        }
        for url in [
            "http://127.0.0.1:8000/latest/meta-data",
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[::127.0.0.1]/",
            "http://[2002:7f00:1::]/",
            "http://[::1]/",
            "http://0.0.0.0/",
            "http://10.0.0.7/",
            "http://100.64.0.1/",
            "http://[fd00::7]/",
            "https://192.168.1.1/",
            "http://203.0.113.1/",
            "http://cam.example/",
            "https://localhost/",
            "rtsp://127.0.0.1/",
            "rtsp://[::1]/",
            "rtsp://169.254.169.254/",
            "rtsp://198.51.100.7/",
            "udp://239.0.0.1:5000",
        ] {
            assert!(judged(url, &reach).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_listed_is_reached_and_nothing_else() {
        let reach = Reach {
            networks: Some(vec![net("127.0.0.0/8"), net("10.7.0.0/16")]),
            hosts: vec!["cam.example".into()],
        };
        for url in ["http://127.0.0.1/", "rtsp://10.7.0.1/", "https://10.7.0.1/", "https://CAM.example/x"] {
            assert_eq!(judged(url, &reach), Ok(()), "{url}");
        }
        for url in ["rtsp://10.8.0.1/", "http://198.51.100.7/", "http://[::1]/", "http://evil.cam.example/"] {
            assert!(judged(url, &reach).is_err(), "{url}");
        }
        let target = Target::parse("http://cam.example/").unwrap();
        assert!(target.is_listed(&reach) && !target.is_listed(&Reach::default()));
    }
}
