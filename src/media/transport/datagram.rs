//! What a datagram at a media port is, by its first bytes (RFC 7983), and what a STUN message says about whose it is.
//!
//! Nothing is believed here: a name in a STUN message only tells which peer is asked whether it accepts the message.

/// The size of a STUN header (RFC 8489, 5).
const STUN_HEADER: usize = 20;

/// RFC 8489, 5.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// USERNAME (RFC 8489, 14.3).
const USERNAME: u16 = 0x0006;

/// Attributes looked at. A check of a browser has about ten.
const MAX_ATTRIBUTES: usize = 32;

/// RFC 8839, 5.4: four to 256 characters.
const UFRAG_LENGTHS: std::ops::RangeInclusive<usize> = 4..=256;

/// A record's type, version, epoch, number and length (RFC 6347, 4.1).
const RECORD_HEADER: usize = 13;

/// The type of a record (RFC 5246, 6.2.1).
const APPLICATION_DATA: u8 = 23;

/// The protocols that share a media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connectivity checks.
    Stun,
    /// Handshake and data channels.
    Dtls,
    /// Encrypted media.
    Rtp,
    /// Encrypted reports and feedback.
    Rtcp,
}

/// A STUN message, as far as it says whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stun<'a> {
    /// A check by a peer. The part of its USERNAME before the colon is ours (RFC 8445, 7.2.2).
    Request {
        /// Our user name fragment.
        ufrag: &'a str,
    },
    /// The answer to a check of ours, or its refusal.
    Response {
        /// The number we gave the check.
        transaction: [u8; 12],
    },
    /// Anything else, such as a keep-alive without an answer.
    Other,
}

/// The protocol of a datagram; `None` for what no peer of ours sends (RFC 7983, 7; RFC 5761, 4).
pub fn kind(datagram: &[u8]) -> Option<Kind> {
    match datagram {
        [0..=3, ..] if datagram.len() >= STUN_HEADER => Some(Kind::Stun),
        [20..=63, ..] => Some(Kind::Dtls),
        [128..=191, second, _, _, ..] if matches!(second & 0x7f, 64..=95) => Some(Kind::Rtcp),
        [128..=191, _, _, _, ..] => Some(Kind::Rtp),
        _ => None,
    }
}

/// Reads what a STUN message says about whose it is; `None` when it is not well formed.
pub fn peek_stun(datagram: &[u8]) -> Option<Stun<'_>> {
    let (header, attributes) = datagram.split_at_checked(STUN_HEADER)?;
    let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = header else { return None };
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    // RFC 7983: what begins with more than 3 belongs to other protocols, whatever it looks like.
    let sound = *t0 <= 3
        && [*c0, *c1, *c2, *c3] == MAGIC_COOKIE
        && length == attributes.len()
        && length.is_multiple_of(4);
    if !sound {
        return None;
    }
    match u16::from_be_bytes([*t0, *t1]) {
        0x0001 => Some(Stun::Request { ufrag: ufrag(attributes)? }),
        0x0101 | 0x0111 => Some(Stun::Response { transaction: transaction.try_into().ok()? }),
        _ => Some(Stun::Other),
    }
}

/// The number of a check, when this datagram is one: what its answer will carry.
pub fn request_transaction(datagram: &[u8]) -> Option<[u8; 12]> {
    match datagram {
        [0x00, 0x01, _, _, 0x21, 0x12, 0xa4, 0x42, rest @ ..] => rest.get(..12)?.try_into().ok(),
        _ => None,
    }
}

/// Whether this is the answer to somebody's check.
pub fn is_stun_success(datagram: &[u8]) -> bool {
    matches!(datagram, [0x01, 0x01, _, _, 0x21, 0x12, 0xa4, 0x42, ..])
}

/// Whether a datagram of DTLS 1.2 has a record of application data (RFC 6347, 4.1). That would be a data channel, which nobody agreed on:
/// we offer and answer none.
pub fn has_application_data(mut datagram: &[u8]) -> bool {
    while let Some((header, rest)) = datagram.split_first_chunk::<RECORD_HEADER>() {
        let [content, .., high, low] = *header;
        if content == APPLICATION_DATA {
            return true;
        }
        datagram = rest.get(usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default();
    }
    false
}

/// Our user name fragment out of the USERNAME attribute.
fn ufrag(mut attributes: &[u8]) -> Option<&str> {
    for _ in 0..MAX_ATTRIBUTES {
        let ([t0, t1, l0, l1], rest) = attributes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let (value, _) = rest.split_at_checked(length)?;
        if u16::from_be_bytes([*t0, *t1]) == USERNAME {
            let (ours, _) = std::str::from_utf8(value).ok()?.split_once(':')?;
            let fits = UFRAG_LENGTHS.contains(&ours.len()) && ours.bytes().all(is_ice_char);
            return fits.then_some(ours);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// `ice-char` of RFC 8839, 5.1.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(message_type: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in attributes {
            body.extend(name.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = message_type.to_be_bytes().to_vec();
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        message.extend(body);
        message
    }

    // SPEC 7: A datagram is told by its first bytes and its name; what is not well formed is
    // nobody's
    // Also: `a_check_names_our_user_fragment_wherever_the_attribute_stands`,
    // `what_is_not_well_formed_is_nobodys`
    #[test]
    fn the_first_byte_tells_the_protocols_apart() {
        let cases: [(&[u8], Option<Kind>); 10] = [
            (&[0; 20], Some(Kind::Stun)),
            (&[0; 19], None),
            (&[22, 254, 253], Some(Kind::Dtls)),
            (&[63], Some(Kind::Dtls)),
            (&[16, 0, 0, 0], None),
            (&[64, 0, 0, 0], None),
            (&[128, 111, 0, 1], Some(Kind::Rtp)),
            (&[128, 0x80 | 111, 0, 1], Some(Kind::Rtp)),
            (&[129, 201, 0, 1], Some(Kind::Rtcp)),
            (&[], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(kind(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_check_names_our_user_fragment_wherever_the_attribute_stands() {
        let attributes: [(u16, &[u8]); 3] =
            [(0x8022, b"odd"), (0x0024, &[1, 2, 3, 4]), (USERNAME, b"ours:theirs")];
        assert_eq!(peek_stun(&stun(1, &attributes)), Some(Stun::Request { ufrag: "ours" }));
    }

    #[test]
    fn an_answer_names_its_transaction() {
        for message_type in [0x0101, 0x0111] {
            let message = stun(message_type, &[]);
            assert_eq!(peek_stun(&message), Some(Stun::Response { transaction: [7; 12] }));
        }
        assert_eq!(request_transaction(&stun(1, &[])), Some([7; 12]));
        assert_eq!(request_transaction(&stun(0x0101, &[])), None);
        assert!(is_stun_success(&stun(0x0101, &[])));
        assert_eq!(peek_stun(&stun(0x0011, &[])), Some(Stun::Other));
        assert_eq!(peek_stun(&stun(0x3101, &[])), None, "a first byte of DTLS");
    }

    #[test]
    fn data_is_found_in_whichever_record_it_stands() {
        let record = |content: u8, length: u8| {
            let mut bytes = vec![content, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, length];
            bytes.resize(RECORD_HEADER + usize::from(length), APPLICATION_DATA);
            bytes
        };
        for (records, expected) in [
            (vec![record(23, 40)], true),
            (vec![record(23, 0)], true),
            (vec![record(22, 100), record(20, 1), record(23, 5)], true),
            (vec![record(22, 100), record(20, 1), record(22, 23)], false),
            (vec![record(21, 2)], false),
            (vec![], false),
        ] {
            let datagram = records.concat();
            assert_eq!(has_application_data(&datagram), expected, "{datagram:?}");
        }
        assert!(!has_application_data(&record(22, 40)[..30]), "cut within a record");
    }

    #[test]
    fn what_is_not_well_formed_is_nobodys() {
        let good = stun(1, &[(USERNAME, b"ours:theirs")]);
        assert!(peek_stun(&good).is_some());
        for cut in 0..good.len() {
            assert_eq!(peek_stun(&good[..cut]), None, "cut at {cut}");
        }
        for name in [&b"nocolon"[..], b":x", b"abc:x", b"with space:x", b"\xff\xff\xff\xff:x"] {
            assert_eq!(peek_stun(&stun(1, &[(USERNAME, name)])), None, "{name:?}");
        }
        let mut cookie = good.clone();
        cookie[4] ^= 1;
        assert_eq!(peek_stun(&cookie), None);
        let mut longer_than_it_is = good;
        longer_than_it_is[23] = 200;
        assert_eq!(peek_stun(&longer_than_it_is), None);
    }
}
