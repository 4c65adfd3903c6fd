//! A soak: people come, watch and go while everything around them dies, freezes, is cut off, is drained and runs out of room, at random
//! from a seed. At the end nothing is left of it. `tests/fleet/soak` runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hydraneckwebrtc::host::process_table;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::etcd;
use crate::fleet::{Fleet, Host, end_sessions, lease_of, urls};
use crate::lab::{Lab, PATIENCE, Role, eventually};
use crate::machines::{self, SmallDisk};
use crate::people::{self, Town};
use crate::rng::Rng;
use crate::standing::{self, Port};
use crate::troubles::{LASTING_CONTROLLER, LASTING_WORKER, Trouble, drain};
use crate::watch::{Doubled, Seen, Watch};

const WORKERS: usize = 4;
const BODIES: usize = 12;
const PEOPLE: u64 = 8;

/// Troubles at a time: more, and nobody would see a picture any more.
const AT_ONCE: usize = 3;

/// Room of a worker's sessions, and of its state.
const DISK_MEGABYTES: u32 = 24;

/// A leader that cannot hear a worker does not know of the sessions that this worker got last, and after two heartbeats it may start
/// others for the same bodies: nobody is made to wait longer. So soon after it hears the worker again only one is left.
const RESOLVED: Duration = Duration::from_secs(20);

/// Between two looks at memory.
const SAMPLE: Duration = Duration::from_secs(5);

/// How long an ended session is remembered; then its record is sent.
const ENDED_WINDOW: Duration = Duration::from_secs(20);

/// Records arrive at last within this.
const RECORDS: Duration = Duration::from_secs(120);

/// A process may have so many descriptors more than at the beginning: connections that are kept for the next call.
const KEPT_DESCRIPTORS: usize = 12;

/// What memory may grow by from the first third of a run to its end: a tenth, and what an allocator keeps.
const GROWTH_PERCENT: u64 = 10;
const GROWTH_KB: u64 = 6 * 1024;

struct Soak {
    fleet: Fleet,
    disks: Vec<[SmallDisk; 2]>,
    rng: Rng,
    begun: Instant,
    length: Duration,
    /// What is wrong now, and until when.
    active: Vec<(Instant, Trouble)>,
    /// Workers that some controller could not hear, and when that was.
    unheard: Vec<(usize, Instant, Instant)>,
    /// How often each kind of trouble came.
    troubles: BTreeMap<String, usize>,
    /// Memory of what is never killed, in KiB, in the order of time.
    memory: BTreeMap<String, Vec<u64>>,
    /// The highest lease number so far, and how often it rose.
    lease: u64,
    leaders: usize,
    /// What is wrong with the product.
    faults: Vec<String>,
}

/// A number out of the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn settings(lab: &Lab, name: &str, config: &mut Value) {
    if config["mode"] == "controller" {
        config["lease"]["ttl"] = json!("5s");
        // Shorter than many a trouble: what was on a worker that died goes on at another one while somebody watches.
        config["workers"] = json!({"heartbeat_interval": "1s", "heartbeat_timeout": "8s"});
        config["sessions"]["move"] = json!("always");
        return;
    }
    let nps = config["nps"].clone();
    config["experience_library"] = nps;
    config["outbox"] = json!({"retry": "200ms", "retry_max": "2s", "timeout": "2s"});
    config["controller"]["heartbeat_interval"] = json!("1s");
    config["drain"] = json!({"timeout": "5s"});
    config["server"]["state_dir"] = json!(state_dir(lab, name));
    let sessions = &mut config["sessions"];
    sessions["max"] = json!(4);
    sessions["idle_timeout"] = json!("10s");
    sessions["connect_timeout"] = json!("10s");
    sessions["ended_window"] = json!(format!("{}s", ENDED_WINDOW.as_secs()));
    sessions["keep_logs"] = json!("0s");
}

fn state_dir(lab: &Lab, name: &str) -> std::path::PathBuf {
    lab.dir.join(format!("{name}-state"))
}

impl Soak {
    fn start(seed: u64, length: Duration) -> Soak {
        let mounted = std::cell::RefCell::new(Vec::new());
        let fleet = Fleet::start(WORKERS, BODIES, &|lab, name, config| {
            if config["mode"] == "worker" {
                let places = [lab.data_dir(name), state_dir(lab, name)];
                mounted.borrow_mut().push(places.map(|place| SmallDisk::mount(place, DISK_MEGABYTES)));
            }
            settings(lab, name, config);
        });
        Soak {
            fleet,
            disks: mounted.into_inner(),
            rng: Rng::new(seed),
            begun: Instant::now(),
            length,
            active: Vec::new(),
            unheard: Vec::new(),
            troubles: BTreeMap::new(),
            memory: BTreeMap::new(),
            lease: 0,
            leaders: 0,
            faults: Vec::new(),
        }
    }

    fn say(&self, text: &str) {
        println!("{:>7.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }

    fn roles(&self) -> impl Iterator<Item = &Role> {
        self.fleet.controllers.iter().chain(&self.fleet.workers).map(|host| &host.role)
    }

    /// Troubles come and go until the time is over.
    fn trouble(&mut self) {
        let mut sampled = Instant::now();
        while self.begun.elapsed() < self.length {
            self.end_troubles(Instant::now());
            if self.active.len() < AT_ONCE && self.rng.chance(60) {
                self.begin_trouble();
            }
            if self.rng.chance(15) {
                self.kill_a_stream_process();
            }
            if sampled.elapsed() > SAMPLE {
                sampled = Instant::now();
                self.sample();
            }
            std::thread::sleep(Duration::from_millis(self.rng.within(300, 2_000)));
        }
    }

    fn begin_trouble(&mut self) {
        let (trouble, seconds) = Trouble::any(&mut self.rng, (WORKERS, BODIES));
        if self.active.iter().any(|(_, other)| other.exclusive() == trouble.exclusive()) {
            return;
        }
        self.say(&format!("{trouble:?} for {seconds} s"));
        let since = Instant::now();
        trouble.begin(&mut self.fleet, &self.disks);
        // Its end is put in when it comes, which may be late.
        self.unheard.extend(trouble.unheard().map(|worker| (worker, since, since)));
        *self.troubles.entry(trouble.kind()).or_default() += 1;
        self.active.push((Instant::now() + Duration::from_secs(seconds), trouble));
    }

    /// Ends those whose time has come by `now`.
    fn end_troubles(&mut self, now: Instant) {
        let all = std::mem::take(&mut self.active).into_iter();
        let (over, active): (Vec<_>, Vec<_>) = all.partition(|(until, _)| *until <= now);
        self.active = active;
        for (_, trouble) in over {
            trouble.end(&mut self.fleet, &self.disks);
            let worker = trouble.unheard();
            if let Some(last) = self.unheard.iter_mut().rfind(|(unheard, ..)| Some(*unheard) == worker) {
                last.2 = Instant::now();
            }
            self.say(&format!("{trouble:?} is over"));
        }
    }

    fn kill_a_stream_process(&mut self) {
        let worker = self.rng.within(0, WORKERS as u64 - 1) as usize;
        let name = self.fleet.workers[worker].role.name.clone();
        let all = self.fleet.lab.stream_processes(&name);
        if let Some(victim) = all.first() {
            standing::kill_group(victim.pid);
            *self.troubles.entry("DeadStreamProcess".into()).or_default() += 1;
        }
    }

    fn sample(&mut self) {
        let lasting =
            [&self.fleet.controllers[LASTING_CONTROLLER].role, &self.fleet.workers[LASTING_WORKER].role];
        for role in lasting {
            if let Some(kb) = resident(role) {
                self.memory.entry(role.name.clone()).or_default().push(kb);
            }
        }
        let answering = (0..self.fleet.controllers.len()).filter(|at| self.answers(*at));
        let numbers: Vec<u64> = answering
            .filter_map(|at| lease_of(&self.fleet.controllers[at].role)["number"].as_u64())
            .collect();
        for number in numbers {
            self.leaders += usize::from(number > self.lease);
            self.lease = self.lease.max(number);
        }
    }

    /// Whether a controller is neither dead nor frozen, as far as we know.
    fn answers(&self, controller: usize) -> bool {
        let word = format!("controller {controller}");
        !self.active.iter().any(|(_, trouble)| trouble.exclusive() == word)
    }

    /// Once troubles are over and nobody is there any more: no worker is drained, and no session lives.
    fn settle(&mut self) {
        self.fleet.wait_until_whole();
        let leader = self.fleet.leader();
        let controller = &self.fleet.controllers[leader].role;
        for worker in 0..WORKERS {
            drain(&self.fleet, worker, false);
        }
        eventually("no worker is drained any more", || {
            let listed = controller.get("/api/v1/workers").json();
            let workers = listed["workers"].as_array()?;
            workers.iter().all(|worker| worker["draining"] == false).then_some(())
        });
        eventually("every session is over", || end_sessions(controller).is_empty().then_some(()));
        self.say("all troubles and sessions are over");
    }

    /// No body had two sessions, but where a leader could not hear the worker of one of them; how many looks saw such.
    fn check_doubled(&mut self, doubled: Vec<Doubled>) -> usize {
        let (excused, faults): (Vec<_>, Vec<_>) = doubled.into_iter().partition(|seen| self.is_excused(seen));
        for seen in faults {
            self.fault(format!("two sessions of one body: {}", seen.words));
        }
        excused.len()
    }

    fn is_excused(&self, seen: &Doubled) -> bool {
        let mut unheard = self.unheard.iter().filter(|(worker, ..)| seen.workers.contains(worker));
        unheard.any(|(_, from, until)| *from <= seen.at && seen.at <= *until + RESOLVED)
    }

    fn fault(&mut self, what: String) {
        self.say(&format!("FAULT: {what}"));
        self.faults.push(what);
    }

    /// How many records each session has at the receiver.
    fn records(&self) -> BTreeMap<String, usize> {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for taken in self.fleet.collector.taken().into_values() {
            if taken.path == "/api/v1/sessions" {
                let id = taken.body["session_id"].as_str().unwrap_or_default();
                *found.entry(id.into()).or_default() += 1;
            }
        }
        found
    }

    /// How often sessions went on at another worker, by their records.
    fn moves(&self) -> u64 {
        let taken = self.fleet.collector.taken();
        taken.values().filter_map(|taken| taken.body["moves"].as_u64()).sum()
    }

    /// Each session has exactly one record at the receiver.
    fn check_records(&mut self, expected: &BTreeSet<String>) -> usize {
        let missing = self.wait_for_none(RECORDS, &|soak| {
            let records = soak.records();
            expected.iter().filter(|id| !records.contains_key(*id)).cloned().collect()
        });
        for id in missing {
            self.fault(format!("session {id} has no record"));
        }
        let records = self.records();
        for (id, count) in records.iter().filter(|(_, count)| **count != 1) {
            self.fault(format!("session {id} has {count} records"));
        }
        for fault in self.fleet.collector.faults() {
            self.fault(format!("the receiver: {fault}"));
        }
        records.len()
    }

    /// Waits until this is empty, but no longer than this: what is left.
    fn wait_for_none(&self, longest: Duration, left: &dyn Fn(&Soak) -> Vec<String>) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let found = left(self);
            if found.is_empty() || begun.elapsed() >= longest {
                return found;
            }
            std::thread::sleep(SAMPLE / 5);
        }
    }

    /// Waits until this is empty, or notes what is left as a fault.
    fn check_gone(&mut self, what: &str, left: &dyn Fn(&Soak) -> Vec<String>) {
        let found = self.wait_for_none(PATIENCE, left);
        if !found.is_empty() {
            self.fault(format!("{what}: {found:?}"));
        }
    }

    /// Nothing is left of any session.
    fn check_left(&mut self, before: &BTreeMap<String, Standing>) {
        self.check_gone("left of sessions", &|soak| soak.fleet.left_at_workers());
        self.check_gone("left at bodies", &|soak| soak.fleet.left_at_bodies());
        let expected: BTreeMap<String, Vec<Port>> =
            before.iter().map(|(name, standing)| (name.clone(), standing.ports.clone())).collect();
        self.check_gone("ports", &|soak| {
            let now = soak.roles().map(|role| (role.name.clone(), standing::ports(role.pid())));
            now.filter(|(name, ports)| ports != &expected[name]).map(|odd| format!("{odd:?}")).collect()
        });
        let descriptors: BTreeMap<String, usize> =
            before.iter().map(|(name, standing)| (name.clone(), standing.descriptors)).collect();
        self.check_gone("descriptors", &|soak| {
            let now = soak.roles().map(|role| (role.name.clone(), standing::descriptors(role.pid())));
            now.filter(|(name, count)| *count > descriptors[name] + KEPT_DESCRIPTORS)
                .map(|(name, count)| format!("{name}: {count}, at first {}", descriptors[&name]))
                .collect()
        });
        self.check_gone("waits to be sent", &|soak| {
            let waiting =
                |host: &Host| host.role.get("/api/v1/health").json()["extra"]["outbox"]["waiting"].clone();
            let workers = soak.fleet.workers.iter().map(|host| (host.role.name.clone(), waiting(host)));
            workers.filter(|(_, waiting)| waiting != &json!(0)).map(|odd| format!("{odd:?}")).collect()
        });
    }

    /// Every controller and worker still does its work.
    fn check_it_works(&mut self) {
        let leader = self.fleet.leader();
        for body in 0..WORKERS {
            let ip = self.fleet.body_ip(body);
            self.fleet.controllers[leader].role.create(&ip);
        }
        end_sessions(&self.fleet.controllers[leader].role);
    }

    /// Memory did not grow from the first third on; in words.
    fn check_memory(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for (name, samples) in self.memory.clone() {
            let part = |from: usize, to: usize| {
                let mut part = samples[samples.len() * from / 12..samples.len() * to / 12].to_vec();
                part.sort_unstable();
                part.get(part.len() / 2).copied().unwrap_or_default()
            };
            let parts: Vec<u64> = (0..12).step_by(2).map(|from| part(from, from + 2)).collect();
            let (early, late) = (parts[1], parts[5]);
            told.push(format!("{name}: KiB in sixths of the run {parts:?}"));
            if late > early + early * GROWTH_PERCENT / 100 + GROWTH_KB {
                self.fault(format!("{name} grew from {early} to {late} KiB"));
            }
        }
        told
    }

    /// Everything ends on SIGTERM, and no process is left.
    fn check_end(&mut self) {
        for host in self.fleet.workers.iter_mut().chain(&mut self.fleet.controllers) {
            host.role.signal(Signal::TERM);
            let status = host.role.wait();
            assert!(status.success(), "{} ended with {status}", host.role.name);
        }
        (0..3).for_each(|store| self.fleet.etcd.kill_member(store));
        self.check_gone("processes", &|_| {
            let own = i32::try_from(std::process::id()).expect("a pid");
            let others = standing::processes().into_iter().filter(|(pid, _)| *pid != 1 && *pid != own);
            others.map(|process| format!("{process:?}")).collect()
        });
    }
}

/// What a role had at the beginning.
struct Standing {
    descriptors: usize,
    ports: Vec<Port>,
}

/// Resident memory in KiB.
fn resident(role: &Role) -> Option<u64> {
    process_table::resident_kb(i32::try_from(role.pid()).expect("a pid"))
}

fn standings(soak: &Soak) -> BTreeMap<String, Standing> {
    let of = |role: &Role| Standing {
        descriptors: standing::descriptors(role.pid()),
        ports: standing::ports(role.pid()),
    };
    soak.roles().map(|role| (role.name.clone(), of(role))).collect()
}

fn summary(soak: &Soak, town: &Town, seen: &Seen, (records, excused): (usize, usize), memory: &[String]) {
    let counts = town.counts();
    println!("\n{} s, {} leaders", soak.begun.elapsed().as_secs(), soak.leaders);
    println!("troubles: {:?}", soak.troubles);
    println!("answers to creates: {:?}", counts.answers);
    println!(
        "{} sessions given, {} seen, {} at once at most; {} records, {} moves",
        counts.sessions.len(),
        seen.sessions.len(),
        seen.most,
        records,
        soak.moves()
    );
    println!(
        "{} s watched by {PEOPLE} people, {} streams broke, {} sessions ended under their eyes, {} ratings; they left: {:?}",
        counts.watched.as_secs(),
        counts.breaks,
        counts.ended_early,
        counts.ratings,
        counts.left
    );
    println!("requests at the receiver: {:?}", soak.fleet.collector.requests());
    memory.iter().for_each(|line| println!("{line}"));
    let memory_now = soak.roles().map(|role| (role.name.clone(), resident(role)));
    println!("at the end: {:?}", memory_now.collect::<Vec<_>>());
    println!(
        "{} looks for two sessions of one body; {excused} saw one where a leader could not hear the worker of the other",
        seen.looks
    );
}

fn run(seed: u64, length: Duration) {
    println!("seed {seed}, {} s", length.as_secs());
    let mut soak = Soak::start(seed, length);
    soak.check_it_works();
    soak.begun = Instant::now();
    let before = standings(&soak);
    let watch = Watch::begin(urls(&soak.fleet.workers));
    let address = soak.fleet.net.own_address().into();
    let town = Arc::new(Town::new(
        urls(&soak.fleet.controllers),
        (0..BODIES).map(|body| soak.fleet.body_ip(body)).collect(),
        address,
    ));
    let people: Vec<JoinHandle<()>> = (1..=PEOPLE)
        .map(|number| {
            let town = town.clone();
            std::thread::spawn(move || people::live(&town, seed.wrapping_mul(1_000).wrapping_add(number)))
        })
        .collect();
    soak.trouble();
    town.close();
    soak.end_troubles(Instant::now() + Duration::from_secs(3_600));
    people.into_iter().for_each(|person| person.join().expect("a person"));
    soak.settle();
    let mut seen = watch.end();
    let excused = soak.check_doubled(std::mem::take(&mut seen.doubled));
    let expected: BTreeSet<String> = town.counts().sessions.union(&seen.sessions).cloned().collect();
    let records = soak.check_records(&expected);
    soak.check_left(&before);
    let memory = soak.check_memory();
    summary(&soak, &town, &seen, (records, excused), &memory);
    soak.check_it_works();
    soak.check_end();
    assert!(soak.faults.is_empty(), "seed {seed}:\n{}", soak.faults.join("\n"));
}

/// Two hours as it stands: `tests/fleet/soak` runs it.
// SPEC 4: Hours of deaths, freezes, partitions, drains, full disks, odd bodies and receivers at
// random leave nothing behind: no process, port, directory, descriptor or pairing, no memory that
// grows, no session without exactly one record, and no body has two sessions but where a leader
// cannot hear the first one's worker (`tests/fleet/soak`)
#[test]
#[ignore = "takes hours: tests/fleet/soak"]
fn a_fleet_in_trouble_for_hours_leaves_nothing_behind_and_one_record_per_session() {
    if etcd::is_there()
        && machines::are_here(
            "soak::a_fleet_in_trouble_for_hours_leaves_nothing_behind_and_one_record_per_session",
        )
    {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = number("NECK_SEED", now.map(|since| since.as_secs()).unwrap_or_default());
        run(seed, Duration::from_secs(number("NECK_MINUTES", 120) * 60));
    }
}
