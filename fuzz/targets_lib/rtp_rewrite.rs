//! The RTP rewriter against a model that remembers everything: distances are kept, headers have one form, and a source that
//! begins anew continues.

use hydraneckwebrtc::media::rtp::rewrite::{HEADER, Rewriter, RtpIn};

/// Bytes of one packet in the input: SSRC (two sources), sequence, timestamp.
const RECORD: usize = 7;

const SSRC: u32 = 0x0102_0304;

fn packet(record: &[u8]) -> RtpIn {
    RtpIn {
        ssrc: u32::from(record[0] & 1),
        sequence: u16::from_be_bytes([record[1], record[2]]),
        timestamp: u32::from_be_bytes([record[3], record[4], record[5], record[6]]),
    }
}

fn numbers(header: [u8; HEADER]) -> (u16, u32) {
    (
        u16::from_be_bytes([header[2], header[3]]),
        u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
    )
}

/// Rewrites a made-up source.
pub fn run(data: &[u8]) {
    let mut rewriter = Rewriter::new(SSRC, 111);
    // The newest packet that came out, and what it became.
    let mut newest: Option<(RtpIn, (u16, u32))> = None;
    for record in data.chunks_exact(RECORD) {
        let packet = packet(record);
        let header = rewriter.rewrite(&packet);
        let Some(header) = header else {
            let (known, _) = newest.expect("the first packet is never dropped");
            assert_eq!(packet.ssrc, known.ssrc, "another source is never dropped: {packet:?}");
            assert!(packet.sequence.wrapping_sub(known.sequence) >= 0x8000, "newer, but dropped: {packet:?}");
            continue;
        };
        assert_eq!(header[..2], [0x80, 111]);
        assert_eq!(header[8..], SSRC.to_be_bytes());
        let out = numbers(header);
        let Some((known, before)) = newest else {
            assert_eq!(out, (0, 0), "the first packet");
            newest = Some((packet, out));
            continue;
        };
        let ahead = packet.sequence.wrapping_sub(known.sequence);
        let distances = (out.0.wrapping_sub(before.0), out.1.wrapping_sub(before.1));
        let expected = (ahead, packet.timestamp.wrapping_sub(known.timestamp));
        let same_source = packet.ssrc == known.ssrc;
        if same_source && (ahead < 0x8000 || ahead.wrapping_neg() <= 3_000) {
            assert_eq!(distances, expected, "{packet:?} after {known:?}");
            if (1..0x8000).contains(&ahead) {
                newest = Some((packet, out));
            }
        } else {
            // Begun anew: the next number, and a time one packet on.
            assert_eq!(distances.0, 1, "{packet:?} after {known:?}");
            assert!((1..=5_760).contains(&distances.1), "{packet:?} after {known:?}: {}", distances.1);
            newest = Some((packet, out));
        }
    }
}
