//! A controller with a large fleet: `tests/perf/fleet`.
//!
//! One process plays all workers ([`fleet_workers`]) and all callers, on loopback, with real HTTP. The controller is the binary that
//! `BUILT` names. With few workers each beats more often, so that every row has about a hundred beats a second or more, and the cost
//! of one is told apart from what the process does anyway.
//!
//! Creates are timed in turns with those of a second controller that has one worker and nothing to do: what the machine, busy with ten thousand
//! workers' own work, costs a create by itself is in both, and the ratio is the fleet's share.

#[path = "fleet_workers.rs"]
mod fleet_workers;

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet_workers::{Crowd, Plan, SESSIONS, connect, read_reply};
use serde_json::{Value, json};

const TOKEN: &str = "fleet-token-0123456789";

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interval of a real fleet.
const INTERVAL: Duration = Duration::from_secs(10);

/// Beats a second, where the workers are few.
const BEATS: f64 = 100.0;

/// Creates that are timed, each followed by its end: of so many, thirty are slower than the p99.
const CREATES: usize = 3_000;

/// How long pages are asked for.
const LOOKUPS: Duration = Duration::from_secs(3);

/// What times in /proc/PID/stat are counted in, on every architecture of Linux.
const TICK_MS: f64 = 10.0;

/// Whoever asks comes from here.
const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

struct Controller {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Controller {
    fn start(interval: Duration) -> Controller {
        let binary = std::env::var("BUILT").expect("BUILT=PATH of the binary: run tests/perf/fleet");
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("neck-fleet-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory");
        let config = json!({
            "mode": "controller",
            "server": {"listen": "127.0.0.1:0", "admin_token": TOKEN, "state_dir": dir.join("state"), "operator_listen": "none"},
            "workers": {"heartbeat_interval": millis(interval), "heartbeat_timeout": millis(interval * 6), "allowed_networks": ["127.0.0.0/8"]},
        });
        let path = dir.join("controller.yaml");
        fs::write(&path, config.to_string()).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        let log = File::create(dir.join("log")).expect("a log");
        let child = Command::new(binary)
            .args(["controller", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("the controller");
        let mut controller = Controller { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), dir };
        controller.address = until("the controller listens", || {
            controller.log().split("listens on ").nth(1)?.split_whitespace().next()?.parse().ok()
        });
        controller
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Processor time so far, in milliseconds, threads that have ended included.
    fn cpu_ms(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("its figures");
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        (ticks(11) + ticks(12)) * TICK_MS
    }

    fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    }

    fn call(
        &self,
        line: &mut Option<BufReader<std::net::TcpStream>>,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nAccept: text/html\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        // The controller ends a connection after some requests.
        for _ in 0..2 {
            let stream = line
                .get_or_insert_with(|| BufReader::new(connect(CALLER, self.address).expect("a connection")));
            match stream.get_mut().write_all(request.as_bytes()).and_then(|()| read_reply(stream)) {
                Ok((status, body)) => return (status, serde_json::from_slice(&body).unwrap_or_default()),
                Err(_) => *line = None,
            }
        }
        (0, Value::Null)
    }

    /// How long one create took, in milliseconds, and what became of it and of its end.
    fn create(
        &self,
        line: &mut Option<BufReader<std::net::TcpStream>>,
        number: usize,
    ) -> (f64, Result<(), String>) {
        let body = format!(r#"{{"body_ip": "10.250.{}.{}"}}"#, number / 250, number % 250);
        let begun = Instant::now();
        let (status, said) = self.call(line, "POST", "/api/v1/sessions", &body);
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        if status != 201 {
            return (took, Err(format!("a create: {status} {said}")));
        }
        let id = said["session_id"].as_str().unwrap_or_default().to_owned();
        match self.call(line, "DELETE", &format!("/api/v1/sessions/{id}"), "") {
            (204, _) => (took, Ok(())),
            (status, said) => (took, Err(format!("an end: {status} {said}"))),
        }
    }

    /// Pages a second that found their worker and came back from it, by one client.
    fn lookups(&self, ids: &[String]) -> f64 {
        let (mut line, mut count, begun) = (None, 0_usize, Instant::now());
        while begun.elapsed() < LOOKUPS {
            // Far apart in the list, so that each is another worker's.
            let id = &ids[count.wrapping_mul(7_919) % ids.len()];
            let (status, _) = self.call(&mut line, "GET", &format!("/session/{id}/stream.html"), "");
            assert_eq!(status, 200, "the page of session {id}\n{}", last_lines(&self.log()));
            count += 1;
        }
        count as f64 / begun.elapsed().as_secs_f64()
    }
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The value that so large a part is below.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted
        .get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Times of creates in milliseconds, sorted, and how many failed.
#[derive(Default)]
struct Creates {
    times: Vec<f64>,
    failed: usize,
}

impl Creates {
    /// Of each of these controllers, in turns.
    fn of<const N: usize>(controllers: [&Controller; N]) -> [Creates; N] {
        let mut found = [(); N].map(|()| (None, Creates::default()));
        for number in 0..CREATES {
            for (controller, (line, creates)) in controllers.iter().zip(&mut found) {
                let (took, end) = controller.create(line, number);
                creates.times.push(took);
                if let Err(words) = end {
                    creates.failed += 1;
                    println!("  {words}");
                }
            }
        }
        found.map(|(_, mut creates)| {
            creates.times.sort_by(f64::total_cmp);
            creates
        })
    }

    fn p50(&self) -> f64 {
        quantile(&self.times, 0.5)
    }

    fn p99(&self) -> f64 {
        quantile(&self.times, 0.99)
    }
}

/// A controller with one worker that beats as rarely as a real one.
struct Quiet {
    controller: Controller,
    crowd: Crowd,
}

impl Quiet {
    fn start() -> Quiet {
        let controller = Controller::start(INTERVAL);
        let crowd = Crowd::start(Plan {
            controller: controller.address,
            token: TOKEN.to_owned(),
            workers: 1,
            interval: INTERVAL,
            lasting: 1,
        });
        let mut line = None;
        until("the worker is up", || {
            let health = controller.call(&mut line, "GET", "/api/v1/health", "").1;
            (health["extra"]["workers"]["up"] == 1 && health["extra"]["settling"] == false).then_some(())
        });
        Quiet { controller, crowd }
    }
}

/// What one size came to.
struct Row {
    cpu_per_beat: f64,
    broken: bool,
}

fn measure(workers: usize, seconds: u64) -> Row {
    let interval = INTERVAL.min(Duration::from_secs_f64((workers as f64 / BEATS).max(0.1)));
    let controller = Controller::start(interval);
    let mut line = None;
    let mut health = || controller.call(&mut line, "GET", "/api/v1/health", "").1["extra"].clone();
    // Each connection may cost the controller two descriptors, and callers need some.
    let room =
        controller.log().split("two each for ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let lasting = room.unwrap_or(0_usize) * 4 / 5;
    let plan = Plan { controller: controller.address, token: TOKEN.to_owned(), workers, interval, lasting };
    let crowd = Crowd::start(plan);
    let sessions = (workers * SESSIONS) as u64;
    until("every worker is up", || {
        let health = health();
        let is_there = health["workers"]["up"] == workers && health["sessions"]["active"] == sessions;
        (is_there && health["settling"] == false).then_some(())
    });
    // What joining costs is over, calls to those that joined included.
    std::thread::sleep(interval.max(Duration::from_secs(2)));

    let (beats, log_before) = (crowd.beats.taken.load(Ordering::Relaxed), controller.log().len());
    let (cpu, begun) = (controller.cpu_ms(), Instant::now());
    let mut worst_late = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(500));
        let workers = &health()["workers"];
        worst_late =
            worst_late.max(workers["late"].as_u64().unwrap_or(0) + workers["down"].as_u64().unwrap_or(0));
    }
    let (cpu, took) = (controller.cpu_ms() - cpu, begun.elapsed());
    let beats = crowd.beats.taken.load(Ordering::Relaxed) - beats;
    let memory = controller.resident_mib();
    let quiet = Quiet::start();
    let [creates, beside] = Creates::of([&controller, &quiet.controller]);
    quiet.crowd.stop();
    let lookups = controller.lookups(&crowd.ids);
    let log = controller.log();
    let late =
        log.get(log_before..).unwrap_or_default().matches(" is late, was ").count().max(worst_late as usize);
    let failed_beats = crowd.beats.failed.load(Ordering::Relaxed);
    let cpu_per_beat = cpu / beats.max(1) as f64;
    println!(
        "{workers:>7} {:>9.1} {cpu_per_beat:>12.3} {:>7.2} {late:>6} {failed_beats:>7} {:>12.1} {:>10.1} {:>8.1} {:>8.1} {:>8.1} {:>7.2} \
         {lookups:>8.0} {memory:>6.0}",
        beats as f64 / took.as_secs_f64(),
        cpu / took.as_secs_f64() / 1000.0,
        crowd.beats.longest.load(Ordering::Relaxed) as f64 / 1000.0,
        creates.p50(),
        creates.p99(),
        beside.p50(),
        beside.p99(),
        creates.p99() / beside.p99(),
    );
    if let Some(said) = &*crowd.beats.said.lock().expect("no panic") {
        println!("  the first beat that failed: {said}\n{}", last_lines(&log));
    }
    crowd.stop();
    Row { cpu_per_beat, broken: late > 0 || failed_beats > 0 || creates.failed + beside.failed > 0 }
}

/// Creates of a controller that has nothing to do, on a machine that has nothing to do.
fn idle_creates() {
    let quiet = Quiet::start();
    let [creates] = Creates::of([&quiet.controller]);
    println!(
        "idle controller: creates p50 {:.1} ms, p99 {:.1} ms, {} failed",
        creates.p50(),
        creates.p99(),
        creates.failed
    );
    quiet.crowd.stop();
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    // `cargo test --all-targets` must not start this.
    if !words.iter().any(|word| word == "--bench") {
        return println!("run tests/perf/fleet");
    }
    let quick = words.iter().any(|word| word == "--quick");
    let sizes = words.iter().position(|word| word == "--sizes").and_then(|at| words.get(at + 1));
    let sizes: Vec<usize> = match sizes {
        Some(list) => list.split(',').map(|size| size.parse().expect("--sizes 10,100")).collect(),
        None => vec![10, 100, 1_000, 10_000],
    };
    idle_creates();
    println!(
        "{:>7} {:>9} {:>12} {:>7} {:>6} {:>7} {:>12} {:>10} {:>8} {:>8} {:>8} {:>7} {:>8} {:>6}",
        "workers",
        "beats/s",
        "CPU ms/beat",
        "cores",
        "late",
        "failed",
        "longest ms",
        "create p50",
        "p99 ms",
        "idle p50",
        "p99 ms",
        "ratio",
        "pages/s",
        "MiB"
    );
    let rows: Vec<Row> = sizes
        .iter()
        .map(|size| {
            measure(
                *size,
                match (quick, *size) {
                    (true, _) => 8,
                    (false, 10_000..) => 600,
                    (false, _) => 60,
                },
            )
        })
        .collect();
    let least = rows.iter().map(|row| row.cpu_per_beat).fold(f64::INFINITY, f64::min);
    let most = rows.iter().map(|row| row.cpu_per_beat).fold(0.0, f64::max);
    println!("CPU per heartbeat: {:.2} times the least", most / least);
    if rows.iter().any(|row| row.broken) || most > 2.0 * least {
        println!("BROKEN");
        std::process::exit(1);
    }
}
