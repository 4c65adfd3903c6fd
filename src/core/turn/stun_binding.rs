//! STUN Binding exchanges (RFC 8489): the question for our own address as a server sees it; and ICE's checks (RFC 8445, 7), which
//! carry a name and prove a password.

use std::net::SocketAddr;

pub use crate::core::turn::stun_message::Transaction;
use crate::core::turn::stun_message::{
    COOKIE, FINGERPRINT_LENGTH, HEADER, ID, INTEGRITY_LENGTH, USERNAME, XOR_MAPPED_ADDRESS, address,
    attribute, has_integrity, hidden_address, parts, put, sealed, u16_at,
};

const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;

const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

/// What a candidate that a check of ours finds would be worth: peer reflexive, first of its component (RFC 8445, 5.1.2).
const CHECK_PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

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
        sealed(REQUEST, self.transaction, &attributes, password.as_bytes())
    }
}

/// Length of a check with a name of this length.
pub fn check_length(name: usize) -> usize {
    let (name, priority, role) = (4 + name.next_multiple_of(4), 8, 12);
    HEADER + name + priority + role + INTEGRITY_LENGTH + FINGERPRINT_LENGTH
}

/// The answer to a check that came from `seen`. `password` is that of who answers.
pub fn answer(transaction: Transaction, seen: SocketAddr, password: &str) -> Vec<u8> {
    let mut attributes = Vec::new();
    put(&mut attributes, XOR_MAPPED_ADDRESS, &hidden_address(seen, transaction));
    sealed(SUCCESS, transaction, &attributes, password.as_bytes())
}

/// Whether this is the successful answer to the check with this number, by one who has the password.
pub fn is_answer(bytes: &[u8], transaction: Transaction, password: &str) -> bool {
    let is_meant = matches!(parts(bytes), Some((SUCCESS, id, _)) if id == transaction);
    is_meant && has_integrity(bytes, password.as_bytes()).unwrap_or(false)
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

    // SPEC address: With full ICE the STUN servers of `webrtc.iceservers.backend` are asked first;
    // with `icetrickle: false` an answer waits for the first question
    // Also: `what_was_not_asked_for_is_no_answer`, `the_address_that_a_server_sees_is_learned`,
    // `anything_else_is_no_address`, `urls_name_their_server`,
    // `who_needs_every_candidate_waits_for_the_first_answer_and_not_for_ever`
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
    fn a_check_has_the_length_and_the_role_that_it_says() {
        for (name, role) in [("abcd:efgh", IceRole::Controlled), ("a:b", IceRole::Controlling)] {
            let check = Check { transaction: ID_5769, name, role: (role, 7) };
            let message = check.message(PASSWORD);
            assert_eq!(message.len(), check_length(name.len()));
            assert_eq!(super::role(&message), Some((role, 7)));
            assert!(!nominates(&message) && has_integrity(&message, PASSWORD.as_bytes()) == Some(true));
            for cut in 0..message.len() {
                assert_eq!((super::role(&message[..cut]), nominates(&message[..cut])), (None, false));
            }
        }
        let mut attributes = Vec::new();
        put(&mut attributes, USE_CANDIDATE, &[]);
        assert!(nominates(&sealed(REQUEST, ID_5769, &attributes, PASSWORD.as_bytes())));
        assert!(!nominates(&sealed(SUCCESS, ID_5769, &attributes, PASSWORD.as_bytes())));
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
