//! WireGuard: interfaces, and when each peer was heard last.

use super::Finding;

/// A peer with traffic shakes hands every two minutes; one with a keepalive always has traffic.
const HEARD_LATELY: u64 = 600;

/// Characters of a peer's key that are shown: enough to find it.
const SHOWN_KEY: usize = 8;

/// When one peer was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its interface.
    pub interface: String,
    /// The beginning of its public key.
    pub key: String,
    /// Seconds since 1970 of the last handshake; `None`: there was none.
    pub heard: Option<u64>,
}

/// Of what `wg show all latest-handshakes` prints: interface, public key, seconds since 1970 or 0.
pub fn peers(text: &str) -> Vec<Peer> {
    let peer = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (interface, key, heard) = (words.next()?, words.next()?, words.next()?.parse::<u64>().ok()?);
        let heard = Some(heard).filter(|heard| *heard > 0);
        Some(Peer { interface: interface.to_owned(), key: key.chars().take(SHOWN_KEY).collect(), heard })
    };
    text.lines().filter_map(peer).collect()
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct WireGuard {
    /// Bodies are reached by it, as `bodies.wireguard_networks` says.
    pub is_needed: bool,
    /// Interfaces that are up.
    pub interfaces: Vec<String>,
    /// Configurations of `/etc/wireguard`, by their names; as far as they may be seen.
    pub configured: Vec<String>,
    /// Peers; `None`: who asks may not see them, or `wg` is not installed.
    pub peers: Option<Vec<Peer>>,
}

/// Interfaces and peers, at `now` (seconds since 1970).
pub fn judge(found: &WireGuard, now: u64) -> Vec<Finding> {
    const CHECK: &str = "wireguard";
    if found.interfaces.is_empty() {
        if !found.is_needed {
            return vec![Finding::ok(CHECK, "there is none, and bodies.wireguard_networks needs none")];
        }
        let advice = match found.configured.first() {
            Some(name) => format!("systemctl enable --now wg-quick@{name}"),
            None => "put its configuration into /etc/wireguard/wg0.conf and run: systemctl enable --now wg-quick@wg0; or set \
                     bodies.wireguard_networks: [] where bodies are reached otherwise"
                .to_owned(),
        };
        return vec![Finding::fail(
            CHECK,
            "no WireGuard interface is up: bodies behind it cannot be reached",
            advice,
        )];
    }
    let up = found.interfaces.join(", ");
    let Some(peers) = &found.peers else {
        return vec![Finding::ok(
            CHECK,
            format!("{up} is up; root with wireguard-tools sees its peers' handshakes"),
        )];
    };
    if peers.is_empty() {
        let advice =
            "add the other side as [Peer] to its configuration, then systemctl restart wg-quick@ of it";
        return vec![Finding::fail(CHECK, format!("{up} has no peer"), advice)];
    }
    let mut findings = Vec::new();
    let advice = "compare keys, Endpoint and AllowedIPs of both sides, and open the UDP port of the one that is called";
    let heard_one = peers.iter().any(|peer| peer.heard.is_some());
    for Peer { interface, key, heard } in peers {
        match heard {
            None if heard_one => {
                let text = format!("peer {key}… of {interface} never answered");
                findings.push(Finding::warn(CHECK, text, advice));
            }
            None => {
                let text = format!("peer {key}… of {interface} never answered, nor did another");
                findings.push(Finding::fail(CHECK, text, advice));
            }
            Some(at) if now.saturating_sub(*at) > HEARD_LATELY => {
                let minutes = now.saturating_sub(*at) / 60;
                let text = format!("peer {key}… of {interface} was heard {minutes} min ago last");
                let advice = "it is idle, or away: ping its address; PersistentKeepalive = 25 keeps a way through NAT open";
                findings.push(Finding::warn(CHECK, text, advice));
            }
            Some(_) => {}
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!("{up} is up, and each of {} peers was heard lately", peers.len()),
        ));
    }
    findings
}
