//! What of a member's or a publisher's media goes on to others: packets as large as a network takes them, and sound that is Opus at the rate
//! that sound has. Its rate of pictures is its estimator's and its network's affair; noise in their place costs those who follow it no
//! more.

use std::time::Duration;

use crate::core::limits::rate_limit::{Bucket, Rate};
use crate::core::time::Moment;
use crate::media::codec::opus;
use crate::media::rtp::forwarder::Track;

/// Bytes of payload in one packet of pictures: what an Ethernet frame holds. A longer one would reach nobody in one piece.
const MOST: usize = 1_500;

/// Packets of sound: 500 a second are 2 ms each, and the shortest that Opus has are 2.5 (RFC 6716, 2.1.4). A network that held them back
/// for half a second hands them over at once.
const SOUND: Rate = Rate { burst: 200, every: Duration::from_millis(2) };

/// The gate of one track.
#[derive(Clone, Copy, Debug)]
pub enum MediaGate {
    /// Of sound.
    Sound(Bucket),
    /// Of pictures.
    Pictures,
}

impl MediaGate {
    /// A gate that nothing has passed.
    pub fn of(track: Track) -> MediaGate {
        match track {
            Track::Audio => MediaGate::Sound(Bucket::default()),
            Track::Video => MediaGate::Pictures,
        }
    }

    /// Whether a packet goes on. An empty one keeps a path open, and is nothing to anybody further on.
    pub fn pass(&mut self, now: Moment, payload: &[u8]) -> bool {
        match self {
            MediaGate::Sound(_) if payload.is_empty() => true,
            MediaGate::Sound(bucket) => {
                payload.len() <= MOST && opus::packet(payload).is_some() && bucket.take(now, SOUND).is_ok()
            }
            MediaGate::Pictures => payload.len() <= MOST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_members_sound_only_sound_goes_on() {
        let mut sound = MediaGate::of(Track::Audio);
        let voice = [31 << 3; 40];
        let passed = (0..2_000).filter(|at| sound.pass(Moment(*at), &voice)).count();
        assert!((1_190..=1_210).contains(&passed), "{passed} in two seconds: 200 at once, 500 a second more");
        assert!(!MediaGate::of(Track::Audio).pass(Moment(0), &[0xff; 1_300]), "no Opus");
        assert!(MediaGate::of(Track::Audio).pass(Moment(0), &[]));
    }

    #[test]
    fn of_pictures_what_fits_into_a_packet_goes_on() {
        let mut pictures = MediaGate::of(Track::Video);
        assert!(pictures.pass(Moment(0), &[0; MOST]));
        assert!(!pictures.pass(Moment(0), &[0; MOST + 1]));
    }
}
