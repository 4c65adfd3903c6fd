//! H264 as RTP payloads carry it (RFC 6184, packetization modes 0 and 1): units of the network abstraction layer, and the little of
//! their bits that says what a decoder needs.

/// Types of units (ITU-T H.264, table 7-1).
pub const SLICE: u8 = 1;
/// A slice of a picture where decoding can begin.
pub const IDR: u8 = 5;
/// A sequence parameter set.
pub const SEQUENCE_SET: u8 = 7;
/// A picture parameter set.
pub const PICTURE_SET: u8 = 8;
/// Several units in one packet (STAP-A).
pub const AGGREGATE: u8 = 24;
/// A part of a unit (FU-A).
pub const FRAGMENT: u8 = 28;

/// A unit that begins in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Its type.
    pub kind: u8,
    /// What follows its header; of a unit that goes on in other packets the beginning.
    pub body: &'a [u8],
    /// With its header, when all of it is here.
    pub whole: Option<&'a [u8]>,
}

/// The units that begin in a payload. What is damaged ends the list.
pub fn begun(payload: &[u8]) -> Units<'_> {
    match payload {
        [first, rest @ ..] if first & 0x1F == AGGREGATE => Units { single: None, aggregated: rest },
        [first, header, body @ ..] if first & 0x1F == FRAGMENT => {
            let unit = Unit { kind: header & 0x1F, body, whole: None };
            Units { single: (header & 0x80 != 0).then_some(unit), aggregated: &[] }
        }
        [first, ..] if first & 0x1F == FRAGMENT => Units { single: None, aggregated: &[] },
        [first, body @ ..] => {
            let unit = Unit { kind: first & 0x1F, body, whole: Some(payload) };
            Units { single: Some(unit), aggregated: &[] }
        }
        [] => Units { single: None, aggregated: &[] },
    }
}

/// See [`begun`].
#[derive(Clone, Debug)]
pub struct Units<'a> {
    single: Option<Unit<'a>>,
    aggregated: &'a [u8],
}

impl<'a> Iterator for Units<'a> {
    type Item = Unit<'a>;

    fn next(&mut self) -> Option<Unit<'a>> {
        if let Some(unit) = self.single.take() {
            return Some(unit);
        }
        let [high, low, rest @ ..] = self.aggregated else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // One that is cut off counts with what is there, and is the last.
        let (whole, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        self.aggregated = rest;
        let (first, body) = whole.split_first()?;
        Some(Unit { kind: first & 0x1F, body, whole: Some(whole) })
    }
}

/// Whether a slice is of a B picture, which refers to a later one.
pub fn is_b_slice(body: &[u8]) -> bool {
    let mut bits = Bits { bytes: body, at: 0 };
    let _first_macroblock = bits.exp_golomb();
    matches!(bits.exp_golomb(), Some(1 | 6))
}

/// What tells a parameter set from another of its type.
pub fn set_number(kind: u8, body: &[u8]) -> Option<u32> {
    match kind {
        // Behind profile, constraints and level.
        SEQUENCE_SET => Bits { bytes: body.get(3..)?, at: 0 }.exp_golomb(),
        PICTURE_SET => Bits { bytes: body, at: 0 }.exp_golomb(),
        _ => None,
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn next(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// ITU-T H.264, 9.1: ue(v).
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.next()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value = 1u64;
        for _ in 0..zeros {
            value = value << 1 | u64::from(self.next()?);
        }
        u32::try_from(value - 1).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(payload: &[u8]) -> Vec<(u8, bool)> {
        begun(payload).map(|unit| (unit.kind, unit.whole.is_some())).collect()
    }

    #[test]
    fn units_are_found_alone_together_and_in_parts() {
        assert_eq!(kinds(&[0x65, 1]), [(IDR, true)]);
        assert_eq!(kinds(&[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]), [(SEQUENCE_SET, true), (PICTURE_SET, true)]);
        assert_eq!(kinds(&[0x7C, 0x85, 1]), [(IDR, false)]);
        assert_eq!(kinds(&[0x7C, 0x05, 1]), [], "the rest of one");
        for cut in [&[][..], &[0x7C], &[0x78, 0], &[0x78, 0, 0]] {
            assert_eq!(kinds(cut), [], "{cut:?}");
        }
        assert_eq!(kinds(&[0x78, 0, 9, 0x06]), [(6, true)]);
    }

    #[test]
    fn a_slice_says_what_it_is() {
        // first_mb 0 is "1"; slice types: P 0 "1", B 1 "010", I 2 "011", P 5 "00110", B 6 "00111", I 7 "0001000".
        for (bits, is_b) in [
            (0b1100_0000, false),
            (0b1010_0000, true),
            (0b1011_0000, false),
            (0b1001_1000, false),
            (0b1001_1100, true),
            (0b1000_1000, false),
        ] {
            assert_eq!(is_b_slice(&[bits, 0]), is_b, "{bits:b}");
        }
        assert!(is_b_slice(&[0b0000_0100, 0b0000_1010]), "of a macroblock further down");
        assert!(!is_b_slice(&[]) && !is_b_slice(&[0; 9]));
    }

    #[test]
    fn parameter_sets_have_numbers() {
        assert_eq!(set_number(SEQUENCE_SET, &[0x42, 0xC0, 0x1E, 0b1000_0000]), Some(0));
        assert_eq!(set_number(PICTURE_SET, &[0b0110_0000]), Some(2));
        assert_eq!((set_number(SEQUENCE_SET, &[0x42]), set_number(IDR, &[0xFF])), (None, None));
    }
}
