//! What a viewer's reports say of how our media arrives (RFC 3550, 6.4; RFC 4585; RFC 5104). Read without copying.
//!
//! A viewer sends several reports a second, and a library that builds each of them in full spends as much on two of them as on sending a
//! hundred packets.

use crate::media::rtp::packet::{self, RtcpPacket, SenderReport, rtcp_packets};

/// Kinds of packets.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED: u8 = 207;

/// Kinds of feedback.
const NACK: u8 = 1;
const PICTURE_LOST: u8 = 1;
const FULL_PICTURE: u8 = 4;
const APPLICATION: u8 = 15;

/// Bytes of a block about one source, and what goes before the first one in a sender's report.
const BLOCK: usize = 24;
const SENT: usize = 24;

/// One thing that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The last sender report that was seen (the middle of its NTP time), and how long ago, in 1/65,536 s.
    LastReport {
        /// Which.
        seen: u32,
        /// How long ago.
        ago: u32,
    },
    /// Packets of a source are missing: the first, and those whose bits are set behind it.
    Missing {
        /// Whose.
        ssrc: u32,
        /// The first.
        first: u16,
        /// The sixteen behind it.
        following: u16,
    },
    /// A picture of a source is lacking.
    PictureLacking {
        /// Whose.
        ssrc: u32,
    },
    /// A sender's clock.
    Sent(SenderReport),
    /// An extended report (RFC 3611): with it those who only listen measure the time there and back.
    Extended {
        /// Whose.
        ssrc: u32,
    },
}

/// What is gleaned of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gleaned {
    /// All there is.
    All,
    /// There is something in it that is not read here, or it is broken from some place on.
    Some,
}

/// Tells `each` what is understood of a compound of reports, whatever else there is in it.
pub fn glean(compound: &[u8], mut each: impl FnMut(Said)) -> Gleaned {
    let mut gleaned = Gleaned::All;
    for packet in rtcp_packets(compound).map(|packet| without_padding(packet?)) {
        match packet.filter(is_read_here) {
            Some(packet) => tell(&packet, &mut each),
            None => gleaned = Gleaned::Some,
        }
    }
    gleaned
}

fn without_padding(packet: RtcpPacket<'_>) -> Option<RtcpPacket<'_>> {
    if !packet.is_padded {
        return Some(packet);
    }
    let padding = usize::from(*packet.body.last()?);
    let body = packet.body.get(..packet.body.len().checked_sub(padding)?)?;
    Some(RtcpPacket { body, is_padded: false, ..packet })
}

fn is_read_here(packet: &RtcpPacket<'_>) -> bool {
    match (packet.kind, packet.count) {
        (SENDER_REPORT | RECEIVER_REPORT | DESCRIPTION | EXTENDED, _) => true,
        (TRANSPORT_FEEDBACK, kind) => kind == NACK,
        (PAYLOAD_FEEDBACK, kind) => matches!(kind, PICTURE_LOST | FULL_PICTURE | APPLICATION),
        _ => false,
    }
}

fn tell(packet: &RtcpPacket<'_>, each: &mut impl FnMut(Said)) {
    match (packet.kind, packet.count) {
        (SENDER_REPORT | RECEIVER_REPORT, count) => {
            let is_sender = packet.kind == SENDER_REPORT;
            packet::report(packet.body)
                .filter(|_| is_sender)
                .into_iter()
                .for_each(|report| each(Said::Sent(report)));
            for block in entries::<BLOCK>(packet.body, if is_sender { SENT } else { 4 }).take(count.into()) {
                if let (Some(seen), Some(ago)) = (word(&block, 16), word(&block, 20)) {
                    each(Said::LastReport { seen, ago });
                }
            }
        }
        (EXTENDED, _) => word(packet.body, 0).into_iter().for_each(|ssrc| each(Said::Extended { ssrc })),
        (TRANSPORT_FEEDBACK, NACK) => {
            let Some(ssrc) = word(packet.body, 4) else { return };
            entries::<4>(packet.body, 8).for_each(|[p0, p1, b0, b1]| {
                let [first, following] = [[p0, p1], [b0, b1]].map(u16::from_be_bytes);
                each(Said::Missing { ssrc, first, following });
            });
        }
        (PAYLOAD_FEEDBACK, PICTURE_LOST) => {
            word(packet.body, 4).into_iter().for_each(|ssrc| each(Said::PictureLacking { ssrc }));
        }
        (PAYLOAD_FEEDBACK, FULL_PICTURE) => {
            let asked = entries::<8>(packet.body, 8).next().and_then(|entry| word(&entry, 0));
            asked.into_iter().for_each(|ssrc| each(Said::PictureLacking { ssrc }));
        }
        _ => {}
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Entries of so many bytes from a place on.
fn entries<const SIZE: usize>(body: &[u8], at: usize) -> impl Iterator<Item = [u8; SIZE]> {
    let rest = body.get(at..).unwrap_or_default();
    rest.chunks_exact(SIZE).filter_map(|entry| entry.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut packet = vec![0x80 | count, kind, 0, words.len() as u8];
        words.iter().for_each(|word| packet.extend(word.to_be_bytes()));
        packet
    }

    fn said(compound: &[u8]) -> (Gleaned, Vec<Said>) {
        let mut all = Vec::new();
        (glean(compound, |said| all.push(said)), all)
    }

    /// A receiver's report of two sources.
    fn report() -> Vec<u8> {
        packet(2, RECEIVER_REPORT, &[1, 7, 0, 0, 0, 0x1111_2222, 0x3333, 8, 0, 0, 0, 0, 0])
    }

    #[test]
    fn reports_losses_and_wishes_are_read_out_of_a_compound() {
        let nack = packet(NACK, TRANSPORT_FEEDBACK, &[1, 7, 0xfffe_8001, 0x0005_0000]);
        let pli = packet(PICTURE_LOST, PAYLOAD_FEEDBACK, &[1, 7]);
        let fir = packet(FULL_PICTURE, PAYLOAD_FEEDBACK, &[1, 0, 9, 0x0100_0000]);
        let description = packet(1, DESCRIPTION, &[1, 0x0101_6100]);
        let expected = [
            Said::LastReport { seen: 0x1111_2222, ago: 0x3333 },
            Said::LastReport { seen: 0, ago: 0 },
            Said::Missing { ssrc: 7, first: 0xfffe, following: 0x8001 },
            Said::Missing { ssrc: 7, first: 5, following: 0 },
            Said::PictureLacking { ssrc: 7 },
            Said::PictureLacking { ssrc: 9 },
            Said::Extended { ssrc: 1 },
        ];
        let extended = packet(0, EXTENDED, &[1, 0x0400_0002, 5, 6]);
        let compound = [report(), description, nack, pli, fir, extended].concat();
        assert_eq!(said(&compound), (Gleaned::All, expected.to_vec()));
    }

    #[test]
    fn what_is_cut_off_tells_nothing() {
        let whole = report();
        for length in 1..whole.len() {
            assert_eq!(said(&whole[..length]), (Gleaned::Some, vec![]), "{length} bytes");
        }
        assert_eq!(said(&[]), (Gleaned::All, vec![]));
    }

    #[test]
    fn what_is_understood_is_gleaned_and_whatever_else_there_is_passed_over() {
        let words = [7, 0x8000_0001, 0x4000_0000, 90_000, 3, 4, 8, 0, 0, 0, 0x1111_2222, 0x3333];
        let sent = SenderReport { ssrc: 7, ntp: 0x8000_0001_4000_0000, timestamp: 90_000 };
        let told = [Said::Sent(sent), Said::LastReport { seen: 0x1111_2222, ago: 0x3333 }];
        let (senders, pli) = (packet(1, 200, &words), packet(PICTURE_LOST, PAYLOAD_FEEDBACK, &[1, 9]));
        assert_eq!(said(&senders), (Gleaned::All, told.to_vec()));
        let more = [&told[..], &[Said::PictureLacking { ssrc: 9 }]].concat();
        let description = packet(1, DESCRIPTION, &[7, 0x0101_6100]);
        let compound = [senders.clone(), description, pli.clone()].concat();
        assert_eq!(said(&compound), (Gleaned::All, more.clone()));
        let extended = packet(0, 207, &[5, 0x0400_0002, 1, 2]);
        assert_eq!(said(&extended), (Gleaned::All, vec![Said::Extended { ssrc: 5 }]));
        for (count, kind) in [(0, 203), (1, 204), (15, TRANSPORT_FEEDBACK), (2, PAYLOAD_FEEDBACK)] {
            let compound = [senders.clone(), packet(count, kind, &[1, 7]), pli.clone()].concat();
            assert_eq!(said(&compound), (Gleaned::Some, more.clone()), "{kind} {count}");
        }
        let broken = [&senders[..], &[0x80, 201]].concat();
        assert_eq!(said(&broken), (Gleaned::Some, told.to_vec()), "what is behind it is broken");
        assert_eq!(said(&packet(0, 200, &[7])), (Gleaned::All, vec![]), "too short for its kind");
    }

    #[test]
    fn what_is_too_short_for_its_kind_says_nothing_and_padding_is_left_out() {
        for (count, kind) in [(31, RECEIVER_REPORT), (NACK, TRANSPORT_FEEDBACK), (1, 206), (4, 206)] {
            assert_eq!(said(&packet(count, kind, &[1])), (Gleaned::All, vec![]), "{kind} {count}");
        }
        let mut padded = packet(NACK, TRANSPORT_FEEDBACK, &[1, 7, 0x0005_0000, 4]);
        padded[0] |= 0x20;
        assert_eq!(said(&padded), (Gleaned::All, vec![Said::Missing { ssrc: 7, first: 5, following: 0 }]));
        padded[19] = 200;
        assert_eq!(said(&padded), (Gleaned::Some, vec![]), "more padding than there is");
    }
}
