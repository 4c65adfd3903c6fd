//! Looks at every worker all the time: no body ever has two sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;
use crate::lab::TOKEN;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// Of sessions whose create has worked, whether or not its answer arrived.
const BEGUN: [&str; 3] = ["ready", "streaming", "idle"];

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// How often every worker was asked.
    pub looks: usize,
    /// The most sessions at once.
    pub most: usize,
    /// Every session that was seen ready or later.
    pub sessions: BTreeSet<String>,
    /// Bodies with two sessions at a time.
    pub doubled: Vec<Doubled>,
}

/// A body with two sessions.
#[derive(Debug)]
pub struct Doubled {
    /// When it was seen.
    pub at: Instant,
    /// The workers of the sessions, by their place.
    pub workers: Vec<usize>,
    /// What was seen, in words.
    pub words: String,
}

/// A watch that goes on until it is asked what it saw.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    /// Begins, with the workers' URLs.
    pub fn begin(workers: Vec<String>) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let thread = std::thread::spawn(move || keep_looking(&workers, &is_over));
        Watch { over, thread }
    }

    /// What was seen.
    pub fn end(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("the watch")
    }
}

/// A session that is not over, and where it is.
#[derive(Clone, Debug)]
struct Live {
    worker: usize,
    id: String,
    status: String,
}

fn keep_looking(workers: &[String], over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Ordering::SeqCst) {
        look(workers, &mut seen);
        std::thread::sleep(EVERY);
    }
    seen
}

fn look(workers: &[String], seen: &mut Seen) {
    let mut by_body: BTreeMap<String, Vec<Live>> = BTreeMap::new();
    for (worker, url) in workers.iter().enumerate() {
        for (body, live) in live_of(worker, url) {
            by_body.entry(body).or_default().push(live);
        }
    }
    seen.looks += 1;
    seen.most = seen.most.max(by_body.values().map(Vec::len).sum());
    let begun = by_body.values().flatten().filter(|live| BEGUN.contains(&live.status.as_str()));
    seen.sessions.extend(begun.map(|live| live.id.clone()));
    for (body, sessions) in by_body.iter().filter(|(_, sessions)| sessions.len() > 1) {
        // The workers were asked one after the other: what was there before and is there still was there meanwhile.
        let still: Vec<&Live> = sessions.iter().filter(|one| is_still(workers, body, one)).collect();
        if still.len() > 1 {
            let workers = still.iter().map(|live| live.worker).collect();
            seen.doubled.push(Doubled { at: Instant::now(), workers, words: format!("{body}: {still:?}") });
        }
    }
}

/// Every session of a worker that is not over, by its body. A worker that does not answer is dead: its processes died with it.
fn live_of(worker: usize, url: &str) -> Vec<(String, Live)> {
    let Ok(reply) = http::get(url, "/api/v1/sessions", Some(TOKEN)) else { return Vec::new() };
    let Ok(document) = serde_json::from_str::<Value>(&reply.body) else { return Vec::new() };
    let text = |session: &Value, name: &str| session[name].as_str().unwrap_or_default().to_owned();
    let sessions = document["sessions"].as_array().cloned().unwrap_or_default();
    let live = sessions.iter().filter(|session| session["status"] != "ended");
    live.map(|session| {
        (text(session, "body_ip"), Live { worker, id: text(session, "id"), status: text(session, "status") })
    })
    .collect()
}

fn is_still(workers: &[String], body: &str, one: &Live) -> bool {
    live_of(one.worker, &workers[one.worker]).iter().any(|(on, live)| on == body && live.id == one.id)
}
