//! Few descriptors, few tasks, and people who use them up: the service refuses, and is whole again afterwards.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::attack::{Attack, Tally, ask, descriptors_of, memory_of, post, thread_names, threads_of};
use crate::http;
use crate::lab::{Lab, Role, TOKEN, eventually, eventually_equal};

/// How long an attack lasts here; the long table is `tests/abuse`.
const ATTACK: Duration = Duration::from_secs(3);

/// What else may be open when nothing is under way: an idle connection of the test's own, a heartbeat.
const SLACK: usize = 4;

/// `edge.api_connections`: each may cost a thread.
const API_CONNECTIONS: usize = 32;

fn with_descriptors(limit: u64) -> Lab {
    let mut lab = Lab::new();
    lab.starter = vec!["prlimit".into(), format!("--nofile={limit}")];
    lab
}

/// Everything at once that needs no more than an address: held heads and bodies, bursts of requests, and refused creates.
fn everything(url: &str, tally: &Arc<Tally>) -> Attack {
    let id = "ab".repeat(16);
    let (health, status, create) = (tally.clone(), tally.clone(), tally.clone());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let (ask_health, ask_status) = (get("/api/v1/health"), get(&format!("/session/{id}/_neck/status")));
    let refused = post("/api/v1/sessions", "", 1 << 20, &[b'x'; 1 << 16]);
    Attack::on(url)
        .holding(300, "GET / HTTP/1.1\r\nX: ")
        .holding(
            300,
            post(&format!("/session/{id}/rating"), "Content-Type: application/json\r\n", 4_000, b"{"),
        )
        .holding(300, post("/api/v1/sessions", "", 1 << 20, &[b'x'; 1 << 14]))
        .again_and_again(4, move |stream| health.ask(stream, &ask_health))
        .again_and_again(4, move |stream| status.ask(stream, &ask_status))
        .again_and_again(2, move |stream| create.ask(stream, &refused))
}

/// The service does everything it did before, with the descriptors it had before.
fn is_whole(worker: &Role, body: &str, idle: (usize, usize)) {
    let begun = Instant::now();
    eventually("health is answered", || {
        http::get(&worker.url, "/api/v1/health", None).ok().filter(|reply| reply.status == 200)
    });
    let id = worker.create(body);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
    println!("whole again after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let now = || (descriptors_of(worker.pid()), threads_of(worker.pid()));
    eventually_equal(
        "descriptors in addition, and all threads where there are more",
        &(0, Vec::new()),
        || {
            let (descriptors, threads) = now();
            let names = if threads > idle.1 { thread_names(worker.pid()) } else { Vec::new() };
            (descriptors.saturating_sub(idle.0 + SLACK), names)
        },
    );
    println!("descriptors and threads before {idle:?}, after {:?}", now());
    let log = worker.log_text();
    assert!(!log.contains("panicked") && !log.contains("ALERT"), "{log}");
}

fn survives_an_attack(lab: &mut Lab, limit: impl FnOnce(&Role)) {
    let body = lab.body(1);
    let worker = lab.lone_worker(|config| config["bodies"]["connect_timeout"] = json!("2s"));
    // It answers before the last of its threads has begun.
    eventually("its last thread", || {
        thread_names(worker.pid()).iter().any(|name| name == "updater").then_some(())
    });
    let idle = (descriptors_of(worker.pid()), threads_of(worker.pid()));
    println!("threads before: {:?}", thread_names(worker.pid()));
    limit(&worker);
    let tally = Arc::new(Tally::default());
    let attack = everything(&worker.url, &tally);
    let (end, mut most) = (Instant::now() + ATTACK, (0, 0));
    while Instant::now() < end {
        let now = (descriptors_of(worker.pid()), threads_of(worker.pid()));
        most = (most.0.max(now.0), most.1.max(now.1));
        std::thread::yield_now();
    }
    let connections = attack.stop();
    println!("{connections} connections; at most {most:?} descriptors and threads; answers: {tally}");
    assert!(most.1 <= idle.1 + API_CONNECTIONS, "{most:?} threads, {idle:?} before");
    is_whole(&worker, &body, idle);
}

// SPEC 6: With few descriptors or tasks it refuses, and is whole again after an attack; descriptors
// are raised at start, shared out and put back for stream processes
// Also: `with_1024_descriptors_the_worker_is_whole_again_after_an_attack`,
// `with_64_tasks_to_spare_the_worker_is_whole_again_after_an_attack`,
// `without_a_task_to_spare_a_create_is_refused_in_words_and_others_follow_later`,
// `descriptors_are_raised_at_start_shared_out_in_a_line_and_put_back_for_stream_processes`,
// `the_kernels_table_of_limits_is_read`, `descriptors_are_reserved_for_what_is_beyond_the_cap`,
// `everything_together_fits_into_the_limit`, `a_usual_limit_is_enough_and_a_tiny_one_says_so`,
// `a_wish_for_more_connections_than_there_are_descriptors_is_cut`
#[test]
fn with_256_descriptors_the_worker_is_whole_again_after_an_attack() {
    survives_an_attack(&mut with_descriptors(256), |_| ());
}

#[test]
fn with_1024_descriptors_the_worker_is_whole_again_after_an_attack() {
    survives_an_attack(&mut with_descriptors(1_024), |_| ());
}

/// Sets the soft limit of descriptors of a running worker.
fn limit_descriptors(worker: &Role, most: usize) {
    let words = [format!("--pid={}", worker.pid()), format!("--nofile={most}:")];
    let done = std::process::Command::new("prlimit").args(words).status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit: apt-get install util-linux");
}

#[test]
fn an_accept_without_a_descriptor_does_not_cost_the_control_api() {
    let lab = Lab::new();
    let worker = lab.lone_worker(|_| ());
    let mut rooms = (1..=5).cycle();
    // What is open moves by one now and then, so a round may miss the moment.
    eventually("an accept of the API finds no descriptor", || {
        let room = rooms.next()?;
        limit_descriptors(&worker, descriptors_of(worker.pid()) + room);
        let mut stream = TcpStream::connect(worker.url.trim_start_matches("http://")).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a live socket");
        ask(&mut stream, b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        drop(stream);
        limit_descriptors(&worker, 4_096);
        let begun = Instant::now();
        eventually("health is answered again", || {
            http::get(&worker.url, "/api/v1/health", None).ok().filter(|reply| reply.status == 200)
        });
        println!("{room} descriptors to spare: whole again after {:?}", begun.elapsed());
        worker.log_text().contains("listener was lost").then_some(())
    });
    let log = worker.log_text();
    println!("{}", log.lines().filter(|line| line.contains("[api]")).collect::<Vec<_>>().join("\n"));
}

/// Lets the worker, which runs as a user that has no other process, have this many tasks more than it has now.
fn spare_tasks(worker: &Role, user: u32, more: usize) {
    let (user, most) = (user.to_string(), threads_of(worker.pid()) + more);
    let done = std::process::Command::new("setpriv")
        .args(["--reuid", &user, "--clear-groups", "prlimit"])
        .args([format!("--pid={}", worker.pid()), format!("--nproc={most}:")])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "prlimit: apt-get install util-linux");
}

/// A laboratory whose roles run as this user; `None` where this test may not do that.
fn of_another_user(user: u32) -> Option<Lab> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may start a worker as another user");
        return None;
    }
    let mut lab = Lab::new();
    let owned = std::process::Command::new("chown").args(["-R", &user.to_string()]).arg(&lab.dir).status();
    assert!(owned.is_ok_and(|status| status.success()));
    let words = ["setpriv", "--reuid", &user.to_string(), "--clear-groups"];
    lab.starter = words.map(str::to_owned).into();
    lab.owner = Some(user);
    Some(lab)
}

#[test]
fn with_64_tasks_to_spare_the_worker_is_whole_again_after_an_attack() {
    const USER: u32 = 61_713;
    let Some(mut lab) = of_another_user(USER) else { return };
    survives_an_attack(&mut lab, |worker| spare_tasks(worker, USER, 64));
}

#[test]
fn without_a_task_to_spare_a_create_is_refused_in_words_and_others_follow_later() {
    const USER: u32 = 61_714;
    let Some(mut lab) = of_another_user(USER) else { return };
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    // With three, the stream process runs and says itself what it lacks.
    for more in 0..3 {
        spare_tasks(&worker, USER, more);
        let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body}));
        println!("{more} tasks to spare: {} {}", reply.status, reply.body);
        assert!(matches!(reply.status, 500..=503), "{more}: {reply:?}");
        assert_ne!(reply.json()["error"], "service is stopping", "{reply:?}");
        if more == 0 {
            assert_eq!(reply.json()["error"], "out of threads", "{reply:?}");
            assert!(reply.header("Retry-After").is_some(), "{reply:?}");
        }
    }
    spare_tasks(&worker, USER, 1_000);
    worker.create(&body);
    // A thread of ours that ends meanwhile leaves a third task: the stream process' own last lines are quoted.
    let log = worker.log_text();
    let ours = log.lines().filter(|line| !line.contains("the stream process died"));
    assert!(ours.into_iter().all(|line| !line.contains("panicked")), "{log}");
}

// SPEC 6: A session that is over holds no descriptor
#[test]
fn failed_creates_keep_no_descriptor_while_they_are_remembered() {
    let lab = with_descriptors(256);
    let worker = lab.lone_worker(|_| ());
    let nobody = json!({"body_ip": "127.0.2.250"});
    let fail = || {
        let reply = worker.post("/api/v1/sessions", &nobody);
        assert_eq!(reply.status, 502, "{reply:?}");
    };
    fail();
    let before = descriptors_of(worker.pid());
    (0..300).for_each(|_| fail());
    let remembered = worker.sessions().len();
    println!("{remembered} ended sessions are remembered; {before} descriptors before, {} after", {
        descriptors_of(worker.pid())
    });
    assert!(remembered > 300, "{remembered}");
    eventually("as many descriptors as before", || {
        (descriptors_of(worker.pid()) <= before + SLACK).then_some(())
    });
}

#[test]
fn descriptors_are_raised_at_start_shared_out_in_a_line_and_put_back_for_stream_processes() {
    let mut lab = Lab::new();
    lab.starter = vec!["prlimit".into(), "--nofile=300:4096".into()];
    let body = lab.body(1);
    let worker = lab.lone_worker(|_| ());
    let log = worker.log_text();
    let line = log.lines().find(|line| line.contains("descriptors: ")).unwrap_or_default();
    println!("{line}");
    assert!(line.contains("descriptors: 4096 (started with 300)"), "{log}");
    worker.create(&body);
    let soft = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line").to_owned();
        line.split_whitespace().nth(3).expect("the soft limit").to_owned()
    };
    assert_eq!(soft(worker.pid()), "4096");
    let child = lab.stream_processes("one").first().expect("a stream process").pid;
    assert_eq!(soft(u32::try_from(child).expect("a pid")), "300");
}

#[test]
fn fifteen_hundred_bodies_without_a_token_cost_little_memory() {
    const CONNECTIONS: usize = 1_500;
    let lab = Lab::new();
    let worker = lab.lone_worker(|_| ());
    let body = vec![b'x'; 1 << 20];
    let sent = post("/api/v1/sessions", "", (1 << 20) + 1, &body);
    let address = worker.url.trim_start_matches("http://").to_owned();
    let before = memory_of(worker.pid(), "VmHWM");
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a live socket");
        // It is told no long before it has sent all.
        let _ = stream.write_all(&sent);
        held.push(stream);
    }
    let after = memory_of(worker.pid(), "VmHWM");
    println!("{CONNECTIONS} bodies of 1 MiB without a token: {before} KiB before, at most {after} KiB");
    assert!(after - before < 64 * 1024, "{} KiB more", after - before);
    let mut one = TcpStream::connect(&address).expect("a connection");
    ask(
        &mut one,
        format!("GET /api/v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
            .as_bytes(),
    );
    drop(held);
    assert_eq!(worker.get("/api/v1/sessions").status, 200);
}
