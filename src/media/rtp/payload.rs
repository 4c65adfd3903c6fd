//! Where decoding can begin: key frames as VP8 (RFC 7741) and H264 (RFC 6184) payloads show them.

use crate::media::codec::nal_units::{self, IDR, SEQUENCE_SET};

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 7741.
    Vp8,
    /// RFC 6184, packetization modes 0 and 1.
    H264,
}

/// Whether a key frame starts in this payload. H264: with its parameter set, or without one with its first slice; both
/// have the same timestamp, so a caller takes the first of a timestamp.
pub fn starts_key_frame(packing: Packing, payload: &[u8]) -> bool {
    match packing {
        Packing::Vp8 => vp8_starts_key_frame(payload).unwrap_or(false),
        Packing::H264 => nal_units::begun(payload).any(|unit| matches!(unit.kind, IDR | SEQUENCE_SET)),
    }
}

/// The numbers of pictures in VP8's payload descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Numbers {
    /// Picture id.
    pub picture: Option<u16>,
    /// Index of the frames of the lowest temporal layer, TL0PICIDX.
    pub index: Option<u8>,
    /// Whether the picture id has 15 bits, not 7.
    pub is_wide: bool,
}

/// The numbers in a payload descriptor; `None` when it is cut short.
pub fn vp8_numbers(payload: &[u8]) -> Option<Vp8Numbers> {
    vp8_descriptor(payload).map(|(numbers, _)| numbers)
}

/// Writes other numbers over those of a payload descriptor; what it does not have it does not get.
pub fn write_vp8_numbers(payload: &mut [u8], numbers: &Vp8Numbers) {
    let Some([first, extended, rest @ ..]) = payload.get_mut(..) else { return };
    if *first & 0x80 == 0 {
        return;
    }
    let mut rest = rest.iter_mut();
    if *extended & 0x80 != 0 {
        let Some(high) = rest.next() else { return };
        let is_wide = *high & 0x80 != 0;
        let low = if is_wide { rest.next() } else { None };
        if let Some(picture) = numbers.picture {
            let [upper, lower] = picture.to_be_bytes();
            match low {
                Some(low) => (*high, *low) = (0x80 | upper, lower),
                None => *high = lower & 0x7f,
            }
        }
    }
    if let (true, Some(index), Some(place)) = (*extended & 0x40 != 0, numbers.index, rest.next()) {
        *place = index;
    }
}

/// The numbers, and where the frame's bytes begin.
fn vp8_descriptor(payload: &[u8]) -> Option<(Vp8Numbers, usize)> {
    let mut numbers = Vp8Numbers { picture: None, index: None, is_wide: false };
    let mut at = 1;
    if *payload.first()? & 0x80 != 0 {
        let extended = *payload.get(at)?;
        at += 1;
        if extended & 0x80 != 0 {
            let high = *payload.get(at)?;
            numbers.is_wide = high & 0x80 != 0;
            numbers.picture = Some(match numbers.is_wide {
                true => u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]),
                false => u16::from(high),
            });
            at += if numbers.is_wide { 2 } else { 1 };
        }
        if extended & 0x40 != 0 {
            numbers.index = Some(*payload.get(at)?);
            at += 1;
        }
        at += usize::from(extended & 0x30 != 0);
    }
    Some((numbers, at))
}

fn vp8_starts_key_frame(payload: &[u8]) -> Option<bool> {
    // The frame's own first byte: its lowest bit is 0 for a key frame (RFC 6386, 9.1).
    Some(vp8_frame(payload)?.first()? & 1 == 0)
}

/// The bytes of a VP8 frame that begins in this payload.
fn vp8_frame(payload: &[u8]) -> Option<&[u8]> {
    let first = *payload.first()?;
    let starts_frame = first & 0x10 != 0 && first & 0x07 == 0;
    let (_, at) = vp8_descriptor(payload).filter(|_| starts_frame)?;
    payload.get(at..)
}

/// Whether a key frame of VP8 starts here and has the start code that all have (RFC 6386, 9.1): no other codec looks like that.
pub fn is_vp8_key_frame(payload: &[u8]) -> bool {
    vp8_frame(payload)
        .is_some_and(|frame| matches!(frame, [first, _, _, 0x9D, 0x01, 0x2A, ..] if first & 1 == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vp8_key_frame_starts_in_its_first_packet_only() {
        let key = |payload: &[u8]| starts_key_frame(Packing::Vp8, payload);
        assert!(key(&[0x10, 0x50, 1, 2]));
        assert!(!key(&[0x10, 0x51]), "the frame's bit says inter frame");
        assert!(!key(&[0x00, 0x50]), "not the start of a partition");
        assert!(!key(&[0x11, 0x50]), "not the first partition");
        assert!(key(&[0x90, 0x80, 0x11, 0x50]), "seven bits of picture id");
        assert!(key(&[0x90, 0x80, 0x91, 0x11, 0x50]), "fifteen bits of picture id");
        assert!(key(&[0x90, 0xF0, 0x91, 0x11, 0x01, 0x01, 0x50]), "every optional byte");
        for cut in [&[][..], &[0x10], &[0x90], &[0x90, 0x80], &[0x90, 0x80, 0x91, 0x11]] {
            assert!(!key(cut), "{cut:?}");
        }
    }

    #[test]
    fn the_numbers_of_vp8_pictures_are_read_in_both_widths() {
        let read = |payload: &[u8]| vp8_numbers(payload).map(|numbers| (numbers.picture, numbers.index));
        assert_eq!(read(&[0x10, 0x50]), Some((None, None)));
        assert_eq!(read(&[0x90, 0x80, 0x11, 0x50]), Some((Some(0x11), None)));
        assert_eq!(read(&[0x90, 0xF0, 0x91, 0x11, 0x07, 0x01, 0x50]), Some((Some(0x1111), Some(7))));
        assert_eq!(read(&[0x90, 0x40, 0x07, 0x50]), Some((None, Some(7))));
        for cut in [&[][..], &[0x90], &[0x90, 0x80], &[0x90, 0x80, 0x91], &[0x90, 0x40]] {
            assert_eq!(read(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn the_numbers_of_vp8_pictures_are_written_where_they_were_read() {
        let numbers = |picture, index, is_wide| Vp8Numbers { picture, index, is_wide };
        let written = |payload: &[u8], numbers: &Vp8Numbers| {
            let mut payload = payload.to_vec();
            write_vp8_numbers(&mut payload, numbers);
            payload
        };
        let both = numbers(Some(0x1234), Some(9), true);
        assert_eq!(
            written(&[0x90, 0xF0, 0x91, 0x11, 0x07, 0x01, 0x50], &both),
            [0x90, 0xF0, 0x92, 0x34, 9, 0x01, 0x50]
        );
        assert_eq!(
            written(&[0x90, 0x80, 0x11, 0x50], &numbers(Some(0x22), None, false)),
            [0x90, 0x80, 0x22, 0x50]
        );
        assert_eq!(written(&[0x90, 0x40, 0x07, 0x50], &both), [0x90, 0x40, 9, 0x50]);
        assert_eq!(
            written(&[0x90, 0xF0, 0x91, 0x11, 0x07], &numbers(None, Some(9), true))[2..],
            [0x91, 0x11, 9]
        );
        for bare in [&[][..], &[0x90], &[0x10, 0x50], &[0x90, 0x00, 0x50], &[0x90, 0xC0]] {
            assert_eq!(written(bare, &both), bare, "no numbers, or cut short");
        }
    }

    #[test]
    fn an_h264_key_frame_starts_with_parameters_or_its_first_slice() {
        let key = |payload: &[u8]| starts_key_frame(Packing::H264, payload);
        assert!(key(&[0x67, 0x42]) && key(&[0x65, 0x88]));
        assert!(!key(&[0x41, 0x9A]) && !key(&[0x06, 0x05]) && !key(&[0x68, 0xCE]));
        assert!(key(&[0x7C, 0x85]) && !key(&[0x7C, 0x05]) && !key(&[0x7C, 0x45]), "only the first fragment");
        assert!(!key(&[0x5C, 0x81]), "a fragment of an inter frame");
        assert!(key(&[0x78, 0, 2, 0x06, 0x05, 0, 2, 0x67, 0x42]), "aggregated behind other units");
        assert!(!key(&[0x78, 0, 2, 0x06, 0x05, 0, 2, 0x41, 0x9A]));
        for cut in [&[][..], &[0x7C], &[0x78, 0], &[0x78, 0, 9, 0x06], &[0x78, 0, 0]] {
            assert!(!key(cut), "{cut:?}");
        }
    }
}
