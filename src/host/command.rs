//! Other programs: run for a bounded time, with what they say.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::uninterrupted::uninterrupted;
use crate::logging;

/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of what it says that are kept.
const MOST: usize = 64 << 10;

/// Lines of its errors that are shown.
const LAST_LINES: usize = 3;

/// What a program wrote before it ended is in the pipe already.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whether it was content.
    pub good: bool,
    /// What it wrote to its standard output.
    pub said: String,
    /// Why it was not, in words.
    pub why: String,
}

/// Runs it to its end, or for as long as `limit`; then it is killed. An error: it cannot be run.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (out, errors) = match readers(&mut child) {
        Ok(readers) => readers,
        Err(error) => {
            end(&mut child)?;
            return Err(error);
        }
    };
    let status = wait(&mut child, limit)?;
    let (said, errors) = (out.text(), errors.text());
    let mut last: Vec<&str> = errors.trim().lines().rev().take(LAST_LINES).collect();
    last.reverse();
    let last = logging::clean(&last.join("; "));
    let why = match status {
        None => format!("it had not ended after {} s", limit.as_secs()),
        Some(status) if last.is_empty() => format!("{status}"),
        Some(status) => format!("{status}: {last}"),
    };
    Ok(Ended { good: status.is_some_and(|status| status.success()), said, why })
}

/// A command with nothing of our environment but what every program needs.
pub fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    command
}

fn readers(child: &mut Child) -> io::Result<(Reader, Reader)> {
    Ok((Reader::of(child.stdout.take())?, Reader::of(child.stderr.take())?))
}

/// Reads what a program writes, as long as somebody may write.
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn of(pipe: Option<impl Read + Send + 'static>) -> io::Result<Reader> {
        let text = Arc::new(Mutex::new(Vec::new()));
        let ours = text.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            let (Some(mut pipe), mut chunk) = (pipe, [0; 4096]) else { return };
            while let Ok(length @ 1..) = uninterrupted(|| pipe.read(&mut chunk)) {
                let mut text = ours.lock().unwrap_or_else(PoisonError::into_inner);
                // The rest is read, too: who is not read may wait for ever.
                let room = MOST.saturating_sub(text.len()).min(length);
                text.extend(chunk.iter().take(room));
            }
        })?;
        Ok(Reader { text, thread })
    }

    /// What was written until now. A program that it has left behind may hold the pipe: it is not waited for.
    fn text(self) -> String {
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(PAUSE);
        }
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            end(child)?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// It is ours and has not been waited for, so the number is its own.
fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Ended {
        run(Command::new("sh").args(["-c", script]), limit).expect("it runs")
    }

    #[test]
    fn programs_end_in_time_and_their_words_are_kept() {
        let long = Duration::from_secs(60);
        let good = sh("echo yes", long);
        assert!(good.good && good.said == "yes\n", "{good:?}");
        let bad = sh("echo no >&2; exit 3", long);
        assert!(!bad.good && bad.why.contains('3') && bad.why.ends_with(": no"), "{bad:?}");
        let late = sh("exec sleep 1000", Duration::from_millis(50));
        assert!(!late.good && late.why.contains("had not ended"), "{late:?}");
        assert!(sh("head -c 1000000 /dev/zero", long).good);
        let left = sh("sleep 1000 & echo $!", long);
        assert!(left.good && !left.said.is_empty(), "{left:?}");
        let _ = Command::new("kill").arg(left.said.trim()).status();
    }
}
