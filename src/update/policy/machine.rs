//! The order of an update, from a checked new program on the disk to a host that runs it, or the old one again.
//!
//! ```text
//!  Keep ─▶ Note ─▶ Swap ─▶ Restart ─▶ Watch ─▶ Clear ─▶ updated
//!                              │         │
//!                              └─ fails ─┴▶ Blame ─▶ PutBack ─▶ RestartOld ─▶ WatchOld ─▶ Clear ─▶ rolled back
//! ```
//!
//! The note of the trial stands on the disk from before the program is swapped until somebody has judged it: what finds it after a
//! power cut goes on from there. It is the old program that looks, by its second name, because the new one may not even start.
//! That name and the program's own are changed by renaming only, so that a whole program is there at each moment.

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give the program that runs a second name, `.backup`.
    Keep,
    /// Write down which version is tried, in place of which.
    Note,
    /// Put the new program in the old one's place.
    Swap,
    /// Restart what runs it; until that says that it is ready, or not.
    Restart,
    /// Watch it for a while.
    Watch,
    /// Write down that this version is bad.
    Blame,
    /// Put the old program back.
    PutBack,
    /// Restart what runs it.
    RestartOld,
    /// See whether it is ready again.
    WatchOld,
    /// Remove the note: it is judged.
    Clear,
}

/// How a step went; `Failed` says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not done, and has changed nothing.
    Failed(String),
}

/// How an update ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The new version runs, and is sound.
    Updated,
    /// Nothing was changed.
    Unchanged(String),
    /// The new version was bad for this reason; the old one runs again.
    RolledBack(String),
    /// The new version was bad for the first reason; the old one is in place again, but does not run, for the second.
    Down(String, String),
    /// The new version was bad for the first reason, and the old one could not be put back, for the second. It is tried again at
    /// the next start and the next look.
    Stuck(String, String),
    /// The note was of no use any more: the power went before anything was swapped, or somebody put another program in place.
    Nothing,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This step.
    Do(Step),
    /// Nothing.
    End(End),
}

/// Which program stands in the place of one that was on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InPlace {
    /// The one that was there before.
    Old,
    /// The one on trial.
    New,
    /// Another: somebody put it there.
    Other,
}

/// An update under way.
#[derive(Clone, Debug)]
pub struct Machine {
    at: Step,
    /// Why the new version is bad.
    why: String,
    /// Why the old one does not run.
    old: Option<String>,
    /// What to end with where the note is cleared without a verdict.
    verdict: Verdict,
}

#[derive(Clone, Debug)]
enum Verdict {
    Open,
    Sound,
    Bad,
    Unchanged(String),
    Nothing,
}

impl Machine {
    /// A new update; its first step.
    pub fn begin() -> (Machine, Next) {
        Machine::at(Step::Keep, Verdict::Open, String::new())
    }

    /// An update of which a note was found, with this program in place; `blamed`: its version is known as bad already.
    pub fn resume(found: InPlace, blamed: bool) -> (Machine, Next) {
        let cut = || "the update was interrupted while it was rolled back".to_owned();
        match (found, blamed) {
            (InPlace::New, true) => Machine::at(Step::PutBack, Verdict::Bad, cut()),
            // What starts programs at boot has started it: it need not be restarted, but be looked at.
            (InPlace::New, false) => Machine::at(Step::Watch, Verdict::Open, String::new()),
            (InPlace::Old, true) => Machine::at(Step::WatchOld, Verdict::Bad, cut()),
            (InPlace::Old, false) | (InPlace::Other, _) => {
                Machine::at(Step::Clear, Verdict::Nothing, String::new())
            }
        }
    }

    fn at(step: Step, verdict: Verdict, why: String) -> (Machine, Next) {
        (Machine { at: step, why, old: None, verdict }, Next::Do(step))
    }

    /// Takes how the last step went.
    pub fn next(&mut self, outcome: Outcome) -> Next {
        let step = match (self.at, outcome) {
            (Step::Keep, Outcome::Done) => Step::Note,
            (Step::Keep, Outcome::Failed(why)) => return Next::End(End::Unchanged(why)),
            (Step::Note, Outcome::Done) => Step::Swap,
            // Whether it is on the disk is not known.
            (Step::Note | Step::Swap, Outcome::Failed(why)) => self.judge(Verdict::Unchanged(why)),
            (Step::Swap, Outcome::Done) => Step::Restart,
            (Step::Restart, Outcome::Done) => Step::Watch,
            (Step::Watch, Outcome::Done) => self.judge(Verdict::Sound),
            (Step::Restart | Step::Watch, Outcome::Failed(why)) => {
                (self.why, self.verdict) = (why, Verdict::Bad);
                Step::Blame
            }
            // A full disk keeps nobody from the old program.
            (Step::Blame, _) => Step::PutBack,
            (Step::PutBack, Outcome::Done) => Step::RestartOld,
            // The note stays.
            (Step::PutBack, Outcome::Failed(why)) => {
                return Next::End(End::Stuck(std::mem::take(&mut self.why), why));
            }
            (Step::RestartOld, Outcome::Done) => Step::WatchOld,
            (Step::RestartOld | Step::WatchOld, Outcome::Failed(why)) => {
                self.old = Some(why);
                Step::Clear
            }
            (Step::WatchOld, Outcome::Done) => Step::Clear,
            // What is left of the note is found to be of no use.
            (Step::Clear, _) => return Next::End(self.end()),
        };
        self.at = step;
        Next::Do(step)
    }

    fn judge(&mut self, verdict: Verdict) -> Step {
        self.verdict = verdict;
        Step::Clear
    }

    fn end(&mut self) -> End {
        match (std::mem::replace(&mut self.verdict, Verdict::Open), self.old.take()) {
            (Verdict::Sound, _) => End::Updated,
            (Verdict::Unchanged(why), _) => End::Unchanged(why),
            (Verdict::Bad, None) => End::RolledBack(std::mem::take(&mut self.why)),
            (Verdict::Bad, Some(old)) => End::Down(std::mem::take(&mut self.why), old),
            (Verdict::Open | Verdict::Nothing, _) => End::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
