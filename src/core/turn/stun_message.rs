//! STUN messages (RFC 8489): head, attributes, addresses, integrity and fingerprint. What Binding exchanges and TURN have in common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::hmac;

/// Tells STUN from everything else (RFC 8489, 5).
pub(super) const COOKIE: u32 = 0x2112_A442;

/// Attributes (RFC 8489, 18.3).
pub(super) const USERNAME: u16 = 0x0006;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const FINGERPRINT: u16 = 0x8028;

/// Length of a header, and of a transaction id in it.
pub(super) const HEADER: usize = 20;
pub(super) const ID: usize = 12;

/// Length of MESSAGE-INTEGRITY and of FINGERPRINT, each with the head of its attribute.
pub(super) const INTEGRITY_LENGTH: usize = 24;
pub(super) const FINGERPRINT_LENGTH: usize = 8;

/// RFC 8489, 14.7.
const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// Attributes looked at. A check of a browser has about ten.
const MAX_ATTRIBUTES: usize = 32;

/// The number that ties an answer to its request.
pub type Transaction = [u8; ID];

/// Adds an attribute. A value is ours, or was bounded when it came: it is never as long as 64 KiB.
pub(super) fn put(attributes: &mut Vec<u8>, name: u16, value: &[u8]) {
    attributes.extend(name.to_be_bytes());
    attributes.extend((value.len() as u16).to_be_bytes());
    attributes.extend(value);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
}

/// A message's first 20 bytes, with room for as many more.
pub(super) fn head(kind: u16, transaction: Transaction, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEADER + length);
    head.extend(kind.to_be_bytes());
    head.extend((length as u16).to_be_bytes());
    head.extend(COOKIE.to_be_bytes());
    head.extend(transaction);
    head
}

/// A message with FINGERPRINT alone: nobody is proved to have sent it.
pub(super) fn unsealed(kind: u16, transaction: Transaction, attributes: &[u8]) -> Vec<u8> {
    let mut message = head(kind, transaction, attributes.len() + FINGERPRINT_LENGTH);
    message.extend(attributes);
    put_fingerprint(&mut message);
    message
}

/// A message with MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489, 14.5 and 14.7): each covers what stands before it, with a length that
/// ends behind it.
pub(super) fn sealed(kind: u16, transaction: Transaction, attributes: &[u8], key: &[u8]) -> Vec<u8> {
    let length = attributes.len() + INTEGRITY_LENGTH;
    let mut covered = head(kind, transaction, length);
    covered.extend(attributes);
    let integrity = hmac::sign(&keyed(key), &covered);
    let mut message = head(kind, transaction, length + FINGERPRINT_LENGTH);
    message.extend(attributes);
    put(&mut message, MESSAGE_INTEGRITY, integrity.as_ref());
    put_fingerprint(&mut message);
    message
}

fn put_fingerprint(message: &mut Vec<u8>) {
    let fingerprint = crc32(message) ^ FINGERPRINT_MASK;
    put(message, FINGERPRINT, &fingerprint.to_be_bytes());
}

/// STUN's integrity is HMAC-SHA1 (RFC 8489, 14.5), which is sound: what SHA-1 lost is something else.
fn keyed(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key)
}

/// Whether MESSAGE-INTEGRITY is that of the key; `None` without one.
pub(super) fn has_integrity(bytes: &[u8], key: &[u8]) -> Option<bool> {
    let (kind, transaction, body) = parts(bytes)?;
    let (offset, value) = attribute(bytes, MESSAGE_INTEGRITY)?;
    let mut covered = head(kind, transaction, offset + INTEGRITY_LENGTH);
    covered.extend(body.get(..offset)?);
    Some(hmac::verify(&keyed(key), &covered, value).is_ok())
}

/// The kind of a well-formed message, its number and its attributes.
pub(super) fn parts(bytes: &[u8]) -> Option<(u16, Transaction, &[u8])> {
    let (head, body) = bytes.split_at_checked(HEADER)?;
    let is_sound = head.get(4..8)? == COOKIE.to_be_bytes() && usize::from(u16_at(head, 2)?) == body.len();
    is_sound.then_some((u16_at(head, 0)?, head.get(8..)?.try_into().ok()?, body))
}

/// An attribute's value, and where the attribute begins.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<(usize, &[u8])> {
    let (_, _, body) = parts(bytes)?;
    let mut at = 0;
    for _ in 0..MAX_ATTRIBUTES {
        let rest = body.get(at..)?;
        let (name, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        if name == wanted {
            return Some((at, value));
        }
        at += 4 + length.next_multiple_of(4);
    }
    None
}

/// CRC-32 of ITU V.42, bit by bit: some 100 bytes a few times in a connection's life.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// What an IPv6 address is hidden with.
fn mask(transaction: Transaction) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction);
    mask
}

/// RFC 8489, 14.2: port and address, hidden from NATs that meddle.
pub(super) fn hidden_address(address: SocketAddr, transaction: Transaction) -> Vec<u8> {
    let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    let [mask0, mask1, ..] = COOKIE.to_be_bytes();
    value.extend((address.port() ^ u16::from_be_bytes([mask0, mask1])).to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => value.extend((u32::from(ip) ^ COOKIE).to_be_bytes()),
        IpAddr::V6(ip) => {
            value.extend((u128::from(ip) ^ u128::from_be_bytes(mask(transaction))).to_be_bytes())
        }
    }
    value
}

/// The address that is hidden so.
pub(super) fn address(value: &[u8], transaction: Transaction) -> Option<SocketAddr> {
    let [mask0, mask1, ..] = COOKIE.to_be_bytes();
    let port = u16_at(value, 2)? ^ u16::from_be_bytes([mask0, mask1]);
    let ip: IpAddr = match *value.get(1)? {
        1 => Ipv4Addr::from(u32::from_be_bytes(value.get(4..8)?.try_into().ok()?) ^ COOKIE).into(),
        2 => {
            let hidden = u128::from_be_bytes(value.get(4..20)?.try_into().ok()?);
            Ipv6Addr::from(hidden ^ u128::from_be_bytes(mask(transaction))).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The number in network order at this place.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769, 2.2: a sample response.
    const V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0b\x74\x65\x73\x74\x20\x76\x65\x63\x74\x6f\x72\x20\
\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";

    #[test]
    fn a_fingerprint_is_that_of_rfc_5769() {
        let (covered, fingerprint) = V4.split_at(V4.len() - 4);
        let covered = &covered[..covered.len() - 4];
        assert_eq!((crc32(covered) ^ FINGERPRINT_MASK).to_be_bytes(), fingerprint);
    }
}
