//! Pages of streams in a real browser on a machine of its own, which somebody looks at all the time.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::lab::{self, eventually};
use crate::machines::Machine;

/// One look at one page, as `tests/browser/support/pages.mjs` prints it.
#[derive(Deserialize)]
struct Look {
    page: usize,
    time: Option<f64>,
    loads: u32,
    words: Vec<String>,
}

/// How a page was since it was last asked about.
#[derive(Clone, Debug)]
pub struct PageState {
    since: Instant,
    moved: Instant,
    last: f64,
    /// Seconds of the video that were shown.
    pub played: f64,
    /// The longest that the picture stood still.
    pub longest_still: Duration,
    /// Loads of the page since it was opened.
    pub loads: u32,
    /// What it said of its connection.
    pub words: BTreeSet<String>,
}

impl PageState {
    fn new() -> PageState {
        let now = Instant::now();
        PageState {
            since: now,
            moved: now,
            last: -1.0,
            played: 0.0,
            longest_still: Duration::ZERO,
            loads: 0,
            words: BTreeSet::new(),
        }
    }

    fn take_in(&mut self, look: Look) {
        let now = Instant::now();
        self.longest_still = self.longest_still.max(now - self.moved);
        // While the page is being replaced there is no time: it stands still.
        if let Some(time) = look.time.filter(|time| *time != self.last) {
            if self.last >= 0.0 && time > self.last {
                self.played += time - self.last;
            }
            (self.last, self.moved) = (time, now);
        }
        self.loads = look.loads;
        self.words.extend(look.words);
    }

    /// The part of the time in which the video went on; 1 is all of it.
    pub fn share(&self) -> f64 {
        self.played / self.since.elapsed().as_secs_f64()
    }
}

/// The browser. Dropping it closes it.
pub struct Pages {
    child: Child,
    stdin: Option<ChildStdin>,
    states: Arc<Mutex<Vec<PageState>>>,
}

impl Pages {
    /// Opens these URLs, and waits until each plays.
    pub fn open(machine: &Machine, home: &Path, urls: &[String]) -> Pages {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/support/pages.mjs");
        let mut child = lab::command(&machine.starter(), "node")
            .arg(script)
            .args(urls)
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let states = Arc::new(Mutex::new(urls.iter().map(|_| PageState::new()).collect::<Vec<_>>()));
        let (heard, stdin) = (states.clone(), child.stdin.take());
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        std::thread::spawn(move || {
            for look in lines.map_while(Result::ok) {
                let look: Look =
                    serde_json::from_str(&look).unwrap_or_else(|error| panic!("{error}: {look}"));
                lock(&heard)[look.page].take_in(look);
            }
        });
        let pages = Pages { child, stdin, states };
        eventually("every page plays", || {
            lock(&pages.states).iter().all(|state| state.played > 1.0).then_some(())
        });
        pages.since_last();
        pages
    }

    /// How each page was since the last time.
    pub fn since_last(&self) -> Vec<PageState> {
        let mut states = lock(&self.states);
        let seen = states.clone();
        for state in states.iter_mut() {
            *state =
                PageState { last: state.last, moved: state.moved, loads: state.loads, ..PageState::new() };
        }
        seen
    }

    /// A screenshot of each page below `target/screenshots`.
    pub fn picture(&mut self, name: &str) {
        if let Some(stdin) = &mut self.stdin {
            writeln!(stdin, "{name}").expect("the browser listens");
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

fn lock(states: &Mutex<Vec<PageState>>) -> MutexGuard<'_, Vec<PageState>> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
