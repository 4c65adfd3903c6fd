//! The restart budget of a session's stream process: how often, and after which pause.

use std::time::Duration;

/// No pause between two starts is longer than this, however often it doubled.
pub const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How many restarts are left. It never refills: a process that dies again and again ends its session.
#[derive(Clone, Debug)]
pub struct RestartBudget {
    allowed: u32,
    used: u32,
    first_backoff: Duration,
    /// Random bits for the pauses; `None`: they are exact.
    jitter: Option<u64>,
}

impl RestartBudget {
    /// `allowed` restarts; the first after `first_backoff`, each further one after twice the last pause.
    pub fn new(allowed: u32, first_backoff: Duration) -> RestartBudget {
        RestartBudget { allowed, used: 0, first_backoff, jitter: None }
    }

    /// The same, but each pause is at random between half of itself and itself: what died together does not come back
    /// together.
    pub fn with_jitter(self, entropy: u64) -> RestartBudget {
        RestartBudget { jitter: Some(entropy), ..self }
    }

    /// Takes one restart and says how long to wait for it; `None` when the budget is used up.
    pub fn take(&mut self) -> Option<Duration> {
        if self.used >= self.allowed {
            return None;
        }
        let factor = 1u32.checked_shl(self.used).unwrap_or(u32::MAX);
        self.used += 1;
        let pause = self.first_backoff.saturating_mul(factor).min(MAX_BACKOFF);
        Some(match &mut self.jitter {
            None => pause,
            Some(bits) => {
                // Knuth's multiplier; the upper bits are the good ones.
                *bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let share = u32::from((*bits >> 48) as u16);
                pause / 2 + pause / 2 * share / u32::from(u16::MAX)
            }
        })
    }

    /// Restarts taken so far.
    pub fn used(&self) -> u32 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_cap_and_the_budget_ends() {
        let mut budget = RestartBudget::new(40, Duration::from_millis(500));
        let pauses: Vec<u128> = std::iter::from_fn(|| budget.take()).map(|d| d.as_millis()).collect();
        assert_eq!(pauses[..6], [500, 1000, 2000, 4000, 8000, 10_000]);
        assert_eq!((pauses.len(), budget.used()), (40, 40));
    }

    #[test]
    fn jitter_keeps_every_pause_between_its_half_and_its_whole() {
        let first = Duration::from_millis(1000);
        let pauses: Vec<Duration> =
            (0..200).filter_map(|seed| RestartBudget::new(1, first).with_jitter(seed).take()).collect();
        assert!(pauses.iter().all(|pause| (first / 2..=first).contains(pause)), "{pauses:?}");
        let (least, most) = (pauses.iter().min(), pauses.iter().max());
        assert!(least.zip(most).is_some_and(|(a, b)| *b - *a > first / 4), "{least:?} to {most:?}");
    }

    #[test]
    fn a_budget_of_none_restarts_never() {
        assert_eq!(RestartBudget::new(0, Duration::from_millis(1)).take(), None);
    }
}
