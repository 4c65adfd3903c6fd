//! Kinds of values that name places in a network: listening addresses, domains, URLs, networks, port ranges.

use std::net::IpAddr;

use serde_yaml::Value as Yaml;

use crate::config::document::{Body, Node};
use crate::config::kinds::{Kind, Scope, Secrets};
use crate::config::settings::{Listen, ListenAddress, Network, OperatorListen};
use crate::core::outside_prefix;

/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 2048;

fn parsed<T>(node: &Node, scope: &mut Scope<'_>, expected: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    let value = parse(scope.text(node, expected)?);
    if value.is_none() {
        scope.wrong(node, format!("expected {expected}"));
    }
    value
}

/// An address to listen on.
pub struct ListenOn;

const LISTEN_ADDRESS: &str = "an address to listen on: \":47990\", \"127.0.0.1:47990\" or \"[::1]:47990\"";

/// `server.listen`.
impl Kind<Listen> for ListenOn {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Listen> {
        parsed(node, scope, LISTEN_ADDRESS, listen_address).map(Listen::Plain)
    }

    fn show(&self, value: &Listen, _: Secrets) -> Option<Yaml> {
        match value {
            Listen::Plain(address) => Some(Yaml::from(address.to_string())),
            Listen::Domain(_) => None,
        }
    }
}

/// `server.https_listen` and `server.http_listen`.
impl Kind<ListenAddress> for ListenOn {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<ListenAddress> {
        parsed(node, scope, LISTEN_ADDRESS, listen_address)
    }

    fn show(&self, value: &ListenAddress, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.to_string()))
    }
}

/// `server.operator_listen`.
pub struct OperatorListenOn;

/// The word for no listener.
const NOWHERE: &str = "none";

impl Kind<OperatorListen> for OperatorListenOn {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<OperatorListen> {
        parsed(node, scope, "an address like 127.0.0.1:9099, or none", |text| match text {
            NOWHERE => Some(OperatorListen::Nowhere),
            text => listen_address(text).map(OperatorListen::At),
        })
    }

    fn show(&self, value: &OperatorListen, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.address().map_or_else(|| NOWHERE.to_owned(), |address| address.to_string())))
    }
}

/// Parses `HOST:PORT`, where the host is an IP address (IPv6 in brackets) or missing.
pub fn listen_address(text: &str) -> Option<ListenAddress> {
    let (host, port) = text.rsplit_once(':')?;
    Some(ListenAddress {
        host: if host.is_empty() { None } else { Some(ip_of_host(host)?) },
        port: port_number(port)?,
    })
}

fn ip_of_host(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6),
        None => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv4),
    }
}

fn port_number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `server.domain`: one name, or a list.
pub struct DomainNames;

/// Names that one certificate may hold: what Let's Encrypt allows.
const MAX_DOMAINS: usize = 100;

impl Kind<Listen> for DomainNames {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Listen> {
        let Body::List(items) = &node.body else { return DomainName.read(node, scope).map(only) };
        let names = scope.each(items, &DomainName)?;
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < names.len() {
            scope.wrong(node, "holds a name twice; keep one of them");
        } else if names.is_empty() || names.len() > MAX_DOMAINS {
            scope.wrong(node, format!("expected 1 to {MAX_DOMAINS} host names"));
        } else {
            return Some(Listen::Domain(names));
        }
        None
    }

    fn show(&self, value: &Listen, _: Secrets) -> Option<Yaml> {
        match value {
            Listen::Domain(names) => match names.as_slice() {
                [name] => Some(Yaml::from(name.as_str())),
                names => Some(Yaml::Sequence(names.iter().map(|name| Yaml::from(name.as_str())).collect())),
            },
            Listen::Plain(_) => None,
        }
    }
}

fn only(name: String) -> Listen {
    Listen::Domain(vec![name])
}

/// One name of `server.domain`.
struct DomainName;

impl Kind<String> for DomainName {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = "a public host name without scheme and port, like neck.example.com (one of other letters than a-z in \
                        its form xn--…), or a public IP address";
        parsed(node, scope, expected, domain)
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

/// `rooms.base_domain`: a domain below which there are names.
pub struct BaseDomain;

/// Longest: `turn.ns-NAME.` goes before it, and a name of the DNS has 253 characters.
const MAX_BASE: usize = 180;

impl Kind<String> for BaseDomain {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        parsed(node, scope, "a domain like neck.example.com", |text| {
            let text = text.to_ascii_lowercase();
            let label = |label: &str| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                (1..=63).contains(&label.len())
                    && label.bytes().all(plain)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            let is_name = text.parse::<IpAddr>().is_err() && text.split('.').all(label);
            (is_name && text.len() <= MAX_BASE).then_some(text)
        })
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

/// A name as certificates have it: small letters, and of an IP address its shortest form.
fn domain(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return (!address.is_unspecified() && !address.is_multicast()).then(|| address.to_string());
    }
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (text.contains('.') && host_name(text) && !numeric).then(|| text.to_ascii_lowercase())
}

fn host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// `http://` or `https://` URLs. No variant allows a user name or password in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Url {
    /// Scheme, host and port only; a trailing slash is dropped.
    Origin,
    /// The same with a path that a proxy in front of us takes off; a trailing slash is dropped.
    Outside,
    /// With a path that other paths are appended to; a trailing slash is dropped.
    Base,
    /// A whole address, query included.
    Page,
}

impl Kind<String> for Url {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = match self {
            Url::Origin => "a URL of scheme, host and port only, like https://neck.example.com",
            Url::Outside => {
                "a URL without query, like https://neck.example.com or https://example.com/neck (its path of letters, digits \
                 and -._~)"
            }
            Url::Base => "a URL without query, like https://nps.example.com",
            Url::Page => "a URL, like https://www.example.com/start",
        };
        let value = self.check(scope.text(node, expected)?);
        if value.is_none() {
            scope.wrong(node, format!("expected {expected}, without user name and password"));
        }
        value
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        (!value.is_empty()).then(|| Yaml::from(value.as_str()))
    }
}

impl Url {
    fn check(self, text: &str) -> Option<String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
        let path_fits = match self {
            Url::Origin => matches!(path, "" | "/"),
            Url::Outside => outside_prefix::checked(path).is_some(),
            Url::Base => !path.contains(['?', '#']),
            Url::Page => true,
        };
        if text.len() > MAX_URL_BYTES || !printable || !path_fits || !host_and_port(authority) {
            return None;
        }
        Some(if self == Url::Page { text } else { text.trim_end_matches('/') }.to_owned())
    }
}

/// Whether the text is `HOST` or `HOST:PORT` with a port from 1.
pub fn host_and_port(text: &str) -> bool {
    let ipv6_only = text.starts_with('[') && text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !ipv6_only => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| port_number(port).is_some_and(|port| port > 0));
    port_fits && (ip_of_host(host).is_some() || host_name(host))
}

/// An entry of `sessions.frame_ancestors`: ourselves, or an origin, whose host may begin with `*.`.
pub struct FrameSource;

impl Kind<String> for FrameSource {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = "self, or an origin like https://www.example.com or https://*.example.com";
        parsed(node, scope, expected, frame_source)
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

/// No IPv6 addresses: a policy cannot name them.
fn frame_source(text: &str) -> Option<String> {
    if text == "self" {
        return Some(text.to_owned());
    }
    let (scheme, host) = text.split_once("://")?;
    let origin = format!("{scheme}://{}", host.strip_prefix("*.").unwrap_or(host));
    let checked = Url::Origin.check(&origin).filter(|_| !host.contains('['))?;
    Some(if host.starts_with("*.") { checked.replacen("://", "://*.", 1) } else { checked })
}

/// An IP address.
pub struct Address;

impl Kind<IpAddr> for Address {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<IpAddr> {
        parsed(node, scope, "an IP address, like 203.0.113.7", |text| text.parse().ok())
    }

    fn show(&self, value: &IpAddr, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.to_string()))
    }
}

/// The path of a URL, without query.
pub struct UrlPath;

impl Kind<String> for UrlPath {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        parsed(node, scope, "a path like /api/v1/sessions", |text| {
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>');
            (text.starts_with('/') && text.len() <= 256 && text.chars().all(plain)).then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(value.as_str().into())
    }
}

/// An address of `webrtc.nat1to1`: one that a peer can send to.
pub struct NatAddress;

impl Kind<IpAddr> for NatAddress {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<IpAddr> {
        parsed(node, scope, "the IP address of one host, like 203.0.113.7", |text| {
            let ip = text.parse::<IpAddr>().ok()?.to_canonical();
            let broadcast = ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
            (!ip.is_unspecified() && !ip.is_multicast() && !broadcast).then_some(ip)
        })
    }

    fn show(&self, value: &IpAddr, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.to_string()))
    }
}

/// A network in CIDR notation, or one address.
pub struct Cidr;

impl Kind<Network> for Cidr {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Network> {
        let expected = "a network like 10.10.0.0/16, with zeros behind the prefix";
        parsed(node, scope, expected, network)
    }

    fn show(&self, value: &Network, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(format!("{}/{}", value.address, value.prefix)))
    }
}

/// Parses a network; one address is a network of its own. Host bits must be zero: `10.10.0.7/16` is more likely a
/// typing error than a wish.
pub fn network(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address.parse::<IpAddr>().ok()?, Some(port_number(prefix)?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let (bits, value) = match address {
        IpAddr::V4(v4) => (32, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (128, u128::from(v6)),
    };
    let prefix = prefix.unwrap_or(bits);
    let host_bits = u32::from(bits.checked_sub(prefix)?);
    let host_mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
    let prefix = u8::try_from(prefix).ok()?;
    (value & host_mask == 0).then_some(Network { address, prefix })
}

/// `webrtc.udpmux` and `webrtc.tcpmux`: a port, 0 for none, or `any` for one that the kernel chooses (`Some(0)`).
pub struct MuxPort;

impl Kind<Option<u16>> for MuxPort {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Option<u16>> {
        parsed(node, scope, "a port from 1 to 65535, 0 for none, or any for a free one", |text| match text {
            "any" => Some(Some(0)),
            number => port_number(number).map(|port| Some(port).filter(|port| *port > 0)),
        })
    }

    fn show(&self, value: &Option<u16>, _: Secrets) -> Option<Yaml> {
        Some(match value {
            Some(0) => Yaml::from("any"),
            Some(port) => Yaml::from(*port),
            None => Yaml::from(0),
        })
    }
}

/// `"FIRST-LAST"`, ports from 1024.
pub struct PortRange;

impl Kind<(u16, u16)> for PortRange {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<(u16, u16)> {
        parsed(node, scope, "a range of ports from 1024, like 40000-49151, first before last", |text| {
            let (first, last) = text.split_once('-')?;
            let range = (port_number(first)?, port_number(last)?);
            (range.0 >= 1024 && range.0 <= range.1).then_some(range)
        })
    }

    fn show(&self, value: &(u16, u16), _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(format!("{}-{}", value.0, value.1)))
    }
}

/// The host of a URL, an IPv6 address without its brackets.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_addresses_have_three_forms() {
        for good in [":47990", "127.0.0.1:0", "[::1]:8080", "0.0.0.0:65535"] {
            assert!(listen_address(good).is_some(), "{good} was refused");
        }
        for bad in ["", "47990", ":", ":65536", ":+1", "localhost:80", "::1:80", "[127.0.0.1]:80", "1.2.3.4:"]
        {
            assert!(listen_address(bad).is_none(), "{bad} was accepted");
        }
    }

    #[test]
    fn urls_are_checked_and_lose_their_trailing_slash() {
        assert_eq!(Url::Origin.check("https://a.example/"), Some("https://a.example".into()));
        assert_eq!(Url::Base.check("http://[::1]:80/x/"), Some("http://[::1]:80/x".into()));
        assert_eq!(Url::Page.check("https://a/b?c=d#e"), Some("https://a/b?c=d#e".into()));
        for bad in [
            "a.example",
            "ftp://a",
            "https://",
            "https://a b",
            "https://u:p@a",
            "https://a:0",
            "https://a:x",
            "https://-a",
            "https://a/\"><script>",
            "https:///x",
        ] {
            assert_eq!(Url::Page.check(bad), None, "{bad} was accepted");
        }
        assert_eq!(Url::Origin.check("https://a/b"), None);
        assert_eq!(Url::Outside.check("https://a/b/c/"), Some("https://a/b/c".into()));
        assert_eq!(Url::Outside.check("https://a/"), Some("https://a".into()));
        for bad in ["https://a//b", "https://a/../b", "https://a/b?c", "https://a/b%20c", "https://a/b;c"] {
            assert_eq!(Url::Outside.check(bad), None, "{bad} was accepted");
        }
        assert_eq!(Url::Base.check("https://a/b?c"), None);
    }

    #[test]
    fn who_may_frame_is_ourselves_or_an_origin() {
        for (text, expected) in [
            ("self", Some("self")),
            ("https://a.example/", Some("https://a.example")),
            ("http://localhost:8080", Some("http://localhost:8080")),
            ("https://*.a.example", Some("https://*.a.example")),
            ("*", None),
            ("https:", None),
            ("https://*", None),
            ("https://a.*.example", None),
            ("https://a.example/x", None),
            ("https://[::1]", None),
            ("https://a; script-src *", None),
            ("'self'", None),
            ("", None),
        ] {
            assert_eq!(frame_source(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn networks_must_have_zero_host_bits() {
        for good in ["10.10.0.0/16", "0.0.0.0/0", "::/0", "fd00::/8", "10.1.2.3", "10.1.2.3/32", "::1"] {
            assert!(network(good).is_some(), "{good} was refused");
        }
        for bad in
            ["10.10.0.7/16", "10.0.0.0/33", "fd00::1/64", "::/129", "10.0.0.0/", "10.0/8", "x", "10.0.0.0/-1"]
        {
            assert!(network(bad).is_none(), "{bad} was accepted");
        }
    }

    // SPEC 2: `server.domain` is a host name, an IP address or a list of them; `server.acme.*`
    // belongs to it
    // Also: `a_domain_is_sound_with_and_without_settings_of_its_authority`,
    // `contradictions_name_the_key_to_change`
    #[test]
    fn a_domain_is_a_host_name_with_a_dot() {
        assert_eq!(domain("Neck.example.com"), Some("neck.example.com".into()));
        assert_eq!(domain("192.0.2.7"), Some("192.0.2.7".into()));
        assert_eq!(domain("2001:DB8:0::1"), Some("2001:db8::1".into()));
        for bad in [
            "localhost",
            "https://a.b",
            "a.b:443",
            "1.2.3",
            "1.2.3.4.5",
            "a..b",
            "-a.b",
            "a_b.c",
            "*.a.b",
            "a.b.",
            "bücher.de",
            "0.0.0.0",
            "[2001:db8::1]",
            "",
        ] {
            assert_eq!(domain(bad), None, "{bad} was accepted");
        }
    }
}
