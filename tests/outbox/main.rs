//! The outbox as a process that is killed: nothing that it took is lost, nothing arrives twice under two keys.
//!
//! The process is this program again, running the one test that puts items; it says on its standard output what it was
//! told is on disk.

#[path = "../support/collector.rs"]
mod collector;
#[path = "../support/hook_receiver.rs"]
mod hook_receiver;
mod webhooks;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use collector::{Collector, Mood, TOKEN};
use hydraneckwebrtc::config::live::Live;
use hydraneckwebrtc::config::secret::Secret;
use hydraneckwebrtc::config::settings::{ExperienceLibrary, Nps, Role, Settings};
use hydraneckwebrtc::host::clock::unix_millis;
use hydraneckwebrtc::host::entropy;
use hydraneckwebrtc::host::private_dir::PrivateDir;
use hydraneckwebrtc::outbox::{Destination, Item, Limits, Outbox};
use serde_json::json;

/// Ratings, and as many records.
const COUNT: usize = 1000;
const KILLS: usize = 50;

/// Everything ends within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(240);

const LIMITS: Limits = Limits { records: 10_000, bytes: 64 << 20 };

/// Tells the process where its directory is, where the collector is, and which items are on disk already.
const AT: &str = "OUTBOX_TEST_AT";
const TO: &str = "OUTBOX_TEST_TO";
const FROM: &str = "OUTBOX_TEST_FROM";

fn item(number: usize) -> Item {
    let rating = number.is_multiple_of(2);
    Item {
        key: format!("{}-{number:05}", if rating { "rating" } else { "record" }),
        destination: match rating {
            true => Destination::Library { experience: format!("Game {}", number % 7) },
            false => Destination::Nps,
        },
        due_ms: unix_millis(),
        lane: None,
        body: json!({"number": number, "comment": "x".repeat(number % 500)}),
    }
}

fn settings(url: &str) -> Settings {
    let mut settings = Settings::defaults(Role::Worker);
    let token = || Secret::new(TOKEN);
    settings.nps = Some(Nps { url: url.into(), token: token(), ..Nps::default() });
    settings.experience_library =
        Some(ExperienceLibrary { url: url.into(), token: token(), ..ExperienceLibrary::default() });
    settings.outbox.retry = Duration::from_millis(10);
    settings.outbox.retry_max = Duration::from_millis(80);
    settings.outbox.timeout = Duration::from_millis(400);
    settings
}

fn start(at: &Path, url: &str) -> (Outbox, hydraneckwebrtc::outbox::OutboxThread) {
    let live = Arc::new(Live::new(settings(url)));
    Outbox::start(PrivateDir::open(at).expect("a directory"), live, Box::new(|| ())).expect("an outbox")
}

/// The process: puts every item from a number on, then goes on delivering until it is killed or all is delivered.
#[test]
fn the_process_that_is_killed() {
    let (Ok(at), Ok(url)) = (std::env::var(AT), std::env::var(TO)) else { return };
    let from: usize = std::env::var(FROM).ok().and_then(|text| text.parse().ok()).expect("a number");
    hydraneckwebrtc::host::crypto::install();
    let (outbox, thread) = start(at.as_ref(), &url);
    for number in from..2 * COUNT {
        outbox.put(&item(number), LIMITS).expect("it is put");
        println!("on disk {number}");
    }
    let end = Instant::now() + PATIENCE;
    while outbox.figures(unix_millis()).waiting > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    thread.stop();
}

struct Run {
    child: Child,
    reader: std::thread::JoinHandle<Option<usize>>,
}

/// Starts the process. Its thread returns the last number that is on disk.
fn run(at: &Path, url: &str, from: usize) -> Run {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(AT, at)
        .env(TO, url)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the process");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let reader = std::thread::spawn(move || {
        let numbers = output.lines().map_while(Result::ok);
        // The test harness writes its own words before the first.
        numbers.filter_map(|line| line.rsplit_once("on disk ")?.1.parse().ok()).last()
    });
    Run { child, reader }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!(
            "neck-{name}-{}-{:08x}",
            std::process::id(),
            entropy::number()
        )))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const MOODS: [Mood; 6] = [
    Mood::Down,
    Mood::Well,
    Mood::Answers(500),
    Mood::Breaks,
    Mood::Slow(Duration::from_millis(30)),
    // Longer than an attempt may take: taken, and nobody hears of it.
    Mood::Slow(Duration::from_millis(600)),
];

// SPEC 9: At a session's end one record goes to `nps.url`, ratings go to `experience_library.url`;
// each arrives once by its key whatever is down, slow, broken or killed
// Also: `each_session_leaves_one_record_and_each_rating_arrives_though_the_worker_is_killed`,
// `a_record_waits_until_nothing_of_it_can_change`,
// `a_key_is_stable_differs_by_kind_and_does_not_tell_the_id`,
// `a_replaced_item_is_not_removed_by_the_delivery_of_its_older_self`
#[test]
fn a_thousand_ratings_and_records_arrive_once_by_their_key_whatever_is_down_or_killed() {
    let (scratch, collector) = (Scratch::new("outbox"), Collector::start());
    let (begun, mut on_disk) = (Instant::now(), 0);
    for kill in 0..KILLS {
        collector.set(MOODS[kill % MOODS.len()]);
        let mut run = run(&scratch.0, &collector.url(), on_disk);
        // Not a wait for anything: the moment of death.
        std::thread::sleep(Duration::from_millis(30 + entropy::number() % 270));
        run.child.kill().expect("it is killed");
        run.child.wait().expect("it is dead");
        on_disk = run.reader.join().expect("its output").map_or(on_disk, |last| last + 1);
    }
    let (when_calm, before) = (begun.elapsed(), collector.count());
    println!("{KILLS} kills in {when_calm:.1?}: {on_disk} items on disk or sent, {before} arrived");
    collector.set(Mood::Well);
    let mut last = run(&scratch.0, &collector.url(), on_disk);
    let end = Instant::now() + PATIENCE;
    while collector.count() < 2 * COUNT && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = last.child.wait().expect("it ends");
    assert!(status.success(), "{status}: everything is delivered and the process ends");
    let taken = collector.taken();
    let expected: BTreeSet<String> = (0..2 * COUNT).map(|number| item(number).key).collect();
    let missing: Vec<_> = expected.iter().filter(|key| !taken.contains_key(*key)).collect();
    assert!(missing.is_empty(), "{} are missing: {:.300}", missing.len(), format!("{missing:?}"));
    assert_eq!(taken.len(), 2 * COUNT, "nothing else arrived");
    for number in 0..2 * COUNT {
        let (item, taken) = (item(number), &taken[&item(number).key]);
        assert_eq!(taken.body, item.body);
        let path = match number.is_multiple_of(2) {
            true => format!("/api/v1/experiences/Game%20{}/ratings", number % 7),
            false => "/api/v1/sessions".into(),
        };
        assert_eq!(taken.path, path);
    }
    assert_eq!(collector.faults(), Vec::<String>::new());
    let again: usize = taken.values().map(|taken| taken.times - 1).sum();
    println!(
        "all {} arrived after {:.1?}; {again} came again under the same key; requests by mood: {:?}",
        taken.len(),
        begun.elapsed(),
        collector.requests()
    );
    let mut left: Vec<_> = std::fs::read_dir(&scratch.0).expect("its directory").flatten().collect();
    left.retain(|entry| entry.file_name() != "dead");
    assert!(left.is_empty(), "nothing stays on disk: {left:?}");
    assert_eq!(std::fs::read_dir(scratch.0.join("dead")).expect("a directory").count(), 0, "no dead letter");
}

#[test]
fn what_a_receiver_refuses_becomes_a_dead_letter_and_holds_up_nobody() {
    let (scratch, collector) = (Scratch::new("dead"), Collector::start());
    hydraneckwebrtc::host::crypto::install();
    collector.set(Mood::Answers(422));
    let (outbox, thread) = start(&scratch.0, &collector.url());
    outbox.put(&item(1), LIMITS).expect("it is put");
    let end = Instant::now() + PATIENCE;
    let until = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(Instant::now() < end, "{what}: {:?}", outbox.figures(unix_millis()));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until("it is refused", &|| outbox.figures(unix_millis()).dead == 1);
    collector.set(Mood::Answers(503));
    outbox.put(&item(3), LIMITS).expect("it is put");
    until("it is noticed", &|| {
        outbox.figures(unix_millis()).failing.first().is_some_and(|(_, times)| *times > 3)
    });
    assert_eq!(outbox.figures(unix_millis()).failing[0].0, "nps");
    collector.set(Mood::Well);
    until("the other one arrives", &|| collector.count() == 1);
    until("nothing waits", &|| outbox.figures(unix_millis()).waiting == 0);
    assert!(collector.taken().contains_key("record-00003"));
    assert_eq!(outbox.figures(unix_millis()).failing, []);
    let letter = std::fs::read_to_string(scratch.0.join("dead/record-00001.json")).expect("a dead letter");
    assert!(letter.contains("\"number\":1"), "{letter}");
    thread.stop();
    // An operator who has mended things moves it back.
    std::fs::rename(scratch.0.join("dead/record-00001.json"), scratch.0.join("record-00001.json"))
        .expect("moved");
    let (outbox, thread) = start(&scratch.0, &collector.url());
    until("it arrives after all", &|| collector.count() == 2);
    assert_eq!(outbox.figures(unix_millis()).dead, 0);
    thread.stop();
}
