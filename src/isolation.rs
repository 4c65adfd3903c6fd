//! What a panic costs: the one thing that was being worked on, or the whole process.
//!
//! ```text
//!  panic within [`isolate`] ── unwinds to it ──▶ Contained: that peer, request or connection is lost, counted and told
//!  panic of a thread without a name ──▶ that thread is lost, counted and told
//!  panic anywhere else ──────▶ the process ends, where [`end_on_stray_panics`] was called (`main` does)
//! ```
//!
//! Isolated is what others can reach with bytes of their choice and what nothing else depends on. An owner thread is not: whoever lives
//! on after its panic would see half of what it owns. A restart is better than that.
//!
//! All our threads have names. One without is a library's own: it owns nothing of ours, and some unwrap where a descriptor or a
//! thread cannot be had, which outsiders can bring about. Whoever uses the library sees what it lost (`api::server` listens anew).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::core::limits::log_limit::LogLimit;
use crate::core::time::Moment;

/// Lines about contained panics: this many at once, then one per interval. Who found one input finds it a thousand times.
const LOG_BURST: u32 = 10;
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Letters of a panic's own words that are shown: some quote what they choked on.
const MAX_WORDS: usize = 512;

/// Since the start of the process. A panic is no role's own: the hook and this count are the process's.
static CONTAINED: AtomicU64 = AtomicU64::new(0);

/// Whether a panic that nobody contains ends the process.
static STRAY_PANICS_END: AtomicBool = AtomicBool::new(false);

/// Limits the lines; with when that began.
static LOG: Mutex<Option<(Instant, LogLimit)>> = Mutex::new(None);

thread_local! {
    /// How many [`isolate`] this thread is within.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic of this thread came from, as the hook was told.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic was contained. What was worked on may be half done: it is to be dropped, not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contained;

/// Does `work`, which a panic does not leave. `what` is lost by one, in the log's words.
///
/// The caller answers for what `work` borrows: it drops it, or it is whole whatever happened.
pub fn isolate<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, Contained> {
    let within = Within::enter();
    let outcome = catch_unwind(AssertUnwindSafe(work));
    drop(within);
    outcome.map_err(|payload| {
        CONTAINED.fetch_add(1, Ordering::Relaxed);
        report(what, &*payload);
        // What somebody panicked with may panic when it is dropped; text does not.
        if !payload.is::<&'static str>() && !payload.is::<String>() {
            std::mem::forget(payload);
        }
        Contained
    })
}

/// Drops what a panic left behind, which may panic again.
pub fn discard<T>(what: &str, remains: T) {
    let _ = isolate(what, move || drop(remains));
}

/// Panics contained since the start of the process.
pub fn contained() -> u64 {
    CONTAINED.load(Ordering::Relaxed)
}

/// From now on a panic that nobody contains ends the process.
pub fn end_on_stray_panics() {
    STRAY_PANICS_END.store(true, Ordering::Relaxed);
}

/// For the panic hook: whether somebody contains this one, and will tell.
pub fn is_contained(place: &dyn Display) -> bool {
    let within = DEPTH.get() > 0;
    if within {
        // A thread that is ending has no memory of its own any more.
        let _ = PLACE.try_with(|last| last.replace(place.to_string()));
    }
    within
}

/// For the panic hook, after a panic that nobody contains was told. The thread of a library, which has no name, ends alone.
pub fn end_if_stray_panics_do() {
    if std::thread::current().name().is_none() {
        CONTAINED.fetch_add(1, Ordering::Relaxed);
    } else if STRAY_PANICS_END.load(Ordering::Relaxed) {
        std::process::abort();
    }
}

/// As long as this lives, the thread is within an [`isolate`].
struct Within;

impl Within {
    fn enter() -> Within {
        DEPTH.set(DEPTH.get() + 1);
        Within
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

fn report(what: &str, payload: &(dyn Any + Send)) {
    let place = PLACE.take();
    let now = Instant::now();
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let (began, limit) = log.get_or_insert_with(|| (now, LogLimit::new(LOG_BURST, LOG_INTERVAL)));
    let allowed = limit.allow(Moment(0) + now.saturating_duration_since(*began));
    drop(log);
    let Some(more) = allowed else { return };
    let words: String = said(payload).chars().take(MAX_WORDS).collect();
    log::error!(
        "[panic] ALERT {what} is lost, nothing else, by a panic at {place:?}: {words}; please report this ({more} such lines were not shown)"
    );
}

/// A panic's own words.
pub fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests;
