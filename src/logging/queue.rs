//! Lines on their way to stderr. Whoever logs puts a line here and goes on; one thread, `log`, writes. So a reader that does
//! not read holds up nobody: beyond a bound lines are dropped, and counted until they can be told of.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of waiting lines: minutes of a busy worker, seconds of a flood at `trace`.
const MOST_BYTES: usize = 1 << 20;

/// Beyond that, for errors only: of a flood the `ALERT` in it is what counts.
const RESERVE: usize = 64 << 10;

/// A write that takes longer has a reader that does not read. Disks under load take a second.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// The lines, and what became of others.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<String>,
    bytes: usize,
    /// When the write that is under way began.
    writing: Option<Instant>,
    dropped: u64,
    told: u64,
}

impl Queue {
    /// An empty one.
    pub const fn new() -> Queue {
        let lines = VecDeque::new();
        let state = State { lines, bytes: 0, writing: None, dropped: 0, told: 0 };
        Queue { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a line in, or drops it. Never waits for the reader.
    pub fn put(&self, line: String, urgent: bool) {
        let most = if urgent { MOST_BYTES + RESERVE } else { MOST_BYTES };
        let mut state = self.lock();
        if state.bytes + line.len() > most {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Writes for ever. `note` makes the line that tells of so many dropped ones.
    pub fn run(&self, mut write: impl FnMut(&str), note: impl Fn(u64) -> String) {
        loop {
            let line = self.take(&note);
            write(&line);
            self.lock().writing = None;
            self.emptied.notify_all();
        }
    }

    /// The next line. What was dropped is told as soon as the reader has read what was there before.
    fn take(&self, note: &impl Fn(u64) -> String) -> String {
        let mut state = self.lock();
        loop {
            let next = match state.lines.pop_front() {
                Some(line) => {
                    state.bytes -= line.len();
                    Some(line)
                }
                None if state.dropped > state.told => {
                    let untold = state.dropped - state.told;
                    state.told = state.dropped;
                    Some(note(untold))
                }
                None => None,
            };
            if let Some(line) = next {
                state.writing = Some(Instant::now());
                return line;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everything is written, but not longer than this. False: something is left.
    pub fn flush(&self, within: Duration) -> bool {
        let waiting = |state: &mut State| {
            !state.lines.is_empty() || state.writing.is_some() || state.dropped > state.told
        };
        let outcome = self.emptied.wait_timeout_while(self.lock(), within, waiting);
        !outcome.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Whether a write has been under way for so long that nobody can be reading.
    pub fn is_stalled(&self) -> bool {
        self.lock().writing.is_some_and(|since| since.elapsed() > STALLED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    /// A queue whose writer waits for a word before each line, and the lines that were written.
    fn slow() -> (Arc<Queue>, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let queue = Arc::new(Queue::new());
        let ((go, wait), (tell, lines)) = (mpsc::channel(), mpsc::channel());
        let writer = Arc::clone(&queue);
        std::thread::spawn(move || {
            let write = |line: &str| {
                let _ = wait.recv();
                let _ = tell.send(line.to_owned());
            };
            writer.run(write, |count| format!("{count} dropped"));
        });
        (queue, go, lines)
    }

    #[test]
    fn a_reader_that_does_not_read_holds_up_nobody_and_is_told_what_it_missed() {
        let (queue, go, lines) = slow();
        let line = "x".repeat(1000);
        let put = 5000;
        for _ in 0..put {
            queue.put(line.clone(), false);
        }
        queue.put("ALERT".to_owned(), true);
        let dropped = queue.dropped();
        assert!(dropped > 3900 && dropped < 4000, "{dropped}");
        assert!(!queue.flush(Duration::ZERO));
        drop(go);
        let kept = usize::try_from(put - dropped).unwrap();
        let seen: Vec<String> = lines.iter().take(kept + 2).collect();
        assert_eq!(seen[kept..], ["ALERT".to_owned(), format!("{dropped} dropped")]);
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(queue.dropped(), dropped);
    }

    #[test]
    fn what_was_put_is_written_when_a_flush_returns() {
        let (queue, go, lines) = slow();
        drop(go);
        queue.put("a".to_owned(), false);
        queue.put("b".to_owned(), false);
        assert!(queue.flush(Duration::from_secs(60)));
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!queue.is_stalled());
    }
}
