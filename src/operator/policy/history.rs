//! The last hour in three curves: sessions that live, creates that succeeded, creates that failed.

use std::collections::VecDeque;
use std::time::Duration;

/// Between two points.
pub const STEP: Duration = Duration::from_secs(5);

/// Points of an hour.
const POINTS: usize = 720;

/// One point: sessions then, and creates since the point before.
pub type Point = (u64, u64, u64);

/// What is counted since the start, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Sessions that live.
    pub active: u64,
    /// Creates that gave a session.
    pub created: u64,
    /// Creates that gave none.
    pub failed: u64,
}

/// The points of the last hour, oldest first.
#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
    before: Option<Counted>,
}

impl History {
    /// A step is over.
    pub fn note(&mut self, now: Counted) -> Point {
        let before = self.before.replace(now).unwrap_or(now);
        let point = (
            now.active,
            now.created.saturating_sub(before.created),
            now.failed.saturating_sub(before.failed),
        );
        self.points.push_back(point);
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
        point
    }

    /// What there is.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_counts_are_since_the_point_before() {
        let mut history = History::default();
        let at = |n: u64| Counted { active: n, created: 10 + 2 * n, failed: n / 2 };
        assert_eq!(history.note(at(0)), (0, 0, 0), "what was before the first point is not of the last hour");
        assert_eq!(history.note(at(1)), (1, 2, 0));
        assert_eq!(history.note(at(2)), (2, 2, 1));
        for n in 3..1_000 {
            history.note(at(n));
        }
        assert_eq!(history.points().count(), POINTS);
        assert_eq!(history.points().last(), Some(&(999, 2, 0)));
    }
}
