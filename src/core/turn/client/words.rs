//! What a refusal or another failure means, and what to do about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Longest part of the server's own words that is kept, in characters.
const LONGEST_REASON: usize = 80;

/// A request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// ERROR-CODE (RFC 8489, 14.8; RFC 8656, 19); 0: the answer has none.
    pub code: u16,
    /// The server's words, as far as they are text.
    pub reason: String,
}

impl Refusal {
    /// Of the reason only what can be shown is kept.
    pub(super) fn new(code: u16, reason: &[u8]) -> Refusal {
        let text = String::from_utf8_lossy(reason);
        let reason = text.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect();
        Refusal { code, reason }
    }

    /// What to do. coturn says 401 for each of: a wrong password, another secret, an unknown user, a time-limited name that is over.
    pub fn advice(&self) -> &'static str {
        match self.code {
            0 => "the answer has no error code: what answers there is hardly a TURN server",
            300 => "it sends clients to another server: name that one in the URLs",
            400 => {
                "it takes the request for malformed: what answers there may be no TURN server, or a proxy that changes what passes"
            }
            401 => {
                "user, password or secret differ from those of coturn, or a clock is off by more than turn.ttl (coturn says the same for \
                 each): compare turn.secret with static-auth-secret, or username and credential with its user= line, then both clocks"
            }
            403 => {
                "coturn may not relay to that address: add the line allowed-peer-ip= with it to /etc/turnserver.conf and restart coturn"
            }
            437 => {
                "it knows no such allocation any more: it was restarted meanwhile, or a NAT changed our port"
            }
            438 => {
                "its nonce is stale again and again: a proxy between may answer for several servers; name one server in the URLs"
            }
            440 => {
                "it has no address of that family: give it one, or leave that family's name out of the URLs"
            }
            441 => {
                "it takes us for another user than the one that allocated: one port is shared by several clients"
            }
            442 => "it relays no UDP: remove no-udp-relay from its configuration",
            443 => "a peer has an address of the other family than its relay",
            446 => "it wants the allocation to be of another family: check allocation-default-address-family",
            447 => "it cannot connect to the peer",
            486 => {
                "the quota of this user is used up: raise user-quota in its configuration, or see who holds relays"
            }
            500 => "it has an error of its own: look into its log (journalctl -u coturn)",
            508 => {
                "it has no port or no capacity left: raise total-quota, or widen min-port to max-port in its configuration"
            }
            code if code / 100 == 3 => "it wants something else to be tried first",
            code if code / 100 == 4 => "it refuses the request as it is",
            _ => "it could not carry the request out: look into its log (journalctl -u coturn)",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.reason.as_str()) {
            (0, _) => f.write_str("an error without a code"),
            (code, "") => write!(f, "{code}"),
            (code, reason) => write!(f, "{code} {reason}"),
        }
    }
}

/// Why nothing was relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The URL is none of a TURN server.
    Url,
    /// `turns:` with `transport=udp`: it is not spoken here, and by no browser.
    Dtls,
    /// The name leads to no address.
    Unresolved(String),
    /// Nothing there takes the connection, or no way leads there.
    Unreached(SocketAddr, String),
    /// No way leads there for datagrams, or somebody on the way refuses them.
    NoWay(SocketAddr, String),
    /// TLS was not agreed on.
    Tls(String),
    /// Nothing came back.
    Silent(SocketAddr),
    /// What came back is no STUN, or the connection ended.
    Strange(String),
    /// No relay is given.
    Allocation(Refusal),
    /// A peer may not be reached by the relay.
    Permission(IpAddr, Refusal),
    /// All was granted, but the packet from relay to relay did not arrive.
    Lost(SocketAddr, SocketAddr),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Url => f.write_str("this is no URL of a TURN server"),
            Trouble::Dtls => f.write_str("TURN over DTLS is spoken by no browser"),
            Trouble::Unresolved(why) => write!(f, "its name is not found: {why}"),
            Trouble::Unreached(server, why) => write!(f, "{server} takes no connection: {why}"),
            Trouble::NoWay(server, why) => write!(f, "no datagram gets to {server}: {why}"),
            Trouble::Tls(why) => write!(f, "TLS fails: {why}"),
            Trouble::Silent(server) => write!(f, "{server} does not answer"),
            Trouble::Strange(what) => write!(f, "{what}"),
            Trouble::Allocation(refusal) => write!(f, "no relay is given: {refusal}"),
            Trouble::Permission(peer, refusal) => write!(f, "the relay may not reach {peer}: {refusal}"),
            Trouble::Lost(from, to) => {
                write!(f, "a packet from the relay {from} does not arrive at the relay {to}")
            }
        }
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
    /// What to do.
    pub fn advice(&self) -> String {
        match self {
            Trouble::Url => "write turn:HOST:3478, turn:HOST:3478?transport=tcp or turns:HOST:5349".into(),
            Trouble::Dtls => "write turns:HOST:5349?transport=tcp".into(),
            Trouble::Unresolved(_) => "check the name and this host's DNS, or write the address".into(),
            Trouble::Unreached(server, _) => format!(
                "see whether coturn runs (systemctl status coturn) and listens there, and open TCP {} in the firewall",
                server.port()
            ),
            Trouble::NoWay(server, _) => format!(
                "see whether the address is right and a way leads there (ip route get {}), and open UDP {} in the firewall",
                server.ip(),
                server.port()
            ),
            Trouble::Tls(_) => {
                "coturn needs cert= and pkey= that the user turnserver can read (key 0640 root:turnserver), in date and for that name; \
                 it says nothing when it cannot read them"
                    .into()
            }
            Trouble::Silent(server) => format!(
                "see whether coturn runs (systemctl status coturn), and open UDP {} in the firewall",
                server.port()
            ),
            Trouble::Strange(_) => "see what listens on that port; it does not look like a TURN server".into(),
            Trouble::Allocation(refusal) => refusal.advice().into(),
            Trouble::Permission(peer, Refusal { code: 403, .. }) => {
                format!("add the line allowed-peer-ip={peer} to /etc/turnserver.conf and restart coturn")
            }
            Trouble::Permission(_, refusal) => refusal.advice().into(),
            Trouble::Lost(_, to) => format!(
                "coturn cannot send to {} itself: check external-ip and relay-ip in its configuration, and whether the firewall lets UDP \
                 of its min-port to max-port in, also from this host",
                to.ip()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_advice() {
        // RFC 8489, 14.8; RFC 8656, 19; RFC 6062, 5.1.
        let codes = [300, 400, 401, 403, 437, 438, 440, 441, 442, 443, 446, 447, 486, 500, 508];
        let mut advice: Vec<_> = codes.map(|code| Refusal::new(code, b"").advice()).into();
        let own = Refusal::new(0, b"").advice();
        advice.push(own);
        let count = advice.len();
        advice.sort_unstable();
        advice.dedup();
        assert_eq!(advice.len(), count, "two codes share their words");
        for code in [301, 420, 499, 599, 777] {
            assert!(!Refusal::new(code, b"").advice().is_empty());
        }
    }

    #[test]
    fn a_servers_words_are_shown_as_text_only() {
        let refusal = Refusal::new(403, b"Forbidden\x1b[2J IP\n\xff");
        assert_eq!(refusal.to_string(), "403 Forbidden[2J IP\u{fffd}");
        assert_eq!(Refusal::new(486, &[b'a'; 400]).reason.len(), LONGEST_REASON);
        assert_eq!(Refusal::new(486, b"").to_string(), "486");
    }
}
