//! When a publisher may take the place of the one that has it: an encoder that crashed or lost its network comes back long before
//! ICE gives its last connection up.
//!
//! ```text
//!   held ─── silent, or not connected since its offer, for 3 s, and the same token ──▶ taken over
//!     └───── anything else: asked again after what is left of that, or of the holder's own life
//! ```

use std::time::Duration;

/// How long a publisher has to be silent. Encoders send a packet each 400 ms at least, and browsers check their connection every
/// 2.5 s.
pub const SILENT: Duration = Duration::from_secs(3);

/// A publisher that has the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Since its last packet; since its offer when it has not connected.
    pub quiet: Duration,
    /// So long a silence ends it by itself.
    pub lasts: Duration,
}

impl Held {
    /// How long another one has to wait for its place; `None`: it takes it now.
    pub fn wait(self, has_same_token: bool) -> Option<Duration> {
        let until = if has_same_token { SILENT.min(self.lasts) } else { self.lasts };
        match until.saturating_sub(self.quiet) {
            Duration::ZERO if has_same_token => None,
            // It is about to end by itself.
            left => Some(left.max(Duration::from_secs(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_token_takes_over_after_three_silent_seconds_and_another_waits_for_the_end() {
        let held = |ms| Held { quiet: Duration::from_millis(ms), lasts: Duration::from_secs(35) };
        let wait = |ms, same| held(ms).wait(same).map(|wait| wait.as_millis());
        assert_eq!(wait(0, true), Some(3_000));
        assert_eq!(wait(1_000, true), Some(2_000), "it may be a slow network");
        assert_eq!(wait(2_999, true), Some(1_000), "no client asks again within a millisecond");
        assert_eq!((wait(3_000, true), wait(99_000, true)), (None, None));
        assert_eq!((wait(0, false), wait(5_000, false)), (Some(35_000), Some(30_000)));
        assert_eq!(wait(99_000, false), Some(1_000), "it is about to end");
    }
}
