//! Who speaks, by the levels in the packets' heads (RFC 6464), and what follows: in a large room only the loudest voices are sent on,
//! and the pictures of those who spoke last.
//!
//! A voice *speaks* when at least 40 % of its levels of the last 400 ms are within 35 dB of the loudest there is. From 12 members on, 8
//! voices are sent on. One of them keeps its place for 2 s after its last loud level, so that nobody is cut between two words; who
//! begins to speak gets a place that is not kept so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ids::MemberId;
use super::tracks::TrackId;
use crate::core::time::Moment;

/// Levels are judged over this time.
const WINDOW: Duration = Duration::from_millis(400);

/// Levels of one voice in a window: it tells at most ten a second, and none in silence.
const EXPECTED: u32 = 4;

/// Loud is at most this many dB below the loudest there is.
const LOUD: u8 = 35;

/// Per cent of a window's levels that are loud when somebody speaks.
const SPEAKS: u32 = 40;

/// Members from which on only the loudest are sent on.
pub const LARGE_ROOM: usize = 12;

/// Voices of a large room that are sent on.
pub const VOICES: usize = 8;

/// How long a voice keeps its place after its last loud level.
const HOLD: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Voice {
    owner: MemberId,
    order: u64,
    /// Of this window.
    loud: u32,
    told: u32,
    sum: u32,
    /// Mean of the last loud levels.
    level: u8,
    last_loud: Option<Moment>,
}

impl Voice {
    fn is_loud_within(&self, now: Moment, time: Duration) -> bool {
        self.last_loud.is_some_and(|at| now.since(at) < time)
    }

    /// Ends the window: the level, if it spoke.
    fn end_window(&mut self) -> Option<u8> {
        let (loud, told, sum) = (self.loud, self.told.max(EXPECTED), self.sum);
        (self.loud, self.told, self.sum) = (0, 0, 0);
        let speaks = loud * 100 >= told * SPEAKS;
        speaks.then(|| u8::try_from(sum.checked_div(loud).unwrap_or(0)).unwrap_or(u8::MAX))
    }
}

/// The voices of one room.
#[derive(Clone, Debug, Default)]
pub struct Speakers {
    voices: BTreeMap<TrackId, Voice>,
    added: u64,
    window_began: Moment,
    active: Vec<(MemberId, u8)>,
    spoke: BTreeMap<MemberId, Moment>,
    /// Which are sent on; `None`: all.
    chosen: Option<BTreeSet<TrackId>>,
}

/// What a look found changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Who speaks.
    pub active: bool,
    /// Which voices are sent on, or the order of those who spoke.
    pub order: bool,
}

impl Speakers {
    /// A voice is there.
    pub fn add(&mut self, track: TrackId, owner: MemberId) {
        self.added += 1;
        let order = self.added;
        let voice = Voice { owner, order, loud: 0, told: 0, sum: 0, level: u8::MAX, last_loud: None };
        self.voices.insert(track, voice);
    }

    /// A voice is gone.
    pub fn remove(&mut self, track: &TrackId) {
        self.voices.remove(track);
        if let Some(chosen) = &mut self.chosen {
            chosen.remove(track);
        }
    }

    /// A member is gone.
    pub fn forget(&mut self, member: MemberId) {
        self.spoke.remove(&member);
        self.active.retain(|(owner, _)| *owner != member);
    }

    /// A voice was this loud: dB below the loudest there is.
    pub fn observe(&mut self, now: Moment, track: &TrackId, level: u8) {
        let Some(voice) = self.voices.get_mut(track) else { return };
        voice.told += 1;
        if level <= LOUD {
            voice.loud += 1;
            voice.sum += u32::from(level);
            voice.level = if voice.is_loud_within(now, HOLD) { mean(voice.level, level) } else { level };
            voice.last_loud = Some(now);
        }
    }

    /// Judges anew. To be called several times a second.
    pub fn look(&mut self, now: Moment, members: usize) -> Changed {
        let mut changed = Changed::default();
        if now.since(self.window_began) >= WINDOW {
            self.window_began = now;
            changed.active = self.end_window(now);
            // Those who begin to speak are the last who spoke.
            changed.order = changed.active;
        }
        let chosen = (members >= LARGE_ROOM).then(|| self.choose(now));
        changed.order |= chosen != self.chosen;
        self.chosen = chosen;
        changed
    }

    /// Whether the speakers changed.
    fn end_window(&mut self, now: Moment) -> bool {
        let mut levels: BTreeMap<MemberId, u8> = BTreeMap::new();
        for voice in self.voices.values_mut() {
            if let Some(level) = voice.end_window() {
                let loudest = levels.entry(voice.owner).or_insert(level);
                *loudest = level.min(*loudest);
            }
        }
        let was: BTreeSet<MemberId> = self.active.iter().map(|(owner, _)| *owner).collect();
        let changed = levels.len() != was.len() || levels.keys().any(|owner| !was.contains(owner));
        for owner in levels.keys() {
            self.spoke.insert(*owner, now);
        }
        self.active = levels.into_iter().collect();
        self.active.sort_by_key(|(owner, level)| (*level, *owner));
        changed
    }

    fn choose(&self, now: Moment) -> BTreeSet<TrackId> {
        let is_chosen = |track| self.chosen.as_ref().is_some_and(|chosen| chosen.contains(track));
        let mut ranked: Vec<_> = self
            .voices
            .iter()
            .map(|(track, voice)| {
                let kept = is_chosen(track) && voice.is_loud_within(now, HOLD);
                let loud = voice.is_loud_within(now, WINDOW);
                let rank = if kept {
                    0
                } else if loud {
                    1
                } else {
                    2
                };
                let level = if rank == 2 { 0 } else { voice.level };
                ((rank, level, Reverse(voice.last_loud), voice.order), track)
            })
            .collect();
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        ranked.into_iter().take(VOICES).map(|(_, track)| track.clone()).collect()
    }

    /// Who speaks, the loudest first, with levels.
    pub fn active(&self) -> &[(MemberId, u8)] {
        &self.active
    }

    /// Whether this voice is sent on.
    pub fn is_chosen(&self, track: &TrackId) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.contains(track))
    }

    /// When this member spoke last.
    pub fn spoke(&self, member: MemberId) -> Option<Moment> {
        self.spoke.get(&member).copied()
    }
}

fn mean(a: u8, b: u8) -> u8 {
    // Never above either.
    u8::try_from((u16::from(a) + u16::from(b)) / 2).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tracks::MediaKind;
    use super::*;

    fn track(n: u64) -> TrackId {
        TrackId::new(MediaKind::Audio, &n.to_string(), 1)
    }

    fn room(voices: u64) -> Speakers {
        let mut speakers = Speakers::default();
        (0..voices).for_each(|n| speakers.add(track(n), MemberId(n)));
        speakers
    }

    /// Ten levels a second of these voices, from `from` to `to`, with a look at each.
    fn talk(speakers: &mut Speakers, (from, to): (u64, u64), levels: &[(u64, u8)], members: usize) -> u32 {
        let mut changes = 0;
        for ms in (from..to).step_by(100) {
            for (n, level) in levels {
                speakers.observe(Moment(ms), &track(*n), *level);
            }
            changes += u32::from(speakers.look(Moment(ms), members).active);
        }
        changes
    }

    fn active(speakers: &Speakers) -> Vec<u64> {
        speakers.active().iter().map(|(owner, _)| owner.0).collect()
    }

    fn chosen(speakers: &Speakers, voices: u64) -> Vec<u64> {
        (0..voices).filter(|n| speakers.is_chosen(&track(*n))).collect()
    }

    // SPEC 10: Who speaks is told; from 12 members on the 8 loudest voices are sent on, each for 2
    // s at least; `rooms.max_videos` pictures go to each, of those who spoke last
    // Also: `a_single_loud_level_is_no_speech`,
    // `all_voices_of_a_small_room_are_sent_on_and_the_8_loudest_of_a_large_one`,
    // `a_voice_keeps_its_place_for_two_seconds_and_a_new_one_takes_a_silent_ones`,
    // `what_is_gone_is_forgotten`, `a_large_room_hears_eight_and_sees_those_who_spoke_last`
    #[test]
    fn who_is_loud_speaks_and_the_loudest_comes_first() {
        let mut speakers = room(4);
        let changes = talk(&mut speakers, (1_000, 3_000), &[(0, 30), (1, 36), (2, 10), (3, 127)], 4);
        assert_eq!((active(&speakers), changes), (vec![2, 0], 1));
        assert_eq!(speakers.active()[0].1, 10);
        assert_eq!(talk(&mut speakers, (3_000, 4_000), &[], 4), 1, "one change: silence");
        assert_eq!(active(&speakers), Vec::<u64>::new());
        let spoke = |n| speakers.spoke(MemberId(n));
        assert!(spoke(0).is_some() && spoke(0) == spoke(2) && spoke(1).is_none());
    }

    #[test]
    fn a_single_loud_level_is_no_speech() {
        let mut speakers = room(1);
        for ms in (1_000..5_000).step_by(100) {
            speakers.observe(Moment(ms), &track(0), if ms % 400 == 0 { 5 } else { 127 });
            speakers.look(Moment(ms), 1);
            assert_eq!(active(&speakers), Vec::<u64>::new(), "at {ms}");
        }
    }

    #[test]
    fn all_voices_of_a_small_room_are_sent_on_and_the_8_loudest_of_a_large_one() {
        let mut speakers = room(20);
        let levels: Vec<(u64, u8)> = (0..20).map(|n| (n, 30 - u8::try_from(n).unwrap())).collect();
        talk(&mut speakers, (1_000, 2_000), &levels, LARGE_ROOM - 1);
        assert_eq!(chosen(&speakers, 20).len(), 20);
        talk(&mut speakers, (2_000, 3_000), &levels, LARGE_ROOM);
        assert_eq!(chosen(&speakers, 20), (12..20).collect::<Vec<u64>>());
        talk(&mut speakers, (3_000, 3_100), &levels, LARGE_ROOM - 1);
        assert_eq!(chosen(&speakers, 20).len(), 20);
    }

    #[test]
    fn a_voice_keeps_its_place_for_two_seconds_and_a_new_one_takes_a_silent_ones() {
        let mut speakers = room(20);
        let eight: Vec<(u64, u8)> = (0..8).map(|n| (n, 20)).collect();
        talk(&mut speakers, (1_000, 2_000), &eight, 20);
        assert_eq!(chosen(&speakers, 20), (0..8).collect::<Vec<u64>>());
        let others: Vec<(u64, u8)> = (1..9).map(|n| (n, 20)).collect();
        talk(&mut speakers, (2_000, 3_900), &others, 20);
        assert!(speakers.is_chosen(&track(0)), "1.9 s after its last word");
        talk(&mut speakers, (3_900, 4_100), &others, 20);
        assert_eq!(chosen(&speakers, 20), (1..9).collect::<Vec<u64>>());
        talk(&mut speakers, (8_000, 8_100), &[(15, 10)], 20);
        assert!(speakers.is_chosen(&track(15)), "at its first loud level, where nobody holds the place");
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut speakers = room(3);
        talk(&mut speakers, (1_000, 2_000), &[(0, 10), (1, 10)], 3);
        speakers.remove(&track(0));
        speakers.forget(MemberId(0));
        assert_eq!(active(&speakers), [1]);
        assert_eq!(speakers.spoke(MemberId(0)), None);
        speakers.observe(Moment(2_000), &track(0), 1);
        assert!(!speakers.look(Moment(2_500), 3).order || !active(&speakers).contains(&0));
    }
}
