//! A token bucket for log lines that outsiders can trigger.

use std::time::Duration;

use crate::core::limits::rate_limit::{Rate, RateLimiter};
use crate::core::time::Moment;

/// Lets a burst of lines through, then one per interval, and counts what it held back.
#[derive(Debug)]
pub struct LogLimit {
    burst: u32,
    interval: Duration,
    tokens: u32,
    refilled: Moment,
    suppressed: u64,
}

impl LogLimit {
    /// A full bucket.
    pub fn new(burst: u32, interval: Duration) -> LogLimit {
        LogLimit { burst, interval, tokens: burst, refilled: Moment(0), suppressed: 0 }
    }

    /// `Some(n)`: the line may be written and should say that `n` others were not.
    pub fn allow(&mut self, now: Moment) -> Option<u64> {
        let interval = self.interval.as_millis().max(1);
        let earned = u32::try_from(now.since(self.refilled).as_millis() / interval).unwrap_or(u32::MAX);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(self.burst);
            self.refilled = now;
        }
        if self.tokens == 0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// A line was held back by somebody else.
    fn suppress(&mut self) {
        self.suppressed += 1;
    }
}

/// Lines that clients can trigger: a limit for all, of which each has a share, so that one of them does not hide what the others
/// do.
#[derive(Debug)]
pub struct LogShares<K> {
    all: LogLimit,
    each: RateLimiter<K>,
}

impl<K: Ord + Clone> LogShares<K> {
    /// `burst` lines at once and one per `interval` for all; a quarter of that for each of at most `capacity` keys.
    pub fn new(burst: u32, interval: Duration, capacity: usize) -> LogShares<K> {
        let share = Rate { burst: burst.div_ceil(4), every: interval.saturating_mul(4) };
        LogShares { all: LogLimit::new(burst, interval), each: RateLimiter::new(share, capacity) }
    }

    /// [`LogLimit::allow`] for a line about this key; without one the line has no share.
    pub fn allow(&mut self, now: Moment, key: Option<&K>) -> Option<u64> {
        if key.is_some_and(|key| self.each.take(now, key).is_err()) {
            self.all.suppress();
            return None;
        }
        self.all.allow(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_does_not_hide_what_others_do() {
        let mut limit = LogShares::new(20, Duration::from_secs(1), 100);
        let mut seen = |key| (0..1_000).filter(|_| limit.allow(Moment(0), Some(&key)).is_some()).count();
        assert_eq!([seen(1), seen(1), seen(2), seen(3)], [5, 0, 5, 5]);
        assert_eq!(limit.allow(Moment(0), None), Some(995), "those held back since the last line");
    }

    #[test]
    fn a_burst_passes_then_lines_are_counted_until_time_passes() {
        let mut limit = LogLimit::new(2, Duration::from_secs(1));
        let seen: Vec<_> = [0, 1, 2, 3, 1003, 1004].into_iter().map(|at| limit.allow(Moment(at))).collect();
        assert_eq!(seen, [Some(0), Some(0), None, None, Some(2), None]);
    }
}
