//! When operators' webhooks are told of a problem with a certificate: when it begins, when its words change, and each day while it
//! lasts. What comes and goes is told once an hour.

use serde::{Deserialize, Serialize};

use crate::core::wall_time::{DAY, HOUR, WallTime};

/// What was told last. It is kept on disk, so that a role that restarts does not tell it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateNews {
    /// The problem that was told, while it lasts.
    told: Option<String>,
    /// When anything was told last.
    at: WallTime,
}

impl CertificateNews {
    /// Whether this is to be told now. What was told goes into [`CertificateNews::note`].
    pub fn is_due(&mut self, now: WallTime, problem: Option<&str>) -> bool {
        let Some(problem) = problem else {
            self.told = None;
            return false;
        };
        let wait = if self.told.as_deref() == Some(problem) { DAY } else { HOUR };
        // A time that is yet to come was kept before the clock was set back.
        self.at == WallTime(0) || self.at > now || now.since(self.at) >= wait
    }

    /// It was told.
    pub fn note(&mut self, now: WallTime, problem: &str) {
        (self.told, self.at) = (Some(problem.to_owned()), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The minutes after which each minute's problem was told.
    fn told(minutes: impl Iterator<Item = Option<&'static str>>) -> Vec<usize> {
        let mut news = CertificateNews::default();
        let mut told = Vec::new();
        for (minute, problem) in minutes.enumerate() {
            let now = WallTime(1_790_000_000 + 60 * minute as u64);
            if news.is_due(now, problem) {
                news.note(now, problem.unwrap_or_default());
                told.push(minute);
            }
        }
        told
    }

    #[test]
    fn a_problem_is_told_when_it_begins_and_each_day() {
        assert_eq!(told((0..3000).map(|_| Some("x"))), [0, 1440, 2880]);
        assert_eq!(told((0..3000).map(|minute| (minute >= 100).then_some("x"))), [100, 1540, 2980]);
        assert_eq!(told((0..300).map(|_| None)), Vec::<usize>::new());
    }

    #[test]
    fn other_words_are_told_within_the_hour() {
        let words = |minute: usize| Some(if minute < 10 { "x" } else { "y" });
        assert_eq!(told((0..300).map(words)), [0, 60]);
        let flapping = |minute: usize| minute.is_multiple_of(2).then_some("x");
        assert_eq!(told((0..300).map(flapping)), [0, 60, 120, 180, 240]);
    }

    #[test]
    fn what_was_told_is_not_told_again_after_a_restart_or_a_clock_set_back() {
        let (mut news, now) = (CertificateNews::default(), WallTime(1_790_000_000));
        assert!(news.is_due(now, Some("x")));
        news.note(now, "x");
        let mut again: CertificateNews =
            serde_json::from_str(&serde_json::to_string(&news).unwrap()).unwrap();
        assert!(!again.is_due(now + HOUR, Some("x")));
        assert!(again.is_due(WallTime(1_700_000_000), Some("x")), "better twice than not for years");
    }
}
