//! What a scrape costs a worker under load: `tests/perf/scrape [--sessions 200] [--viewers 2000] [--seconds 10]`.
//!
//! ```text
//!  built-in clip ─▶ worker (own process) ──SRTP──▶ viewers (own process, str0m on a socket each, packets counted by their heads)
//!                     │  ▲
//!                     │  └── GET /metrics, again and again
//!                     └──── WebSocket tunnels to a session's own server: messages go round, with and without scrapes
//! ```
//!
//! 20 sessions have the clip and the viewers, the others stream processes (stand-ins) that nobody watches.
//!
//! Rounds with and without scrapes alternate: what disturbs the machine for a while disturbs both.

#[path = "../whep/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "whep_crowd.rs"]
#[allow(dead_code)]
mod crowd;
#[allow(dead_code)]
mod far_end;
#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;
#[allow(dead_code)]
mod process;
#[allow(dead_code)]
mod trains;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crowd::Crowd;
use lab::{Lab, Role, TOKEN};
use serde_json::json;
use stand_ins::steady::Steady;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// Sessions with the built-in clip: viewers are spread over them. The others have stream processes, as most sessions have; and a clip in
/// each of 200 sessions is a core's worth of clips.
const CLIPS: usize = 20;

/// Creates and offers that are under way at once.
const AT_ONCE: usize = 8;

/// As many as one session may have.
const TUNNELS: usize = 8;

/// Rounds with scrapes, and as many without.
const ROUNDS: usize = 5;

/// Between two scrapes of a round: far more often than Prometheus, so that the effect is seen.
const PAUSE: Duration = Duration::from_millis(100);

/// Scrapes over which memory must not grow, and by how much it may: what the allocator keeps, in KiB.
const MANY: usize = 500;
const GROWTH_KIB: u64 = 1024;

/// A scrape of a loaded worker, in milliseconds.
const GOAL_MS: f64 = 10.0;

/// How much is measured.
struct Plan {
    sessions: usize,
    viewers: usize,
    seconds: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--watch") => return crowd::watch(&arguments[1..]),
        // Cargo says --bench; `cargo test --all-targets` does not, and must not start this.
        _ if !arguments.iter().any(|word| word == "--bench") => return println!("run tests/perf/scrape"),
        _ => {}
    }
    let number = |name: &str, usual: usize| {
        let at = arguments.iter().position(|word| word == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(usual)
    };
    let plan = Plan {
        sessions: number("--sessions", 200),
        viewers: number("--viewers", 2000),
        seconds: number("--seconds", 10) as u64,
    };
    println!("load average {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    if !measure(&plan) {
        std::process::exit(1);
    }
}

/// Whether everything is as it should be.
fn measure(plan: &Plan) -> bool {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| {
        config["sessions"]["max"] = json!(plan.sessions + 1);
        // On a slow machine it takes minutes until all viewers see something.
        config["sessions"]["connect_timeout"] = json!("20m");
        config["sessions"]["idle_timeout"] = json!("20m");
        config["edge"] = json!({"max_connections": 8000, "max_connections_per_address": 4000});
        config["webrtc"]["max_peers"] = json!(2 * plan.viewers);
        config["webrtc"]["max_viewers"] = json!(plan.viewers);
        config["webrtc"]["ip_retrieval_url"] = json!("off");
    });
    let idle = scrapes(&worker, 20);
    idle.print("idle");
    let begun = Instant::now();
    let tunnels_of = worker.create(&body);
    let bodies: Vec<String> = (2..=plan.sessions + 1).map(|number| lab.body(number)).collect();
    let sessions = create(&worker, &bodies);
    let clips = &sessions[..CLIPS.min(sessions.len())];
    println!("{} sessions after {:.1?}", sessions.len() + 1, begun.elapsed());
    let mut crowd = watch(&worker, clips, plan.viewers);
    println!("{} viewers see pictures after {:.1?}", plan.viewers, begun.elapsed());
    let mut tunnels: Vec<_> = (0..TUNNELS).map(|_| tunnel(&worker, &tunnels_of)).collect();
    let (mut quiet, mut scraped) = (Vec::new(), Vec::new());
    let mut times = Scrapes::default();
    crowd.begin();
    for _ in 0..ROUNDS {
        quiet.extend(round(&mut tunnels, plan.seconds, None).0);
        let (trips, scrapes) = round(&mut tunnels, plan.seconds, Some(&worker));
        scraped.extend(trips);
        times.add(scrapes);
    }
    let report = crowd.end();
    println!("viewers got {:.0} packets, {:.3} % lost", report.packets, report.lost);
    print_trips("without scrapes", &mut quiet);
    print_trips("with a scrape each 100 ms", &mut scraped);
    times.print(&format!("{} sessions, {} viewers", sessions.len() + 1, plan.viewers));
    // What grows by itself, because viewers' stores of sent packets fill, is not the scrapes'.
    let begun = resident(&worker);
    round(&mut tunnels, plan.seconds, None);
    let (before, threads) = (resident(&worker), threads(&worker));
    scrapes(&worker, MANY);
    let (after, threads_after) = (resident(&worker), self::threads(&worker));
    println!(
        "{} s without scrapes: {begun} → {before} KiB resident; {MANY} scrapes one after the other: {before} → {after} KiB, {threads} → \
         {threads_after} threads",
        plan.seconds
    );
    let middle = times.middle();
    let is_flat = after <= before + before.saturating_sub(begun) + GROWTH_KIB;
    println!(
        "{}: {middle:.2} ms in the middle (goal {GOAL_MS}), memory is {}",
        if middle < GOAL_MS && is_flat { "good" } else { "NOT GOOD" },
        if is_flat { "flat" } else { "not flat" }
    );
    middle < GOAL_MS && is_flat
}

/// A session of each body: the first with the built-in clip, the others with stream processes.
fn create(worker: &Role, bodies: &[String]) -> Vec<String> {
    let one = |number: usize| {
        let engine = if number < CLIPS { "demo" } else { "moonlight" };
        let request = json!({"body_ip": bodies[number], "engine": engine});
        let reply = worker.post("/api/v1/sessions", &request);
        assert_eq!(reply.status, 201, "session {number}: {}", reply.body);
        reply.json()["session_id"].as_str().expect("an id").to_owned()
    };
    let one = &one;
    let mut all: Vec<(usize, String)> = std::thread::scope(|scope| {
        let lane = |first: usize| {
            scope.spawn(move || {
                let mine = (first..bodies.len()).step_by(AT_ONCE);
                mine.map(|number| (number, one(number))).collect::<Vec<_>>()
            })
        };
        let lanes: Vec<_> = (0..AT_ONCE).map(lane).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("sessions")).collect()
    });
    all.sort();
    all.into_iter().map(|(_, id)| id).collect()
}

/// Viewers, one after the other, spread over the sessions.
fn watch(worker: &Role, sessions: &[String], count: usize) -> Crowd {
    let mut crowd = Crowd::start_lean(count);
    // More offers than viewers come where some were too late to connect, and ask anew.
    for number in 0.. {
        let offer = crowd.hear();
        if offer == "watching" {
            println!("{number} offers");
            break;
        }
        let url = format!("{}/session/{}/whep", worker.url, sessions[number % sessions.len()]);
        crowd.say(&lab::eventually(&format!("viewer {number} is taken"), || answer(worker, &url, &offer)));
    }
    crowd
}

/// The answer to an offer; `None`: too many are not connected yet.
fn answer(worker: &Role, url: &str, offer: &str) -> Option<String> {
    match ureq::post(url).header("Content-Type", "application/sdp").send(offer) {
        Ok(mut answer) => Some(answer.body_mut().read_to_string().expect("an answer")),
        Err(ureq::Error::StatusCode(429 | 503)) => None,
        Err(error) => panic!("{url}: {error}\n{}", worker.log_text()),
    }
}

fn tunnel(worker: &Role, session: &str) -> WebSocket<Steady<TcpStream>> {
    let authority = worker.url.trim_start_matches("http://");
    let tcp = TcpStream::connect(authority).expect("connected");
    tcp.set_nodelay(true).expect("a live socket");
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a live socket");
    let url = format!("ws://{authority}/session/{session}/api/host/stream");
    tungstenite::client(url.into_client_request().expect("a request"), Steady(tcp)).expect("a WebSocket").0
}

/// How long a message is under way to the session's own server and back, in milliseconds.
fn go_round(tunnel: &mut WebSocket<Steady<TcpStream>>) -> f64 {
    let begun = Instant::now();
    tunnel.send(Message::Ping(Vec::new().into())).expect("sent");
    while !matches!(tunnel.read().expect("an answer"), Message::Pong(_)) {}
    begun.elapsed().as_secs_f64() * 1e3
}

/// Messages through all tunnels for so long, while somebody scrapes or nobody does.
fn round(
    tunnels: &mut [WebSocket<Steady<TcpStream>>],
    seconds: u64,
    scraped: Option<&Role>,
) -> (Vec<f64>, Scrapes) {
    let end = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(move || {
            let mut times = Scrapes::default();
            while let Some(worker) = scraped.filter(|_| Instant::now() < end) {
                times.add(scrapes(worker, 1));
                std::thread::sleep(PAUSE);
            }
            times
        });
        let mut trips = Vec::new();
        while Instant::now() < end {
            trips.extend(tunnels.iter_mut().map(go_round));
        }
        (trips, scraper.join().expect("scrapes"))
    })
}

/// Times of scrapes in milliseconds, and the size of the last one.
#[derive(Default)]
struct Scrapes {
    times: Vec<f64>,
    bytes: usize,
}

impl Scrapes {
    fn add(&mut self, other: Scrapes) {
        self.times.extend(other.times);
        self.bytes = self.bytes.max(other.bytes);
    }

    fn middle(&self) -> f64 {
        at(&mut self.times.clone(), 0.5)
    }

    fn print(&self, what: &str) {
        let mut times = self.times.clone();
        println!(
            "scrape, {what}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms, {} of them, {} bytes",
            at(&mut times, 0.5),
            at(&mut times, 0.99),
            at(&mut times, 1.0),
            times.len(),
            self.bytes
        );
    }
}

/// Whole answers, each by a connection of its own as a new Prometheus makes it.
fn scrapes(worker: &Role, count: usize) -> Scrapes {
    let (mut scrapes, url) = (Scrapes::default(), format!("{}/metrics", worker.url));
    let agent = ureq::Agent::config_builder().max_idle_connections(0).proxy(None).build().new_agent();
    for _ in 0..count {
        let begun = Instant::now();
        let reply = agent.get(&url).header("Authorization", format!("Bearer {TOKEN}")).call();
        let text = reply.expect("metrics").body_mut().read_to_string().expect("text");
        scrapes.times.push(begun.elapsed().as_secs_f64() * 1e3);
        scrapes.bytes = text.len();
    }
    scrapes
}

/// The value below which this part of them is.
fn at(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

fn print_trips(what: &str, trips: &mut [f64]) {
    println!(
        "tunnels, {what}: {} round trips, p50 {:.3} ms, p99 {:.3} ms, longest {:.2} ms",
        trips.len(),
        at(trips, 0.5),
        at(trips, 0.99),
        at(trips, 1.0)
    );
}

fn resident(worker: &Role) -> u64 {
    status(worker, "VmRSS:")
}

fn threads(worker: &Role) -> u64 {
    status(worker, "Threads:")
}

fn status(worker: &Role, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).expect("a status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
