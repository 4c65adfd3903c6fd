//! What a viewer costs: one stream to 1, 10, 100 and 400 viewers by one media thread, beside Janus' streaming plugin under the same load in
//! the same run, and beside encrypting and sending alone: `tests/perf/whep [--quick] [--viewers 1,10] [--alone] [--cut]`.
//!
//! ```text
//!  source (this process) ──RTP──▶ neck, or Janus (own process) ──SRTP──▶ viewers (own process, str0m on a socket each)
//! ```
//!
//! Packets are those that arrived. CPU is that of the whole process in between, as the scheduler counts it, in user and kernel mode;
//! on loopback the kernel's part of it reaches to the viewers' sockets, which take trains whole: cutting them is a network card's work
//! (`--cut`: they take them one by one, and the sender is charged with it). The last line is for more packets than one core can send,
//! where most viewers count packets by their heads only, so that they need no core of their own, beside what str0m alone takes for a
//! packet: that differs from machine to machine and from minute to minute. Rounds of the two alternate, ratios are made round by round.
//! Where packets are lost, somebody had too little of a core: such a row says little of the cost.

#[path = "children.rs"]
#[allow(dead_code)]
mod children;
#[path = "../whep/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "whep_contestants.rs"]
mod contestants;
#[path = "whep_crowd.rs"]
#[allow(dead_code)]
mod crowd;
mod far_end;
mod figures;
#[path = "../whep/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "whep_janus.rs"]
mod janus;
mod janus_server;
#[path = "whep_limit.rs"]
mod limit;
mod process;
mod rounds;
#[path = "whep_rtc.rs"]
mod rtc;
mod trains;

use std::time::Duration;

use children::{before, pin};
use contestants::{Contestant, Neck, Show};
use figures::{Figure, ratio};
use generator::Pace;
use janus::Janus;
use limit::Paced;
use rounds::{MEDIA, Measured, column, median};

/// 400 packets of 1,200 bytes a second: 3.8 Mbit/s, as in the measurement of the design.
const PACE: Pace = Pace { frames: 40, packets: 10, bytes: 1_200, group: 80 };

/// Three times that, 11.5 Mbit/s in 120 frames a second: more for 400 viewers than one core can send.
const FLOOD: Pace = Pace { frames: 120, packets: 10, bytes: 1_200, group: 240 };

/// Packets of such a train, when a thread is behind.
const LONG_TRAIN: usize = 48;

/// Until a stream has found its pace.
const SETTLE: Duration = Duration::from_secs(1);

/// Floors and goals: Janus' CPU per packet over ours, and packets per second of one core of ours where there are more to send.
const FLOORS: (f64, f64) = (2.5, 400_000.0);
const GOALS: (f64, f64) = (3.5, 500_000.0);

/// Goals of what we send ourselves: the media thread's cost over encrypting and sending alone at many viewers, and KiB of memory for each.
const OWN_GOALS: (f64, f64) = (1.3, 120.0);

/// CPU µs per packet of the measurement that the second floor is from, which sent 420,000 to 455,000 a second by one core.
const FLOOR_THERE: f64 = 2.29;

/// How much is measured.
struct Plan {
    viewers: Vec<usize>,
    rounds: usize,
    /// Of the last line.
    floods: usize,
    lasts: Duration,
    alone: bool,
    /// Viewers take trains whole.
    whole: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--serve") => return contestants::serve(),
        Some("--watch") => return crowd::watch(&arguments[1..]),
        Some("--sink") => return limit::sink(&arguments[1..]),
        // Cargo says --bench; `cargo test --all-targets` does not, and must not start this.
        _ if !arguments.iter().any(|word| word == "--bench") => return println!("run tests/perf/whep"),
        _ => {}
    }
    let plan = plan(&arguments);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average {}", load.trim());
    let (p50, p99) = limit::bare_delay(PACE);
    println!("source to a plain socket: p50 {p50:.3} ms, p99 {p99:.3} ms");
    let limits = [true, false].map(|whole| limit::limits(PACE.packets as usize, whole));
    for (limits, what) in limits.iter().zip(["whole", "one by one"]) {
        println!(
            "limit, CPU µs/packet, receivers that take trains {what}: protect {:.2}, send {:.2}, both {:.2}",
            limits[0], limits[1], limits[2]
        );
    }
    println!(
        "{:>7} {:<6} {:>9} {:>20} {:>12} {:>9} {:>7} {:>9} {:>9} {:>10} {:>7} {:>6}",
        "viewers",
        "",
        "packets/s",
        "CPU µs/packet",
        "packets/core",
        "% viewer",
        "core %",
        "p50 ms",
        "p99 ms",
        "KiB/viewer",
        "lost %",
        "bytes"
    );
    let [.., limit] = limits[usize::from(!plan.whole)];
    let weighed: Vec<(usize, f64)> =
        plan.viewers.iter().map(|viewers| (*viewers, measure(*viewers, &plan, limit))).collect();
    for pair in weighed.windows(2) {
        let [(few, light), (many, heavy)] = pair else { continue };
        println!(
            "from {few} to {many} viewers: {:.0} KiB for each further one; the first brings the program's pages and the stream's caches",
            (heavy - light) / (*many as f64 - *few as f64)
        );
    }
    if let Some(most) = plan.viewers.iter().max() {
        saturate(*most, &plan);
    }
}

fn plan(arguments: &[String]) -> Plan {
    let has = |word: &str| arguments.iter().any(|other| other == word);
    let after = |word: &str| arguments.iter().skip_while(|other| *other != word).nth(1);
    let viewers = after("--viewers").map(|text| text.split(',').filter_map(|one| one.parse().ok()).collect());
    let whole = !has("--cut");
    let alone = has("--alone") || !janus_server::can_janus();
    if alone {
        println!("without Janus: tests/perf/whep has it take part");
    }
    match has("--quick") {
        true => Plan {
            viewers: viewers.unwrap_or_else(|| vec![1, 100]),
            rounds: 2,
            floods: 2,
            lasts: Duration::from_secs(2),
            alone,
            whole,
        },
        false => Plan {
            viewers: viewers.unwrap_or_else(|| vec![1, 10, 100, 400]),
            rounds: 3,
            floods: 7,
            lasts: Duration::from_secs(5),
            alone,
            whole,
        },
    }
}

/// One number of viewers; returns what they took of this program's memory, in KiB.
fn measure(viewers: usize, plan: &Plan, limit: f64) -> f64 {
    let mut shows = vec![Show::open(Contestant::Neck(Neck::start()), viewers, plan.whole)];
    if !plan.alone {
        shows.push(Show::open(Contestant::Janus(Janus::start()), viewers, plan.whole));
    }
    if let Some(program) = before() {
        shows.push(Show::open(Contestant::Before(Neck::of(&program)), viewers, plan.whole));
    }
    let mut results: Vec<Vec<Measured>> = vec![Vec::new(); shows.len()];
    let (mut paced, mut limits) = (Paced::open(viewers, plan.whole), Vec::new());
    for _ in 0..plan.rounds {
        for (show, results) in shows.iter_mut().zip(&mut results) {
            results.push(round(show, plan.lasts, PACE));
        }
        limits.push(paced.measure(PACE, plan.lasts));
    }
    drop(paced);
    for (show, results) in shows.iter_mut().zip(&results) {
        show.weigh();
        row(viewers, show, results);
    }
    let named = |name: &str| shows.iter().position(|show| show.contestant.name() == name);
    let neck = &results[0];
    verdict(viewers, neck, named("janus").map(|at| &results[at]), (limit, &limits, &shows[0]));
    if let Some(at) = named("janus") {
        println!("{viewers:>7} janus ÷ neck: memory {:.1}", shows[at].memory / shows[0].memory);
    }
    if let Some(at) = named("before") {
        compare(viewers, neck, &results[at], shows[0].memory / shows[at].memory);
    }
    shows[0].memory * viewers as f64
}

/// This commit beside the one before, round by round.
fn compare(viewers: usize, now: &[Measured], then: &[Measured], memory: f64) {
    let of = |pick: fn(&Measured) -> f64| ratio(&column(now, pick), &column(then, pick)).show(2);
    println!(
        "{viewers:>7} neck ÷ before: CPU per packet {}, of the media thread {}, p50 {}, p99 {}, memory {memory:.2}",
        of(|one| one.cost),
        of(|one| one.thread_cost),
        of(|one| one.report.p50),
        of(|one| one.report.p99),
    );
}

fn round(show: &mut Show, lasts: Duration, pace: Pace) -> Measured {
    let playing = show.play(pace);
    std::thread::sleep(SETTLE);
    show.crowd.begin();
    let measured = Measured::of(show.contestant.pid(), lasts, || show.crowd.end());
    drop(playing);
    measured
}

/// How many packets one core sends when there are more than it can send: frames that came meanwhile go out together. The media thread
/// has the first core for itself, all else has the second.
fn saturate(viewers: usize, plan: &Plan) {
    // Next to it in time and with trains as long as those it makes: the machine is not the same from minute to minute.
    let [.., limit] = limit::limits(LONG_TRAIN, plan.whole);
    pin(std::process::id(), "", &[1]);
    let mut show = Show::open(Contestant::Neck(Neck::start()), viewers, plan.whole);
    show.crowd.count_only();
    pin(show.contestant.pid(), MEDIA, &[0]);
    let rounds = (0..plan.floods).map(|_| (round(&mut show, plan.lasts, FLOOD), rtc::alone()));
    let (results, alone): (Vec<Measured>, Vec<f64>) = rounds.unzip();
    println!(
        "{viewers:>7} neck, {} packets/s each wanted, one core: {} packets/s arrived (floor {:.0}, goal {:.0}), {:.2} of the \
         limit's cost ({:.0} packets/s), {:.0} % of the core; lost {:.2} %; the viewers took {:.0} % of the other",
        FLOOD.frames * FLOOD.packets,
        Figure::of(&column(&results, |one| one.rate)).show(0),
        FLOORS.1,
        GOALS.1,
        median(&results, |one| one.thread_cost) / limit,
        1e6 / limit,
        median(&results, |one| one.thread_cost * one.rate / 1e4),
        median(&results, |one| one.report.lost),
        median(&results, |one| one.crowd),
    );
    yardstick(viewers, &results, &alone);
}

/// What that is worth on this machine: beside str0m alone, which was measured where the floor was as well.
fn yardstick(viewers: usize, results: &[Measured], alone: &[f64]) {
    println!(
        "{viewers:>7} neck: its media thread takes {} times what str0m alone does, {} µs/packet; where the floor was measured {:.1} times \
         {:.2} µs",
        ratio(&column(results, |one| one.thread_cost), alone).show(2),
        Figure::of(alone).show(2),
        FLOOR_THERE / rtc::THERE,
        rtc::THERE,
    );
}

fn row(viewers: usize, show: &Show, results: &[Measured]) {
    let at = |pick: fn(&Measured) -> f64| median(results, pick);
    println!(
        "{viewers:>7} {:<6} {:>9.0} {:>20} {:>12.0} {:>9.3} {:>7.1} {:>9.3} {:>9.3} {:>10.0} {:>7.2} {:>6}",
        show.contestant.name(),
        at(|one| one.rate),
        Figure::of(&column(results, |one| one.cost)).show(2),
        1e6 / at(|one| one.cost),
        at(|one| one.share) / viewers as f64,
        at(|one| one.share),
        at(|one| one.report.p50),
        at(|one| one.report.p99),
        show.memory,
        at(|one| one.report.lost),
        at(|one| one.report.largest),
    );
}

fn verdict(
    viewers: usize,
    neck: &[Measured],
    janus: Option<&Vec<Measured>>,
    (rush, paced, show): (f64, &[f64], &Show),
) {
    let thread = median(neck, |one| one.thread_cost);
    println!(
        "{viewers:>7} neck: its media thread alone {thread:.2} µs/packet, {:.2} of the limit (goal {}), {} of the limit at this pace ({} \
         µs/packet); {:.1} packets a send; {:.0} KiB per viewer (goal {}), {:.0} without pages of the program; the viewers took {:.0} % of a core",
        thread / rush,
        OWN_GOALS.0,
        ratio(&column(neck, |one| one.thread_cost), paced).show(2),
        Figure::of(paced).show(2),
        show.train,
        show.memory,
        OWN_GOALS.1,
        show.anonymous,
        median(neck, |one| one.crowd),
    );
    if let Some(janus) = janus {
        let of = |pick: fn(&Measured) -> f64| ratio(&column(janus, pick), &column(neck, pick));
        println!(
            "{viewers:>7} janus ÷ neck: CPU per packet {} (floor {}, goal {}), p50 {}, p99 {}",
            of(|one| one.cost).show(2),
            FLOORS.0,
            GOALS.0,
            of(|one| one.report.p50).show(1),
            of(|one| one.report.p99).show(1),
        );
    }
}
