//! Numbers, addresses and fields as text. A head has few of them, but what `format!` does for each costs as much as all the rest of a short head.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

/// Digits of the largest number.
const DIGITS: usize = 20;

/// Writes a number in decimal.
pub fn write_number(out: &mut impl Write, number: u64) -> io::Result<()> {
    let (mut digits, mut left) = ([b'0'; DIGITS], number);
    let mut length = 1;
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        if left > 0 {
            length = place + 1;
        }
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.write_all(digits.get(DIGITS - length..).unwrap_or_default())
}

/// Writes an address as `Display` does.
pub fn write_ip(out: &mut impl Write, ip: IpAddr) -> io::Result<()> {
    let IpAddr::V4(v4) = ip else { return write!(out, "{ip}") };
    let [first, rest @ ..] = v4.octets();
    write_number(out, first.into())?;
    rest.iter().try_for_each(|octet| {
        out.write_all(b".")?;
        write_number(out, u64::from(*octet))
    })
}

/// Writes an address and its port as `Display` does.
pub fn write_address(out: &mut impl Write, address: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(v4) = address else { return write!(out, "{address}") };
    write_ip(out, IpAddr::V4(*v4.ip()))?;
    out.write_all(b":")?;
    write_number(out, v4.port().into())
}

/// Appends one field.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A byte that may stand in a token (RFC 9110, 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("a Vec takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn numbers_and_addresses_look_as_displayed() {
        for number in [0, 1, 9, 10, 99, 100, 65_535, 1_000_000, u64::MAX - 1, u64::MAX] {
            assert_eq!(written(|out| write_number(out, number)), number.to_string());
        }
        for text in ["0.0.0.0", "127.0.0.1", "192.0.2.255", "::1", "2001:db8::7", "::ffff:192.0.2.1"] {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(written(|out| write_ip(out, ip)), ip.to_string());
            for port in [1, 80, 65_535] {
                let address = SocketAddr::new(ip, port);
                assert_eq!(written(|out| write_address(out, address)), address.to_string());
            }
        }
        let mut small = [0; 3];
        assert!(write_number(&mut &mut small[..], 1_234).is_err(), "what does not fit is said");
    }
}
