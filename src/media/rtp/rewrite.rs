//! RTP headers (RFC 3550, 5.1) rebased for a body: sequence and timestamp from 0, one SSRC, one payload type, nothing else.
//!
//! ```text
//! source   seq 65534  65535      0      2      1      ts 7000 7960 8920 10840 9880
//! out      seq     0      1      2      4      3      ts    0  960 1920  3840 2880
//! ```
//!
//! Gaps, reordering and duplicates stay as they are: whoever plays the sound conceals better than we could. Packets from before
//! the first one are dropped, as they would have negative numbers. The payload is never touched.

pub use crate::media::rtp::packet::HEADER;
use crate::media::rtp::packet::RtpPacket;

/// Packets further back than this are not late but of a source that began anew: a minute at 50 packets/s, more than any
/// network holds back.
const LATEST: u16 = 3_000;

/// Timestamp from one packet to the next where nothing is known yet: 20 ms of 48 kHz.
const USUAL_STEP: u32 = 960;

/// The longest step that is believed when a source begins anew: 120 ms of 48 kHz, Opus' longest packet.
const LONGEST_STEP: u32 = 5_760;

/// What counts of an incoming header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpIn {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the codec's clock.
    pub timestamp: u32,
}

/// Rewrites the headers of one outgoing stream.
#[derive(Clone, Debug)]
pub struct Rewriter {
    ssrc: u32,
    payload_type: u8,
    source: Option<Source>,
}

/// The source of now, and how it maps to what goes out.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// The newest packet, incoming.
    newest: RtpIn,
    /// What the newest packet became: sequence without wrapping, timestamp.
    out: (u64, u32),
    /// From the packet before the newest to the newest.
    step: u32,
    /// Lowest outgoing sequence: what maps below it is from before this source's first packet.
    floor: u64,
    /// A packet that fitted nowhere; when its successor comes, the source began anew.
    stray: Option<u16>,
}

/// Where an incoming packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The newest, or the same as it, or newer by this.
    Ahead(u16),
    /// Late by this.
    Behind(u16),
    /// Neither.
    Astray,
}

impl Rewriter {
    /// Rewrites to this SSRC and payload type (7 bits).
    pub fn new(ssrc: u32, payload_type: u8) -> Rewriter {
        Rewriter { ssrc, payload_type: payload_type & 0x7f, source: None }
    }

    /// The header to send before the payload; `None`: drop the packet.
    pub fn rewrite(&mut self, packet: &RtpIn) -> Option<[u8; HEADER]> {
        let Some(mut source) = self.source else {
            self.source = Some(Source::begin(packet, (0, 0)));
            return Some(self.header((0, 0)));
        };
        let out = match source.place(packet) {
            _ if packet.ssrc != source.ssrc => source.begin_anew(packet),
            Place::Ahead(by) => source.advance(packet, by),
            Place::Behind(by) => source.look_back(packet, by)?,
            Place::Astray => match source.stray {
                Some(before) if packet.sequence == before.wrapping_add(1) => source.begin_anew(packet),
                _ => {
                    source.stray = Some(packet.sequence);
                    self.source = Some(source);
                    return None;
                }
            },
        };
        self.source = Some(source);
        Some(self.header(out))
    }

    fn header(&self, (sequence, timestamp): (u64, u32)) -> [u8; HEADER] {
        // The sequence wraps on the wire, as RFC 3550 has it.
        let (sequence, payload_type, ssrc) = (sequence as u16, self.payload_type, self.ssrc);
        RtpPacket { payload_type, marker: false, sequence, timestamp, ssrc, payload: &[] }.header()
    }
}

impl Source {
    fn begin(packet: &RtpIn, out: (u64, u32)) -> Source {
        Source { ssrc: packet.ssrc, newest: *packet, out, step: USUAL_STEP, floor: out.0, stray: None }
    }

    fn place(&self, packet: &RtpIn) -> Place {
        let ahead = packet.sequence.wrapping_sub(self.newest.sequence);
        let behind = ahead.wrapping_neg();
        match (ahead < 0x8000, behind <= LATEST) {
            (true, _) => Place::Ahead(ahead),
            (false, true) => Place::Behind(behind),
            (false, false) => Place::Astray,
        }
    }

    fn advance(&mut self, packet: &RtpIn, by: u16) -> (u64, u32) {
        let step = packet.timestamp.wrapping_sub(self.newest.timestamp);
        let timestamp = self.out.1.wrapping_add(step);
        if by == 0 {
            // A duplicate of the newest.
            return (self.out.0, timestamp);
        }
        if by == 1 && (1..=LONGEST_STEP).contains(&step) {
            self.step = step;
        }
        (self.newest, self.stray) = (*packet, None);
        self.out = (self.out.0 + u64::from(by), timestamp);
        self.out
    }

    fn look_back(&self, packet: &RtpIn, by: u16) -> Option<(u64, u32)> {
        let sequence = self.out.0.checked_sub(u64::from(by)).filter(|sequence| *sequence >= self.floor)?;
        let back = self.newest.timestamp.wrapping_sub(packet.timestamp);
        Some((sequence, self.out.1.wrapping_sub(back)))
    }

    /// What goes out continues as if the new source's first packet followed the old one's newest.
    fn begin_anew(&mut self, packet: &RtpIn) -> (u64, u32) {
        let (out, step) = ((self.out.0 + 1, self.out.1.wrapping_add(self.step)), self.step);
        *self = Source { step, ..Source::begin(packet, out) };
        out
    }
}

#[cfg(test)]
mod tests;
