//! What str0m says of an offer or an answer, for the log only: its errors show the insides of its parser, heap addresses among them.

use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::core::limits::log_limit::LogLimit;
use crate::core::time::Moment;

/// Whoever has a session's link can send offers: a few lines at once, then one each ten seconds.
const BURST: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(10);

/// Longest part of an error that is logged, in characters: it may repeat the offer.
const LONGEST: usize = 200;

/// The limit, and the zero of its moments. One for all threads that answer offers.
static LINES: LazyLock<(Instant, Mutex<LogLimit>)> =
    LazyLock::new(|| (Instant::now(), Mutex::new(LogLimit::new(BURST, INTERVAL))));

/// The offer is no session description (RFC 8866) to str0m: what the client is told.
pub fn unreadable(error: &dyn fmt::Display) -> String {
    malformed("offer", error)
}

/// The same of an answer.
pub fn unreadable_answer(error: &dyn fmt::Display) -> String {
    malformed("answer", error)
}

/// The offer can be read and not be answered: what the client is told.
pub fn unanswerable(error: &dyn fmt::Display) -> String {
    unfit("offer cannot be answered", error)
}

/// The answer can be read and does not answer our offer: what the client is told.
pub fn unusable_answer(error: &dyn fmt::Display) -> String {
    unfit("answer cannot be used", error)
}

fn malformed(what: &str, error: &dyn fmt::Display) -> String {
    note(&format!("{what} cannot be read"), error);
    format!("the {what} cannot be read: a line of it is malformed (RFC 8866, RFC 8829)")
}

fn unfit(what: &str, error: &dyn fmt::Display) -> String {
    note(what, error);
    format!("the {what}: its media sections, directions or transport attributes do not fit together")
}

fn note(what: &str, error: &dyn fmt::Display) {
    let (epoch, limit) = &*LINES;
    let now = Moment(u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX));
    if let Some(more) = limit.lock().unwrap_or_else(PoisonError::into_inner).allow(now) {
        let shown: String = error.to_string().chars().take(LONGEST).collect();
        log::info!("[api] an {what}: {shown} ({more} such lines were not shown)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hears_nothing_of_the_parsers_insides() {
        let error = &"PointerOffset(0x7f00dead)";
        for (words, what) in [
            (unreadable(error), "offer"),
            (unanswerable(error), "offer"),
            (unreadable_answer(error), "answer"),
            (unusable_answer(error), "answer"),
        ] {
            assert!(words.starts_with(&format!("the {what} cannot be ")) && !words.contains("0x"), "{words}");
        }
    }
}
