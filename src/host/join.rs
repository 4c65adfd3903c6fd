//! Joining threads under a deadline.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at a thread that is still busy.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits for a thread, at most this long. A thread that is late or panicked is an ALERT; the process ends without it.
pub fn within<T>(thread: JoinHandle<T>, deadline: Duration) -> Option<T> {
    let name = thread.thread().name().unwrap_or("unnamed").to_owned();
    let give_up = Instant::now() + deadline;
    while !thread.is_finished() {
        if Instant::now() >= give_up {
            log::error!("[shutdown] ALERT thread {name} did not end within {} ms", deadline.as_millis());
            return None;
        }
        std::thread::sleep(PAUSE);
    }
    match thread.join() {
        Ok(value) => Some(value),
        Err(_) => {
            log::error!("[shutdown] ALERT thread {name} panicked");
            None
        }
    }
}
