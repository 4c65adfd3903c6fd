//! Which controller a worker obeys, where several share a lease: the one that shows the highest number.
//!
//! Every leadership has a number of its own, and later ones have higher ones. A leader shows its number with each create, end and copy of a namespace.
//! A worker remembers the highest that it has seen, over restarts, and does nothing for a lower one: a controller that lost
//! the lease and does not know it yet launches nothing where its successor was heard.
//!
//! Where the successor was not heard yet, the second half of a [`LeaseProof`] holds: until when the lease lasts, told by
//! the worker's own clock. The worker says its time with each heartbeat. The controller knows what is left of its lease at the moment
//! it hears that beat, and the beat was begun before. So a create that was held up on the way, or by a controller that stood
//! still, is refused once its lease may have ended, and no two clocks need to agree.

use std::fmt;
use std::str::FromStr;

use crate::core::fleet::wire::Generation;
use crate::core::ids::InvalidId;
use crate::core::time::Moment;

/// What a leading controller shows with a create, an end or a copy of a namespace: the value of
/// [`LEASE_FIELD`](crate::core::fleet::wire::LEASE_FIELD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseProof {
    /// The number of the leadership, from 1.
    pub number: u64,
    /// Until when it lasts at least; `None` to a worker that does not say its time.
    pub until: Option<WorkerTime>,
}

/// Who asks a worker for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An operator, who need not lead.
    Operator,
    /// A controller, with what it shows of a lease.
    Controller(Option<LeaseProof>),
}

/// A point in time by the clock of one run of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerTime {
    /// The run.
    pub generation: Generation,
    /// The time in it.
    pub at: Moment,
}

impl fmt::Display for LeaseProof {
    /// `NUMBER`, or `NUMBER BOOT_MS.NONCE.MS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        match self.until {
            Some(until) => {
                let WorkerTime { generation: Generation { boot_ms, nonce }, at } = until;
                write!(f, " {boot_ms}.{nonce}.{}", at.0)
            }
            None => Ok(()),
        }
    }
}

impl FromStr for LeaseProof {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<LeaseProof, InvalidId> {
        let invalid = InvalidId("a proof of a lease is NUMBER, or NUMBER BOOT_MS.NONCE.MS");
        let (number, until) =
            text.split_once(' ').map_or((text, None), |(number, until)| (number, Some(until)));
        let until = match until {
            None => None,
            Some(until) => {
                let mut parts = until.splitn(3, '.').map(|part| part.parse::<u64>().map_err(|_| invalid));
                let mut next = || parts.next().unwrap_or(Err(invalid));
                let generation = Generation { boot_ms: next()?, nonce: next()? };
                Some(WorkerTime { generation, at: Moment(next()?) })
            }
        };
        Ok(LeaseProof { number: number.parse().map_err(|_| invalid)?, until })
    }
}

/// Why a worker does not do what a controller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// Another controller has led since; its number.
    Lower(u64),
    /// It shows no number, and others have: the highest.
    NoNumber(u64),
    /// The lease may have ended since the controller looked.
    Over,
    /// The time it names is that of an earlier run of this worker.
    EarlierRun,
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fenced::Lower(highest) => {
                write!(
                    f,
                    "the controller that asks does not lead any more: this worker has heard of lease number {highest}"
                )
            }
            Fenced::NoNumber(highest) => write!(
                f,
                "the controller that asks has no lease, and this worker has heard of lease number {highest}: set `lease` on that \
                 controller, or, to go on with one controller and no lease, remove lease.json from this worker's server.state_dir and restart it"
            ),
            Fenced::Over => f.write_str("the controller's lease may have ended on the way here"),
            Fenced::EarlierRun => f.write_str(
                "this worker has restarted, and the controller has not heard from it since; try again",
            ),
        }
    }
}

/// The highest number that a worker has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    highest: u64,
}

impl Fence {
    /// As it was remembered; 0: none was seen.
    pub fn new(highest: u64) -> Fence {
        Fence { highest }
    }

    /// The highest number; 0: none was seen.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Takes note of a number. True: it is higher than all before, and to be remembered before anything is done for it.
    pub fn note(&mut self, number: u64) -> bool {
        let is_higher = number > self.highest;
        self.highest = self.highest.max(number);
        is_higher
    }

    /// Whether a controller with this number (0: without a lease) may give orders at all.
    pub fn obeys(&self, number: u64) -> bool {
        number >= self.highest
    }

    /// Whether what a controller asks for is done, at `now` in this run. A number that is higher than all before must have been
    /// noted.
    pub fn judge(&self, caller: &Caller, (generation, now): (Generation, Moment)) -> Result<(), Fenced> {
        let Caller::Controller(proof) = caller else { return Ok(()) };
        let Some(proof) = proof else {
            return if self.highest == 0 { Ok(()) } else { Err(Fenced::NoNumber(self.highest)) };
        };
        if proof.number < self.highest {
            return Err(Fenced::Lower(self.highest));
        }
        match proof.until {
            // It comes from a controller that has not heard our time.
            None => Err(Fenced::EarlierRun),
            Some(until) if until.generation != generation => Err(Fenced::EarlierRun),
            Some(until) if now.reached(until.at) => Err(Fenced::Over),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Generation = Generation { boot_ms: 7, nonce: 8 };

    fn proof(number: u64, until: u64) -> LeaseProof {
        LeaseProof { number, until: Some(WorkerTime { generation: RUN, at: Moment(until) }) }
    }

    fn judge(fence: &Fence, proof: LeaseProof, now: u64) -> Result<(), Fenced> {
        fence.judge(&Caller::Controller(Some(proof)), (RUN, Moment(now)))
    }

    #[test]
    fn a_proof_of_a_lease_survives_the_wire() {
        for proof in [proof(5, 1234), LeaseProof { number: u64::MAX, until: None }] {
            assert_eq!(proof.to_string().parse::<LeaseProof>(), Ok(proof));
        }
        assert_eq!(proof(5, 1234).to_string(), "5 7.8.1234");
        for bad in ["", "x", "-1", "5 ", "5 7", "5 7.8", "5 7.8.x", "5 7.8.9.1", "5  7.8.9", " 5"] {
            assert!(bad.parse::<LeaseProof>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_lower_number_than_the_highest_does_nothing() {
        let mut fence = Fence::default();
        assert!(fence.note(5) && !fence.note(5) && !fence.note(4));
        assert_eq!(fence.highest(), 5);
        assert_eq!(judge(&fence, proof(5, 100), 99), Ok(()));
        assert_eq!(judge(&fence, proof(4, 100), 99), Err(Fenced::Lower(5)));
        assert!(fence.note(6));
        assert_eq!(judge(&fence, proof(5, 100), 99), Err(Fenced::Lower(6)));
        assert!(fence.obeys(6) && fence.obeys(7) && !fence.obeys(5) && !fence.obeys(0));
        assert_eq!(Fence::new(6), fence, "as it is remembered");
    }

    #[test]
    fn no_number_is_taken_until_one_was_seen() {
        let mut fence = Fence::default();
        let judge = |fence: &Fence, caller| fence.judge(&caller, (RUN, Moment(0)));
        assert_eq!(judge(&fence, Caller::Controller(None)), Ok(()));
        assert!(fence.obeys(0));
        fence.note(3);
        assert_eq!(judge(&fence, Caller::Controller(None)), Err(Fenced::NoNumber(3)));
        assert_eq!(judge(&fence, Caller::Operator), Ok(()), "who asks by hand knows what he does");
    }

    #[test]
    fn what_comes_after_the_end_of_its_lease_does_nothing() {
        let fence = Fence::new(5);
        assert_eq!(judge(&fence, proof(5, 100), 100), Err(Fenced::Over));
        assert_eq!(judge(&fence, proof(9, 100), 101), Err(Fenced::Over));
    }

    #[test]
    fn a_time_of_an_earlier_run_counts_for_nothing() {
        let fence = Fence::new(5);
        let later = Generation { boot_ms: 9, nonce: 8 };
        let caller = Caller::Controller(Some(proof(5, 100)));
        let earlier = fence.judge(&caller, (later, Moment(1)));
        assert_eq!(earlier, Err(Fenced::EarlierRun));
        let timeless = LeaseProof { number: 5, until: None };
        assert_eq!(judge(&fence, timeless, 1), Err(Fenced::EarlierRun));
    }
}
