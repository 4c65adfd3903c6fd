//! The forms of an IPv4 address: what is written differently and reached all the same is one address.

use std::net::{IpAddr, Ipv4Addr};

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`, RFC 4291
/// 2.5.5.1), translated (`::ffff:0:a.b.c.d`, RFC 2765 2.1), NAT64 with the well-known prefix (`64:ff9b::/96`, RFC 6052), 6to4
/// (`2002::/16`, RFC 3056). Any other address stands for itself.
pub fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    let bits = u128::from(v6);
    let [first, second, third, ..] = v6.segments();
    let low = bits as u32;
    match (first, second) {
        // `::` and `::1` are themselves.
        _ if bits >> 32 == 0 && low > 1 => Ipv4Addr::from(low).into(),
        _ if bits >> 32 == 0xffff_0000 => Ipv4Addr::from(low).into(),
        (0x0064, 0xff9b) if bits << 32 >> 64 == 0 => Ipv4Addr::from(low).into(),
        (0x2002, _) => Ipv4Addr::from(u32::from(second) << 16 | u32::from(third)).into(),
        _ => v6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 3: Every form of an IPv4 body is one body; spellings that are no address are refused
    // Also: `a_mapped_body_address_is_the_same_body`
    #[test]
    fn every_form_of_an_ipv4_address_is_that_address() {
        let parsed = |text: &str| text.parse::<IpAddr>().unwrap();
        for form in [
            "10.0.0.7",
            "::ffff:10.0.0.7",
            "::10.0.0.7",
            "::ffff:0:10.0.0.7",
            "64:ff9b::10.0.0.7",
            "2002:a00:7::",
            "2002:a00:7::9",
        ] {
            assert_eq!(plain(parsed(form)), parsed("10.0.0.7"), "{form}");
        }
        for other in ["::", "::1", "fd00::7", "64:ff9b:1::10.0.0.7", "64:ff9b::1:0:0", "2001:db8::10.0.0.7"] {
            assert_eq!(plain(parsed(other)), parsed(other), "{other}");
        }
    }
}
