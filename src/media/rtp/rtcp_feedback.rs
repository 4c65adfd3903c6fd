//! What a viewer's reports say of how our media arrives (RFC 3550, 6.4; RFC 4585; RFC 5104). Read without copying.
//!
//! A viewer sends several reports a second, and a library that builds each of them in full spends as much on two of them as on sending a
//! hundred packets. Who sends media says so with a sender's report, which others here have to hear of: that is not read.

use crate::media::rtp::packet::{RtcpPacket, rtcp_packets};

/// Kinds of packets.
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

/// Bytes of a block about one source.
const BLOCK: usize = 24;

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
    /// There is an extended report (RFC 3611): who sends nothing tells its clock with one, and wants an answer from time to time.
    Extended,
}

/// Tells `each` what a compound of reports says. False: there is something in it that is not read here; nothing was told then.
pub fn read(compound: &[u8], mut each: impl FnMut(Said)) -> bool {
    let packets = || rtcp_packets(compound).map(|packet| without_padding(packet?));
    if !packets().all(|packet| packet.is_some_and(|packet| is_read_here(&packet))) {
        return false;
    }
    packets().flatten().for_each(|packet| tell(&packet, &mut each));
    true
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
        (RECEIVER_REPORT | DESCRIPTION | EXTENDED, _) => true,
        (TRANSPORT_FEEDBACK, kind) => kind == NACK,
        (PAYLOAD_FEEDBACK, kind) => matches!(kind, PICTURE_LOST | FULL_PICTURE | APPLICATION),
        _ => false,
    }
}

fn tell(packet: &RtcpPacket<'_>, each: &mut impl FnMut(Said)) {
    match (packet.kind, packet.count) {
        (RECEIVER_REPORT, count) => {
            for block in entries::<BLOCK>(packet.body, 4).take(count.into()) {
                if let (Some(seen), Some(ago)) = (word(&block, 16), word(&block, 20)) {
                    each(Said::LastReport { seen, ago });
                }
            }
        }
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
        (EXTENDED, _) => each(Said::Extended),
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

    fn said(compound: &[u8]) -> (bool, Vec<Said>) {
        let mut all = Vec::new();
        (read(compound, |said| all.push(said)), all)
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
            Said::Extended,
        ];
        let extended = packet(0, EXTENDED, &[1, 0x0400_0002, 5, 6]);
        let compound = [report(), description, nack, pli, fir, extended].concat();
        assert_eq!(said(&compound), (true, expected.to_vec()));
    }

    #[test]
    fn a_compound_with_anything_else_tells_nothing() {
        for (count, kind) in [(0, 200), (0, 203), (1, 204), (15, TRANSPORT_FEEDBACK), (2, PAYLOAD_FEEDBACK)] {
            let compound = [report(), packet(count, kind, &[1, 7])].concat();
            assert_eq!(said(&compound), (false, vec![]), "{kind} {count}");
        }
        let whole = report();
        for length in 1..whole.len() {
            assert!(!read(&whole[..length], |_| panic!("{length}")), "{length} bytes");
        }
        assert!(!read(&[&whole[..], &[0x80, 201]].concat(), |_| panic!("what is behind it is broken")));
        assert!(read(&[], |_| panic!("nothing")));
    }

    #[test]
    fn what_is_too_short_for_its_kind_says_nothing_and_padding_is_left_out() {
        for (count, kind) in [(31, RECEIVER_REPORT), (NACK, TRANSPORT_FEEDBACK), (1, 206), (4, 206)] {
            assert_eq!(said(&packet(count, kind, &[1])), (true, vec![]), "{kind} {count}");
        }
        let mut padded = packet(NACK, TRANSPORT_FEEDBACK, &[1, 7, 0x0005_0000, 4]);
        padded[0] |= 0x20;
        assert_eq!(said(&padded), (true, vec![Said::Missing { ssrc: 7, first: 5, following: 0 }]));
        padded[19] = 200;
        assert_eq!(said(&padded), (false, vec![]), "more padding than there is");
    }
}
