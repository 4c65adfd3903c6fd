//! When a stream process is asked whether it is still there, and from when on it counts as hung.
//!
//! ```text
//!  resting ──EVERY, somebody needs it──▶ asked ──answer──▶ resting
//!     ▲                                    │ PATIENCE
//!     │                                    ▼
//!     └──────── MISSES not reached ◀──── missed ──MISSES in a row──▶ hung
//! ```
//!
//! A process that is stopped or deadlocked keeps its port open: connections succeed and nothing is ever answered. The question is
//! the smallest that it has to think about. Nobody who is starved of processor time is taken for hung soon: see `LATE`.

use std::time::Duration;

use crate::core::time::Moment;

/// Between an answer and the next question.
pub const EVERY: Duration = Duration::from_secs(5);

/// How long one answer may take. The process answers in milliseconds; seconds mean a machine that is out of breath.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// Between a question that was not answered and the next.
const AGAIN: Duration = Duration::from_millis(500);

/// Questions in a row without an answer that mean: it hangs.
pub const MISSES: u32 = 3;

/// A person who needed the process within this time needs it still: pages are asked for in bursts.
pub const NEEDED_FOR: Duration = Duration::from_secs(60);

/// We ourselves looked this much later than we meant to: the whole machine stood still, and nothing can be said of the process.
const LATE: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this moment; `None`: nobody needs the process.
    Wait(Option<Moment>),
    /// Ask, on a new connection.
    Ask,
    /// It hangs: it has answered nothing for this long.
    Hung(Duration),
}

/// The questions to one process.
#[derive(Clone, Debug, Default)]
pub struct ProcessProbe {
    asked: Option<Moment>,
    next: Option<Moment>,
    misses: u32,
    silent_since: Option<Moment>,
}

impl ProcessProbe {
    /// It answered.
    pub fn answered(&mut self, now: Moment) {
        *self = ProcessProbe { next: Some(now + EVERY), ..ProcessProbe::default() };
    }

    /// The question was refused at once, or its connection closed without an answer: as bad as silence.
    pub fn refused(&mut self, now: Moment) {
        self.missed(now);
    }

    /// What to do now, given when somebody last needed the process.
    pub fn step(&mut self, now: Moment, needed: Option<Moment>) -> Step {
        if let Some(asked) = self.asked {
            let due = asked + PATIENCE;
            if !now.reached(due) {
                return Step::Wait(Some(due));
            }
            if now.since(due) > LATE {
                // Ask again: the answer may be waiting where nobody looked.
                self.asked = None;
            } else {
                self.missed(now);
            }
        }
        if self.misses >= MISSES {
            return Step::Hung(now.since(self.silent_since.unwrap_or(now)));
        }
        let wanted = needed.is_some_and(|needed| !now.reached(needed + NEEDED_FOR));
        match self.next {
            // A row of questions is finished even if the person leaves in between.
            _ if !wanted && self.misses == 0 => Step::Wait(None),
            Some(next) if !now.reached(next) => Step::Wait(Some(next)),
            _ => {
                self.asked = Some(now);
                self.silent_since.get_or_insert(now);
                Step::Ask
            }
        }
    }

    fn missed(&mut self, now: Moment) {
        self.asked = None;
        self.misses += 1;
        self.next = Some(now + AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(now: Moment) -> Option<Moment> {
        Some(now)
    }

    #[test]
    fn three_questions_without_an_answer_are_a_hang() {
        let mut probe = ProcessProbe::default();
        let mut now = Moment(0);
        let mut asked = 0;
        let silent = loop {
            match probe.step(now, needed(now)) {
                Step::Ask => asked += 1,
                Step::Wait(Some(until)) => now = until,
                Step::Wait(None) => panic!("somebody needs it"),
                Step::Hung(silent) => break silent,
            }
        };
        assert_eq!(asked, 3);
        assert_eq!(silent, PATIENCE * 3 + AGAIN * 2);
    }

    #[test]
    fn one_answer_makes_good_what_was_missed() {
        let mut probe = ProcessProbe::default();
        let mut now = Moment(0);
        for _ in 0..10 {
            for _ in 1..MISSES {
                assert_eq!(probe.step(now, needed(now)), Step::Ask);
                now = now + PATIENCE;
                assert!(matches!(probe.step(now, needed(now)), Step::Wait(_)));
                now = now + AGAIN;
            }
            assert_eq!(probe.step(now, needed(now)), Step::Ask);
            probe.answered(now);
            assert_eq!(probe.step(now, needed(now)), Step::Wait(Some(now + EVERY)));
            now = now + EVERY;
        }
    }

    #[test]
    fn nobody_who_needs_it_means_no_questions() {
        let mut probe = ProcessProbe::default();
        assert_eq!(probe.step(Moment(0), None), Step::Wait(None));
        assert_eq!(probe.step(Moment(60_000), Some(Moment(0))), Step::Wait(None));
        assert_eq!(probe.step(Moment(59_000), Some(Moment(0))), Step::Ask);
    }

    #[test]
    fn a_machine_that_stood_still_tells_nothing_of_the_process() {
        let mut probe = ProcessProbe::default();
        let mut now = Moment(0);
        for _ in 0..20 {
            assert_eq!(probe.step(now, needed(now)), Step::Ask, "{probe:?}");
            now = now + PATIENCE + Duration::from_secs(600);
        }
    }
}
