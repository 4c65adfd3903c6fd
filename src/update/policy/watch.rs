//! When a new version counts as sound: each of its services has run for a while in one process, answers with the new version, and is
//! ready, if it was ready before.

use std::time::Duration;

use crate::core::version::Version;

/// Between two looks.
pub const EVERY: Duration = Duration::from_millis(500);

/// A service that is not ready by then, in times of `update.watch`, never is.
const PATIENCE: u32 = 2;

/// Nor is one that needs more than this beyond what it waits for: the longest start that its unit allows it, nearly.
const START: Duration = Duration::from_secs(60);

/// What a service answers when it is asked for its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is ready, as this version.
    Ready(String),
    /// It is there, as this version, and not ready.
    NotReady(String),
    /// Nothing answers, for this reason.
    Silent(String),
}

impl Answer {
    /// The version that answers.
    fn version(&self) -> Option<&str> {
        match self {
            Answer::Ready(version) | Answer::NotReady(version) => Some(version),
            Answer::Silent(_) => None,
        }
    }
}

/// What is seen of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// systemd's word for its state.
    pub state: String,
    /// Its main process.
    pub pid: u32,
    /// How often systemd has restarted it by itself.
    pub restarts: u64,
    /// Its health.
    pub answer: Answer,
}

/// Whether it may be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet.
    Open,
    /// It is sound.
    Sound,
    /// It is not, for this reason.
    Broken(String),
}

/// One service under watch.
#[derive(Clone, Debug)]
pub struct Watch {
    unit: String,
    expected: Version,
    /// It was not ready before either, as a worker that is drained: that it answers is enough.
    lenient: bool,
    /// It was started by others, as at boot: it may be on its way.
    starting: bool,
    /// What it waits for before it is ready, and its start.
    needs: Duration,
    first: Option<(u32, u64)>,
}

impl Watch {
    /// Begins after its restart. `before`: what it answered before that; `None`: others have started it, as at boot, which may not be
    /// over. `waits`: it is ready no sooner than this after its start, as a controller that waits for its workers' beats.
    pub fn new(unit: &str, expected: Version, before: Option<&Answer>, waits: Duration) -> Watch {
        Watch {
            unit: unit.to_owned(),
            expected,
            lenient: matches!(before, Some(Answer::NotReady(_))),
            starting: before.is_none(),
            needs: START + waits,
            first: None,
        }
    }

    /// Takes what is seen `elapsed` after the restart; it is watched for `length`.
    pub fn look(&mut self, seen: &Seen, elapsed: Duration, length: Duration) -> Verdict {
        let unit = &self.unit;
        let broken = |text: String| Verdict::Broken(format!("{unit} {text}"));
        let patience = self.needs.max(length * PATIENCE);
        if self.starting && seen.state == "activating" && elapsed < patience {
            return Verdict::Open;
        }
        if !matches!(seen.state.as_str(), "active" | "reloading") {
            return broken(format!(
                "is {}: it has ended; `journalctl -u {unit}` has its last words",
                seen.state
            ));
        }
        let (pid, restarts) = *self.first.get_or_insert((seen.pid, seen.restarts));
        if seen.pid != pid || seen.restarts > restarts {
            return broken("ended after its start, and was started again".into());
        }
        if let Some(version) = seen.answer.version().filter(|version| *version != self.expected.to_string()) {
            return broken(format!("runs as {version:?} instead of {}", self.expected));
        }
        let is_fine = match &seen.answer {
            Answer::Ready(_) => true,
            Answer::NotReady(_) => self.lenient,
            Answer::Silent(_) => false,
        };
        match (is_fine, elapsed) {
            (true, elapsed) if elapsed >= length => Verdict::Sound,
            (false, elapsed) if elapsed >= patience => match &seen.answer {
                Answer::Silent(why) => broken(format!("does not answer: {why}")),
                _ => broken("is not ready, and was before".into()),
            },
            _ => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn seen(answer: Answer) -> Seen {
        Seen { state: "active".into(), pid: 7, restarts: 3, answer }
    }

    fn ready() -> Answer {
        Answer::Ready("1.2.3".into())
    }

    fn not_ready() -> Answer {
        Answer::NotReady("1.2.3".into())
    }

    fn watch(before: &Answer) -> Watch {
        Watch::new("neck.service", "1.2.3".parse().expect("a version"), Some(before), Duration::ZERO)
    }

    /// The verdict on these looks: what is seen at which second.
    fn verdict(before: &Answer, looks: &[(u64, Seen)]) -> Verdict {
        let mut watch = watch(before);
        let each = looks.iter().map(|(at, seen)| watch.look(seen, Duration::from_secs(*at), LENGTH));
        each.last().expect("a look")
    }

    #[test]
    fn a_version_is_sound_after_a_while_and_not_before() {
        assert_eq!(verdict(&ready(), &[(59, seen(ready()))]), Verdict::Open);
        assert_eq!(verdict(&ready(), &[(1, seen(not_ready())), (60, seen(ready()))]), Verdict::Sound);
        assert_eq!(verdict(&ready(), &[(60, seen(not_ready())), (80, seen(ready()))]), Verdict::Sound);
    }

    #[test]
    fn what_ends_loops_or_is_another_version_is_broken() {
        let broken = |looks: &[(u64, Seen)]| match verdict(&ready(), looks) {
            Verdict::Broken(why) => why,
            other => panic!("{other:?}"),
        };
        let changed = |change: fn(&mut Seen)| {
            let mut changed = seen(ready());
            change(&mut changed);
            broken(&[(1, seen(ready())), (2, changed)])
        };
        assert!(changed(|seen| seen.state = "activating".into()).contains("it has ended"));
        assert!(changed(|seen| seen.state = "failed".into()).contains("journalctl -u neck.service"));
        assert!(changed(|seen| seen.pid = 8).contains("started again"));
        assert!(changed(|seen| seen.restarts = 4).contains("started again"));
        assert!(
            changed(|seen| seen.answer = Answer::Ready("1.2.2".into()))
                .contains("\"1.2.2\" instead of 1.2.3")
        );
        assert!(broken(&[(120, seen(not_ready()))]).contains("is not ready"));
        assert!(
            broken(&[(120, seen(Answer::Silent("refused".into())))]).contains("does not answer: refused")
        );
    }

    #[test]
    fn at_boot_a_service_may_be_on_its_way() {
        let version = "1.2.3".parse().expect("a version");
        let mut watch = Watch::new("neck.service", version, None, Duration::ZERO);
        let starts = Seen {
            state: "activating".into(),
            pid: 0,
            restarts: 0,
            answer: Answer::Silent("refused".into()),
        };
        assert_eq!(watch.look(&starts, Duration::from_secs(100), LENGTH), Verdict::Open);
        assert_eq!(watch.clone().look(&seen(ready()), Duration::from_secs(101), LENGTH), Verdict::Sound);
        // One that never comes, as in a loop of crashes.
        assert!(matches!(watch.look(&starts, Duration::from_secs(120), LENGTH), Verdict::Broken(_)));
    }

    // SPEC 1: A controller that is updated, or put back, is given the time that it waits for its
    // workers, whatever `update.watch` is
    #[test]
    fn a_controller_is_given_the_time_that_it_waits_for_its_workers() {
        // As after a rollback, and where `update.watch` is short.
        let short = Duration::from_secs(10);
        let version = "1.2.3".parse().expect("a version");
        let mut watch = Watch::new("neck.service", version, Some(&ready()), Duration::from_secs(40));
        let mut at = |second, answer| watch.look(&seen(answer), Duration::from_secs(second), short);
        assert_eq!(at(99, not_ready()), Verdict::Open);
        assert_eq!(at(99, ready()), Verdict::Sound);
        assert!(matches!(at(100, not_ready()), Verdict::Broken(_)));
    }

    #[test]
    fn a_worker_that_was_drained_need_not_be_ready() {
        assert_eq!(verdict(&not_ready(), &[(60, seen(not_ready()))]), Verdict::Sound);
        // What was silent before is to be ready: it may be the fault that the update mends.
        let silent = Answer::Silent("refused".into());
        assert!(matches!(verdict(&silent, &[(120, seen(not_ready()))]), Verdict::Broken(_)));
        assert!(matches!(verdict(&not_ready(), &[(120, seen(silent))]), Verdict::Broken(_)));
    }
}
