//! Which media section a packet is of that does not name one (RFC 9143, 9.2): that whose payload type it has, if it is one only.
//!
//! Clients without the header extension for `mid`, and whose SSRCs are in no `a=ssrc`, are only known by that.

use crate::media::rtp::packet;
use crate::media::sdp::offer::{ARRIVALS, MID_EXTENSION};
use crate::media::sdp::{Description, Part};

/// The header extension with the name of a layer.
const RID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

/// What an answer says of packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Payload types, and the sections that they are of.
    types: Vec<(u8, String)>,
    /// The sections with layers: a packet of theirs that names none could be of any.
    layered: Vec<String>,
    mid_extension: Option<u8>,
    rid_extension: Option<u8>,
    /// The header extensions with transport-wide numbers.
    number_extensions: Vec<u8>,
}

/// Where a packet belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Its source.
    pub ssrc: u32,
    /// The section.
    pub mid: &'a str,
    /// The layer, where the packet names one.
    pub rid: Option<String>,
}

impl Routes {
    /// Of an answer; repair has no route of its own.
    pub fn of(answer: &str) -> Routes {
        let Ok(Description { media, .. }) = Description::parse(answer) else { return Routes::default() };
        let mut routes = Routes::default();
        for part in &media {
            let mid = part.attribute("mid").unwrap_or_default();
            let maps = part.attributes("rtpmap").filter_map(|value| value.split_once(' '));
            let main = maps.filter(|(_, encoding)| !encoding.to_ascii_lowercase().starts_with("rtx/"));
            let numbers = main.filter_map(|(number, _)| number.parse().ok());
            if part.has("simulcast") {
                routes.layered.push(mid.to_owned());
            }
            routes.types.extend(numbers.map(|number: u8| (number, mid.to_owned())));
            routes.mid_extension = routes.mid_extension.or_else(|| extension(part, MID_EXTENSION));
            routes.rid_extension = routes.rid_extension.or_else(|| extension(part, RID_EXTENSION));
            routes.number_extensions.extend(extension(part, ARRIVALS));
        }
        routes
    }

    /// All transport-wide numbers that a packet has; a second one would count, too. Nothing of it was authenticated yet.
    pub fn transport_numbers(&self, datagram: &[u8]) -> impl Iterator<Item = u16> {
        let packet = (!self.number_extensions.is_empty()).then(|| packet::parse_header(datagram)).flatten();
        packet.into_iter().flat_map(|packet| elements(&packet)).filter_map(|(id, value)| match value {
            [high, low, ..] if self.number_extensions.contains(&id) => {
                Some(u16::from_be_bytes([*high, *low]))
            }
            _ => None,
        })
    }

    /// The route of a packet that names no section. Nothing of it was authenticated yet.
    pub fn find(&self, datagram: &[u8]) -> Option<Route<'_>> {
        let packet = packet::parse_header(datagram)?;
        if self.mid_extension.is_some_and(|id| element(&packet, id).is_some()) {
            return None;
        }
        let mut sections = self.types.iter().filter(|(number, _)| *number == packet.payload_type);
        let (_, mid) = sections.next()?;
        if sections.any(|(_, other)| other != mid) {
            return None;
        }
        let rid = self.rid_extension.and_then(|id| element(&packet, id));
        let rid = rid.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        if rid.is_none() && self.layered.contains(mid) {
            return None;
        }
        Some(Route { ssrc: packet.ssrc, mid, rid })
    }
}

fn extension(part: &Part, uri: &str) -> Option<u8> {
    let mut pairs = part.attributes("extmap").filter_map(|value| value.split_once(' '));
    pairs.find(|(_, other)| *other == uri)?.0.parse().ok()
}

fn element<'a>(packet: &packet::RtpHeader<'a>, wanted: u8) -> Option<&'a [u8]> {
    elements(packet).find(|(id, _)| *id == wanted).map(|(_, value)| value)
}

/// The elements of a header extension, with one byte before each or two (RFC 8285, 4.2 and 4.3).
fn elements<'a>(packet: &packet::RtpHeader<'a>) -> impl Iterator<Item = Element<'a>> + use<'a> {
    let (two_bytes, mut rest) = match packet.extension {
        Some((0xBEDE, bytes)) => (false, bytes),
        Some((profile, bytes)) if profile >> 4 == 0x100 => (true, bytes),
        _ => (false, [].as_slice()),
    };
    std::iter::from_fn(move || {
        let (element, after) = next_element(two_bytes, rest)?;
        rest = after;
        Some(element)
    })
}

/// An element's id and value.
type Element<'a> = (u8, &'a [u8]);

/// An element, and what comes after it.
fn next_element(two_bytes: bool, rest: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let padding = rest.iter().take_while(|byte| **byte == 0).count();
    let (id, length, after) = match (two_bytes, rest.get(padding..)?) {
        (true, [id, length, after @ ..]) => (*id, usize::from(*length), after),
        (false, [first, after @ ..]) => (first >> 4, usize::from(first & 0x0F) + 1, after),
        _ => return None,
    };
    if !two_bytes && id == 15 {
        return None;
    }
    let (value, after) = after.split_at_checked(length)?;
    Some(((id, value), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=rtpmap:111 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n";

    fn packet(payload_type: u8, extension: &[u8]) -> Vec<u8> {
        let head =
            [0x80 | if extension.is_empty() { 0 } else { 0x10 }, payload_type, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7];
        [&head, extension, &[1, 2, 3]].concat()
    }

    #[test]
    fn a_packet_without_a_name_goes_by_its_payload_type() {
        let routes = Routes::of(ANSWER);
        let mid = |payload_type| {
            routes.find(&packet(payload_type, &[])).map(|route| (route.ssrc, route.mid.to_owned()))
        };
        assert_eq!(mid(111), Some((7, "a".into())));
        assert_eq!(mid(96), Some((7, "v".into())));
        assert_eq!((mid(97), mid(100)), (None, None), "repair, and what was not agreed on");
        let twice = ANSWER.replace("a=rtpmap:96 VP8", "a=rtpmap:111 opus/48000/2\r\na=rtpmap:96 VP8");
        assert_eq!(Routes::of(&twice).find(&packet(111, &[])), None, "in two sections");
    }

    #[test]
    fn a_packet_with_a_name_is_known_by_that() {
        let routes = Routes::of(ANSWER);
        assert_eq!(routes.find(&packet(96, &[0xBE, 0xDE, 0, 1, 0x40, b'v', 0, 0])), None);
        assert_eq!(routes.find(&packet(96, &[0x10, 0, 0, 1, 4, 1, b'v', 0])), None);
        let other = routes.find(&packet(96, &[0xBE, 0xDE, 0, 1, 0x10, 9, 0, 0]));
        assert_eq!(other.map(|route| route.mid), Some("v"));
        let layer = routes.find(&packet(96, &[0xBE, 0xDE, 0, 1, 0, 0xA1, b'h', b'i']));
        assert_eq!(layer.and_then(|route| route.rid).as_deref(), Some("hi"));
        let layered =
            Routes::of(&format!("{ANSWER}a=rid:hi recv\r\na=rid:lo recv\r\na=simulcast:recv hi;lo\r\n"));
        assert_eq!(layered.find(&packet(96, &[])), None, "which of the layers?");
    }

    #[test]
    fn each_number_of_a_packet_is_read() {
        let answer = ANSWER.replace("a=rtpmap:96", &format!("a=extmap:3 {ARRIVALS}\r\na=rtpmap:96"));
        let numbers = |extension: &[u8]| {
            let packet = packet(96, extension);
            let without = Routes::of(ANSWER).transport_numbers(&packet).count();
            assert_eq!(without, 0, "not agreed on");
            Routes::of(&answer).transport_numbers(&packet).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&[0xBE, 0xDE, 0, 2, 0x31, 1, 2, 0, 0x31, 3, 4, 0]), [0x102, 0x304]);
        assert_eq!(numbers(&[0x10, 0, 0, 2, 3, 2, 1, 2, 3, 1, 9, 0]), [0x102], "one is too short");
        assert_eq!(numbers(&[0xBE, 0xDE, 0, 1, 0xF0, 0x31, 1, 2]).len(), 0, "nothing counts after id 15");
        assert_eq!(numbers(&[]).len(), 0);
    }

    #[test]
    fn what_is_no_packet_has_no_route() {
        let routes = Routes::of(ANSWER);
        let whole = packet(96, &[0xBE, 0xDE, 0, 2, 0x1F, 1, 2, 3, 4, 5, 6, 7]);
        for end in 0..whole.len() {
            let _ = routes.find(&whole[..end]);
        }
        assert_eq!(routes.find(&[0x80, 200, 0, 1, 0, 0, 0, 2, 0, 0, 0, 7]), None, "a report");
    }
}
