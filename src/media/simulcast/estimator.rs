//! Which layer a viewer can take, from what the network is estimated to carry: Neko's rule (`webrtc.estimator.*`).
//!
//! ```text
//!  every reading: trend of the last eight different targets, room = target ÷ bitrate of the layer
//!
//!   downward, or neutral without room for `stalled` ──► congested: after `unstable` of it, unless there is room, Lower
//!   neutral or upward                               ──► calm: after `stable` of it, with room, Higher
//! ```
//!
//! Pure: time and readings come in. All clocks start at the first reading, so the first one changes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::time::Moment;

/// `webrtc.estimator.*`, as far as the rule needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Calm before an upgrade.
    pub stable: Duration,
    /// Congestion before a downgrade.
    pub unstable: Duration,
    /// A neutral trend without room counts as congestion after this.
    pub stalled: Duration,
    /// Least time between two downgrades.
    pub downgrade_backoff: Duration,
    /// Least time between two upgrades.
    pub upgrade_backoff: Duration,
    /// Room beyond the layer's bitrate that counts, as a ratio. Negative: room is not looked at.
    pub threshold: f64,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            stable: Duration::from_secs(12),
            unstable: Duration::from_secs(6),
            stalled: Duration::from_secs(24),
            downgrade_backoff: Duration::from_secs(10),
            upgrade_backoff: Duration::from_secs(5),
            threshold: 0.15,
        }
    }
}

/// What to do about a viewer's layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stay.
    Keep,
    /// To the next lower layer, if there is one.
    Lower,
    /// To the next higher layer, if there is one.
    Higher,
}

/// Different targets that a trend is made of.
const SAMPLES: usize = 8;

/// Kendall's τ below which a trend is downward: estimates fall a little all the time.
const DOWNWARD: f64 = -0.5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Downward,
    Neutral,
    Upward,
}

/// One viewer's estimator.
#[derive(Clone, Debug)]
pub struct Estimator {
    rule: Rule,
    targets: VecDeque<u64>,
    clocks: Option<Clocks>,
}

#[derive(Clone, Copy, Debug)]
struct Clocks {
    stable_since: Moment,
    unstable_since: Moment,
    stalled_since: Moment,
    downgraded: Option<Moment>,
    upgraded: Option<Moment>,
}

impl Estimator {
    /// For a new viewer.
    pub fn new(rule: Rule) -> Estimator {
        Estimator { rule, targets: VecDeque::with_capacity(SAMPLES), clocks: None }
    }

    /// Takes a reading: the estimated target and the present layer's bitrate, in bits per second. To be called every
    /// `webrtc.estimator.read_interval`.
    pub fn read(&mut self, now: Moment, target: u64, bitrate: u64) -> Verdict {
        self.note(target);
        let direction = self.direction();
        let clocks = self.clocks.get_or_insert(Clocks {
            stable_since: now,
            unstable_since: now,
            stalled_since: now,
            downgraded: None,
            upgraded: None,
        });
        if bitrate == 0 {
            return Verdict::Keep;
        }
        let room = target as f64 / bitrate as f64;
        judge(&self.rule, clocks, now, direction, room)
    }

    fn note(&mut self, target: u64) {
        if self.targets.back() == Some(&target) {
            return;
        }
        if self.targets.len() == SAMPLES {
            self.targets.pop_front();
        }
        self.targets.push_back(target);
    }

    fn direction(&self) -> Direction {
        match kendall(&self.targets) {
            _ if self.targets.len() < SAMPLES => Direction::Neutral,
            tau if tau > 0.0 => Direction::Upward,
            tau if tau < DOWNWARD => Direction::Downward,
            _ => Direction::Neutral,
        }
    }
}

fn judge(rule: &Rule, clocks: &mut Clocks, now: Moment, direction: Direction, room: f64) -> Verdict {
    let passed = |since: Moment| now.since(since);
    let enough = 1.0 + rule.threshold;
    if direction != Direction::Neutral || room > enough {
        clocks.stalled_since = now;
    }
    let stalled = direction == Direction::Neutral && passed(clocks.stalled_since) > rule.stalled;
    if direction == Direction::Downward || stalled {
        clocks.stable_since = now;
        let recent = clocks.downgraded.is_some_and(|at| passed(at) < rule.downgrade_backoff);
        let roomy = rule.threshold >= 0.0 && room > enough;
        if recent || passed(clocks.unstable_since) < rule.unstable || roomy {
            return Verdict::Keep;
        }
        clocks.downgraded = Some(now);
        return Verdict::Lower;
    }
    clocks.unstable_since = now;
    let recent = clocks.upgraded.is_some_and(|at| passed(at) < rule.upgrade_backoff);
    let cramped = rule.threshold >= 0.0 && room < enough;
    if recent || passed(clocks.stable_since) < rule.stable || cramped {
        return Verdict::Keep;
    }
    clocks.upgraded = Some(now);
    Verdict::Higher
}

/// Kendall's rank correlation of the values with their order, −1 to 1.
fn kendall(values: &VecDeque<u64>) -> f64 {
    let (mut rising, mut falling) = (0u32, 0u32);
    for (index, earlier) in values.iter().enumerate() {
        for later in values.iter().skip(index + 1) {
            match earlier.cmp(later) {
                std::cmp::Ordering::Less => rising += 1,
                std::cmp::Ordering::Greater => falling += 1,
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    match rising + falling {
        0 => 0.0,
        pairs => (f64::from(rising) - f64::from(falling)) / f64::from(pairs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 2_000;

    /// Feeds one target per interval for a layer of 1 Mbit/s; the times, in seconds, and verdicts that changed something.
    fn run(targets: impl IntoIterator<Item = u64>) -> Vec<(u64, Verdict)> {
        let mut estimator = Estimator::new(Rule::default());
        let times = (0..).map(|reading| reading * INTERVAL);
        times
            .zip(targets)
            .map(|(ms, target)| (ms / 1000, estimator.read(Moment(1_000_000 + ms), target, 1_000_000)))
            .filter(|(_, verdict)| *verdict != Verdict::Keep)
            .collect()
    }

    #[test]
    fn the_first_reading_changes_nothing() {
        for target in [0, 1, 100_000_000] {
            assert_eq!(run([target]), [], "{target}");
        }
    }

    #[test]
    fn room_for_twelve_seconds_is_an_upgrade_every_five() {
        let verdicts = run(std::iter::repeat_n(2_000_000, 12));
        assert_eq!(verdicts, [12, 18].map(|at| (at, Verdict::Higher)), "{verdicts:?}");
    }

    #[test]
    fn too_little_room_is_no_upgrade() {
        assert_eq!(run(std::iter::repeat_n(1_140_000, 10)), []);
    }

    #[test]
    fn a_falling_estimate_is_a_downgrade_every_ten_seconds() {
        let verdicts = run((0..20).map(|reading| 1_100_000 - reading * 40_000));
        // Eight readings make a trend, six seconds of it make a downgrade.
        assert_eq!(verdicts, [18, 28, 38].map(|at| (at, Verdict::Lower)), "{verdicts:?}");
    }

    #[test]
    fn a_falling_estimate_with_room_is_none() {
        let verdicts = run((0..20).map(|reading| 9_000_000 - reading * 40_000));
        assert!(verdicts.iter().all(|(_, verdict)| *verdict != Verdict::Lower), "{verdicts:?}");
    }

    #[test]
    fn no_room_for_a_long_time_counts_as_congestion() {
        let verdicts = run(std::iter::repeat_n(900_000, 21));
        // 24 s without room, then six of counting as congested.
        assert_eq!(verdicts, [(30, Verdict::Lower), (40, Verdict::Lower)], "{verdicts:?}");
    }

    #[test]
    fn a_dip_starts_the_calm_anew() {
        let falling = (0..8).map(|reading| 5_000_000 - reading * 100_000);
        let targets =
            std::iter::repeat_n(5_000_000, 3).chain(falling).chain(std::iter::repeat_n(6_000_000, 10));
        // The eighth value, at 20 s, makes a downward trend; calm is counted from there.
        assert_eq!(run(targets), [12, 18, 32, 38].map(|at| (at, Verdict::Higher)));
    }

    #[test]
    fn noise_around_the_bitrate_changes_nothing() {
        let noise = [0u64, 7, 3, 9, 1, 8, 2, 6, 4, 5];
        let targets = (0..60).map(|reading| 1_000_000 + noise[reading % 10] * 10_000);
        assert_eq!(run(targets).iter().filter(|(_, verdict)| *verdict == Verdict::Higher).count(), 0);
    }

    #[test]
    fn an_unknown_bitrate_changes_nothing() {
        let mut estimator = Estimator::new(Rule::default());
        let verdicts = (0..50).map(|reading| estimator.read(Moment(reading * INTERVAL), 1, 0));
        assert!(verdicts.into_iter().all(|verdict| verdict == Verdict::Keep));
    }

    #[test]
    fn the_rank_correlation_is_kendalls() {
        assert_eq!(kendall(&VecDeque::from([1, 2, 3, 4])), 1.0);
        assert_eq!(kendall(&VecDeque::from([4, 3, 2, 1])), -1.0);
        assert_eq!(kendall(&VecDeque::from([1, 3, 2, 4])), 4.0 / 6.0);
        assert_eq!(kendall(&VecDeque::from([5, 5])), 0.0);
    }
}
