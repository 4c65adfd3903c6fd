//! What an Opus packet looks like from outside (RFC 6716, 3): nothing is decoded.

use std::time::Duration;

/// Bytes of a frame, and of a packet to a body (RFC 6716, 3.2.1): 20 ms at the highest rate there is.
pub const MAX_FRAME: usize = 1_275;

/// The longest packet (RFC 6716, 3.2.5).
pub const MAX_DURATION: Duration = Duration::from_millis(120);

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its frames: 1 to 48.
    pub frames: u8,
    /// How long its sound lasts.
    pub duration: Duration,
}

/// Reads a packet; `None` for what a decoder has to refuse (the rules R1 to R7 of RFC 6716, 3.4).
pub fn packet(bytes: &[u8]) -> Option<Packet> {
    let (toc, rest) = bytes.split_first()?;
    let frames = match toc & 3 {
        0 => one(rest)?,
        1 => two_alike(rest)?,
        2 => two(rest)?,
        _ => many(rest)?,
    };
    let duration = frame_duration(*toc) * u32::from(frames);
    (duration <= MAX_DURATION).then_some(Packet { frames, duration })
}

/// RFC 6716, 3.1: what the configuration number says.
fn frame_duration(toc: u8) -> Duration {
    let config = toc >> 3;
    let micros = match config {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        12..=15 => [10_000, 20_000][usize::from(config & 1)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    Duration::from_micros(micros)
}

fn fits(length: usize) -> Option<()> {
    (length <= MAX_FRAME).then_some(())
}

fn one(rest: &[u8]) -> Option<u8> {
    fits(rest.len()).map(|()| 1)
}

fn two_alike(rest: &[u8]) -> Option<u8> {
    fits(rest.len() / 2).filter(|()| rest.len().is_multiple_of(2)).map(|()| 2)
}

fn two(rest: &[u8]) -> Option<u8> {
    let (first, rest) = length(rest)?;
    fits(first).and_then(|()| fits(rest.len().checked_sub(first)?)).map(|()| 2)
}

fn many(rest: &[u8]) -> Option<u8> {
    let (head, rest) = rest.split_first()?;
    let (vbr, padded, frames) = (head & 0x80 != 0, head & 0x40 != 0, head & 0x3f);
    if !(1..=48).contains(&frames) {
        return None;
    }
    let rest = if padded { without_padding(rest)? } else { rest };
    if vbr { many_lengths(rest, frames) } else { many_alike(rest, frames) }.map(|()| frames)
}

/// RFC 6716, 3.2.5: 255 means 254 bytes of padding and another length.
fn without_padding(mut rest: &[u8]) -> Option<&[u8]> {
    let mut padding = 0;
    loop {
        let (more, after) = rest.split_first()?;
        rest = after;
        if *more != 255 {
            padding += usize::from(*more);
            return rest.get(..rest.len().checked_sub(padding)?);
        }
        padding += 254;
    }
}

fn many_alike(rest: &[u8], frames: u8) -> Option<()> {
    let frames = usize::from(frames);
    fits(rest.len() / frames).filter(|()| rest.len().is_multiple_of(frames))
}

fn many_lengths(mut rest: &[u8], frames: u8) -> Option<()> {
    let mut told = 0;
    for _ in 1..frames {
        let (length, after) = length(rest)?;
        fits(length)?;
        (told, rest) = (told + length, after);
    }
    fits(rest.len().checked_sub(told)?)
}

/// RFC 6716, 3.2.1: a frame's length in one byte or two.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match *first {
        0..=251 => Some((usize::from(*first), rest)),
        first => {
            let (second, rest) = rest.split_first()?;
            Some((usize::from(*second) * 4 + usize::from(first), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(duration: u64) -> Duration {
        Duration::from_millis(duration)
    }

    /// 20 ms, so that the code alone decides.
    const TOC: u8 = 31 << 3;

    fn read(code: u8, rest: &[u8]) -> Option<(u8, Duration)> {
        packet(&[&[TOC | code], rest].concat()).map(|packet| (packet.frames, packet.duration))
    }

    #[test]
    fn each_configuration_has_its_duration() {
        let micros = |config: u8| packet(&[config << 3, 1]).map(|packet| packet.duration.as_micros());
        let expected = [
            [10_000, 20_000, 40_000, 60_000].repeat(3),
            [10_000, 20_000].repeat(2),
            [2_500, 5_000, 10_000, 20_000].repeat(4),
        ];
        for (config, expected) in (0..).zip(expected.concat()) {
            assert_eq!(micros(config), Some(expected), "configuration {config}");
        }
    }

    #[test]
    fn each_way_of_packing_is_read() {
        assert_eq!(read(0, &[]), Some((1, ms(20))), "a lost frame, or nothing to say");
        assert_eq!(read(0, &[7; MAX_FRAME]), Some((1, ms(20))));
        assert_eq!(read(1, &[7; 6]), Some((2, ms(40))));
        assert_eq!(read(2, &[2, 7, 7, 7]), Some((2, ms(40))));
        assert_eq!(read(2, &[252, 1, 7]), None, "256 bytes of which one is there");
        assert_eq!(read(3, &[3, 7, 7, 7]), Some((3, ms(60))), "alike");
        assert_eq!(read(3, &[0x83, 1, 2, 7, 7, 7, 7]), Some((3, ms(60))), "each its own");
        assert_eq!(read(3, &[0x42, 3, 7, 7, 0, 0, 0]), Some((2, ms(40))), "with padding");
        let long = [&[0x41, 255, 2, 7][..], &[0; 256]].concat();
        assert_eq!(read(3, &long), Some((1, ms(20))), "with much padding");
    }

    #[test]
    fn what_a_decoder_has_to_refuse_is_no_packet() {
        assert_eq!(packet(&[]), None);
        let too_long = [7; MAX_FRAME + 1];
        let refused: [(u8, &[u8], &str); 14] = [
            (0, &too_long, "a frame too long"),
            (1, &[7; 5], "two alike of different length"),
            (1, &[7; 2 * (MAX_FRAME + 1)], "two too long"),
            (2, &[], "two without a length"),
            (2, &[252], "half a length"),
            (2, &[4, 7], "longer than what is there"),
            (3, &[], "no count"),
            (3, &[0], "no frame"),
            (3, &[7; 1], "140 ms"),
            (3, &[49], "too many frames"),
            (3, &[3, 7, 7], "alike, with a rest"),
            (3, &[0x83, 1], "lengths that are not there"),
            (3, &[0x41, 9, 7], "more padding than there is"),
            (3, &[0x41, 255], "padding without an end"),
        ];
        for (code, rest, why) in refused {
            assert_eq!(read(code, rest), None, "{why}");
        }
        assert_eq!(packet(&[3 << 3 | 3, 3]), None, "three frames of 60 ms");
        assert!(packet(&[3 << 3 | 3, 2]).is_some(), "two of them");
    }
}
