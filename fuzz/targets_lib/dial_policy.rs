//! The dial policy: forms of one address are judged alike, more networks never close, none never open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hydraneckwebrtc::config::network;
use hydraneckwebrtc::config::settings::Network;
use hydraneckwebrtc::core::dial_policy::may_dial;
use hydraneckwebrtc::core::ids::BodyAddr;
use hydraneckwebrtc::core::ip_forms;

/// Takes `count` bytes from the start of `data`, zeros where there are none.
fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let (now, later) = data.split_at(N.min(data.len()));
    bytes[..now.len()].copy_from_slice(now);
    *data = later;
    bytes
}

fn address(data: &mut &[u8]) -> IpAddr {
    let [kind] = take(data);
    match kind % 6 {
        0 | 1 => Ipv4Addr::from(take::<4>(data)).into(),
        2 => Ipv4Addr::from(take::<4>(data)).to_ipv6_mapped().into(),
        3 => Ipv6Addr::from(0x0064_ff9b << 96 | u128::from(u32::from_be_bytes(take(data)))).into(),
        4 => Ipv6Addr::from(0x2002 << 112 | u128::from(u32::from_be_bytes(take(data))) << 80).into(),
        _ => Ipv6Addr::from(take::<16>(data)).into(),
    }
}

/// Its host bits are cleared, as the loader wants it.
fn some_network(data: &mut &[u8]) -> Option<Network> {
    let address = address(data).to_canonical();
    let [prefix] = take(data);
    let (width, prefix) = match address {
        IpAddr::V4(_) => (32, u32::from(prefix) % 33),
        IpAddr::V6(_) => (128, u32::from(prefix) % 129),
    };
    let masked =
        |bits: u128| bits.checked_shr(width - prefix).unwrap_or(0).checked_shl(width - prefix).unwrap_or(0);
    let address: IpAddr = match address {
        IpAddr::V4(v4) => Ipv4Addr::from(masked(u32::from(v4).into()) as u32).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(masked(v6.into())).into(),
    };
    network(&format!("{address}/{prefix}"))
}

fn is_this_host(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// Judges one input: an address, the host's own, and networks.
pub fn run(data: &[u8]) {
    // The text form first: it must only not panic.
    let _ = network(&String::from_utf8_lossy(data));
    let mut rest = data;
    let (body, own) = (address(&mut rest), [address(&mut rest)]);
    let mut networks: Vec<Network> = Vec::new();
    while !rest.is_empty() && networks.len() < 8 {
        networks.extend(some_network(&mut rest));
    }
    assert!(may_dial(body, &[], &own).is_err(), "an empty list allows {body}");
    let verdict = may_dial(body, &networks, &own);
    assert_eq!(verdict, may_dial(body.to_canonical(), &networks, &own), "{body} by its canonical form");
    assert_eq!(BodyAddr::from(body), BodyAddr::from(ip_forms::plain(body)), "{body} is one body");
    assert_eq!(verdict, may_dial(ip_forms::plain(body), &networks, &own), "{body} as what it stands for");
    if let IpAddr::V4(v4) = body {
        let mapped = may_dial(v4.to_ipv6_mapped().into(), &networks, &own);
        assert_eq!(verdict, mapped, "{body} as an IPv6 address");
    }
    let fewer = networks.get(1..).unwrap_or_default();
    if may_dial(body, fewer, &own).is_ok() {
        assert!(verdict.is_ok(), "{body} with one more network: {verdict:?}");
    }
    let everything = ["0.0.0.0/0", "::/0"].map(|text| network(text).expect("a network"));
    if is_this_host(body) || own[0].to_canonical() == body.to_canonical() {
        assert!(may_dial(body, &everything, &own).is_err(), "{body} without being listed");
    }
}
