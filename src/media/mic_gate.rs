//! What of a microphone goes on to the body: Opus, in the sizes and at the rate that sound has. A peer may send anything under its payload
//! type, at any rate, and a body's decoder and network are not ours.

use std::time::Duration;

use crate::core::limits::rate_limit::{Bucket, Rate};
use crate::core::time::Moment;
use crate::media::codec::opus;

/// Packets: 100 a second is 10 ms each, half of what browsers send in one. A network that held packets back for half a second hands
/// them over at once.
const PACKETS: Rate = Rate { burst: 50, every: Duration::from_millis(10) };

/// Why a packet does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no Opus packet.
    NotOpus,
    /// It has more bytes than 20 ms of sound at the highest rate.
    TooLarge,
    /// Too many came before it.
    TooMany,
}

impl Refused {
    /// What an operator is told.
    pub fn words(self) -> &'static str {
        match self {
            Refused::NotOpus => "it sends what is not Opus",
            Refused::TooLarge => "it sends packets of more than 1275 bytes",
            Refused::TooMany => "it sends more than 100 packets/s",
        }
    }
}

/// One microphone's gate.
#[derive(Clone, Copy, Debug, Default)]
pub struct MicGate {
    bucket: Bucket,
}

impl MicGate {
    /// Whether a packet goes on.
    pub fn pass(&mut self, now: Moment, payload: &[u8]) -> Result<(), Refused> {
        if payload.len() > opus::MAX_FRAME {
            return Err(Refused::TooLarge);
        }
        opus::packet(payload).ok_or(Refused::NotOpus)?;
        self.bucket.take(now, PACKETS).map_err(|_| Refused::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms in one frame.
    const SOUND: [u8; 40] = [31 << 3; 40];

    #[test]
    fn sound_goes_on_and_nothing_else() {
        let mut gate = MicGate::default();
        assert_eq!(gate.pass(Moment(0), &SOUND), Ok(()));
        assert_eq!(gate.pass(Moment(0), &[31 << 3; opus::MAX_FRAME]), Ok(()));
        assert_eq!(gate.pass(Moment(0), &[31 << 3; opus::MAX_FRAME + 1]), Err(Refused::TooLarge));
        assert_eq!(gate.pass(Moment(0), &[31 << 3 | 3, 0]), Err(Refused::NotOpus));
        assert_eq!(gate.pass(Moment(0), &[31 << 3 | 3, 7]), Err(Refused::NotOpus), "140 ms");
    }

    #[test]
    fn a_hundred_packets_a_second_pass_and_what_a_network_held_back() {
        let passed = |from: u64, each: u64, gate: &mut MicGate| {
            (0..1_000 / each).filter(|n| gate.pass(Moment(from + n * each), &SOUND).is_ok()).count()
        };
        let mut gate = MicGate::default();
        assert_eq!((0..60).filter(|_| gate.pass(Moment(0), &SOUND).is_ok()).count(), 50, "at once");
        assert_eq!(passed(10_000, 20, &mut gate), 50, "what browsers send");
        assert_eq!(passed(20_000, 10, &mut gate), 100, "packets of 10 ms");
        assert_eq!(passed(30_000, 1, &mut gate), 149, "a flood: the burst, and the rate");
        assert_eq!(passed(31_000, 1, &mut gate), 100, "a flood that goes on");
    }

    #[test]
    fn what_is_refused_for_another_reason_costs_no_turn() {
        let mut gate = MicGate::default();
        (0..1_000).for_each(|_| assert_eq!(gate.pass(Moment(0), &[]), Err(Refused::NotOpus)));
        assert_eq!(gate.pass(Moment(0), &SOUND), Ok(()));
    }
}
