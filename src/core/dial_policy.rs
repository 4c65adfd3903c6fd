//! Which addresses may be dialled that a request names: bodies (SPEC 3), and hosts of URLs. What it is for: nobody with the
//! power to name one can make us talk to our own host, its neighbours on the link, or a cloud's metadata service.
//!
//! An address is judged by every address that it may stand for: IPv4 in its mapped, compatible, NAT64, 6to4 and
//! Teredo forms is judged as that IPv4 address. It must be in `sessions.allowed_bodies`; and to be in a special range
//! is only forgiven by an allowed network that itself lies inside that range ("listed explicitly"): `0.0.0.0/0` does
//! not open loopback, `127.0.0.0/8` does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::settings::Network;
use crate::core::ip_forms;

/// Why an address is never dialled unless listed explicitly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// "This host", `0.0.0.0/8` or `::`.
    Unspecified,
    /// Our own host.
    Loopback,
    /// The link's neighbours (and the retired site-local range).
    LinkLocal,
    /// Many at once.
    Multicast,
    /// All at once, and the reserved range around it.
    Broadcast,
    /// The metadata service of a cloud.
    Metadata,
    /// An IPv4 address translated in a way that cannot be seen from here.
    Translated,
    /// One of the addresses of this host.
    Own,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Special::Unspecified => "an unspecified",
            Special::Loopback => "a loopback",
            Special::LinkLocal => "a link-local",
            Special::Multicast => "a multicast",
            Special::Broadcast => "a broadcast or reserved",
            Special::Metadata => "a cloud metadata",
            Special::Translated => "a locally translated",
            Special::Own => "this host's own",
        })
    }
}

/// Why a body may not be dialled: 403. The text is the detail of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialRefusal {
    /// In no allowed network.
    NotAllowed,
    /// In a special range that no allowed network lists explicitly.
    Special(Special),
}

impl DialRefusal {
    /// The refusal of `subject`, which the setting `list` would allow.
    pub fn words(self, subject: &str, list: &str) -> String {
        match self {
            DialRefusal::NotAllowed => {
                format!("{subject} is outside {list}: add its network there if it may be reached")
            }
            DialRefusal::Special(kind) => {
                format!("{subject} is {kind} address: such an address has to be listed by itself in {list}")
            }
        }
    }
}

impl fmt::Display for DialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words("body_ip", "sessions.allowed_bodies"))
    }
}

impl std::error::Error for DialRefusal {}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6(first: u16, second: u16, last: u16, prefix: u8) -> Network {
    Network { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, last)), prefix }
}

/// The private ranges (RFC 1918, RFC 4193): where bodies and cameras are.
pub const PRIVATE: [Network; 4] =
    [v4(10, 0, 0, 0, 8), v4(172, 16, 0, 0, 12), v4(192, 168, 0, 0, 16), v6(0xfc00, 0, 0, 7)];

/// Addresses that providers share among their customers (RFC 6598): as private as those.
const SHARED: Network = v4(100, 64, 0, 0, 10);

/// Every address; special ones are not opened by it.
pub const EVERYTHING: [Network; 2] = [v4(0, 0, 0, 0, 0), v6(0, 0, 0, 0)];

/// NAT64 with a prefix of the local network's choice (RFC 8215).
const LOCAL_NAT64: Network =
    Network { address: IpAddr::V6(Ipv6Addr::new(0x0064, 0xff9b, 1, 0, 0, 0, 0, 0)), prefix: 48 };

const ORACLE: Network =
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)), prefix: 128 };

/// Ranges that hold no body. An address may be in several; each has to be forgiven. (RFC 6890; metadata addresses as
/// documented by AWS, which others follow, Alibaba, Azure (its host's agent), Oracle, Google and Scaleway.)
const SPECIAL: [(Special, Network); 20] = [
    (Special::Metadata, v4(169, 254, 169, 254, 32)),
    (Special::Metadata, v4(100, 100, 100, 200, 32)),
    (Special::Metadata, v6(0xfd00, 0x0ec2, 0x0254, 128)),
    (Special::Metadata, v4(168, 63, 129, 16, 32)),
    (Special::Metadata, v4(192, 0, 0, 192, 32)),
    (Special::Metadata, v6(0xfd20, 0x00ce, 0x0254, 128)),
    (Special::Metadata, v6(0xfd00, 0x0042, 0x0042, 128)),
    (Special::Metadata, ORACLE),
    (Special::Unspecified, v4(0, 0, 0, 0, 8)),
    (Special::Loopback, v4(127, 0, 0, 0, 8)),
    (Special::LinkLocal, v4(169, 254, 0, 0, 16)),
    (Special::Multicast, v4(224, 0, 0, 0, 4)),
    (Special::Broadcast, v4(255, 255, 255, 255, 32)),
    (Special::Broadcast, v4(240, 0, 0, 0, 4)),
    (Special::Unspecified, v6(0, 0, 0, 128)),
    (Special::Loopback, v6(0, 0, 1, 128)),
    (Special::LinkLocal, v6(0xfe80, 0, 0, 10)),
    (Special::LinkLocal, v6(0xfec0, 0, 0, 10)),
    (Special::Multicast, v6(0xff00, 0, 0, 8)),
    // Where the IPv4 address sits in it depends on the network, so it cannot be judged.
    (Special::Translated, LOCAL_NAT64),
];

/// Judges whether a session may dial `body`, given the allowed networks and the addresses of this host.
pub fn may_dial(body: IpAddr, allowed: &[Network], own: &[IpAddr]) -> Result<(), DialRefusal> {
    stands_for(body).into_iter().flatten().try_for_each(|ip| judge(ip, allowed, own))
}

/// Whether an address, in whatever form, is of a private network.
pub fn is_private(ip: IpAddr) -> bool {
    let private = |ip| PRIVATE.iter().chain([&SHARED]).any(|network| network.contains(ip));
    stands_for(ip).into_iter().flatten().any(private)
}

fn judge(ip: IpAddr, allowed: &[Network], own: &[IpAddr]) -> Result<(), DialRefusal> {
    let listed_within =
        |range: &Network| allowed.iter().any(|network| network.contains(ip) && lies_inside(network, range));
    let mut special = false;
    for (kind, range) in SPECIAL.iter().filter(|(_, range)| range.contains(ip)) {
        special = true;
        if !listed_within(range) {
            return Err(DialRefusal::Special(*kind));
        }
    }
    let itself = Network { address: ip, prefix: if ip.is_ipv4() { 32 } else { 128 } };
    // An address of ours may be a form itself (6to4): it is ours under every name.
    let is_own = own.iter().any(|own| stands_for(*own).contains(&Some(ip)));
    if is_own && !special && !listed_within(&itself) {
        return Err(DialRefusal::Special(Special::Own));
    }
    match allowed.iter().any(|network| network.contains(ip)) {
        true => Ok(()),
        false => Err(DialRefusal::NotAllowed),
    }
}

fn lies_inside(inner: &Network, outer: &Network) -> bool {
    inner.prefix >= outer.prefix && outer.contains(inner.address)
}

/// The addresses that a packet to `ip` may end at: itself, or the IPv4 address or addresses it embeds, or both.
fn stands_for(ip: IpAddr) -> [Option<IpAddr>; 2] {
    let plain = ip_forms::plain(ip);
    let embedded = |v4: u32| Some(IpAddr::V4(Ipv4Addr::from(v4)));
    match plain {
        // Teredo (RFC 4380): the server, and the client with inverted bits.
        IpAddr::V6(v6) if v6.segments()[..2] == [0x2001, 0] => {
            let bits = u128::from(v6);
            [embedded((bits >> 64) as u32), embedded(!(bits as u32))]
        }
        // ISATAP (RFC 5214, 6.1), with any prefix: only its routers know whether it is one.
        IpAddr::V6(v6) if matches!(v6.segments()[4..6], [0 | 0x0200, 0x5efe]) => {
            [Some(plain), embedded(u128::from(v6) as u32)]
        }
        _ => [Some(plain), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Network {
        let (address, prefix) = text.split_once('/').unwrap();
        Network { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn private() -> Vec<Network> {
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"].map(net).to_vec()
    }

    fn everything() -> Vec<Network> {
        ["0.0.0.0/0", "::/0"].map(net).to_vec()
    }

    fn ask(ip: &str, allowed: &[Network]) -> Result<(), DialRefusal> {
        may_dial(ip.parse().unwrap(), allowed, &["10.10.0.1".parse().unwrap(), "127.0.0.1".parse().unwrap()])
    }

    #[test]
    fn a_body_in_an_allowed_network_may_be_dialled_in_every_form() {
        for ip in [
            "10.10.0.7",
            "::ffff:10.10.0.7",
            "::10.10.0.7",
            "64:ff9b::10.10.0.7",
            "2002:0a0a:0007::1",
            "172.31.255.255",
            "192.168.1.1",
            "fd12::7",
        ] {
            assert_eq!(ask(ip, &private()), Ok(()), "{ip}");
        }
    }

    #[test]
    fn a_body_outside_the_allowed_networks_is_refused() {
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "11.0.0.1",
            "2a00::1",
            "64:ff9b::8.8.8.8",
            "2002:0808:0808::",
            "::8.8.8.8",
        ] {
            assert_eq!(ask(ip, &private()), Err(DialRefusal::NotAllowed), "{ip}");
        }
    }

    #[test]
    fn special_addresses_are_refused_in_every_form_even_when_everything_is_allowed() {
        use Special::*;
        for (ip, kind) in [
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("127.0.0.1", Loopback),
            ("127.255.0.9", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::127.0.0.1", Loopback),
            ("2002:7f00:0001::", Loopback),
            ("169.254.0.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", LinkLocal),
            ("224.0.0.1", Multicast),
            ("239.1.2.3", Multicast),
            ("ff02::1", Multicast),
            ("255.255.255.255", Broadcast),
            ("240.0.0.1", Broadcast),
            ("169.254.169.254", Metadata),
            ("::ffff:169.254.169.254", Metadata),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("2002:a9fe:a9fe::1", Metadata),
            ("fd00:ec2::254", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("fd20:ce::254", Metadata),
            ("fd00:c1::a9fe:a9fe", Metadata),
            ("fd00:42::42", Metadata),
            ("::ffff:0:169.254.169.254", Metadata),
            ("2001:db8::5efe:169.254.169.254", Metadata),
            ("fd12::200:5efe:127.0.0.1", Loopback),
            // Teredo: server 8.8.8.8, client 127.0.0.1 inverted; then the other way round.
            ("2001:0:0808:0808:0:0:80ff:fffe", Loopback),
            ("2001:0:7f00:0001:0:0:f7f7:f7f7", Loopback),
            ("64:ff9b:1::127.0.0.1", Translated),
            ("10.10.0.1", Own),
            ("::ffff:10.10.0.1", Own),
            ("64:ff9b::10.10.0.1", Own),
        ] {
            assert_eq!(ask(ip, &everything()), Err(DialRefusal::Special(kind)), "{ip}");
        }
    }

    #[test]
    fn listing_a_network_inside_the_special_range_opens_it_and_nothing_more() {
        let demo = [net("127.0.0.0/8")];
        assert_eq!(ask("127.0.0.5", &demo), Ok(()));
        assert_eq!(ask("127.0.0.1", &demo), Ok(()), "own, but of the listed special range");
        assert_eq!(ask("::1", &demo), Err(DialRefusal::Special(Special::Loopback)));
        assert_eq!(ask("127.0.1.5", &[net("127.0.0.0/24")]), Err(DialRefusal::Special(Special::Loopback)));
        let link = [net("169.254.0.0/16")];
        assert_eq!(ask("169.254.7.7", &link), Ok(()));
        assert_eq!(ask("169.254.169.254", &link), Err(DialRefusal::Special(Special::Metadata)));
        assert_eq!(ask("169.254.169.254", &[net("169.254.169.254/32")]), Ok(()));
        assert_eq!(ask("10.10.0.1", &[net("10.10.0.0/16")]), Err(DialRefusal::Special(Special::Own)));
        assert_eq!(ask("10.10.0.1", &[net("10.10.0.1/32")]), Ok(()));
    }

    #[test]
    fn an_own_address_that_embeds_another_is_refused_too() {
        let own = "2002:7070:7070::".parse().unwrap();
        for body in ["2002:7070:7070::", "112.112.112.112", "64:ff9b::112.112.112.112"] {
            let got = may_dial(body.parse().unwrap(), &everything(), &[own]);
            assert_eq!(got, Err(DialRefusal::Special(Special::Own)), "{body}");
        }
    }

    #[test]
    fn nothing_is_allowed_by_an_empty_list() {
        assert_eq!(ask("10.0.0.1", &[]), Err(DialRefusal::NotAllowed));
    }

    /// splitmix64
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn every_form_of_an_ipv4_address_is_judged_alike() {
        let own = ["10.10.0.1".parse().unwrap()];
        let lists = [private(), everything(), vec![net("127.0.0.0/8"), net("224.0.0.0/4")]];
        for seed in 0..20_000u64 {
            let mut state = seed;
            let bits = random(&mut state) as u32;
            // Half of them near the edges of the table's ranges.
            let edges = [0x7f00_0000, 0xa9fe_a9fe, 0xe000_0000, 0x0a0a_0001, 0xffff_ffff, 0x0a00_0000];
            let edge = edges[(bits % 6) as usize];
            let bits = if seed % 2 == 0 { bits } else { u32::wrapping_add(edge, bits >> 30).wrapping_sub(1) };
            if bits <= 1 {
                continue; // `::` and `::1` are not IPv4-compatible addresses
            }
            let wide = u128::from(bits);
            let translated = 0xffff_0000_u128 << 32 | wide;
            let forms = [
                translated,
                0xffff_u128 << 32 | wide,
                wide,
                0x0064_ff9b << 96 | wide,
                0x2002 << 112 | wide << 80,
            ];
            for list in &lists {
                let plain = may_dial(IpAddr::V4(bits.into()), list, &own);
                for form in forms {
                    let form = IpAddr::V6(form.into());
                    assert_eq!(
                        may_dial(form, list, &own),
                        plain,
                        "seed {seed}: {form} is {}",
                        Ipv4Addr::from(bits)
                    );
                }
            }
        }
    }
}
