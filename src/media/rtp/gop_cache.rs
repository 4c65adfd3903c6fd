//! The present group of pictures of a source, so that whoever joins sees a picture at once: from the last key frame on,
//! faster than it was made, but paced, because a burst is lost on its way.
//!
//! ```text
//!  key frame ──► caching ──► next key frame: the old group goes
//!                   └─ too much of it ──► waiting for the next key frame, nobody can begin here
//!
//!  joiner: Replay at the cache's first packet ──due()──► … ──► level with the newest packet: live
//! ```
//!
//! Replayed frames get timestamps squeezed right before the newest one: with their own, a player would show the group at
//! its own speed and stay seconds behind.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Moment;

/// What a cache holds at most. Ten seconds of 6 Mbit/s in packets of 1,200 bytes are 6,250 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GopLimits {
    /// Packets.
    pub packets: usize,
    /// Bytes of payload.
    pub bytes: usize,
    /// Since the group began.
    pub age: Duration,
}

impl Default for GopLimits {
    /// Of whatever age: its source may be one that cannot be asked for another.
    fn default() -> GopLimits {
        GopLimits { packets: 8_192, bytes: 8 << 20, age: Duration::MAX }
    }
}

/// A packet of the group.
#[derive(Clone, Debug)]
pub struct Cached<P> {
    /// Number in the source's stream.
    pub sequence: u64,
    /// Its timestamp.
    pub timestamp: u32,
    /// Size of the payload.
    pub bytes: usize,
    /// Number of its frame in the source's stream, from any start.
    frame: u64,
    /// The packet.
    pub packet: P,
}

/// The present group of pictures.
#[derive(Clone, Debug)]
pub struct GopCache<P> {
    limits: GopLimits,
    packets: VecDeque<Cached<P>>,
    bytes: usize,
    frame: u64,
    began: Moment,
}

impl<P> GopCache<P> {
    /// An empty cache.
    pub fn new(limits: GopLimits) -> GopCache<P> {
        GopCache { limits, packets: VecDeque::new(), bytes: 0, frame: 0, began: Moment::default() }
    }

    /// Takes the source's next packet, which came at `now`. `starts_key_frame`: decoding can begin with it.
    pub fn push(
        &mut self,
        sequence: u64,
        timestamp: u32,
        bytes: usize,
        starts_key_frame: bool,
        now: Moment,
        packet: P,
    ) {
        let newest = self.packets.back().map(|last| (last.sequence, last.timestamp));
        if starts_key_frame && self.packets.front().is_none_or(|first| first.timestamp != timestamp) {
            self.clear();
            self.began = now;
        } else if newest.is_none() {
            return; // Nothing to begin with yet.
        }
        if newest.is_none_or(|(_, last)| last != timestamp) {
            self.frame += 1;
        }
        let cached = Cached { sequence, timestamp, bytes, frame: self.frame, packet };
        self.bytes += bytes;
        match newest {
            Some((last, _)) if sequence < last && !self.packets.is_empty() => self.insert_late(cached),
            _ => self.packets.push_back(cached),
        }
        let GopLimits { packets, bytes, age } = self.limits;
        if self.packets.len() > packets || self.bytes > bytes || now.since(self.began) > age {
            self.clear();
        }
    }

    /// Puts a packet that was overtaken where it belongs; it is of the frame of its neighbour.
    fn insert_late(&mut self, mut cached: Cached<P>) {
        let at = self.packets.partition_point(|other| other.sequence < cached.sequence);
        let before = at.checked_sub(1).and_then(|at| self.packets.get(at));
        let neighbour = before.into_iter().chain(self.packets.get(at));
        if let Some(twin) = neighbour.into_iter().find(|other| other.timestamp == cached.timestamp) {
            cached.frame = twin.frame;
        }
        self.packets.insert(at, cached);
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
    }

    /// Takes the whole group out.
    pub fn take(&mut self) -> impl Iterator<Item = P> + use<P> {
        self.bytes = 0;
        std::mem::take(&mut self.packets).into_iter().map(|cached| cached.packet)
    }

    /// Whether there is nothing to begin with.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How long ago the group began; `None`: there is nothing to begin with.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        (!self.is_empty()).then(|| now.since(self.began))
    }

    /// The last packet.
    pub fn newest(&self) -> Option<&Cached<P>> {
        self.packets.back()
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Bytes of payload held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The packet with this number.
    pub fn get(&self, sequence: u64) -> Option<&P> {
        let at = self.packets.binary_search_by_key(&sequence, |cached| cached.sequence).ok()?;
        self.packets.get(at).map(|cached| &cached.packet)
    }

    /// Packets from this number on.
    fn from(&self, sequence: u64) -> impl Iterator<Item = &Cached<P>> {
        let at = self.packets.partition_point(|packet| packet.sequence < sequence);
        self.packets.iter().skip(at)
    }
}

/// How long a replay should take, of whatever length the group is; within [`SLOWEST`] and [`FASTEST`].
const REPLAY: Duration = Duration::from_millis(500);

/// Bytes per millisecond: 16 Mbit/s are within what any viewer of video has.
const SLOWEST: usize = 2_000;

/// Bytes per millisecond: 64 Mbit/s; beyond that sockets overflow.
const FASTEST: usize = 8_000;

/// Sent at once at most, however late a step comes: a small first picture is there with the first packets, and the usual
/// socket buffer of a receiver (212 KiB with all the kernel's overhead) holds it several times.
const BURST: usize = 24 * 1024;

/// Between the timestamps of two replayed frames, in units of 90 kHz: half a millisecond.
const SQUEEZED: u32 = 45;

/// One joiner's way through the cache.
#[derive(Clone, Debug)]
pub struct Replay {
    next: u64,
    /// Up to when the allowance is spent.
    stepped: Moment,
    /// Bytes that may be sent.
    allowance: usize,
    per_millisecond: usize,
    /// The frame under way and its timestamp.
    frame: Option<(u64, u32)>,
    /// The last timestamp the viewer has seen before, if it has seen any: time never goes back.
    floor: Option<u32>,
}

/// A packet to send to a joiner now.
#[derive(Debug)]
pub struct Replayed<'a, P> {
    /// The packet.
    pub cached: &'a Cached<P>,
    /// The timestamp to send it with.
    pub timestamp: u32,
}

impl Replay {
    /// Between two steps of a replay.
    pub const STEP: Duration = Duration::from_millis(4);

    /// Begins at the last key frame; `None` when there is none. `seen`: the last timestamp sent to this viewer, when it begins
    /// anew because it lost something for good.
    pub fn begin<P>(cache: &GopCache<P>, now: Moment, seen: Option<u32>) -> Option<Replay> {
        let first = cache.packets.front()?;
        let fitting = cache.bytes / REPLAY.as_millis() as usize;
        let per_millisecond = fitting.clamp(SLOWEST, FASTEST);
        Some(Replay {
            next: first.sequence,
            stepped: now,
            allowance: BURST,
            per_millisecond,
            frame: None,
            floor: seen,
        })
    }

    /// What is to be sent by now.
    pub fn due<'a, P>(&mut self, cache: &'a GopCache<P>, now: Moment) -> Vec<Replayed<'a, P>> {
        let passed = now.since(self.stepped).as_millis() as usize;
        self.allowance =
            BURST.min(self.allowance.saturating_add(passed.saturating_mul(self.per_millisecond)));
        self.stepped = now;
        let Some((newest_frame, newest)) = cache.packets.back().map(|last| (last.frame, last.timestamp))
        else {
            return Vec::new();
        };
        let mut due = Vec::new();
        for cached in cache.from(self.next) {
            if self.allowance == 0 {
                break;
            }
            let timestamp = match self.frame {
                Some((frame, timestamp)) if frame == cached.frame => timestamp,
                _ => {
                    let left = u32::try_from(newest_frame.saturating_sub(cached.frame)).unwrap_or(u32::MAX);
                    later_of(newest.wrapping_sub(left.wrapping_mul(SQUEEZED)), self.floor)
                }
            };
            self.frame = Some((cached.frame, timestamp));
            self.floor = Some(timestamp);
            self.allowance = self.allowance.saturating_sub(cached.bytes);
            self.next = cached.sequence + 1;
            due.push(Replayed { cached, timestamp });
        }
        due
    }

    /// Whether the joiner has everything the cache has: from now on packets are passed on as they come. So it is also
    /// when the group was dropped as too large; then it sees a picture with the next key frame.
    pub fn is_level<P>(&self, cache: &GopCache<P>) -> bool {
        cache.packets.back().is_none_or(|last| last.sequence < self.next)
    }

    /// The source's number of the packet that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Goes over to the group that is there now when the one it was in is gone: the number it goes on with.
    pub fn catch_up<P>(&mut self, cache: &GopCache<P>) -> Option<u64> {
        let first = cache.packets.front()?.sequence;
        if self.next >= first {
            return None;
        }
        self.next = first;
        Some(first)
    }
}

/// The timestamp, or the one right after `floor` when that is later.
fn later_of(timestamp: u32, floor: Option<u32>) -> u32 {
    match floor {
        Some(floor) if (timestamp.wrapping_sub(floor) as i32) <= 0 => floor.wrapping_add(1),
        _ => timestamp,
    }
}

/// A viewer's own numbers: they begin small (SRTP's rollover counter is nought, RFC 3711), keep the gaps of the source, and
/// have none where the viewer skipped or began anew.
#[derive(Clone, Copy, Debug)]
pub struct Numbering {
    /// Of the source's number to ours.
    offset: u64,
    /// The first number since the last jump: what would come before it is left out.
    first: u64,
    /// The next unused number.
    next: u64,
}

impl Numbering {
    /// For a viewer whose first packet is this one of the source; it gets the number `start`.
    pub fn begin(sequence: u64, start: u16) -> Numbering {
        let mut numbering = Numbering { offset: 0, first: 0, next: u64::from(start) };
        numbering.jump_to(sequence);
        numbering
    }

    /// The viewer's number of a packet. `None`: from before the viewer came, or jumped.
    pub fn number(&mut self, sequence: u64) -> Option<u64> {
        let number = sequence.wrapping_sub(self.offset);
        if number < self.first || number > self.next + MOST_LOST {
            return None;
        }
        self.next = self.next.max(number + 1);
        Some(number)
    }

    /// The source's packet that follows the last one sent, wherever it stands: the viewer sees no gap.
    pub fn jump_to(&mut self, sequence: u64) {
        self.first = self.next;
        self.offset = sequence.wrapping_sub(self.next);
    }
}

/// A gap wider than that is no loss but an error of ours; it must not reach SRTP's counters.
const MOST_LOST: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seconds at 30 frames a second, 6 packets each, 1,000 bytes: one group.
    fn ten_seconds() -> GopCache<u64> {
        let mut cache = GopCache::new(GopLimits::default());
        for number in 0..1_800u64 {
            cache.push(number, (number / 6) as u32 * 3_000, 1_000, number == 0, Moment(0), number);
        }
        cache
    }

    #[test]
    fn a_group_begins_with_its_key_frame_and_goes_with_the_next() {
        let mut cache = GopCache::new(GopLimits::default());
        cache.push(1, 10, 5, false, Moment(0), ());
        assert!(cache.is_empty(), "nothing to begin with");
        for (sequence, key) in [(2, true), (3, false), (4, true)] {
            cache.push(sequence, 20, 5, key, Moment(0), ());
        }
        assert_eq!((cache.len(), cache.bytes()), (3, 15), "parameters and first slice of one frame");
        cache.push(5, 30, 5, false, Moment(0), ());
        cache.push(6, 40, 5, true, Moment(0), ());
        assert_eq!((cache.len(), cache.bytes()), (1, 5));
    }

    #[test]
    fn a_group_that_is_too_large_is_dropped_until_the_next_key_frame() {
        let age = Duration::MAX;
        for limits in
            [GopLimits { packets: 10, bytes: 1 << 20, age }, GopLimits { packets: 100, bytes: 10_500, age }]
        {
            let mut cache = GopCache::new(limits);
            for number in 0..50 {
                cache.push(number, number as u32, 1_000, number == 0, Moment(0), ());
                assert!(cache.len() <= 10 && cache.bytes() <= 10_500);
            }
            assert!(cache.is_empty() && Replay::begin(&cache, Moment(0), None).is_none());
            cache.push(50, 50, 1_000, true, Moment(0), ());
            assert_eq!(cache.len(), 1);
        }
    }

    #[test]
    fn a_group_that_is_too_old_is_dropped_until_the_next_key_frame() {
        let age = Duration::from_secs(1);
        let mut cache = GopCache::new(GopLimits { age, ..GopLimits::default() });
        for (sequence, at) in [(0, 5_000), (1, 5_500), (2, 6_000)] {
            cache.push(sequence, sequence as u32, 10, sequence == 0, Moment(at), ());
            assert_eq!(cache.age(Moment(at)), Some(Duration::from_millis(at - 5_000)));
        }
        cache.push(3, 3, 10, false, Moment(6_001), ());
        assert_eq!((cache.len(), cache.age(Moment(6_001))), (0, None));
        cache.push(4, 4, 10, false, Moment(6_002), ());
        assert!(cache.is_empty(), "nothing to begin with");
        cache.push(5, 5, 10, true, Moment(6_003), ());
        assert_eq!(cache.age(Moment(6_103)), Some(Duration::from_millis(100)));
        assert_eq!((cache.take().count(), cache.len(), cache.bytes()), (1, 0, 0));
    }

    #[test]
    fn an_overtaken_packet_takes_its_place() {
        let mut cache = GopCache::new(GopLimits::default());
        for (sequence, timestamp) in [(0, 0), (2, 0), (3, 3_000), (1, 0)] {
            cache.push(sequence, timestamp, 10, sequence == 0, Moment(0), sequence);
        }
        let mut replay = Replay::begin(&cache, Moment(0), None).unwrap();
        let sent: Vec<(u64, u32)> =
            replay.due(&cache, Moment(0)).iter().map(|out| (out.cached.sequence, out.timestamp)).collect();
        assert_eq!(sent, [(0, 2_955), (1, 2_955), (2, 2_955), (3, 3_000)]);
    }

    #[test]
    fn a_joiner_has_the_first_picture_at_once_and_ten_seconds_within_one() {
        let cache = ten_seconds();
        let mut replay = Replay::begin(&cache, Moment(0), None).unwrap();
        let first = replay.due(&cache, Moment(0)).len();
        assert!((20..30).contains(&first), "{first} packets at once");
        let mut now = Moment(0);
        let mut most = 0;
        while !replay.is_level(&cache) {
            now = now + Replay::STEP;
            most = most.max(replay.due(&cache, now).len());
        }
        println!("{} packets in {now}, at most {most} per step", cache.len());
        assert!(now < Moment(1_000) && most <= 33, "{now}, {most}");
    }

    #[test]
    fn replayed_timestamps_grow_and_end_at_the_newest_frame() {
        let mut cache = ten_seconds();
        let mut replay = Replay::begin(&cache, Moment(0), None).unwrap();
        let (mut now, mut last, mut number) = (Moment(0), None, 1_800u64);
        let mut seen: Vec<(u64, u32)> = Vec::new();
        while !replay.is_level(&cache) {
            seen.extend(replay.due(&cache, now).iter().map(|out| (out.cached.frame, out.timestamp)));
            // Meanwhile the source goes on.
            if now.0 % 32 == 0 {
                for _ in 0..6 {
                    cache.push(number, (number / 6) as u32 * 3_000, 1_000, false, Moment(0), number);
                    number += 1;
                }
            }
            now = now + Replay::STEP;
        }
        for (frame, timestamp) in seen {
            match last {
                Some((same, before)) if same == frame => assert_eq!(timestamp, before),
                Some((_, before)) => assert!(timestamp > before, "{timestamp} after {before}"),
                None => assert!(timestamp > 299 * 3_000 - 300 * SQUEEZED),
            }
            last = Some((frame, timestamp));
        }
        assert_eq!(last.map(|(_, timestamp)| timestamp), Some(((number - 1) / 6) as u32 * 3_000));
    }

    #[test]
    fn a_replay_goes_over_to_the_next_group() {
        let mut cache = ten_seconds();
        let mut replay = Replay::begin(&cache, Moment(0), None).unwrap();
        let mut numbering = Numbering::begin(0, 100);
        let mut numbers = Vec::new();
        for out in replay.due(&cache, Moment(0)) {
            numbers.push(numbering.number(out.cached.sequence).unwrap());
        }
        cache.push(1_800, 900_000, 1_000, true, Moment(0), 1_800);
        let first = replay.catch_up(&cache).unwrap();
        numbering.jump_to(first);
        assert_eq!(replay.catch_up(&cache), None);
        assert_eq!(replay.due(&cache, Moment(100)).len(), 1);
        numbers.push(numbering.number(1_800).unwrap());
        assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
        assert!(replay.is_level(&cache));
    }

    #[test]
    fn a_viewers_numbers_begin_small_and_keep_gaps() {
        let mut numbering = Numbering::begin(1_000_000, 7);
        assert_eq!(numbering.number(1_000_000), Some(7));
        assert_eq!(numbering.number(1_000_003), Some(10));
        assert_eq!(numbering.number(1_000_002), Some(9));
        assert_eq!(numbering.number(999_000), None, "from before it came");
        numbering.jump_to(1_000_100);
        assert_eq!(numbering.number(1_000_100), Some(11));
        assert_eq!(numbering.number(1_000_099), None, "its number is taken");
        numbering.jump_to(1_000_000);
        assert_eq!([1_000_000, 1_000_001].map(|sequence| numbering.number(sequence)), [Some(12), Some(13)]);
        assert_eq!(numbering.number(u64::MAX), None);
    }

    #[test]
    fn a_viewer_that_begins_anew_never_goes_back_in_time() {
        let cache = ten_seconds();
        let newest = 299 * 3_000;
        let mut replay = Replay::begin(&cache, Moment(0), Some(newest)).unwrap();
        let (mut now, mut last) = (Moment(0), newest);
        while !replay.is_level(&cache) {
            for out in replay.due(&cache, now) {
                assert!(out.timestamp >= last && out.timestamp <= newest + 300, "{}", out.timestamp);
                last = out.timestamp;
            }
            now = now + Replay::STEP;
        }
        assert_eq!(last, newest + 300, "well before the next frame at {}", newest + 3_000);
    }
}
