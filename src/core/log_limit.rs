//! A token bucket for log lines that outsiders can trigger.

use std::time::Duration;

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_lines_are_counted_until_time_passes() {
        let mut limit = LogLimit::new(2, Duration::from_secs(1));
        let seen: Vec<_> = [0, 1, 2, 3, 1003, 1004].into_iter().map(|at| limit.allow(Moment(at))).collect();
        assert_eq!(seen, [Some(0), Some(0), None, None, Some(2), None]);
    }
}
