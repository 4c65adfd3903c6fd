//! One create on its way from worker to worker: what each worker's turn says about the worker, and whether another one may try.
//!
//! ```text
//!                                                        next worker?        the worker has failed?
//!  not reached, or no answer of ours before it began      yes                 yes: at the call
//!  busy: full, draining, no port                          yes                 no
//!  failed for the worker's own reason                     yes                 yes
//!  failed, and it may be the body's fault                 one more opinion    once another worker succeeds
//!  its configuration serves no such request               one more opinion    no
//!  failed for the body's or the request's reason          no                  no
//!  the answer is lost                                     never               yes: at the call
//! ```
//! A create that began and failed has left nothing when its answer comes, so a next worker never makes two sessions of one body.
//! An answer that is lost leaves that open, so there is no next one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::failures::FailedAt;
use crate::core::ids::WorkerId;
use crate::core::time::Moment;

/// Opinions on a create that may fail because of its body: two workers that agree are believed.
const OPINIONS: usize = 2;

/// Whose fault a failed create is, as its worker sees it: the value of [`FAULT_FIELD`](super::wire::FAULT_FIELD).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The worker's own: its host, its programs, its configuration.
    Worker,
    /// The worker's or the body's: a body that does not answer, a stream process that dies.
    Unclear,
    /// This worker's configuration does not serve such a request; another one's may. The worker has not failed.
    Elsewhere,
    /// The body's.
    Body,
    /// The request's.
    Request,
    /// Nobody's: no room, or it was ended before it was ready. Unknown words count as this.
    #[serde(other)]
    Nobody,
}

impl Fault {
    const ALL: [(Fault, &'static str); 6] = [
        (Fault::Worker, "worker"),
        (Fault::Unclear, "unclear"),
        (Fault::Elsewhere, "elsewhere"),
        (Fault::Body, "body"),
        (Fault::Request, "request"),
        (Fault::Nobody, "nobody"),
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Fault::ALL.iter().find(|(fault, _)| fault == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Fault {
    type Err = ();

    fn from_str(text: &str) -> Result<Fault, ()> {
        Fault::ALL.iter().find(|(_, name)| *name == text).map(|(fault, _)| *fault).ok_or(())
    }
}

/// How a worker's turn ended without a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// It was not reached, or refuses our calls: nothing was delivered.
    NotReached,
    /// It refused with this status before anything began; with the fault that it named.
    Refused(u16, Option<Fault>),
    /// It began, failed with this status and left nothing; with the fault that it named.
    Failed(u16, Option<Fault>),
    /// The answer is lost.
    Lost,
}

/// What follows from a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Another worker may try.
    pub next: bool,
    /// The worker has failed for a reason of its own.
    pub failed: Option<FailedAt>,
}

/// A worker that another one's success shows to have failed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub worker: WorkerId,
    /// When its turn began.
    pub begun: Moment,
    /// Its words.
    pub reason: String,
}

/// The way of one create.
#[derive(Clone, Debug, Default)]
pub struct Course {
    tried: BTreeSet<WorkerId>,
    suspects: Vec<Suspect>,
    opinions: usize,
}

impl Course {
    /// Workers that had their turn.
    pub fn tried(&self) -> &BTreeSet<WorkerId> {
        &self.tried
    }

    /// Takes in how the turn of `worker`, which began at `begun`, ended, with its words.
    pub fn judge(&mut self, worker: &WorkerId, begun: Moment, end: &TurnEnd, reason: &str) -> Judgement {
        self.tried.insert(worker.clone());
        let judged = |next, failed| Judgement { next, failed };
        match end {
            TurnEnd::NotReached => judged(true, Some(FailedAt::Call)),
            TurnEnd::Lost => judged(false, Some(FailedAt::Call)),
            TurnEnd::Refused(status, fault) => match fault.unwrap_or_else(|| fault_of_refusal(*status)) {
                Fault::Nobody => judged(true, None),
                fault => self.weigh(fault, worker, begun, reason),
            },
            TurnEnd::Failed(status, fault) => {
                let fault = fault.unwrap_or_else(|| fault_of_failure(*status));
                self.weigh(fault, worker, begun, reason)
            }
        }
    }

    fn weigh(&mut self, fault: Fault, worker: &WorkerId, begun: Moment, reason: &str) -> Judgement {
        match fault {
            Fault::Worker => Judgement { next: true, failed: Some(FailedAt::Create) },
            Fault::Unclear => {
                self.opinions += 1;
                let reason = reason.to_owned();
                self.suspects.push(Suspect { worker: worker.clone(), begun, reason });
                Judgement { next: self.opinions < OPINIONS, failed: None }
            }
            Fault::Elsewhere => {
                self.opinions += 1;
                Judgement { next: self.opinions < OPINIONS, failed: None }
            }
            Fault::Body | Fault::Request | Fault::Nobody => Judgement { next: false, failed: None },
        }
    }

    /// A worker succeeded: those that it was unclear about have failed by themselves.
    pub fn succeeded(&mut self) -> Vec<Suspect> {
        std::mem::take(&mut self.suspects)
    }
}

/// Of a refusal before the beginning by a worker that does not say, or by something in its place.
fn fault_of_refusal(status: u16) -> Fault {
    match status {
        503 => Fault::Nobody,
        409 => Fault::Body,
        _ => Fault::Unclear,
    }
}

/// Of a failure after the beginning, by a worker of a version that does not say.
fn fault_of_failure(status: u16) -> Fault {
    match status {
        500 => Fault::Worker,
        502 => Fault::Unclear,
        _ => Fault::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    fn judge(course: &mut Course, worker: &str, end: TurnEnd) -> (bool, Option<FailedAt>) {
        let judged = course.judge(&id(worker), Moment(5), &end, "its words");
        (judged.next, judged.failed)
    }

    #[test]
    fn a_worker_that_fails_by_itself_gives_its_turn_to_the_next_and_has_failed() {
        for (end, failed) in [
            (TurnEnd::NotReached, FailedAt::Call),
            (TurnEnd::Failed(500, None), FailedAt::Create),
            (TurnEnd::Failed(502, Some(Fault::Worker)), FailedAt::Create),
            (TurnEnd::Refused(403, Some(Fault::Worker)), FailedAt::Create),
        ] {
            assert_eq!(judge(&mut Course::default(), "a", end.clone()), (true, Some(failed)), "{end:?}");
        }
    }

    #[test]
    fn a_busy_worker_has_not_failed() {
        for end in [TurnEnd::Refused(503, None), TurnEnd::Refused(503, Some(Fault::Nobody))] {
            assert_eq!(judge(&mut Course::default(), "a", end), (true, None));
        }
    }

    #[test]
    fn the_body_and_the_request_go_to_no_other_worker_and_blame_nobody() {
        for end in [
            TurnEnd::Failed(502, Some(Fault::Body)),
            TurnEnd::Refused(400, Some(Fault::Request)),
            TurnEnd::Refused(409, None),
            TurnEnd::Failed(504, None),
            TurnEnd::Failed(409, Some(Fault::Nobody)),
        ] {
            let mut course = Course::default();
            assert_eq!(judge(&mut course, "a", end.clone()), (false, None), "{end:?}");
            assert!(course.succeeded().is_empty());
        }
    }

    #[test]
    fn a_lost_answer_goes_nowhere() {
        assert_eq!(judge(&mut Course::default(), "a", TurnEnd::Lost), (false, Some(FailedAt::Call)));
    }

    #[test]
    fn what_may_be_the_bodys_fault_gets_one_more_opinion_and_is_blamed_by_a_success_only() {
        let unclear = || TurnEnd::Failed(502, Some(Fault::Unclear));
        let mut agreed = Course::default();
        assert_eq!(judge(&mut agreed, "a", unclear()), (true, None));
        assert_eq!(judge(&mut agreed, "b", unclear()), (false, None), "two workers agree");
        let mut contrast = Course::default();
        assert_eq!(judge(&mut contrast, "a", TurnEnd::Refused(404, None)), (true, None));
        assert_eq!(judge(&mut contrast, "b", TurnEnd::Refused(503, None)), (true, None));
        let blamed: Vec<String> =
            contrast.succeeded().iter().map(|suspect| suspect.worker.to_string()).collect();
        assert_eq!(blamed, ["a"]);
        assert_eq!(contrast.tried().len(), 2);
    }

    #[test]
    fn the_words_of_faults_are_read_as_they_are_written() {
        for (fault, name) in Fault::ALL {
            assert_eq!((fault.to_string().as_str(), name.parse()), (name, Ok(fault)));
        }
        assert_eq!("somebody".parse::<Fault>(), Err(()));
    }
}
