//! The edge against nginx and haproxy: `tests/perf/edge [--quick] [--requests | --tunnels | --tls]`.
//!
//! Everything runs on loopback with generated configurations in a temporary directory; only what was started here is
//! ended. Each figure is a median over interleaved rounds, with the least and the greatest; ratios are made round by
//! round. "edge twice" is what a session through the controller passes.

mod certificate;
mod children;
mod contestants;
mod figures;
mod requests;
mod serve;
mod tunnels;

use std::fs;
use std::process::Command;
use std::time::Duration;

use certificate::{CIPHER, Certificate};
use children::Scratch;
use contestants::{Upstreams, contestants, upstreams};

/// Idle tunnels whose memory is measured; fewer when a proxy may not open two descriptors for each.
const IDLE: [usize; 3] = [1000, 5000, 10_000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve-edge", files, tunnels] => serve::edge(files, tunnels, None),
        ["serve-edge", files, tunnels, cert, key] => serve::edge(files, tunnels, Some((cert, key))),
        ["serve-tunnels"] => serve::tunnels(),
        // Cargo says --bench; `cargo test --all-targets` does not, and must not start this.
        _ if words.contains(&"--bench") => measure(&words),
        _ => println!("run tests/perf/edge"),
    }
}

fn measure(words: &[&str]) {
    let quick = words.contains(&"--quick");
    // Short rounds and many: what disturbs the machine for a second disturbs one of them.
    let (rounds, seconds) = if quick { (3, 1) } else { (14, 1) };
    let run = Duration::from_secs(seconds);
    print_machine();
    let scratch = Scratch::new();
    let upstreams = upstreams(&scratch.0);
    if words.contains(&"--tls") {
        return measure_tls(&scratch, &upstreams, rounds, run);
    }
    let all = contestants(&scratch.0, &upstreams, None);
    if !words.contains(&"--tunnels") {
        requests::measure(&all, &upstreams, requests::KEPT, None, rounds, run);
    }
    if !words.contains(&"--requests") {
        tunnels::measure(&all, &upstreams, rounds, run / 2);
        drop(all);
        // Memory on fresh programs, since it is not given back.
        tunnels::measure_idle(&contestants(&scratch.0, &upstreams, None), &IDLE);
    }
    println!("\nload average at the end: {}", read("/proc/loadavg").trim());
}

fn measure_tls(scratch: &Scratch, upstreams: &Upstreams, rounds: usize, run: Duration) {
    let pair = Certificate::make(&scratch.0);
    let all = contestants(&scratch.0, upstreams, Some(&pair));
    println!("\nTLS towards clients, one ECDSA P-256 certificate:");
    for contestant in &all {
        let agreed = pair.agreed(contestant.address());
        println!("{:<18} {agreed}", contestant.name);
        assert!(agreed.contains(CIPHER), "{} does not speak {CIPHER}", contestant.name);
    }
    for cells in [requests::KEPT, requests::FRESH] {
        requests::measure(&all, upstreams, cells, Some(&pair.client), rounds, run);
    }
    println!("\nload average at the end: {}", read("/proc/loadavg").trim());
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// First line of what a program says about its version.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("-v").output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("missing").to_owned()
}

fn print_machine() {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores{model}, Linux {}", read("/proc/sys/kernel/osrelease").trim());
    println!("load average before: {}", read("/proc/loadavg").trim());
    for program in ["nginx", "haproxy", "wrk"] {
        println!("{}", version(program));
    }
}
