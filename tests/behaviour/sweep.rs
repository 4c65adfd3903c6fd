//! A worker that was killed leaves processes and directories; the next start leaves none of them.

use std::time::{Duration, Instant};

use hydraneckwebrtc::host::process;
use hydraneckwebrtc::host::process_table;

use crate::http::Stream;
use crate::lab::{Lab, Role};

/// How often the worker is killed.
const TIMES: usize = 100;

/// Two sessions that play; the ports of their children.
fn two_playing_sessions(worker: &Role, bodies: &[String]) -> (Vec<u16>, Vec<Stream>) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (bodies.iter())
            .map(|body| {
                scope.spawn(move || {
                    let id = worker.create(body);
                    let mut stream = Stream::open(&worker.url, &id);
                    stream.next_media().expect("media");
                    (worker.port_of(&id), stream)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).unzip()
    })
}

// SPEC 5: After `kill -9`, a hundred times with live sessions: no process, port or directory of the
// run before is left, and nothing else is touched
// Also: `the_sweep_leaves_alone_what_is_not_a_session_of_ours`
#[test]
fn after_kill_9_the_next_start_leaves_nothing_of_the_run_before_a_hundred_times() {
    let mut lab = Lab::new();
    let bodies = [lab.body(1), lab.body(2)];
    let mut worker = lab.lone_worker(|_| ());
    let (begun, mut restarts) = (Instant::now(), Duration::ZERO);
    for round in 0..TIMES {
        let (ports, _streams) = two_playing_sessions(&worker, &bodies);
        assert_eq!((lab.stream_processes("one").len(), lab.streamers("one").len()), (2, 2), "round {round}");
        let before = process_table::working_below(&lab.data_dir("one"));
        worker.kill();
        let killed = Instant::now();
        worker.restart();
        restarts += killed.elapsed();
        lab.assert_nothing_left("one", &ports);
        let alive: Vec<_> =
            before.iter().filter(|info| process::is_alive(info.pid, info.start_ticks)).collect();
        assert!(alive.is_empty(), "round {round}: {alive:?}");
        assert!(!worker.log_text().contains("ALERT"), "round {round}:\n{}", worker.log_text());
    }
    println!(
        "{TIMES} times kill -9 with two playing sessions took {:.1} s; a start with its sweep {} ms on average",
        begun.elapsed().as_secs_f64(),
        restarts.as_millis() / TIMES as u128
    );
}

#[test]
fn the_sweep_leaves_alone_what_is_not_a_session_of_ours() {
    let lab = Lab::new();
    let mut worker = lab.lone_worker(|_| ());
    worker.kill();
    let (foreign, ours) =
        (lab.data_dir("one").join("holiday-photos"), lab.data_dir("one").join("0badcafe-8080"));
    std::fs::create_dir(&foreign).expect("a directory");
    std::fs::create_dir_all(ours.join("server")).expect("a directory");
    let mut bystander =
        std::process::Command::new("sleep").arg("600").current_dir(&foreign).spawn().expect("sleep");
    worker.restart();
    assert!(!ours.exists(), "a session's directory is swept");
    assert!(foreign.exists(), "somebody else's directory was removed");
    assert!(matches!(bystander.try_wait(), Ok(None)), "somebody else's process was killed");
    let _ = bystander.kill();
    let _ = bystander.wait();
}
