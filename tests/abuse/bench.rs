//! Every pool, flood and reflection that we know of against two roles: `tests/abuse/run [--quick] [--descriptors N] [WORD]`.
//!
//! ```text
//!  attackers 10.66.3.0/24 ──▶ controller 10.66.0.1 ──▶ worker 10.66.0.2 ◀── the honest client 10.66.9.9
//! ```
//!
//! Each row is one attack for some seconds. Meanwhile an honest client asks both roles for health, lists, a session's page and its state, one
//! request after the other; what it saw before the attack stands in the row above. At the end of the attack, while it goes on, the
//! row's probes are made: what others must still be able to do. Afterwards the descriptors and threads of both roles must be back where
//! they were.
//! Nothing leaves the network that `tests/abuse/run` made.
//!
//! Bounds of time are for a real machine. `tests/abuse/guest` runs this in a computed one, which is many times slower at all that it does: by how
//! much is measured with a server that does nothing ([`floor`]), here and on the machine that computes it, and time bounds are as many times
//! longer. No other bound knows of it.
#![allow(dead_code)]

mod attacks;
#[path = "../whep/client.rs"]
mod client;
mod floor;
mod honest;
#[path = "../behaviour/http.rs"]
mod http;
#[path = "../behaviour/lab.rs"]
mod lab;
mod reflection;
#[path = "../spoofer/mod.rs"]
mod spoofer;
mod stage;
mod wire;

use std::time::{Duration, Instant};

use attacks::{Attack, attacks};
use honest::{Honest, Seen};
use stage::{Load, Stage};

/// The larger of the two limits: enough that descriptors are not what an attack meets first.
const MANY: u64 = 65_536;

/// How long an attack lasts, and with `--quick`.
const LASTS: Duration = Duration::from_secs(20);
const QUICK: Duration = Duration::from_secs(4);

/// The honest client's p99 under attack, as a multiple of that before it; and what it may be in any case, on two cores that the attackers use too.
const SLOWER: f64 = 10.0;
const ALWAYS_FINE: Duration = Duration::from_millis(250);

/// What both roles may take in addition, in MiB.
const MEMORY: u64 = 160;

/// Until both roles are what they were before.
const WHOLE_AGAIN: Duration = Duration::from_secs(40);

/// Descriptors and threads that may be there afterwards in addition: kept connections between the roles, and the API's threads, which go after
/// a while of rest.
const KEPT: u64 = 16;

/// The larger limit: that of our units, or what this machine allows, which is told.
fn many() -> u64 {
    let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(MANY);
    if allowed < MANY {
        println!("this machine allows {allowed} descriptors, so that is measured instead of {MANY}");
    }
    allowed.min(MANY)
}

/// What is asked for.
struct Plan {
    lasts: Duration,
    /// Descriptors for each role, one table after the other.
    descriptors: Vec<String>,
    /// Answers a second of the server that does nothing on the machine that computes this one.
    machine: Option<f64>,
    /// Words of which a row's name has one; none: all rows.
    words: Vec<String>,
}

impl Plan {
    fn of(arguments: &[String]) -> Plan {
        let mut plan = Plan { lasts: LASTS, descriptors: Vec::new(), machine: None, words: Vec::new() };
        let mut left = arguments.iter();
        while let Some(argument) = left.next() {
            match argument.as_str() {
                "--quick" => plan.lasts = QUICK,
                "--descriptors" => plan.descriptors.extend(left.next().cloned()),
                "--machine" => plan.machine = left.next().and_then(|number| number.parse().ok()),
                flag if flag.starts_with("--") => {}
                word => plan.words.push(word.to_owned()),
            }
        }
        plan
    }

    /// Both limits, when none was named.
    fn limits(&self) -> Vec<String> {
        match self.descriptors.as_slice() {
            [] => vec!["1024".to_owned(), many().to_string()],
            named => named.to_vec(),
        }
    }

    fn has(&self, attack: &Attack) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| attack.name.contains(word.as_str()))
    }

    /// What the honest client's p99 may be in any case: longer on a computed machine, by as much as that is slower than the real one.
    fn always_fine(&self) -> Duration {
        let Some(real) = self.machine else { return ALWAYS_FINE };
        let here = floor::answers_per_second(self.lasts);
        let slower = (real / here).max(1.0);
        println!(
            "a server that does nothing answers {here:.0} times a second here and {real:.0} times on the machine that computes this one: \
             this one is {slower:.1} times slower"
        );
        ALWAYS_FINE.mul_f64(slower)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // `cargo test --all-targets` must not start this.
    if !has("--bench") {
        return println!("run tests/abuse/run");
    }
    let plan = Plan::of(&arguments);
    if has("--floor") {
        return println!("{:.0}", floor::answers_per_second(plan.lasts));
    }
    let always_fine = plan.always_fine();
    let mut broken = Vec::new();
    for limit in &plan.limits() {
        println!(
            "\n{limit} descriptors for each role, attacks of {:?}; a p99 up to {always_fine:?} is always fine",
            plan.lasts
        );
        header();
        for attack in attacks().iter().filter(|attack| plan.has(attack)) {
            let found = run(attack, limit, plan.lasts, always_fine);
            broken.extend(found.into_iter().map(|what| format!("{limit}: {}: {what}", attack.name)));
        }
    }
    println!(
        "\nload average at the end: {}",
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
    );
    match broken.as_slice() {
        [] => println!("all bounds held"),
        _ => {
            println!("BROKEN:\n  {}", broken.join("\n  "));
            std::process::exit(1);
        }
    }
}

fn header() {
    println!(
        "{:<44} {:>8} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9}  answers to the attackers",
        "", "honest", "failed", "p50 ms", "p99 ms", "max ms", "MiB c/w", "fds c/w", "threads", "whole in"
    );
}

/// One row, and the one above it; what broke its bound.
fn run(attack: &Attack, limit: &str, lasts: Duration, always_fine: Duration) -> Vec<String> {
    let mut stage = Stage::new(limit);
    (attack.prepare)(&mut stage);
    let quiet = Honest::begin(&stage).until(Instant::now() + lasts.min(QUICK));
    let before = stage.load();
    quiet.print("before", &before, None, "");
    let honest = Honest::begin(&stage);
    let until = Instant::now() + lasts;
    let (tally, peak, refused) = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| (attack.begin)(&stage, until));
        let mut peak = before.clone();
        while Instant::now() + Duration::from_millis(800) < until {
            std::thread::sleep(Duration::from_millis(100));
            peak = peak.most(&stage.load());
        }
        let refused: Vec<String> = attack.probes.iter().filter_map(|probe| probe(&stage).err()).collect();
        let tally = attacker.join().expect("the attackers");
        (tally, peak.most(&stage.load()), refused)
    });
    let seen = honest.until(Instant::now());
    let whole = stage.until_whole(&before, KEPT, WHOLE_AGAIN);
    seen.print(attack.name, &peak, whole, &tally.words());
    let mut broken = refused;
    broken.extend(judge((&quiet, &seen), always_fine, (&before, &peak), attack.takes_all));
    if whole.is_none() {
        broken.push(format!("not whole after {WHOLE_AGAIN:?}: {:?}, before {before:?}", stage.load()));
    }
    broken.extend((attack.after)(&stage, &tally).err());
    broken
}

fn judge(
    (quiet, seen): (&Seen, &Seen),
    always_fine: Duration,
    (before, peak): (&Load, &Load),
    takes_all: bool,
) -> Vec<String> {
    let mut broken = Vec::new();
    let bound = quiet.p99().mul_f64(SLOWER).max(always_fine);
    if seen.p99() > bound {
        broken.push(format!("p99 of others {:?}, at most {bound:?}", seen.p99()));
    }
    if let Some(failure) = seen.failure.as_ref().filter(|_| !takes_all) {
        broken.push(format!("{} requests of others failed, the first: {failure}", seen.failed));
    }
    for (role, now, then) in
        [("controller", peak.memory.0, before.memory.0), ("worker", peak.memory.1, before.memory.1)]
    {
        if now > then + MEMORY {
            broken.push(format!("the {role} took {} MiB in addition, at most {MEMORY}", now - then));
        }
    }
    broken
}
