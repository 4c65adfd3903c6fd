//! What a room costs: 4, 10 and 25 members, each with a VP8 picture of 1 Mbit/s and an Opus voice that go to all others, by one media thread,
//! beside Janus' VideoRoom under the same load in the same run; and 100 voices in one room, of which the 8 loudest are sent on, beside all:
//! `tests/perf/rooms [--quick] [--rooms 4,10] [--voices 100] [--alone] [--collect]`.
//!
//! ```text
//!  members (own process, str0m on a socket each) ──SRTP──▶ neck, or Janus (own process) ──SRTP──▶ the same members
//! ```
//!
//! Packets are those that arrived at members. CPU is that of the whole process in between, signalling included, as the scheduler counts it,
//! in user and kernel mode. Delay is from one member's stamp to the other's reading: the members' own process is part of it, for both
//! contestants alike. A join lasts from the first word of signalling to a packet of each track of everybody else. Rounds of the contestants
//! alternate, and whoever has no round is silent; ratios are made round by round. Where packets are lost, somebody had too little of a core:
//! such a row says little of the cost.

#[path = "children.rs"]
#[allow(dead_code)]
mod children;
#[allow(dead_code)]
mod far_end;
mod figures;
mod janus_server;
mod process;
mod rooms_contestants;
mod rooms_crowd;
mod rooms_janus;
mod rooms_link;
mod rooms_seat;
mod rounds;
#[allow(dead_code)]
mod trains;

use std::time::Duration;

use figures::{Figure, ratio};
use rooms_contestants::{Contestant, Neck, Show};
use rounds::{Measured, column, median};

/// Until a room has found its pace.
const SETTLE: Duration = Duration::from_secs(1);

/// Until the loudest are chosen: a voice keeps its place for two seconds.
const CHOOSE: Duration = Duration::from_secs(4);

/// Floor and goal: Janus' CPU per packet over ours.
const FLOOR: f64 = 2.0;
const GOAL: f64 = 3.0;

/// For how long `--collect` gathers what goes to a member, in milliseconds.
const COLLECT: u64 = 3;

/// Members from which on most of them count packets only.
const MANY: usize = 50;

/// How much is measured.
struct Plan {
    rooms: Vec<usize>,
    /// Members of the room of voices; 0: none.
    voices: usize,
    rounds: usize,
    lasts: Duration,
    alone: bool,
    collect: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--serve") => return rooms_contestants::serve(&arguments[1..]),
        Some("--crowd") => return rooms_crowd::run(&arguments[1..]),
        // Cargo says --bench; `cargo test --all-targets` does not, and must not start this.
        _ if !arguments.iter().any(|word| word == "--bench") => return println!("run tests/perf/rooms"),
        _ => {}
    }
    let plan = plan(&arguments);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average {}", load.trim());
    println!(
        "{:>7} {:<8} {:>9} {:>20} {:>7} {:>9} {:>9} {:>20} {:>10} {:>7} {:>9}",
        "members",
        "",
        "packets/s",
        "CPU µs/packet",
        "core %",
        "p50 ms",
        "p99 ms",
        "join ms",
        "KiB/member",
        "lost %",
        "members %"
    );
    plan.rooms.iter().for_each(|members| measure(*members, &plan));
    if plan.voices > 0 {
        voices(&plan);
    }
}

fn plan(arguments: &[String]) -> Plan {
    let has = |word: &str| arguments.iter().any(|other| other == word);
    let after = |word: &str| arguments.iter().skip_while(|other| *other != word).nth(1);
    let rooms = after("--rooms").map(|text| text.split(',').filter_map(|one| one.parse().ok()).collect());
    let voices = after("--voices").and_then(|text| text.parse().ok());
    let (alone, collect) = (has("--alone") || !janus_server::can_janus(), has("--collect"));
    if alone {
        println!("without Janus: tests/perf/rooms has it take part");
    }
    let (all, voices, rounds, seconds) = match has("--quick") {
        true => (vec![4, 10], voices.unwrap_or(30), 2, 2),
        false => (vec![4, 10, 25], voices.unwrap_or(100), 3, 5),
    };
    let lasts = Duration::from_secs(seconds);
    Plan { rooms: rooms.unwrap_or(all), voices, rounds, lasts, alone, collect }
}

fn measure(members: usize, plan: &Plan) {
    let open = |contestant| Show::open(contestant, members, false);
    let mut shows = vec![open(Contestant::Neck("neck", Neck::start(0)))];
    if plan.collect {
        shows.push(open(Contestant::Neck("neck 3ms", Neck::start(COLLECT))));
    }
    if let Some(program) = children::before() {
        shows.push(open(Contestant::Neck("before", Neck::of(&program, 0))));
    }
    if !plan.alone {
        shows.push(open(rooms_contestants::janus()));
    }
    let mut results: Vec<Vec<Measured>> = vec![Vec::new(); shows.len()];
    for _ in 0..plan.rounds {
        for (show, results) in shows.iter_mut().zip(&mut results) {
            results.push(round(show, plan.lasts, SETTLE));
        }
    }
    for (show, results) in shows.iter().zip(&results) {
        row(members, show, results);
    }
    for (show, others) in shows.iter().zip(&results).skip(1) {
        compare(members, (&shows[0], &results[0]), (show, others));
    }
}

/// One contestant's round; nobody sends afterwards.
fn round(show: &mut Show, lasts: Duration, settle: Duration) -> Measured {
    show.crowd.say("send");
    std::thread::sleep(settle);
    show.crowd.say("begin");
    Measured::of(show.contestant.pid(), lasts, || show.end())
}

/// A room of voices, of which all are sent on and the loudest alone, by turns.
fn voices(plan: &Plan) {
    let members = plan.voices;
    let mut show = Show::open(Contestant::Neck("neck", Neck::start(0)), members, true);
    if members >= MANY {
        show.crowd.say("count only");
    }
    let (mut all, mut loudest) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        show.contestant.send_on(true);
        all.push(round(&mut show, plan.lasts, SETTLE));
        show.contestant.send_on(false);
        loudest.push(round(&mut show, plan.lasts, CHOOSE));
    }
    for (what, results) in [("all", &all), ("loudest 8", &loudest)] {
        println!(
            "{members:>7} voices, {what} sent on: {:.0} packets/s, CPU {} µs/packet, {} % of a core, p50 {:.3} ms, p99 {:.3} ms, lost {:.2} %; \
             the members took {:.0} %",
            median(results, |one| one.rate),
            Figure::of(&column(results, |one| one.cost)).show(2),
            Figure::of(&column(results, |one| one.share)).show(1),
            median(results, |one| one.report.p50),
            median(results, |one| one.report.p99),
            median(results, |one| one.report.lost),
            median(results, |one| one.crowd),
        );
    }
    println!(
        "{members:>7} voices, all ÷ loudest 8: CPU {}, packets {}; a join {} ms, {:.0} KiB/member",
        ratio(&column(&all, |one| one.share), &column(&loudest, |one| one.share)).show(1),
        ratio(&column(&all, |one| one.rate), &column(&loudest, |one| one.rate)).show(1),
        Figure::of(&show.joins).show(0),
        show.memory(),
    );
}

fn row(members: usize, show: &Show, results: &[Measured]) {
    let at = |pick: fn(&Measured) -> f64| median(results, pick);
    println!(
        "{members:>7} {:<8} {:>9.0} {:>20} {:>7.1} {:>9.3} {:>9.3} {:>20} {:>10.0} {:>7.2} {:>9.0}",
        show.contestant.name(),
        at(|one| one.rate),
        Figure::of(&column(results, |one| one.cost)).show(2),
        at(|one| one.share),
        at(|one| one.report.p50),
        at(|one| one.report.p99),
        Figure::of(&show.joins).show(0),
        show.memory(),
        at(|one| one.report.lost),
        at(|one| one.crowd),
    );
    let thread = at(|one| one.thread_cost);
    if thread > 0.0 {
        println!("{members:>7} {:<8} its media thread alone: {thread:.2} µs/packet", "");
    }
}

/// Another contestant over this one, round by round.
fn compare(members: usize, (neck, ours): (&Show, &[Measured]), (other, theirs): (&Show, &[Measured])) {
    let of = |pick: fn(&Measured) -> f64| ratio(&column(theirs, pick), &column(ours, pick)).show(2);
    let name = other.contestant.name();
    let bars = if name == "janus" { format!(" (floor {FLOOR}, goal {GOAL})") } else { String::new() };
    println!(
        "{members:>7} {name} ÷ neck: CPU per packet {}{bars}, p50 {}, p99 {}, join {:.2}, memory {:.2}",
        of(|one| one.cost),
        of(|one| one.report.p50),
        of(|one| one.report.p99),
        Figure::of(&other.joins).median / Figure::of(&neck.joins).median,
        other.memory() / neck.memory(),
    );
}
