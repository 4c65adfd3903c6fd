//! Small and large requests by wrk, in interleaved rounds.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::contestants::{Contestant, Upstreams, gather};
use crate::figures::{Figure, ratio};

/// One row's measurements over the rounds.
#[derive(Default)]
struct Row {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu: Vec<f64>,
}

/// One table: connections, path, whether each request has a connection of its own, and whether everything happens on one core.
#[derive(Clone, Copy)]
pub struct Cell {
    connections: u32,
    path: &'static str,
    fresh: bool,
    one_core: bool,
}

const fn kept(connections: u32, path: &'static str) -> Cell {
    Cell { connections, path, fresh: false, one_core: false }
}

/// One connection, and everything on one core: what the proxies themselves take. Otherwise most of a request's time is how long another
/// core takes to wake up, which on a virtual machine is its host's affair and changes all the time.
const ON_ONE_CORE: Cell = Cell { connections: 1, path: "1k", fresh: false, one_core: true };

/// Requests on connections that are kept.
pub const KEPT: &[Cell] = &[
    kept(1, "1k"),
    ON_ONE_CORE,
    kept(16, "1k"),
    kept(128, "1k"),
    kept(1, "1m"),
    kept(16, "1m"),
    kept(128, "1m"),
];

/// With TLS these are handshakes.
pub const FRESH: &[Cell] = &[Cell { connections: 16, path: "1k", fresh: true, one_core: false }];

/// Measures and prints all cells. `client`: configuration of OpenSSL for the client.
pub fn measure(
    contestants: &[Contestant],
    upstreams: &Upstreams,
    cells: &[Cell],
    client: Option<&Path>,
    rounds: usize,
    run: Duration,
) {
    for cell in cells {
        gather(contestants, upstreams, cell.one_core);
        let mut rows: Vec<Row> = contestants.iter().map(|_| Row::default()).collect();
        for round in 0..rounds {
            // Each round begins with another contestant, so that none always runs first.
            for offset in 0..contestants.len() {
                let at = (round + offset) % contestants.len();
                one_run(&contestants[at], *cell, client, run, &mut rows[at]);
            }
        }
        print(contestants, &rows, *cell);
    }
}

fn one_run(contestant: &Contestant, cell: Cell, client: Option<&Path>, run: Duration, row: &mut Row) {
    let before: Duration = contestant.programs.iter().map(|program| program.cpu()).sum();
    let threads = cell.connections.min(2).to_string();
    let mut wrk = Command::new("wrk");
    wrk.args(["--latency", "-t", &threads, "-c", &cell.connections.to_string()]);
    if cell.fresh {
        wrk.args(["-H", "Connection: close"]);
    }
    if let Some(client) = client {
        wrk.env("OPENSSL_CONF", client);
    }
    let url = format!("{}://{}/{}", contestant.scheme, contestant.address(), cell.path);
    let output = wrk
        .args(["-d", &format!("{}s", run.as_secs()), &url])
        .output()
        .expect("wrk is missing: apt-get install wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{}: {text}", contestant.name);
    let after: Duration = contestant.programs.iter().map(|program| program.cpu()).sum();
    let word = |line: &str, at: usize| -> Option<String> {
        let line = text.lines().find(|each| each.contains(line))?;
        line.split_whitespace().nth(at).map(str::to_owned)
    };
    let requests = word(" requests in ", 0).and_then(|word| word.parse::<f64>().ok()).unwrap_or(f64::NAN);
    row.rate.push(word("Requests/sec:", 1).and_then(|word| word.parse().ok()).unwrap_or(f64::NAN));
    row.p50.push(word(" 50%", 1).map_or(f64::NAN, |word| microseconds(&word)));
    row.p99.push(word(" 99%", 1).map_or(f64::NAN, |word| microseconds(&word)));
    row.cpu.push((after - before).as_secs_f64() * 1e6 / requests);
}

/// `12.3us`, `1.2ms`, `1.2s`.
fn microseconds(text: &str) -> f64 {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let parsed =
        units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor));
    parsed.unwrap_or(f64::NAN)
}

/// Each row is compared with the rivals that a request passes as often.
fn print(contestants: &[Contestant], rows: &[Row], cell: Cell) {
    let manner = match cell {
        Cell { fresh: true, .. } => ", a new one for each request",
        Cell { one_core: true, .. } => ", everything on one core",
        _ => "",
    };
    println!("\n{}, {} connections{manner}", cell.path, cell.connections);
    println!(
        "{:<18} {:>24} {:>8} {:>8} {:>18}  {:>18} {:>18} {:>9} {:>9} {:>9}",
        "",
        "requests/s",
        "p50 us",
        "p99 us",
        "CPU us/request",
        "rate/nginx",
        "rate/best rival",
        "CPU/nginx",
        "CPU/best",
        "p99/nginx"
    );
    for (contestant, row) in contestants.iter().zip(rows) {
        let rivals = contestants
            .iter()
            .zip(rows)
            .filter(|(each, _)| each.depth == contestant.depth && !each.is_ours());
        let rivals: Vec<&Row> = rivals.map(|(_, row)| row).collect();
        let Some(nginx) = rivals.first() else { continue };
        let best = |of: fn(&Row) -> &Vec<f64>, better: fn(f64, f64) -> f64| -> Vec<f64> {
            let rounds = 0..nginx.rate.len();
            rounds
                .map(|round| rivals.iter().map(|row| of(row)[round]).fold(of(nginx)[round], better))
                .collect()
        };
        println!(
            "{:<18} {:>24} {:>8.0} {:>8.0} {:>18}  {:>18} {:>18} {:>9.2} {:>9.2} {:>9.2}",
            contestant.name,
            Figure::of(&row.rate).show(0),
            Figure::of(&row.p50).median,
            Figure::of(&row.p99).median,
            Figure::of(&row.cpu).show(1),
            ratio(&row.rate, &nginx.rate).show(2),
            ratio(&row.rate, &best(|row| &row.rate, f64::max)).show(2),
            ratio(&row.cpu, &nginx.cpu).median,
            ratio(&row.cpu, &best(|row| &row.cpu, f64::min)).median,
            ratio(&row.p99, &nginx.p99).median,
        );
    }
    print_before(contestants, rows);
}

/// This commit beside the one before (`NECK_BEFORE`), round by round.
fn print_before(contestants: &[Contestant], rows: &[Row]) {
    let named = |name: &str| contestants.iter().position(|each| each.name == name).map(|at| &rows[at]);
    for (ours, theirs) in [("edge", "edge before"), ("edge twice", "edge before twice")] {
        if let (Some(now), Some(then)) = (named(ours), named(theirs)) {
            println!(
                "{ours} ÷ {theirs}: rate {}, CPU {}, p50 {}, p99 {}",
                ratio(&now.rate, &then.rate).show(2),
                ratio(&now.cpu, &then.cpu).show(2),
                ratio(&now.p50, &then.p50).show(2),
                ratio(&now.p99, &then.p99).show(2),
            );
        }
    }
}
