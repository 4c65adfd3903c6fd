//! Years of renewals against an authority that keeps Let's Encrypt's limits, with trouble by seed: what it says is random, the
//! time of each step is not ours, and the process is started anew again and again. A seed stands in every message.

use crate::acme::protocol::issuance::Way;
use crate::acme::protocol::plan::{Due, Held, Plan, Verdict, Wanted};
use crate::acme::protocol::says::RenewalInfo;
use crate::acme::protocol::trouble::{Kind, Trouble};
use crate::core::wall_time::{DAY, HOUR, WallTime};

const DIRECTORY: &str = "https://ca.example/directory";
const BEGIN: u64 = 1_800_000_000;
const YEAR: u64 = 365 * DAY;

/// xorshift64*: the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % below.max(1)
    }
}

/// What the authority saw, and what it counts.
#[derive(Default)]
struct Authority {
    certificates: Vec<u64>,
    failed_validations: Vec<u64>,
    orders: Vec<u64>,
    calls: u64,
}

fn within(times: &[u64], now: u64, span: u64) -> usize {
    times.iter().filter(|at| now - **at < span).count()
}

impl Authority {
    /// Let's Encrypt's limits; a renewal that names what it replaces does not count as a certificate.
    fn check(&self, now: u64, seed: u64) {
        let certificates = within(&self.certificates, now, 7 * DAY);
        let failed = within(&self.failed_validations, now, HOUR);
        let orders = within(&self.orders, now, 3 * HOUR);
        assert!(
            certificates <= 5 && failed <= 5 && orders <= 300,
            "seed {seed}, day {}: {certificates} {failed} {orders}",
            (now - BEGIN) / DAY
        );
    }
}

/// How the world treats us in a run.
#[derive(Clone, Copy, Debug)]
struct World {
    life: u64,
    has_info: bool,
    /// Of a hundred tries so many fail.
    failures: u64,
    /// The authority is away for so long, once in twenty days.
    outage: u64,
    /// Between two starts of the process; 0: it runs on.
    restarts: u64,
}

struct Run {
    world: World,
    seed: u64,
    dice: Dice,
    plan: Plan,
    held: Option<Held>,
    authority: Authority,
    expired: u64,
}

fn names() -> Vec<String> {
    vec!["a.example".to_owned()]
}

fn held(life: u64, from: u64, has_info: bool) -> Held {
    Held {
        names: names(),
        issuer: "Test".into(),
        serial: format!("{from:x}"),
        not_before: WallTime(from - HOUR),
        not_after: WallTime(from - HOUR + life),
        renewal_id: has_info.then(|| format!("aki.{from:x}")),
        directory: DIRECTORY.into(),
    }
}

impl Run {
    fn new(world: World, seed: u64) -> Run {
        let plan = Plan::default();
        let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut run =
            Run { world, seed, dice, plan, held: None, authority: Authority::default(), expired: 0 };
        run.start();
        run
    }

    /// The process starts: what is not kept is gone.
    fn start(&mut self) {
        let kept = serde_json::to_string(&self.plan).expect("JSON");
        self.plan = serde_json::from_str(&kept).expect("what was kept");
        self.plan.adopt(Wanted { names: &names(), directory: DIRECTORY });
    }

    fn is_away(&self, now: u64) -> bool {
        (now - BEGIN) % (20 * DAY) < self.world.outage && now - BEGIN > 5 * DAY
    }

    fn year(mut self) -> Run {
        let (mut now, mut start) = (BEGIN, BEGIN);
        while now < BEGIN + YEAR {
            if self.world.restarts > 0 && now >= start {
                self.start();
                start = now + self.world.restarts;
            }
            let until = self.step(now);
            assert!(until > now, "seed {}: no progress at {now}", self.seed);
            let next = if self.world.restarts > 0 { until.min(start.max(now + 1)) } else { until };
            if let Some(held) = &self.held {
                self.expired += next.saturating_sub(held.not_after.0.max(now));
            }
            now = next;
            self.authority.check(now, self.seed);
        }
        self
    }

    /// One look at the plan; returns when the next one is.
    fn step(&mut self, now: u64) -> u64 {
        let at = WallTime(now);
        match self.plan.due(at, self.held.as_ref()) {
            Due::Nothing(until) => return until.0,
            Due::RenewalInfo(id) => self.inform(at, &id),
            Due::Certificate(replaces) => match self.plan.looked(at, Ok(())) {
                Verdict::Order(way) => self.order(at, replaces.is_some() && self.world.has_info, way),
                Verdict::Not => {}
            },
        }
        now + 1 + self.dice.roll(30)
    }

    fn inform(&mut self, now: WallTime, id: &str) {
        self.authority.calls += 1;
        let Some(held) = &self.held else { return };
        let third = held.not_after.0 - self.world.life / 3;
        let info = RenewalInfo {
            start: WallTime(third - 2 * HOUR),
            end: WallTime(third + 2 * HOUR),
            explanation: None,
        };
        let info = Some(info).filter(|_| !self.is_away(now.0));
        self.plan.informed(now, (id, info), Some(6 * HOUR), self.dice.roll(u64::MAX));
    }

    fn order(&mut self, now: WallTime, is_exempt: bool, way: Way) {
        self.authority.calls += 10;
        let kind = match self.dice.roll(100) {
            _ if self.is_away(now.0) => Some(Kind::Unreachable),
            roll if roll < self.world.failures => Some(Kind::Unproved),
            _ => None,
        };
        let random = self.dice.roll(u64::MAX);
        match kind {
            Some(kind) => {
                if kind == Kind::Unproved {
                    self.authority.orders.push(now.0);
                    self.authority.failed_validations.push(now.0);
                }
                let trouble = Trouble::new(kind, "trouble");
                self.plan.failed(now, self.held.as_ref(), (&trouble, way), random);
            }
            None => {
                self.authority.orders.push(now.0);
                if !is_exempt {
                    self.authority.certificates.push(now.0);
                }
                self.held = Some(held(self.world.life, now.0, self.world.has_info));
                self.plan.succeeded(now, Some(way));
            }
        }
    }
}

const LIVES: [u64; 4] = [90 * DAY, 64 * DAY, 45 * DAY, 160 * HOUR];

#[test]
fn a_year_of_renewals_never_expires_and_never_meets_a_limit() {
    for seed in 1..=24 {
        for life in LIVES {
            let mut dice = Dice(seed * 77);
            let world = World {
                life,
                has_info: seed % 2 == 0,
                failures: dice.roll(60),
                outage: dice.roll(life / 8),
                restarts: [0, 3 * HOUR, 7 * HOUR, DAY][usize::try_from(seed % 4).expect("small")],
            };
            let run = Run::new(world, seed).year();
            assert_eq!(run.expired, 0, "seed {seed}, {world:?}: expired for {} s", run.expired);
            let renewals = run.authority.orders.len() - run.authority.failed_validations.len();
            let expected = usize::try_from(YEAR / life).expect("small");
            assert!(
                renewals >= expected && renewals <= 3 * expected + 3,
                "seed {seed}, {world:?}: {renewals} certificates in a year"
            );
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_year() {
    let world = World { life: 45 * DAY, has_info: true, failures: 40, outage: DAY, restarts: 600 };
    let (one, two) = (Run::new(world, 7).year(), Run::new(world, 7).year());
    assert_eq!(one.authority.orders, two.authority.orders);
    assert_ne!(one.authority.orders, Run::new(world, 8).year().authority.orders);
}

#[test]
fn a_process_that_starts_again_and_again_asks_no_more_than_one_that_runs() {
    let world = World { life: 90 * DAY, has_info: false, failures: 100, outage: 0, restarts: 0 };
    let count = |restarts: u64| {
        let mut run = Run::new(World { restarts, ..world }, 3);
        let mut now = BEGIN;
        while now < BEGIN + 2 * DAY {
            if restarts > 0 {
                run.start();
            }
            let until = run.step(now);
            now = if restarts > 0 { until.min(now + restarts) } else { until };
            run.authority.check(now, 3);
        }
        run.authority.orders.len()
    };
    let (steady, looping) = (count(0), count(1));
    println!(
        "orders in two days of failures: {steady} by one process, {looping} by one that starts every second"
    );
    assert!(looping <= steady + 1 && looping >= 3, "{looping} {steady}");
}

// SPEC 2: A certificate is served to its last second while the authority is away, and somebody is
// told in time
// Also: `health_is_told_what_is_wrong_and_when_it_is_tried_again`
#[test]
fn an_authority_that_stays_away_costs_nothing_until_the_last_second() {
    for life in LIVES {
        let world = World { life, has_info: true, failures: 0, outage: 0, restarts: 0 };
        let mut run = Run::new(world, 1);
        run.step(BEGIN);
        let held = run.held.clone().expect("a certificate");
        let (mut now, mut alarm) = (BEGIN + 1, None);
        run.world.outage = YEAR;
        while now <= held.not_after.0 {
            if now >= BEGIN + 5 * DAY || life < 10 * DAY {
                let at = WallTime(now);
                if let Due::Certificate(_) = run.plan.due(at, Some(&held)) {
                    let trouble = Trouble::new(Kind::Unreachable, "the authority cannot be reached");
                    run.plan.failed(at, Some(&held), (&trouble, Way::Http), now);
                }
                alarm = alarm.or_else(|| run.plan.complaint(at, Some(&held)).map(|_| now));
            }
            now += 600;
        }
        let last = WallTime(held.not_after.0 - 1);
        assert!(held.is_good(last) && !held.is_good(held.not_after), "serves to the last second");
        let warned = held.not_after.0 - alarm.expect("an alarm");
        assert!(warned > life / 5 && run.plan.is_late(last, &held), "{life}: told {warned} s before");
        let said = run.plan.complaint(held.not_after, Some(&held)).expect("words");
        assert!(said.contains("has expired") && said.contains("cannot be reached"), "{said}");
        println!("{} days: told {} hours before the end", life / DAY, warned / HOUR);
    }
}
