//! The client that does nothing wrong: asks both roles one thing after the other and notes how long each takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::TOKEN;
use crate::stage::{Load, Stage};
use crate::wire;

/// Whence it asks.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 66, 9, 9);

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// It asks until it is told to end.
pub struct Honest {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What it saw.
pub struct Seen {
    times: Vec<Duration>,
    pub failed: usize,
    /// The first answer that was not 200.
    pub failure: Option<String>,
}

impl Honest {
    /// Begins to ask both roles.
    pub fn begin(stage: &Stage) -> Honest {
        let requests = requests(stage);
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen { times: Vec::new(), failed: 0, failure: None };
            for (to, text) in requests.iter().cycle() {
                if told.load(Ordering::SeqCst) {
                    break;
                }
                let asked = Instant::now();
                let status = wire::ask(ADDRESS, *to, text);
                seen.note(asked.elapsed(), &status, text);
                std::thread::sleep(PAUSE);
            }
            seen.times.sort();
            seen
        });
        Honest { over, thread }
    }

    /// What it has seen by then.
    pub fn until(self, end: Instant) -> Seen {
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("the honest client")
    }
}

fn requests(stage: &Stage) -> Vec<(SocketAddr, String)> {
    let get = |path: &str, fields: &str| wire::request("GET", path, fields, "");
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let (page, state) =
        (format!("/session/{}/", stage.honest), format!("/session/{}/_neck/status", stage.honest));
    vec![
        (stage.front(), get("/api/v1/health", "")),
        (stage.back(), get("/api/v1/health", "")),
        (stage.front(), get("/api/v1/sessions", &token)),
        (stage.front(), get(&page, "Accept: text/html\r\n")),
        (stage.back(), get("/api/v1/sessions", &token)),
        (stage.front(), get(&state, "")),
    ]
}

impl Seen {
    fn note(&mut self, took: Duration, status: &str, text: &str) {
        self.times.push(took);
        if status != "200" {
            self.failed += 1;
            let line = text.lines().next().unwrap_or_default();
            // The session's id is a credential, in a laboratory too.
            let line: String = line.chars().take(24).collect();
            self.failure.get_or_insert_with(|| format!("{status} to {line}… after {took:?}"));
        }
    }

    fn at(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        self.times.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }

    /// A row of the table.
    pub fn print(&self, name: &str, load: &Load, whole: Option<Duration>, answers: &str) {
        let ms = |share: f64| self.at(share).as_secs_f64() * 1e3;
        let both = |(controller, worker): (u64, u64)| format!("{controller}/{worker}");
        println!(
            "{name:<44} {:>8} {:>7} {:>9.1} {:>9.1} {:>9.1} {:>9} {:>8} {:>8} {:>9}  {answers}",
            self.times.len(),
            self.failed,
            ms(0.5),
            ms(0.99),
            ms(1.0),
            both(load.memory),
            both(load.descriptors),
            both(load.threads),
            whole.map_or(String::new(), |took| format!("{:.1} s", took.as_secs_f64())),
        );
    }
}
