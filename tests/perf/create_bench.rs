//! Creates on a busy host: `tests/perf/create`.
//!
//! A worker and its stand-in stream processes get a quota of processor time; bodies, which are other machines, are outside of it.
//! Each pairing costs as much as the real one's RSA key. Nothing may fail; what is printed are times.
#![allow(dead_code)]

#[path = "../bodies/farm.rs"]
mod farm;
mod figures;
#[path = "../behaviour/http.rs"]
mod http;
#[path = "../behaviour/lab.rs"]
mod lab;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use farm::Farm;
use figures::Figure;
use lab::{NOBODY, Role};
use serde_json::json;
use stand_ins::sunshine::{Body, BodyFaults};

/// What making a key costs, in milliseconds of a processor, as measured on the real process.
const KEY_MS: (u64, u64) = (110, 770);
/// The quotas, in cores.
const QUOTAS: [f64; 3] = [2.0, 1.0, 0.3];
/// Creates at once.
const AT_ONCE: [u8; 3] = [1, 10, 30];
/// Single creates on a host that does nothing else.
const QUIET: usize = 10;
/// A create may take this long here: thirty keys on 0.3 of a core are 44 seconds of it alone.
const CREATE_TIMEOUT: &str = "5m";
/// The default, for comparison.
const DEFAULT_TIMEOUT_MS: f64 = 45_000.0;
/// Between two looks at the sessions; each costs the worker a request.
const LOOK: Duration = Duration::from_millis(200);
/// Longer than any create may take.
const PATIENCE: Duration = Duration::from_secs(330);

fn main() {
    // `cargo test --all-targets` must not start this.
    if !std::env::args().any(|word| word == "--bench") {
        return println!("run tests/perf/create");
    }
    println!(
        "{:<12} {:>8} {:>12} {:>28} {:>12} {:>8}",
        "cores", "at once", "a minute", "ms to 201", "in 45 s", "failed"
    );
    let mut failed = quiet();
    for cores in QUOTAS {
        for at_once in AT_ONCE {
            failed += row(cores, at_once);
        }
    }
    if failed > 0 {
        println!("BROKEN: {failed} creates failed");
        std::process::exit(1);
    }
}

/// Single creates without a quota.
fn quiet() -> usize {
    let mut farm = Farm::new();
    let worker = start(&mut farm, None);
    let body = farm.body(2, BodyFaults::default());
    let mut seen = Seen::default();
    for _ in 0..QUIET {
        seen.take(creates(&worker, std::slice::from_ref(&body)));
    }
    seen.print("all", 1)
}

fn row(cores: f64, at_once: u8) -> usize {
    let quota = Quota::new(cores);
    let mut farm = Farm::new();
    let worker = start(&mut farm, Some((&quota, cores)));
    let bodies: Vec<Body> = (2..2 + at_once).map(|number| farm.body(number, BodyFaults::default())).collect();
    let mut seen = Seen::default();
    seen.take(creates(&worker, &bodies));
    drop(worker);
    let name = format!("{cores}{}", if quota.is_some() { "" } else { " (cost)" });
    seen.print(&name, usize::from(at_once))
}

fn start(farm: &mut Farm, quota: Option<(&Option<Quota>, f64)>) -> Role {
    let mut faults = json!({"key_cpu_ms": KEY_MS});
    match quota {
        Some((Some(quota), _)) => farm.lab.starter = quota.starter(),
        Some((None, cores)) => {
            let mean = (KEY_MS.0 + KEY_MS.1) as f64 / 2.0;
            faults = json!({"key_ms": (mean / cores) as u64});
        }
        None => {}
    }
    farm.lab.faults(faults);
    let worker = farm.lab.worker("one", NOBODY, |config| {
        farm.configure(config);
        config["sessions"]["max"] = json!(40);
        config["sessions"]["create_timeout"] = json!(CREATE_TIMEOUT);
        config["sessions"]["ready_timeout"] = json!("60s");
        config["bodies"]["pair_timeout"] = json!("18s");
        config["bodies"]["call_timeout"] = json!("10s");
        config["edge"] = json!({"upstream_head_timeout": "6m"});
    });
    farm.lab.starter.clear();
    worker
}

/// What came of some creates at once: the times of those that got ready, why others did not, how long all took.
struct Outcome {
    ready_ms: Vec<f64>,
    failures: Vec<String>,
    took: Duration,
}

fn creates(worker: &Role, bodies: &[Body]) -> Outcome {
    let begun = Instant::now();
    let ids: Vec<String> = bodies
        .iter()
        .map(|body| {
            let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body.ip(), "wait": false}));
            assert_eq!(reply.status, 202, "{}", reply.body);
            reply.json()["session_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let over = |status: &str| matches!(status, "ready" | "ended");
    while worker.sessions().iter().any(|session| !over(session["status"].as_str().unwrap_or_default())) {
        assert!(begun.elapsed() < PATIENCE, "creates hang: {}", worker.log_text());
        std::thread::sleep(LOOK);
    }
    let took = begun.elapsed();
    let mut outcome = Outcome { ready_ms: Vec::new(), failures: Vec::new(), took };
    for id in &ids {
        let session = worker.get(&format!("/api/v1/sessions/{id}")).json();
        match session["status"] == "ready" {
            true => outcome.ready_ms.extend(session["timings"]["total_ms"].as_f64()),
            false => outcome.failures.push(session["failure"].to_string()),
        }
    }
    for id in &ids {
        worker.delete(&format!("/api/v1/sessions/{id}"));
    }
    outcome
}

#[derive(Default)]
struct Seen {
    ready_ms: Vec<f64>,
    failures: Vec<String>,
    took: Duration,
}

impl Seen {
    fn take(&mut self, outcome: Outcome) {
        self.ready_ms.extend(outcome.ready_ms);
        self.failures.extend(outcome.failures);
        self.took += outcome.took;
    }

    /// Returns how many failed.
    fn print(&self, cores: &str, at_once: usize) -> usize {
        let all = self.ready_ms.len() + self.failures.len();
        let in_time = self.ready_ms.iter().filter(|ms| **ms <= DEFAULT_TIMEOUT_MS).count();
        println!(
            "{cores:<12} {at_once:>8} {:>12.1} {:>28} {:>12} {:>8}",
            all as f64 * 60.0 / self.took.as_secs_f64(),
            Figure::of(&self.ready_ms).show(0),
            format!("{in_time}/{all}"),
            self.failures.len()
        );
        self.failures.iter().for_each(|failure| println!("    {failure}"));
        self.failures.len()
    }
}

/// A cgroup with a quota of processor time; removed on drop.
struct Quota {
    directory: PathBuf,
}

impl Quota {
    /// `None` where none can be made.
    fn new(cores: f64) -> Option<Quota> {
        const PERIOD: u64 = 100_000;
        let quota = (PERIOD as f64 * cores) as u64;
        let name = format!("neck-create-{}", std::process::id());
        // Version 2 where it has the processor's controller, else version 1.
        let root = PathBuf::from("/sys/fs/cgroup");
        let second = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let (directory, file, text) = if second.split_whitespace().any(|word| word == "cpu") {
            // It may be on already.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu");
            (root.join(name), "cpu.max", format!("{quota} {PERIOD}"))
        } else {
            (root.join("cpu").join(name), "cpu.cfs_quota_us", quota.to_string())
        };
        fs::create_dir(&directory).ok()?;
        let group = Quota { directory };
        fs::write(group.directory.join(file), text).ok()?;
        Some(group)
    }

    /// Moves itself there, and becomes the command that follows.
    fn starter(&self) -> Vec<String> {
        let procs = self.directory.join("cgroup.procs");
        let script = format!("echo $$ > {} && exec \"$@\"", procs.display());
        ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Processes that were killed just now are still in it for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
