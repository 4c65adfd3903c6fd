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
}

impl RestartBudget {
    /// `allowed` restarts; the first after `first_backoff`, each further one after twice the last pause.
    pub fn new(allowed: u32, first_backoff: Duration) -> RestartBudget {
        RestartBudget { allowed, used: 0, first_backoff }
    }

    /// Takes one restart and says how long to wait for it; `None` when the budget is used up.
    pub fn take(&mut self) -> Option<Duration> {
        if self.used >= self.allowed {
            return None;
        }
        let factor = 1u32.checked_shl(self.used).unwrap_or(u32::MAX);
        self.used += 1;
        Some(self.first_backoff.saturating_mul(factor).min(MAX_BACKOFF))
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
    fn a_budget_of_none_restarts_never() {
        assert_eq!(RestartBudget::new(0, Duration::from_millis(1)).take(), None);
    }
}
