//! What outlives a session: its reason, its rating, its record; through the controller, and over the worker's death.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::collector::{self, Collector, Mood};
use crate::http::{self, Reply, Stream};
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};

/// A rating is sent a minute after it was given.
const RATING_PATIENCE: Duration = Duration::from_secs(120);

fn rate(role: &Role, id: &str, stars: u8) -> Reply {
    let body = json!({"stars": stars, "comment": "fine"});
    http::post(&role.url, &format!("/session/{id}/rating"), None, &body).expect("an answer")
}

fn tell(role: &Role, id: &str, disconnects: u32) -> Reply {
    let facts =
        json!({"candidate_type": "relay", "disconnects": disconnects, "bytes_received": 4711, "rtt_ms": 12});
    http::post(&role.url, &format!("/session/{id}/_neck/facts"), None, &facts).expect("an answer")
}

/// Sends records and ratings to the collector.
pub fn collected(config: &mut Value, collector: &Collector, window: &str) {
    let to = json!({"url": collector.url(), "token": collector::TOKEN});
    config["nps"] = to.clone();
    config["experience_library"] = to;
    config["outbox"] = json!({"retry": "50ms", "retry_max": "500ms", "timeout": "2s"});
    config["sessions"]["ended_window"] = json!(window);
}

fn state(lab: &Lab, below: &str) -> PathBuf {
    lab.dir.join("one-state/worker").join(below)
}

// SPEC 6: Rating: one to five stars and a comment, once, changeable for a minute; while the session
// lives and in its ended window, through the controller too
// Also: `a_rating_is_changeable_for_a_minute_from_the_first_time`,
// `a_rating_has_one_to_five_stars_and_perhaps_a_comment`,
// `a_rating_that_makes_no_sense_or_comes_from_elsewhere_is_refused`
#[test]
fn a_session_can_be_rated_while_it_lives_and_after_its_end_through_the_controller() {
    let mut lab = Lab::new();
    let (first, second) = (lab.body(1), lab.body(2));
    let (controller, worker) = lab.pair(|_| ());
    let (living, over) = (controller.create(&first), controller.create(&second));
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{over}")).status, 204);
    for (id, role) in [(&living, &controller), (&over, &controller), (&over, &worker)] {
        let reply = rate(role, id, 4);
        let left = reply.json()["changeable_seconds"].as_u64();
        assert_eq!((reply.status, &reply.json()["stars"]), (200, &json!(4)), "{reply:?}");
        assert!(left.is_some_and(|left| (30..=60).contains(&left)), "{reply:?}");
        assert_eq!(rate(role, id, 5).json()["stars"], 5, "it can be changed");
        assert_eq!(tell(role, id, 1).status, 204);
    }
    let unknown = rate(&controller, &"ab".repeat(16), 3);
    assert_eq!((unknown.status, unknown.json()["reason"].is_null()), (404, true), "{unknown:?}");
    worker.wait_for_log(&format!("[rating] session {}: 4 of 5", &over[..8]));
    worker.assert_log_keeps_secrets(&[&living, &over]);
}

/// A path, the status that is expected, fields and a body.
type Case<'a> = (&'a str, u16, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn a_rating_that_makes_no_sense_or_comes_from_elsewhere_is_refused() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, _worker) = lab.pair(|_| ());
    let id = controller.create(&body);
    let json = ("Content-Type", "application/json");
    let large = format!(r#"{{"stars":1,"comment":"{}"}}"#, "x".repeat(20_000));
    let foreign = [json, ("Origin", "https://evil.example")];
    let sibling = [json, ("Sec-Fetch-Site", "same-site")];
    let cases: [Case<'_>; 7] = [
        ("rating", 403, &foreign, r#"{"stars":1}"#),
        ("rating", 403, &sibling, r#"{"stars":1}"#),
        ("rating", 415, &[("Content-Type", "text/plain")], r#"{"stars":1}"#),
        ("rating", 400, &[json], r#"{"stars":6}"#),
        ("rating", 413, &[json], &large),
        ("_neck/facts", 403, &foreign, r#"{"candidate_type":"relay","disconnects":0,"bytes_received":0}"#),
        ("_neck/facts", 400, &[json], r#"{"candidate_type":"relay"}"#),
    ];
    for (path, status, fields, text) in cases {
        let reply = http::request(&controller.url, "POST", &format!("/session/{id}/{path}"), fields, text);
        assert_eq!(reply.status, status, "{path} {fields:?} {text:.60}: {reply:?}");
    }
    let own = [json, ("Origin", &*controller.url)];
    let reply =
        http::request(&controller.url, "POST", &format!("/session/{id}/rating"), &own, r#"{"stars":1}"#);
    assert_eq!(reply.status, 200, "{reply:?}");
    let replies: Vec<u16> = (0..40).map(|_| rate(&controller, &id, 2).status).collect();
    assert!(replies.contains(&429), "a page that asks too often is told to wait: {replies:?}");
}

// SPEC 6: The ended window: page with the overlay, script, status and rating; it survives the
// worker's death and ends in time, here and at the controller
// Also: `after_its_window_a_session_is_forgotten_here_and_at_the_controller`
#[test]
fn the_window_of_an_ended_session_survives_the_death_of_its_worker() {
    let mut lab = Lab::new();
    let (first, second) = (lab.body(1), lab.body(2));
    let (controller, mut worker) = lab.pair(|_| ());
    let (over, living) = (controller.create(&first), controller.create(&second));
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{over}")).status, 204);
    assert_eq!(rate(&controller, &over, 2).status, 200);
    worker.kill();
    std::fs::write(state(&lab, "sessions/session-x.json"), "{").expect("a broken file");
    std::fs::write(state(&lab, "sessions/session-y.json.new"), "{").expect("an unfinished file");
    worker.restart();
    for (id, reason) in [(&over, "deleted"), (&living, "crashed")] {
        let status = eventually("the controller knows it again", || {
            let path = format!("/session/{id}/_neck/status");
            http::get(&controller.url, &path, None).ok().filter(|reply| reply.status == 404)
        });
        assert_eq!(status.json()["reason"], reason, "{status:?}");
        let page = http::get_page(&controller.url, &format!("/session/{id}/"));
        let policy = page.header("Content-Security-Policy").expect("a policy");
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        let tag = format!(
            "<script data-cfasync=\"false\" nonce=\"{nonce}\" src=\"/session/{id}/_neck/overlay.js\"></script>"
        );
        assert_eq!((page.status, page.body.contains(&tag)), (404, true), "{page:?}");
        let script = http::get(&controller.url, &format!("/session/{id}/_neck/overlay.js"), None);
        let script = script.expect("an answer");
        assert_eq!(script.status, 200);
        assert!(script.body.contains(&format!("\"endReason\":\"{reason}\"")), "{:.2000}", script.body);
        let events = http::get(&controller.url, &format!("/session/{id}/_neck/events"), None);
        assert_eq!(events.expect("an answer").json()["reason"], reason);
        let reply = rate(&controller, id, 3);
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(tell(&controller, id, 1).status, 204);
    }
    worker.wait_for_log("session-x.json is unreadable");
    assert!(state(&lab, "sessions/session-x.json.unreadable").exists());
    assert!(!state(&lab, "sessions/session-y.json.new").exists());
    worker.assert_log_keeps_secrets(&[&over, &living]);
}

#[test]
fn after_its_window_a_session_is_forgotten_here_and_at_the_controller() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let (controller, mut worker) = lab.pair(|config| config["sessions"]["ended_window"] = json!("5s"));
    let id = controller.create(&body);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    assert_eq!(rate(&controller, &id, 2).status, 200);
    // Part of the window passes while nobody is there.
    worker.restart();
    let path = format!("/session/{id}/_neck/status");
    let known = |role: &Role| {
        let reply = http::get(&role.url, &path, None).expect("an answer");
        reply.status != 404 || !reply.json()["reason"].is_null()
    };
    for role in [&worker, &controller] {
        eventually("it is forgotten", || (!known(role)).then_some(()));
        assert_eq!(rate(role, &id, 2).status, 404);
    }
    let files = || std::fs::read_dir(state(&lab, "sessions")).expect("a directory").count();
    eventually("its file is gone", || (files() == 0).then_some(()));
}

#[test]
fn each_session_leaves_one_record_and_each_rating_arrives_though_the_worker_is_killed() {
    let mut lab = Lab::new();
    let bodies: Vec<String> = (1..=6).map(|number| lab.body(number)).collect();
    let (nps, collector) = (Collector::start(), Collector::start());
    collector.set(Mood::Down);
    let (controller, mut worker) = lab.pair(|config| {
        collected(config, &collector, "75s");
        config["nps"]["url"] = json!(nps.url());
        config["server"]["district"] = json!("north");
    });
    let mut ids = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let request =
            json!({"body_ip": body, "experience": if number % 2 == 0 { "Demo" } else { "Desktop" }});
        let reply = controller.post("/api/v1/sessions", &request);
        assert_eq!(reply.status, 201, "{}", reply.body);
        ids.push(reply.json()["session_id"].as_str().expect("an id").to_owned());
    }
    // 0, 1: played, rated, ended and told of; 2: rated while it lives, killed; 3: ended, rated after a kill; 4: ended
    // by its person, never rated; 5: alive when the worker is killed.
    for id in &ids[..2] {
        drop(Stream::open(&controller.url, id));
        drop(Stream::open(&controller.url, id));
        assert_eq!(rate(&controller, id, 5).status, 200);
        assert_eq!(controller.delete(&format!("/api/v1/sessions/{id}")).status, 204);
        assert_eq!(tell(&controller, id, 3).status, 204);
    }
    assert_eq!(rate(&controller, &ids[2], 1).status, 200);
    assert_eq!(controller.delete(&format!("/api/v1/sessions/{}", ids[3])).status, 204);
    http::post(&controller.url, &format!("/session/{}/quit", ids[4]), None, &json!({})).expect("an answer");
    assert_eq!(controller.reason_of_end(&ids[4]), "quit");
    worker.restart();
    eventually("the session is known again", || (rate(&controller, &ids[3], 2).status == 200).then_some(()));
    worker.restart();
    eventually_equal("what waits: six records and four ratings", &json!(10), || {
        let health = http::get(&worker.url, "/api/v1/health", None).expect("an answer").json();
        health["extra"]["outbox"]["waiting"].clone()
    });
    assert_eq!(nps.count(), 0, "nothing is final yet");
    let begun = Instant::now();
    let mut kills = 2;
    while nps.count() < 6 || collector.count() < 4 {
        assert!(begun.elapsed() < RATING_PATIENCE, "{:?}\n{:?}", nps.taken(), collector.taken());
        if begun.elapsed() > Duration::from_secs(kills * 12) && kills < 6 {
            collector.set(match kills {
                5 => Mood::Well,
                // Longer than outbox.timeout: taken, but nobody hears of it.
                4 => Mood::Slow(Duration::from_secs(3)),
                _ => Mood::Answers(500),
            });
            worker.restart();
            kills += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let records = nps.taken();
    let record = |id: &str| {
        let found: Vec<_> = records.values().filter(|taken| taken.body["session_id"] == id).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "/api/v1/sessions");
        found[0].body.clone()
    };
    let first = record(&ids[0]);
    let told =
        ["reason", "connects", "disconnects", "relay_type", "bytes", "district", "experience", "worker_id"];
    let told: Vec<Value> = told.iter().map(|name| first[name].clone()).collect();
    assert_eq!(
        told,
        [
            json!("deleted"),
            json!(2),
            json!(3),
            json!("relay"),
            json!(4711),
            json!("north"),
            json!("Demo"),
            json!("one"),
        ]
    );
    assert_eq!((&first["rating"]["stars"], &first["rating"]["comment"]), (&json!(5), &json!("fine")));
    assert_eq!(first["body_ip"], json!(bodies[0]));
    assert!(first["duration_ms"].as_u64().is_some_and(|ms| ms > 0 && ms < 60_000), "{first}");
    let brief = |id: &str| (record(id)["reason"].clone(), record(id)["rating"]["stars"].clone());
    assert_eq!(brief(&ids[2]), (json!("crashed"), json!(1)));
    assert_eq!(brief(&ids[3]), (json!("deleted"), json!(2)));
    assert_eq!(brief(&ids[4]), (json!("quit"), Value::Null));
    assert_eq!(brief(&ids[5]), (json!("crashed"), Value::Null));
    let ratings = collector.taken();
    assert_eq!((ratings.len(), records.len()), (4, 6));
    let paths: Vec<&str> = ratings.values().map(|taken| taken.path.as_str()).collect();
    assert!(paths.contains(&"/api/v1/experiences/Desktop/ratings"), "{paths:?}");
    assert_eq!((nps.faults(), collector.faults()), (Vec::new(), Vec::new()));
    println!(
        "6 records, 4 ratings, {kills} kills, {:.0?} after the first kills; requests {:?} and {:?}",
        begun.elapsed(),
        nps.requests(),
        collector.requests()
    );
    worker.assert_log_keeps_secrets(
        &ids.iter().map(String::as_str).chain([collector::TOKEN]).collect::<Vec<_>>(),
    );
}

/// Resident bytes.
fn memory(role: &Role) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", role.pid())).expect("its state");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}

/// Files and their bytes, below a directory.
fn disk(path: &std::path::Path) -> (usize, u64) {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(data) if data.is_dir() => {
            let (more, size) = disk(&entry.path());
            (files + more, bytes + size)
        }
        Ok(data) => (files + 1, bytes + data.len()),
        Err(_) => (files, bytes),
    })
}

// SPEC 6: 10,000 ratings grow neither memory nor disk
#[test]
fn ten_thousand_ratings_of_a_session_grow_neither_memory_nor_disk() {
    let mut lab = Lab::new();
    let (body, collector) = (lab.body(1), Collector::start());
    let worker = lab.lone_worker(|config| {
        collected(config, &collector, "15m");
        // Each post says that it comes from another address, so that the bucket of one address does not end the test early.
        config["server"]["trusted_proxies"] = json!(["127.0.0.1/32"]);
        config["edge"]["rate_limit_per_session"] = json!(0);
    });
    let id = worker.create(&body);
    let path = format!("/session/{id}/rating");
    let text = json!({"stars": 3, "comment": "ö".repeat(1000)}).to_string();
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    let mut post = |number: usize| {
        let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        let fields = [("Content-Type", "application/json"), ("X-Forwarded-For", &*address)];
        let reply = http::request(&worker.url, "POST", &path, &fields, &text);
        *seen.entry(reply.status).or_default() += 1;
    };
    (0..1000).for_each(&mut post);
    let before = (memory(&worker), disk(&state(&lab, "")));
    (1000..11_000).for_each(&mut post);
    let after = (memory(&worker), disk(&state(&lab, "")));
    println!(
        "answers {seen:?}; memory {} → {} KiB, disk {:?} → {:?}",
        before.0 / 1024,
        after.0 / 1024,
        before.1,
        after.1
    );
    assert!(after.0 < before.0 + (2 << 20), "{before:?} {after:?}");
    assert!(after.1.0 <= before.1.0, "more files: {before:?} {after:?}");
    assert!(after.1.1 < before.1.1 + 4096, "{before:?} {after:?}");
    assert!(seen.keys().all(|status| [200, 409].contains(status)), "{seen:?}");
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
}

// SPEC 9: Dead letters are kept, and make the worker `degraded` until they are taken away or moved
// back
// Also: `what_a_receiver_refuses_becomes_a_dead_letter_and_holds_up_nobody`,
// `dead_letters_are_kept_and_counted_until_somebody_takes_them_away`
#[test]
fn dead_letters_make_the_worker_degraded_until_they_are_taken_away() {
    let mut lab = Lab::new();
    let (body, collector) = (lab.body(1), Collector::start());
    collector.set(Mood::Answers(400));
    let mut worker = lab.lone_worker(|config| collected(config, &collector, "1s"));
    let id = worker.create(&body);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    let dead = || {
        let health = http::get(&worker.url, "/api/v1/health", Some(TOKEN)).expect("an answer").json();
        let told = health["extra"]["problems"].to_string().contains("could not be delivered");
        (health["extra"]["outbox"]["dead"].clone(), told, health["status"].clone())
    };
    eventually("it is dead", || (dead() == (json!(1), true, json!("degraded"))).then_some(()));
    worker.wait_for_log("[outbox] ALERT record-");
    let letters: Vec<_> = std::fs::read_dir(state(&lab, "outbox/dead")).expect("it").flatten().collect();
    assert_eq!(letters.len(), 1);
    let home = state(&lab, "outbox").join(letters[0].file_name());
    std::fs::rename(letters[0].path(), home).expect("moved back");
    collector.set(Mood::Well);
    worker.signal(Signal::TERM);
    worker.wait();
    worker.restart();
    eventually("it arrives", || (collector.count() == 1).then_some(()));
    let health = http::get(&worker.url, "/api/v1/health", None).expect("an answer").json();
    assert_eq!(health["extra"]["outbox"]["dead"], 0, "{health}");
}
