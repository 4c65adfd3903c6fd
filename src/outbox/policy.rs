//! When the outbox tries to deliver, and what an answer means. The outbox itself is `crate::outbox`.
//!
//! ```text
//!  waiting ── due ──▶ tried ── delivered ──▶ gone
//!     ▲                 ├── retry: back-off, doubled each time, with jitter; or as long as Retry-After says
//!     └─────────────────┘
//!                       └── refused, or out of patience ──▶ dead letter
//! ```
//!
//! A receiver that fails is left alone as a whole (one that is down must not be asked once per waiting item), and each item
//! that failed goes to the back of the queue, so that one it cannot digest holds up nobody.

use std::time::Duration;

/// Longest `Retry-After` that is honoured: a receiver cannot park items beyond their patience by mistake.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long to wait between tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// Later, and not before this pause when the receiver asked for one.
    Retry(Option<Duration>),
    /// Never: the receiver does not want it.
    Refused,
}

/// What an answer with this status means (RFC 9110, 15).
///
/// * 2xx: delivered. 409: it has this key already, or is just working on it from an attempt that broke off.
/// * 408, 425, 429, 5xx: its trouble or ours, not the item's.
/// * 401, 403, 407 and redirects: our configuration, which an operator can mend within the patience.
/// * Any other 4xx: it will never take this item.
pub fn judge(status: u16, retry_after: Option<&str>) -> Outcome {
    let pause = || {
        let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok())?;
        Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
    };
    match status {
        200..=299 | 409 => Outcome::Delivered,
        401 | 403 | 407 | 408 | 425 | 429 => Outcome::Retry(pause()),
        400..=499 => Outcome::Refused,
        _ => Outcome::Retry(pause()),
    }
}

impl Backoff {
    /// The pause after so many failures in a row (at least one): half of it fixed, half random.
    pub fn pause(&self, failures: u32, random: u64) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        let half = whole / 2;
        let span = u64::try_from((whole - half).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_millis(random % span)
    }
}

/// Tries of one thing: an item, or a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    failures: u32,
    /// Not before, in milliseconds.
    not_before: u64,
}

impl Tries {
    /// Not to be tried before `at_ms`.
    pub fn from(at_ms: u64) -> Tries {
        Tries { failures: 0, not_before: at_ms }
    }

    /// When it may be tried.
    pub fn next_ms(&self) -> u64 {
        self.not_before
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It failed at `now_ms`.
    pub fn failed(&mut self, now_ms: u64, asked: Option<Duration>, backoff: Backoff, random: u64) {
        self.failures = self.failures.saturating_add(1);
        let pause = backoff.pause(self.failures, random).max(asked.unwrap_or_default());
        self.not_before = now_ms.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    }

    /// It worked.
    pub fn worked(&mut self) {
        *self = Tries::default();
    }
}

/// Whether an item that was due at `due_ms` has waited for longer than the patience.
pub fn is_out_of_patience(due_ms: u64, now_ms: u64, patience: Duration) -> bool {
    u128::from(now_ms.saturating_sub(due_ms)) >= patience.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(600) };

    #[test]
    fn answers_mean_delivered_later_or_never() {
        for status in [200, 201, 204, 409] {
            assert_eq!(judge(status, Some("9")), Outcome::Delivered, "{status}");
        }
        for status in [301, 401, 403, 408, 425, 429, 500, 502, 503, 599] {
            assert_eq!(judge(status, None), Outcome::Retry(None), "{status}");
        }
        for status in [400, 404, 410, 413, 415, 422] {
            assert_eq!(judge(status, None), Outcome::Refused, "{status}");
        }
    }

    #[test]
    fn retry_after_is_honoured_within_bounds() {
        let pause = |text| judge(503, Some(text));
        assert_eq!(pause(" 7 "), Outcome::Retry(Some(Duration::from_secs(7))));
        assert_eq!(pause("99999999"), Outcome::Retry(Some(LONGEST_RETRY_AFTER)));
        assert_eq!(pause("Wed, 21 Oct 2026 07:28:00 GMT"), Outcome::Retry(None), "dates are not read");
        let mut tries = Tries::default();
        tries.failed(1_000, Some(Duration::from_secs(30)), BACKOFF, 0);
        assert_eq!(tries.next_ms(), 31_000);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let millis = |failures, random| BACKOFF.pause(failures, random).as_millis();
        assert_eq!([millis(1, 0), millis(2, 0), millis(3, 0)], [500, 1_000, 2_000]);
        assert_eq!(millis(1, 500), 1_000);
        for failures in [11, 40, u32::MAX] {
            assert_eq!(millis(failures, 0), 300_000);
            assert!((300_000..=600_000).contains(&millis(failures, u64::MAX)));
        }
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let mut tries = Tries::from(5);
        assert_eq!(tries.next_ms(), 5);
        tries.failed(10, None, BACKOFF, 0);
        tries.failed(10, None, BACKOFF, 0);
        assert_eq!((tries.failures(), tries.next_ms()), (2, 1_010));
        tries.worked();
        assert_eq!((tries.failures(), tries.next_ms()), (0, 0));
    }

    #[test]
    fn patience_counts_from_when_an_item_was_due() {
        let day = Duration::from_secs(86_400);
        assert!(!is_out_of_patience(1_000, 0, day), "not due yet");
        assert!(!is_out_of_patience(1_000, 86_400_999, day));
        assert!(is_out_of_patience(1_000, 86_401_000, day));
    }
}
