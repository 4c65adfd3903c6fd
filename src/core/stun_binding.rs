//! A STUN Binding exchange (RFC 8489): the question for our own address as a server sees it, and its answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Tells STUN from everything else (RFC 8489, 5).
const COOKIE: u32 = 0x2112_A442;

const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Length of a header, and of a transaction id in it.
const HEADER: usize = 20;
const ID: usize = 12;

/// A Binding request without attributes.
pub fn request(id: [u8; ID]) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0..2].copy_from_slice(&REQUEST.to_be_bytes());
    bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    bytes[8..].copy_from_slice(&id);
    bytes
}

/// The XOR-MAPPED-ADDRESS of the success response to the request with this id; `None` for everything else.
pub fn mapped_address(bytes: &[u8], id: [u8; ID]) -> Option<SocketAddr> {
    let (head, body) = bytes.split_at_checked(HEADER)?;
    let ours = u16_at(head, 0)? == SUCCESS && head.get(4..8)? == COOKIE.to_be_bytes() && head.get(8..)? == id;
    let mut rest = body.get(..usize::from(u16_at(head, 2)?)).filter(|_| ours)?;
    loop {
        let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        if kind == XOR_MAPPED_ADDRESS {
            return address(value, id);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

/// RFC 8489, 14.2: port and address, hidden from NATs that meddle.
fn address(value: &[u8], id: [u8; ID]) -> Option<SocketAddr> {
    let [mask0, mask1, ..] = COOKIE.to_be_bytes();
    let port = u16_at(value, 2)? ^ u16::from_be_bytes([mask0, mask1]);
    let ip: IpAddr = match *value.get(1)? {
        1 => Ipv4Addr::from(u32::from_be_bytes(value.get(4..8)?.try_into().ok()?) ^ COOKIE).into(),
        2 => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(&id);
            let hidden = u128::from_be_bytes(value.get(4..20)?.try_into().ok()?);
            Ipv6Addr::from(hidden ^ u128::from_be_bytes(mask)).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769, 2.2 and 2.3: sample responses over IPv4 and IPv6.
    const ID_5769: [u8; ID] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
    const V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";
    const V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

    #[test]
    fn the_vectors_of_rfc_5769_are_understood() {
        assert_eq!(mapped_address(V4, ID_5769), Some("192.0.2.1:32853".parse().expect("an address")));
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        assert_eq!(mapped_address(V6, ID_5769), Some(v6));
    }

    #[test]
    fn what_was_not_asked_for_is_no_answer() {
        assert_eq!(mapped_address(V4, [0; ID]), None, "another transaction");
        assert_eq!(mapped_address(&request(ID_5769), ID_5769), None, "a request");
        for end in 0..44 {
            assert_eq!(mapped_address(&V4[..end], ID_5769), None, "cut at {end}");
        }
        let mut bytes = V4.to_vec();
        for at in 0..bytes.len() {
            let kept = std::mem::replace(&mut bytes[at], 0xff);
            let _ = mapped_address(&bytes, ID_5769);
            bytes[at] = kept;
        }
    }
}
