//! Properties over made-up sources, and the single cases that they may miss.

use super::*;

/// Numbers that look random, the same ones for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

fn sequence(header: [u8; HEADER]) -> u16 {
    u16::from_be_bytes([header[2], header[3]])
}

fn timestamp(header: [u8; HEADER]) -> u32 {
    u32::from_be_bytes([header[4], header[5], header[6], header[7]])
}

fn rtp(sequence: u16, timestamp: u32) -> RtpIn {
    RtpIn { ssrc: 7, sequence, timestamp }
}

/// What was sent: number from 0 and the media time since the first.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    time: u64,
}

/// A source with gaps in time (DTX), then a network that loses, doubles and reorders within `window` packets.
fn arrivals(numbers: &mut Numbers, count: u64, window: u64) -> Vec<Sent> {
    let mut time = 0;
    let mut list: Vec<(u64, Sent)> = Vec::new();
    for number in 0..count {
        time += if numbers.below(20) == 0 { 960 * (1 + numbers.below(50)) } else { 960 };
        let first = number == 0;
        let copies = match numbers.below(20) {
            _ if first => 1,
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let late = if first || numbers.below(4) > 0 { 0 } else { numbers.below(window) };
            list.push((number + late, Sent { number, time }));
        }
    }
    list.sort_by_key(|(at, _)| *at);
    list.into_iter().map(|(_, sent)| sent).collect()
}

// SPEC media: RTP to a body: sequence and time from 0, gaps and reordering kept, one form of
// header, over every wrap
// Also: `a_stream_that_runs_for_hours_wraps_on_the_wire_and_goes_on`,
// `packets_from_before_the_first_are_dropped_for_ever`, `an_outage_keeps_its_length`,
// `a_source_that_begins_anew_continues_what_goes_out`,
// `single_packets_from_nowhere_change_nothing`, `the_payload_type_never_sets_the_marker`
#[test]
fn whatever_the_network_does_numbers_and_times_keep_their_distances() {
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        // Every start, near and far from both wraps.
        let base = (numbers.below(65_536) as u16, (numbers.below(1 << 31) as u32).wrapping_mul(2));
        let window = 1 + numbers.below(200);
        let mut rewriter = Rewriter::new(0xfeed_beef, 111);
        let arrived = arrivals(&mut numbers, 1_500, window);
        let first = arrived[0];
        for sent in arrived {
            let packet = rtp(base.0.wrapping_add(sent.number as u16), base.1.wrapping_add(sent.time as u32));
            let header =
                rewriter.rewrite(&packet).unwrap_or_else(|| panic!("seed {seed}: {sent:?} was dropped"));
            assert_eq!(header[..2], [0x80, 111], "seed {seed}");
            assert_eq!(header[8..], [0xfe, 0xed, 0xbe, 0xef], "seed {seed}");
            let expected = ((sent.number - first.number) as u16, (sent.time - first.time) as u32);
            assert_eq!((sequence(header), timestamp(header)), expected, "seed {seed}: {sent:?}");
        }
    }
}

#[test]
fn a_stream_that_runs_for_hours_wraps_on_the_wire_and_goes_on() {
    let mut rewriter = Rewriter::new(1, 111);
    for number in 0..200_000_u64 {
        let packet = rtp((number + 60_000) as u16, (number * 48_000 + 4_000_000_000) as u32);
        let header = rewriter.rewrite(&packet).expect("in order");
        assert_eq!((sequence(header), timestamp(header)), (number as u16, (number * 48_000) as u32));
    }
}

#[test]
fn packets_from_before_the_first_are_dropped_for_ever() {
    let mut rewriter = Rewriter::new(1, 111);
    assert!(rewriter.rewrite(&rtp(10, 9_600)).is_some());
    assert!(rewriter.rewrite(&rtp(9, 8_640)).is_none());
    for number in 11..2_500_u16 {
        assert!(rewriter.rewrite(&rtp(number, u32::from(number) * 960)).is_some());
    }
    assert!(rewriter.rewrite(&rtp(9, 8_640)).is_none());
    assert_eq!(rewriter.rewrite(&rtp(10, 9_600)).map(sequence), Some(0), "the first, again");
}

#[test]
fn an_outage_keeps_its_length() {
    let mut rewriter = Rewriter::new(1, 111);
    rewriter.rewrite(&rtp(0, 0));
    let header = rewriter.rewrite(&rtp(30_000, 28_800_000)).expect("ten minutes later");
    assert_eq!((sequence(header), timestamp(header)), (30_000, 28_800_000));
}

#[test]
fn a_source_that_begins_anew_continues_what_goes_out() {
    let mut rewriter = Rewriter::new(1, 111);
    for number in 0..100_u16 {
        rewriter.rewrite(&rtp(number.wrapping_add(60_000), u32::from(number) * 480));
    }
    // Another SSRC: at once.
    let other = RtpIn { ssrc: 8, sequence: 5, timestamp: 77 };
    let header = rewriter.rewrite(&other).expect("a new source");
    assert_eq!((sequence(header), timestamp(header)), (100, 100 * 480));
    // The same SSRC from far behind: once a second packet confirms it.
    let mut again = |sequence, timestamp| rewriter.rewrite(&RtpIn { ssrc: 8, sequence, timestamp });
    assert_eq!(again(40_000, 1_000), None);
    let header = again(40_001, 1_480).expect("confirmed");
    assert_eq!((sequence(header), timestamp(header)), (101, 101 * 480));
    assert_eq!(again(40_000, 1_000), None, "it is from before the new first");
    assert_eq!(again(40_002, 1_960).map(sequence), Some(102));
}

#[test]
fn single_packets_from_nowhere_change_nothing() {
    let mut rewriter = Rewriter::new(1, 111);
    rewriter.rewrite(&rtp(10_000, 0));
    for number in 1..500_u16 {
        assert_eq!(rewriter.rewrite(&rtp(45_000_u16.wrapping_add(number * 3), 1)), None);
        assert_eq!(rewriter.rewrite(&rtp(10_000 + number, 0)).map(sequence), Some(number));
    }
}

#[test]
fn the_payload_type_never_sets_the_marker() {
    let header = Rewriter::new(1, 0xff).rewrite(&rtp(0, 0)).expect("the first");
    assert_eq!(header[1], 0x7f);
}
