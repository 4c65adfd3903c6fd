//! STUN Binding exchanges (RFC 8489): the question for our own address as a server sees it; and ICE's checks (RFC 8445, 7), which
//! carry a name and prove a password.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::hmac;

/// Tells STUN from everything else (RFC 8489, 5).
const COOKIE: u32 = 0x2112_A442;

const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

/// Length of a header, and of a transaction id in it.
const HEADER: usize = 20;
const ID: usize = 12;

/// Length of MESSAGE-INTEGRITY and of FINGERPRINT, each with the head of its attribute.
const INTEGRITY_LENGTH: usize = 24;
const FINGERPRINT_LENGTH: usize = 8;

/// RFC 8489, 14.7.
const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// Attributes looked at. A check of a browser has about ten.
const MAX_ATTRIBUTES: usize = 32;

/// What a candidate that a check of ours finds would be worth: peer reflexive, first of its component (RFC 8445, 5.1.2).
const CHECK_PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

/// The number that ties an answer to its request.
pub type Transaction = [u8; ID];

/// Which side of ICE decides (RFC 8445, 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// The other side decides; an ICE-lite agent is always this.
    Controlled,
    /// We decide.
    Controlling,
}

/// A check to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Its number.
    pub transaction: Transaction,
    /// The receiver's user name fragment, a colon, the sender's.
    pub name: &'a str,
    /// The sender's side, and the number that decides when both claim the same.
    pub role: (IceRole, u64),
}

impl Check<'_> {
    /// The message. `password` is the receiver's.
    pub fn message(&self, password: &str) -> Vec<u8> {
        let (role, tie_breaker) = self.role;
        let role = match role {
            IceRole::Controlled => ICE_CONTROLLED,
            IceRole::Controlling => ICE_CONTROLLING,
        };
        let mut attributes = Vec::new();
        put(&mut attributes, USERNAME, self.name.as_bytes());
        put(&mut attributes, PRIORITY, &CHECK_PRIORITY.to_be_bytes());
        put(&mut attributes, role, &tie_breaker.to_be_bytes());
        sealed(REQUEST, self.transaction, &attributes, password)
    }
}

/// Length of a check with a name of this length.
pub fn check_length(name: usize) -> usize {
    let (name, priority, role) = (4 + name.next_multiple_of(4), 8, 12);
    HEADER + name + priority + role + INTEGRITY_LENGTH + FINGERPRINT_LENGTH
}

/// The answer to a check that came from `seen`. `password` is that of who answers.
pub fn answer(transaction: Transaction, seen: SocketAddr, password: &str) -> Vec<u8> {
    let mut value = vec![0, if seen.is_ipv4() { 1 } else { 2 }];
    let [mask0, mask1, ..] = COOKIE.to_be_bytes();
    value.extend((seen.port() ^ u16::from_be_bytes([mask0, mask1])).to_be_bytes());
    match seen.ip() {
        IpAddr::V4(ip) => value.extend((u32::from(ip) ^ COOKIE).to_be_bytes()),
        IpAddr::V6(ip) => {
            value.extend((u128::from(ip) ^ u128::from_be_bytes(mask(transaction))).to_be_bytes())
        }
    }
    let mut attributes = Vec::new();
    put(&mut attributes, XOR_MAPPED_ADDRESS, &value);
    sealed(SUCCESS, transaction, &attributes, password)
}

/// Whether this is the successful answer to the check with this number, by one who has the password.
pub fn is_answer(bytes: &[u8], transaction: Transaction, password: &str) -> bool {
    let is_meant = matches!(parts(bytes), Some((SUCCESS, id, _)) if id == transaction);
    is_meant && has_integrity(bytes, password).unwrap_or(false)
}

/// Whether this is a check that nominates its pair (RFC 8445, 7.1.2).
pub fn nominates(bytes: &[u8]) -> bool {
    matches!(parts(bytes), Some((REQUEST, ..))) && attribute(bytes, USE_CANDIDATE).is_some()
}

/// The side that a check's sender claims.
pub fn role(bytes: &[u8]) -> Option<(IceRole, u64)> {
    let number = |name| Some(u64::from_be_bytes(attribute(bytes, name)?.1.try_into().ok()?));
    let controlled = number(ICE_CONTROLLED).map(|number| (IceRole::Controlled, number));
    controlled.or_else(|| number(ICE_CONTROLLING).map(|number| (IceRole::Controlling, number)))
}

/// Adds an attribute.
fn put(attributes: &mut Vec<u8>, name: u16, value: &[u8]) {
    attributes.extend(name.to_be_bytes());
    // Every value here is ours or a user name fragment, of 256 characters at most.
    attributes.extend((value.len() as u16).to_be_bytes());
    attributes.extend(value);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
}

fn head(kind: u16, transaction: Transaction, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEADER + length);
    head.extend(kind.to_be_bytes());
    head.extend((length as u16).to_be_bytes());
    head.extend(COOKIE.to_be_bytes());
    head.extend(transaction);
    head
}

/// A message with MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489, 14.5 and 14.7): each covers what stands before it, with a length that
/// ends behind it.
fn sealed(kind: u16, transaction: Transaction, attributes: &[u8], password: &str) -> Vec<u8> {
    let length = attributes.len() + INTEGRITY_LENGTH;
    let mut covered = head(kind, transaction, length);
    covered.extend(attributes);
    let integrity = hmac::sign(&keyed(password), &covered);
    let mut message = head(kind, transaction, length + FINGERPRINT_LENGTH);
    message.extend(attributes);
    put(&mut message, MESSAGE_INTEGRITY, integrity.as_ref());
    let fingerprint = crc32(&message) ^ FINGERPRINT_MASK;
    put(&mut message, FINGERPRINT, &fingerprint.to_be_bytes());
    message
}

/// STUN's integrity is HMAC-SHA1 (RFC 8489, 14.5), which is sound: what SHA-1 lost is something else.
fn keyed(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// Whether MESSAGE-INTEGRITY is that of the password; `None` without one.
fn has_integrity(bytes: &[u8], password: &str) -> Option<bool> {
    let (kind, transaction, body) = parts(bytes)?;
    let (offset, value) = attribute(bytes, MESSAGE_INTEGRITY)?;
    let mut covered = head(kind, transaction, offset + INTEGRITY_LENGTH);
    covered.extend(body.get(..offset)?);
    Some(hmac::verify(&keyed(password), &covered, value).is_ok())
}

/// The kind of a well-formed message, its number and its attributes.
fn parts(bytes: &[u8]) -> Option<(u16, Transaction, &[u8])> {
    let (head, body) = bytes.split_at_checked(HEADER)?;
    let is_sound = head.get(4..8)? == COOKIE.to_be_bytes() && usize::from(u16_at(head, 2)?) == body.len();
    is_sound.then_some((u16_at(head, 0)?, head.get(8..)?.try_into().ok()?, body))
}

/// An attribute's value, and where the attribute begins.
fn attribute(bytes: &[u8], wanted: u16) -> Option<(usize, &[u8])> {
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
            let hidden = u128::from_be_bytes(value.get(4..20)?.try_into().ok()?);
            Ipv6Addr::from(hidden ^ u128::from_be_bytes(mask(id))).into()
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

    /// The password of those samples.
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn an_answer_needs_its_number_and_its_password() {
        for sample in [V4, V6] {
            assert!(is_answer(sample, ID_5769, PASSWORD));
            assert!(!is_answer(sample, [0; ID], PASSWORD), "another number");
            assert!(!is_answer(sample, ID_5769, "another password"));
            for at in 0..sample.len() {
                let mut bytes = sample.to_vec();
                bytes[at] ^= 0x20;
                let is_covered = at < sample.len() - FINGERPRINT_LENGTH;
                assert!(!is_answer(&bytes, ID_5769, PASSWORD) || !is_covered, "byte {at} changed");
                assert!(!is_answer(&sample[..at], ID_5769, PASSWORD), "cut at {at}");
            }
        }
        assert!(!is_answer(&request(ID_5769), ID_5769, PASSWORD), "a request");
    }

    #[test]
    fn what_is_answered_is_understood() {
        for seen in ["192.0.2.1:32853", "[2001:db8::1]:9"].map(|text| text.parse().expect("an address")) {
            let message = answer(ID_5769, seen, PASSWORD);
            assert_eq!(mapped_address(&message, ID_5769), Some(seen));
            assert!(is_answer(&message, ID_5769, PASSWORD));
        }
    }

    #[test]
    fn a_fingerprint_is_that_of_rfc_5769() {
        let (covered, fingerprint) = V4.split_at(V4.len() - 4);
        let covered = &covered[..covered.len() - 4];
        assert_eq!((crc32(covered) ^ FINGERPRINT_MASK).to_be_bytes(), fingerprint);
    }

    #[test]
    fn a_check_has_the_length_and_the_role_that_it_says() {
        for (name, role) in [("abcd:efgh", IceRole::Controlled), ("a:b", IceRole::Controlling)] {
            let check = Check { transaction: ID_5769, name, role: (role, 7) };
            let message = check.message(PASSWORD);
            assert_eq!(message.len(), check_length(name.len()));
            assert_eq!(super::role(&message), Some((role, 7)));
            assert!(!nominates(&message) && has_integrity(&message, PASSWORD) == Some(true));
            for cut in 0..message.len() {
                assert_eq!((super::role(&message[..cut]), nominates(&message[..cut])), (None, false));
            }
        }
        let mut attributes = Vec::new();
        put(&mut attributes, USE_CANDIDATE, &[]);
        assert!(nominates(&sealed(REQUEST, ID_5769, &attributes, PASSWORD)));
        assert!(!nominates(&sealed(SUCCESS, ID_5769, &attributes, PASSWORD)));
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
