//! How long each phase of a create took, for its answer and the log.

use std::time::Duration;

use crate::api::types::Timings;
use crate::core::session::Status;
use crate::core::time::Moment;
use crate::worker::mailbox::StepTimes;

/// From the request to the first readiness, or to the failure.
#[derive(Debug)]
pub struct Laps {
    asked: Moment,
    since: Moment,
    over: bool,
    timings: Timings,
}

impl Laps {
    /// Begins with the request.
    pub fn new(asked: Moment) -> Laps {
        Laps { asked, since: asked, over: false, timings: Timings::default() }
    }

    /// A phase is over; what comes after the create does not count.
    pub fn pass(&mut self, before: Status, now_at: Status, now: Moment) {
        if self.over {
            return;
        }
        let lap = millis(now.since(self.since));
        match before {
            Status::Preparing => self.timings.prepare_ms = Some(lap),
            Status::Starting => self.timings.start_ms = Some(lap),
            Status::Pairing if self.timings.pair_ms.is_none() => self.timings.pair_ms = Some(lap),
            _ => {}
        }
        self.since = now;
        self.timings.total_ms = millis(now.since(self.asked));
        let creating =
            matches!(now_at, Status::Requested | Status::Preparing | Status::Starting | Status::Pairing);
        self.over = !creating;
    }

    /// The parts of the last phase.
    pub fn settled(&mut self, times: StepTimes) {
        if !self.over {
            self.timings.queue_ms = Some(millis(times.queue));
            self.timings.pair_ms = Some(millis(times.pair));
            self.timings.apps_ms = Some(millis(times.apps));
        }
    }

    /// As they are.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::session::reason::EndReason;

    #[test]
    fn each_phase_has_its_time_and_a_restart_changes_none() {
        let mut laps = Laps::new(Moment(100));
        laps.pass(Status::Requested, Status::Preparing, Moment(101));
        laps.pass(Status::Preparing, Status::Starting, Moment(111));
        laps.pass(Status::Starting, Status::Pairing, Moment(131));
        let part = Duration::from_millis;
        laps.settled(StepTimes { queue: part(5), pair: part(300), apps: part(20) });
        laps.pass(Status::Pairing, Status::Ready, Moment(460));
        laps.pass(Status::Ready, Status::Starting, Moment(9_000));
        laps.pass(Status::Starting, Status::Ready, Moment(9_900));
        let expected = Timings {
            prepare_ms: Some(10),
            start_ms: Some(20),
            queue_ms: Some(5),
            pair_ms: Some(300),
            apps_ms: Some(20),
            total_ms: 360,
        };
        assert_eq!(laps.timings(), expected);
    }

    #[test]
    fn a_create_that_fails_tells_where_its_time_went() {
        let mut laps = Laps::new(Moment(0));
        laps.pass(Status::Requested, Status::Preparing, Moment(1));
        laps.pass(Status::Preparing, Status::Starting, Moment(2));
        laps.pass(Status::Starting, Status::Pairing, Moment(30));
        laps.pass(Status::Pairing, Status::Ending(EndReason::CreateFailed), Moment(8_030));
        assert_eq!((laps.timings().pair_ms, laps.timings().total_ms), (Some(8_000), 8_030));
    }
}
