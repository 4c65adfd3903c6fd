//! RTP and RTCP of media processes and publishers (RFC 3550): read without copying; headers and sender reports written.

/// An RTP packet's fields. The payload is without header extension and padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// Payload type, 7 bits.
    pub payload_type: u8,
    /// Marker: the last packet of a video frame.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Payload.
    pub payload: &'a [u8],
}

/// Fixed part of an RTP header in bytes.
pub const HEADER: usize = 12;

/// A sender report without reports of what was received, in bytes.
pub const SENDER_REPORT: usize = 28;

/// RTP version 2 without padding, extension and sources; for RTCP without report blocks.
const VERSION: u8 = 0x80;

/// A receiver report of nothing, by nobody in particular: the smallest RTCP packet that every receiver passes over.
pub const NOTHING_RECEIVED: [u8; 8] = [VERSION, 201, 0, 1, 0, 0, 0, 0];

impl RtpPacket<'_> {
    /// Its header, without extension and sources.
    pub fn header(&self) -> [u8; HEADER] {
        let second = self.payload_type & 0x7F | if self.marker { 0x80 } else { 0 };
        let [n0, n1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.to_be_bytes();
        [VERSION, second, n0, n1, t0, t1, t2, t3, s0, s1, s2, s3]
    }
}

/// Whether a datagram of an RTP port is RTCP: told by the second byte (RFC 5761, 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

/// What the head of an RTP packet says without its keys: SRTP leaves it as it is (RFC 3711, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader<'a> {
    /// Payload type, 7 bits.
    pub payload_type: u8,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Profile and bytes of the header extension (RFC 3550, 5.3.1).
    pub extension: Option<(u16, &'a [u8])>,
}

/// Reads the head of an RTP packet, encrypted or not; `None` when it is none.
pub fn parse_header(datagram: &[u8]) -> Option<RtpHeader<'_>> {
    let [first, second, _, _, _, _, _, _, c0, c1, c2, c3, rest @ ..] = datagram else { return None };
    if first >> 6 != 2 || is_rtcp(datagram) {
        return None;
    }
    let rest = rest.get(4 * usize::from(first & 0x0F)..)?;
    let extension = if first & 0x10 == 0 {
        None
    } else {
        let [p0, p1, high, low, bytes @ ..] = rest else { return None };
        let bytes = bytes.get(..4 * usize::from(u16::from_be_bytes([*high, *low])))?;
        Some((u16::from_be_bytes([*p0, *p1]), bytes))
    };
    Some(RtpHeader { payload_type: second & 0x7F, ssrc: u32::from_be_bytes([*c0, *c1, *c2, *c3]), extension })
}

/// Reads an RTP packet; `None` when it is none.
pub fn parse(datagram: &[u8]) -> Option<RtpPacket<'_>> {
    let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3, rest @ ..] = datagram else { return None };
    if first >> 6 != 2 || is_rtcp(datagram) {
        return None;
    }
    let mut payload = rest.get(4 * usize::from(first & 0x0F)..)?;
    if first & 0x10 != 0 {
        let [_, _, high, low, extension @ ..] = payload else { return None };
        payload = extension.get(4 * usize::from(u16::from_be_bytes([*high, *low]))..)?;
    }
    if first & 0x20 != 0 {
        let padding = usize::from(*payload.last()?);
        let end = payload.len().checked_sub(padding).filter(|_| padding > 0)?;
        payload = payload.get(..end)?;
    }
    Some(RtpPacket {
        payload_type: second & 0x7F,
        marker: second & 0x80 != 0,
        sequence: u16::from_be_bytes([*s0, *s1]),
        timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
        ssrc: u32::from_be_bytes([*c0, *c1, *c2, *c3]),
        payload,
    })
}

/// What a sender report says of its stream's clock (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Of which stream.
    pub ssrc: u32,
    /// The sender's wall clock in NTP format: seconds since 1900 in the upper half, fractions in the lower.
    pub ntp: u64,
    /// The same moment in units of the stream's clock.
    pub timestamp: u32,
}

impl SenderReport {
    /// The packet, with what was sent so far: packets, and bytes of their payloads.
    pub fn packet(&self, packets: u32, octets: u32) -> [u8; SENDER_REPORT] {
        let mut packet = [0; SENDER_REPORT];
        let head = [VERSION, 200, 0, 6].into_iter().chain(self.ssrc.to_be_bytes());
        let clocks = self.ntp.to_be_bytes().into_iter().chain(self.timestamp.to_be_bytes());
        let counts = packets.to_be_bytes().into_iter().chain(octets.to_be_bytes());
        packet.iter_mut().zip(head.chain(clocks).chain(counts)).for_each(|(to, byte)| *to = byte);
        packet
    }
}

/// The end of a source (RFC 3550, 6.6), after the report that every compound packet begins with.
pub fn goodbye(ssrc: u32) -> [u8; 16] {
    let mut packet = [0; 16];
    let end = [VERSION | 1, 203, 0, 1].into_iter().chain(ssrc.to_be_bytes());
    packet.iter_mut().zip(NOTHING_RECEIVED.into_iter().chain(end)).for_each(|(to, byte)| *to = byte);
    packet
}

/// One packet of a compound RTCP packet (RFC 3550, 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcpPacket<'a> {
    /// The number of blocks, or the kind of feedback.
    pub count: u8,
    /// Its body ends with padding.
    pub is_padded: bool,
    /// Packet type.
    pub kind: u8,
    /// Behind the head.
    pub body: &'a [u8],
}

/// The packets of a compound RTCP packet; `None` where it is broken, and nothing behind that.
pub fn rtcp_packets(compound: &[u8]) -> impl Iterator<Item = Option<RtcpPacket<'_>>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let whole = std::mem::take(&mut rest);
        if whole.is_empty() {
            return None;
        }
        let read = split(whole);
        rest = read.map(|(_, after)| after).unwrap_or_default();
        Some(read.map(|(packet, _)| packet))
    })
}

fn split(compound: &[u8]) -> Option<(RtcpPacket<'_>, &[u8])> {
    let [first, kind, high, low, rest @ ..] = compound else { return None };
    let (body, after) = rest.split_at_checked(4 * usize::from(u16::from_be_bytes([*high, *low])))?;
    let packet = RtcpPacket { count: first & 0x1F, is_padded: first & 0x20 != 0, kind: *kind, body };
    (first >> 6 == 2).then_some((packet, after))
}

/// Every sender report of a compound RTCP packet.
pub fn sender_reports(datagram: &[u8]) -> impl Iterator<Item = SenderReport> {
    let reports = rtcp_packets(datagram).flatten().filter(|packet| packet.kind == 200);
    reports.filter_map(|packet| report(packet.body))
}

/// What the body of a sender report says; `None`: it is too short.
pub fn report(body: &[u8]) -> Option<SenderReport> {
    let word = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let ntp = u64::from(word(4)?) << 32 | u64::from(word(8)?);
    Some(SenderReport { ssrc: word(0)?, ntp, timestamp: word(12)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_extension_sources_and_padding_are_not_payload() {
        let mut packet = vec![0b1011_0001, 0x80 | 96, 0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 7];
        packet.extend([1, 1, 1, 1]); // a contributing source
        packet.extend([0xBE, 0xDE, 0, 1, 5, 5, 5, 5]); // an extension of one word
        packet.extend([40, 41, 42, 0, 0, 3]); // three bytes of padding
        let read = parse(&packet).unwrap();
        assert_eq!((read.payload_type, read.marker, read.sequence), (96, true, 0x1234));
        assert_eq!((read.timestamp, read.ssrc, read.payload), (9, 7, &[40, 41, 42][..]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let packet = RtpPacket {
            payload_type: 111,
            marker: true,
            sequence: 0xFFFE,
            timestamp: 77,
            ssrc: 9,
            payload: &[1, 2],
        };
        assert_eq!(parse(&[&packet.header()[..], packet.payload].concat()), Some(packet));
        let report = SenderReport { ssrc: 7, ntp: 0x0102_0304_0506_0708, timestamp: 99 };
        let written = report.packet(3, 4);
        assert_eq!(sender_reports(&written).collect::<Vec<_>>(), [report]);
        assert_eq!(written[20..], [0, 0, 0, 3, 0, 0, 0, 4]);
        assert_eq!(goodbye(0x0102_0304)[8..], [0x81, 203, 0, 1, 1, 2, 3, 4]);
        assert!(is_rtcp(&NOTHING_RECEIVED) && sender_reports(&NOTHING_RECEIVED).count() == 0);
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_no_packet() {
        let packet = [0x90, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xBE, 0xDE, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        assert!(parse(&packet).is_some());
        for length in 0..packet.len() {
            assert_eq!(parse(&packet[..length]), None, "{length} bytes");
        }
        for first in [0x00, 0x40, 0xC0] {
            assert_eq!(parse(&[&[first][..], &packet[1..]].concat()), None);
        }
        let mut padded = [0xA0, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
        for bad in [0, 4, 200] {
            padded[14] = bad;
            assert_eq!(parse(&padded), None, "padding of {bad}");
        }
    }

    #[test]
    fn sender_reports_are_found_in_a_compound_packet() {
        let mut packet = vec![0x81, 201, 0, 1, 0, 0, 0, 9]; // a receiver report's head
        packet.extend([0x80, 200, 0, 6, 0, 0, 0, 7]);
        packet.extend(0x0102_0304_0506_0708_u64.to_be_bytes());
        packet.extend([0, 0, 0, 99, 0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend([0x81, 202, 0, 1, 0, 0, 0, 7]);
        assert!(is_rtcp(&packet) && parse(&packet).is_none());
        let expected = SenderReport { ssrc: 7, ntp: 0x0102_0304_0506_0708, timestamp: 99 };
        assert_eq!(sender_reports(&packet).collect::<Vec<_>>(), [expected]);
        for length in 0..packet.len() {
            assert!(sender_reports(&packet[..length]).count() <= 1);
        }
        assert_eq!(sender_reports(&[0x80, 200, 0, 1, 0, 0, 0, 7]).count(), 0, "too short for its kind");
    }
}
