//! The stand-in `streamer`: one per stream, started by `web-server`, plays the clip without end.
//!
//! Standard output carries the media: each piece is a big-endian `u32` length and that many bytes. Standard input
//! carries what became of the page, one word a line, and its end means that `web-server` is gone:
//!
//! ```text
//!            ┌─ "playing" ─► playing ─ "closed" ─► 52 s: stops sending ─► 62 s: exits
//! streaming ─┤
//!            └─ "closed" before "playing" ───────► streams on (the real one leaks here)
//! standard input ends (server killed) ───────────► orphaned: streams on until ORPHAN_LIMIT
//! ```

use std::io::{self, BufRead, Write};
use std::process::{Command, ExitCode};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::clip::Clip;
use super::faults::Faults;

/// From the page's close to the end of sending, as measured on the real one.
const STOPS_AFTER: Duration = Duration::from_secs(52);

/// From the page's close to the exit, as measured on the real one.
const GONE_AFTER: Duration = Duration::from_secs(62);

/// The real one lives on for as long as its peer does. Ours ends, so that a broken test leaves no process for ever.
const ORPHAN_LIMIT: Duration = Duration::from_secs(600);

/// How far sending may be behind (a page that takes nothing) before pieces are skipped.
const MAX_LAG: Duration = Duration::from_secs(2);

/// A setting that only the fork reads. Names of settings stand in the real program, which is told by them from upstream's.
const ONLY_IN_FORK: &str = "ice_disconnected_timeout_seconds";

/// What `web-server` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Playing,
    Closed,
    ServerGone,
}

/// Runs the program.
pub fn main() -> ExitCode {
    std::hint::black_box(ONLY_IN_FORK);
    let faults = match Faults::of_this_program() {
        Ok(faults) => faults,
        Err(error) => {
            eprintln!("streamer: {error}");
            return ExitCode::FAILURE;
        }
    };
    if faults.escape_group {
        // Fails only for a group leader, which a child of web-server is not.
        let _ = rustix::process::setsid();
    }
    if faults.leave_stray {
        let script = "cd /; setsid /bin/sleep 600 </dev/null >/dev/null 2>&1 &";
        if let Err(error) = Command::new("/bin/sh").args(["-c", script]).status() {
            eprintln!("streamer: no stray: {error}");
        }
    }
    let Some(clip) = Clip::built_in() else {
        eprintln!("streamer: the built-in clip is not readable");
        return ExitCode::FAILURE;
    };
    let (tell, told) = mpsc::channel();
    let listener = thread::Builder::new().name("stdin".into()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let word = match line.as_str() {
                "playing" => Told::Playing,
                "closed" => Told::Closed,
                _ => continue,
            };
            if tell.send(word).is_err() {
                return;
            }
        }
        // The receiver may be gone already: then the program is ending anyway.
        let _ = tell.send(Told::ServerGone);
    });
    if let Err(error) = listener {
        eprintln!("streamer: cannot start a thread: {error}");
        return ExitCode::FAILURE;
    }
    play(&clip, &told);
    ExitCode::SUCCESS
}

/// Where the stream is in its life.
struct Life {
    playing: bool,
    stops: Option<Instant>,
    exits: Option<Instant>,
    deaf: bool,
}

impl Life {
    fn hear(&mut self, told: Told, now: Instant) {
        match told {
            Told::Playing => self.playing = true,
            Told::Closed if self.playing => {
                self.stops = Some(now + STOPS_AFTER);
                self.exits = Some(now + GONE_AFTER);
            }
            Told::Closed => {}
            Told::ServerGone => {
                self.deaf = true;
                self.exits.get_or_insert(now + ORPHAN_LIMIT);
            }
        }
    }

    fn reached(deadline: Option<Instant>, now: Instant) -> bool {
        deadline.is_some_and(|deadline| now >= deadline)
    }
}

fn play(clip: &Clip, told: &Receiver<Told>) {
    let mut life = Life { playing: false, stops: None, exits: None, deaf: false };
    let mut out = io::stdout().lock();
    let mut start = Instant::now();
    // A failed write means that nobody takes the media any more; the real one goes on as well.
    let mut taken = send(&mut out, clip.head()).is_ok();
    for piece in clip.pieces() {
        if !wait_until(start + piece.due, &mut life, told) {
            return;
        }
        let now = Instant::now();
        let lag = now.duration_since(start + piece.due);
        if lag > MAX_LAG {
            start += lag;
        }
        if taken && !Life::reached(life.stops, now) {
            taken = send(&mut out, &piece.bytes).is_ok();
        }
    }
}

/// Waits and listens. False: the life is over.
fn wait_until(due: Instant, life: &mut Life, told: &Receiver<Told>) -> bool {
    loop {
        let now = Instant::now();
        if Life::reached(life.exits, now) {
            return false;
        }
        let left = due.saturating_duration_since(now);
        if left.is_zero() {
            return true;
        }
        if life.deaf {
            thread::sleep(left);
            continue;
        }
        match told.recv_timeout(left) {
            Ok(word) => life.hear(word, Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => life.deaf = true,
        }
    }
}

fn send(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(bytes)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life() -> Life {
        Life { playing: false, stops: None, exits: None, deaf: false }
    }

    #[test]
    fn a_page_that_closed_while_playing_ends_its_streamer_after_62_seconds() {
        let (mut life, now) = (life(), Instant::now());
        life.hear(Told::Playing, now);
        life.hear(Told::Closed, now);
        assert!(!Life::reached(life.exits, now + Duration::from_secs(61)));
        assert!(Life::reached(life.stops, now + Duration::from_secs(52)));
        assert!(Life::reached(life.exits, now + Duration::from_secs(62)));
    }

    #[test]
    fn a_page_that_closed_before_it_played_leaks_its_streamer() {
        let (mut life, now) = (life(), Instant::now());
        life.hear(Told::Closed, now);
        assert!(!Life::reached(life.exits, now + Duration::from_secs(150)));
    }

    #[test]
    fn an_orphan_streams_on() {
        let (mut life, now) = (life(), Instant::now());
        life.hear(Told::Playing, now);
        life.hear(Told::ServerGone, now);
        assert!(!Life::reached(life.stops, now + Duration::from_secs(300)));
        assert!(!Life::reached(life.exits, now + Duration::from_secs(300)));
    }
}
