//! `turn:` and `turns:` URLs (RFC 7065).

use std::fmt;

/// Default ports (RFC 8656, 5).
const PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

/// What carries the messages to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection under TLS.
    Tls,
    /// Datagrams under DTLS, which no browser uses.
    Dtls,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Carrier::Udp => "UDP",
            Carrier::Tcp => "TCP",
            Carrier::Tls => "TLS",
            Carrier::Dtls => "DTLS",
        })
    }
}

/// Where a TURN server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// How it is spoken to.
    pub carrier: Carrier,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl ServerUrl {
    /// `None`: no URL of a TURN server.
    pub fn parse(url: &str) -> Option<ServerUrl> {
        let (scheme, rest) = url.split_once(':')?;
        let (authority, transport) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query.strip_prefix("transport=")?)),
            None => (rest, None),
        };
        let carrier = match (scheme, transport) {
            ("turn", None | Some("udp")) => Carrier::Udp,
            ("turn", Some("tcp")) => Carrier::Tcp,
            ("turns", None | Some("tcp")) => Carrier::Tls,
            ("turns", Some("udp")) => Carrier::Dtls,
            _ => return None,
        };
        let (host, port) = split(authority)?;
        let default = if scheme == "turns" { TLS_PORT } else { PORT };
        let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port != 0))?;
        (!host.is_empty()).then(|| ServerUrl { carrier, host: host.to_owned(), port })
    }
}

/// Host and port of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_carrier_host_and_port() {
        let cases = [
            ("turn:203.0.113.7", Carrier::Udp, "203.0.113.7", 3478),
            ("turn:203.0.113.7:80?transport=udp", Carrier::Udp, "203.0.113.7", 80),
            ("turn:t.example:3479?transport=tcp", Carrier::Tcp, "t.example", 3479),
            ("turns:t.example", Carrier::Tls, "t.example", 5349),
            ("turns:[2001:db8::1]:443?transport=tcp", Carrier::Tls, "2001:db8::1", 443),
            ("turns:t.example?transport=udp", Carrier::Dtls, "t.example", 5349),
        ];
        for (url, carrier, host, port) in cases {
            let expected = ServerUrl { carrier, host: host.into(), port };
            assert_eq!(ServerUrl::parse(url), Some(expected), "{url}");
        }
        for wrong in [
            "",
            "turn:",
            "stun:a",
            "turn:a:0",
            "turn:a:99999",
            "turn:[::1",
            "turn:[::1]9",
            "turn:a?x=udp",
            "turn:a?transport=sctp",
        ] {
            assert_eq!(ServerUrl::parse(wrong), None, "{wrong}");
        }
    }
}
