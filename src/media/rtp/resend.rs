//! Sending again what a viewer lost (RFC 4588, on NACKs of RFC 4585). Packets are kept once per stream for all its viewers; of each viewer
//! only how its numbers map to the stream's.
//!
//! ```text
//!   NACK (pid, blp) ─▶ numbers of 16 bits ─▶ Sent: which packet of the stream that was ─▶ ResendCache or group of pictures ─▶ sent again
//!                                                                                Budget: no more than was sent
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Moment;
use crate::media::codec::picture_ids::Shift;
use crate::media::simulcast::layers::Layer;

/// What a cache holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResendLimits {
    /// Bytes of payload.
    pub bytes: usize,
    /// Packets, so that a flood of tiny ones costs no more than their payloads would.
    pub packets: usize,
    /// Since a packet came.
    pub age: Duration,
}

impl Default for ResendLimits {
    /// One second is as long as libwebrtc keeps them at least; 4 MiB of it are 33 Mbit/s.
    fn default() -> ResendLimits {
        ResendLimits { bytes: 4 << 20, packets: 8_192, age: Duration::from_secs(1) }
    }
}

/// The last packets of one layer of a stream.
#[derive(Clone, Debug)]
pub struct ResendCache<P> {
    limits: ResendLimits,
    /// In the order of their numbers.
    packets: VecDeque<Kept<P>>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Kept<P> {
    sequence: u64,
    bytes: usize,
    came: Moment,
    packet: P,
}

impl<P> ResendCache<P> {
    /// An empty cache.
    pub fn new(limits: ResendLimits) -> ResendCache<P> {
        ResendCache { limits, packets: VecDeque::new(), bytes: 0 }
    }

    /// Keeps a packet, and lets go of what is too old or too much.
    pub fn push(&mut self, sequence: u64, bytes: usize, now: Moment, packet: P) {
        let kept = Kept { sequence, bytes, came: now, packet };
        match self.packets.back() {
            Some(last) if last.sequence >= sequence => self.insert_late(kept),
            _ => {
                self.bytes += bytes;
                self.packets.push_back(kept);
            }
        }
        self.tidy(now);
    }

    /// A packet that was overtaken; the first one of a number stays.
    fn insert_late(&mut self, kept: Kept<P>) {
        let at = self.packets.partition_point(|other| other.sequence < kept.sequence);
        if self.packets.get(at).is_none_or(|other| other.sequence != kept.sequence) {
            self.bytes += kept.bytes;
            self.packets.insert(at, kept);
        }
    }

    fn tidy(&mut self, now: Moment) {
        while let Some(first) = self.packets.front() {
            let is_much = self.bytes > self.limits.bytes || self.packets.len() > self.limits.packets;
            if !is_much && now.since(first.came) <= self.limits.age {
                return;
            }
            self.bytes -= first.bytes;
            self.packets.pop_front();
        }
    }

    /// The packet with this number.
    pub fn get(&self, sequence: u64) -> Option<&P> {
        let at = self.packets.binary_search_by_key(&sequence, |kept| kept.sequence).ok()?;
        self.packets.get(at).map(|kept| &kept.packet)
    }

    /// Bytes of payload and packets held.
    pub fn held(&self) -> (usize, usize) {
        (self.bytes, self.packets.len())
    }
}

/// Numbers that one entry of a NACK asks for (RFC 4585, 6.2.1): the first, and those whose bits are set behind it.
pub fn wanted(first: u16, following: u16) -> impl Iterator<Item = u16> {
    let bits = (0..16).filter(move |bit| following >> bit & 1 == 1);
    std::iter::once(first).chain(bits.map(move |bit| first.wrapping_add(bit + 1)))
}

/// The number with these lower 16 bits that is closest before `next`; `None`: there was none yet.
pub fn extend(number: u16, next: u64) -> Option<u64> {
    let back = (next as u16).wrapping_sub(number);
    let back = if back == 0 { 1 << 16 } else { u64::from(back) };
    next.checked_sub(back)
}

/// How a viewer's packet came of one of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Of the stream's number over the viewer's.
    pub offset: u64,
    /// The layer it is of.
    pub layer: Layer,
    /// Added to its timestamp.
    pub timestamp: u32,
    /// Added to its picture's numbers.
    pub pictures: Shift,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    /// The viewer's first number of it.
    first: u64,
    since: Moment,
    mapping: Mapping,
}

/// Changes of the mapping that are remembered: a replay has one per frame, and ten seconds of a group have 600 at most.
const SEGMENTS: usize = 640;

/// A mapping that ended this long ago is of no more use: nobody asks for what is older.
const OVER: Duration = Duration::from_secs(3);

/// How the numbers that a viewer was sent came of the stream's.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The one that goes on, apart from those before it: each packet looks at it, and there is hardly ever another.
    newest: Option<Segment>,
    older: VecDeque<Segment>,
    /// After the highest number.
    next: u64,
}

impl Sent {
    /// A packet was sent.
    pub fn note(&mut self, number: u64, mapping: Mapping, now: Moment) {
        self.next = self.next.max(number + 1);
        match &mut self.newest {
            Some(last) if last.mapping == mapping => last.first = last.first.min(number),
            // Overtaken, and mapped as nothing is any more.
            Some(last) if last.first > number => {}
            _ => {
                if self.older.len() >= SEGMENTS - 1 {
                    self.older.pop_front();
                }
                self.older.extend(self.newest.replace(Segment { first: number, since: now, mapping }));
            }
        }
    }

    /// The packet with these lower 16 bits of a number: its whole number, and how it came of the stream's.
    pub fn find(&self, number: u16) -> Option<(u64, Mapping)> {
        let number = extend(number, self.next)?;
        let segment = match self.newest {
            Some(newest) if newest.first <= number => newest,
            _ => {
                let after = self.older.partition_point(|segment| segment.first <= number);
                *self.older.get(after.checked_sub(1)?)?
            }
        };
        Some((number, segment.mapping))
    }

    /// After the highest number that was sent.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Lets go of everything: what was sent so far is not to be had any more.
    pub fn forget(&mut self) {
        (self.newest, self.older) = (None, VecDeque::new());
    }

    /// Lets go of what is over.
    pub fn tidy(&mut self, now: Moment) {
        while self.older.get(1).or(self.newest.as_ref()).is_some_and(|second| now.since(second.since) > OVER)
        {
            if self.older.pop_front().is_none() {
                break;
            }
        }
        // A replay leaves room for hundreds.
        if self.older.capacity() > 16 && self.older.len() <= 4 {
            self.older.shrink_to_fit();
        }
    }
}

/// Bytes that may be sent again before anything was sent, and at most: a second of 16 Mbit/s.
const FIRST_CREDIT: usize = 64 << 10;
const MOST_CREDIT: usize = 2 << 20;

/// Between two times of the same number when nothing is known of the way: no viewer of a network asks so fast.
const LEAST_PAUSE: Duration = Duration::from_millis(5);
const USUAL_PAUSE: Duration = Duration::from_millis(15);
const MOST_PAUSE: Duration = Duration::from_millis(100);

/// Numbers of which is remembered when they were sent again.
const REMEMBERED: usize = 128;

/// How much a viewer may be sent again: as much as it is sent, so that who asks all the time gets twice the stream and no more; and no number
/// twice on one way there and back.
#[derive(Clone, Debug)]
pub struct Budget {
    credit: usize,
    pause: Duration,
    again: VecDeque<(u64, Moment)>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { credit: FIRST_CREDIT, pause: USUAL_PAUSE, again: VecDeque::new() }
    }
}

impl Budget {
    /// So much was sent for the first time.
    pub fn earn(&mut self, bytes: usize) {
        self.credit = MOST_CREDIT.min(self.credit + bytes);
    }

    /// Bytes that may be sent again now.
    pub fn credit(&self) -> usize {
        self.credit
    }

    /// Whether a packet may be sent again, which counts then.
    pub fn spend(&mut self, number: u64, bytes: usize, now: Moment) -> bool {
        let is_recent = |other: &(u64, Moment)| other.0 == number && now.since(other.1) < self.pause;
        if self.credit < bytes || self.again.iter().any(is_recent) {
            return false;
        }
        self.credit -= bytes;
        if self.again.len() >= REMEMBERED {
            self.again.pop_front();
        }
        self.again.push_back((number, now));
        true
    }

    /// The way there and back was measured. Its jitter must not cost anybody a packet, so three quarters of it count.
    pub fn measured(&mut self, round_trip: Duration) {
        self.pause = (round_trip * 3 / 4).clamp(LEAST_PAUSE, MOST_PAUSE);
    }
}

/// The time there and back that a report block tells (RFC 3550, 6.4.1): all three in units of 1/65,536 s, `now` and `last_report` out of the
/// middle of NTP's clock. `None`: it has seen no report of ours.
pub fn round_trip(now: u32, last_report: u32, delay: u32) -> Option<Duration> {
    if last_report == 0 {
        return None;
    }
    let units = now.wrapping_sub(last_report).wrapping_sub(delay);
    // Clocks are read at different times: what seems to be negative is next to nothing.
    let units = if units > u32::MAX / 2 { 0 } else { units };
    Some(Duration::from_micros(u64::from(units) * 1_000_000 / 65_536))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cache(bytes: usize, packets: usize) -> ResendCache<u64> {
        ResendCache::new(ResendLimits { bytes, packets, age: SECOND })
    }

    #[test]
    fn a_cache_is_bound_in_bytes_packets_and_age() {
        let mut cache = cache(10_000, 50);
        for number in 0..200u64 {
            cache.push(number, 1_000, Moment(number), number);
            assert!(cache.held() <= (10_000, 10), "{:?}", cache.held());
        }
        assert_eq!((cache.get(189), cache.get(190), cache.get(199)), (None, Some(&190), Some(&199)));
        (200..400).for_each(|number| cache.push(number, 1, Moment(number), number));
        assert_eq!(cache.held(), (50, 50));
        cache.push(400, 1, Moment(1_399), 400);
        assert_eq!((cache.held(), cache.get(399)), ((2, 2), Some(&399)));
        cache.push(401, 20_000, Moment(1_400), 401);
        assert_eq!(cache.held(), (0, 0), "one packet beyond all bounds");
    }

    #[test]
    fn an_overtaken_packet_is_found_and_a_second_one_changes_nothing() {
        let mut cache = cache(10_000, 50);
        for (number, packet) in [(1, 10), (4, 40), (2, 20), (2, 99), (4, 99)] {
            cache.push(number, 5, Moment(0), packet);
        }
        assert_eq!(
            [1, 2, 3, 4].map(|number| cache.get(number).copied()),
            [Some(10), Some(20), None, Some(40)]
        );
        assert_eq!(cache.held(), (15, 3));
    }

    #[test]
    fn a_nack_names_a_packet_and_those_of_its_bits() {
        assert_eq!(wanted(7, 0).collect::<Vec<_>>(), [7]);
        assert_eq!(wanted(65_534, 0b1000_0000_0000_0011).collect::<Vec<_>>(), [65_534, 65_535, 0, 14]);
    }

    #[test]
    fn numbers_are_extended_to_what_was_sent_last() {
        assert_eq!(extend(9, 10), Some(9));
        assert_eq!(extend(10, 10), None, "not sent yet, and nothing before it");
        assert_eq!(extend(65_535, 65_536), Some(65_535));
        assert_eq!(extend(0, 65_537), Some(65_536));
        assert_eq!(extend(1, 65_537), Some(1), "65,537 was not sent yet");
        assert_eq!(extend(5, 0), None);
    }

    fn mapping(offset: u64, timestamp: u32) -> Mapping {
        Mapping { offset, layer: Layer::BASE, timestamp, pictures: Shift::default() }
    }

    #[test]
    fn each_number_is_found_as_it_was_sent() {
        let mut sent = Sent::default();
        assert_eq!(sent.find(0), None);
        let (first, second, third) = (mapping(100, 0), mapping(100, 7), mapping(500, 0));
        // The first two of a segment change places.
        for (number, mapping) in [(1, first), (3, first), (2, first), (5, second), (4, second), (6, third)] {
            sent.note(number, mapping, Moment(number));
        }
        let found = [0, 1, 3, 4, 5, 6, 7].map(|number| sent.find(number).map(|(_, mapping)| mapping));
        assert_eq!(found, [None, Some(first), Some(first), Some(second), Some(second), Some(third), None]);
        sent.tidy(Moment(3_005));
        assert_eq!(sent.find(3), Some((3, first)));
        sent.tidy(Moment(3_500));
        assert_eq!((sent.find(5), sent.find(6)), (None, Some((6, third))), "what is over is let go");
    }

    #[test]
    fn mappings_are_bound_in_number() {
        let mut sent = Sent::default();
        (1..5_000).for_each(|number| sent.note(number, mapping(0, number as u32), Moment(0)));
        assert_eq!(sent.older.len() + 1, SEGMENTS);
        assert_eq!(sent.find(4_999), Some((4_999, mapping(0, 4_999))));
        sent.tidy(Moment(1 << 20));
        assert_eq!((sent.older.len(), sent.newest.is_some()), (0, true));
        assert!(sent.older.capacity() < 16, "{}", sent.older.capacity());
    }

    #[test]
    fn whoever_asks_all_the_time_gets_no_more_than_the_stream_again() {
        let mut budget = Budget::default();
        let (mut sent, mut again) = (0, 0);
        for number in 0..20_000u64 {
            budget.earn(1_000);
            sent += 1_000;
            again +=
                (0..5).filter(|more| budget.spend(number * 5 + more, 1_000, Moment(number))).count() * 1_000;
        }
        assert!(again <= sent + FIRST_CREDIT && again + 1_000 >= sent, "{again} of {sent}");
    }

    #[test]
    fn a_number_is_not_sent_again_on_one_way_there_and_back() {
        let mut budget = Budget::default();
        let mut at = |millis| budget.spend(7, 100, Moment(millis));
        assert_eq!([at(0), at(14), at(15)], [true, false, true]);
        budget.measured(Duration::from_millis(80));
        let mut at = |millis| budget.spend(7, 100, Moment(millis));
        assert_eq!([at(74), at(75)], [false, true]);
        budget.measured(Duration::from_secs(40));
        assert!(budget.spend(7, 100, Moment(175)), "a clock that was set must not stop it");
    }

    #[test]
    fn a_report_block_tells_the_way_there_and_back() {
        let seconds = |seconds: f64| (seconds * 65_536.0) as u32;
        assert_eq!(round_trip(seconds(10.5), seconds(10.0), seconds(0.25)), Some(Duration::from_millis(250)));
        assert_eq!(round_trip(seconds(10.0), seconds(9.0), seconds(1.1)), Some(Duration::ZERO));
        assert_eq!(round_trip(seconds(10.0), 0, 0), None);
        assert_eq!(round_trip(100, u32::MAX - 65_435, 0), Some(Duration::from_secs(1)), "the clock wraps");
    }
}
