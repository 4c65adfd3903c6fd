//! Fleets in which a worker is broken, late or not to be called: the others do its work, operators read why, and what is mended
//! gets sessions again.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use stand_ins::install::{self, Install, Programs};
use stand_ins::steady::steady;

use crate::http;
use crate::lab::{Lab, NOBODY, Role, eventually, eventually_equal};

/// Slots of each sound worker; there are two. The broken one has more, so that every choice by load falls on it. Half of the creates of
/// `tests/fleet/thirty-creates`.
fn each() -> usize {
    std::env::var(CREATES).ok().and_then(|text| text.parse::<usize>().ok()).map_or(3, |creates| creates / 2)
}

/// How many creates there are; set: in a network namespace of our own, in which links may be made.
const CREATES: &str = "NECK_CREATES";

/// A mended worker has to get sessions again within this.
const MENDED_WITHIN: Duration = Duration::from_secs(60);

fn problems(role: &Role) -> String {
    role.get("/api/v1/health").json()["extra"]["problems"].to_string()
}

fn worker_of(controller: &Role, id: &str) -> Value {
    let listed = controller.get("/api/v1/workers").json();
    let workers = listed["workers"].as_array().cloned().unwrap_or_default();
    workers.into_iter().find(|worker| worker["id"] == id).unwrap_or_default()
}

/// An installation of the third worker's own.
fn third_install(lab: &Lab) -> Install {
    let programs = Programs {
        web_server: env!("CARGO_BIN_EXE_stand-in-web-server").into(),
        streamer: env!("CARGO_BIN_EXE_stand-in-streamer").into(),
    };
    install::create(&lab.dir.join("third-install"), &programs).expect("an install")
}

/// Answers everything with these bytes; nothing: it takes connections and says nothing.
fn impostor(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut client in listener.incoming().flatten() {
            if answer.is_empty() {
                silent.push(client);
                continue;
            }
            let _ = client.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = steady(|| client.read(&mut [0; 8192]));
            let _ = client.write_all(answer.as_bytes());
        }
    });
    url
}

fn replace(path: &Path, text: &str, mode: u32) {
    fs::remove_file(path).expect("it was there");
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

/// How the third worker is broken. What is changed in its configuration is mended by its restart.
enum Break {
    Files(fn(&Install)),
    /// The same, where only creates show it.
    Unseen(fn(&Install)),
    Config(fn(&Role, &mut Value)),
    DataDir,
    /// In a namespace from which nothing leads to the bodies.
    NoRoute,
}

/// A machine that no body can be reached from: a network namespace with a link to ours. It goes when it is dropped.
struct Elsewhere {
    name: String,
}

/// Of us and of that machine.
const LINK: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

impl Elsewhere {
    fn new() -> Elsewhere {
        let name = format!("neckbw{}", std::process::id());
        ip(&["netns", "add", &name]);
        let elsewhere = Elsewhere { name };
        let inside = |words: &[&str]| ip(&[&["-n", &elsewhere.name], words].concat());
        ip(&["link", "add", "neckbw0", "type", "veth", "peer", "name", "neckbw1", "netns", &elsewhere.name]);
        ip(&["addr", "add", &format!("{}/24", LINK[0]), "dev", "neckbw0"]);
        ip(&["link", "set", "neckbw0", "up"]);
        inside(&["addr", "add", &format!("{}/24", LINK[1]), "dev", "neckbw1"]);
        inside(&["link", "set", "neckbw1", "up"]);
        inside(&["link", "set", "lo", "up"]);
        // The bodies of these tests are on our loopback interface; that machine's own is smaller.
        inside(&["route", "del", "table", "local", "local", "127.0.0.0/8", "dev", "lo"]);
        inside(&["route", "add", "local", "127.0.0.0/24", "dev", "lo"]);
        inside(&["route", "add", "unreachable", "127.0.2.0/24"]);
        elsewhere
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) {
    let done = Command::new(IP).args(words).status();
    assert!(done.as_ref().is_ok_and(|status| status.success()), "ip {words:?}: {done:?}");
}

const IP: &str = "/sbin/ip";

/// A way to be broken, and words that name it in the controller's health.
const WAYS: &[(&str, Break, &str)] = &[
    (
        "no web-server",
        Break::Files(|install| fs::remove_file(&install.web_server).expect("it was there")),
        "web-server is missing",
    ),
    (
        "web-server not executable",
        Break::Files(|install| replace(&install.web_server, "#!/bin/sh\n", 0o644)),
        "web-server is not executable",
    ),
    (
        "web-server dies",
        Break::Unseen(|install| {
            replace(&install.web_server, "#!/bin/sh\necho no such library\nexit 127\n", 0o755)
        }),
        "the stream process died",
    ),
    (
        "no streamer",
        Break::Files(|install| fs::remove_file(&install.streamer).expect("it was there")),
        "streamer is missing",
    ),
    (
        "no pages",
        Break::Files(|install| fs::remove_dir_all(install.dir.join("static")).expect("they were there")),
        "static is no directory",
    ),
    ("data_dir is something else", Break::DataDir, "sessions.data_dir"),
    (
        "other bodies",
        Break::Config(|_, config| config["sessions"]["allowed_bodies"] = json!(["10.77.0.0/16"])),
        "",
    ),
    (
        "answers 404",
        Break::Config(|_, config| {
            let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            config["server"]["advertise_url"] = json!(impostor(answer));
        }),
        "cannot be called",
    ),
    (
        "answers 500",
        Break::Config(|_, config| {
            let answer = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            config["server"]["advertise_url"] = json!(impostor(answer));
        }),
        "cannot be called",
    ),
    (
        "says nothing",
        Break::Config(|_, config| config["server"]["advertise_url"] = json!(impostor(""))),
        "cannot be called",
    ),
    (
        "nobody listens",
        Break::Config(|_, config| config["server"]["advertise_url"] = json!(NOBODY)),
        "cannot be called",
    ),
    ("no route to its bodies", Break::NoRoute, "no route"),
    (
        "takes another token",
        Break::Config(|sound, config| config["server"]["advertise_url"] = json!(sound.url)),
        "refuses this controller's token",
    ),
];

/// Asks for one session per body, all at once; status and worker of each.
fn create_all(controller: &Role, bodies: &[String]) -> Vec<(u16, String, String)> {
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for body in bodies {
            let answers = &answers;
            scope.spawn(move || {
                let reply = controller.post("/api/v1/sessions", &json!({"body_ip": body}));
                let worker = reply.json()["worker_id"].as_str().unwrap_or_default().to_owned();
                answers.lock().expect("no panic").push((reply.status, worker, reply.body));
            });
        }
    });
    answers.into_inner().expect("no panic")
}

fn end_all(controller: &Role) {
    for session in controller.sessions().iter().filter(|session| session["status"] != "ended") {
        let id = session["id"].as_str().expect("an id");
        let status = controller.delete(&format!("/api/v1/sessions/{id}")).status;
        assert!(matches!(status, 204 | 404), "{status}");
    }
}

fn third_worker(lab: &mut Lab, controller: &Role, sound: &Role, broken: &Break) -> Role {
    let install = third_install(lab);
    let elsewhere = matches!(broken, Break::NoRoute);
    let mut address = controller.url.clone();
    if elsewhere {
        address = address.replace("127.0.0.1", LINK[0]);
        lab.starter =
            [IP, "netns", "exec", &format!("neckbw{}", std::process::id())].map(str::to_owned).to_vec();
    }
    if let Break::Files(spoil) | Break::Unseen(spoil) = broken {
        spoil(&install);
    }
    let third = lab.worker("third", &address, |config| {
        config["sessions"]["max"] = json!(4 * each());
        if elsewhere {
            config["server"]["listen"] = json!(format!("{}:0", LINK[1]));
        }
        config["sessions"]["web_server"] = json!(install.web_server);
        if let Break::Config(spoil) = broken {
            spoil(sound, config);
        }
    });
    lab.starter.clear();
    if matches!(broken, Break::DataDir) {
        fs::remove_dir_all(lab.data_dir("third")).expect("it was there");
        fs::write(lab.data_dir("third"), "not yours").expect("a file");
    }
    third
}

fn mend(lab: &mut Lab, controller: &Role, third: &mut Role, broken: &Break) {
    match broken {
        Break::NoRoute => {
            third.kill();
            // The same worker, back here.
            *third = third_worker(lab, controller, controller, &Break::Files(|_| ()));
        }
        Break::Files(_) | Break::Unseen(_) => {
            third_install(lab);
        }
        Break::DataDir => fs::remove_file(lab.data_dir("third")).expect("it was there"),
        Break::Config(_) => third.restart_with(|config| {
            config["sessions"]["allowed_bodies"] = json!(["127.0.2.0/24"]);
            config["server"].as_object_mut().expect("a section").remove("advertise_url");
        }),
    }
}

// SPEC 4: A worker that fails a create by its own fault (the twelve ways of the test; with no route
// to its bodies and thirty creates: `tests/fleet/thirty-creates`) is followed by the next, without
// two launched sessions of one body; a fault of the body or the request goes nowhere; what may be
// either gets one more opinion
// Also: `creates_that_fail_for_the_bodys_or_the_requests_reason_go_to_no_other_worker`,
// `a_worker_that_fails_by_itself_gives_its_turn_to_the_next_and_has_failed`,
// `a_busy_worker_has_not_failed`,
// `the_body_and_the_request_go_to_no_other_worker_and_blame_nobody`, `a_lost_answer_goes_nowhere`,
// `what_may_be_the_bodys_fault_gets_one_more_opinion_and_is_blamed_by_a_success_only`,
// `the_words_of_faults_are_read_as_they_are_written`
#[test]
fn a_broken_worker_costs_no_create_is_named_and_gets_sessions_again_once_mended() {
    let mut lab = Lab::new();
    let each = each();
    let link = std::env::var_os(CREATES).map(|_| Elsewhere::new());
    let bodies: Vec<String> = (1..=2 * each + 1).map(|number| lab.body(number)).collect();
    let mut controller = lab.controller(|config| {
        if link.is_some() {
            config["server"]["listen"] = json!("0.0.0.0:0");
        }
        config["workers"]["heartbeat_timeout"] = json!("20s");
        config["workers"]["backoff"] = json!("300ms");
        config["workers"]["backoff_max"] = json!("2s");
    });
    controller.url = controller.url.replace("0.0.0.0", "127.0.0.1");
    let few = |config: &mut Value| config["sessions"]["max"] = json!(each);
    let first = lab.worker("first", &controller.url, few);
    let _second = lab.worker("second", &controller.url, few);
    let possible = |broken: &Break| link.is_some() || !matches!(broken, Break::NoRoute);
    for (way, broken, words) in WAYS.iter().filter(|(_, broken, _)| possible(broken)) {
        let begun = Instant::now();
        let mut third = third_worker(&mut lab, &controller, &first, broken);
        eventually(&format!("{way}: it has joined"), || {
            (!worker_of(&controller, "third").is_null()).then_some(())
        });
        if matches!(broken, Break::DataDir) {
            eventually("it has noticed", || problems(&controller).contains(words).then_some(()));
        }
        let answers = create_all(&controller, &bodies[..2 * each]);
        let failed: Vec<_> =
            answers.iter().filter(|(status, worker, _)| *status != 201 || worker == "third").collect();
        assert!(failed.is_empty(), "{way}: {failed:?}\n{}", third.log_text());
        if !words.is_empty() {
            eventually(&format!("{way}: the controller names it"), || {
                let told = problems(&controller);
                let named = told.contains("worker third: ") && told.contains(words);
                if !named && matches!(broken, Break::Unseen(_)) {
                    // The others are full, so this one is its.
                    let failed = controller.post("/api/v1/sessions", &json!({"body_ip": bodies[2 * each]}));
                    assert_ne!(failed.status, 201, "{way}: {failed:?}");
                }
                named.then_some(())
            });
            eventually(&format!("{way}: it says so itself"), || {
                (third.get("/api/v1/health").json()["status"] == "degraded").then_some(())
            });
            let public = http::get(&controller.url, "/api/v1/health", None).expect("an answer").body;
            assert!(public.contains("degraded") && !public.contains("third"), "{way}: {public}");
        }
        mend(&mut lab, &controller, &mut third, broken);
        let mended = Instant::now();
        let again = eventually(&format!("{way}: it gets sessions again"), || {
            let reply = controller.post("/api/v1/sessions", &json!({"body_ip": bodies[2 * each]}));
            (reply.status == 201).then(|| reply.json())
        });
        assert_eq!(again["worker_id"], "third", "{way}: the others are full");
        assert!(mended.elapsed() < MENDED_WITHIN, "{way}: {:?}", mended.elapsed());
        end_all(&controller);
        third.signal(Signal::TERM);
        third.wait();
        println!(
            "{way}: {} ms, mended after {} ms",
            begun.elapsed().as_millis(),
            mended.elapsed().as_millis()
        );
    }
}

#[test]
fn creates_that_fail_for_the_bodys_or_the_requests_reason_go_to_no_other_worker() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let first = lab.worker("first", &controller.url, |_| ());
    let second = lab.worker("second", &controller.url, |_| ());
    eventually("both are up", || {
        let up = |id| worker_of(&controller, id)["status"] == "up";
        (up("first") && up("second")).then_some(())
    });
    for (request, status) in [
        // Nobody listens at this address: the machine is there, and refuses.
        (json!({"body_ip": "127.0.2.250"}), 502),
        (json!({"body_ip": "127.0.2.1", "experience": "No Such Thing"}), 502),
        (json!({"body_ip": "8.8.8.8"}), 403),
    ] {
        for _ in 0..3 {
            let reply = controller.post("/api/v1/sessions", &request);
            assert_eq!(reply.status, status, "{request}: {reply:?}");
        }
    }
    let failed = |role: &Role| role.log_text().matches("create failed").count();
    eventually_equal("creates that failed, each at one worker", &6, || failed(&first) + failed(&second));
    // On a busy machine one is late for a moment, which is no blame, and hides one.
    let told = eventually("neither is late", || {
        Some(problems(&controller))
            .filter(|told| !told.contains("worker first is") && !told.contains("worker second is"))
    });
    assert!(!told.contains("worker first") && !told.contains("worker second"), "{told}");
}

// SPEC 4: A create waits for a late worker or for the end of a pause where nothing else is there; a
// worker whose call answers is not late
// Also: `a_worker_whose_call_answers_is_not_late_and_a_late_one_may_take_a_create_soon`
#[test]
fn a_create_waits_for_the_next_beat_of_a_late_worker_when_nothing_else_is_there() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let controller = lab.controller(|config| config["workers"]["heartbeat_timeout"] = json!("50s"));
    let worker = lab.worker("one", &controller.url, |_| ());
    let status = || worker_of(&controller, "one")["status"].clone();
    eventually("it is up", || (status() == "up").then_some(()));
    worker.signal(Signal::STOP);
    eventually("it is late", || (status() == "late").then_some(()));
    eventually("health says so", || problems(&controller).contains("worker one is late").then_some(()));
    let reply = std::thread::scope(|scope| {
        let create = scope.spawn(|| controller.post("/api/v1/sessions", &json!({"body_ip": body})));
        // Nothing shows that the create waits but that it is not refused.
        let settled = || worker_of(&controller, "one")["status"] == "late" && !create.is_finished();
        eventually("it waits", || settled().then_some(()));
        worker.signal(Signal::CONT);
        create.join().expect("no panic")
    });
    assert_eq!(reply.status, 201, "{reply:?}");
    controller.wait_for_log("worker one is late");
}

// SPEC 4: A fleet that lost a worker, or has a late one, is `degraded`, `WARN` and `ALERT` say so;
// a worker that said that it stops is not lost
#[test]
fn a_fleet_that_lost_a_worker_is_degraded_until_it_is_back_and_one_that_stopped_is_not_lost() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let _stays = lab.worker("stays", &controller.url, |_| ());
    let mut worker = lab.worker("one", &controller.url, |_| ());
    eventually("it is up", || (worker_of(&controller, "one")["status"] == "up").then_some(()));
    worker.kill();
    eventually("it is missed", || problems(&controller).contains("worker one is down").then_some(()));
    controller.wait_for_log("ALERT worker one is down");
    worker.restart();
    eventually("it is back", || (!problems(&controller).contains("worker one")).then_some(()));
    worker.signal(Signal::TERM);
    worker.wait();
    eventually("it is gone", || (worker_of(&controller, "one")["status"] == "down").then_some(()));
    let told = problems(&controller);
    assert!(!told.contains("worker one is down"), "it said that it stops: {told}");
}

// SPEC 4: A worker whose controller refuses its token, answers 404 or is not reached says so in
// health and in the log
// Also: `a_controller_that_is_away_or_gives_no_sessions_is_trouble_until_it_does`
#[test]
fn a_worker_whose_controller_does_not_hear_it_says_so_in_health() {
    let lab = Lab::new();
    let controller = lab.controller(|_| ());
    let other = lab.worker("other", &controller.url, |_| ());
    for (name, url, token, words) in [
        ("wrong-token", &*controller.url, "not-the-token-0123456789", "refuses our token"),
        ("no-controller", &*other.url, crate::lab::TOKEN, "no such path (404)"),
        ("nobody", NOBODY, crate::lab::TOKEN, "cannot be reached"),
    ] {
        let worker = lab.worker(name, url, |config| config["controller"]["token"] = json!(token));
        let told = eventually(&format!("{name} says so"), || {
            Some(problems(&worker)).filter(|told| told.contains(words))
        });
        println!("{name}: {told}");
        let public = http::get(&worker.url, "/api/v1/health", None).expect("an answer").body;
        assert!(public.contains("does not take this worker's heartbeats"), "{public}");
        worker.wait_for_log(words);
    }
}

// SPEC 5: A data directory that a cleaner took is made again, with its lock; what stands in its
// place is left alone
// Also: `a_directory_that_a_cleaner_took_is_made_again_with_its_lock`,
// `what_stands_in_its_place_is_left_alone_and_named`
#[test]
fn a_data_directory_that_a_cleaner_took_is_made_again() {
    let mut lab = Lab::new();
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    fs::remove_dir_all(lab.data_dir("one")).expect("it was there");
    let id = worker.create(&body);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    lab.assert_nothing_left("one", &[]);
    worker.wait_for_log("was gone and is made again");
}

// SPEC 9: With `bodies.wireguard_networks: []` nothing warns of or blames WireGuard
#[test]
fn without_wireguard_networks_nothing_speaks_of_wireguard() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|config| config["bodies"]["wireguard_networks"] = json!([]));
    let reply = worker.post("/api/v1/sessions", &json!({"body_ip": "127.0.2.250"}));
    assert_eq!(reply.status, 502, "{reply:?}");
    for text in [reply.body, problems(&worker), worker.log_text()] {
        assert!(!text.contains("WireGuard"), "{text}");
    }
}
