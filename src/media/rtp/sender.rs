//! Coded frames → RTP packets and sender reports of one stream (RFC 3550), with the payload formats of VP8 (RFC 7741) and
//! Opus (RFC 7587).
//!
//! Where sequence, time stamps and the rest begin comes in from whoever owns randomness; time comes in with each frame.

use crate::media::rtp::packet::{HEADER, RtpPacket, SENDER_REPORT, SenderReport};

/// Payload type of video, as FFmpeg is told to use it.
pub const VIDEO_PAYLOAD_TYPE: u8 = 96;

/// Payload type of audio.
pub const AUDIO_PAYLOAD_TYPE: u8 = 111;

/// Ticks of video's RTP clock per second.
pub const VIDEO_CLOCK: u32 = 90_000;

/// Ticks of Opus' RTP clock per second, whatever the signal was sampled at.
pub const AUDIO_CLOCK: u32 = 48_000;

/// Largest packet in bytes, RTP header included: fits any path once SRTP, UDP and IP are added.
pub const MAX_PACKET: usize = 1200;

/// VP8's payload descriptor with a picture id of 15 bits.
const DESCRIPTOR: usize = 4;

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_OFFSET: u64 = 2_208_988_800;

/// Where a stream begins (RFC 3550, 5.1: at random).
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Synchronisation source.
    pub ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// Time stamp at time zero.
    pub timestamp: u32,
    /// First picture id (VP8).
    pub picture: u16,
}

impl Start {
    /// A start out of random bytes.
    pub fn from_entropy(bytes: [u8; 12]) -> Start {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Start {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            timestamp: u32::from_be_bytes([e, f, g, h]),
            sequence: u16::from_be_bytes([i, j]),
            picture: u16::from_be_bytes([k, l]),
        }
    }
}

/// The sender of one stream.
#[derive(Clone, Debug)]
pub struct RtpSender {
    start: Start,
    payload_type: u8,
    sequence: u16,
    picture: u16,
    packets: u32,
    octets: u32,
}

impl RtpSender {
    /// A stream that has sent nothing.
    pub fn new(start: Start, payload_type: u8) -> RtpSender {
        let (sequence, picture) = (start.sequence, start.picture);
        RtpSender { start, payload_type, sequence, picture, packets: 0, octets: 0 }
    }

    /// The packets of a VP8 frame at `ticks` of [`VIDEO_CLOCK`] after time zero. Only the last one has the marker.
    pub fn vp8(&mut self, frame: &[u8], ticks: u64) -> Vec<Vec<u8>> {
        let [high, low] = (self.picture & 0x7fff).to_be_bytes();
        self.picture = self.picture.wrapping_add(1);
        let mut pieces = frame.chunks(MAX_PACKET - HEADER - DESCRIPTOR).peekable();
        let mut packets = Vec::new();
        let mut begins = 0x10;
        while let Some(piece) = pieces.next() {
            let mut packet = self.header(ticks, pieces.peek().is_none());
            // X, and S on a frame's first packet; I; M and 15 bits.
            packet.extend([0x80 | begins, 0x80, 0x80 | high, low]);
            begins = 0;
            packet.extend_from_slice(piece);
            packets.push(self.count(packet));
        }
        packets
    }

    /// The packet of an Opus frame at `ticks` of [`AUDIO_CLOCK`] after time zero.
    pub fn opus(&mut self, frame: &[u8], ticks: u64) -> Vec<u8> {
        let mut packet = self.header(ticks, false);
        packet.extend_from_slice(frame);
        self.count(packet)
    }

    /// A sender report with the name all streams of one source share (RFC 3550, 6.4.1 and 6.5.1): at this time on the
    /// wall clock, in milliseconds since 1970, the stream is at `ticks`.
    pub fn report(&self, unix_millis: u64, ticks: u64, name: &str) -> Vec<u8> {
        let (seconds, millis) = (unix_millis / 1000 + NTP_OFFSET, unix_millis % 1000);
        let fraction = (millis << 32) / 1000;
        // The upper half wraps in 2036, as NTP's does.
        let (ssrc, ntp, timestamp) = (self.start.ssrc, seconds << 32 | fraction, self.at(ticks));
        let mut report = SenderReport { ssrc, ntp, timestamp }.packet(self.packets, self.octets).to_vec();
        let name = name.as_bytes().get(..255).unwrap_or(name.as_bytes());
        let item = 4 + 2 + name.len() + 1;
        let words = item.div_ceil(4);
        report.extend([0x81, 202]);
        report.extend(u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes());
        report.extend(self.start.ssrc.to_be_bytes());
        report.extend([1, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
        report.extend_from_slice(name);
        report.resize(SENDER_REPORT + 4 + words * 4, 0);
        report
    }

    fn header(&self, ticks: u64, marker: bool) -> Vec<u8> {
        let mut packet = Vec::with_capacity(MAX_PACKET);
        let (payload_type, sequence, ssrc) = (self.payload_type, self.sequence, self.start.ssrc);
        let timestamp = self.at(ticks);
        packet.extend(RtpPacket { payload_type, marker, sequence, timestamp, ssrc, payload: &[] }.header());
        packet
    }

    fn at(&self, ticks: u64) -> u32 {
        // Time stamps wrap (RFC 3550, 5.1).
        self.start.timestamp.wrapping_add(ticks as u32)
    }

    fn count(&mut self, packet: Vec<u8>) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        let payload = u32::try_from(packet.len().saturating_sub(HEADER)).unwrap_or(u32::MAX);
        self.octets = self.octets.wrapping_add(payload);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Start =
        Start { ssrc: 0x0102_0304, sequence: 0xffff, timestamp: 0xffff_ff00, picture: 0x7fff };

    fn sequence(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[2], packet[3]])
    }

    #[test]
    fn a_vp8_frame_is_cut_and_marked_and_its_picture_counted() {
        let mut sender = RtpSender::new(START, VIDEO_PAYLOAD_TYPE);
        let frame: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let packets = sender.vp8(&frame, 0x200);
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet.len() <= MAX_PACKET));
        let payload: Vec<u8> = packets.iter().flat_map(|packet| packet[16..].to_vec()).collect();
        assert_eq!(payload, frame);
        let heads: Vec<_> = packets.iter().map(|packet| (packet[1], packet[12], sequence(packet))).collect();
        assert_eq!(heads, [(96, 0x90, 0xffff), (96, 0x80, 0), (0x80 | 96, 0x80, 1)]);
        assert_eq!(packets[0][4..12], [0, 0, 1, 0, 1, 2, 3, 4]);
        assert_eq!(packets[2][13..16], [0x80, 0xff, 0xff]);
        assert_eq!(sender.vp8(&[1], 0x400)[0][13..16], [0x80, 0x80, 0x00], "the picture id wraps at 15 bits");
    }

    #[test]
    fn an_opus_frame_is_a_packet() {
        let mut sender = RtpSender::new(START, AUDIO_PAYLOAD_TYPE);
        assert_eq!(sender.opus(&[9, 8], 0x100), [0x80, 111, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3, 4, 9, 8]);
    }

    #[test]
    fn a_report_ties_the_wall_clock_to_the_stream() {
        let mut sender = RtpSender::new(START, AUDIO_PAYLOAD_TYPE);
        sender.opus(&[0; 10], 0);
        let report = sender.report(1_500, 0x100, "neck");
        let word = |at: usize| u32::from_be_bytes(report[at..at + 4].try_into().unwrap());
        assert_eq!((report[1], word(0) & 0xffff), (200, 6));
        assert_eq!((word(4), word(8)), (START.ssrc, 2_208_988_801));
        assert_eq!(word(12), 1 << 31, "half a second");
        assert_eq!((word(16), word(20), word(24)), (0, 1, 10));
        assert_eq!((report[29], word(28) & 0xffff, word(32)), (202, 3, START.ssrc));
        assert_eq!(report[36..42], [1, 4, b'n', b'e', b'c', b'k']);
        assert_eq!((report.len(), report.len() % 4), (44, 0));
    }
}
