//! What failures teach: a worker that fails creates for reasons of its own, or cannot be called, is left alone for a pause that
//! doubles from failure to failure, and then gets one create at a time until one succeeds.
//!
//! ```text
//!            FAILURES_BEFORE_PAUSE failures in a row,         the pause is over
//!            or one call that did not reach it
//!  trusted ────────────────────────────────────> paused ──────────────────────> on probation
//!     ^                                             ^   a failure; twice as long      │ one create at a time
//!     │                                             └──────────────────────────────────┤
//!     └──── a create that succeeds; a new process of the worker; its own checks pass <─┘
//! ```
//! Nothing is learned from what may be the body's fault or the request's: see [`super::turns`].

use std::time::Duration;

use crate::core::time::Moment;

/// Failed creates in a row before the first pause: one alone may be an accident.
pub const FAILURES_BEFORE_PAUSE: u32 = 2;

/// Longest reason that is kept, in characters: it is shown in health and in refusals.
const REASON_SHOWN: usize = 300;

/// How long failing workers are left alone.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// The first pause: `workers.backoff`.
    pub first: Duration,
    /// The longest one: `workers.backoff_max`.
    pub longest: Duration,
}

/// What a worker failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedAt {
    /// It was not reached, said nothing, or refused to be called.
    Call,
    /// It was reached, and could not do what it was asked for.
    Create,
}

/// The failures of one worker since its last success. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failures {
    in_a_row: u32,
    at: FailedAt,
    reason: String,
    pauses: u32,
    pause: Option<Pause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    begun: Moment,
    until: Moment,
}

/// What a worker's failures mean for the next create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing.
    Full,
    /// None until then.
    Paused(Moment),
    /// One at a time, counting from when the pause was over.
    Probation(Moment),
}

impl Failures {
    /// Adds a failure of what was begun at `begun` to those before it. True: a pause begins.
    pub fn add(
        before: Option<Failures>,
        (now, begun): (Moment, Moment),
        (at, reason): (FailedAt, &str),
        back_off: BackOff,
    ) -> (Failures, bool) {
        let none = Failures { in_a_row: 0, at, reason: String::new(), pauses: 0, pause: None };
        let mut failures = before.unwrap_or(none);
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        failures.at = at;
        failures.reason = shown(reason);
        let enough = at == FailedAt::Call || failures.in_a_row >= FAILURES_BEFORE_PAUSE;
        // A burst that was under way before the pause began is one lesson, not as many as it has creates.
        let known = failures.pause.is_some_and(|pause| begun < pause.begun);
        let pauses = enough && !known;
        if pauses {
            let doubled = 2u32.saturating_pow(failures.pauses);
            let length = back_off.first.saturating_mul(doubled).min(back_off.longest);
            failures.pause = Some(Pause { begun: now, until: now + length });
            failures.pauses = failures.pauses.saturating_add(1);
        }
        (failures, pauses)
    }

    pub fn at(&self) -> FailedAt {
        self.at
    }

    pub fn trust(&self, now: Moment) -> Trust {
        match self.pause {
            Some(pause) if now.reached(pause.until) => Trust::Probation(pause.until),
            Some(pause) => Trust::Paused(pause.until),
            None => Trust::Full,
        }
    }

    /// In words, for operators; `None` while one failure is no reason to say anything.
    pub fn trouble(&self) -> Option<String> {
        self.pause?;
        Some(match (self.at, self.in_a_row) {
            (FailedAt::Call, _) => format!("it sends heartbeats and cannot be called: {}", self.reason),
            (FailedAt::Create, 1) => format!("a create failed for its own reason: {}", self.reason),
            (FailedAt::Create, n) => {
                format!("{n} creates in a row failed for its own reason, the last: {}", self.reason)
            }
        })
    }
}

fn shown(reason: &str) -> String {
    let plain: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(REASON_SHOWN) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACK_OFF: BackOff = BackOff { first: Duration::from_secs(2), longest: Duration::from_secs(50) };

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000)
    }

    /// Fails one create after another, each as soon as it may come.
    fn pauses(count: usize) -> Vec<u64> {
        let (mut failures, mut now, mut seen) = (None, at(10), Vec::new());
        while seen.len() < count {
            let (next, paused) = Failures::add(failures, (now, now), (FailedAt::Create, "x"), BACK_OFF);
            if let Trust::Paused(until) = next.trust(now) {
                assert!(paused);
                seen.push(until.since(now).as_secs());
                now = until;
            }
            failures = Some(next);
        }
        seen
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(pauses(7), [2, 4, 8, 16, 32, 50, 50]);
    }

    #[test]
    fn one_failed_create_costs_nothing_and_one_failed_call_a_pause() {
        let (failures, paused) = Failures::add(None, (at(1), at(1)), (FailedAt::Create, "x"), BACK_OFF);
        assert_eq!((failures.trust(at(1)), paused, failures.trouble()), (Trust::Full, false, None));
        let (failures, paused) = Failures::add(None, (at(1), at(1)), (FailedAt::Call, "refused"), BACK_OFF);
        assert_eq!((failures.trust(at(1)), paused), (Trust::Paused(at(3)), true));
        assert_eq!(failures.trust(at(3)), Trust::Probation(at(3)));
        assert!(failures.trouble().is_some_and(|text| text.contains("cannot be called: refused")));
    }

    #[test]
    fn a_burst_is_one_lesson() {
        let mut failures = None;
        for _ in 0..20 {
            let (next, _) = Failures::add(failures, (at(2), at(1)), (FailedAt::Create, "x"), BACK_OFF);
            failures = Some(next);
        }
        let failures = failures.expect("failures");
        assert_eq!(failures.trust(at(2)), Trust::Paused(at(4)), "not twenty times doubled");
        assert!(failures.trouble().is_some_and(|text| text.starts_with("20 creates in a row")));
    }

    #[test]
    fn a_reason_is_cut_and_forges_no_line() {
        let long = format!("a\nb{}", "ü".repeat(1_000));
        let (failures, _) = Failures::add(None, (at(1), at(1)), (FailedAt::Call, &long), BACK_OFF);
        assert!(failures.reason.starts_with("a bü") && failures.reason.ends_with('…'));
        assert!(failures.reason.chars().count() <= REASON_SHOWN + 1);
    }
}
